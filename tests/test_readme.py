"""The README holds what the program says: run this file to write its help blocks anew."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
COMMANDS = (
    *("prepare", "split", "train", "tune", "evaluate", "compare", "predict", "gui", "export"),
    *("runs", "demo"),
)
MARKERS = ("<!-- help -->", "<!-- end of help -->")


def help_of(*arguments):
    """The help as a process of its own prints it at 80 columns."""
    plain = {"_TYPER_FORCE_DISABLE_TERMINAL": "1", "TERMINAL_WIDTH": "80", "COLUMNS": "80"}
    kept = {k: v for k, v in os.environ.items() if k not in ("CXRTOOL_WORKSPACE", "CXRTOOL_DATA")}
    call = [sys.executable, "-m", "cxrtool", *arguments, "--help"]
    done = subprocess.run(call, capture_output=True, text=True, env={**kept, **plain}, cwd=ROOT)
    return done.stdout.replace("python -m cxrtool", "cxrtool").rstrip()


def help_blocks():
    blocks = [f"```\n$ cxrtool {name} --help\n{help_of(name)}\n```\n" for name in COMMANDS]
    return "\n".join([MARKERS[0], *blocks, MARKERS[1]])


def written(text):
    start, end = (text.index(marker) for marker in MARKERS)
    return text[:start] + help_blocks() + text[end + len(MARKERS[1]) :]


def test_the_help_is_what_the_program_prints():
    text = README.read_text()
    assert written(text) == text, "run `python tests/test_readme.py`"


def test_every_command_is_in_the_table():
    table = README.read_text().split("## Commands")[1].split("##")[0]
    for name in COMMANDS:
        assert f"`cxrtool {name}" in table


def test_the_python_example_runs(drawn, tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)[1]
    (tmp_path / "CheXpert-v1.0-small").symlink_to(drawn.folder)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert names["counts"].images > 0
    assert (tmp_path / "cxr" / "split.csv").is_file()


def test_the_files_and_options_that_it_names_exist():
    text = README.read_text()
    for link in re.findall(r"\]\(((?!http)[^)]+)\)", text):
        assert (ROOT / link).exists(), link
    for script in re.findall(r"tests/benchmarks/\w+\.py", text):
        assert (ROOT / script).is_file(), script
    known = "\n".join(help_of(name) for name in COMMANDS)
    prose = re.sub(r"```sh\ntorchrun.*?```", "", text.split(MARKERS[0])[0], flags=re.DOTALL)
    prose = re.sub(r"(-m pytest|pip install) .*", "", prose)  # their own options
    for option in re.findall(r"`[^`]*?(--[a-z][a-z-]+)", prose):
        assert option in known, option


def test_it_says_what_it_is_not():
    text = README.read_text()
    assert "not a medical device" in text
    assert "CheXpert scores were not measured" in text
    assert "MEASURED" not in text


if __name__ == "__main__":
    README.write_text(written(README.read_text()))
