"""Certified thresholds chosen anew on local images."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from cxrtool.core.config import CertifyConfig
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.data.phantoms import draw_dataset
from cxrtool.workflows.certify import certify_run
from tests.conftest import Hearing
from tests.support.calling import call
from tests.support.evaluating_tables import evaluate
from tests.support.predicting import predict

LOCAL = CertifyConfig(
    run="tiny",
    operating_point="certified-sensitivity=0.5@60",
    triage="certified-sensitivity=0.5@60,certified-specificity=0.5@60",
    device="cpu",
    precision="fp32",
    workers=0,
)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A table of other patients' images."""
    folder = draw_dataset(
        tmp_path_factory.mktemp("local"), patients=16, seed=11, valid_patients=2
    ).folder
    table = pd.read_csv(folder / "train.csv")
    table["path"] = [str(folder.parent / path) for path in table.pop("Path")]
    table["patient_id"] = table["path"].str.extract(r"(patient\d+)", expand=False).radd("local-")
    labels = ["No Finding", "Edema", "Cardiomegaly", "Pleural Effusion", "Atelectasis"]
    table[["path", "patient_id", *labels]].to_csv(folder.parent / "local.csv", index=False)
    return folder.parent / "local.csv"


def test_local_images_certify_and_predict_uses_it(trained, local, tmp_path):
    run = RunFolder(trained.workspace.runs / "tiny")
    told = Hearing()
    found = certify_run(replace(LOCAL, truth=local), trained.workspace, told)
    card = read_card(run)
    assert (found.sample, card.chosen_on, card.triage.chosen_on) == (("local.csv",) * 3)
    assert card.edited == ()
    assert set(found.certificates) == {
        label for label, limit in card.thresholds.items() if limit is not None
    }
    assert found.certificates
    assert card.without["Fracture"] == "local.csv has no such label"
    assert all(words.endswith("patients like those of local.csv") for words in found.conditions)
    assert any("no threshold for Fracture" in text for text in told.warnings)
    assert str(evaluate(trained).operating_point.chosen_on) == "local.csv"
    images = sorted((trained.data / "valid").rglob("*frontal.jpg"))[:3]
    table = predict(trained, images, output=tmp_path / "t.csv").table
    assert list(table.columns[-2:]) == ["error", "verdict"]
    for verdicts, (_, row) in zip(table["verdict"], table.iterrows(), strict=True):
        judged = dict(one.rsplit(":", 1) for one in verdicts.split(";"))
        assert set(judged) == set(card.triage.labels)
        for label, limits in card.triage.labels.items():
            between = "rule-in" if row[label] >= limits.rule_in else "read-first"
            assert judged[label] == ("rule-out" if row[label] < limits.rule_out else between)
    before = (tmp_path / "t.csv").read_bytes()
    predict(trained, images, output=tmp_path / "t.csv", resume=True)
    assert (tmp_path / "t.csv").read_bytes() == before
    evaluate(trained, triage="none", operating_point="youden", keep=True)
    with pytest.raises(DataError, match="other thresholds"):
        predict(trained, images, output=tmp_path / "t.csv", resume=True)


def test_what_promises_nothing_or_is_not_there_is_refused(trained_once, local, tmp_path):
    def certify(**changes):
        certify_run(replace(LOCAL, truth=local, **changes), trained_once.workspace)

    with pytest.raises(UsageError, match="promises nothing"):
        certify(operating_point="sensitivity=0.9")
    with pytest.raises(UsageError, match="say what to promise"):
        certify(operating_point=None, triage=None)
    with pytest.raises(UsageError, match="--truth CSV"):
        certify_run(LOCAL, trained_once.workspace)
    with pytest.raises(DataError, match="there is no such table"):
        certify_run(replace(LOCAL, truth=tmp_path / "no.csv"), trained_once.workspace)
    with pytest.raises(DataError, match="is what tiny was trained with"):
        certify_run(replace(LOCAL, truth=trained_once.data), trained_once.workspace)


def test_as_a_user_types_it(trained, local):
    flags = ["--operating-point", LOCAL.operating_point, "--triage", LOCAL.triage]
    given = ["certify", "tiny", "--truth", local, *flags, "-w", trained.workspace.folder]
    done = call(*given, "--device", "cpu", "--workers", "0")
    assert done.exit_code == 0, done.stderr
    assert "tiny, certified on local.csv: " in done.stdout
    assert "promised: sensitivity of at least 0.5 at 60 % confidence" in done.stdout
    assert "cxrtool predict" in done.stdout
    done = call(*given, "--device", "cpu", "--workers", "0", "--json")
    assert {"run", "sample", "certificates", "triage"} <= set(json.loads(done.stdout))
