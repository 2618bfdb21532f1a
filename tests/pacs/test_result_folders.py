from dataclasses import replace

import pytest

from cxrtool.pacs.result_folders import DONE, ResultFolders
from tests.support.studies import MODEL, STUDY, findings, heat, read_back, study, study_image

LABELS = ["Edema", "Pleural Effusion"]


def image(scores=(0.9, 0.8)):
    return study_image(findings=findings(list(scores), LABELS), heat={"Edema": heat()})


def names(folder):
    return sorted(file.name for file in (folder / STUDY).iterdir())


@pytest.fixture
def folders(tmp_path):
    return ResultFolders(folder=tmp_path, presentation=True)


def test_a_study_has_a_folder_of_its_own_with_whole_files(folders, tmp_path):
    counts = folders.write(study(image()), "work")
    assert names(tmp_path) == [
        DONE,
        "marks-1.dcm",
        "picture-1.dcm",
        "picture-2.dcm",
        "report.dcm",
    ]
    assert counts == {"reports": 1, "pictures": 2, "marks": 1}
    assert read_back((tmp_path / STUDY / "report.dcm").read_bytes()).Modality == "SR"
    assert folders.is_complete(STUDY, "work")
    assert not folders.is_complete(STUDY, "other")
    assert not folders.is_complete("1.2.3", "work")


def test_what_other_work_left_is_replaced_and_what_is_not_ours_is_kept(folders, tmp_path):
    folders.write(study(image()), "first")
    (tmp_path / STUDY / "notes.txt").touch()
    plain = ResultFolders(folder=tmp_path)
    counts = plain.write(study(image([0.9, 0.1])), "second")
    assert names(tmp_path) == [DONE, "notes.txt", "picture-1.dcm", "report.dcm"]
    assert counts == {"reports": 1, "pictures": 1, "marks": 0}
    assert not plain.is_complete(STUDY, "first")


def test_it_is_complete_only_after_its_last_file(folders, tmp_path, monkeypatch):
    folders.write(study(image()), "work")

    def fail(*args, **options):
        yield from ()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cxrtool.pacs.result_folders.study_results", fail)
    with pytest.raises(OSError, match="No space left"):
        folders.write(study(image()), "work")
    assert not folders.is_complete(STUDY, "work")


def test_the_work_is_another_with_another_model_image_or_kind_of_result(folders):
    work = folders.work(MODEL, STUDY, ["1.1", "1.2"])
    assert folders.work(MODEL, STUDY, ["1.2", "1.1"]) == work
    others = {
        folders.work(replace(MODEL, decisions="x"), STUDY, ["1.1", "1.2"]),
        folders.work(MODEL, STUDY, ["1.1"]),
        folders.work(MODEL, "1.9", ["1.1", "1.2"]),
        replace(folders, presentation=False).work(MODEL, STUDY, ["1.1", "1.2"]),
        replace(folders, sr_class="enhanced").work(MODEL, STUDY, ["1.1", "1.2"]),
        replace(folders, captures=False).work(MODEL, STUDY, ["1.1", "1.2"]),
    }
    assert len(others | {work}) == 7
