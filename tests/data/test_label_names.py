import pytest

from cxrtool.core.errors import DataError
from cxrtool.data.label_names import finding_key, match_columns, match_labels
from cxrtool.data.labels import CHEXPERT_LABELS


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("pleural_effusion", "Pleural Effusion"),
        ("Pleural-Effusion", "Pleural Effusion"),
        ("PLEURAL EFFUSION", "Pleural Effusion"),
        ("Effusion", "Pleural Effusion"),
        ("Airspace Opacity", "Lung Opacity"),
        ("Support_Devices", "Support Devices"),
        ("No finding", "No Finding"),
    ],
)
def test_one_finding_is_matched_under_each_of_its_spellings(written, label):
    assert match_labels(CHEXPERT_LABELS, ["Path", written], "x.csv") == {label: written}


def test_different_findings_stay_apart():
    assert len({finding_key(label) for label in CHEXPERT_LABELS}) == len(CHEXPERT_LABELS)
    for other in ("Infiltration", "Pleural Thickening", "Pseudonodule", "Enlarged"):
        assert match_labels(CHEXPERT_LABELS, [other], "x.csv") == {}


def test_the_very_name_is_preferred_and_two_others_are_refused():
    there = ["edema", "Edema", "Oedema"]
    assert match_labels(["Edema"], there, "x.csv") == {"Edema": "Edema"}
    with pytest.raises(DataError, match=r"x\.csv has several columns .*Edema \(edema, Oedema\)"):
        match_labels(["Edema"], ["edema", "Oedema"], "x.csv")


def test_columns_are_matched_without_synonyms():
    found = match_columns(["AP/PA", "Effusion"], ["ap/pa", "Pleural Effusion"], "x.csv")
    assert found == {"AP/PA": "ap/pa"}
