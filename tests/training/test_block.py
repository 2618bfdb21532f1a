"""`xray_block` is what `train` uses, and takes any table."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.data.block import DataBlock, TransformBlock
from fastai.data.transforms import ColReader, ColSplitter, IntToFloatTensor
from fastai.torch_core import set_seed
from torch import Tensor

from cxrtool import xray_block
from cxrtool.core.config import PrepareConfig
from cxrtool.core.console import SILENT
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.workspace import Workspace
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.manifest import read_manifest, read_split
from cxrtool.images.cache import ImageCache
from cxrtool.images.resizing import load_pixels
from cxrtool.training.augmentation import Affine, DrawTargets, Normalise
from cxrtool.training.choices import resolve
from cxrtool.training.dataloaders import XRayLoader
from cxrtool.training.reading import NamedFindings, ReadTargets, ReadXRay
from cxrtool.training.sampling import sample_weights
from cxrtool.training.setup import set_up
from cxrtool.training.targets import Targets
from cxrtool.workflows.prepare import prepare_manifest
from tests.conftest import TINY

LABELS = list(CHEXPERT_LABELS)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def table(prepared_once):
    """The manifest's training and validation rows, as somebody reads them."""
    manifest = read_manifest(prepared_once.manifest)
    return manifest.assign(split=read_split(prepared_once.split, manifest).to_numpy())


@pytest.fixture(scope="module")
def folder(prepared_once):
    return prepared_once.read_data_info().folder


def batches(loader):
    """An epoch's images and targets, as plain tensors."""
    return [tuple(part.as_subclass(Tensor) for part in batch) for batch in loader]


def assert_same(left, right):
    assert len(left) == len(right) > 0
    for one, other in zip(left, right, strict=True):
        for mine, yours in zip(one, other, strict=True):
            torch.testing.assert_close(mine, yours, rtol=0, atol=0, equal_nan=True)


@pytest.fixture(scope="module")
def roomy(prepared_once, drawn, tmp_path_factory):
    """The same images in a cache of 48 px, from which 32 can be sampled with room."""
    workspace = Workspace(tmp_path_factory.mktemp("roomy") / "cxr")
    prepare_manifest(PrepareConfig(data=drawn.folder, workers=0, cache_size=48), workspace)
    shutil.copy(prepared_once.split, workspace.split)
    return workspace


@pytest.mark.parametrize(
    ("policy", "image_size", "workers"),
    [("ones", 48, 0), ("ones", 32, 0), ("zeros", 48, 2), ("ignore", 32, 2), ("smooth", 32, 0),
     ("smooth", 48, 2), ("ones", 64, 0)],
)  # fmt: skip
def test_a_block_made_by_hand_gives_the_batches_of_train(
    roomy, table, folder, policy, image_size, workers
):
    """From a cache of 48 px: as it is, with room to augment, and too small for what is asked."""
    config = replace(TINY, uncertainty=policy, image_size=image_size, workers=workers)

    def of_train():
        return set_up(*resolve(config), roomy, seed=42, reporter=SILENT)

    data = of_train().data
    by_hand = xray_block(
        table,
        LABELS,
        image_size=image_size,
        uncertainty=policy,
        folder=folder,
        cache=ImageCache(roomy.cache) if image_size <= 48 else None,
        mean=data.mean,
        std=data.std,
        seed=42,
    )
    assert isinstance(by_hand, DataBlock)
    of_workspace = xray_block(roomy, image_size=image_size, uncertainty=policy, seed=42)
    for block in (by_hand, of_workspace):
        ours = block.dataloaders(bs=16, sampling="weighted", num_workers=workers, device=CPU)
        theirs = of_train().learner.dls
        for part in ("train", "valid", "train"):  # two epochs of training
            assert_same(batches(getattr(ours, part)), batches(getattr(theirs, part)))


@pytest.mark.parametrize("policy", ["ones", "smooth"])
def test_fastais_own_datablock_of_the_same_pieces_gives_the_batches_of_train(roomy, folder, policy):
    config = replace(TINY, uncertainty=policy)
    setup = set_up(*resolve(config), roomy, seed=42, reporter=SILENT)
    data, noise = setup.data, torch.Generator().manual_seed(42)
    targets = Targets(labels=tuple(LABELS), every=tuple(LABELS), uncertainty=policy)
    block = DataBlock(
        blocks=(
            TransformBlock([ReadXRay(folder, 32, data.cache, augmented=True)]),
            TransformBlock([NamedFindings(LABELS)]),
        ),
        dl_type=XRayLoader,
        get_x=ColReader("path"),
        get_y=ReadTargets(targets),
        splitter=ColSplitter("is_valid"),
        batch_tfms=[
            IntToFloatTensor(),
            Affine(32, generator=noise),
            DrawTargets(noise),
            Normalise(data.mean, data.std),
        ],
    )
    own = [{"weights": setup.sampling.weights, "seed": 42}, {"seed": 42}]
    ours = block.dataloaders(data.frame, bs=16, num_workers=0, device=CPU, dl_kwargs=own)
    for part in ("train", "valid", "train"):
        assert_same(batches(getattr(ours, part)), batches(getattr(setup.learner.dls, part)))


def test_weighted_sampling_weighs_as_train_does(table, folder):
    block = xray_block(table, LABELS, folder=folder, image_size=32, mean=0.5, std=0.2, seed=1)
    dls = block.dataloaders(bs=8, sampling="weighted", num_workers=0, device=CPU)
    targets = dls.train.targets.numpy()
    weights = sample_weights(targets, ~np.isnan(targets))
    np.testing.assert_allclose(dls.train.weights, weights / weights.sum())
    assert dls.valid.weights is None


def small(n=40):
    """A table of two labels for images that nobody reads."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"path": [f"{i}.png" for i in range(n)]})
    frame["A"] = rng.choice([0.0, 1.0], n)
    frame["B"] = rng.choice([0.0, 1.0, -1.0, np.nan], n)
    return frame


KNOWN = {"mean": 0.5, "std": 0.2}


def test_parts_of_a_table_are_what_it_says(table):
    frame = small().assign(is_valid=[i % 4 == 0 for i in range(40)])
    said = xray_block(frame, **KNOWN).table["is_valid"]
    assert said.tolist() == frame["is_valid"].tolist()
    named = frame.drop(columns="is_valid").assign(split=["train", "valid", "test", "expert"] * 10)
    rows = xray_block(named, **KNOWN).table
    assert rows["path"].tolist() == named["path"][named["split"].isin(["train", "valid"])].tolist()
    assert rows["is_valid"].tolist() == [False, True] * 10


def test_otherwise_a_fifth_of_the_patients_is_valid():
    frame = small(60).assign(patient_id=[f"p{i // 3}" for i in range(60)])
    rows = xray_block(frame, seed=3, **KNOWN).table
    valid = set(rows["patient_id"][rows["is_valid"]])
    assert len(valid) == 4
    assert not valid & set(rows["patient_id"][~rows["is_valid"]])
    again = xray_block(frame, seed=3, **KNOWN).table
    assert again.equals(rows)


def test_labels_are_those_named_or_all_columns_of_numbers():
    frame = small().assign(hospital="north")
    assert xray_block(frame, **KNOWN).targets.labels == ("A", "B")
    assert xray_block(frame, ["B"], **KNOWN).targets.labels == ("B",)


def test_no_finding_depends_on_labels_that_are_not_trained_on(table, folder):
    """Under U-Zeros, as in `train --labels`."""
    chosen = ["No Finding"]
    options = {"uncertainty": "zeros", "folder": folder, **KNOWN}
    whole = xray_block(table, **options)
    alone = xray_block(table, chosen, every_label=LABELS, **options)
    column = LABELS.index("No Finding")
    expected = whole.targets.scored(whole.table)[:, column]
    np.testing.assert_array_equal(alone.targets.scored(alone.table)[:, 0], expected)
    assert expected.sum() > xray_block(table, chosen, **options).table["No Finding"].eq(1).sum()


def test_mean_and_deviation_are_measured_where_nobody_says_them(table, folder):
    block = xray_block(table, LABELS, folder=folder, image_size=32)
    train = block.table.loc[~block.table["is_valid"], "path"]
    pixels = np.stack([load_pixels(folder / path, 32) for path in train]) / 255
    normalise = block.batch_tfms[-1]
    assert (normalise.mean, normalise.std) == pytest.approx((pixels.mean(), pixels.std()))


def test_without_augmentation_training_sees_the_images_themselves(prepared_once):
    block = xray_block(prepared_once, image_size=32, augment=False, seed=1)
    dls = block.dataloaders(bs=4, num_workers=0, device=CPU)
    images, targets = dls.train.one_batch()
    rows = dls.train.rows[:4]
    again, same = dls.test_dl(
        block.table[~block.table["is_valid"]].iloc[rows], with_labels=True
    ).one_batch()
    assert torch.equal(images, again)
    assert torch.equal(targets, same)


def test_without_a_seed_fastais_own_counts(prepared_once):
    block = xray_block(prepared_once, image_size=32)

    def draw(seed):
        set_seed(seed)
        return batches(block.dataloaders(bs=16, num_workers=0, device=CPU).train)

    assert_same(draw(1), draw(1))
    assert not torch.equal(draw(1)[0][0], draw(2)[0][0])


def test_another_table_goes_through_the_same_block(prepared_once, table):
    block = xray_block(prepared_once, image_size=32, seed=1)
    few = table[table["split"].isin(["train", "valid"])].groupby("split").head(20)
    dls = block.dataloaders(few, bs=4, num_workers=0, device=CPU)
    assert (len(dls.train_ds), len(dls.valid_ds)) == (
        20,
        min(20, (table["split"] == "valid").sum()),
    )


@pytest.mark.parametrize(
    ("change", "options", "error", "told"),
    [
        (lambda t: t.rename(columns={"path": "file"}), {}, DataError, "no column path.*file, A, B"),
        (lambda t: t, {"labels": ["Bb"]}, UsageError, "labels: column 'Bb' is not known"),
        (lambda t: t[["path"]], {}, UsageError, "has no labels"),
        (lambda t: t.assign(A=7), {}, DataError, "7 for A: expected 1, 0, -1 or nothing"),
        (lambda t: t.assign(A=0.5), {}, DataError, "A: values between 0 and 1; if they are shares"),
        (lambda t: t.assign(A="yes"), {"labels": ["A"]}, DataError, "need numbers"),
        (lambda t: t.assign(is_valid=False), {}, DataError, "valid has 0 images"),
        (lambda t: t, {"uncertainty": "maybe"}, UsageError, "maybe"),
        (lambda t: t, {"mean": None}, DataError, r"0\.png.*folder="),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(change, options, error, told, tmp_path):
    with pytest.raises(error, match=told):
        xray_block(change(small()), **{"folder": tmp_path, **KNOWN, **options})


def test_shares_of_readers_that_are_named_are_targets(tmp_path):
    table = small().assign(A=np.linspace(0, 1, 40).round(3))
    block = xray_block(table, ["A", "B"], folder=tmp_path, **KNOWN)
    np.testing.assert_array_equal(block.targets.middle(table)[:, 0], np.float32(table["A"]))


def test_a_file_that_is_no_manifest_says_what_to_do(tmp_path):
    (tmp_path / "labels.csv").write_text("path,A\n")
    with pytest.raises(UsageError, match="read it with pandas"):
        xray_block(tmp_path / "labels.csv")
    with pytest.raises(DataError, match="cxrtool prepare"):
        xray_block(tmp_path)


def test_an_unknown_sampling_is_refused(prepared_once):
    with pytest.raises(UsageError, match="weighted"):
        xray_block(prepared_once, image_size=32).dataloaders(sampling="weigthed", num_workers=0)


def test_a_table_without_labels_cannot_be_asked_for_them(prepared_once, table):
    dls = xray_block(prepared_once, image_size=32).dataloaders(num_workers=0, device=CPU)
    with pytest.raises(DataError, match="no column Edema"):
        dls.test_dl(table.drop(columns="Edema").head(3), with_labels=True)
