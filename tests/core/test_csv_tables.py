import codecs
import gzip
import random

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.csv_tables import (
    line_numbers,
    read_foreign_table,
    read_header,
    read_table,
    write_table,
)
from cxrtool.core.errors import DataError
from cxrtool.data.problems import Problems
from cxrtool.data.sources.rows import open_table

TEXT = "path,note\n1.png,Ödem\n2.png,\n"
CELLS = {"path": ["1.png", "2.png"], "note": ["Ödem", ""]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "table.csv"


def read(path, content, columns=("path",)):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, columns).to_dict("list")


def assert_refused(path, content, told, columns=("path",)):
    with pytest.raises(DataError, match=told) as error:
        read(path, content, columns)
    assert str(path) in str(error.value)


SAVED = {
    "plain": TEXT.encode(),
    "bom": codecs.BOM_UTF8 + TEXT.encode(),
    "utf-16": TEXT.encode("utf-16"),
    "utf-16-be": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "utf-32": TEXT.encode("utf-32"),
    "crlf": TEXT.replace("\n", "\r\n").encode(),
    "bom and crlf": codecs.BOM_UTF8 + TEXT.replace("\n", "\r\n").encode(),
    "no last line end": TEXT.rstrip("\n").encode(),
    "blank lines at the end": (TEXT + "\n\r\n\n").encode(),
    "spaces in the header": TEXT.replace("path,note", " path ,note ").encode(),
    "quotes": TEXT.replace("1.png", '"1.png"').encode(),
    "old Mac": TEXT.replace("\n", "\r").encode(),
}
DAMAGED = {
    "cut off": ("path,b,c\n1,2,3\n4,5", "1 of 3 lines .*header's 3 fields .*line 3 has 2.*cut"),
    "too many": ("path,b\n1,2\n3,4,5\n6,7\n", "line 3 has 3"),
    "blank in the middle": ("path,b\n1,2\n\n3,4\n", "line 3 has 1"),
    "several": ("path,b\n1,\n2\n3,,\n4\n5\n", "4 of 6 lines .*line 3 has 1, line 4 has 3"),
    "after a quoted line end": ('path,b\n"1\n1",2\n3\n', "line 4 has 1"),
    "blank with quotes": ('path,b\n1,2\n\n"3",4\n', "line 3 has 0"),
    "comma after rows": ("path,b\n1,2,\n3,4,\n", "2 of 3 lines"),
    "comma after header": ("path,b,\n1,2\n3,4\n", "2 of 3 lines"),
    "lone carriage return": ("path,b\n1,x\ry\n3,4\n", "line 3 has 1"),
}


@pytest.mark.parametrize("content", SAVED.values(), ids=SAVED)
def test_a_table_says_the_same_however_it_was_saved(path, content):
    assert read(path, content) == CELLS


def test_a_gzipped_table_says_the_same(tmp_path):
    assert read(tmp_path / "table.csv.gz", gzip.compress(TEXT.encode())) == CELLS


def test_every_cell_is_text_and_none_is_taken_for_a_missing_one(path):
    assert read(path, "path,b\n007,NA\nnan, x \n1e3,None\n") == {
        "path": ["007", "nan", "1e3"],
        "b": ["NA", " x ", "None"],
    }


def test_columns_may_stand_in_any_order_beside_others(path):
    cells = read(path, "b,c,path\n1,2,3\n", columns=("path", "b"))
    assert cells == {"b": ["1"], "c": ["2"], "path": ["3"]}


def test_a_quoted_cell_may_hold_commas_quotes_and_line_ends(path):
    assert read(path, 'path,b\n"a, b","c\nd"\n2,"say ""ah"""\n') == {
        "path": ["a, b", "2"],
        "b": ["c\nd", 'say "ah"'],
    }


def test_a_table_is_read_back_as_it_was_written(path):
    frame = pd.DataFrame({"path": ["a,b", 'c"d', "e\nf"], "n": ["", "1", " x"]}, dtype="str")
    write_table(frame, path)
    pd.testing.assert_frame_equal(read_table(path, ["path"]), frame)


# Encodings


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_another_encoding_is_guessed_for_others_tables_and_told(tmp_path, name):
    content = TEXT.encode("cp1252")
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    problems = Problems()
    assert open_table(path, ["path"], problems).to_dict("list") == CELLS
    assert problems.counts(kept=True) == problems.counts() == {"encoding": 1}
    assert problems.table()["where"].tolist() == [name]


def test_utf_8_and_utf_16_are_not_told(path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(TEXT.encode(encoding))
        problems = Problems()
        open_table(path, ["path"], problems)
        assert problems.counts() == {}


def test_a_table_of_ours_in_another_encoding_is_refused(path):
    assert_refused(path, TEXT.encode("cp1252"), "is not UTF-8")


def test_any_bytes_can_be_read_as_windows_1252(path):
    path.write_bytes(b"path,b\n" + bytes(set(range(128, 256))) + b",1\n")
    assert read_foreign_table(path, ["path"])[1] == "cp1252"


@pytest.mark.parametrize(
    "content", [b"path,b\n1,\x002\n", TEXT.encode("utf-16-le"), b"\x89PNG\0\0\0\rIHDR"]
)
def test_zero_bytes_are_no_text(path, content):
    assert_refused(path, content, "zero bytes")


def test_a_mark_that_lies_is_refused(path):
    assert_refused(path, codecs.BOM_UTF16_LE + b"abc", "cannot be read")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_header_is_read_as_the_table_is(tmp_path, encoding):
    for name, pack in (("table.csv", bytes), ("table.csv.gz", gzip.compress)):
        content = 'sep=,\r\nPath, "a,b" ,c\r1,2,3\r'.replace(' "a,b" ', '"a,b"')
        (tmp_path / name).write_bytes(pack(content.encode(encoding)))
        assert read_header(tmp_path / name) == ["Path", "a,b", "c"]


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b cut", b"\0\0\0", b'"never closed'])
def test_a_header_that_cannot_be_read_is_none_of_any_table(tmp_path, content):
    for name in ("table.csv", "table.csv.gz"):
        (tmp_path / name).write_bytes(content)
        assert "Path" not in read_header(tmp_path / name)
    assert read_header(tmp_path / "missing.csv") == []


# What is damaged


@pytest.mark.parametrize(("content", "told"), DAMAGED.values(), ids=DAMAGED)
def test_a_line_without_the_headers_fields_is_named(path, content, told):
    assert_refused(path, content, told)


def test_a_blank_line_of_a_table_with_one_column_is_a_blank_cell(path):
    assert read(path, "path\n1\n\n2\n") == {"path": ["1", "", "2"]}


def test_commas_after_every_line_are_no_columns(path):
    assert read(path, "path,b,,,\n1,2,,, \n") == {"path": ["1"], "b": ["2"]}


def test_one_column_without_a_name_is_kept_and_two_are_refused(path):
    assert read(path, ",path,\n0,a,\n1,b,\n") == {"": ["0", "1"], "path": ["a", "b"]}
    assert_refused(path, ",path,\n0,a,x\n", r"2 columns without a name .*\(columns 1, 3\)")


@pytest.mark.parametrize("first", ["sep=,", '"sep=,"', "sep=,\r"])
def test_excels_line_about_the_separator_is_none_of_the_table(path, first):
    assert read(path, f"{first}\npath,b\n1,2\n") == {"path": ["1"], "b": ["2"]}


@pytest.mark.parametrize("length", [10, 200_000])
def test_a_quote_that_is_never_closed_is_told(path, length):
    assert_refused(
        path, 'path,b\n1,"' + "x,y\n" * length, "cannot be read|do not have the header's"
    )


def test_a_column_that_is_there_twice_is_refused(path):
    assert_refused(path, "path,b,path\n1,2,3\n", "column path twice")
    assert_refused(path, "path,b, b\n1,2,3\n", "column b twice")


@pytest.mark.parametrize("content", [b"", b"\n\n", b" \r\n", codecs.BOM_UTF8])
def test_an_empty_table_is_refused(path, content):
    assert_refused(path, content, "is empty")


def test_a_header_alone_is_refused(path):
    assert_refused(path, "path,b\n", "has no rows")


def test_a_missing_column_is_named_with_those_that_are_there(path):
    assert_refused(
        path, "a,b\n1,2\n", "no column path, x: its columns are a, b$", columns=("path", "x")
    )


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_another_separator_is_guessed_in_the_message(path, mark):
    told = repr(mark).replace("|", r"\|").replace("\\t", "\\\\t")
    assert_refused(path, TEXT.replace(",", mark), f"separated by {told}.*save it with commas")


def test_a_file_that_cannot_be_read_is_named(path, tmp_path):
    for place in (path, tmp_path):
        with pytest.raises(DataError, match=f"{place} cannot be read"):
            read_table(place, [])


@pytest.mark.parametrize("damage", ["plain", "cut", "bytes", "checksum"])
def test_a_damaged_gzip_is_named(tmp_path, damage):
    draw = random.Random(1)
    rows = "".join(f"{draw.random()},{n}\n" for n in range(2000))
    content = bytearray(gzip.compress(f"path,b\n{rows}".encode()))
    if damage == "cut":
        content = content[:-100]
    elif damage == "bytes":
        content[2000:2020] = b"\xff" * 20
    elif damage == "checksum":
        content[-6] ^= 1
    elif damage == "plain":
        content = TEXT.encode()
    assert_refused(tmp_path / "table.csv.gz", bytes(content), "cannot be read")


def test_lines_are_counted_as_an_editor_counts_them():
    assert line_numbers(np.array([True, False, True])) == [2, 4]
