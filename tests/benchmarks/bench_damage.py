"""How many damaged files show another picture without a word: cxrtool, and Pillow alone.

    python tests/benchmarks/bench_damage.py [VARIANTS]

Each kind of file gets its share of the variants (seeded); "another" is what nobody is told of.
"""

import io
import os
import sys
import warnings
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[2]))
from PIL import Image

from cxrtool.images.errors import ImageError
from cxrtool.images.film import read_film
from tests.support import damage


def apart(content):
    """As the page reads it, and files that may be harmful."""
    film = read_film("a", content)
    grey, warning = film.grey, film.warning
    return SimpleNamespace(grey=grey, warning=warning)


def pillow(content):
    """As version 0.1 did."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            image = Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "TIFF"))
            return SimpleNamespace(grey=image.convert("L"), warning="")
    except Exception as error:
        raise ImageError(str(error)) from None


def main():
    each = (int(sys.argv[1]) if len(sys.argv) > 1 else 3000) // len(damage.KINDS)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff writes of each
    for name, read in (("Pillow", pillow), ("cxrtool", apart)):
        total = Counter()
        for kind in damage.KINDS:
            found = damage.outcomes(kind, each, read=read)
            total += found
            print(f"{name:8} {kind:18}", dict(found))
        print(f"{name:8} {'all':18}", dict(total), flush=True)


if __name__ == "__main__":
    main()
