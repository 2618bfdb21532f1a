import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.pacs.codes import (
    CHEST_X_RAY,
    LABELS,
    LUNG,
    MEDIASTINUM,
    PLEURA,
    PRIVATE,
    coded,
    coded_rule,
    long_string,
)

ALL = [one.code for one in LABELS.values()]
VERHOEFF = (
    *("0123456789", "1234067895", "2340178956", "3401289567", "4012395678"),
    *("5987604321", "6598710432", "7659821043", "8765932104", "9876543210"),
)
TURN = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def check_digit_fits(identifier):
    """Verhoeff's scheme, of which the last digit of each SNOMED CT identifier is."""
    found = 0
    for place, digit in enumerate(reversed(identifier)):
        turned = int(digit)
        for _ in range(place % 8):
            turned = TURN[turned]
        found = int(VERHOEFF[found][turned])
    return found == 0


def test_each_label_of_chexpert_has_a_code_of_its_own():
    assert tuple(sorted(LABELS)) == tuple(sorted(CHEXPERT_LABELS))
    assert len({(code.scheme_designator, code.value) for code in ALL}) == len(ALL)
    assert all(one.source for one in LABELS.values())


@pytest.mark.parametrize("code", [*ALL, LUNG, MEDIASTINUM, PLEURA, CHEST_X_RAY], ids=str)
def test_identifiers_of_snomed_have_their_check_digit(code):
    assert len(code.value) <= 16
    assert len(code.meaning) <= 64
    if code.scheme_designator == "SCT":
        assert check_digit_fits(code.value)
        assert not check_digit_fits(code.value[:-1] + str((int(code.value[-1]) + 1) % 10))


@pytest.mark.parametrize(
    ("label", "standard"),
    [
        ("Edema", codes.SCT.PulmonaryEdema),
        ("Lung Lesion", codes.SCT.Lesion),
        ("Lung Opacity", codes.DCM.Opacity),
        ("Pleural Effusion", codes.SCT.PleuralEffusion),
        ("Pneumothorax", codes.SCT.Pneumothorax),
    ],
)
def test_what_the_standard_lists_is_called_as_it_does(label, standard):
    found = coded(label).code
    assert (found.value, found.scheme_designator) == (standard.value, standard.scheme_designator)
    assert found.meaning.casefold() == standard.meaning.casefold()
    assert LABELS[label].source.startswith("DICOM PS3.16")


def test_a_label_outside_the_table_has_a_private_code_with_its_name():
    assert coded("Emphysema").code == Code("Emphysema", PRIVATE, "Emphysema")
    long = coded("Nodule\\Mass of the left\nupper lobe, Émphysème " + "é" * 40).code
    assert long.value != coded("Nodule\\Mass of the left").code.value
    assert len(long.value) == 16
    assert len(long.meaning.encode()) <= 64
    assert long.meaning.startswith("Nodule/Mass of the left upper lobe, Émphysème")


def test_near_names_do_not_get_the_code_of_another_label():
    for label in ("edema", "Edema ", "Pleural effusion", "Effusion"):
        assert coded(label).code.scheme_designator == PRIVATE


def test_each_rule_has_a_code_that_no_label_has():
    assert coded_rule("youden") == Code("op:youden", PRIVATE, "Operating point youden")
    assert coded_rule("sensitivity=0.9").meaning == "Operating point sensitivity=0.9"
    rules = ["youden", "f1", "sensitivity=0.9", "sensitivity=0.95", "specificity=0.9"]
    assert len({coded_rule(rule).value for rule in rules} | {coded("youden").code.value}) == 6


def test_a_long_string_is_one_value_of_64_bytes():
    assert long_string("a\\b\tc") == "a/b c"
    assert long_string("\n") == "unnamed"
    assert len(long_string("é" * 64).encode()) == 64
