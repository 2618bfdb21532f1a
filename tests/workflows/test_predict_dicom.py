"""`predict --dicom`: results of studies from the same scores as the rows."""

import json
import subprocess
import sys

import numpy as np
import pytest
from highdicom.sr import Comprehensive3DSR
from PIL import Image
from pydicom import dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import EnhancedSRStorage, generate_uid

from cxrtool import pacs
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.runs import RunFolder
from cxrtool.inference.ensemble import Ensemble
from cxrtool.workflows.predict import predict_images
from tests.conftest import Hearing
from tests.support.dicoms import NAME, NUMBER, saved
from tests.support.predicting import CPU, LABELS, predict
from tests.support.sealing import change_thresholds
from tests.support.studies import dx, errors_of_the_standard


@pytest.fixture
def sent(tmp_path):
    """Three studies: a frontal and a lateral film, a frontal one, and a CT; and a PNG."""
    folder = tmp_path / "sent"
    folder.mkdir()
    first, second, third = (generate_uid() for _ in range(3))
    made = {
        "a-frontal": dx(StudyInstanceUID=first, InstanceNumber=1),
        "b-frontal": dx(StudyInstanceUID=second, InstanceNumber=1),
        "c-lateral": dx(StudyInstanceUID=first, InstanceNumber=2, ViewPosition="LL"),
        "d-ct": dx(StudyInstanceUID=third, Modality="CT"),
    }
    for name, one in made.items():
        saved(folder / f"{name}.dcm", one)
    Image.new("L", (60, 48), 90).save(folder / "e.png")
    return folder, (first, second, third)


@pytest.fixture
def decided(trained):
    """A run with a threshold for each label, which most images have all over."""
    run = RunFolder(trained.workspace.runs / "tiny")
    change_thresholds(run, thresholds=dict.fromkeys(LABELS, 0.01))
    return trained


@pytest.fixture
def speaking(monkeypatch):
    """Something speaks for each label: of so small a network that is by chance."""

    def maps(self, pixels, labels, method="gradcam"):
        return np.tile(np.arange(4, dtype=np.float32).reshape(2, 2), (len(labels), 1, 1))

    monkeypatch.setattr("cxrtool.networks.class_activation.Explainer.maps", maps)


def report_of(folder, study):
    return Comprehensive3DSR.from_dataset(dcmread(folder / study / "report.dcm"))


def names(folder):
    return {
        one.name: sorted(file.name for file in one.iterdir() if file.suffix == ".dcm")
        for one in folder.iterdir()
        if one.is_dir()
    }


def test_each_study_has_a_report_of_the_scores_that_its_rows_have(
    decided, speaking, sent, tmp_path
):
    folder, (first, second, third) = sent
    output = tmp_path / "dicom"
    result = predict(decided, [folder], dicom=output, presentation_states=True)
    assert (result.images, result.failed) == (5, 0)
    assert set(names(output)) == {first, second, third}
    assert names(output)[third] == ["report.dcm"]
    rows = {row.path.rsplit("/")[-1]: row for row in result.rows}
    for study, name in ((first, "a-frontal.dcm"), (second, "b-frontal.dcm")):
        row, report = rows[name], report_of(output, study)
        found = {
            one.tracking_identifier: one.get_measurements(codes.DCM.Probability)[0].value
            for one in report.content.get_image_measurement_groups()
            if one.tracking_identifier != "Not scored"
        }
        expected = dict(zip(LABELS, row.scores, strict=True))
        assert found == pytest.approx(expected, rel=1e-8)
        pictures = [file for file in names(output)[study] if file.startswith("picture")]
        assert len(pictures) == len(set(row.positive) - {"No Finding"}) > 0
    assert result.dicom.studies == 3
    assert result.dicom.files["reports"] == 3
    assert result.dicom.files["pictures"] > result.dicom.files["marks"] > 0
    assert result.dicom.without_study == {"no DICOM": 1}
    assert result.as_json()["dicom"]["reports"] == 3


def test_what_is_no_frontal_film_has_a_row_and_is_not_scored_in_its_study(decided, sent, tmp_path):
    folder, (first, _, third) = sent
    predict(decided, [folder], dicom=tmp_path / "dicom")
    said = {
        study: [
            item.TextValue
            for group in report_of(tmp_path / "dicom", study).content.get_image_measurement_groups()
            for item in group[0].ContentSequence
            if item.name == codes.DCM.Comment and item.TextValue.startswith("Not scored")
        ]
        for study in (first, third)
    }
    assert said[first] == ["Not scored: a lateral view by its View Position (LL)"]
    assert said[third] == ["Not scored: computed tomography by its Modality (CT)"]


def test_nothing_is_scored_twice(decided, sent, tmp_path, monkeypatch):
    counted = []
    submit = Ensemble._submit

    def count(self, batch):
        counted.extend(one.index for one in batch)
        return submit(self, batch)

    monkeypatch.setattr(Ensemble, "_submit", count)
    predict(decided, [sent[0]], dicom=tmp_path / "dicom", output=tmp_path / "rows.csv")
    assert len(counted) == 5


@pytest.mark.parametrize("table", [True, False])
def test_resume_completes_what_is_missing_and_keeps_the_rest(decided, sent, tmp_path, table):
    folder, (first, second, third) = sent
    output, options = tmp_path / "dicom", {"output": tmp_path / "rows.csv"} if table else {}
    predict(decided, [folder], dicom=output, **options)
    before = {path: path.read_bytes() for path in output.rglob("*.dcm")}
    uids = {path: dcmread(path).SOPInstanceUID for path in before}
    (output / second / ".complete").unlink()
    (output / second / "report.dcm").unlink()
    result = predict(decided, [folder], dicom=output, resume=True, **options)
    assert (result.dicom.studies, result.dicom.complete) == (3, 2)
    assert result.dicom.files["reports"] == 1
    assert {path: dcmread(path).SOPInstanceUID for path in before} == uids
    kept = [path for path in before if path.read_bytes() == before[path]]
    assert {path.parent.name for path in kept} >= {first, third}
    # Another image of a study is other work.
    saved(folder / "f.dcm", dx(StudyInstanceUID=first, InstanceNumber=3))
    result = predict(decided, [folder], dicom=output, resume=True, **options)
    assert (result.dicom.complete, result.dicom.files["reports"]) == (2, 1)
    report = output / first / "report.dcm"
    assert dcmread(report).SOPInstanceUID != uids[report]


def test_a_folder_that_holds_something_is_kept_without_force(decided, sent, tmp_path):
    output = tmp_path / "dicom"
    predict(decided, [sent[0]], dicom=output)
    with pytest.raises(DataError, match="--force replaces it"):
        predict(decided, [sent[0]], dicom=output)
    assert predict(decided, [sent[0]], dicom=output, force=True).dicom.complete == 0
    with pytest.raises(DataError, match="is no folder of DICOM results"):
        predict(decided, [sent[0]], dicom=sent[0], force=True)


def test_rows_of_studies_leave_laterals_out_and_reports_name_them(decided, sent, tmp_path):
    folder, (first, *_) = sent
    result = predict(decided, [folder], dicom=tmp_path / "dicom", unit="study")
    assert result.laterals == 1
    groups = report_of(tmp_path / "dicom", first).content.get_image_measurement_groups()
    assert groups[-1].tracking_identifier == "Not scored"


def test_a_study_that_can_have_no_report_is_told_without_its_patient(decided, sent, tmp_path):
    folder, (first, *_) = sent
    saved(folder / "g.dcm", dx(StudyInstanceUID=first, PatientID="another", InstanceNumber=4))
    hearing = Hearing()
    config = CPU.__class__(
        **{**vars(CPU), "dicom": tmp_path / "dicom", "run": ["tiny"], "workers": 0}
    )
    result = predict_images(config, [str(folder)], decided.workspace, hearing)
    ((path, why),) = result.dicom.failures
    assert path.endswith("a-frontal.dcm")
    assert "several patients" in why
    assert (result.status, result.dicom.files["reports"]) == ("some failed", 2)
    told = " ".join([*hearing.warnings, *hearing.notes, json.dumps(result.as_json())])
    assert "several patients" in told
    for private in (*NAME.split("^"), NUMBER, "another", "19500102", "ACC-9"):
        assert private not in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"presentation_states": True}, "--presentation-states goes with --dicom"),
        ({"sr_class": "enhanced"}, "--sr-class goes with --dicom"),
        ({"resume": True}, "or the folder of DICOM results with --dicom"),
    ],
)
def test_options_that_do_not_go_together_are_refused(decided, sent, options, message):
    with pytest.raises(UsageError, match=message):
        predict(decided, [sent[0]], **options)


def test_without_the_extra_it_is_said_what_to_install(decided, sent, tmp_path, monkeypatch):
    monkeypatch.setattr(pacs, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install 'cxrtool\\[dicom\\]'"):
        predict(decided, [sent[0]], dicom=tmp_path / "dicom")
    assert not (tmp_path / "dicom").exists()


def test_an_exported_model_has_pictures_without_maps_and_no_marks(
    trained_once, exported, sent, tmp_path
):
    hearing, output = Hearing(), tmp_path / "dicom"
    config = CPU.__class__(
        **{
            **vars(CPU),
            "engine": "auto",
            "run": [str(exported.output)],
            "dicom": output,
            "sr_class": "enhanced",
            "presentation_states": True,
        }
    )
    result = predict_images(config, [str(sent[0])], trained_once.workspace, hearing)
    assert result.dicom.files["marks"] == 0
    assert any("an exported model has none" in text for text in hearing.warnings)
    for study in sent[1]:
        assert dcmread(output / study / "report.dcm").SOPClassUID == EnhancedSRStorage


def test_the_command_tells_how_many_of_what_and_nothing_of_the_patient(decided, sent, tmp_path):
    command = [
        *(sys.executable, "-m", "cxrtool", "predict", str(sent[0]), "--run", "tiny"),
        *("--workspace", str(decided.workspace.folder), "--engine", "torch", "--device", "cpu"),
        *("--dicom", str(tmp_path / "dicom"), "--output", str(tmp_path / "rows.csv")),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "3 studies: 3 reports," in done.stdout
    assert "1 input without a report: no DICOM" in done.stdout
    for private in (*NAME.split("^"), NUMBER, "19500102", "ACC-9"):
        assert private not in done.stdout + done.stderr


def test_all_files_are_what_the_standard_says(decided, speaking, sent, tmp_path):
    output = tmp_path / "dicom"
    predict(decided, [sent[0]], dicom=output, presentation_states=True)
    kinds = {file.name.split(".")[0].split("-")[0]: file for file in output.rglob("*.dcm")}
    assert set(kinds) == {"report", "picture", "marks"}
    for file in kinds.values():
        assert errors_of_the_standard(file.read_bytes(), tmp_path) == []
