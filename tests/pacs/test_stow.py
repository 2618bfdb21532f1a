import email
import json

import pytest
from pydicom import dcmread

from cxrtool.pacs.delivery import DestinationError, TransientError
from cxrtool.pacs.destinations import parse_destination
from cxrtool.pacs.dicomweb_access import dicomweb_access
from cxrtool.pacs.stow import StowDestination
from tests.support.dicoms import NAME, NUMBER
from tests.support.scripted_web import Reply, scripted_web

JSON = {"Content-Type": "application/dicom+json; charset=utf-8"}


def parts_of(request):
    """The files in a multipart body, by Python's own parser of mail."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    return [
        part.get_payload(decode=True)
        for part in email.message_from_bytes(head + request.body).get_payload()
    ]


def instance(file, **codes):
    found = dcmread(file, stop_before_pixels=True)
    item = {"00081155": {"vr": "UI", "Value": [str(found.SOPInstanceUID)]}}
    tags = {"failure": "00081197", "warning": "00081196"}
    return item | {tags[name]: {"vr": "US", "Value": [code]} for name, code in codes.items()}


def module(stored=(), failed=()):
    """The Store Instances Response Module."""
    made = {}
    if stored:
        made["00081199"] = {"vr": "SQ", "Value": list(stored)}
    if failed:
        made["00081198"] = {"vr": "SQ", "Value": list(failed)}
    return json.dumps(made).encode()


def send(files, answer, **options):
    """What an archive that answers so is said to have done, and what it was asked."""
    with scripted_web(answer) as web:
        return parse_destination(web.url, timeout=2, **options).send(files), web.asked


def storing(reply):
    """A server that answers so to STOW, and holds nothing."""
    return lambda request: reply if request.method == "POST" else Reply(204)


def test_a_study_is_one_request_of_its_files_as_they_are(results):
    reply = Reply(200, module([instance(file) for file in results]), JSON)
    found, asked = send(results, storing(reply))
    assert [answer.status for answer in found.accepted] == ["stored", "stored"]
    (request,) = asked
    assert request.path == "/dicom-web/studies"
    assert request.headers["accept"] == "application/dicom+json"
    assert 'type="application/dicom"' in request.headers["content-type"]
    assert int(request.headers["content-length"]) == len(request.body)
    assert "authorization" not in request.headers
    # The parser takes the last line break for the boundary's, as it is.
    assert parts_of(request) == [file.read_bytes() for file in results]


def test_a_real_archive_has_it_once(results, orthanc):
    for _ in range(2):
        found = parse_destination(orthanc.dicomweb).send(results)
        assert len(found.accepted) == 2
    assert list(orthanc.count_by_study().values()) == [2]
    assert orthanc.fetch(found.accepted[0].sop_instance_uid)
    parse_destination(orthanc.dicomweb).echo()


def test_each_file_has_its_own_reason(results):
    report, picture = results
    reply = Reply(202, module([instance(picture)], [instance(report, failure=0x0122)]), JSON)
    found, _ = send(results, storing(reply))
    assert [answer.file for answer in found.accepted] == [picture]
    (refused,) = found.refused
    assert "it takes no Comprehensive 3D SR: --sr-class comprehensive" in refused.status


def test_a_warning_is_no_refusal(image):
    reply = Reply(202, module([instance(image, warning=0xB000)]), JSON)
    found, _ = send([image], storing(reply))
    assert "elements changed (status B000)" in found.accepted[0].status


def test_what_is_there_already_is_accepted(image):
    """As the reason says, or, where that is another one, as the server knows the UID."""
    reply = Reply(409, module(failed=[instance(image, failure=0x0111)]), JSON)
    found, asked = send([image], storing(reply))
    assert "already there" in found.accepted[0].status
    assert len(asked) == 1

    uid = dcmread(image).SOPInstanceUID
    there = json.dumps([{"00080018": {"vr": "UI", "Value": [str(uid)]}}]).encode()
    for body in (module(failed=[instance(image, failure=0xB00E + 0x1000)]), b""):
        stow = Reply(409, body, JSON)
        found, asked = send(
            [image],
            lambda request, stow=stow: (
                stow if request.method == "POST" else Reply(200, there, JSON)
            ),
        )
        assert found.accepted
        assert asked[1].query == {"SOPInstanceUID": [str(uid)]}


def test_a_refusal_without_a_reason_is_one(image):
    found, _ = send([image], storing(Reply(409)))
    assert "without a reason" in found.refused[0].status
    found, _ = send([image], storing(Reply(413)))
    assert "a request of this size is not taken" in found.refused[0].status


def test_all_are_stored_where_the_number_says_so(image):
    xml = Reply(200, b"<NativeDicomModel/>", {"Content-Type": "application/dicom+xml"})
    for reply in (xml, Reply(200)):
        assert send([image], storing(reply))[0].accepted


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(503, headers={"Retry-After": "7"}),
        Reply(429),
        Reply(507),
        None,
        Reply(200, b"x" * 100, JSON, sent=10),
        Reply(202, b"{}", JSON),
        Reply(200, module([{"00081155": {"vr": "UI", "Value": ["1.2.3"]}}]), JSON),
    ],
    ids=["500", "503", "429", "507", "breaks-off", "half", "nothing-said", "of-others"],
)
def test_what_is_worth_a_retry(image, reply):
    with pytest.raises(TransientError) as error:
        send([image], storing(reply))
    assert error.value.retry_after == (7 if reply and reply.headers.get("Retry-After") else None)


def test_out_of_resources_is_worth_a_retry_and_names_nobody(results):
    report, picture = results
    reply = Reply(202, module([instance(picture)], [instance(report, failure=0xA700)]), JSON)
    with pytest.raises(TransientError, match=r"1 file of 2 .*A700") as error:
        send(results, storing(reply))
    assert NAME not in str(error.value)
    assert NUMBER not in str(error.value)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(401), "CXRTOOL_DICOMWEB_TOKEN, or with CXRTOOL_DICOMWEB_USER"),
        (Reply(403), "say who you are"),
        (Reply(404), r"there is no STOW-RS; name the address .* http://127.0.0.1:\d+/dicom-web"),
        (Reply(302, headers={"Location": "https://h/login"}), "elsewhere, at https://h/login"),
        (Reply(200, b"<html>", {"Content-Type": "text/html"}), "a page for people"),
        (Reply(400), r"answers 400 \(Bad Request\)"),
    ],
)
def test_what_somebody_has_to_change(image, reply, message):
    with pytest.raises(DestinationError, match=message) as error:
        send([image], storing(reply))
    assert not isinstance(error.value, TransientError)


def test_who_we_are_is_said_and_never_shown(image):
    reply = Reply(200, module([instance(image)]), JSON)
    environments = [
        ({"CXRTOOL_DICOMWEB_TOKEN": "hunter2"}, "Bearer hunter2"),
        (
            {"CXRTOOL_DICOMWEB_USER": "me", "CXRTOOL_DICOMWEB_PASSWORD": "hunter2"},
            "Basic bWU6aHVudGVyMg==",
        ),
    ]
    for environment, header in environments:
        for status in (reply, Reply(401)):
            with scripted_web(storing(status)) as web:
                access = dicomweb_access(web.url, trust=None, timeout=2, environment=environment)
                destination = StowDestination(access=access)
                assert "hunter2" not in repr(destination)
                if status is reply:
                    assert destination.send([image]).accepted
                else:
                    with pytest.raises(DestinationError, match="does not take what") as error:
                        destination.send([image])
                    assert "hunter2" not in str(error.value)
                assert web.asked[0].headers["authorization"] == header


def test_an_echo_says_what_is_wrong():
    page = Reply(200, b"<html>", {"Content-Type": "text/html"})
    with (
        scripted_web(lambda request: page) as web,
        pytest.raises(DestinationError, match="not as DICOMweb does"),
    ):
        parse_destination(web.url).echo()
