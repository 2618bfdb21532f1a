"""Options as the command line takes them."""

import os
import subprocess

import pytest

from cxrtool.core.config import CommonConfig, options_of
from cxrtool.core.errors import UsageError
from tests.cli.test_app import COMMANDS as CONFIGS
from tests.conftest import TINY
from tests.support.calling import COMMANDS, call

NUMBERS = {
    (command, name)
    for command, config in CONFIGS.items()
    for name, option in {**options_of(CommonConfig), **options_of(config)}.items()
    if option.within and name in {one.name for one in COMMANDS[command].params}
}


@pytest.mark.parametrize("name", sorted({name for _, name in NUMBERS}))
def test_a_number_beyond_its_ends_is_refused(name):
    command = next(command for command, one in NUMBERS if one == name)
    inputs = {"predict": ["x"], "compare": ["x"]}.get(command, [])
    flag = f"--{name.replace('_', '-')}"
    for value in ("inf", "nan", "-1", "1e30", str(10**20)):
        done = call(command, *inputs, flag, value)
        assert done.exit_code == 2, (value, done.output)
        assert flag in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("command", "name"), sorted(NUMBERS))
def test_flag_and_file_refuse_a_number_in_the_same_words(command, name, tmp_path):
    inputs = ["x"] if command in ("predict", "compare") else []
    option = {**options_of(CommonConfig), **options_of(CONFIGS[command])}[name]
    file, flag = tmp_path / "c.yaml", option.written
    low, high = map(option.kind, option.within)
    for wrong in (low - 1, high + 1, "many"):
        file.write_text(f"{name}: {wrong}\n")
        said = f"Invalid value for '{flag}': {option.problem(wrong)}"
        typed = call(command, *inputs, f"{flag}={wrong}")
        read = call(command, *inputs, "--config", file)
        assert (typed.exit_code, read.exit_code) == (2, 2)
        assert said in " ".join(typed.stderr.split())
        assert f"{said} (in {file})" in " ".join(read.stderr.split())


def test_numbers_within_a_text_have_ends_too():
    from dataclasses import replace

    from cxrtool.core.config import EvaluateConfig
    from cxrtool.evaluation.truth import wanted_columns
    from cxrtool.training.choices import resolve
    from cxrtool.workflows.split import parse_sizes

    for sizes in ("1e308,1e308,1e308", "nan,1,1", "inf,1,1", "-1,2,3"):
        with pytest.raises(UsageError, match="three positive numbers"):
            parse_sizes(sizes)
    for weight in ("1e30", "inf", "nan", "0", "-1"):
        with pytest.raises(UsageError, match="--pos-weight"):
            resolve(replace(TINY, pos_weight=weight))
    with pytest.raises(UsageError, match="--by names sex twice"):
        wanted_columns(EvaluateConfig(by="sex,age,sex"))


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
        ("cxrtool runs ", {"rm", "slim", "pack"}),
        ("cxrtool evaluate -w elsewhere f", set()),
        ("cxrtool train --name f", set()),
        ("cxrtool train --epochs 0 --loss a", {"asymmetric", "auc"}),
    ],
)
def test_what_begins_so_is_offered(complete, line, offered):
    assert set(complete(line)) == offered
