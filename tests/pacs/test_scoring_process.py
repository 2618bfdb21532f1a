"""The process that scores: with a real model, on studies of all kinds."""

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from cxrtool.core.errors import RunError
from cxrtool.pacs.scoring_process import Model
from cxrtool.pacs.study_worker import ScoringProcess
from tests.support.dicoms import NAME, NUMBER, saved
from tests.support.studies import STUDY, dx


@pytest.fixture(scope="module")
def process(trained_once):
    model = Model(
        runs=str(trained_once.workspace.runs),
        models=(trained_once.run,),
        engine="torch",
        device="cpu",
        precision="fp32",
    )
    made = ScoringProcess(model)
    made.wait_until_ready()
    yield made
    made.end()


def ask(process, folder, *images, given_up=""):
    files = [saved(folder / f"{place}.dcm", one) for place, one in enumerate(images)]
    into = folder / "results"
    into.mkdir()
    question = {"files": [str(one) for one in files], "into": str(into), "given_up": given_up}
    return process.ask(question), into


def test_a_study_gets_its_report_and_pictures(process, tmp_path):
    answer, into = ask(process, tmp_path, dx(), dx(ViewPosition="LL"), dx(PixelData=b"\0\0"))
    assert (answer["images"], answer["scored"]) == (3, 1)
    assert answer["results"] == len(list(into.iterdir()))
    assert any("lateral view" in one for one in answer["why_not"])
    report = dcmread(into / "report.dcm")
    assert (report.StudyInstanceUID, report.PatientName) == (STUDY, NAME)
    assert not any(one in str(answer) for one in (NAME, "Secret", NUMBER, "ACC-9"))


def test_a_study_that_was_given_up_gets_a_report_that_says_why(process, tmp_path):
    why = "could not be scored: the scoring process ended (signal 9)"
    answer, into = ask(process, tmp_path, dx(), given_up=why)
    assert (answer["scored"], answer["results"]) == (0, 1)
    assert answer["why_not"] == [why]
    assert why.encode() in (into / "report.dcm").read_bytes()


def test_mixed_patients_are_refused_without_naming_them(process, tmp_path):
    answer, into = ask(process, tmp_path, dx(), dx(PatientID="ID-4712"))
    assert "several patients" in answer["refused"]
    assert "ID-471" not in answer["refused"]
    assert list(into.iterdir()) == []


def test_results_that_cannot_be_written_are_tried_again(process, tmp_path):
    files = [str(saved(tmp_path / "one.dcm", dx(StudyInstanceUID=generate_uid())))]
    answer = process.ask({"files": files, "into": str(tmp_path / "none"), "given_up": ""})
    assert "delayed" in answer


def test_a_run_that_is_not_there_is_an_error(tmp_path):
    process = ScoringProcess(Model(runs=str(tmp_path), models=("none",)))
    with pytest.raises(RunError, match="none"):
        process.wait_until_ready()
    assert process.end() in ("exit code 0", "exit code 1")  # of the closed pipe
