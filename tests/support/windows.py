"""Windows and tables as the standard writes them, number by number, beside what is tested."""

import math

import numpy as np


def windowed(values, centre, width, function):
    """Greys from 0 to 255 before rounding (PS3.3, C.11.2.1.2 and C.11.2.1.3)."""

    def one(x):
        if function == "SIGMOID":
            return 1 / (1 + math.exp(-4 * (x - centre) / width))
        if function == "LINEAR_EXACT":
            low, high = centre - width / 2, centre + width / 2
            return min(max((x - low) / (high - low), 0), 1)
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
        return 0 if x <= low else 1 if x > high else (x - low) / (high - low)

    return np.vectorize(one, otypes=[float])(values) * 255


def displayed(film, number=0):
    """Greys before rounding, as a page draws a film by one of its presentations."""
    levels, places = np.unique(film.values, return_inverse=True)
    how = film.presentations[number].as_json()
    if how["kind"] == "table":
        greys = np.frombuffer(film.presentations[number].greys, np.uint8)[levels].astype(float)
    else:
        values = film.slope * levels.astype(float) + film.intercept
        greys = windowed(values, how["centre"], how["width"], how["function"])
        greys = 255 - greys if film.white_is_zero else greys
    return greys[places].reshape(film.values.shape)
