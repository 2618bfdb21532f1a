"""A study's images as devices send them, and what a model says of them."""

import io
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import DigitalXRayImageStorageForPresentation, generate_uid

from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.evaluation.decisions import findings_of
from cxrtool.images.heat_grid import Cells, HeatMap
from cxrtool.inference.model_facts import ModelFacts
from cxrtool.pacs.headers import read_header
from cxrtool.pacs.scored_study import ScoredStudy, StudyImage
from tests.support.dicoms import dataset
from tests.support.lossless import wavy

MODEL = ModelFacts(
    name="strong",
    fingerprint="ab12" * 16,
    arch="resnet101",
    operating_point="sensitivity=0.9",
    calibration="platt",
    version="1.2.3",
)
STUDY, SERIES = generate_uid(), generate_uid()
PIXELS = wavy(60, 48, 12)
WHOLE = {
    "StudyInstanceUID": STUDY,
    "SeriesInstanceUID": SERIES,
    "PatientBirthDate": "19500102",
    "PatientSex": "F",
    "StudyID": "S1",
    "StudyDate": "20261128",
    "StudyTime": "120000",
    "AccessionNumber": "ACC-9",
    "StudyDescription": "CHEST PA",
    "ReferringPhysicianName": "Doctor^Refers",
}


def as_bytes(made, **options):
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True, **options)
    return file.getvalue()


def cr(**elements):
    """A CR image as old readers write it: nothing but what makes it one of a study."""
    return dataset(
        PIXELS, 12, **{"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES} | elements
    )


def dx(**elements):
    """A DX image with all that a study has."""
    own = {
        "SOPClassUID": DigitalXRayImageStorageForPresentation,
        "Modality": "DX",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "PatientOrientation": ["L", "F"],
        "ImageLaterality": "U",
        "Manufacturer": "Device Works",
    }
    made = dataset(PIXELS, 12, **WHOLE | own | elements)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    return made


def findings(scores=None, labels=CHEXPERT_LABELS, thresholds=None, warning=""):
    """Of the scores, by default 0.02, 0.09, ...; at the threshold 0.5, by default."""
    scores = [0.02 + 0.07 * place for place in range(len(labels))] if scores is None else scores
    limits = dict.fromkeys(labels, 0.5) | (thresholds or {})
    without = {label: "valid had 3 positives" for label, limit in limits.items() if limit is None}
    return findings_of(scores, labels, limits, warning, without)


def heat(at=(1, 2)):
    values = -np.ones((4, 4), np.float32)
    values[at] = 2
    return HeatMap(values, Cells(0.125, 0.25))


def study_image(made=None, **options):
    """An image with its findings; options replace its fields."""
    grey = Image.fromarray((PIXELS >> 4).astype(np.uint8))
    header = read_header(as_bytes(dx() if made is None else made))
    fields = {"header": header, "findings": findings(), "grey": grey}
    return StudyImage(**fields | options)


def study(*images, model=MODEL):
    return ScoredStudy(images=images or (study_image(),), model=model)


def read_back(content):
    return dcmread(io.BytesIO(content))


def errors_of_the_standard(content, folder):
    """What dciodvfy says is against the standard."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed: apt-get install dicom3tools")
    file = folder / "result.dcm"
    file.write_bytes(content)
    done = subprocess.run(["dciodvfy", "-new", file], capture_output=True, text=True)
    said = (done.stdout + done.stderr).splitlines()
    assert any("SR" in one or "SCImage" in one or "PresentationState" in one for one in said), said
    return [line for line in said if line.startswith("Error")]
