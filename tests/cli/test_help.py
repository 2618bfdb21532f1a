"""What `--help` says, and how it is laid out."""

import re
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from cxrtool.cli.app import app
from cxrtool.cli.help import ARGUMENTS
from cxrtool.core.config import TrainConfig, options_of
from cxrtool.core.config.option import GENERAL, PANELS
from tests.cli.test_app import COMMANDS
from tests.support.commands import PAGE, page

MADE = typer.main.get_command(app).commands


def help_of(*arguments):
    return CliRunner().invoke(app, [*arguments, "--help"]).output


def on_terminal(monkeypatch, answer):
    stdout = SimpleNamespace(isatty=lambda: answer)
    monkeypatch.setattr("cxrtool.cli.help.sys", SimpleNamespace(stdout=stdout))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_tells_every_option_and_its_true_default(name):
    text = " ".join(help_of(name).split())
    for option in options_of(COMMANDS[name]).values():
        if name == "tune" and option.name in ("dry_run", "lr_find"):
            continue
        place = option.metavar or option.name.upper()
        assert (place if option.argument else option.written) in text
        if option.default not in (None, False, True):
            assert f"default: {option.default}" in text, option.name
        elif option.shown:
            assert f"default: ({option.shown})" in text, option.name
        assert all(choice in text for choice in option.choices)
        if option.within:
            assert f"{option.within[0]}<=x<={option.within[1]}" in text, option.name
    for flag in ("--config", "--workspace", "--seed", "--json", "--quiet", "--no-progress"):
        assert flag in text


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_grouped_the_general_ones_last(name):
    titles = re.findall(r"^(\w[\w ]*):$", help_of(name), re.MULTILINE)
    order = [ARGUMENTS, *PANELS]
    assert titles == sorted(titles, key=order.index)
    assert titles[-1] == GENERAL
    general = help_of(name).split(f"\n{GENERAL}:\n")[1]
    assert all(flag in general for flag in ("--config", "--debug", "-h, --help"))


def test_the_program_groups_its_commands_by_step():
    text = help_of()
    assert re.findall(r"^  ([a-z]+)  ", text, re.MULTILINE) == list(COMMANDS)
    titles = re.findall(r"^(\w[\w ,]*):$", text, re.MULTILINE)
    assert titles.index("Train") < titles.index("Evaluate") < titles.index(GENERAL)


@pytest.mark.parametrize("name", [None, *COMMANDS])
@pytest.mark.parametrize("terminal", [False, True])
def test_help_fits_eighty_columns_in_boxes_or_plain(name, terminal, monkeypatch):
    on_terminal(monkeypatch, terminal)
    arguments = [*([name] if name else []), "--help"]
    text = CliRunner().invoke(app, arguments, color=True, terminal_width=80).output
    assert ("\x1b[" in text) == ("╭─ General ─" in re.sub(r"\x1b\[[\d;]*m", "", text)) == terminal
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert max(map(len, lines)) <= 80
    if not terminal:
        assert text.isascii()
    assert not [line for line in lines if re.search(r"[a-z]\.\.\.[ │]*$", line)]


def test_both_layouts_say_the_same(monkeypatch):
    plain = help_of("train").split()
    on_terminal(monkeypatch, True)
    boxed = re.sub(r"[╭╮╰╯│─]", " ", help_of("train")).split()
    assert [word.rstrip(":") for word in boxed] == [word.rstrip(":") for word in plain]


def test_the_resolved_defaults_are_those_that_help_tells():
    shown = {name: option.shown for name, option in options_of(TrainConfig).items()}
    usual, scratch = TrainConfig().resolved(), TrainConfig(weights="none").resolved()
    for name in ("freeze_epochs", "unfreeze"):
        expected = f"{getattr(usual, name)}; {getattr(scratch, name)} with --weights none"
        assert shown[name] == expected


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_whole_sentences(name):
    for option in options_of(COMMANDS[name]).values():
        assert re.match(r"[A-Z]|rm:|fetch:", option.help), option.name
        assert option.help.endswith("."), option.name
        assert option.panel in PANELS
    assert str(MADE[name].help).strip().endswith(".")


def test_the_page_of_all_commands_is_what_the_program_says():
    assert PAGE.read_text() == page(), "run `python -m tests.support.commands`"
