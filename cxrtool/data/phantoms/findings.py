"""The 14 observations drawn on a chest, and the boxes of where they are."""

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from cxrtool.data.labels import NO_FINDING, SUPPORT_DEVICES
from cxrtool.data.phantoms import opacities as opacities
from cxrtool.data.phantoms import pleura as pleura
from cxrtool.data.phantoms import structures as structures
from cxrtool.data.phantoms.anatomy import LEFT, RIGHT, Build, Chest
from cxrtool.data.phantoms.devices import draw_devices
from cxrtool.data.phantoms.film import Exposure, Film, build_chest, develop, expose_chest
from cxrtool.data.phantoms.opacities import Site
from cxrtool.data.phantoms.raster import Box, Points

LabelledBox = tuple[str, Box]
Draw = Callable[[Film, Chest, Site, np.random.Generator, float], list[Box]]

OVERLAYS: dict[str, Draw] = {
    "Edema": opacities.draw_edema,
    "Lung Opacity": opacities.draw_opacity,
    "Consolidation": opacities.draw_consolidation,
    "Pneumonia": opacities.draw_pneumonia,
    "Lung Lesion": opacities.draw_lesion,
    "Atelectasis": opacities.draw_atelectasis,
    "Pleural Effusion": pleura.draw_effusion,
    "Pneumothorax": pleura.draw_pneumothorax,
    "Pleural Other": pleura.draw_thickening,
    SUPPORT_DEVICES: draw_devices,
}
"""Findings that are added to the film, in drawing order."""

ZONES: dict[str, tuple[tuple[int, float], ...]] = {
    label: tuple((side, down) for side in (RIGHT, LEFT) for down in downs)
    for label, downs in {
        "Pneumothorax": (0.1,),
        "Pleural Other": (0.45,),
        "Pleural Effusion": (0.95,),
        "Atelectasis": (0.9,),
        "Consolidation": (0.25, 0.5, 0.72),
        "Lung Opacity": (0.27, 0.5, 0.72),
        "Pneumonia": (0.27, 0.5, 0.72),
        "Lung Lesion": (0.27, 0.5, 0.74),
        "Fracture": (0.3, 0.5, 0.7),
    }.items()
}
"""Where a finding may lie: a side, and the share of the way down the lung.

Places are handed out in this order, so that those with least choice come first.
"""


def choose_sites(labels: Mapping[str, float], seed: tuple[int, ...]) -> dict[str, Site]:
    """Give every drawn finding a side and a height, away from the others where there is room.

    `labels` maps the findings to their strengths. A finding's wish depends only on `seed` and
    its own name, so that without neighbours it lies where it always would.
    """
    taken: list[Site] = []
    sites: dict[str, Site] = {}
    for i, (label, zones) in enumerate(ZONES.items()):
        rng = np.random.default_rng([*seed, 1, i])
        order = [zones[k] for k in rng.permutation(len(zones))]
        if label not in labels:
            continue
        free = max(order, key=lambda zone: min([2.0, *(_apart(zone, site) for site in taken)]))
        sites[label] = free
        taken.append(free)
    return sites


def _apart(a: Site, b: Site) -> float:
    return abs(a[1] - b[1]) if a[0] == b[0] else 2.0


def draw_radiograph(
    build: Build,
    exposure: Exposure,
    strengths: Mapping[str, float],
    seed: tuple[int, ...],
) -> tuple[Image.Image, list[LabelledBox]]:
    """Draw one image of a patient.

    Args:
        build: the patient's body.
        exposure: how the image was taken.
        strengths: the findings to draw and how clearly, each in (0, 1].
        seed: of the findings' places and shapes: the same for all views of a study.

    Returns:
        An 8-bit grey image, and a label and box for each part of each finding.
    """
    drawn = {label: s for label, s in strengths.items() if label != NO_FINDING}
    sites = choose_sites(drawn, seed)
    chest, marks = _alter(build_chest(build, exposure), drawn, sites, seed)
    film = expose_chest(chest, build, exposure)
    boxes: list[LabelledBox] = []
    rng = np.random.default_rng([*seed, 3])
    for label, marked in marks.items():
        if label == "Fracture":
            calluses = (structures.draw_callus(film, p, rng, drawn[label]) for p in marked)
            boxes += [(label, box) for found in calluses for box in found]
        elif around := structures.box_of_outlines(film.canvas, marked):
            boxes.append((label, around))
    for i, (label, draw) in enumerate(OVERLAYS.items()):
        if label in drawn:
            rng = np.random.default_rng([*seed, 4, i])
            site = sites.get(label) or (int(rng.choice([RIGHT, LEFT])), 0.5)
            boxes += [(label, box) for box in draw(film, chest, site, rng, drawn[label])]
    return develop(film, exposure), boxes


def _alter(
    chest: Chest, drawn: Mapping[str, float], sites: Mapping[str, Site], seed: tuple[int, ...]
) -> tuple[Chest, dict[str, list[Points]]]:
    """Change the anatomy where findings do; where each change lies, in centimetres."""
    marks: dict[str, list[Points]] = {}
    for i, label in enumerate(("Cardiomegaly", "Enlarged Cardiomediastinum", "Fracture")):
        if label not in drawn:
            continue
        rng = np.random.default_rng([*seed, 2, i])
        if label == "Cardiomegaly":
            chest, marks[label] = structures.enlarge_heart(chest, rng, drawn[label])
        elif label == "Fracture":
            chest, marks[label] = structures.break_ribs(chest, sites[label], rng, drawn[label])
        else:
            chest, marks[label] = structures.widen_mediastinum(chest, rng, drawn[label])
    return chest, marks
