"""A chest seen from the front: the patient's right on the image's left."""

from functools import lru_cache

import numpy as np

from cxrtool.data.phantoms.anatomy import LEFT, RIGHT, Build, Chest, Layer, LungField
from cxrtool.data.phantoms.raster import (
    Points,
    ellipse,
    mirrored,
    ribbon,
    smooth_closed,
    smooth_open,
)


def frontal_chest(build: Build, *, portable: bool, breath: float) -> Chest:
    """A chest from the front: `portable` is AP (larger heart, shoulder blades in the lungs).

    `breath` moves the diaphragm, in centimetres.
    """
    base = build.base + breath
    magnify = 1.05 if portable else 1.0
    fields = (
        LungField(RIGHT, 0.0, 2.3, build.width, -12.2, base, 3.2),
        LungField(LEFT, 0.0, 2.3, build.width, -12.2, base + 0.9, 3.0),
    )
    ribs = tuple(
        rib for side in (RIGHT, LEFT) for rib in _ribs(build, fields[0 if side == RIGHT else 1])
    )
    return Chest(
        lateral=False,
        fields=fields,
        heart=heart_outline(2 * build.width * build.heart * magnify, base + 1.4),
        mediastinum=mediastinum_outline(build.mediastinum * magnify, base),
        ribs=ribs,
        rib_half_width=0.2 * build.rib_spacing,
        backdrop=_frontal_backdrop(build, fields),
        front=_frontal_front(build, portable),
    )


def heart_outline(width: float, bottom: float) -> Points:
    """The heart's silhouette; two thirds of it lie on the image's right."""
    x = np.array([-2.3, -3.6, -4.1, -3.2, 1.8, 6.2, 7.7, 6.6, 4.6, 2.6]) * width / 12
    y = np.array([-2.4, 0.6, 4.2, 7.8, 8.9, 8.7, 6.6, 3.2, 0.2, -2.2]) * bottom / 8.6
    return smooth_closed(np.stack([x, y], axis=1))


def mediastinum_outline(widening: float, base: float) -> Points:
    """The upper vessels and the aortic knob; `widening` acts above the heart only."""
    x = [-2.2, -2.5, -2.9, -3.0, -2.6, -2.2, 2.2, 2.5, 3.2, 3.0, 3.6, 2.9, 2.2, 2]
    y = [-16, -10, -6, -3, 1, base + 3, base + 3, 2, -1.4, -3.2, -5, -7, -10, -16]
    points = np.stack([x, y], axis=1)
    fade = np.interp(points[:, 1], [-12, -9, -1, 2], [0, 1, 1, 0])
    points[:, 0] *= 1 + (widening - 1) * fade
    return smooth_closed(points)


def _ribs(build: Build, field: LungField) -> list[Points]:
    ribs = []
    back, round_ = np.linspace(0, 1, 14), np.linspace(0.06, 1, 14)
    for i in range(10):
        y = -12.6 + i * build.rib_spacing
        droop = build.rib_droop * min(1.0, 0.35 + 0.13 * i)
        wall = float(field.outside(y + droop)) + 0.25
        wall = min(wall, 5.2 + 3.0 * i) if i < 3 else wall
        posterior = np.stack(
            [
                1.7 + (wall - 1.7) * np.sin(np.pi / 2 * back),
                y - 0.7 * np.sin(np.pi * back) + droop * back**2,
            ],
            axis=1,
        )
        # The front end runs on to its cartilage, lower and further from the midline.
        end = 4.6 + 0.55 * i
        fall = 1.3 + 0.28 * i
        anterior = np.stack(
            [
                wall - max(wall - end, 1.0) * (1 - np.cos(np.pi / 2 * round_)),
                y + droop + fall * np.sin(np.pi / 2 * round_),
            ],
            axis=1,
        )
        path = np.concatenate([posterior, anterior]) if i < 8 else posterior
        ribs.append(mirrored(path, field.side))
    return ribs


def _frontal_backdrop(build: Build, fields: tuple[LungField, ...]) -> tuple[Layer, ...]:
    both = (RIGHT, LEFT)
    across = np.linspace(0, 1, 16)
    right, left = (field.at(across, 1.0) for field in fields)
    flank = build.width + 5.0
    corners = np.array([(flank, left[-1, 1] + 6), (flank, 26), (-flank, 26)])
    abdomen = np.concatenate([right[::-1], left, corners, [(-flank, right[-1, 1] + 6)]])
    spine = np.array([(-1.8, -26), (1.8, -26), (2.1, 26), (-2.1, 26)])
    layers = [Layer("cover", (abdomen,), 0.9, 0.12), Layer("area", (spine,), 0.1, 0.2)]
    if build.breast:
        y = 5.0 + 0.4 * build.bulk
        breasts = tuple(ellipse(s * 7.6, y, build.breast + 1.0, build.breast) for s in both)
        layers.append(Layer("area", breasts, 0.10, blur=0.35))
    return tuple(layers)


_VERTEBRAE = -14 + 2.35 * np.arange(14)
_DISCS = tuple(np.array([(-1.7, y), (1.7, y)]) for y in _VERTEBRAE)
_PEDICLES = tuple(
    ellipse(side * 1.15, y + 1.0, 0.28, 0.42, steps=10)
    for y in _VERTEBRAE
    for side in (RIGHT, LEFT)
)


@lru_cache(maxsize=4)
def _frontal_front(build: Build, portable: bool) -> tuple[Layer, ...]:
    both = (RIGHT, LEFT)
    up = build.shoulder
    clavicle = smooth_open(np.array([(1.9, -8.3), (5, -9.5), (9.5, -11.6 + up), (15, -12.4 + up)]))
    out = 0.0 if portable else 2.6
    x, y = [10.4, 12.6, 15.6, 15.9, 13.6, 12.2, 11.2], [-9.5, -10.8, -10, -7.5, -1.5, 0.4, -3]
    blade = np.stack([x, y], axis=1)
    blade = smooth_closed(blade + np.array([out, up]), steps=4)
    humerus = np.array(
        [(16.2, -10.4 + up), (18.6, -11.4 + up), (19.8, -9.6 + up), (22, 2), (20, 2.4)]
    )
    x = [-0.85, -0.85, -1.1, -3.2, -2.6, -0.1, 2.6, 3.2, 0.9, 0.85, 0.85]
    y = [-18, -6, -3, -0.4, 0.2, -1.9, 0.3, -0.2, -3, -6, -18]
    trachea = smooth_closed(np.stack([x, y], axis=1), steps=3)
    bubble = ellipse(6.4, build.base + 3.6, 1.7 * build.bubble, 1.0 * build.bubble, -12)
    return (
        Layer("bone", tuple(mirrored(blade, s) for s in both), 0.11, blur=0.12),
        Layer("bone", tuple(mirrored(ribbon(clavicle, 0.55), s) for s in both), 0.24, blur=0.08),
        Layer("bone", tuple(mirrored(smooth_closed(humerus, 4), s) for s in both), 0.3, blur=0.15),
        Layer("stroke", _DISCS, -0.1, blur=0.12, width=0.3),
        Layer("area", _PEDICLES, 0.1, blur=0.1),
        Layer("area", (trachea,), -0.17, blur=0.18),
        Layer("area", (bubble,), -0.32, blur=0.2),
    )


@lru_cache(maxsize=4)
def frontal_body(build: Build) -> Points:
    """The skin's outline: neck, shoulders, arms and flanks, running off the image."""
    flank, up = build.width + 2.6 + 0.7 * build.bulk, build.shoulder
    x = [5.2, 5.6, 7.5, 13, 18.5, 21.5, 24.5, 26, 23, 20.5, flank + 1.2, flank + 0.2, flank, flank]
    y = [-26, -18, -15.8, -14.4 + up, -13.4 + up, -10 + up, 4, 24, 24, 6, -3.4, 1, 10, 26]
    half = np.stack([x, y], axis=1)
    return smooth_closed(np.concatenate([half, mirrored(half, -1)[::-1]]), steps=4)
