"""How an X-ray and its findings are shown by fastai's `show_batch`, `show_results` and the rest."""

import math
import textwrap
from typing import Any

from matplotlib.axes import Axes

from cxrtool.training.fastai_parts import (
    MultiCategory,
    TensorImageBW,
    TensorMultiCategory,
    dispatch,
    get_grid,
    show_image,
    show_title,
)

LETTERS = 38
"""In a line over an image."""
INCHES = 3.4
"""The width of an image on the page."""
RIGHT, WRONG = "#1a7f37", "#b8324a"


class XRayImage(TensorImageBW):  # type: ignore[misc]
    """A grey image (1, height, width), black at 0 and white at 255, or a batch of them."""

    # fastai's own shows grey images inverted, and stretches each one's contrast.
    _show_args = {"cmap": "gray", "vmin": 0, "vmax": 255}  # noqa: RUF012

    def show(self, ctx: Axes | None = None, **options: Any) -> Axes:
        """Draw one image, on axes or in a figure of its own."""
        # fastai's gives matplotlib the tensor: how it becomes an array is deprecated in NumPy 2.
        pixels = self.detach().cpu().numpy()[0]
        axes: Axes = show_image(pixels, ctx=ctx, **{**self._show_args, **options})
        return axes


class Findings(MultiCategory):  # type: ignore[misc]
    """The names of labels."""

    def __str__(self) -> str:
        return ", ".join(self) or "none"

    def show(self, ctx: Axes | None = None, **_: Any) -> Axes | None:
        """Put the names over an image, or print them."""
        return _entitle(ctx, str(self))


def _grid(n: int, shape: dict[str, Any]) -> list[Axes]:
    """Axes for n images, with room for the lines over them."""
    columns = shape.pop("ncols", None) or math.ceil(n / (shape.get("nrows") or math.isqrt(n)))
    rows = shape.pop("nrows", None) or math.ceil(n / columns)
    size = shape.pop("figsize", None) or (columns * INCHES, rows * (INCHES + 0.5))
    axes: list[Axes] = get_grid(n, nrows=rows, ncols=columns, figsize=size, layout="constrained")
    return axes


def _entitle(axes: Axes | None, *lines: str, colour: str = "black") -> Axes | None:
    text = "\n".join(textwrap.fill(line, LETTERS) for line in lines)
    if axes is None:
        show_title(text)
    else:
        axes.set_title(text, fontsize=9, color=colour)
    return axes


@dispatch  # type: ignore[untyped-decorator]
def show_batch(
    x: XRayImage, y: object, samples: Any, ctxs: Any = None, max_n: int = 9, **shape: Any
) -> list[Axes]:
    """Show images, each with the names of its labels."""
    axes = ctxs or _grid(min(len(samples), max_n), shape)
    for sample, one in zip(samples, axes, strict=False):
        for part in sample:
            part.show(ctx=one)
    return axes


@dispatch  # type: ignore[untyped-decorator]
def show_results(
    x: XRayImage,
    y: TensorMultiCategory,
    samples: Any,
    outs: Any,
    ctxs: Any = None,
    max_n: int = 9,
    **shape: Any,
) -> list[Axes]:
    """Show images, each with its labels and what was predicted: green where the two are equal."""
    axes = ctxs or _grid(min(len(samples), max_n), shape)
    for (image, labels), (predicted,), one in zip(samples, outs, axes, strict=False):
        image.show(ctx=one)
        colour = RIGHT if list(labels) == list(predicted) else WRONG
        _entitle(one, f"labels: {labels}", f"predicted: {predicted}", colour=colour)
    return axes


@dispatch  # type: ignore[untyped-decorator]
def plot_top_losses(
    x: XRayImage,
    y: TensorMultiCategory,
    samples: Any,
    outs: Any,
    raws: Any,
    losses: Any,
    **shape: Any,
) -> list[Axes]:
    """Show images, each with its labels, what was predicted, and its loss."""
    axes = _grid(len(samples), shape)
    for (image, labels), (predicted,), loss, one in zip(samples, outs, losses, axes, strict=False):
        image.show(ctx=one)
        lines = f"labels: {labels}", f"predicted: {predicted}", f"loss {float(loss):.3f}"
        _entitle(one, *lines)
    return axes
