import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from cxrtool.training.figures import (
    MOST_LABELS,
    SMOOTHING,
    curves_figure,
    draw_curves,
    draw_rates,
    epochs_done,
    rates_figure,
    smoothed,
)

LABELS = ("Edema", "Cardiomegaly", "Fracture")


def history(epochs, validations=1, *, labels=LABELS, batches=100, phases=None, **columns):
    """A history as training writes it; `columns` replace its own, `phases` are one an epoch."""
    rows = np.arange(epochs * validations)
    done = (rows + 1) / validations
    epoch = rows // validations + 1
    frame = {
        "epoch": epoch,
        "step": np.round(done * batches).astype(int),
        "phase": [(phases or ["all"] * epochs)[number - 1] for number in epoch],
        "train_loss": 0.6 - 0.02 * done,
        "valid_loss": 0.5 - 0.01 * done,
        "valid_mean_auroc": 0.9 - 0.01 * (done - 2) ** 2,
        "lr": np.full(len(rows), 1e-3),
        "body_lr": np.full(len(rows), 1e-3),
        "weight_decay": 0.01,
        "train_seconds": 1.0,
        "seconds": 1.5,
    }
    scores = {label: 0.7 + 0.01 * rows + 0.05 * place for place, label in enumerate(labels)}
    return pd.DataFrame({**frame, **columns, **scores})


def line(axes, name):
    """The data of a named line, NaN left out."""
    [found] = [one for one in axes.lines if one.get_label() == name]
    points = np.column_stack([np.atleast_1d(part) for part in found.get_data()]).astype(float)
    return points[~np.isnan(points).any(axis=1)]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def is_drawn(path, size):
    """Whether a PNG has a size and more on it than a background."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == size
        ink = np.asarray(image.convert("L")) < 200
    return ink.mean() > 0.005


def test_a_validation_an_epoch_stands_at_whole_epochs():
    assert epochs_done(history(3)).tolist() == [1, 2, 3]


def test_several_validations_an_epoch_stand_at_its_parts():
    assert epochs_done(history(2, 4)).tolist() == [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]


def test_steps_say_where_a_validation_stood_if_they_are_not_evenly_spread():
    frame = history(2, 4, step=[1, 2, 4, 5, 6, 7, 9, 10])
    assert epochs_done(frame) == pytest.approx([0.2, 0.4, 0.8, 1, 1.2, 1.4, 1.8, 2])


def test_an_epoch_that_is_not_done_is_no_whole_one():
    assert epochs_done(history(2, 4).head(6))[-1] == 1.5
    assert epochs_done(history(1, 4).head(2), validations=4).tolist() == [0.25, 0.5]


def test_a_history_without_steps_is_drawn_too():
    assert epochs_done(history(2, 2).drop(columns="step")).tolist() == [0.5, 1, 1.5, 2]


def test_the_panels_hold_the_historys_figures():
    frame = history(4)
    losses, aurocs, _ = curves_figure(frame).axes
    for axes, name, column in (
        (losses, "training", "train_loss"),
        (losses, "validation: plain cross-entropy", "valid_loss"),
        (aurocs, "mean", "valid_mean_auroc"),
    ):
        assert line(axes, name)[:, 0].tolist() == [1, 2, 3, 4]
        assert line(axes, name)[:, 1].tolist() == frame[column].tolist()


def test_the_training_loss_is_named_by_what_weighs_in_it():
    losses = curves_figure(history(2), training_loss="asymmetric, weighted sampling").axes[0]
    names = losses.get_legend_handles_labels()[1]
    assert names == [
        "training: asymmetric, weighted sampling",
        "validation: plain cross-entropy",
    ]


@pytest.mark.parametrize("words", [3, 7])
def test_names_of_any_length_leave_the_panels_title_free(words, tmp_path):
    figure = curves_figure(history(2), training_loss=", ".join(["weighted"] * words))
    figure.savefig(tmp_path / "drawn.png")  # lays it out
    losses = figure.axes[0]
    title, names = losses._left_title.get_window_extent(), losses.get_legend().get_window_extent()
    assert not title.overlaps(names)
    assert names.y0 >= losses.get_window_extent().y1 - 6


def test_fits_of_the_last_layer_are_drawn_over_their_penalties():
    strengths = [10.0, 1.0, 0.1]
    frame = history(
        3, phases=["probe"] * 3, weight_decay=strengths, valid_mean_auroc=[0.7, 0.8, 0.75]
    )
    losses, aurocs = curves_figure(frame).axes
    assert "penalty" in aurocs.get_xlabel()
    assert aurocs.get_xscale() == "log"
    assert aurocs.xaxis_inverted()  # from strong to weak, as they were fitted
    assert line(aurocs, "best: 0.8000 at 1").tolist() == [[1.0, 0.8]]
    assert line(losses, "training")[:, 0].tolist() == strengths


def test_a_fit_without_a_penalty_has_a_plain_axis():
    frame = history(1, phases=["probe"], weight_decay=0.0)
    assert curves_figure(frame).axes[1].get_xscale() == "linear"


def test_the_best_validation_is_marked_the_first_of_equals():
    frame = history(4, valid_mean_auroc=[0.7, 0.91234, 0.8, 0.91234])
    figure = curves_figure(frame)
    best = "best: 0.9123 in epoch 2"
    assert line(figure.axes[1], best).tolist() == [[2, 0.91234]]
    assert best in legend(figure.axes[1])
    for axes in figure.axes:
        assert any(list(one.get_xdata()) == [2, 2] for one in axes.lines)


def test_single_labels_are_behind_the_mean_unless_they_are_a_fog():
    def behind(count):
        frame = history(3, labels=[f"label {number}" for number in range(count)])
        axes = curves_figure(frame).axes[1]
        mean = next(one for one in axes.lines if one.get_label() == "mean")
        others = [one for one in axes.lines if len(one.get_xdata()) == 3 and one is not mean]
        assert all(one.get_zorder() < mean.get_zorder() for one in others)
        return others

    assert len(behind(14)) == 14
    assert len(behind(MOST_LABELS)) == MOST_LABELS
    assert behind(MOST_LABELS + 1) == []
    assert behind(1) == []  # it is the mean


def test_the_phases_are_the_background():
    frame = history(4, phases=["head", "top", "top", "all"])
    axes = curves_figure(frame).axes[-1]
    shades = {}
    for patch in axes.patches:
        start = patch.get_x()
        shades[start] = (start + patch.get_width(), to_rgb(patch.get_facecolor()))
    assert {start: end for start, (end, _) in shades.items()} == {0: 1, 1: 2, 2: 3, 3: 4}
    assert shades[1][1] == shades[2][1]
    assert len({shade for _, shade in shades.values()}) == 3
    assert legend(axes) == ["head alone", "head and top", "all blocks"]


def test_a_single_phase_needs_no_background():
    assert not curves_figure(history(3)).axes[-1].patches


def test_one_rate_for_all_is_one_line_without_a_name():
    axes = curves_figure(history(3)).axes[2]
    assert legend(axes) == []
    assert axes.get_yscale() == "log"


def test_the_bodys_rate_is_drawn_where_the_body_moves_at_another_than_the_heads():
    phases = ["head", "head", "all", "all"]
    frame = history(4, phases=phases, lr=[1e-3, 1e-3, 1e-4, 1e-4], body_lr=[1e-4] * 2 + [1e-5] * 2)
    axes = curves_figure(frame).axes[2]
    assert legend(axes)[:2] == ["head", "body"]
    assert set(line(axes, "body")[:, 1]) == {1e-5}
    assert line(axes, "body")[:, 0].min() >= 2
    frozen = history(2, phases=["head", "head"], body_lr=[1e-5, 1e-5])
    assert legend(curves_figure(frozen).axes[2]) == []


def test_a_rate_that_falls_on_a_plateau_falls_between_epochs():
    axes = curves_figure(history(3, lr=[1e-3, 1e-3, 1e-4], body_lr=[1e-3, 1e-3, 1e-4])).axes[2]
    [drawn] = [one for one in axes.lines if len(one.get_xdata()) == 4]
    assert drawn.get_drawstyle() == "steps-pre"
    assert list(drawn.get_xdata()) == [0, 1, 2, 3]
    assert list(drawn.get_ydata()) == [1e-3, 1e-3, 1e-3, 1e-4]
    assert {text.get_text(): text.xy[0] for text in axes.texts} == {"0.001": 0, "0.0001": 2}


def test_a_cosines_end_does_not_flatten_the_rest_of_it():
    rates = 1e-3 * np.sin(np.pi / 2 * (1 - np.arange(1, 21) / 20)) ** 2 + 1e-14
    axes = curves_figure(history(5, 4, lr=rates, body_lr=rates)).axes[2]
    [drawn] = [one for one in axes.lines if len(one.get_xdata()) == 20]
    assert drawn.get_drawstyle() == "default"
    assert 1e-7 < axes.get_ylim()[0] < rates[-2]


def test_rates_of_zero_are_no_error():
    figure = curves_figure(history(2, lr=[0.0, 0.0], body_lr=[0.0, 0.0]))
    assert figure.axes[2].get_yscale() == "linear"


@pytest.mark.filterwarnings("error")
def test_a_single_validation_is_seen(tmp_path):
    frame = history(1)
    path = tmp_path / "curves.png"
    draw_curves(frame, path)
    assert is_drawn(path, (1200, 1260))
    for axes, name in zip(curves_figure(frame).axes, ("training", "mean"), strict=False):
        [drawn] = [one for one in axes.lines if one.get_label() == name]
        assert drawn.get_marker() == "o"


@pytest.mark.filterwarnings("error")
def test_an_auroc_that_is_not_defined_is_said(tmp_path):
    frame = history(3, valid_mean_auroc=np.nan)
    path = tmp_path / "curves.png"
    draw_curves(frame, path)
    assert is_drawn(path, (1200, 1260))
    axes = curves_figure(frame).axes[1]
    assert axes.texts[0].get_text().startswith("not defined")
    assert legend(axes) == []


@pytest.mark.filterwarnings("error")
def test_an_auroc_that_is_not_defined_at_first_leaves_the_others():
    axes = curves_figure(history(3, valid_mean_auroc=[np.nan, 0.6, 0.7])).axes[1]
    assert line(axes, "mean").tolist() == [[2, 0.6], [3, 0.7]]
    assert legend(axes)[-1] == "best: 0.7000 in epoch 3"


@pytest.mark.filterwarnings("error")
def test_a_history_read_from_its_file_is_drawn(tmp_path):
    table, path = tmp_path / "history.csv", tmp_path / "curves.png"
    history(6, 2, phases=["head"] * 2 + ["all"] * 4).to_csv(table, index=False)
    draw_curves(pd.read_csv(table), path)
    assert is_drawn(path, (1200, 1260))


RATES = np.geomspace(1e-7, 1, 100)
LOSSES = np.where(RATES < 0.1, 0.7 - 0.3 * np.linspace(0, 1, 100) ** 2, 50.0)


def test_the_suggestion_stands_on_the_smoothed_line_with_its_number():
    axes = rates_figure(RATES, LOSSES, 3.21e-4).axes[0]
    assert axes.get_xscale() == "log"
    assert line(axes, "each batch")[:, 1].tolist() == LOSSES.tolist()
    assert line(axes, "smoothed")[:, 1].tolist() == smoothed(LOSSES).tolist()
    [(rate, height)] = line(axes, "suggested: 3.2e-04")
    below = np.searchsorted(RATES, rate) - 1
    low, high = sorted(smoothed(LOSSES)[below : below + 2])
    assert rate == 3.21e-4
    assert low <= height <= high


def test_the_fall_is_shown_in_full_and_the_explosion_is_not():
    low, high = rates_figure(RATES, LOSSES, None).axes[0].get_ylim()
    fall = LOSSES[RATES < 0.1]
    assert low < fall.min()
    assert fall.max() < high < 2


def test_smoothing_leaves_what_is_smooth_and_weighs_the_latest_most():
    assert smoothed([0.5] * 9) == pytest.approx([0.5] * 9)
    weights = SMOOTHING ** np.arange(3)[::-1]
    assert smoothed([1.0, 2.0, 4.0])[-1] == pytest.approx(weights @ [1, 2, 4] / weights.sum())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("losses", [LOSSES, np.full(100, 0.7), np.zeros(100)])
def test_a_range_test_is_drawn(losses, tmp_path):
    path = tmp_path / "rates.png"
    draw_rates(list(RATES), list(losses), 1e-3, path)
    assert is_drawn(path, (1200, 690))
