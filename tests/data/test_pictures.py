"""Fingerprints of pictures: the same picture is found however it was saved, and no other."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrtool.core.config import PrepareConfig
from cxrtool.core.csv_tables import write_table
from cxrtool.core.files import sha256
from cxrtool.data.pictures import (
    fingerprint,
    pictures_frame,
    pictures_of,
    read_pictures,
)
from cxrtool.images.cache import CachePaths, ImageCache
from cxrtool.workflows.prepare import prepare_manifest


@pytest.fixture(scope="module")
def greys(drawn):
    files = sorted((drawn.folder / "train").rglob("*frontal.jpg"))
    return [Image.open(file).convert("L") for file in files[:40]]


@pytest.fixture(scope="module")
def known(greys):
    return pictures_of([fingerprint(grey) for grey in greys])


def saved(grey, **options):
    buffer = io.BytesIO()
    grey.save(buffer, "JPEG", **options)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("L")


def sixteen_bits(grey):
    """Scaled to 16 bits and back about another maximum."""
    deep = np.asarray(grey).astype(np.uint16) * 257
    return Image.fromarray((deep / 250).clip(0, 255).astype(np.uint8))


WAYS = {
    "again": lambda grey: saved(grey, quality=60),
    "smaller": lambda grey: grey.resize((grey.width // 2, grey.height // 2)),
    "square": lambda grey: grey.resize((224, 224), Image.Resampling.BILINEAR),
    "larger": lambda grey: grey.resize((2 * grey.width, 2 * grey.height)),
    "16 bits": sixteen_bits,
}


@pytest.mark.parametrize("way", WAYS)
def test_one_picture_is_found_however_it_was_saved(greys, known, way):
    made = pictures_of([fingerprint(WAYS[way](grey)) for grey in greys])
    assert not (made.exact == known.exact).all(axis=1).any()
    assert made.among(known).all()


def test_another_patients_picture_is_not(known):
    rows = np.arange(len(known))
    alone = [known.choose(rows == row).among(known.choose(rows != row))[0] for row in rows]
    assert not any(alone)


def test_one_grey_value_is_another_exact_fingerprint(greys):
    pixels = np.asarray(greys[0]).copy()
    pixels[10, 10] ^= 1
    before, after = fingerprint(greys[0]), fingerprint(Image.fromarray(pixels))
    assert before[:32] != after[:32]
    flat = Image.fromarray(np.asarray(greys[0]).reshape(1, -1))
    assert fingerprint(flat)[:32] != before[:32]


def test_prepare_keeps_the_fingerprints_of_all_images(prepared_once, drawn):
    known = read_pictures(prepared_once.pictures)
    path = next(iter(known))
    grey = Image.open(drawn.folder / path).convert("L")
    assert known[path] == fingerprint(grey)
    assert len(known) == len(read_rows(prepared_once.manifest))


def read_rows(path):
    return path.read_text().splitlines()[1:]


def test_a_table_of_them_is_read_as_it_was_written(tmp_path, known):
    texts = {f"{row}.png": fingerprint(Image.new("L", (9, 9), row)) for row in range(3)}
    write_table(pictures_frame(texts), tmp_path / "pictures.csv")
    assert read_pictures(tmp_path / "pictures.csv") == texts


def test_a_cache_of_before_gets_its_fingerprints_and_keeps_its_pixels(prepared, drawn):
    """Version 0.1 wrote an index without them, and no pictures.csv."""
    paths = CachePaths(prepared.cache)
    known, pixels = read_pictures(prepared.pictures), paths.images.stat().st_mtime_ns
    frame = pd.read_csv(paths.index, dtype=str).drop(columns="picture")
    frame.to_csv(paths.index, index=False)
    seal = json.loads(paths.seal.read_text())
    paths.seal.write_text(json.dumps({**seal, "index_sha256": sha256(paths.index)}))
    prepared.pictures.unlink()
    assert len(ImageCache(prepared.cache).rows_of(list(known))) == len(known)  # it can be read
    prepare_manifest(PrepareConfig(data=drawn.folder, workers=0, cache_size=32), prepared)
    assert read_pictures(prepared.pictures) == known
    assert paths.images.stat().st_mtime_ns == pixels
    assert "picture" in paths.index.read_text().split("\n")[0]
