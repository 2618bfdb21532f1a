import os

import pytest
import yaml

from cxrtool.core.errors import DataError
from cxrtool.core.yaml_files import DEEPEST, MOST, read_yaml


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "settings.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_what_pyyaml_writes_is_read_back(file):
    values = {"lr": 1e-3, "labels": ["肺炎", "A, B"], "space": {"lr": {"low": 1, "log": True}}}
    assert read_yaml(file(yaml.safe_dump(values, allow_unicode=True))) == values


BOMB = "a: &a [x, x]\n" + "".join(
    f"{after}: &{after} [*{before}, *{before}]\n"
    for before, after in zip("abcdefghijklmnopqrstuvwxy", "bcdefghijklmnopqrstuvwxyz", strict=True)
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BOMB, "line 2 cannot be read as YAML: an alias (*a)"),
        ("base: &b {lr: 1}\nother:\n  <<: *b\n", "line 3 cannot be read as YAML: an alias (*b)"),
        ("lr: 1\nepochs: 2\nlr: 3\n", "line 3 cannot be read as YAML: lr occurs twice, first in"),
        ("space:\n  low: 1\n  low: 2\n", "line 3 cannot be read as YAML: low occurs twice"),
        ("a: [{b: 1, b: 2}]", "line 1 cannot be read as YAML: b occurs twice"),
        ("[" * 100_000, f"more than {DEEPEST} lists or mappings in one"),
        ("a: " + "{b: " * 50 + "1" + "}" * 50, f"more than {DEEPEST} lists or mappings in one"),
        ("a: " + "9" * 5000, "cannot be read as YAML"),
        ("a: 2026-13-45", "cannot be read as YAML"),
        ("? [a, b]\n: 1", "a list or a mapping cannot be a key"),
        ("? !!set {a}\n: 1", "line 1 cannot be read as YAML: a list or a mapping cannot be a key"),
        ("a: 1\nb: !!bool maybe", "line 2 cannot be read as YAML: there is no such value"),
        ("a: !!timestamp soon", "line 1 cannot be read as YAML: there is no such value"),
        ('a: "\\UFFFFFFFF"', "cannot be read as YAML"),
        ("a: !!int ''", "line 1 cannot be read as YAML: there is no such value"),
        ("a: !!map [b, c]", "line 1 cannot be read as YAML: expected a mapping"),
        ("a: !!set [b, c]", "line 1 cannot be read as YAML: expected a mapping"),
        ("a: !!python/object/apply:os.system [ls]", "line 1 cannot be read as YAML"),
        ("a: 1\n---\nb: 2\n", "cannot be read as YAML"),
        ("a: [1, 2", "cannot be read as YAML"),
        ("- a\n- b\n", "`option: value` lines were expected"),
        ("", "`option: value` lines were expected"),
        (b"\xff\xfe\x00ab", "it is not UTF-8 text"),
        (b"\x00\x01", "cannot be read as YAML"),
        ("a: " + "x" * MOST, "larger than"),
    ],
)
def test_what_is_refused_is_named_in_one_line(file, content, said):
    path = file(content)
    with pytest.raises(DataError) as raised:
        read_yaml(path)
    message = str(raised.value)
    assert message.startswith(str(path)), message
    assert said in message, message
    assert "\n" not in message


def test_a_pipe_a_folder_and_nothing_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name, said in (("pipe", "a named pipe"), ("folder", "a folder"), ("none", "is missing")):
        with pytest.raises(DataError, match=said):
            read_yaml(tmp_path / f"{name}.yaml")


def test_equal_keys_are_equal_values_however_they_are_written(file):
    with pytest.raises(DataError, match="twice"):
        read_yaml(file("'lr': 1\n\"lr\": 2\n"))
