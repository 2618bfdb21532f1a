import pytest
from dicomweb_client import DICOMwebClient
from pydicom.uid import CTImageStorage, generate_uid

from cxrtool.pacs import dicomweb_search
from cxrtool.pacs.delivery import DestinationError, TransientError
from cxrtool.pacs.dicomweb_access import dicomweb_access
from cxrtool.pacs.dicomweb_query import parse_query
from cxrtool.pacs.dicomweb_search import find_images, lateral_of
from tests.support.orthanc import free_port
from tests.support.scripted_archive import JSON, scripted_archive
from tests.support.scripted_web import Reply
from tests.support.studies import as_bytes, dx

REPORT = "1.2.840.10008.5.1.4.1.1.88.34"


def image(**elements):
    own = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    return dx(**own | elements)


def find(url, *queries, timeout=2):
    access = dicomweb_access(url, trust=None, timeout=timeout, environment={})
    return find_images(access, [parse_query(query) for query in queries])


def uids(images):
    return {image.SOPInstanceUID for image in images}


def found(result):
    return {image.instance for image in result.images}


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(dicomweb_search, "FEW_WAITS", (0, 0))


def test_a_real_archive_finds_what_another_client_finds(orthanc):
    """More studies than FEW: Orthanc 1.10 has no second page where a modality is asked for."""
    wanted = [image(StudyDate="20261127") for _ in range(24)]
    one = wanted[0]
    others = [
        image(StudyDate="20261126"),
        image(StudyDate="20261127", Modality="CT", SOPClassUID=CTImageStorage),
    ]
    second = image(StudyInstanceUID=one.StudyInstanceUID, StudyDate="20261127", ViewPosition="LL")
    orthanc.store(*(as_bytes(made) for made in (*wanted, *others, second)))
    result = find(orthanc.dicomweb, "Modality=DX,StudyDate=20261127")
    assert found(result) == uids([*wanted, second])
    client = DICOMwebClient(orthanc.dicomweb)
    keys = {"Modality": "DX", "StudyDate": "20261127"}
    theirs = client.search_for_instances(search_filters=keys)
    assert found(result) == {entry["00080018"]["Value"][0] for entry in theirs}
    assert {one.instance for one in result.images if one.lateral} == uids([second])
    assert list(result.images) == sorted(result.images)
    assert result.ignored == ()
    assert found(find(orthanc.dicomweb, "ViewPosition=LL")) == uids([second])
    assert found(find(orthanc.dicomweb, "StudyDate=-20261126")) == uids(others[:1])


def test_images_of_any_query_are_there_once():
    images = [image(Modality=kind) for kind in ("DX", "CR", "MG")]
    with scripted_archive(*images) as (_, web):
        result = find(web.url, "Modality=DX", "Modality=CR", "Modality=DX")
    assert found(result) == uids(images[:2])


@pytest.mark.parametrize(
    "behaviour",
    [{"most": 7}, {"most": 30}, {"pages": False}, {"filters": False}, {"most": 20}],
    ids=["small-pages", "pages", "no-offset", "no-filters", "even-pages"],
)
def test_archives_that_page_or_filter_otherwise(behaviour, monkeypatch):
    monkeypatch.setattr(dicomweb_search, "FEW", behaviour.get("most", 20))
    images = [image() for _ in range(40)]
    others = [image(Modality="CR") for _ in range(2)]
    with scripted_archive(*images, *others, **behaviour) as (_, web):
        result = find(web.url, "Modality=DX")
    assert found(result) == uids(images)


def test_what_is_no_image_is_passed_over_and_counted():
    one = image()
    report = image(StudyInstanceUID=one.StudyInstanceUID, SOPClassUID=REPORT)
    with scripted_archive(one, report) as (_, web):
        result = find(web.url, "StudyDate=20261128")
    assert found(result) == uids([one])
    assert result.passed_over == {"Comprehensive 3D SR": 1}


def test_a_key_that_no_result_has_is_told():
    with scripted_archive(image(BodyPartExamined="CHEST")) as (_, web):
        assert find(web.url, "BodyPartExamined=CHEST").ignored == ("BodyPartExamined",)
        assert find(web.url, "Modality=DX").ignored == ()


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(401), "say who you are in the environment"),
        (Reply(404), "there is no QIDO-RS; name the address"),
        (Reply(200, b"<html>", {"Content-Type": "text/html"}), "not as DICOMweb does"),
        (Reply(200, b"[", JSON), "not as DICOMweb does"),
        (Reply(200, b'{"error": 1}', JSON), "not as DICOMweb does"),
        (Reply(200, b"[7]", JSON), "not as DICOMweb does"),
        (Reply(200, b"[{}]", JSON), "without a UID"),
        (Reply(200, b'[{"0020000D": {"Value": ["../../x"]}}]', JSON), "without a UID"),
        (Reply(200, b'[{"0020000D": 7}]', JSON), "without a UID"),
    ],
)
def test_what_is_no_archive_is_told(reply, message, impatient):
    with (
        scripted_archive(found=reply) as (_, web),
        pytest.raises(DestinationError, match=message) as error,
    ):
        find(web.url, "Modality=DX")
    assert not isinstance(error.value, TransientError)


def test_a_busy_archive_is_asked_again(impatient):
    with scripted_archive(found=Reply(503)) as (_, web):
        with pytest.raises(TransientError, match="answers 503"):
            find(web.url, "Modality=DX")
        assert len(web.asked) == 3
    with pytest.raises(TransientError, match="cannot be reached"):
        find(f"http://127.0.0.1:{free_port()}", "Modality=DX")


@pytest.mark.parametrize(
    "said",
    [
        {"0008103E": {"vr": "LO", "Value": ["CHEST LAT"]}},
        {
            "00540220": {
                "vr": "SQ",
                "Value": [
                    {
                        "00080100": {"vr": "SH", "Value": ["399173006"]},
                        "00080102": {"vr": "SH", "Value": ["SCT"]},
                    }
                ],
            }
        },
        {"00185101": {"Value": ["LL"]}},
    ],
)
def test_a_lateral_is_known_by_all_that_says_it(said):
    assert lateral_of(said).startswith("a lateral view")


@pytest.mark.parametrize("said", [{}, {"00185101": {"vr": "CS"}}, {"00540220": {"Value": [7]}}])
def test_what_a_server_does_not_say_of_a_view_is_left_open(said):
    assert lateral_of(said) == ""
