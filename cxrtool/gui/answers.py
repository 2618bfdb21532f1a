"""What the server answers, as JSON: the page reads it, and anybody else may."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from cxrtool.evaluation.decisions import (
    NONE,
    POSITIVE,
    Finding,
    contradictions,
    is_doubtful,
    why_none,
)
from cxrtool.gui.heat_layers import SIDE, layer_of
from cxrtool.images.blanks import undecidable
from cxrtool.images.film import Film
from cxrtool.images.heat_grid import HeatMap

NAME_LENGTH = 120
"""Letters of a file's name that are shown."""
THUMB = 96
"""Pixels of a thumbnail's longer side."""
State = Literal["scored", "warned", "undecided", "failed"]


class Answered(BaseModel):
    """Part of an answer."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class FindingRow(Answered):
    """One label's probability for an image."""

    label: str
    probability: float = Field(description="Calibrated where the model is, from 0 to 1.")
    threshold: float | None = Field(description="On the scale of the probability.")
    decision: str = Field(description="positive, negative or n/a; of No Finding yes, no or n/a.")
    shown: str = Field(description="The probability, with digits that differ from the threshold.")
    shown_threshold: str
    apart: bool = Field(description="Whether this is No Finding, which is no finding itself.")
    why_none: str = Field(description="Why there is no threshold, or why it says little.")
    verdict: str = Field(
        default="",
        description="rule-out, read-first or rule-in, by two certified thresholds; empty without.",
    )


class Row(Answered):
    """An image, and what the model says of it."""

    index: int = Field(description="The image's place among those sent, from 0.")
    name: str
    state: State = Field(
        description="undecided: blank, or no chest, so that nothing is decided of it."
    )
    warning: str = ""
    error: str = Field(default="", description="Why it could not be scored.")
    summary: str = Field(description="What is decided, in a few words.")
    width: int = 0
    height: int = 0
    study: str = Field(
        default="", description="The same for images of one DICOM study, while the server runs."
    )
    contradictions: list[str] = []
    findings: list[FindingRow] = Field(
        default=[], description="The most probable first, and No Finding last."
    )
    why_none: list[str] = Field(default=[], description="Why thresholds are missing or say little.")
    thumb: str = Field(
        default="", description="A small JPEG as a data URI, where it was asked for."
    )


class WindowShown(Answered):
    """A window (DICOM PS3.3, C.11.2.1.2): which values become black and white."""

    kind: Literal["window"] = "window"
    name: str
    centre: float
    width: float
    function: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


class TableShown(Answered):
    """A look-up table: the final grey of each pixel value from 0."""

    kind: Literal["table"] = "table"
    name: str
    greys: str = Field(description="Base64, a byte for each pixel value.")


class FilmShown(Answered):
    """An image at its full depth: what a viewer shows."""

    index: int
    width: int
    height: int
    bits: Literal[8, 16]
    pixels: str = Field(description="Base64, rows from the top, unsigned, little-endian.")
    slope: float = Field(description="value = slope * pixel + intercept")
    intercept: float
    white_is_zero: bool = Field(description="Whether a window's greys are to be inverted.")
    presentations: list[WindowShown | TableShown] = Field(
        description="The first is what the model is given, squished to its input."
    )
    spacing: tuple[float, float] | None = Field(description="mm per row, and per column.")
    sides: tuple[str, str] = Field(
        description="The patient's side at the left and right edge, where the header says it."
    )


class CellsShown(Answered):
    """Where a map's cells lie, as shares of the image's width and equally of its height."""

    first: float = Field(description="From the edge to the centre of the first cell.")
    step: float = Field(description="From one centre to the next.")
    rows: int
    columns: int


class LayerShown(Answered):
    """One label's map."""

    label: str
    png: str = Field(
        description=f"A PNG of {SIDE} by {SIDE} pixels as a data URI, to be laid over the whole "
        "image; its opacity grows with the map's value. Empty where nothing speaks for the label."
    )
    most: float = Field(description="The map's greatest value, in logits.")


class MapsShown(Answered):
    """Where the network looked in an image."""

    index: int
    method: str = "gradcam"
    absent: str = Field(default="", description="Why there are no maps.")
    cells: CellsShown | None = None
    layers: list[LayerShown] = []


class ModelNamed(Answered):
    """Which model scored."""

    name: str
    fingerprint: str = Field(description="SHA-256 of the weights, or of the exported file.")
    engine: str


class Prediction(Answered):
    """What a model says of images."""

    model: ModelNamed
    version: str = Field(description="Of cxrtool.")
    notice: str
    images: list[Row]
    maps: list[MapsShown] = Field(default=[], description="Where they were asked for.")


class Queued(Answered):
    """The images that an answer is about."""

    images: list[dict[str, int | str]]
    ahead: int = Field(description="Requests that are at work before this one.")


class Failed(Answered):
    """What is wrong, and what to do next."""

    detail: str


def shown_name(name: str) -> str:
    """A file's name as it can be shown: in one line, not endless, without the folders."""
    last = name.replace("\\", "/").rpartition("/")[2]
    plain = "".join(letter if letter.isprintable() else " " for letter in last).strip()
    short = plain if len(plain) <= NAME_LENGTH else f"{plain[: NAME_LENGTH - 1]}…"
    return short or "image without a name"


def scored_row(
    index: int, name: str, film: Film, findings: Sequence[Finding], study: str, *, thumb: bool
) -> Row:
    """The row of an image that was scored."""
    state: State = "warned" if film.warning else "scored"
    if undecidable(film.warning):
        state = "undecided"
    without = {one.label: one.why_none for one in findings if one.why_none}
    return Row(
        index=index,
        name=name,
        state=state,
        warning=film.warning,
        summary=_summary(film.warning, findings),
        width=film.grey.width,
        height=film.grey.height,
        study=study,
        contradictions=contradictions(findings),
        findings=[FindingRow.model_validate(one) for one in findings],
        why_none=why_none(without, list(without)),
        thumb=_thumb(film.grey) if thumb else "",
    )


def failed_row(index: int, name: str, reason: str) -> Row:
    """The row of an image that could not be scored."""
    return Row(index=index, name=name, state="failed", error=reason, summary="could not be scored")


def film_shown(index: int, film: Film) -> FilmShown:
    """An image's film as it is sent."""
    pixels = film.values.astype(film.values.dtype.newbyteorder("<"), copy=False)
    return FilmShown(
        index=index,
        width=film.grey.width,
        height=film.grey.height,
        bits=8 if film.values.itemsize == 1 else 16,
        pixels=_text(pixels.tobytes()),
        slope=film.slope,
        intercept=film.intercept,
        white_is_zero=film.white_is_zero,
        presentations=[_presented(one.as_json()) for one in film.presentations],
        spacing=film.spacing,
        sides=film.sides,
    )


def _presented(values: dict[str, Any]) -> WindowShown | TableShown:
    kind = WindowShown if values["kind"] == "window" else TableShown
    return kind.model_validate(values)


def maps_shown(index: int, found: Mapping[str, HeatMap] | str) -> MapsShown:
    """An image's maps as they are sent, or why there are none."""
    if isinstance(found, str):
        return MapsShown(index=index, absent=found)
    any_map = next(iter(found.values()))
    rows, columns = any_map.values.shape
    first, step = any_map.cells.first, any_map.cells.step
    return MapsShown(
        index=index,
        cells=CellsShown(first=first, step=step, rows=rows, columns=columns),
        layers=[_layer_shown(label, heat) for label, heat in found.items()],
    )


def _layer_shown(label: str, heat: HeatMap) -> LayerShown:
    layer = layer_of(heat)
    png = "" if layer is None else _uri("PNG", Image.fromarray(layer))
    return LayerShown(label=label, png=png, most=float(heat.values.max()))


def _summary(warning: str, findings: Sequence[Finding]) -> str:
    if undecidable(warning):
        return "no decision"
    if all(one.decision == NONE for one in findings):
        return "no thresholds"
    count = f"{sum(one.decision == POSITIVE for one in findings)} positive"
    return f"doubtful: {count}" if is_doubtful(warning) else count


def _thumb(grey: Image.Image) -> str:
    small = grey.copy()
    small.thumbnail((THUMB, THUMB), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return _uri("JPEG", small)


def _uri(kind: str, picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, kind)
    return f"data:image/{kind.lower()};base64,{_text(file.getvalue())}"


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
