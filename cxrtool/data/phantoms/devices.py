"""Support Devices: pacemakers, catheters, tubes and electrodes, as bright hard shadows."""

from collections.abc import Callable

import numpy as np

from cxrtool.data.phantoms.anatomy import Chest
from cxrtool.data.phantoms.film import Film
from cxrtool.data.phantoms.opacities import Site
from cxrtool.data.phantoms.raster import Box, Patch, box_around, ellipse, smooth_open

Device = Callable[[Film, Chest, int, np.random.Generator, float], list[Box]]


def draw_devices(
    film: Film, chest: Chest, site: Site, rng: np.random.Generator, strength: float
) -> list[Box]:
    """One device or two."""
    kinds = rng.choice(len(DEVICES), size=1 + int(rng.random() < 0.55), replace=False)
    return [box for k in kinds for box in DEVICES[k](film, chest, site[0], rng, strength)]


def _pacemaker(
    film: Film, chest: Chest, side: int, rng: np.random.Generator, strength: float
) -> list[Box]:
    x, y = side * rng.uniform(8.2, 10.2), rng.uniform(-8.2, -6.2)
    generator = film.canvas.polygons([ellipse(x, y, 2.1, 1.6, rng.uniform(-30, 30))], 0.06)
    coil = film.canvas.polygons([ellipse(x, y - 0.3, 1.3, 0.7)], 0.06)
    vein = [(x, y + 1.2), (x - side * 2.6, y + 0.6), (side * 3.2, y - 1.0), (-1.6, -5.5)]
    ends = [(-2.6, -0.5), (-2.2, 4.0), (1.4, 6.4), (4.2, 6.6)]
    lead = film.canvas.strokes([smooth_open(np.array(vein + ends))], [0.34], 0.05)
    boxes = _add(film, generator, 0.75 * strength) + _add(film, lead, 0.5 * strength)
    film.add(coil, 0.3 * strength)
    return boxes


def _central_line(
    film: Film, chest: Chest, side: int, rng: np.random.Generator, strength: float
) -> list[Box]:
    tip = (-2.3 + rng.uniform(-0.3, 0.3), rng.uniform(-1.5, 1.5))
    if rng.random() < 0.5:
        way = [(side * 4.2, -16), (side * 3.6, -11), (side * 1.6, -8), (-1.9, -5), tip]
    else:
        way = [(side * 15.5, -6.5), (side * 11, -9.4), (side * 5, -8.6), (-1.7, -6.3), tip]
    catheter = film.canvas.strokes([smooth_open(np.array(way))], [0.42], 0.05)
    return _add(film, catheter, 0.62 * strength)


def _tubes(
    film: Film, chest: Chest, side: int, rng: np.random.Generator, strength: float
) -> list[Box]:
    end = rng.uniform(-6.5, -4)
    sway = rng.uniform(-0.4, 0.4)
    tube = smooth_open(np.array([(sway, -20), (0.2, -13), (sway, end)]))
    walls = [tube + np.array([x, 0]) for x in (-0.42, 0.42)]
    boxes = _add(film, film.canvas.strokes(walls, [0.26, 0.26], 0.05), 0.5 * strength)
    stomach = [(0.9, -20), (1.0, -8), (0.7, 0), (1.2, 8), (4.5, 11), (7.0, 11.5)]
    feeding = film.canvas.strokes([smooth_open(np.array(stomach))], [0.42], 0.05)
    return boxes + _add(film, feeding, 0.48 * strength)


def _chest_tube(
    film: Film, chest: Chest, side: int, rng: np.random.Generator, strength: float
) -> list[Box]:
    field = chest.field(side)
    entry, tip = rng.uniform(0.6, 0.8), rng.uniform(0.12, 0.25)
    inside = field.at(np.array([0.98, 0.75, 0.6]), np.array([entry, 0.5 * (entry + tip), tip]))
    path = np.concatenate([inside[:1] + np.array([(4.5 * field.side, 2.2)]), inside])
    tube = smooth_open(path)
    walls = [tube + np.array([x, 0]) for x in (-0.3, 0.3)]
    return _add(film, film.canvas.strokes(walls, [0.28, 0.28], 0.05), 0.55 * strength)


def _electrodes(
    film: Film, chest: Chest, side: int, rng: np.random.Generator, strength: float
) -> list[Box]:
    places = np.array([(-9.5, -5.5), (9.5, -5.5), (8.5, 5.0), (-8.5, 5.0)])
    boxes = []
    for place in places[rng.permutation(4)[:3]] + rng.uniform(-1.2, 1.2, (3, 2)):
        disc = film.canvas.polygons([ellipse(place[0], place[1], 0.95, 0.95)], 0.05)
        bend = place + rng.uniform(-1.5, 1.5, 2) + (0, 3.5)
        wire = [place, bend, bend + rng.uniform(-1, 1, 2) + (0.5, 3.0)]
        cable = film.canvas.strokes([smooth_open(np.array(wire))], [0.3], 0.05)
        boxes += _add(film, disc, 0.75 * strength) + _add(film, cable, 0.5 * strength)
    return boxes


def _add(film: Film, patch: Patch, density: float) -> list[Box]:
    film.add(patch, density)
    return box_around(patch)


DEVICES: tuple[Device, ...] = (_pacemaker, _central_line, _tubes, _chest_tube, _electrodes)
"""What may be drawn, each as likely as the others."""
