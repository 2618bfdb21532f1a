"""Findings that alter the anatomy itself: a wide heart, a wide mediastinum, a broken rib."""

from dataclasses import replace

import numpy as np

from cxrtool.data.phantoms.anatomy import Chest
from cxrtool.data.phantoms.film import Film
from cxrtool.data.phantoms.opacities import Site
from cxrtool.data.phantoms.raster import Box, Canvas, Points


def enlarge_heart(
    chest: Chest, rng: np.random.Generator, strength: float
) -> tuple[Chest, list[Points]]:
    """Cardiomegaly: a heart of 0.56 to 0.67 of the chest's width; the heart's outline."""
    heart = chest.heart.copy()
    if chest.lateral:
        middle = heart.mean(axis=0)
        heart = middle + (heart - middle) * (1.1 + 0.18 * strength)
    else:
        ratio = 0.50 + 0.12 * strength + rng.uniform(0, 0.05)
        widening = ratio * 2 * chest.fields[0].outer / np.ptp(heart[:, 0])
        heart[:, 0] *= max(1.0, float(widening))
    return replace(chest, heart=heart), [heart]


def widen_mediastinum(
    chest: Chest, rng: np.random.Generator, strength: float
) -> tuple[Chest, list[Points]]:
    """Enlarged Cardiomediastinum: wide above the heart; the widened part's outline."""
    outline = chest.mediastinum.copy()
    if chest.lateral:
        middle = outline.mean(axis=0)
        outline = middle + (outline - middle) * (1.0 + 0.2 * strength)
        return replace(chest, mediastinum=outline), [outline]
    fade = np.interp(outline[:, 1], [-12.5, -6, -3, 1.2], [0, 1, 1, 0])
    sides = 1 + (0.3 + 0.45 * strength) * rng.uniform(0.85, 1.15, 2)
    outline[:, 0] *= 1 + (np.where(outline[:, 0] < 0, sides[0], sides[1]) - 1) * fade
    wide = outline[(outline[:, 1] > -12) & (outline[:, 1] < 1.2)]
    return replace(chest, mediastinum=outline), [wide]


def break_ribs(
    chest: Chest, site: Site, rng: np.random.Generator, strength: float
) -> tuple[Chest, list[Points]]:
    """Fracture: two neighbouring ribs whose ends are apart and out of line; the breaks' places."""
    count = len(chest.ribs) // len(chest.fields)
    first = 0 if chest.lateral or site[0] < 0 else count
    which = first + int(np.clip(round(1 + 8 * site[1]), 2, 7))
    along = rng.uniform(0.58, 0.86)
    breaks = [_broken(rib, along, strength) for rib in chest.ribs[which : which + 2]]
    pieces = [piece for _, ends in breaks for piece in ends]
    ribs = (*chest.ribs[:which], *pieces, *chest.ribs[which + 2 :])
    return replace(chest, ribs=ribs), [at for at, _ in breaks]


def _broken(rib: Points, along: float, strength: float) -> tuple[Points, list[Points]]:
    """Where a rib breaks, `along` its posterior arch, and the two pieces that are left."""
    length = np.concatenate([[0], np.linalg.norm(np.diff(rib, axis=0), axis=1).cumsum()])
    fine = np.linspace(0, length[-1], 120)
    path = np.stack([np.interp(fine, length, rib[:, k]) for k in (0, 1)], axis=1)
    cut = along * length[min(13, len(rib) - 1)]
    at = np.array([np.interp(cut, length, rib[:, k]) for k in (0, 1)])
    away = fine - cut
    path[:, 1] += np.sign(away) * (0.6 + 0.45 * strength) * np.exp(-np.abs(away) / 0.9)
    gap = 0.2 + 0.15 * strength
    return at, [path[away < -gap], path[away > gap]]


def draw_callus(film: Film, at: Points, rng: np.random.Generator, strength: float) -> list[Box]:
    """The bony knob around a break, with the dark line of the break through it."""
    turn = np.deg2rad(rng.uniform(50, 130))
    along = np.array([np.cos(turn), np.sin(turn)])
    knob = at + rng.uniform(-0.12, 0.12, (5, 2)) + np.outer([-0.7, -0.35, 0, 0.35, 0.7], [1.0, 0.1])
    for x, y in knob:
        corner = np.array(
            [(x - 0.6, y - 0.75), (x + 0.6, y - 0.75), (x + 0.6, y + 0.75), (x - 0.6, y + 0.75)]
        )
        film.add(film.canvas.polygons([corner], 0.15), 0.32 * strength)
    crack = film.canvas.strokes([at + np.outer([-1.2, 1.2], along)], [0.4], 0.06)
    film.add(crack, -0.5 * strength)
    box = box_of_outlines(film.canvas, [at + 1.75 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])])
    return [box] if box else []


def box_of_outlines(canvas: Canvas, outlines: list[Points]) -> Box | None:
    """The box around outlines in centimetres, cut at the image's border."""
    pixels = canvas.to_pixels(np.concatenate(outlines))
    low = np.clip(np.floor(pixels.min(axis=0)), 0, (canvas.width, canvas.height))
    high = np.clip(np.ceil(pixels.max(axis=0)), 0, (canvas.width, canvas.height))
    if (high - low).min() < 2:
        return None
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
