"""CSV tables: read as text, each line with the fields that its header promises; written whole."""

import codecs
import csv
import errno
import gzip
import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.errors import DataError, first_few
from cxrtool.core.files import open_regular, read_bytes, whole_file

MOST_BYTES = 2 * 2**30
"""Of a table, unpacked; CheXpert's has 22 million."""
FIRST_ROW = 2
"""The line of a table's first row, as an editor counts: the header is line 1."""
LONGEST_LINE = 65_536
"""Of the first line, what is read to recognise a table by."""
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark begins it
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
FALLBACK = "cp1252"
"""What is not UTF-8 is taken for: Windows-1252, the usual other one."""
OTHER_SEPARATORS = (";", "\t", "|")
_SEPARATOR_LINE = re.compile(r'\A"?sep=.?"?\n')
"""Excel's own first line; lines are counted from the one below it."""


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a CSV, whole or not at all. Whole numbers are written without a point."""
    with whole_file(path) as temporary:
        frame.to_csv(temporary, index=False)


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read one of our own CSVs as text, blank cells as empty strings.

    Raises:
        DataError: the file cannot be read, is not UTF-8 (or UTF-16 with its mark), has a line
            with more or fewer fields than the header, has no rows, or lacks one of `columns`.
    """
    frame, encoding, _ = read_foreign_table(path, columns)
    if encoding == FALLBACK:
        raise DataError(f"{path} is not UTF-8: save it as UTF-8")
    return frame


class Foreign(NamedTuple):
    """A table that others wrote, and how it was read."""

    frame: pd.DataFrame
    encoding: str
    ended: bool
    """Whether its last line has an end, as programs write it: a copy that was cut has none."""


def read_foreign_table(path: Path, columns: Sequence[str]) -> Foreign:
    """Read a CSV that may be gzipped or in another encoding. Raises DataError as `read_table`."""
    try:
        text, encoding = _decode(_read_bytes(path))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        # The system's own words name the path once more, and a number.
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read as a CSV table: {reason}") from None
    # pandas ends a line at a lone carriage return, which the check of the fields must see too.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    ended = text.endswith("\n")
    text = _SEPARATOR_LINE.sub("", text.rstrip())  # blank lines at the end are nobody's rows
    if not text:
        raise DataError(f"{path} is empty")
    try:
        header = _check_fields(text, path)
        frame = pd.read_csv(
            io.StringIO(text),
            names=range(len(header)),  # several may have no name
            header=0,
            dtype=str,
            keep_default_na=False,
            index_col=False,
            skip_blank_lines=False,  # so that the rows' numbers stay the lines'
        )
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV table: {error}") from None
    frame.columns = pd.Index(header)
    frame = _without_blank_columns(frame, path)
    need_columns(frame, columns, path)
    if frame.empty:
        raise DataError(f"{path} has no rows")
    return Foreign(frame, encoding, ended)


def read_header(path: Path) -> list[str]:
    """The names in a table's first line, to recognise it by; none where they cannot be read."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LONGEST_LINE)
    except (OSError, EOFError, zlib.error):
        return []
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    text = "\n".join(content.decode(encoding, errors="replace").splitlines())
    try:
        header = next(csv.reader(io.StringIO(_SEPARATOR_LINE.sub("", text))), [])
    except csv.Error:
        return []
    return [name.strip() for name in header]


def need_columns(frame: pd.DataFrame, columns: Sequence[str], path: Path | str) -> None:
    """Refuse a table that lacks columns.

    Raises:
        DataError: it names them all, and those that are there.
    """
    header = [str(column) for column in frame.columns]
    if missing := [column for column in columns if column not in header]:
        other = _other_separator(header)
        hint = f" (separated by {other!r}? save it with commas)" if other else ""
        raise DataError(
            f"{path} has no column {first_few(missing, 20)}: "
            f"its columns are {first_few(header, 30)}{hint}"
        )


def _without_blank_columns(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table without columns that have neither a name nor a cell, as spreadsheets add them.

    A spreadsheet's commas at the ends of all lines make such; a numbering that pandas wrote makes
    one column that has no name but cells, which is kept.
    """
    unnamed = [at for at, name in enumerate(frame.columns) if name == ""]
    cells = {at: frame.iloc[:, at].astype(str) for at in unnamed}
    filled = [at for at in unnamed if (cells[at].str.strip() != "").any()]
    if len(filled) > 1:
        raise DataError(
            f"{path} has {len(filled)} columns without a name that hold cells (columns "
            f"{first_few([at + 1 for at in filled])}): name them in the first line, or remove them"
        )
    blank = set(unnamed) - set(filled)
    kept = [at not in blank for at in range(len(frame.columns))]
    return frame.loc[:, kept] if blank else frame


def _read_bytes(path: Path) -> bytes:
    if path.suffix != ".gz":
        return read_bytes(path, MOST_BYTES)
    with open_regular(path) as packed, gzip.open(packed, "rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it unpacks to more than {MOST_BYTES:,} bytes", str(path))
    return content


def _decode(content: bytes) -> tuple[str, str]:
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return content.decode(encoding), encoding
    if b"\0" in content:
        raise ValueError("it holds zero bytes: it is not text, or it is UTF-16 without its mark")
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return content.decode(FALLBACK, errors="replace"), FALLBACK


def _check_fields(text: str, path: Path) -> list[str]:
    """The header's names; refuses a table in which a line has more or fewer fields than those.

    pandas fills the rest of a cut-off line with blanks, and a blank label has a meaning. It also
    renames a column that occurs twice.
    """
    header = [name.strip() for name in next(csv.reader(io.StringIO(text)))]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise DataError(f"{path} has the column {first_few(twice)} twice: remove one")
    if '"' in text:
        reader = csv.reader(io.StringIO(text))
        counts = [(reader.line_num, len(row)) for row in reader]
    else:
        counts = [(at, row.count(",") + 1) for at, row in enumerate(text.split("\n"), start=1)]
    expected = len(header)
    wrong = [f"line {line} has {count}" for line, count in counts if count != expected]
    if wrong:
        advice = "is it cut off? Copy it again, or correct the lines"
        if other := _other_separator(header):
            advice = f"is it separated by {other!r}? Save it with commas, and decimal points"
        raise DataError(
            f"{path}: {len(wrong)} of {len(counts):,} lines do not have the header's {expected} "
            f"fields ({first_few(wrong)}): {advice}"
        )
    return header


def _other_separator(header: Sequence[str]) -> str | None:
    """What seems to stand between the names of a header that has no comma."""
    return next((one for one in OTHER_SEPARATORS if len(header) == 1 and one in header[0]), None)


def line_numbers(bad: NDArray[np.bool_]) -> list[int]:
    """The lines of a file on which the marked rows stand."""
    return [int(row) + FIRST_ROW for row in np.flatnonzero(bad)]
