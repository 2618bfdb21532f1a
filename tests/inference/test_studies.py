from dataclasses import dataclass, field

import numpy as np
import pytest
from pydicom.uid import generate_uid

from cxrtool.data.prediction_rows import Row
from cxrtool.inference.inputs import Described, Inputs
from cxrtool.inference.studies import Study, find_studies, study_row, unknown_studies
from tests.support.dicoms import dicom

LABELS = ("Edema", "Fracture")
PIXELS = np.zeros((8, 8), np.uint8)


@dataclass
class Deciding:
    """What a study's row asks an ensemble."""

    judges: bool = False
    labels: tuple = LABELS
    thresholds: dict = field(default_factory=lambda: {"Edema": 0.5, "Fracture": 0.9})


def inputs(files):
    names = [str(file) for file in files]
    return Inputs(names, names)


def row(path, edema, fracture=0.1, **more):
    return Row(path=path, scores=(edema, fracture), **more)


def failed(path, why):
    return Row(path=path, scores=None, error=why)


def test_a_dicoms_study_is_that_of_its_header_wherever_it_lies(tmp_path):
    one, two = generate_uid(), generate_uid()
    elements = [(one, "PA"), (two, "AP"), (one, "LL"), (one, "AP")]
    files = [
        dicom(tmp_path / f"{at}.dcm", PIXELS, StudyInstanceUID=study, ViewPosition=view)
        for at, (study, view) in enumerate(elements)
    ]
    found = find_studies(inputs(files), workers=0)
    assert [(study.name, study.frontal, study.laterals) for study in found.studies] == [
        (one, (0, 1), 1),
        (two, (2,), 0),
    ]
    assert found.frontal.files == [str(files[at]) for at in (0, 3, 1)]
    assert found.laterals == 1
    assert found.told() == "2 studies, 3 frontal images, 1 lateral image left out"
    assert unknown_studies(found) == ""


def test_chexperts_names_and_a_manifest_say_the_study():
    names = [
        "d/patient00001/study1/view1_frontal.jpg",
        "d/patient00001/study1/view2_lateral.jpg",
        "d/patient00002/study1/view1_frontal.jpg",
        "x.png",
    ]
    images = inputs(names)
    images.described["x.png"] = Described("p7/s1", "frontal")
    found = find_studies(images, workers=0)
    assert [one.name for one in found.studies] == [
        "d/patient00001/study1",
        "d/patient00002/study1",
        "p7/s1",
    ]
    assert [one.laterals for one in found.studies] == [1, 0, 0]


def test_images_of_one_folder_are_not_taken_for_one_study(tmp_path):
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    found = find_studies(inputs(files), workers=0)
    assert len(found.studies) == found.alone == 2
    assert "2 images do not say which study they are of" in unknown_studies(found)


def test_dicoms_without_a_study_are_studies_of_their_own(tmp_path):
    files = [dicom(tmp_path / f"{at}.dcm", PIXELS) for at in range(2)]
    found = find_studies(inputs(files), workers=0)
    assert [one.name for one in found.studies] == [str(file) for file in files]
    assert found.alone == 2


@pytest.mark.parametrize(("aggregate", "edema"), [("mean", 0.5), ("max", 0.8)])
def test_a_studys_row_is_the_mean_or_the_greatest_of_its_images(aggregate, edema):
    rows = [row("a", 0.2), row("b", 0.8)]
    found = study_row(Study("s", (0, 1), 1), rows, Deciding(), aggregate)
    assert found.path == "s"
    assert found.scores == pytest.approx((edema, 0.1))
    assert found.positive == ("Edema",)
    assert found.more == {"images": "2", "laterals_left_out": "1"}


def test_an_image_that_cannot_be_read_or_is_blank_does_not_count():
    rows = [row("a", 0.2), failed("b", "cut short"), row("c", 0.9, warning="blank: all is 0")]
    found = study_row(Study("s", (0, 1, 2), 0), rows, Deciding(), "mean")
    assert found.scores == (0.2, 0.1)
    assert found.positive == ()
    assert "one image left out (cut short)" in found.warning
    assert "one image left out (blank: all is 0)" in found.warning


def test_nothing_is_decided_of_a_study_of_blank_images():
    rows = [row("a", 0.9, warning="blank: all is 0"), row("b", 0.9, warning="blank: all is 0")]
    found = study_row(Study("s", (0, 1), 0), rows, Deciding(), "mean")
    assert found.scores is not None
    assert found.positive == ()


def test_a_study_without_a_frontal_image_has_a_row_that_says_so():
    found = study_row(Study("s", (), 2), [], Deciding(), "mean")
    assert found.scores is None
    assert found.error == "no frontal image: 2 lateral images left out"
    lost = study_row(Study("s", (0,), 0), [failed("a", "cut short")], Deciding(), "mean")
    assert lost.error == "cut short"


def test_a_verdict_is_of_one_image_and_not_of_a_mean():
    alone = row("a", 0.2, verdicts=("Edema:rule-out",))
    deciding = Deciding(judges=True)
    one = study_row(Study("s", (0,), 0), [alone], deciding, "mean")
    assert one.verdicts == ("Edema:rule-out",)
    both = study_row(Study("s", (0, 1), 0), [alone, alone], deciding, "mean")
    assert both.verdicts == ()


def test_identifiers_of_several_images_stand_beside_each_other():
    more = {"sop_instance_uid": "1.1", "accession_number": "A", "scored_at": "2026-01-01"}
    other = more | {"sop_instance_uid": "1.2", "scored_at": "2026-01-02"}
    rows = [row("a", 0.1, more=more), row("b", 0.1, more=other)]
    found = study_row(Study("s", (0, 1), 0), rows, Deciding(), "mean")
    assert found.more["sop_instance_uid"] == "1.1;1.2"
    assert found.more["accession_number"] == "A"
    assert found.more["scored_at"] == "2026-01-02"
