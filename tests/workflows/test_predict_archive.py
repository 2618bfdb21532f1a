"""`predict dicomweb:URL`: an archive's images are fetched, scored, and gone."""

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from cxrtool.core.errors import DataError, StoppedError, UsageError
from cxrtool.inference import work
from cxrtool.pacs import dicomweb_search, result_sender, web_images
from cxrtool.pacs.delivery import TransientError
from cxrtool.workflows.predict import predict_images
from tests.conftest import Hearing
from tests.support.dicoms import NAME, NUMBER, dataset
from tests.support.orthanc import free_port
from tests.support.predicting import CPU, LABELS
from tests.support.scripted_archive import scripted_archive
from tests.support.scripted_web import Reply
from tests.support.studies import WHOLE, as_bytes

QUERY = ["Modality=CR"]
STUDIES = 3


@pytest.fixture(scope="module")
def films(trained_once):
    """Two frontal films of each of some studies, and a lateral of the first."""
    paths = sorted((trained_once.data / "train").rglob("*frontal.jpg"))[: 2 * STUDIES]
    studies = [generate_uid() for _ in range(STUDIES)]

    def film(path, study, view):
        own = {"StudyInstanceUID": study, "SeriesInstanceUID": generate_uid()}
        pixels = np.asarray(Image.open(path).convert("L"))
        return dataset(pixels, **WHOLE | own, ViewPosition=view)

    made = [film(path, studies[n // 2], "PA") for n, path in enumerate(paths)]
    return [*made, film(paths[0], studies[0], "LL")]


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Windows of two, few waits, and temporary files where they can be counted."""
    monkeypatch.setattr(work, "LEAST_IN_A_WINDOW", 2)
    monkeypatch.setattr(web_images, "WAITS", ())
    monkeypatch.setattr(result_sender, "WAITS", ())
    monkeypatch.setattr(dicomweb_search, "FEW_WAITS", ())
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    yield
    assert list((tmp_path / "tmp").iterdir()) == []


def predict(trained, url, reporter=None, **options):
    config = replace(CPU, **{"query": QUERY, "batch_size": 2} | options)
    return predict_images(config, [f"dicomweb:{url}"], trained.workspace, reporter or Hearing())


def by_instance(table):
    """Scores by the last part of the name, which is the SOP Instance UID."""
    rows = zip(table["path"], table[LABELS].to_numpy(), strict=True)
    return {path.split("/")[-1].removesuffix(".dcm"): row for path, row in rows}


def scores_of_files(trained, films, folder):
    """What the same files score on this machine."""
    for film in films:
        (folder / f"{film.SOPInstanceUID}.dcm").write_bytes(as_bytes(film))
    files = sorted(str(file) for file in folder.iterdir())
    return by_instance(predict_images(CPU, files, trained.workspace).table)


def test_a_real_archives_images_score_as_their_files_do(trained_once, orthanc, films, tmp_path):
    orthanc.store(*(as_bytes(film) for film in films))
    (tmp_path / "files").mkdir()
    theirs = scores_of_files(trained_once, films, tmp_path / "files")
    hearing = Hearing()
    result = predict(trained_once, orthanc.dicomweb, hearing, heatmaps=tmp_path / "maps")
    found = by_instance(result.table)
    assert set(found) == {film.SOPInstanceUID for film in films}
    for instance, row in found.items():
        np.testing.assert_allclose(row, theirs[instance], atol=1e-6)
    assert result.drawn == len(list((tmp_path / "maps").glob("*.png")))
    assert "found 7 images of 3 studies" in hearing.notes
    said = " ".join([*hearing.notes, *hearing.warnings, *result.table["path"]])
    assert NAME not in said
    assert NUMBER not in said


def test_rows_of_studies_and_identifiers_need_no_second_request(trained_once, films):
    with scripted_archive(*films) as (_, web):
        result = predict(trained_once, web.url, unit="study", ids=True)
        fetched = [one.path for one in web.asked if one.path.count("/") == 7]
    assert sorted(result.table["path"]) == sorted({film.StudyInstanceUID for film in films})
    assert result.laterals == 1
    assert len(fetched) == len(films) - 1
    assert set(result.table["accession_number"]) == {WHOLE["AccessionNumber"]}


def test_what_cannot_be_had_is_a_row_with_the_reason(trained_once, films):
    gone = films[1].SOPInstanceUID
    with scripted_archive(*films, faults={gone: [Reply(404)]}) as (_, web):
        result = predict(trained_once, web.url)
    (failed,) = result.table[result.table["error"] != ""].to_dict("records")
    assert failed["path"].endswith(gone)
    assert failed["error"] == "the archive does not have it (any more)"
    assert result.failed == 1


def test_a_table_is_resumed_and_what_failed_is_fetched_again(trained_once, films, tmp_path):
    output = tmp_path / "table.csv"
    gone = films[1].SOPInstanceUID
    with scripted_archive(*films, faults={gone: [Reply(500)]}) as (archive, web):
        assert predict(trained_once, web.url, output=output).failed == 1
        archive.faults.clear()
        asked = len(web.asked)
        again = predict(trained_once, web.url, output=output, resume=True)
        assert again.failed == 0
        fetched = {one.path.split("/")[-1] for one in web.asked[asked:] if one.path.count("/") == 7}
        # Those of the sample that tells whether the model is the same, among them.
        assert gone in fetched
    assert again.table["error"].eq("").all()


def test_ctrl_c_leaves_no_image(trained_once, films, tmp_path):
    class Stopping(Hearing):
        def steps(self, *given, **options):
            raise KeyboardInterrupt

    with scripted_archive(*films) as (_, web), pytest.raises(StoppedError):
        predict(trained_once, web.url, Stopping(), output=tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": None}, "say which with --query"),
        ({"query": ["Modalty=DX"]}, "did you mean Modality"),
    ],
)
def test_a_wrong_query_is_told_before_anything_is_asked(trained_once, options, message):
    with scripted_archive() as (_, web):
        with pytest.raises(UsageError, match=message):
            predict(trained_once, web.url, **options)
        assert web.asked == []


def test_an_archive_that_is_not_there_or_has_nothing_is_told(trained_once, films):
    with pytest.raises(TransientError, match="cannot be reached"):
        predict(trained_once, f"http://127.0.0.1:{free_port()}/dicom-web")
    with scripted_archive(*films) as (_, web), pytest.raises(DataError, match="no image fits"):
        predict(trained_once, web.url, query=["Modality=MG"])


def test_a_query_is_for_an_archive(trained_once):
    config = replace(CPU, query=QUERY)
    with pytest.raises(UsageError, match="--query is for an archive"):
        predict_images(config, ["image.png"], trained_once.workspace)


def test_an_archives_studies_are_answered_there_and_once(trained_once, orthanc, films, tmp_path):
    """From one real archive by DICOMweb, back into it by C-STORE, and by STOW when resumed."""
    orthanc.store(*(as_bytes(film) for film in films))
    options = {"dicom": tmp_path / "results", "batch_size": 2}
    closed = f"A@127.0.0.1:{free_port()}"
    first = predict(trained_once, orthanc.dicomweb, **options, to=[orthanc.node, closed])
    assert first.dicom.files["reports"] == STUDIES
    assert first.dicom.failures == []
    assert (first.dicom.sent, len(first.dicom.unsent)) == (STUDIES, STUDIES)
    assert first.status == "some failed"
    stored = orthanc.count_by_study()
    made = Counter(file.parent.name for file in options["dicom"].glob("*/*.dcm"))
    assert stored == {
        study: count + sum(film.StudyInstanceUID == study for film in films)
        for study, count in made.items()
    }
    # Only what an archive lacks is sent, and nothing is scored again.
    again = predict(
        trained_once,
        orthanc.dicomweb,
        Hearing(),
        **options,
        resume=True,
        to=[orthanc.node, orthanc.dicomweb],
    )
    assert (again.dicom.complete, again.dicom.sent) == (STUDIES, STUDIES)
    assert (again.status, len(again.rows)) == ("done", 0)
    assert orthanc.count_by_study() == stored


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": ["A@h:1"]}, "--to sends the results of --dicom DIR"),
        ({"to": ["A@h"], "dicom": Path("x")}, "is no destination"),
        ({"archive_tls": True}, "--archive-tls goes with --to"),
        ({"ae": "WARD"}, "--ae goes with --to"),
        ({"archive_ca": Path("x")}, "no archive is reached over TLS"),
        ({"archive_ca": Path("x"), "to": ["A@h:1"], "dicom": Path("x")}, "no archive is reached"),
    ],
)
def test_options_of_archives_that_do_nothing_are_refused(trained_once, options, message):
    with pytest.raises(UsageError, match=message):
        predict(trained_once, "http://127.0.0.1:1/dicom-web", **options)
