"""`xray_learner` as a notebook sees it: fastai's calls work, each by its name."""

import warnings

import numpy as np
import pytest
import torch
from fastai.callback.core import Callback
from fastai.interpret import Interpretation
from fastai.learner import load_learner
from matplotlib import pyplot as plt
from torch import Tensor

from cxrtool import xray_block, xray_learner
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.networks import architectures
from tests.support.smaller import get_smaller

LABELS = list(CHEXPERT_LABELS)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def block(prepared_once):
    return xray_block(prepared_once, image_size=32, seed=1)


@pytest.fixture(scope="module")
def dls(block, tmp_path_factory):
    path = tmp_path_factory.mktemp("learner")
    return block.dataloaders(bs=16, num_workers=0, device=CPU, path=path)


@pytest.fixture(scope="module")
def trained(dls):
    """A learner after one epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(architectures.models, "get_model", get_smaller)
        learn = xray_learner(dls, "resnet34", "none", precision="fp32")
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    return learn


@pytest.fixture
def learn(trained, monkeypatch):
    """The learner, without bars and without tables on stdout; its weights are put back."""
    before = {key: value.clone() for key, value in trained.model.state_dict().items()}
    with trained.no_bar(), trained.no_logging():
        yield trained
    trained.model.load_state_dict(before)
    trained.unfreeze()


@pytest.fixture(autouse=True)
def without_a_window():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def drawn_images():
    """What the open figure shows: each picture's pixels, and the words over it."""
    shown = [(axes, axes.get_images()[0]) for axes in plt.gcf().axes if axes.get_images()]
    for _, image in shown:
        assert image.get_cmap().name == "gray"  # black is black: nothing is inverted
        assert image.get_clim() == (0, 255)  # and a picture's contrast is its own
    return [(np.asarray(image.get_array()), axes.get_title()) for axes, image in shown]


# Of the data


def test_vocab(dls):
    assert list(dls.vocab) == LABELS
    assert dls.c == len(LABELS)


def test_one_item_is_an_image_and_its_targets(dls):
    image, targets = dls.train_ds[0]
    assert (image.shape, image.dtype) == ((1, 32, 32), torch.uint8)
    assert targets.shape == (14,)
    expected = dls.train.targets[0]
    torch.testing.assert_close(targets.as_subclass(Tensor), expected, equal_nan=True)


@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_show_batch(dls):
    dls.valid.show_batch(max_n=4)
    shown = drawn_images()
    assert len(shown) == 4
    for row, (pixels, title) in enumerate(shown):
        image, targets = dls.valid_ds[row]
        np.testing.assert_allclose(pixels, image[0].numpy(), atol=1)
        names = [label for label, value in zip(LABELS, targets, strict=True) if value > 0.5]
        assert title.replace("\n", " ") == ", ".join(names or ["none"])


def test_show_batch_of_training_is_augmented(dls):
    dls.show_batch(max_n=3)
    plain = {dls.train_ds[row][0].numpy().tobytes() for row in range(len(dls.train_ds))}
    assert len(drawn_images()) == 3
    assert all(pixels.astype(np.uint8).tobytes() not in plain for pixels, _ in drawn_images())


@pytest.mark.parametrize("form", ["rows", "paths"])
def test_test_dl(dls, block, form):
    rows = block.table[block.table["is_valid"]].head(5)
    loader = dls.test_dl(rows if form == "rows" else rows["path"].tolist())
    (images,) = loader.one_batch()
    expected, _ = dls.valid.one_batch()
    assert torch.equal(images, expected[:5])


def test_test_dl_of_images_that_were_not_prepared(dls, drawn, tmp_path):
    """A path of its own, decoded as the cache was."""
    (tmp_path / "new.jpg").write_bytes((drawn.folder / dls.valid.paths[0]).read_bytes())
    (images,) = dls.test_dl([tmp_path / "new.jpg"]).one_batch()
    assert torch.equal(images, dls.valid.one_batch()[0][:1])


def test_test_dl_with_labels(dls, block):
    rows = block.table[block.table["is_valid"]].head(5)
    _, targets = dls.test_dl(rows, with_labels=True).one_batch()
    assert torch.equal(targets, dls.valid.one_batch()[1][:5])


# Of the learner


def test_summary(learn):
    text = str(learn.summary())
    assert "Conv2d" in text
    assert "16 x 3 x 32 x 32" in text


def test_fit(learn):
    before = {key: value.clone() for key, value in learn.model.state_dict().items()}
    learn.fit(1)
    assert not all(
        torch.equal(before[key], value) for key, value in learn.model.state_dict().items()
    )


def test_fit_one_cycle_and_the_recorder(learn, dls):
    learn.fit_one_cycle(2, 1e-3)
    rates = learn.recorder.lrs
    assert len(rates) == 2 * len(dls.train)
    assert rates[0] == pytest.approx(1e-3 / 25)
    assert max(rates) <= 1e-3
    assert list(learn.recorder.metric_names) == [
        *("epoch", "train_loss", "valid_loss", "mean_auroc", "time")
    ]
    assert np.isfinite(np.array(learn.recorder.values)).all()
    learn.recorder.plot_loss(skip_start=0)


def test_freeze_and_unfreeze(learn):
    def moved(epochs=1):
        before = {key: value.clone() for key, value in learn.model.state_dict().items()}
        learn.fit(epochs)
        return {
            key
            for key, value in learn.model.state_dict().items()
            if not torch.equal(before[key], value)
        }

    learn.freeze()
    assert moved() == {"fc.weight", "fc.bias"}  # nor do the statistics of what is frozen
    learn.freeze_to(-2)
    assert {key.split(".")[0] for key in moved()} == {"layer4", "fc"}
    learn.unfreeze()
    assert "conv1.weight" in moved()


def test_fine_tune(learn):
    frozen = []

    class Watch(Callback):
        def before_train(self):
            frozen.append(self.opt.frozen_idx)

    learn.fine_tune(2, freeze_epochs=1, cbs=Watch())
    assert frozen == [2, 0, 0]


def test_validate(learn, dls):
    loss, auroc = learn.validate()
    probabilities, targets = learn.get_preds()
    cells = torch.nn.functional.binary_cross_entropy(probabilities, targets)
    assert loss == pytest.approx(float(cells), rel=1e-4)
    assert 0 <= auroc <= 1
    assert len(probabilities) == len(dls.valid_ds)


def test_get_preds(learn, dls):
    probabilities, targets, decoded, losses = learn.get_preds(with_decoded=True, with_loss=True)
    assert torch.equal(targets, dls.valid.targets)
    assert torch.equal(decoded, probabilities > 0.5)
    expected = torch.nn.functional.binary_cross_entropy(probabilities, targets, reduction="none")
    torch.testing.assert_close(losses, expected.mean(1), rtol=1e-4, atol=1e-5)
    of_training, its_targets = learn.get_preds(ds_idx=0)
    assert len(of_training) == len(dls.train_ds)  # each once, none drawn, in order
    assert torch.equal(its_targets, dls.train.targets)


def test_show_results(learn):
    learn.show_results(max_n=4)
    assert len(drawn_images()) == 4
    for _, title in drawn_images():
        assert title.startswith("labels: ")
        assert "predicted: " in title


@pytest.mark.parametrize("form", ["row", "path"])
def test_predict(learn, block, form):
    row = block.table[block.table["is_valid"]].iloc[3]
    names, decoded, probabilities = learn.predict(row if form == "row" else row["path"])
    torch.testing.assert_close(probabilities, learn.get_preds()[0][3])
    assert torch.equal(decoded, probabilities > 0.5)
    assert list(names) == [label for label, yes in zip(LABELS, decoded, strict=True) if yes]


def test_lr_find(learn):
    before = {key: value.clone() for key, value in learn.model.state_dict().items()}
    assert 1e-7 <= learn.lr_find(num_it=12).valley <= 10
    assert all(torch.equal(before[key], value) for key, value in learn.model.state_dict().items())


def test_tta(learn):
    averaged, targets = learn.tta(n=2)
    plain, same = learn.get_preds()
    assert torch.equal(targets, same)
    assert averaged.shape == plain.shape
    assert not torch.equal(averaged, plain)  # views that are augmented took part


def test_plot_top_losses(learn, dls):
    found = Interpretation.from_learner(learn)
    found.plot_top_losses(3)
    losses, places = found.top_losses(3)
    shown = drawn_images()
    assert len(shown) == 3
    for (pixels, title), loss, place in zip(shown, losses, places, strict=True):
        np.testing.assert_allclose(pixels, dls.valid_ds[int(place)][0][0].numpy(), atol=1)
        assert f"loss {loss:.3f}" in title


def test_export_and_load_learner(learn, block):
    row = block.table.iloc[0]
    expected = learn.predict(row)[2]
    learn.export("learner.pkl")
    file = learn.path / "learner.pkl"
    assert b"patient0" not in file.read_bytes()  # no image's path leaves with it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fastai's, that a pickle can run code
        again = load_learner(file)
    with again.no_bar():
        torch.testing.assert_close(again.predict(row)[2], expected)
    learn.fit(1)  # goes on after it


def test_a_callback_of_ones_own(learn):
    seen = []

    class Watch(Callback):
        def after_loss(self):
            seen.append(self.training)

    learn.fit(1, cbs=Watch())
    assert set(seen) == {True, False}  # the loss of a validation is there too


@pytest.mark.parametrize("loss", ["asymmetric", "auc"])
def test_other_losses_know_each_images_loss(dls, monkeypatch, loss):
    from cxrtool.training.losses import make_loss

    monkeypatch.setattr(architectures.models, "get_model", get_smaller)
    learn = xray_learner(dls, "resnet34", "none", precision="fp32", loss=make_loss(loss))
    with learn.no_bar(), learn.no_logging():
        *_, losses = learn.get_preds(with_loss=True)
        assert losses.shape == (len(dls.valid_ds),)
        assert torch.isfinite(losses).all()


def test_with_pretrained_weights_the_head_alone_is_trained_first(
    dls, monkeypatch, trained, tmp_path
):
    monkeypatch.setattr(architectures.models, "get_model", get_smaller)
    torch.save(trained.model.state_dict(), tmp_path / "own.pth")
    learn = xray_learner(dls, "resnet34", tmp_path / "own.pth", precision="fp32")
    moving = {name for name, weight in learn.model.named_parameters() if weight.requires_grad}
    assert moving == {"fc.weight", "fc.bias"}
    assert torch.equal(learn.model.conv1.weight, trained.model.conv1.weight)
