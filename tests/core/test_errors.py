"""Messages name the first few of many, what may have been meant, and numbers with their nouns."""

import pytest

from cxrtool.core.errors import LONGEST, counted, first_few, grouped, unknown_name, unknown_names


def test_the_first_few_of_many_are_named_and_all_are_counted():
    assert first_few(["a", "b", "c"]) == "a, b, c"
    assert first_few(range(112)) == "0, 1, 2, ... (112 in all)"
    assert first_few([]) == ""
    assert len(first_few(["x" * 100_000])) == LONGEST + len("...")


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(1, "image", "1 image"), (2_000, "image", "2,000 images"), (3, "study", "3 studies")],
)
def test_a_number_has_its_noun(number, noun, text):
    assert counted(number, noun) == text


def test_names_are_together_by_what_is_said_of_them_each_once():
    said = [("rare", "b"), ("absent", "a"), ("rare", "a"), ("rare", "b")]
    assert grouped(said) == {"rare": ["b", "a"], "absent": ["a"]}
    assert list(grouped(said)) == ["rare", "absent"]
    assert grouped([]) == {}


def test_what_may_have_been_meant_comes_first():
    names = ["Edema", "Pneumonia", "Fracture"]
    near = unknown_name("label", "Edma", names)
    assert near == (
        "label 'Edma' is not known: did you mean Edema? there are Edema, Pneumonia, Fracture"
    )
    assert unknown_name("label", "X", names).startswith("label 'X' is not known: there are Edema")
    assert unknown_names("label", ["Edma"], names) == near
    both = unknown_names("label", ["Edma", "X"], names)
    assert both.startswith("2 labels are not known: 'Edma' (did you mean Edema?), 'X'; there are")
