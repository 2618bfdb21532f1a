"""Names of files that keep every label, policy and table apart, on any file system."""

import itertools
import unicodedata

import pytest

from cxrtool.core.files import whole_file
from cxrtool.core.names import (
    name_of_policy,
    name_of_training,
    names_for_files,
    plain_name,
)
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.sources.nih import OWN_LABELS

ALIKE = [
    *("肺炎", "气胸", "🫁", "💀", "A B", "A/B", "A_B", "a b", "A  B", "A-B", "A.B", "?", "..", "/"),
    *("con", "NUL.x", "ü", unicodedata.normalize("NFD", "ü"), "U\u0308", "x" * 300, "x" * 301),
    *(
        "肺" * 100,
        "肺" * 101,
        "Edema ",
        "Edema",
        "edema",
        "EDEMA",
        "\udcff",
        "\udcfe",
        "A_B-998d3ed8",
    ),
]


def as_file_systems_see_it(name):
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


@pytest.mark.parametrize("separator", ["_", "-"])
def test_no_two_texts_share_a_name_and_each_name_is_one(tmp_path, separator):
    names = names_for_files(ALIKE, separator)
    assert len({as_file_systems_see_it(name) for name in names.values()}) == len(ALIKE)
    for name in names.values():
        assert len(name.encode()) < 200
        assert not set(name) & set('/\\:*?"<>| \n')
        assert name.split(".")[0].lower() not in ("con", "nul")
        (tmp_path / f"{name}.png").touch()
    assert len(list(tmp_path.iterdir())) == len(ALIKE)


def test_any_two_labels_are_kept_apart_whichever_others_there_are():
    for pair in itertools.combinations(ALIKE, 2):
        first, second = map(as_file_systems_see_it, names_for_files(pair).values())
        assert first != second


@pytest.mark.parametrize("labels", [CHEXPERT_LABELS, OWN_LABELS])
def test_ordinary_labels_have_the_names_that_they_always_had(labels):
    assert names_for_files(labels) == {label: label.replace(" ", "_") for label in labels}
    for label in labels:
        policy = f"ones,{label}=zeros"
        written = f"ones-{label.replace(' ', '-').replace('_', '-')}-zeros"
        assert name_of_policy(policy, labels) == written
        assert name_of_training("resnet18", policy) == f"resnet18-ones-{label}-zeros"
    assert name_of_policy("smooth-zeros", labels) == "smooth-zeros"


def test_no_two_policies_share_a_name():
    labels = ["肺炎", "气胸", "A B", "A/B", "a b", "A zeros B", "A", "B", "blank ignore"]
    values = ("zeros", "ones", "ignore")
    policies = ["ones", "zeros"]
    policies += [f"ones,{label}={value}" for label in labels for value in values]
    policies += ["ones,A=zeros,B=ignore", "ones,A zeros B=ignore", "ones,A=ignore,B=zeros"]
    names = {
        policy: name_of_policy(policy, labels).casefold() for policy in dict.fromkeys(policies)
    }
    assert len(set(names.values())) == len(names)
    trainings = {policy: name_of_training("vit", policy) for policy in names}
    assert all("/" not in name for name in trainings.values())


def test_the_same_policy_written_in_another_order_has_the_same_name():
    labels = ["肺炎", "A/B"]
    one, other = "ones,肺炎=zeros,A/B=ignore", "ones, A/B=ignore,肺炎=zeros"
    assert name_of_policy(one, labels) == name_of_policy(other, labels)


def test_a_name_of_an_image_and_a_label_is_one_on_any_file_system(tmp_path):
    labels = ["肺" * 70, "肺" * 71, "é" * 200]
    for label in names_for_files(labels).values():
        with whole_file(tmp_path / f"12345-{plain_name('气' * 80)}-{label}.png") as path:
            path.touch()
    assert len(list(tmp_path.iterdir())) == len(labels)


def test_what_is_left_of_a_name_is_readable():
    assert plain_name("a (1): b") == "a_1_b"
    assert plain_name("///") == ""


def test_a_text_keeps_its_plain_name_unless_another_has_it_or_it_says_nothing():
    alone = names_for_files(["A/B", "Edema", "🫁", "con"])
    assert (alone["A/B"], alone["Edema"]) == ("A_B", "Edema")
    assert len(alone["🫁"]) == 8
    assert alone["con"].startswith("file-con-")
    several = names_for_files(["A B", "A/B", "A_B"])
    assert several["A B"] == "A_B"
    assert {len(several[text]) for text in ("A/B", "A_B")} == {len("A_B-12345678")}
