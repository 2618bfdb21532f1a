"""The same chest seen from the side: the spine on the image's right, the breastbone on its left."""

import numpy as np

from cxrtool.data.phantoms.anatomy import LEFT, Build, Chest, Layer, LungField
from cxrtool.data.phantoms.raster import Points, ellipse, ribbon, smooth_closed, smooth_open

FRONT = -10.5
"""Where the breastbone lies; x in centimetres."""


def lateral_chest(build: Build, *, breath: float) -> Chest:
    """A chest from the side; `breath` moves the diaphragm, in centimetres."""
    base = build.base + breath
    depth = 1.42 * build.width
    field = LungField(LEFT, FRONT, 1.0, depth, -12.0, base, 3.6)
    spine_x = FRONT + depth - 1.6
    size = (build.heart / 0.44) ** 0.7
    x = np.array([1.2, 0.6, 1.3, 3.6, 7.2, 9.6, 9.9, 8.4, 6.2, 3.4]) * size
    y = np.array([-3.2, 0.2, 2.8, 4.0, 4.4, 3.2, 0.2, -2.8, -5.0, -5.4]) * size
    heart = smooth_closed(np.stack([FRONT + x, base - 3.6 + y], axis=1))
    arch = np.array([(-3.5, -3.5), (-2.5, -6.5), (0.5, -7.2), (3.0, -5), (3.6, 1), (3.8, base)])
    aorta = ribbon(smooth_open(arch), 1.2 * build.mediastinum)
    ribs = tuple(_rib(i, build, spine_x) for i in range(10))
    return Chest(
        lateral=True,
        fields=(field,),
        heart=heart,
        mediastinum=aorta,
        ribs=ribs,
        rib_half_width=0.17 * build.rib_spacing,
        backdrop=_backdrop(field, spine_x),
        front=_front(build, spine_x, base),
    )


def lateral_body(build: Build) -> Points:
    """The skin's outline from the side, with the raised arms running off the image."""
    belly, back = FRONT - 2.6 - 0.8 * build.bulk, FRONT + 1.42 * build.width + 2.6
    front = [(-7, -26), (-8.5, -16), (-10, -12.5), (belly + 1, -7)]
    breast = [(belly - 0.6 * build.breast, 3.5), (belly - 0.5 * build.breast, 5.5)]
    rest = [(belly, 10), (belly - 1.2, 26), (back - 1, 26), (back, 6), (back - 0.4, -6)]
    top = [(back - 2, -12), (back - 3, -16), (back - 2, -26)]
    return smooth_closed(np.array(front + breast + rest + top), steps=4)


def _rib(i: int, build: Build, spine_x: float) -> Points:
    y = -12.0 + i * build.rib_spacing
    end = FRONT + 1.5 + 0.25 * i
    droop = 4.0 + 0.5 * build.rib_droop
    points = [
        (spine_x + 1.4, y),
        (spine_x + 1.2, y + 1.8),
        (0.5 * (spine_x + end), y + 0.75 * droop),
    ]
    return smooth_open(np.array([*points, (end, y + droop)]), steps=8)


def _backdrop(field: LungField, spine_x: float) -> tuple[Layer, ...]:
    domes = []
    for lift in (0.0, 1.1):
        edge = field.at(np.linspace(0, 1, 20), 1.0) + np.array([0, lift])
        back, front = field.middle + field.outer + 5, field.middle - 6
        corners = np.array([(back, edge[-1, 1] + 5), (back, 26), (front, 26), (front, 12)])
        domes.append(np.concatenate([edge, corners]))
    spine = np.array(
        [(-1.6, -26), (1.4, -26), (0.4, -12), (1.6, 2), (0.6, 26), (-2.2, 26), (-1.2, 2)]
    )
    spine = smooth_closed(spine + np.array([spine_x, 0]))
    return (
        Layer("cover", (domes[0],), 0.7, blur=0.14),
        Layer("cover", (domes[1],), 0.84, blur=0.14),
        Layer("area", (spine,), 0.2, blur=0.2),
    )


def _front(build: Build, spine_x: float, base: float) -> tuple[Layer, ...]:
    heights = -14 + 2.4 * np.arange(15)
    discs = tuple(np.array([(spine_x - 1.4, y), (spine_x + 1.3, y + 0.2)]) for y in heights)
    sternum = ribbon(
        smooth_open(np.array([(-8.2, -8.5), (-10.2, -4), (-10.8, 1), (-10.6, 4.5)])), 0.5
    )
    trachea = np.array([(-1.2, -19), (-0.4, -9), (0.9, -2.2)])
    blade = np.array([(4.5, -11), (6.4, -10.8), (8.2, -3.2), (7.2, -2.8)])
    bubble = ellipse(-3.5, base + 3.2, 1.8 * build.bubble, 1.0 * build.bubble)
    return (
        Layer("bone", (sternum,), 0.2, blur=0.1),
        Layer("bone", (smooth_closed(blade),), 0.09, blur=0.15),
        Layer("stroke", discs, -0.14, blur=0.13, width=0.35),
        Layer("area", (ribbon(trachea, 0.8),), -0.14, blur=0.2),
        Layer("area", (bubble,), -0.28, blur=0.25),
    )
