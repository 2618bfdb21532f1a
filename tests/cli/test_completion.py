"""Completion in a shell, as bash asks for it."""

import os
import subprocess

import pytest


@pytest.fixture
def complete(warm, tmp_path):
    """What bash would offer for the last word of a line; it asks the program by variables."""
    for name in ("runs/first", "runs/fine", "runs/.half", "runs/other", "studies/search"):
        (tmp_path / "cxr" / name).mkdir(parents=True)

    def ask(line):
        words = line.split(" ")
        asked = {
            "_CXRTOOL_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        }
        done = subprocess.run(
            [warm], cwd=tmp_path, env={**os.environ, **asked}, capture_output=True, text=True
        )
        return done.stdout.split()

    return ask


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("cxrtool ev", {"evaluate"}),
        ("cxrtool train --uncer", {"--uncertainty"}),
        ("cxrtool train --schedule co", {"cosine", "constant"}),
        ("cxrtool train --arch densenet12", {"densenet121"}),
        ("cxrtool evaluate fi", {"first", "fine"}),
        ("cxrtool evaluate first --split t", {"train", "test"}),
        ("cxrtool predict x.jpg --run f", {"first", "fine"}),
        ("cxrtool train --resume o", {"other"}),
        ("cxrtool tune --resume s", {"search"}),
        ("cxrtool runs rm f", {"first", "fine"}),
        ("cxrtool runs ", {"rm", "slim"}),
        ("cxrtool evaluate -w elsewhere f", set()),
        ("cxrtool train --name f", set()),
        ("cxrtool train --epochs 0 --loss a", {"asymmetric", "auc"}),
    ],
)
def test_what_begins_so_is_offered(complete, line, offered):
    assert set(complete(line)) == offered
