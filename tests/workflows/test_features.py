"""`features`: computed once, and found by the command that is advised."""

import json
import re
import shlex

import numpy as np

from cxrtool.training.features import FeaturesFolder
from tests.support.calling import call

NETWORK = ("--arch", "timm/test_resnet", "--weights", "none", "--image-size", "32")


def test_the_command_that_is_advised_finds_them(prepared):
    place = ("-w", prepared.folder)
    first = call("features", *NETWORK, "--views", 1, "--half-features", *place, "--workers", 0)
    assert first.exit_code == 0, first.output
    assert re.search(r"\d+ images, \d+ features each, 1 augmented view besides", first.stdout)
    (folder,) = prepared.features.iterdir()
    array = FeaturesFolder(folder).array
    written = array.stat().st_mtime_ns
    assert np.load(array, mmap_mode="r").dtype == np.float16
    again = call("features", *NETWORK, "--views", 1, "--half-features", *place)
    assert f"in {folder}" in again.stdout
    assert "written" not in again.stdout
    command = re.search(r"^next: cxrtool (.*)$", first.stdout, re.MULTILINE)[1]
    fitted = call(*shlex.split(command), "--workers", 0, "--name", "fitted")
    assert fitted.exit_code == 0, fitted.output
    assert "best fit" in fitted.stdout
    assert list(prepared.features.iterdir()) == [folder]
    assert array.stat().st_mtime_ns == written
    named = call(
        *("train", "--recipe", "probe", *NETWORK, "--name", "other", *place),
        *("--features", folder),
    )
    assert named.exit_code == 1
    assert "has features of another network or other images (views: 1, not 0" in named.output


def test_json_says_what_there_is(prepared):
    found = call("features", *NETWORK, "--json", "-w", prepared.folder)
    values = json.loads(found.stdout)
    assert values["views"] == 0
    assert values["images_per_second"] > 0
    array = np.load(FeaturesFolder(prepared.features / values["folder"].split("/")[-1]).array)
    assert array.shape == (1, values["images"], values["width"])
    assert (
        json.loads(call("features", *NETWORK, "--json", "-w", prepared.folder).stdout)[
            "images_per_second"
        ]
        is None
    )
