from itertools import permutations

import pytest
from highdicom.sr import Comprehensive3DSR
from pydicom import dcmread
from pydicom.uid import generate_uid

from cxrtool.core.console import SILENT
from cxrtool.core.errors import DataError
from cxrtool.images.dicom.instance_ids import InstanceIds
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.inputs import Inputs
from cxrtool.pacs.predicted_studies import NO_DICOM, NO_STUDY, NOT_FETCHED, PredictedStudies
from cxrtool.pacs.result_folders import ResultFolders
from cxrtool.pacs.study_scorer import load_study_scorer
from tests.support.dicoms import saved
from tests.support.studies import cr, dx

CPU = Compute(engine="torch", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def scorer(trained_once):
    return load_study_scorer(trained_once.workspace.runs, [trained_once.run], CPU)


@pytest.fixture
def films(tmp_path):
    """Two films of one study and one of another."""
    first, second = generate_uid(), generate_uid()
    studies = first, second, first
    return [
        str(saved(tmp_path / f"{at}.dcm", dx(StudyInstanceUID=uid, InstanceNumber=at)))
        for at, uid in enumerate(studies)
    ], (first, second)


def sink_of(scorer, folder, files, coming=None):
    folders = ResultFolders(folder=folder, captures=False)
    inputs = Inputs(list(files), list(files))
    return PredictedStudies(scorer, folders, inputs, coming or files, SILENT, workers=1)


def scored(scorer, files):
    return dict(zip(files, scorer.ensemble.score(files, files, workers=0), strict=True))


def uids(folder):
    return {file.parent.name: dcmread(file).SOPInstanceUID for file in folder.rglob("report.dcm")}


def test_a_study_is_written_after_its_last_image_in_whatever_order(scorer, films, tmp_path):
    files, (first, second) = films
    scores, found = scored(scorer, files), []
    for number, order in enumerate(permutations(files)):
        folder = tmp_path / f"out{number}"
        sink = sink_of(scorer, folder, files)
        for at, file in enumerate(order):
            sink.take(file, file, scores[file])
            taken = set(order[: at + 1])
            expected = [first] * ({files[0], files[2]} <= taken) + [second] * (files[1] in taken)
            assert set(uids(folder)) == set(expected)
            assert not sink.lacks(file) or file != files[1]
        assert sink.finish().files["reports"] == 2
        found.append(uids(folder))
    assert all(one == found[0] for one in found)


def test_complete_studies_are_left_alone(scorer, films, tmp_path):
    files, (first, second) = films
    scores, folder = scored(scorer, files), tmp_path / "out"
    sink = sink_of(scorer, folder, files)
    sink.take(files[1], files[1], scores[files[1]])
    again = sink_of(scorer, folder, files)
    assert [again.lacks(file) for file in files] == [True, False, True]
    assert (again.counts.studies, again.counts.complete) == (2, 1)
    again.take(files[1], files[1], scores[files[1]])
    assert set(uids(folder)) == {second}
    assert again.finish().files["reports"] == 1
    assert set(uids(folder)) == {first, second}


@pytest.mark.filterwarnings("ignore")
def test_inputs_of_no_study_are_counted(scorer, films, tmp_path):
    files, _ = films
    text, odd = tmp_path / "a.txt", cr()
    text.write_text("words")
    del odd.StudyInstanceUID
    bare = saved(tmp_path / "bare.dcm", odd)
    wrong = saved(tmp_path / "wrong.dcm", cr(StudyInstanceUID="../../etc"))
    sink = sink_of(scorer, tmp_path / "out", [*files, str(text), str(bare), str(wrong)])
    assert sink.counts.without_study == {NO_DICOM: 1, NO_STUDY: 2}
    assert sink.counts.studies == 2
    assert not any(map(sink.lacks, map(str, (text, bare, wrong))))


def test_a_study_without_a_scored_image_has_its_report_in_the_end(scorer, tmp_path):
    study = generate_uid()
    made = dx(StudyInstanceUID=study, ViewPosition="LL")
    file = str(saved(tmp_path / "lateral.dcm", made))
    sink = sink_of(scorer, tmp_path / "out", [file], coming=["other"])
    assert sink.finish().files["reports"] == 1
    assert set(uids(tmp_path / "out")) == {study}


class Archive(list):
    """Where files come from; the sink asks it only for what is known of images, by their places."""

    def ids(self, place):
        return self[place]


def of_archive(tmp_path, study, number):
    """An archive's inputs of one study, and where their files are once they are fetched."""
    inputs = Inputs([], [], source=Archive())
    files = {}
    for at in range(number):
        made = dx(StudyInstanceUID=study, InstanceNumber=at, ViewPosition="LL" if at else "PA")
        name = f"dicomweb:{study}/1/{made.SOPInstanceUID}"
        lateral = "lateral view" if at else ""
        instance = str(made.SOPInstanceUID)
        inputs.source.append(InstanceIds(study, "1", instance, "", "", "", lateral))
        inputs.names.append(name)
        inputs.files.append(name)
        files[name] = str(saved(tmp_path / f"fetched-{at}.dcm", made))
    return inputs, files


def sink_of_archive(scorer, folder, inputs, coming):
    folders = ResultFolders(folder=folder, captures=False)
    return PredictedStudies(scorer, folders, inputs, coming, SILENT, workers=1)


def test_an_archives_study_is_known_before_its_files_are_there(scorer, tmp_path):
    study = generate_uid()
    inputs, files = of_archive(tmp_path, study, 2)
    sink = sink_of_archive(scorer, tmp_path / "out", inputs, inputs.names)
    assert (sink.counts.studies, dict(sink.counts.without_study)) == (1, {})
    for name, one in zip(files, scored(scorer, list(files.values())).values(), strict=True):
        assert uids(tmp_path / "out") == {}
        sink.take(name, files[name], one)
    assert set(uids(tmp_path / "out")) == {study}
    again = sink_of_archive(scorer, tmp_path / "out", inputs, inputs.names)
    assert again.counts.complete == 1


def test_what_is_not_fetched_is_said_in_the_report(scorer, tmp_path):
    study = generate_uid()
    inputs, files = of_archive(tmp_path, study, 2)
    first = inputs.names[0]
    sink = sink_of_archive(scorer, tmp_path / "out", inputs, [first])
    (one,) = scored(scorer, [files[first]]).values()
    sink.take(first, files[first], one)
    report = Comprehensive3DSR.from_dataset(dcmread(tmp_path / "out" / study / "report.dcm"))
    last = report.content.get_image_measurement_groups()[-1]
    assert last[0].ContentSequence[-1].TextValue == f"1 file left out: {NOT_FETCHED}"


def test_a_study_of_which_an_archive_gave_not_all_has_no_results_yet(scorer, tmp_path):
    inputs, files = of_archive(tmp_path, generate_uid(), 1)
    (name,) = inputs.names
    sink = sink_of_archive(scorer, tmp_path / "out", inputs, inputs.names)
    (one,) = scored(scorer, [files[name]]).values()
    sink.take(name, files[name], one, "the archive is down")
    assert sink.finish().failures == [(name, "the archive is down")]
    assert uids(tmp_path / "out") == {}


def test_a_full_disk_ends_the_work_and_says_how_to_go_on(scorer, films, tmp_path, monkeypatch):
    files, _ = films

    def fail(*args, **options):
        yield from ()
        raise OSError(28, "No space left on device", "report.dcm")

    monkeypatch.setattr("cxrtool.pacs.result_folders.study_results", fail)
    sink = sink_of(scorer, tmp_path / "out", files)
    with pytest.raises(DataError, match=r"No space left on device; .*--resume"):
        sink.take(files[1], files[1], scored(scorer, files)[files[1]])
