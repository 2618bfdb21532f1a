import socket

import pytest
from pydicom import dcmread
from pydicom.uid import (
    Comprehensive3DSRStorage,
    DigitalXRayImageStorageForPresentation,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from cxrtool.pacs.delivery import DestinationError, TransientError
from cxrtool.pacs.destinations import parse_destination
from cxrtool.pacs.trust import Trust
from tests.support.archives import (
    ABORT,
    ECHO_RSP,
    accepting,
    archive,
    pdu,
    rejecting,
    response,
    scripted_peer,
)
from tests.support.certificates import make_certificate, server_context
from tests.support.dicoms import NAME, NUMBER
from tests.support.orthanc import free_port
from tests.support.studies import dx

TIMEOUT = 5
DX = DigitalXRayImageStorageForPresentation


def send(node, files, **options):
    return parse_destination(node, **{"timeout": TIMEOUT} | options).send(files)


def without_meta(file):
    content = file.read_bytes()
    read = dcmread(file, stop_before_pixels=True)
    return content[144 + read.file_meta.FileMetaInformationGroupLength :]


def test_a_study_goes_over_one_association_as_it_is(results):
    with archive() as there:
        found = send(there.node, results, ae="WARD")
    assert [answer.status for answer in found.accepted] == ["stored", "stored"]
    assert not found.refused
    assert there.calling == ["WARD"]
    assert there.stored == [without_meta(file) for file in results]
    explicit = "1.2.840.10008.1.2.1"
    classes = (Comprehensive3DSRStorage, SecondaryCaptureImageStorage)
    assert there.proposed == [{(str(one), explicit) for one in classes}]


def test_a_real_archive_has_it_once(results, orthanc):
    for _ in range(2):
        found = send(orthanc.node, results)
        assert len(found.accepted) == 2
    assert list(orthanc.count_by_study().values()) == [2]
    uid = found.accepted[0].sop_instance_uid
    assert dcmread(results[0]).SOPInstanceUID == uid
    assert b"Imaging Measurement Report" in orthanc.fetch(uid)


def test_a_class_that_is_not_taken_is_refused_alone_with_a_way_out(results):
    with archive(contexts=[SecondaryCaptureImageStorage]) as there:
        found = send(there.node, results)
    assert [answer.file.name for answer in found.accepted] == ["picture-1.dcm"]
    (refused,) = found.refused
    assert refused.status.startswith("it takes no Comprehensive 3D SR: --sr-class comprehensive")
    assert len(there.stored) == 1


def test_no_context_at_all_is_a_refusal(results):
    with archive(contexts=[]) as there:
        found = send(there.node, results)
    assert len(found.refused) == 2
    assert not found.accepted


def test_a_syntax_that_is_not_taken_is_named(image):
    def rejected(asked):
        """All contexts: transfer syntaxes not supported (PS3.8, table 9-18)."""
        found = accepting(asked)
        at = found.index(b"\x21\x00") + 4
        return found[: at + 2] + b"\x04" + found[at + 3 :]

    with scripted_peer(rejected) as node:
        (refused,) = send(node, [image]).refused
    assert "takes no Digital X-Ray Image" in refused.status


@pytest.mark.parametrize(
    ("status", "accepted"), [(0xB000, True), (0xB007, True), (0xC000, False), (0x0122, False)]
)
def test_what_the_status_says_is_said(image, status, accepted):
    with archive(status) as there:
        (answer,) = send(there.node, [image]).answers
    assert answer.accepted is accepted
    assert f"{status:04X}" in answer.status or "takes no Digital X-Ray" in answer.status


def test_out_of_resources_is_worth_a_retry_and_names_nobody(results):
    with (
        archive([0, 0xA700]) as there,
        pytest.raises(TransientError, match=r"1 file of 2.*A700") as error,
    ):
        send(there.node, results)
    assert NAME not in str(error.value)
    assert NUMBER not in str(error.value)
    assert len(there.stored) == 1


@pytest.mark.parametrize(
    ("opening", "answer", "message"),
    [
        (None, None, "before it was agreed on"),
        (ABORT, None, "before it was agreed on"),
        (b"GET / HTTP/1.1\r\n\r\n", None, "before it was agreed on"),
        (accepting, None, "broke off"),
        (accepting, ABORT, "broke off"),
        (accepting, response()[:40], "broke off"),
        (accepting, response(ECHO_RSP), "broke off"),
        (accepting, response(context=99), "broke off"),
        (accepting, response(message=7), "broke off"),
        (accepting, pdu(0x04, b"\0\0\0\x04\x01\x03"), "broke off"),
        (accepting, b"\x99" * 64, "broke off"),
    ],
    ids=[
        *("closes", "aborts", "web", "closes-later", "aborts-later"),
        *("half", "echo", "context", "message", "short", "nonsense"),
    ],
)
def test_a_peer_that_breaks_off_or_answers_wrongly_is_worth_a_retry(
    image, opening, answer, message
):
    with scripted_peer(opening, answer) as node, pytest.raises(TransientError, match=message):
        send(node, [image], timeout=1)


def test_silence_is_worth_a_retry(image):
    with (
        archive(on_store=lambda event: event.assoc.abort()) as there,
        pytest.raises(TransientError, match="broke off"),
    ):
        send(there.node, [image])
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(TransientError, match="before it was agreed on"),
    ):
        send(f"A@127.0.0.1:{silent.getsockname()[1]}", [image], timeout=0.3)


def test_nobody_there_is_worth_a_retry(image):
    with pytest.raises(TransientError, match=r"cannot be reached .Connection refused"):
        send(f"A@127.0.0.1:{free_port()}", [image])
    with pytest.raises(TransientError, match="cannot be reached"):
        send("A@no-such-host.invalid:104", [image])


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((1, 1, 3), DestinationError, "does not know our AE title CXRTOOL"),
        ((1, 1, 7), DestinationError, "is not called ARCHIVE"),
        ((1, 2, 1), DestinationError, "rejects the association"),
        ((2, 3, 1), TransientError, "no room for another association"),
        ((2, 1, 1), TransientError, "rejects the association"),
    ],
)
def test_a_rejection_says_whether_it_lasts(image, answer, kind, message):
    with (
        scripted_peer(rejecting(*answer)) as node,
        pytest.raises(DestinationError, match=message) as error,
    ):
        send(node, [image])
    assert type(error.value) is kind


def test_it_is_encrypted_where_the_certificate_is_trusted(image, tmp_path):
    certificate, key = make_certificate(tmp_path)
    trusting = Trust(authorities=certificate, certificate=certificate, key=key)
    with archive(tls=server_context(certificate, key, asks=certificate)) as there:
        assert send(there.node, [image], trust=trusting).accepted
    with archive(tls=server_context(certificate, key)) as there:
        with pytest.raises(DestinationError, match="is not trusted") as error:
            send(there.node, [image], trust=Trust())
        assert not isinstance(error.value, TransientError)
    with archive() as there, pytest.raises(DestinationError, match=r"TLS failed|broke off"):
        send(there.node, [image], trust=trusting, timeout=1)


def test_an_echo_says_whether_it_is_there(orthanc):
    parse_destination(orthanc.node).echo()
    with pytest.raises(TransientError, match="cannot be reached"):
        parse_destination(f"A@127.0.0.1:{free_port()}").echo()
    with (
        scripted_peer(answer=response(ECHO_RSP, status=0x0122), last=0x03) as node,
        pytest.raises(DestinationError, match="status 0122"),
    ):
        parse_destination(node, timeout=1).echo()


def test_implicit_files_stay_so(tmp_path):
    made = dx()
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    file = tmp_path / "implicit.dcm"
    made.save_as(file, implicit_vr=True, little_endian=True, enforce_file_format=True)
    with archive() as there:
        assert send(there.node, [file]).accepted
    assert there.proposed == [{(str(DX), str(ImplicitVRLittleEndian))}]
    assert there.stored == [without_meta(file)]
