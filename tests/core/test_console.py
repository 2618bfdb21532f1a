import io
import json
import time

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cxrtool.cli.app import app
from cxrtool.core import console as report
from cxrtool.core.config import CommonConfig
from cxrtool.core.console import (
    Reporter,
    next_command,
    print_error,
    print_json,
    print_line,
    print_table,
    print_text,
    table,
)


def test_without_a_terminal_a_long_step_leaves_one_plain_line(capsys, monkeypatch):
    monkeypatch.setattr(report, "SHOWN_SECONDS", 0.0)
    with Reporter().steps("decoding", 4) as advance:
        advance(3)
        advance(1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("decoding: 4 images in 0.0 s, ")
    assert err.count("\n") == 1


def test_a_short_step_leaves_nothing(capsys):
    with Reporter().steps("decoding", 4) as advance:
        advance(4)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_a_step_shows_how_far_how_fast_and_how_long():
    stream = io.StringIO()
    reporter = Reporter()
    reporter.console = Console(file=stream, force_terminal=True, width=80)
    reporter.bars = True
    with reporter.steps("decoding", 40) as advance:
        for _ in range(3):
            advance(10)
            time.sleep(0.15)
    shown = stream.getvalue()
    assert "decoding" in shown
    assert "30/40" in shown
    assert "images/s" in shown


@pytest.mark.parametrize("options", [{"quiet": True}, {"progress": False}])
def test_quiet_and_no_progress_show_no_bars(options, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert not Reporter(**options).bars


def test_quiet_keeps_warnings(capsys):
    reporter = Reporter(quiet=True)
    reporter.note("a note")
    reporter.warn("patients [PA]")
    assert capsys.readouterr().err == "warning: patients [PA]\n"


def test_details_are_for_those_who_ask(capsys):
    Reporter().detail("one")
    Reporter(verbose=True).detail("two")
    assert capsys.readouterr().err == "two\n"


def test_a_table_off_a_terminal_is_plain_and_has_no_trailing_blanks(capsys):
    print_table(table("T", {"label": "left", "n": "right"}, [["[b]x", "1"]]))
    lines = capsys.readouterr().out.splitlines()
    assert any("[b]x" in line for line in lines)
    assert all(line == line.rstrip() and "\x1b" not in line for line in lines)


def test_the_widest_table_of_scores_fits_eighty_columns(capsys):
    from cxrtool.cli.show.scores import show_scores
    from cxrtool.data.labels import CHEXPERT_LABELS
    from tests.support.results import result_of

    figures = {
        "auroc": 0.8761,
        "auroc_ci": [0.8512, 0.9034],
        "threshold": 0.1234,
        "sensitivity": 0.812,
        "specificity": 0.799,
        "positives": 10_588,
    }
    protocol = {
        "name": "holdout",
        "labels_by": "labeler of train.csv and radiologists of valid.csv",
        "uncertainty": "ones",
        "blank": "zeros",
        "split_by": "patient",
        "views": ["frontal", "lateral"],
    }
    labels = dict.fromkeys(CHEXPERT_LABELS, figures)
    values = {
        "run": "resnet101-ones",
        "split": "test",
        "protocol": protocol,
        "unit": "image",
        "n": 19_100,
        "patients": 6_453,
        "operating_point": {"rule": "sensitivity=0.9", "chosen_on": "valid"},
        "calibration": {"method": "temperature", "chosen_on": "valid", "left_out": {}},
        "intervals": {"level": 0.95, "resampled": "patients", "replicates": 1000, "seed": 1},
        "mean_auroc": 0.8,
        "mean_auroc_ci": [0.79, 0.81],
        "defined": 14,
        "competition": {
            "labels": ["Edema", "Atelectasis"],
            "mean_auroc": 0.8,
            "mean_auroc_ci": [0.79, 0.81],
            "defined": 2,
        },
        "labels": labels,
        "references": {"same": [], "other": []},
    }
    show_scores(result_of(values))
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "…" not in out
    for shown in (*CHEXPERT_LABELS, "0.876", "0.851-0.903", "0.123", "10,588"):
        assert shown in out


STEERING = [chr(code) for code in (*range(32), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"]
STEERING += ["\u061c", "\u200e", "\u202e", "\u2066", "\u2028", "\ufeff", "\udc80"]
EVIL = "\x1b[31m[red]Edema[/red]\x07\x9b2J\u202egpj.exe" + "".join(STEERING)


def shown(capsys):
    out, err = capsys.readouterr()
    assert not set(out + err) & set(STEERING)
    assert "\\x1b[31m[red]Edema[/red]\\x07\\x9b2J\\u202egpj.exe" in out + err
    return out + err


def test_names_steer_no_terminal_and_are_no_markup(capsys):
    reporter = Reporter(verbose=True)
    for say in (reporter.note, reporter.detail, reporter.warn, print_line, print_error):
        say(f"{EVIL} is not an image")
        assert "is not an image" in shown(capsys)
    next_command(f"train --name {EVIL}", CommonConfig())
    shown(capsys)
    made = table(EVIL, {EVIL: "left", "n": "right"}, [[EVIL, "1"]])
    console = Console(file=io.StringIO(), width=2000, force_terminal=True, color_system=None)
    console.print(made)
    text = console.file.getvalue()
    assert text.count("\\x1b[31m[red]Edema[/red]") == 3
    assert not set(text) & set(STEERING) - {"\x1b"}
    assert "\x1b[31m" not in text


def test_keys_of_a_config_file_and_words_of_a_command_line_steer_no_terminal(tmp_path):
    (tmp_path / "evil.yaml").write_text('"\\e[31mlr\\a": 1\n')
    for words in (
        ["train", "--config", str(tmp_path / "evil.yaml")],
        ["train", "--\x1b[31mlr\x07"],
        ["\x1b[31mlr\x07"],
    ):
        found = CliRunner().invoke(app, words)
        assert found.exit_code == 2
        assert "\\x1b[31mlr\\x07" in found.output
        assert "\x07" not in found.output


def test_bars_and_live_lines_steer_no_terminal():
    stream = io.StringIO()
    reporter = Reporter()
    reporter.console = Console(file=stream, force_terminal=True, width=200, color_system=None)
    reporter.bars = True
    with reporter.steps(EVIL, 1) as advance:
        advance(1)
    with reporter.busy(EVIL):
        pass
    with reporter.training(0, 1) as display:
        display.begin(EVIL, 1)
    with reporter.searching() as display:
        display.show({EVIL: "left"}, [[EVIL]], EVIL)
    assert "\x1b[31m" not in stream.getvalue()
    assert not set(stream.getvalue()) & {"\x07", "\x9b", "\u202e"}


def test_json_keeps_the_values_and_csv_is_escaped_on_a_terminal_alone(capsys, monkeypatch):
    print_json({EVIL: EVIL})
    out = capsys.readouterr().out
    assert not set(out) & set(STEERING)
    assert json.loads(out) == {EVIL: EVIL}
    text = "path,Edema\nx\x1b[31m.png,0.5\n"
    print_text(text)
    assert capsys.readouterr().out == text
    monkeypatch.setattr(report, "on_terminal", lambda: True)
    print_text(text)
    assert capsys.readouterr().out == "path,Edema\nx\\x1b[31m.png,0.5\n"


def test_a_warning_is_told_once(capsys):
    reporter = Reporter(quiet=True)
    for text in ("a", "b", "a"):
        reporter.warn(text)
    assert capsys.readouterr().err == "warning: a\nwarning: b\n"
