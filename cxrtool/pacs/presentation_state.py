"""Marks on a study's films: grayscale softcopy presentation states with circles and texts.

A viewer that shows them lays a circle over the place that speaks most for a positive finding. The
heat map is of the upright picture; marks are given in pixels of the stored one.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from highdicom import PresentationLUTTransformation
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from pydicom.dataset import Dataset

from cxrtool.evaluation.decisions import POSITIVE, Finding
from cxrtool.images.dicom.orientation import upright
from cxrtool.pacs.codes import long_string
from cxrtool.pacs.headers import nothing_private
from cxrtool.pacs.instances import common_attributes, copy_body_part, finding_uid
from cxrtool.pacs.scored_study import ScoredStudy, StudyImage

SERIES, DESCRIPTION = 9003, "AI marks, research only"
LABEL = "AI FINDINGS"
"""A Content Label: capital letters, 16 of them at most."""
LAYER = "AI"
LETTER, LINE = 0.018, 0.035
"""Width and height of a text's letter as shares of the film's shorter side."""
MOST_RADIUS = 0.125
"""Of a circle, as a share of the film's shorter side: cells of small networks are larger."""
MARGIN = 0.3
"""Of a circle's radius: between it and its text."""


def presentation_states(study: ScoredStudy) -> Iterator[GrayscaleSoftcopyPresentationState]:
    """The marks of each image of a study with a positive finding whose place is known.

    All are in one series, and are made one at a time.

    Raises:
        DicomError: something of the study's cannot be copied.
    """
    marked = [(image, marks) for image in study.scored if (marks := _marks(study, image))]
    for number, (image, marks) in enumerate(marked, start=1):
        shared = common_attributes(
            study,
            image.uid,
            series_number=SERIES,
            description=DESCRIPTION,
            texts=(study.model.name, study.model.version, *(one.label for one in image.findings)),
        )
        with nothing_private("no presentation state can be made of its header"):
            yield _state(image, marks, number, shared)


def _state(
    image: StudyImage,
    marks: list[tuple[GraphicObject, TextObject]],
    number: int,
    shared: dict[str, Any],
) -> GrayscaleSoftcopyPresentationState:
    """One image's state: the film as its own header has it shown, and marks over it."""
    layer = GraphicLayer(LAYER, 1, description="What speaks most for each positive finding")
    annotation = GraphicAnnotation(
        referenced_images=[image.header],
        graphic_layer=layer,
        graphic_objects=[circle for circle, _ in marks],
        text_objects=[text for _, text in marks],
    )
    made = GrayscaleSoftcopyPresentationState(
        referenced_images=[image.header],
        instance_number=number,
        content_label=LABEL,
        content_description=long_string("Findings of a neural network, for research only"),
        graphic_layers=[layer],
        graphic_annotations=[annotation],
        presentation_lut_transformation=PresentationLUTTransformation(
            presentation_lut_shape=_shape(image.header)
        ),
        **shared,
    )
    copy_body_part(image.header, made)
    return made


def _shape(header: Dataset) -> str:
    """The shape of the film's presentation LUT, which a state replaces (PS3.3, C.11.6.1.2)."""
    inverse = header.get("PhotometricInterpretation") == "MONOCHROME1"
    return "INVERSE" if inverse else "IDENTITY"


def _marks(study: ScoredStudy, image: StudyImage) -> list[tuple[GraphicObject, TextObject]]:
    """A circle and a text of each positive finding whose place is known."""
    header = image.header
    size = int(header.get("Columns") or 0), int(header.get("Rows") or 0)
    lines: Counter[tuple[float, float]] = Counter()
    found = []
    for finding in image.findings:
        heat = image.heat.get(finding.label)
        if finding.decision != POSITIVE or heat is None or heat.peak is None or not min(size):
            continue
        across, down = upright(header).stored_place(*heat.peak)
        centre = across * size[0], down * size[1]
        radius = min(heat.cells.step / 2, MOST_RADIUS) * min(size)
        circle = _circle(centre, radius, size)
        text = _text(finding, centre, radius, size, lines[centre])
        for mark in (circle, text):  # as the report tracks the finding (PS3.3, C.10.5.1)
            mark.TrackingID = long_string(finding.label)
            mark.TrackingUID = finding_uid(study, image.uid, finding.label)
        found.append((circle, text))
        lines[centre] += 1
    return found


def _circle(centre: tuple[float, float], radius: float, size: tuple[int, int]) -> GraphicObject:
    """By its centre and a place on it, which is on the film (PS3.3, C.10.5.1.2)."""
    x, y = centre
    beside = x + radius if x + radius <= size[0] else x - radius
    points = np.array([[x, y], [beside, y]], np.float64)
    return GraphicObject("CIRCLE", points, units="PIXEL")


def _text(
    finding: Finding,
    centre: tuple[float, float],
    radius: float,
    size: tuple[int, int],
    line: int,
) -> TextObject:
    """Right of its circle, or left of it where there is no room, one under the other."""
    words = f"{finding.label} {finding.shown}"
    least = min(size)
    width, height = len(words) * LETTER * least, LINE * least
    (x, y), gap = centre, radius * (1 + MARGIN)
    left = x + gap if x + gap + width <= size[0] else x - gap - width
    left = min(max(left, 0.0), max(size[0] - width, 0.0))
    top = min(max(y + (line - 0.5) * height, 0.0), max(size[1] - height, 0.0))
    box = (left, top, min(left + width, size[0]), min(top + height, size[1]))
    return TextObject(words, units="PIXEL", bounding_box=box, text_justification="LEFT")
