"""`evaluate --robustness`: the images as they are and changed, scored by the run's own network."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrtool.core.config import EvaluateConfig
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.runs import RunFolder
from cxrtool.images.errors import ImageError
from cxrtool.images.perturbations import PERTURBATIONS
from cxrtool.images.resizing import load_pixels
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.scorer import load_scorer
from cxrtool.workflows.evaluate_tables import evaluate_tables
from tests.support.evaluating import LABELS, evaluate, truth_of


def test_each_change_is_scored_as_the_run_scores_a_changed_picture(trained):
    found = evaluate(trained, robustness=True).robustness
    rows, targets = truth_of(trained, "test")
    run = RunFolder(trained.workspace.runs / trained.run)
    scorer = load_scorer(run, Compute(engine="torch", device="cpu"))
    squares = [load_pixels(trained.data / path, *scorer.image_sizes) for path in rows["path"]]
    assert list(found.changes) == list(PERTURBATIONS)
    for name, change in PERTURBATIONS.items():
        scores = scorer.submit(np.stack([change(one) for one in squares]))().logits
        aurocs = [
            roc_auc_score(targets[:, at], scores[:, at])
            for at in range(len(LABELS))
            if 0 < targets[:, at].sum() < len(targets)
        ]
        assert found.changes[name].mean_auroc == pytest.approx(np.mean(aurocs))
        assert found.changes[name].difference.value == pytest.approx(
            np.mean(aurocs) - found.mean_auroc
        )


def test_it_is_asked_for_and_shown_on_the_page(trained):
    result = evaluate(trained, robustness=True, report=True, bootstrap=100)
    page = result.written[0].read_text()
    assert 'id="robustness"' in page
    assert "JPEG quality 20" in page
    assert set(result.as_json()["robustness"]["changes"]) == set(PERTURBATIONS)
    assert "robustness" not in evaluate(trained).as_json()


def test_an_image_that_is_gone_is_named(trained, monkeypatch):
    evaluate(trained)  # its scores are kept

    def gone(path):
        raise ImageError(f"{path}: gone")

    monkeypatch.setattr("cxrtool.images.decoding.read_for_scoring", gone)
    with pytest.raises(DataError, match="cannot be read any more"):
        evaluate(trained, robustness=True)


def test_tables_have_no_images(tmp_path):
    config = EvaluateConfig(predictions=[tmp_path / "a.csv"], truth=tmp_path, robustness=True)
    with pytest.raises(UsageError, match="it needs a run"):
        evaluate_tables(config, seed=1)
