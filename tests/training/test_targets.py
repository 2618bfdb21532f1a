"""What the policies make of raw labels, as training sees it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from cxrtool.core.console import SILENT
from cxrtool.core.files import sha256
from cxrtool.core.workspace import Workspace
from cxrtool.data.labels import NO_FINDING
from cxrtool.data.prediction_tables import read_predictions
from cxrtool.evaluation.metrics import auroc_per_label
from cxrtool.training import sampling as sampling
from cxrtool.training.data import read_training_data
from cxrtool.workflows.train import train_model
from tests.conftest import TINY
from tests.support.copies import copy_folder
from tests.support.training_options import LABELS, rows_of, set_up_tiny, write_cells


@pytest.fixture
def masked_cells(prepared):
    """Cells of training rows that are uncertain, and of rows that say nothing."""
    rows = rows_of(prepared, "train")
    labels = [label for label in LABELS if label != NO_FINDING]
    for path, label in zip(rows["path"].iloc[:6], labels[:6], strict=True):
        write_cells(prepared, {(path, label): "-1"})
    return list(zip(rows["path"].iloc[:6], labels[:6], strict=True))


@pytest.mark.parametrize("label", [None, "Edema"])
def test_what_is_masked_changes_nothing_in_training(prepared, masked_cells, tmp_path, label):
    """Uncertain or not mentioned: under ignore and blank ignore the weights are the same."""
    policy = {"uncertainty": "ignore" if label is None else f"zeros,{label}=ignore"}
    cells = [cell for cell in masked_cells if label is None or cell[1] == label]
    assert cells
    config = replace(TINY, epochs=1, batch_size=40, blank="ignore", **policy)
    weights = {}
    for name, text in (("uncertain", "-1"), ("blank", ""), ("positive", "1")):
        folder = copy_folder(prepared.folder, tmp_path / name)
        write_cells(Workspace(folder), dict.fromkeys(cells, text))
        run = train_model(config, Workspace(folder), seed=1).run
        weights[name] = sha256(run.weights)
    assert weights["uncertain"] == weights["blank"]
    assert weights["positive"] != weights["blank"]


def test_blank_counts_as_negative_unless_it_is_ignored(prepared_once):
    raw = rows_of(prepared_once, "train")[LABELS].to_numpy(float)
    data = {
        blank: read_training_data(replace(TINY, blank=blank), prepared_once, 1, SILENT)
        for blank in ("zeros", "ignore")
    }
    silent = np.isnan(raw)
    assert 0 < silent.mean() < 1
    assert (data["zeros"].targets(valid=False)[silent] == 0).all()
    np.testing.assert_array_equal(np.isnan(data["ignore"].targets(valid=False)), silent)
    said = ~silent
    for targets in (data["zeros"].targets(valid=False), data["ignore"].targets(valid=False)):
        np.testing.assert_array_equal(targets[said], np.abs(raw[said]))


def drawn_targets(setup):
    """An epoch's targets as the network sees them, in the order of the training rows."""
    loader = setup.learner.dls.train
    loader.begin_epoch()
    order = np.concatenate([np.array(batch) for batch in loader.batches])
    targets = torch.cat([batch[1].as_subclass(torch.Tensor) for batch in loader])
    assert sorted(order) == list(range(len(setup.data.part(valid=False))))
    return targets[np.argsort(order)].numpy()


def test_each_policy_reaches_the_network(prepared, masked_cells):
    policy = "ones,Cardiomegaly=smooth,Lung Opacity=smooth-zeros,Lung Lesion=ignore,Edema=zeros"
    limits = {
        "Cardiomegaly": (0.55, 0.85),
        "Lung Opacity": (0.0, 0.3),
        "Lung Lesion": (np.nan, np.nan),
        "Edema": (0, 0),
        "Enlarged Cardiomediastinum": (1, 1),
    }
    setup = set_up_tiny(prepared, uncertainty=policy, sampling="uniform", batch_size=17)
    setup.learner.dls.train.drop_last = False
    first, second = drawn_targets(setup), drawn_targets(setup)
    rows = rows_of(prepared, "train")[LABELS]
    assert len(first) == len(rows)
    for label, (low, high) in limits.items():
        column = LABELS.index(label)
        uncertain = rows[label].eq(-1).to_numpy()
        assert uncertain.any(), label
        for targets in (first, second):
            cells = targets[uncertain, column]
            inside = np.isnan(cells) if np.isnan(low) else (cells >= low) & (cells <= high)
            assert inside.all(), label
        fixed = low == high or np.isnan(low)
        same = np.array_equal(first[uncertain, column], second[uncertain, column], equal_nan=True)
        assert same == fixed, label
        said = rows[label].fillna(0).to_numpy()[~uncertain]
        np.testing.assert_array_equal(first[~uncertain, column], said)


def test_smooth_counts_as_positive_in_sampling_and_smooth_zeros_does_not(prepared, masked_cells):
    weights = {
        policy: set_up_tiny(prepared, uncertainty=policy).learner.dls.train.weights
        for policy in ("ones", "smooth", "zeros", "smooth-zeros", "ignore")
    }
    np.testing.assert_array_equal(weights["smooth"], weights["ones"])
    np.testing.assert_array_equal(weights["smooth-zeros"], weights["ignore"])
    assert not np.array_equal(weights["smooth"], weights["smooth-zeros"])
    targets = set_up_tiny(prepared, uncertainty="ignore").data.targets(valid=False)
    own = sampling.sample_weights(targets, ~np.isnan(targets))
    np.testing.assert_allclose(weights["ignore"], own / own.sum())


@pytest.mark.parametrize("policy", ["ignore", "smooth"])
def test_masked_cells_are_left_out_of_the_valid_scores(prepared, policy):
    rows = rows_of(prepared, "valid")
    doubtful = rows["path"].iloc[::3].tolist()
    write_cells(prepared, {(path, "Edema"): "-1" for path in doubtful})
    write_cells(prepared, {(rows["path"].iloc[1], "Edema"): "1"})
    config = replace(TINY, epochs=1, uncertainty=policy)
    run = train_model(config, prepared, seed=1).run
    read = read_predictions(run.predictions("valid"), LABELS)
    scores = read.scores["Edema"].to_numpy(float)[:, None]
    raw = rows_of(prepared, "valid")["Edema"].to_numpy(float)[:, None]
    assert (raw == -1).sum() == len(doubtful)
    told = pd.read_csv(run.history)["Edema"].iloc[0]
    assert told == pytest.approx(auroc_per_label(raw == 1, scores, raw != -1)[0])
    as_ones = auroc_per_label(np.abs(raw) == 1, scores, np.full(raw.shape, True))[0]
    assert told != pytest.approx(as_ones)
