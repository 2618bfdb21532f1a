"""Rows of predictions, one at a time, and tables of them: CSV, JSON and JSON lines."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.files import open_regular, whole_file
from cxrtool.images.blanks import undecidable

AFTER = ("positive", "warning", "error")
"""The columns after the labels."""
VERDICT = "verdict"
"""The column after these, of a model with two certified thresholds a label."""
RULE_OUT, READ_FIRST, RULE_IN = "rule-out", "read-first", "rule-in"
IDS = (
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "accession_number",
    "view",
    "modality",
)
"""Columns that lead back to an archive, on request."""
PROVENANCE = (
    "model",
    "weights_sha256",
    "operating_point",
    "thresholds",
    "cxrtool_version",
    "scored_at",
)
"""Columns that say what a row was made with, on request."""
OF_STUDY = ("images", "laterals_left_out")
"""Columns of rows that are a study each."""
MORE = (*OF_STUDY, *IDS, *PROVENANCE)
"""All columns that not every table has, after the verdicts, in their order."""
SEPARATOR = ";"
OF_LOGITS = ":logit"
"""What a label's column of logits is called after the label."""
KINDS = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
"""What a file's ending asks for."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """An image's probabilities and decisions, or why there are none."""

    path: str
    """As the user named it."""
    scores: tuple[float, ...] | None
    """A probability a label; None where the image could not be read."""
    logits: tuple[float, ...] | None = None
    """Of what the network said, not calibrated; None where that is not known."""
    positive: tuple[str, ...] = ()
    """The labels at or over their threshold."""
    warning: str = ""
    error: str = ""
    verdicts: tuple[str, ...] | None = None
    """Of labels with two certified thresholds, `LABEL:rule-out`, `read-first` or `rule-in`; None
    where the model has no such labels."""
    more: Mapping[str, str] = field(default_factory=dict)
    """What it has under the names of `MORE`, in their order."""

    def __post_init__(self) -> None:
        if self.scores is None and (self.positive or self.verdicts):
            raise ValueError(f"{self.path} has no probabilities, and something is decided of it")

    def as_json(self, labels: Sequence[str]) -> dict[str, Any]:
        """The row as an object of one level: path, labels, positive, warning, error, and more."""
        scores = [None] * len(labels) if self.scores is None else self.scores
        after = (SEPARATOR.join(self.positive), self.warning, self.error)
        found = {
            "path": self.path,
            **dict(zip(labels, scores, strict=True)),
            **dict(zip(AFTER, after, strict=True)),
        }
        if self.verdicts is not None:
            found[VERDICT] = SEPARATOR.join(self.verdicts)
        return {**found, **self.more}


def decide(
    scores: Iterable[float],
    labels: Sequence[str],
    thresholds: Mapping[str, float | None],
    warning: str = "",
) -> tuple[str, ...]:
    """The labels whose probability is at or over their threshold; none without one.

    Nothing is decided of a picture that shows nothing, or no chest, by its `warning`.
    """
    if undecidable(warning):
        return ()
    return tuple(
        label
        for label, score in zip(labels, scores, strict=True)
        if (limit := thresholds[label]) is not None and float(score) >= limit
    )


def judge(
    scores: Iterable[float],
    labels: Sequence[str],
    limits: Mapping[str, tuple[float, float]],
    warning: str = "",
) -> dict[str, str]:
    """The verdict on each label that has two limits: below the first, from the second on, between.

    Nothing is judged of a picture of which nothing is decided either.
    """
    if undecidable(warning):
        return {}
    found = {}
    for label, score in zip(labels, scores, strict=True):
        if label in limits:
            lower, upper = limits[label]
            between = RULE_IN if float(score) >= upper else READ_FIRST
            found[label] = RULE_OUT if float(score) < lower else between
    return found


def header(
    labels: Sequence[str],
    *,
    logits: bool = False,
    verdicts: bool = False,
    more: Sequence[str] = (),
) -> list[str]:
    """A table's columns; whatever was added comes after what readers of version 0.1 know."""
    columns = ["path", *labels, *AFTER, *([VERDICT] if verdicts else ()), *more]
    return [*columns, *(map(logit_column, labels) if logits else ())]


def logit_column(label: str) -> str:
    """The name of the column that holds a label's logits."""
    return f"{label}{OF_LOGITS}"


def cells(row: Row, labels: Sequence[str], *, logits: bool = False) -> list[str]:
    """A row of a CSV, its numbers with as many digits as are read back exactly."""
    after = [SEPARATOR.join(row.positive), row.warning, row.error]
    after += [] if row.verdicts is None else [SEPARATOR.join(row.verdicts)]
    after += row.more.values()
    numbers = [row.path, *_numbers(row.scores, labels), *after]
    return [*numbers, *_numbers(row.logits, labels)] if logits else numbers


def _numbers(values: Sequence[float] | None, labels: Sequence[str]) -> list[str]:
    return [""] * len(labels) if values is None else [_short(value) for value in values]


def _short(value: float) -> str:
    """The fewest digits that float32, where that is all there is, or float64 reads back."""
    text = f"{value:.9g}"
    return text if float(text) == value else repr(value)


def csv_line(values: Sequence[str]) -> str:
    """A line of a CSV, with its end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


def json_line(row: Row, labels: Sequence[str]) -> str:
    """A line of JSON, with its end. Plain ASCII: a file's name may be no text at all."""
    return json.dumps(row.as_json(labels), allow_nan=False) + "\n"


def kind_of(path: Path) -> str:
    """How a table is written that has this name: `csv`, `json` or `jsonl`.

    Raises:
        UsageError: its ending names none of them.
    """
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"--output {path}: end it in {', '.join(KINDS)}")
    return kind


def write_rows(
    rows: Iterable[Row],
    path: Path,
    labels: Sequence[str],
    *,
    logits: bool = False,
    verdicts: bool = False,
    more: Sequence[str] = (),
) -> None:
    """Write a table, whole or not at all, in the form that its name asks for.

    A run's own CSVs have `logits` too; all rows have verdicts, or none, and the same `more`.
    """
    kind = kind_of(path)
    with (
        whole_file(path) as temporary,
        # A name that is no UTF-8 goes back as the bytes that it came as.
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        if kind == "csv":
            file.write(csv_line(header(labels, logits=logits, verdicts=verdicts, more=more)))
            file.writelines(csv_line(cells(row, labels, logits=logits)) for row in rows)
        elif kind == "jsonl":
            file.writelines(json_line(row, labels) for row in rows)
        else:
            _write_array(rows, file, labels)


def _write_array(rows: Iterable[Row], file: IO[str], labels: Sequence[str]) -> None:
    before = "["
    for row in rows:
        file.write(f"{before}\n  {json_line(row, labels).rstrip()}")
        before = ","
    file.write("[]\n" if before == "[" else "\n]\n")


def row_of(values: Mapping[str, Any], labels: Sequence[str]) -> Row:
    """A row from what `Row.as_json` made of it."""
    scores = None if values["error"] else tuple(float(values[label]) for label in labels)
    positive = tuple(values["positive"].split(SEPARATOR)) if values["positive"] else ()
    return Row(
        path=values["path"],
        scores=scores,
        positive=positive,
        warning=values["warning"],
        error=values["error"],
        verdicts=_verdicts(values.get(VERDICT)),
        more={name: str(values[name]) for name in _more_of(values, labels)},
    )


def _more_of(columns: Iterable[str], labels: Sequence[str]) -> list[str]:
    """The columns of a table that not every table has; a label may be called like one."""
    return [name for name in columns if name in MORE and name not in labels]


def _verdicts(joined: str | None) -> tuple[str, ...] | None:
    """The verdicts that a row's cell holds; None without such a cell."""
    return tuple(joined.split(SEPARATOR)) if joined else None if joined is None else ()


def read_rows(path: Path, labels: Sequence[str]) -> Iterator[Row]:
    """The rows of a table that `write_rows` wrote, one at a time.

    Raises:
        DataError: it is not such a table, or its labels are others.
    """
    kind = kind_of(path)
    try:
        with io.TextIOWrapper(
            open_regular(path), encoding="utf-8", errors="surrogateescape", newline=""
        ) as file:
            for values in csv.DictReader(file) if kind == "csv" else _objects(file):
                more = _more_of(values, labels)
                if list(values) != header(labels, verdicts=VERDICT in values, more=more):
                    raise ValueError(f"its columns are {', '.join(map(str, values))}")
                yield row_of(values, labels)
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise DataError(
            f"{path} is no table of these predictions ({error}): name another, or --force"
        ) from None


def _objects(file: IO[str]) -> Iterator[dict[str, Any]]:
    """The objects of an array or of lines, each of which stands on a line of its own."""
    for line in file:
        text = line.strip().removesuffix(",")
        if text not in ("", "[", "]", "[]"):
            yield json.loads(text)
