"""The journal that a table of predictions is gone on from."""

import errno
import json
import os
from io import FileIO

import numpy as np
import pytest

from cxrtool.core.errors import DataError
from cxrtool.core.locks import only_writer
from cxrtool.data.prediction_rows import Row, read_rows, write_rows
from cxrtool.inference import journal as journal_module
from cxrtool.inference.journal import Journal, check_begun, files_of
from tests.support.rows import LABELS, ODD, some_rows, without_logits

MADE = {"model": "a", "engine": "torch on cpu, fp32"}


def begun(tmp_path, rows, process=0, made=MADE):
    kept = Journal(tmp_path / "t.csv", made, LABELS)
    with kept.writing(process) as write:
        for row in rows:
            write(row)
    return kept


def again(tmp_path, made=MADE):
    kept = Journal(tmp_path / "t.csv", made, LABELS)
    kept.read()
    return kept


def test_a_journal_knows_what_is_done_and_gives_it_in_any_order(tmp_path):
    rows = without_logits(some_rows())
    begun(tmp_path, rows[:4])
    begun(tmp_path, rows[4:], process=1)
    kept = again(tmp_path)
    assert len(kept) == len(ODD)
    assert all(kept.done(name) for name in ODD)
    assert not kept.done("gone.png")  # it is tried again
    wanted = [row.path for row in rows[::-1]] + [ODD[0]]
    assert [row.path for row in kept.rows(wanted)] == wanted
    assert list(kept.rows([ODD[1]])) == [rows[1]]
    kept.remove()
    assert files_of(tmp_path / "t.csv") == []


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_row_that_a_kill_cut_off_is_not_counted_and_not_in_the_way(tmp_path, cut):
    rows = without_logits(some_rows())
    begun(tmp_path, rows[:3])
    (file,) = files_of(tmp_path / "t.csv")
    os.truncate(file, file.stat().st_size - cut)
    kept = again(tmp_path)
    assert [kept.done(row.path) for row in rows[:3]] == [True, True, False]
    with kept.writing(0) as write:
        write(rows[2])
        write(rows[3])
    assert list(again(tmp_path).rows(row.path for row in rows[:4])) == rows[:4]


@pytest.mark.parametrize(
    "line",
    [
        b"\0\0\0",
        b"[]",
        b"[" * 100_000,
        b'{"path": "y"}',
        b'{"error": "no such file"}',
        *(
            json.dumps({**Row(path="y", scores=(0.5, 0.25)).as_json(LABELS), **change}).encode()
            for change in ({"Edema": "high"}, {"Edema": None}, {"Edema": 2}, {"positive": 1})
        ),
        json.dumps({**Row(path="y", scores=(0.5, 0.25)).as_json(LABELS), "path": ["y"]}).encode(),
        json.dumps({**Row(path="y", scores=(0.5, 0.25)).as_json(LABELS), "Edema": np.nan}).encode(),
    ],
)
def test_a_line_that_is_no_row_is_not_counted_and_those_after_it_are(tmp_path, line):
    rows = without_logits(some_rows())
    begun(tmp_path, rows[:2])
    (file,) = files_of(tmp_path / "t.csv")
    file.write_bytes(file.read_bytes() + line + b"\n")
    begun(tmp_path, rows[2:4])
    kept = again(tmp_path)
    assert (len(kept), kept.done("y"), kept.failed("y")) == (4, False, False)
    assert list(kept.rows(row.path for row in rows[:4])) == rows[:4]


def test_a_failure_is_replaced_by_a_later_row_and_not_the_other_way_round(tmp_path):
    failed = Row(path="x", scores=None, error="no such file")
    good = Row(path="x", scores=(0.5, 0.25))
    begun(tmp_path, [failed, good])
    assert list(again(tmp_path).rows(["x"])) == [good]
    begun(tmp_path, [failed], process=1)
    kept = again(tmp_path)
    assert kept.done("x")
    assert list(kept.rows(["x"])) == [good]


def test_rows_of_another_model_are_not_put_among_them(tmp_path):
    begun(tmp_path, some_rows()[:2])
    with pytest.raises(DataError, match=r"made with another model \(a, and now b\)"):
        again(tmp_path, {**MADE, "model": "b"})


def test_what_is_there_is_replaced_or_gone_on_with_only_when_asked(tmp_path):
    output = tmp_path / "t.csv"
    check_begun(output, force=False, resume=False)
    begun(tmp_path, some_rows()[:1])
    with pytest.raises(DataError, match=r"begun and not finished .*--resume .*--force"):
        check_begun(output, force=False, resume=False)
    output.write_text("mine")
    with pytest.raises(DataError, match=r"exists: --resume .*--force"):
        check_begun(output, force=False, resume=False)
    check_begun(output, force=True, resume=False)
    check_begun(output, force=False, resume=True)


def test_a_full_disk_is_one_message_and_the_rows_before_it_are_kept(tmp_path, monkeypatch):
    rows = without_logits(some_rows())
    lines = iter([None, None, OSError(errno.ENOSPC, "No space left on device")])
    real = journal_module.json_line

    def full(row, labels):
        error = next(lines)
        if error is not None:
            raise error
        return real(row, labels)

    monkeypatch.setattr(journal_module, "json_line", full)
    with pytest.raises(DataError, match=r"No space left.*2 rows before it are kept.*--resume"):
        begun(tmp_path, rows)
    monkeypatch.undo()
    assert list(again(tmp_path).rows([rows[0].path, rows[1].path])) == rows[:2]


def test_a_glob_in_the_tables_name_is_a_name(tmp_path):
    kept = Journal(tmp_path / "t[1].csv", MADE, LABELS)
    with kept.writing() as write:
        write(some_rows()[0])
    assert len(files_of(tmp_path / "t[1].csv")) == 1
    assert files_of(tmp_path / "t1.csv") == []


EVERY_KIND = [
    Row(path="scored.png", scores=(0.25, 0.75), positive=("Pleural Effusion",)),
    Row(path="gone.png", scores=None, error="no such file"),
    Row(path="lateral.dcm", scores=(0.9, 1e-300), positive=("Edema",), warning="a lateral; odd"),
    Row(path="torn.jpg", scores=None, warning="the first of several pages", error="cut, off"),
    Row(path="white.png", scores=(0.999, 0.001), warning="blank: every pixel is 255"),
    Row(path="last;\n.png", scores=(0.0, 1.0)),
]


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl"])
def test_stopped_after_any_row_of_any_kind_a_table_becomes_the_undisturbed_one(tmp_path, ending):
    whole, output = tmp_path / f"whole.{ending}", tmp_path / f"t.{ending}"
    write_rows(EVERY_KIND, whole, LABELS)
    for stops in ([], *([at] for at in range(7)), [0, 1, 1, 2, 4], [3, 5]):
        for stop in [*stops, len(EVERY_KIND)]:
            kept = Journal(output, MADE, LABELS)
            kept.read()
            with kept.writing() as write:
                for row in EVERY_KIND[:stop]:
                    if not kept.done(row.path):
                        write(row)
        kept = Journal(output, MADE, LABELS)
        kept.read()
        write_rows(kept.rows(row.path for row in EVERY_KIND), output, LABELS)
        assert output.read_bytes() == whole.read_bytes()
        assert list(read_rows(output, LABELS)) == EVERY_KIND
        kept.remove()


def test_a_disk_that_is_full_at_any_byte_leaves_what_is_resumed_to_the_undisturbed_table(
    tmp_path, monkeypatch
):
    whole, output = tmp_path / "whole.csv", tmp_path / "t.csv"
    write_rows(EVERY_KIND, whole, LABELS)

    class FullDisk(FileIO):
        room = 0

        def write(self, data):
            free = self.room - self.seek(0, 2)
            if free <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data[:free])

    def write_all():
        kept = Journal(output, MADE, LABELS)
        kept.read()
        with kept.writing() as write:
            for row in EVERY_KIND:
                if not kept.done(row.path):
                    write(row)
        return kept

    size = sum(file.stat().st_size for file in write_all().files)
    again(tmp_path).remove()
    for room in range(0, size, 5):
        with monkeypatch.context() as patch:
            patch.setattr(FullDisk, "room", room)
            patch.setattr(journal_module, "FileIO", FullDisk)
            with pytest.raises(DataError, match="No space left on device"):
                write_all()
            with pytest.raises(DataError, match="No space left on device"):
                write_all()  # it is still full
        kept = write_all()
        write_rows(kept.rows(row.path for row in EVERY_KIND), output, LABELS)
        assert output.read_bytes() == whole.read_bytes()
        for file in kept.files:
            assert all(json.loads(line) for line in file.read_text().splitlines())
        kept.remove()


def test_a_journal_that_is_no_file_of_ours_is_neither_waited_for_nor_believed(tmp_path):
    os.mkfifo(tmp_path / "t.csv.rows-0")
    with pytest.raises(DataError, match=r"a named pipe.*--force"):
        again(tmp_path)
    (tmp_path / "t.csv.rows-0").unlink()
    (tmp_path / "t.csv.rows-0").write_text('what\n{"path": "x"}\n')
    with pytest.raises(DataError, match="made with another format"):
        again(tmp_path)


def test_a_second_writer_of_a_table_is_refused_at_once_and_leaves_nothing(tmp_path):
    output = tmp_path / "new" / "t.csv"
    with only_writer(output):
        with pytest.raises(DataError, match=r"another process is writing .*t\.csv"):
            only_writer(output).__enter__()
        with only_writer(tmp_path / "new" / "other.csv"):
            pass
    assert list(tmp_path.iterdir()) == []
    with only_writer(output):
        output.touch()
    assert list(tmp_path.rglob("*")) == [output.parent, output]
