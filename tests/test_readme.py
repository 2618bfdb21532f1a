"""The README and the guides say what the program does: their code is run, or checked against it.

The code blocks of a document run in order and in one folder, on drawn data with small networks. A
block below a comment (`<!-- not run: why -->`) is only checked against the command line.
"""

import csv
import os
import random
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torchvision.models
import typer
import yaml
from PIL import Image
from pydicom.uid import generate_uid

from cxrtool.cli.app import app
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.phantoms import draw_dataset
from tests.support.dicoms import dicom
from tests.support.smaller import get_smaller
from tests.support.studies import WHOLE

ROOT = Path(__file__).parents[1]
README, GUIDES = ROOT / "README.md", ROOT / "examples" / "guides"
DOCUMENTS = [README, ROOT / "examples" / "README.md", *sorted(GUIDES.glob("*.md"))]
WRITTEN = [document for document in DOCUMENTS if document.name != "commands.md"]
PROGRAM = typer.main.get_command(app)
COMMANDS = PROGRAM.commands
MOST_LINES = 250
BEFORE = {
    "training.md": ["prepare", "split"],
    "predicting.md": [
        "prepare",
        "split",
        "train --name second --arch resnet34",
        "train --name first --arch resnet18",
    ],
    "hospital.md": ["prepare", "split", "train --name first --arch resnet18"],
}
"""What the reader of a guide has done before."""
SMALLER = """#!/bin/sh
case " $* " in
*" models fetch "*) exit 0 ;;  # what it fetches is not needed below
*" --resume "*) ;;
" train "*)
  case " $* " in *" --weights "*) ;; *) set -- "$@" --weights none ;; esac
  set -- "$@" --epochs 1 --image-size 32 --batch-size 16 --workers 0 --freeze-epochs 0 ;;
" evaluate --predictions "*) ;;
" evaluate "*) set -- "$@" --bootstrap 100 --no-report ;;
esac
exec {program} "$@"
"""
"""A `cxrtool` that trains and scores briefly."""


def place(document):
    return str(document.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    """A block of code, and the comment above it."""

    comment: str
    language: str
    code: str


def blocks_of(document):
    pattern = r"(?:^<!-- (.*) -->\n)?^```(.*)\n((?:.*\n)*?)^```$"
    return [Block(*found) for found in re.findall(pattern, document.read_text(), re.MULTILINE)]


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= MOST_LINES


def test_every_command_is_in_the_table():
    table = README.read_text().split("## Commands")[1].split("##")[0]
    for name in COMMANDS:
        assert f"`cxrtool {name}" in table


def test_it_says_what_it_is_not():
    for document in (README, GUIDES / "developers.md"):
        assert "CheXpert scores were not measured" in document.read_text()
    assert "not a medical device" in README.read_text()


def anchors(document):
    """Where GitHub lets a link end: its headings in lower case, without signs, with dashes."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=place)
def test_links_lead_somewhere(document):
    for link in re.findall(r"\]\(((?!http)[^)]+)\)", document.read_text()):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_guide_is_linked_in_the_readme():
    for guide in GUIDES.glob("*.md"):
        assert f"(examples/guides/{guide.name})" in README.read_text()


@pytest.mark.parametrize("document", WRITTEN, ids=place)
def test_the_files_that_it_names_exist(document):
    for path in re.findall(
        r"\b(?:cxrtool|tests|examples)/[\w./-]*\b(?![<\w])", document.read_text()
    ):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("document", WRITTEN, ids=place)
def test_the_options_that_it_names_exist(document):
    known = {name for one in COMMANDS.values() for option in one.params for name in option.opts}
    known |= {name for one in COMMANDS.values() for o in one.params for name in o.secondary_opts}
    known |= {"--help", *(name for option in PROGRAM.params for name in option.opts)}
    prose = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"`([^`]+)`", prose):
        if "tests/benchmarks/" not in code and "pip install" not in code:
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code):
                assert option in known, code


def commands_in(code):
    """The words after `cxrtool` in each line of a shell block."""
    for line in code.replace("\\\n", " ").splitlines():
        for command in line.split("&&"):
            words = shlex.split(command, comments=True)
            found = [n for n, word in enumerate(words) if Path(word).name == "cxrtool"]
            if found and "pip" not in words:
                yield words[found[-1] + 1 :]


@pytest.mark.parametrize("document", WRITTEN, ids=place)
def test_what_is_not_run_is_well_formed(document):
    """Each command and option exists, and each value is one that it takes."""
    for block in blocks_of(document):
        assert block.language in ("sh", "python", "yaml", "text", "bibtex"), block
        if block.comment:
            without_files = re.sub(r"--config \S+", "", block.code)
            for name, *words in commands_in(without_files):
                COMMANDS[name].make_context(name, words)


@pytest.mark.parametrize("document", WRITTEN, ids=place)
def test_its_yaml_holds_options(document):
    names = {option.name for command in COMMANDS.values() for option in command.params}
    for block in blocks_of(document):
        if block.language == "yaml":
            assert set(yaml.safe_load(block.code)) <= names


def write_table(path, columns, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.fixture
def folder(drawn, warm, tmp_path, monkeypatch):
    """What readers have: CheXpert, images, tables of their own and of others."""
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "activate").touch()
    program = f"{warm} {ROOT / 'tests' / 'support' / 'smaller.py'}"
    (scripts / "cxrtool").write_text(SMALLER.format(program=program))
    (scripts / "cxrtool").chmod(0o755)
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)

    (tmp_path / "CheXpert-v1.0-small").symlink_to(drawn.folder)
    images = sorted((drawn.folder / "train").rglob("*frontal.jpg"))
    (tmp_path / "archive").mkdir()
    for number, image in enumerate(images[:3]):
        shutil.copy(image, tmp_path / "archive" / f"{number}.jpg")
    shutil.copy(images[3], "image.jpg")
    (tmp_path / "studies").mkdir()
    pixels = np.asarray(Image.open(images[5]).convert("L"))
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    dicom(tmp_path / "studies" / "film.dcm", pixels, ViewPosition="PA", **uids)
    dicom(tmp_path / "image.dcm", np.asarray(Image.open(images[4]).convert("L")))
    names = [image.relative_to(drawn.folder) for image in images]
    (tmp_path / "my-images").symlink_to(drawn.folder)
    columns = ["image", "patient", "Edema", "fluid", "broken_rib", "Gender", "years"]
    rows = [[name, name.parts[1], n % 2, 1, -1, "M", 50] for n, name in enumerate(names)]
    write_table(tmp_path / "my.csv", columns, rows)
    readings = [
        [name, name.parts[1], f"R{reader}", (n + reader) % 2]
        for n, name in enumerate(names)
        for reader in range(3)
    ]
    write_table(tmp_path / "readings.csv", ["image", "patient", "radiologist", "Edema"], readings)
    (tmp_path / "ward").mkdir()
    for number, image in enumerate(images[:4]):
        shutil.copy(image, tmp_path / "ward" / f"f{number}.jpg")
    columns = ["film", "mrn", "visit", "projection", "gender", "age", "doctor", "findings"]
    rows = [
        [f"f{n}", f"p{n}", n, "PA", "F", 50, doctor, finding]
        for n in range(4)
        for doctor, finding in (("Grey", "fluid; broken rib"), ("Pratt", "nothing"))
    ]
    write_table(tmp_path / "ward" / "films_2026.csv", columns, rows)
    numbers = random.Random(0)
    for file in ("groundtruth", "theirs", "ours"):
        score = numbers.random if file != "groundtruth" else lambda: numbers.randint(0, 1)
        rows = [[name, *(score() for _ in CHEXPERT_LABELS)] for name in names]
        write_table(tmp_path / f"{file}.csv", ["Path", *CHEXPERT_LABELS], rows)
    return tmp_path


def sh(code):
    done = subprocess.run(["bash", "-euc", code], capture_output=True, text=True)
    assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("document", WRITTEN, ids=place)
def test_its_code_runs(document, folder, monkeypatch):
    monkeypatch.setattr(torchvision.models, "get_model", get_smaller)
    for command in BEFORE.get(document.name, ()):
        sh(f"cxrtool {command}")
    if document.name == "scores.md":  # another hospital
        draw_dataset(folder / "there", patients=20, seed=8, valid_patients=1)
        sh("cxrtool prepare there/CheXpert-v1.0-small -w other && cxrtool split -w other")
    if document.name == "hospital.md":  # two studies that came in the night
        (folder / "night").mkdir()
        for number, image in enumerate(sorted((folder / "archive").iterdir())[:2]):
            pixels = np.asarray(Image.open(image).convert("L"))
            own = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
            dicom(folder / "night" / f"{number}.dcm", pixels, **WHOLE | own, ViewPosition="PA")
    names = {}
    plt.switch_backend("agg")
    for block in blocks_of(document):
        if block.comment:
            continue
        if block.language == "sh":
            sh(block.code)
        elif block.language == "python":
            exec(block.code.replace("image_size=224", "image_size=32"), names)
        elif block.language == "yaml":
            (folder / "own.yaml").write_text(block.code)
