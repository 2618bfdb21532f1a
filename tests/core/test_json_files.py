import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cxrtool.core.errors import RunError
from cxrtool.core.json_files import JsonResult, read_json, write_json
from cxrtool.core.numbers import Estimate


@dataclass(frozen=True)
class Result(JsonResult):
    auroc: Estimate
    where: Path
    when: datetime
    parts: tuple["Result", ...] = ()


def test_a_result_is_json_field_by_field():
    when = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    inner = Result(Estimate(None, None), Path("a/b"), when)
    found = Result(Estimate(0.8, (0.7, 0.9)), Path("c"), when, (inner,)).as_json()
    assert (found["auroc"], found["auroc_ci"]) == (0.8, [0.7, 0.9])
    assert (found["where"], found["when"]) == ("c", "2026-01-02T03:04:05+00:00")
    assert found["parts"][0]["auroc_ci"] is None
    assert json.loads(json.dumps(found)) == found


def test_json_carries_its_format_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1.5})
    assert json.loads((tmp_path / "a.json").read_text()) == {"format": 1, "x": 1.5}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert read_json(tmp_path / "a.json")["x"] == 1.5


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', "{}", '{"format": 1, "format": 1}'])
def test_json_of_another_kind_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(RunError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


def test_json_with_a_key_twice_is_refused_and_the_key_named(tmp_path):
    """As where a threshold was edited by hand in another line than the one that counts."""
    path = tmp_path / "a.json"
    path.write_text('{"format": 1, "thresholds": {"A": 0.1, "Edema": 0.2, "Edema": 0.3}}')
    with pytest.raises(RunError, match=r'a\.json cannot be read: "Edema" occurs twice'):
        read_json(path)
    path.write_text('{"format": 1, "a": {"Edema": 0.2}, "b": {"Edema": 0.3}}')
    assert read_json(path)["b"] == {"Edema": 0.3}


def test_missing_json_is_named(tmp_path):
    with pytest.raises(RunError, match=r"a\.json is missing"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, '{"format": ' + "1" * 5000 + "}"]
)
def test_json_that_no_reader_survives_is_an_error_that_names_the_file(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(RunError, match=r"a\.json cannot be read"):
        read_json(path)


def test_a_pipe_in_place_of_json_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="pipe cannot be read: it is a named pipe"):
        read_json(tmp_path / "pipe")
