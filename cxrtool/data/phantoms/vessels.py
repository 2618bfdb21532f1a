"""The lungs' vessels: branches from each lung's root outwards."""

from functools import lru_cache

import numpy as np

from cxrtool.data.phantoms.anatomy import Build, LungField
from cxrtool.data.phantoms.raster import Points


@lru_cache(maxsize=8)
def _vessel_shares(seed: int) -> tuple[Points, tuple[float, ...]]:
    """Branches of one lung: (branches, 5, 2) shares as `LungField.at` takes them, and widths."""
    rng = np.random.default_rng(seed)
    main, t = 9, np.linspace(0, 1, 9)
    aim = np.linspace(-1.15, 0.85, main) + rng.uniform(-0.1, 0.1, main)
    reach = rng.uniform(0.7, 0.95, main)[:, None]
    bend = rng.uniform(-0.25, 0.25, main)[:, None]
    turn = aim[:, None] + bend * t
    across = np.clip(0.07 + 0.92 * reach * t * np.cos(0.8 * turn), 0.02, 0.97)
    down = np.clip(0.55 + 0.5 * reach * t * np.sin(turn), 0.04, 0.97)
    mains = np.stack([across, down], axis=2)
    paths = [mains[:, :3], mains[:, 2:5], mains[:, 4:7], mains[:, 6:]]
    widths = [0.46] * main + [0.3] * main + [0.17] * main + [0.08] * main
    for start, width in ((2, 0.2), (3, 0.17), (4, 0.13), (5, 0.1), (6, 0.08)):
        way = mains[:, start] - mains[:, start - 1]
        side = np.where(np.arange(main) % 2 == start % 2, 1.0, -1.0)[:, None]
        skew = np.stack([-way[:, 1], way[:, 0]], axis=1) * side * rng.uniform(0.5, 0.9, (main, 1))
        s = np.linspace(0, 1, 3)[:, None]
        twig = mains[:, None, start] + (way + skew)[:, None] * 2.0 * s - skew[:, None] * 0.7 * s**2
        paths.append(np.clip(twig, 0.02, 0.97))
        widths += [width] * main
    longest = max(path.shape[1] for path in paths)
    padded = [np.pad(p, ((0, 0), (0, longest - p.shape[1]), (0, 0)), "edge") for p in paths]
    return np.concatenate(padded), tuple(widths)


def vessel_tree(build: Build, field: LungField) -> tuple[tuple[Points, ...], tuple[float, ...]]:
    """Branches from a lung's root outwards: paths and their widths in centimetres."""
    shares, widths = _vessel_shares(build.vessels_seed + field.side)
    points = field.at(shares[..., 0].ravel(), shares[..., 1].ravel())
    return tuple(points.reshape(shares.shape)), widths
