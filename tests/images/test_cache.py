"""A cache is read, compared with what was written, and refused where it differs."""

import os
import pickle
import zlib

import numpy as np
import pytest

from cxrtool.core.errors import DataError
from cxrtool.core.files import sha256
from cxrtool.core.json_files import read_json, write_json
from cxrtool.images import cache as cache_module
from cxrtool.images import cache_builder as new_cache
from cxrtool.images.cache import CachePaths, ImageCache
from cxrtool.images.cache_builder import NewCache
from tests.support.caches import PATHS, SIDE, assert_same_pixels, build


def test_the_file_is_one_that_numpy_opens(data, tmp_path):
    cache = build(data, tmp_path / "cache")
    pixels = np.load(tmp_path / "cache" / "images.npy", mmap_mode="r")
    assert pixels.shape == (30, SIDE, SIDE)
    np.testing.assert_array_equal(pixels[7], cache.read(cache.rows_of(["7.png"]))[0])


def test_another_process_gets_the_place_and_not_the_pixels(data, tmp_path):
    cache = build(data, tmp_path / "cache", side=64)
    sent = pickle.dumps(cache)
    assert len(sent) < 30 * 64 * 64 / 10
    assert_same_pixels(pickle.loads(sent), data)


def test_a_cache_that_was_made_anew_is_not_read_by_those_who_had_the_old_one(data, tmp_path):
    folder = tmp_path / "cache"
    sent = pickle.dumps(build(data, folder))
    build(data, folder, PATHS[::-1], fingerprint="g")
    with pytest.raises(DataError, match="rebuilt"):
        pickle.loads(sent).read(np.array([2]))


def test_an_index_that_was_edited_is_refused(data, tmp_path):
    folder = tmp_path / "cache"
    build(data, folder)
    index = folder / "index.csv"
    index.write_text(index.read_text().replace("3.png,3,", "3.png,4,"))
    with pytest.raises(DataError, match="was altered"):
        ImageCache(folder)


def test_a_cache_of_version_0_1_is_read_and_kept(data, tmp_path):
    build(data, tmp_path / "cache")
    paths = CachePaths(tmp_path / "cache")
    lines = paths.index.read_text().splitlines()
    paths.index.write_text("".join(f"{line.rsplit(',', 2)[0]}\n" for line in lines))
    seal = {key: value for key, value in read_json(paths.seal).items() if key != "format"}
    write_json(paths.seal, {**seal, "index_sha256": sha256(paths.index)})
    before = paths.images.stat().st_mtime_ns
    assert_same_pixels(ImageCache(tmp_path / "cache"), data)
    assert_same_pixels(build(data, tmp_path / "cache"), data)
    assert paths.images.stat().st_mtime_ns == before


def zeroed(images, header):
    images.write_bytes(header + bytes(len(images.read_bytes()) - len(header)))


def reordered(images, header):
    pixels = images.read_bytes()[len(header) :]
    images.write_bytes(header + pixels[SIDE**2 :] + pixels[: SIDE**2])


def one_bit(images, header):
    content = bytearray(images.read_bytes())
    content[len(header) + 7 * SIDE**2 + 5] ^= 1
    images.write_bytes(content)


@pytest.mark.parametrize("damage", [zeroed, reordered, one_bit])
def test_pixels_that_are_not_those_that_were_written_are_noticed_and_mended(
    data, tmp_path, decoded, damage
):
    folder = tmp_path / "cache"
    cache = build(data, folder)
    paths = CachePaths(folder)
    header = new_cache._npy_header(len(PATHS), SIDE)
    before = paths.images.stat()
    damage(paths.images, header)
    reader = ImageCache(folder)
    with pytest.raises(DataError, match=r"pixels of 7\.png are not those .*cxrtool prepare"):
        reader.read(reader.rows_of(["7.png"]))
    other = pickle.loads(pickle.dumps(cache))  # another process, with what this one has checked
    with pytest.raises(DataError, match=r"pixels of 7\.png"):
        other.read(other.rows_of(["7.png"]))
    decoded.clear()
    assert_same_pixels(build(data, folder), data)
    assert len(decoded) == (1 if damage is one_bit else 30)
    assert paths.images.stat().st_mtime_ns != before.st_mtime_ns


def test_a_copied_cache_is_compared_once_and_not_decoded_again(
    data, tmp_path, decoded, monkeypatch
):
    folder = tmp_path / "cache"
    build(data, folder)
    os.utime(CachePaths(folder).images)  # as a copy has
    read = []
    original = NewCache._intact
    monkeypatch.setattr(NewCache, "_intact", lambda *values: read.append(1) or original(*values))
    decoded.clear()
    for _ in range(2):
        assert_same_pixels(build(data, folder), data)
    assert (decoded, len(read)) == ([], 1)


def test_an_image_is_compared_when_it_is_first_read_and_not_again(data, tmp_path, monkeypatch):
    cache = build(data, tmp_path / "cache")
    compared = []
    original = zlib.crc32
    monkeypatch.setattr(
        cache_module.zlib, "crc32", lambda pixels: compared.append(1) or original(pixels)
    )
    for _ in range(3):
        cache.read(np.array([3, 4, 3]))
    assert len(compared) <= 3
