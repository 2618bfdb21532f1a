"""A folder as a destination."""

import pytest

from cxrtool.core.errors import DataError
from cxrtool.pacs.delivery import TransientError
from cxrtool.pacs.results_folder import ResultsFolder
from tests.support.dicoms import saved
from tests.support.studies import STUDY, dx


def test_results_of_a_study_appear_at_once_and_replace_earlier_ones(tmp_path):
    out = ResultsFolder(folder=tmp_path / "out")
    files = [saved(tmp_path / name, dx()) for name in ("report.dcm", "picture-1.dcm")]
    assert len(out.send(files).accepted) == 2
    assert {path.name for path in (out.folder / STUDY).iterdir()} == {"report.dcm", "picture-1.dcm"}
    assert not out.send(files[:1]).refused
    (file,) = (out.folder / STUDY).iterdir()
    assert file.read_bytes() == files[0].read_bytes()
    assert [path.name for path in out.folder.iterdir()] == [STUDY]


def test_a_folder_that_cannot_be_written_to_is_tried_again(tmp_path):
    (tmp_path / "file").touch()
    out = ResultsFolder(folder=tmp_path / "file")
    with pytest.raises(TransientError):
        out.send([saved(tmp_path / "one.dcm", dx())])
    with pytest.raises(TransientError):
        out.echo()


def test_what_a_kill_left_is_removed_and_what_is_no_result_is_refused(tmp_path):
    out = ResultsFolder(folder=tmp_path)
    (tmp_path / ".cxrtool-abc" / "new").mkdir(parents=True)
    out.sweep()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.dcm").write_text("none")
    with pytest.raises(DataError):
        out.send([tmp_path / "x.dcm"])
