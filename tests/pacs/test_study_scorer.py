import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from cxrtool.core.errors import DataError
from cxrtool.evaluation.decisions import POSITIVE
from cxrtool.evaluation.triage import Limits, Triage, parse_triage
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.ensemble import Ensemble
from cxrtool.pacs.study_members import TWICE
from cxrtool.pacs.study_results import study_results
from cxrtool.pacs.study_scorer import load_study_scorer
from tests.support.dicoms import compressed, saved
from tests.support.studies import PIXELS, WHOLE, cr, dx, errors_of_the_standard, heat

GREY = Image.fromarray((PIXELS >> 4).astype(np.uint8))
CPU = Compute(engine="torch", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def scorer(trained_once):
    return load_study_scorer(trained_once.workspace.runs, [trained_once.run], CPU)


@pytest.fixture
def files(tmp_path):
    made = [
        dx(InstanceNumber=1),
        dx(InstanceNumber=2, ViewPosition="LL"),
        dx(InstanceNumber=3, Modality="CT"),
        dx(InstanceNumber=4, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11"),
        dx(InstanceNumber=5, PixelData=b"\0\0"),
        dx(InstanceNumber=6, ViewPosition=None),
    ]
    return [saved(tmp_path / f"{place}.dcm", one) for place, one in enumerate(made)]


def test_the_frontal_images_are_scored_and_each_other_one_has_its_reason(scorer, files):
    found = scorer.score(files, workers=0)
    assert [bool(one.findings) for one in found.images] == [True, *[False] * 4, True]
    reasons = [one.why_not for one in found.not_scored]
    assert "lateral view" in reasons[0]
    assert "CT" in reasons[1]
    assert "structured report" in reasons[2]
    assert [one.failed for one in found.not_scored] == [False, False, False, True]
    assert "which view" in found.images[-1].warning
    assert found.model.name == "tiny"


def test_scores_are_those_of_predict_and_maps_are_of_positive_findings(scorer, files):
    (row,) = (one.row for one in scorer.ensemble.score(["x"], files[:1], workers=0))
    image = scorer.score(files, workers=0).images[0]
    found = {one.label: one.probability for one in image.findings}
    assert found == pytest.approx(dict(zip(scorer.ensemble.labels, row.scores, strict=True)))
    positive = {one.label for one in image.findings if one.decision == POSITIVE}
    assert positive
    assert set(image.heat) == positive
    assert image.grey.size == (48, 60)


def test_a_model_with_certified_thresholds_gives_its_verdicts(scorer, files):
    limits = {"Edema": Limits(0, 1e-9), "Fracture": Limits(1, 1), "Pneumonia": Limits(0, 1)}
    triage = Triage(
        rules=parse_triage("certified-npv=0.98,certified-ppv=0.5"),
        chosen_on="valid",
        limits=limits,
        certificates={},
        without={},
    )
    member = replace(scorer.ensemble.members[0], triage=triage)
    judging = replace(scorer, ensemble=Ensemble(members=(member,)))
    image = judging.score(files[:1], workers=0).images[0]
    found = {one.label: one.verdict for one in image.findings if one.verdict}
    assert found == {"Edema": "rule-in", "Fracture": "rule-out", "Pneumonia": "read-first"}


def test_a_second_copy_counts_once_and_nothing_readable_is_an_error(scorer, files, tmp_path):
    copy = tmp_path / "copy.dcm"
    copy.write_bytes(files[0].read_bytes())
    found = scorer.score([*files, copy], workers=0)
    assert (len(found.images), found.left_out) == (6, (TWICE,))
    empty = tmp_path / "empty.dcm"
    empty.touch()
    with pytest.raises(DataError, match="no image whose header"):
        scorer.score([empty], workers=0)


def test_files_of_several_studies_are_refused(scorer, tmp_path):
    made = cr(), cr(StudyInstanceUID=generate_uid())
    files = [saved(tmp_path / f"{place}", one) for place, one in enumerate(made)]
    with pytest.raises(DataError, match="2 studies"):
        scorer.score(files, workers=0)


def jpeg(path):
    """A film in JPEG, as archives keep them."""
    stream = io.BytesIO()
    grey = (PIXELS >> 4).astype(np.uint8)
    Image.fromarray(grey).save(stream, "JPEG", quality=95)
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "3"}
    elements = WHOLE | lossy | {"BodyPartExamined": "CHEST", "ViewPosition": "PA"}
    return compressed(path, stream.getvalue(), grey, JPEGBaseline8Bit, **elements)


@pytest.mark.parametrize("kind", ["jpeg", "implicit", "old"])
def test_whatever_way_a_film_is_kept_its_results_are_what_the_standard_says(scorer, tmp_path, kind):
    file = tmp_path / "film.dcm"
    if kind == "jpeg":
        jpeg(file)
    else:
        made = dx() if kind == "implicit" else cr(SpecificCharacterSet="ISO_IR 100")
        made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        saved(file, made)
    found = scorer.score([file], workers=0)
    (image,) = found.images
    loud = [replace(one, decision=POSITIVE) for one in image.findings[:1]]
    heat_map = {loud[0].label: heat()}
    given = replace(found, images=(replace(image, findings=tuple(loud), heat=heat_map, grey=GREY),))
    results = list(study_results(given, presentation=True))
    assert len(results) == 3
    for one in results:
        assert errors_of_the_standard(one.content, tmp_path) == []


def test_the_mean_of_several_models_says_why_it_has_no_maps(trained_once, exported, files):
    runs = trained_once.workspace.runs
    several = load_study_scorer(
        runs, [trained_once.run, str(exported.output)], Compute(device="cpu")
    )
    found = several.score(files[:1], workers=0)
    assert found.without_maps == "the mean of several models has none"
    assert found.images[0].heat == {}
    assert "tiny.onnx" in " ".join(found.model.remarks)


def test_an_exported_model_needs_no_torch(trained_once, exported, files):
    code = f"""
import sys
from pathlib import Path
from cxrtool.pacs.study_results import study_results
from cxrtool.pacs.study_scorer import load_study_scorer
scorer = load_study_scorer(Path({str(trained_once.workspace.runs)!r}), [{str(exported.output)!r}])
study = scorer.score([Path({str(files[0])!r})], workers=0)
print(len(list(study_results(study))), study.without_maps, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, said = done.stdout.split(maxsplit=1)
    assert int(count) > 1
    assert said.strip() == "an exported model has none False"
