import sys

from cxrtool.core import terminal
from cxrtool.core.config import CommonConfig
from cxrtool.core.console import Reporter, next_command


def test_commands_are_told_as_the_user_has_to_type_them(tmp_path, monkeypatch, capsys):
    script = tmp_path / "venv" / "bin" / "cxrtool"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for typed, told in (
        (str(script), str(script)),
        ("venv/bin/cxrtool", "venv/bin/cxrtool"),
        ("/usr/bin/pytest", "cxrtool"),
        ("/x/cxrtool/__main__.py", f"{sys.executable} -m cxrtool"),
    ):
        terminal.program.cache_clear()
        monkeypatch.setattr(sys, "argv", [typed])
        next_command("split", CommonConfig())
        Reporter().note("run `cxrtool prepare` first, by cxrtool itself")
        heard = capsys.readouterr()
        assert heard.out == f"next: {told} split\n"
        assert heard.err == f"run `{told} prepare` first, by cxrtool itself\n"
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    terminal.program.cache_clear()
    monkeypatch.setattr(sys, "argv", [str(script)])
    assert terminal.as_called("`cxrtool runs`") == "`cxrtool runs`"
    terminal.program.cache_clear()


def test_commands_of_a_message_repeat_what_names_the_workspace():
    text = "run `cxrtool split`, or `cxrtool train -w other`; `split` deals; (`cxrtool\nruns`)"
    with terminal.repeating(" -w 'my runs'"):
        assert terminal.as_called(text) == (
            "run `cxrtool split -w 'my runs'`, or `cxrtool train -w other`; `split` deals; "
            "(`cxrtool\nruns -w 'my runs'`)"
        )
    assert terminal.as_called(text) == text
