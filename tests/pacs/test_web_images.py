from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from cxrtool.core.config import PredictConfig
from cxrtool.core.errors import DataError, UsageError
from cxrtool.pacs import web_images
from cxrtool.pacs.dicomweb_query import parse_query
from cxrtool.pacs.web_images import find_web_images, web_archives
from tests.conftest import Hearing
from tests.support.dicoms import NUMBER
from tests.support.scripted_archive import multipart, scripted_archive
from tests.support.scripted_web import Reply
from tests.support.studies import as_bytes, dx

QUERY = ["Modality=DX"]


def image(study=None, **elements):
    own = {"StudyInstanceUID": study or generate_uid(), "SeriesInstanceUID": generate_uid()}
    return dx(**own | elements)


@pytest.fixture
def found(tmp_path, monkeypatch):
    """What is found in an archive, as inputs whose files come to `tmp_path`."""
    monkeypatch.setattr(web_images, "WAITS", ())

    def find(web, query="Modality=DX", reporter=None):
        archives = web_archives(PredictConfig(query=[query]), [f"dicomweb:{web.url}"])
        return find_web_images(archives, [parse_query(query)], tmp_path, reporter or Hearing())

    return find


def names_of(images):
    return {
        f"dicomweb:{one.StudyInstanceUID}/{one.SeriesInstanceUID}/{one.SOPInstanceUID}"
        for one in images
    }


def test_images_are_named_by_their_uids(found, tmp_path):
    images = [image(), image(ViewPosition="LL")]
    hearing = Hearing()
    with scripted_archive(*images) as (_, web):
        inputs = found(web, reporter=hearing)
    assert set(inputs.names) == names_of(images)
    assert NUMBER not in "".join(inputs.names)
    assert hearing.notes == ["found 2 images of 2 studies"]
    known = [inputs.ids(place) for place in range(2)]
    (lateral,) = [one for one in known if one.lateral]
    assert lateral.instance == images[1].SOPInstanceUID
    assert {one.study for one in known} == {one.StudyInstanceUID for one in images}
    assert list(tmp_path.iterdir()) == []


def test_files_are_there_while_they_are_needed(found, tmp_path):
    """At most two windows, and the rest of a study."""
    studies = [generate_uid() for _ in range(6)]
    images = [image(study) for study in studies for _ in range(3)]
    with scripted_archive(*images) as (_, web):
        inputs = found(web)
        contents = {one.SOPInstanceUID: as_bytes(one) for one in images}
        there = []
        for window in inputs.windows(range(len(inputs)), 4):
            assert not window.errors
            for place, file in zip(window.places, window.files, strict=True):
                content = contents[inputs.names[place].split("/")[-1]]
                assert Path(file).read_bytes() == content
            now = {int(one.stem) for one in tmp_path.iterdir()}
            first = window.places[0]
            # Each study has three, side by side: the one at hand is complete from its first on.
            assert set(range(first - first % 3, first + len(window.places))) <= now
            there.append(len(now))
        assert max(there) <= 4 + 4 + 3
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_them_is_fetched_by_itself(found, tmp_path):
    images = [image() for _ in range(4)]
    with scripted_archive(*images) as (_, web):
        inputs = found(web)
        part = inputs.part([3, 1])
        assert part.names == [inputs.names[3], inputs.names[1]]
        asked = len(web.asked)
        (window,) = part.windows([0, 1], 9)
        assert not window.errors
        assert {one.path.split("/")[-1] for one in web.asked[asked:]} == {
            name.split("/")[-1] for name in part.names
        }


def test_an_image_that_cannot_be_had_has_a_reason(found):
    gone, _, broken = images = [image() for _ in range(3)]
    faults = {gone.SOPInstanceUID: [Reply(404)], broken.SOPInstanceUID: [Reply(500)]}
    with scripted_archive(*images, faults=faults) as (_, web):
        inputs = found(web)
        (window,) = inputs.windows(range(3), 3)
        said = {inputs.names[place].split("/")[-1]: why for place, why in window.errors.items()}
    assert set(said) == {gone.SOPInstanceUID, broken.SOPInstanceUID}
    assert "does not have it" in said[gone.SOPInstanceUID]
    assert "answers 500" in said[broken.SOPInstanceUID]


def test_a_failure_that_passes_is_none(found, monkeypatch):
    monkeypatch.setattr(web_images, "WAITS", (0, 0))
    one = image()
    with scripted_archive(one) as (archive, web):
        inputs = found(web)
        asked = len(web.asked)
        archive.faults[one.SOPInstanceUID] = [Reply(503), Reply(500), multipart(as_bytes(one))]
        (window,) = inputs.windows([0], 1)
        assert not window.errors
        assert len(web.asked) - asked == 3
        archive.faults[one.SOPInstanceUID] = [Reply(503)]
        for attempts in (3, 1):  # an archive that is down is not waited for at each image
            asked = len(web.asked)
            (window,) = inputs.windows([0], 1)
            assert list(window.errors) == [0]
            assert len(web.asked) - asked == attempts


def test_whoever_stops_leaves_nothing(found, tmp_path):
    with scripted_archive(*(image() for _ in range(9))) as (_, web):
        windows = found(web).windows(range(9), 3)
        next(windows)
        assert list(tmp_path.iterdir())
        windows.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told(found, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device", "x.dcm")

    with scripted_archive(image()) as (_, web):
        inputs = found(web)
        monkeypatch.setattr(web_images, "retrieve_image", full)
        with pytest.raises(DataError, match=r"No space left on device.*TMPDIR"):
            list(inputs.windows([0], 1))


def test_nothing_found_says_what_was_understood(found):
    report = image(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.34")
    with scripted_archive(report) as (_, web), pytest.raises(DataError) as error:
        found(web, f"Modality=DX,PatientID={NUMBER}")
    message = str(error.value)
    assert "no image fits --query, understood as studies with PatientID as given" in message
    assert "series with Modality=DX" in message
    assert "passed over, being no images: 1 Comprehensive 3D SR" in message
    assert NUMBER not in message


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (["dicomweb:http://h", "a.png"], {}, "goes without other inputs"),
        (["dicomweb:http://h"], {"query": None}, "say which with --query"),
        (["dicomweb:http://h"] * 2, {}, "named twice"),
        (["dicomweb:h"], {}, "is not an address"),
        (["dicomweb:http://h"], {"split": "test"}, "needs a manifest"),
    ],
)
def test_what_does_not_go_together_is_refused(inputs, options, message):
    config = PredictConfig(**{"query": QUERY} | options)
    with pytest.raises(UsageError, match=message):
        web_archives(config, inputs)
