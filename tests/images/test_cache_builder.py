"""A cache is made, gone on with and mended."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrtool.core.console import SILENT
from cxrtool.core.errors import DataError
from cxrtool.core.files import sha256
from cxrtool.core.json_files import read_json, write_json
from cxrtool.data import image_checks as prepare_images
from cxrtool.data.image_checks import decode_images
from cxrtool.data.problems import Problems
from cxrtool.images import cache_builder as new_cache
from cxrtool.images.cache import CachePaths, ImageCache
from cxrtool.images.cache_builder import NewCache
from cxrtool.images.errors import ImageError
from tests.support.caches import PATHS, SIDE, assert_same_pixels, build
from tests.support.dicoms import dicom
from tests.support.greys import deep_png
from tests.support.lossless import wavy


@pytest.mark.parametrize("workers", [0, 2])
def test_a_cache_holds_every_image_as_it_would_be_decoded(data, tmp_path, workers, monkeypatch):
    monkeypatch.setattr(prepare_images, "CHUNK", 4)
    cache = build(data, tmp_path / "cache", workers=workers)
    assert cache.image_size == SIDE
    assert_same_pixels(cache, data)


def test_an_image_that_cannot_be_read_leaves_the_others_in_their_rows(data, tmp_path):
    (data / "3.png").write_bytes(b"broken")
    cache = build(data, tmp_path / "cache")
    assert_same_pixels(cache, data, [path for path in PATHS if path != "3.png"])
    with pytest.raises(DataError, match=r"lacks '3\.png'"):
        cache.rows_of(["3.png"])


def test_a_fresh_cache_is_not_built_again(data, tmp_path, decoded):
    build(data, tmp_path / "cache")
    before = (tmp_path / "cache" / "images.npy").stat().st_mtime_ns
    decoded.clear()
    build(data, tmp_path / "cache")
    assert decoded == []
    assert (tmp_path / "cache" / "images.npy").stat().st_mtime_ns == before


def test_only_images_that_changed_are_decoded_again(data, tmp_path, decoded):
    build(data, tmp_path / "cache")
    decoded.clear()
    Image.fromarray(np.full((40, 40), 7, np.uint8) + np.eye(40, dtype=np.uint8)).save(
        data / "5.png"
    )
    assert_same_pixels(build(data, tmp_path / "cache"), data)
    assert decoded == ["5.png"]


@pytest.mark.parametrize("change", ["side", "paths", "order"])
def test_another_size_or_other_images_make_a_new_cache(data, tmp_path, decoded, change):
    build(data, tmp_path / "cache")
    decoded.clear()
    paths = {"side": PATHS, "paths": PATHS[:-1], "order": PATHS[::-1]}[change]
    side = 16 if change == "side" else SIDE
    cache = build(data, tmp_path / "cache", paths, side)
    assert_same_pixels(cache, data, paths)
    assert len(decoded) == len(paths)


def interrupted(data, folder, after, monkeypatch):
    """A cache whose making stopped after some images."""
    original = prepare_images.decode

    def stop(file):
        if Path(file).name == f"{after}.png":
            raise KeyboardInterrupt
        return original(file)

    with monkeypatch.context() as patch:
        patch.setattr(prepare_images, "decode", stop)
        patch.setattr(prepare_images, "CHUNK", 5)
        with pytest.raises(KeyboardInterrupt):
            decode_images(data, PATHS, NewCache(folder, data, PATHS, SIDE), 0, Problems(), SILENT)


def test_an_interrupted_cache_is_none_and_goes_on_where_it_stopped(
    data, tmp_path, decoded, monkeypatch
):
    folder = tmp_path / "cache"
    interrupted(data, folder, 17, monkeypatch)
    with pytest.raises(DataError, match="not a complete cache"):
        ImageCache(folder)
    decoded.clear()
    assert_same_pixels(build(data, folder), data)
    assert decoded == PATHS[15:]
    assert sorted(path.name for path in folder.iterdir()) == [
        "cache.json",
        "images.npy",
        "index.csv",
    ]


def test_pixels_that_did_not_reach_the_disk_are_made_again(data, tmp_path, decoded, monkeypatch):
    folder = tmp_path / "cache"
    interrupted(data, folder, 17, monkeypatch)
    paths = CachePaths(folder)
    with paths.partial.open("r+b") as file:  # a power cut leaves blank pages
        file.seek(128 + 4 * SIDE**2)
        file.write(bytes(SIDE**2))
    decoded.clear()
    assert_same_pixels(build(data, folder), data)
    assert decoded == ["4.png", *PATHS[15:]]


def test_a_journal_that_was_cut_off_costs_its_last_line_only(data, tmp_path, decoded, monkeypatch):
    folder = tmp_path / "cache"
    interrupted(data, folder, 17, monkeypatch)
    journal = CachePaths(folder).journal
    journal.write_bytes(journal.read_bytes()[:-9])
    decoded.clear()
    assert_same_pixels(build(data, folder), data)
    assert decoded == ["14.png", *PATHS[15:]]


def test_killed_between_its_last_two_steps_it_loses_nothing(data, tmp_path, decoded):
    folder = tmp_path / "cache"
    cache = NewCache(folder, data, PATHS, SIDE)
    decode_images(data, PATHS, cache, 0, Problems(), SILENT)
    paths = CachePaths(folder)
    paths.partial.rename(paths.images)
    decoded.clear()
    assert_same_pixels(build(data, folder), data)
    assert decoded == []


@pytest.mark.parametrize("victim", ["images.npy", "index.csv", "cache.json"])
def test_a_damaged_cache_is_told_and_mended(data, tmp_path, victim):
    folder = tmp_path / "cache"
    build(data, folder)
    (folder / victim).write_bytes((folder / victim).read_bytes()[:-100])
    with pytest.raises(DataError, match=r"not a complete cache.*cxrtool prepare"):
        ImageCache(folder)
    assert_same_pixels(build(data, folder), data)


def test_too_little_room_is_told_before_anything_is_written(data, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        new_cache.shutil, "disk_usage", lambda _: usage._replace(free=new_cache.SPARE_BYTES + 9)
    )
    with pytest.raises(DataError, match=r"30 images at 24x24 needs .* --no-cache"):
        build(data, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_disk_that_fills_up_is_told_and_the_work_is_kept(data, tmp_path, decoded, monkeypatch):
    folder = tmp_path / "cache"
    write = new_cache.CacheWriter.write

    def full(self, row, pixels):
        if row == 12:
            raise OSError(28, "No space left on device")
        return write(self, row, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(new_cache.CacheWriter, "write", full)
        patch.setattr(prepare_images, "CHUNK", 5)
        with pytest.raises(DataError, match=r"disk is full, with 10 of 30 images written"):
            build(data, folder)
    decoded.clear()
    assert_same_pixels(build(data, folder), data)
    assert decoded == PATHS[10:]


def full_disk(monkeypatch, free):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(new_cache.shutil, "disk_usage", lambda _: usage._replace(free=free))


def test_an_older_cache_stays_when_there_is_no_room_for_a_new_one(data, tmp_path, monkeypatch):
    build(data, tmp_path / "cache")
    full_disk(monkeypatch, new_cache.SPARE_BYTES)
    with pytest.raises(DataError, match="200 MB are reserved for other files"):
        build(data, tmp_path / "cache", side=48)
    assert_same_pixels(ImageCache(tmp_path / "cache"), data)


def test_an_older_cache_makes_way_where_its_room_is_needed(data, tmp_path, monkeypatch):
    build(data, tmp_path / "cache")
    full_disk(monkeypatch, new_cache.SPARE_BYTES)
    cache = build(data, tmp_path / "cache", side=16)
    assert_same_pixels(cache, data)


def test_an_older_cache_stays_until_the_new_one_is_whole(data, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    build(data, folder, side=16)
    interrupted(data, folder, 17, monkeypatch)
    assert_same_pixels(ImageCache(folder), data)
    assert ImageCache(folder).image_size == 16
    cache = build(data, folder)
    assert cache.image_size == SIDE
    assert_same_pixels(cache, data)


def test_data_that_is_out_of_reach_for_a_while_does_not_cost_the_cache(data, tmp_path, decoded):
    folder = tmp_path / "cache"
    build(data, folder)
    data.rename(tmp_path / "away")
    data.mkdir()
    cache = NewCache(folder, data, PATHS, SIDE)
    assert decode_images(data, PATHS, cache, 0, Problems(), SILENT) == []
    cache.discard()
    data.rmdir()
    (tmp_path / "away").rename(data)
    assert_same_pixels(ImageCache(folder), data)
    decoded.clear()
    build(data, folder)
    assert decoded == []


def test_another_cache_that_was_begun_is_not_left_on_the_disk(data, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    build(data, folder, side=16)
    interrupted(data, folder, 17, monkeypatch)
    build(data, folder, side=16)
    assert sorted(path.name for path in folder.iterdir()) == [
        "cache.json",
        "images.npy",
        "index.csv",
    ]


def test_giving_up_leaves_an_older_cache_alone(data, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    build(data, folder, side=16)
    interrupted(data, folder, 3, monkeypatch)
    NewCache(folder, data, PATHS, SIDE).discard()
    assert_same_pixels(ImageCache(folder), data)
    assert len(list(folder.iterdir())) == 3


def test_a_copy_of_the_names_lengths_and_times_is_not_the_same_data(data, tmp_path, decoded):
    """As archives that set all times to zero leave them."""
    other = tmp_path / "other"
    other.mkdir()
    for number, path in enumerate(PATHS):
        for folder in (data, other):
            rng = np.random.default_rng((number, folder == other))
            Image.fromarray(rng.integers(0, 256, (40, 40)).astype(np.uint8)).save(
                folder / path.replace("png", "tif")
            )
            os.utime(folder / path.replace("png", "tif"), (0, 0))
    names = [path.replace("png", "tif") for path in PATHS]
    build(data, tmp_path / "cache", names)
    assert_same_pixels(build(other, tmp_path / "cache", names), other, names)


def test_what_cannot_be_read_does_not_break_a_seal(data, tmp_path, decoded):
    folder = tmp_path / "cache"
    (data / "3.png").write_bytes(b"broken")
    (data / "4.png").unlink()
    build(data, folder)
    decoded.clear()
    cache = NewCache(folder, data, PATHS, SIDE)
    cache.begin()
    assert cache.sealed
    assert_same_pixels(build(data, folder), data, [p for p in PATHS if p not in ("3.png", "4.png")])
    assert decoded == ["3.png"]  # the other is not there


def test_an_image_that_came_back_is_cached(data, tmp_path, decoded):
    folder = tmp_path / "cache"
    content = (data / "3.png").read_bytes()
    (data / "3.png").unlink()
    build(data, folder)
    (data / "3.png").write_bytes(content)
    assert_same_pixels(build(data, folder), data)


def test_a_failure_to_read_that_passes_is_mended(data, tmp_path, monkeypatch):
    """The same file, that could not be read for a moment, as on a network drive."""
    folder = tmp_path / "cache"
    original = prepare_images.decode

    def fail(file):
        if Path(file).name == "3.png":
            raise ImageError("not now")
        return original(file)

    with monkeypatch.context() as patch:
        patch.setattr(prepare_images, "decode", fail)
        build(data, folder)
    assert_same_pixels(build(data, folder), data)


def test_the_pixels_of_an_image_that_went_are_wiped(data, tmp_path):
    folder = tmp_path / "cache"
    build(data, folder)
    (data / "3.png").unlink()
    build(data, folder)
    assert not np.load(folder / "images.npy")[3].any()


@pytest.mark.parametrize("column", ["row", "pixel_sum", "crc32", "picture"])
def test_prepare_believes_nothing_in_an_index_that_was_edited(data, tmp_path, decoded, column):
    """Else what it says of an image would be sealed anew, as if it had been measured."""
    folder = tmp_path / "cache"
    build(data, folder)
    index = folder / "index.csv"
    measured = pd.read_csv(index, dtype=str)
    assert measured[column].nunique() > 1
    measured.assign(**{column: measured[column].to_numpy()[::-1]}).to_csv(index, index=False)
    decoded.clear()
    assert_same_pixels(build(data, folder), data)
    assert decoded == PATHS
    assert pd.read_csv(index, dtype=str)[column].tolist() != measured[column].tolist()[::-1]


def test_an_index_or_a_journal_that_is_no_table_any_more_is_made_anew(data, tmp_path, monkeypatch):
    """One quote more, and all that follows is one field, which no reader takes."""
    folder = tmp_path / "cache"
    build(data, folder)
    kept = (folder / "index.csv").read_text()
    header, rest = kept.split("\n", 1)
    paths = CachePaths(folder)
    paths.images.rename(paths.partial)  # as if it had been killed
    write_json(paths.plan, {k: v for k, v in read_json(paths.seal).items() if k != "format"})
    paths.seal.unlink()
    paths.journal.write_text(f'{header}\n"{rest}' + "x" * 200_000 + "\n")
    assert_same_pixels(build(data, folder), data)


SLOW = """
import sys, time
from pathlib import Path
from cxrtool.data.problems import Problems
from cxrtool.images.cache_builder import NewCache
from cxrtool.core.console import SILENT
from cxrtool.data import image_checks as prepare_images
prepare_images.CHUNK = 2
original = prepare_images.decode
def slowly(file):
    time.sleep(0.2)
    return original(file)
prepare_images.decode = slowly
paths = [f"{i}.png" for i in range(30)]
data, folder = map(Path, sys.argv[1:])
prepare_images.decode_images(data, paths, NewCache(folder, data, paths, 24), 2, Problems(), SILENT)
"""


def processes_below(parent):
    """The pids of a process's children, from Linux's /proc."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(pid) for pid in children.read_text().split()]


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
def test_after_a_kill_no_process_lives_on_and_the_work_is_kept(data, tmp_path, decoded):
    folder = tmp_path / "cache"
    command = [sys.executable, "-c", SLOW, str(data), str(folder)]
    with subprocess.Popen(command) as process:
        journal = CachePaths(folder).journal
        wait_for(lambda: journal.exists() and len(journal.read_text().splitlines()) > 5)
        children = processes_below(process.pid)
        process.send_signal(signal.SIGKILL)
    assert len(children) >= 2
    wait_for(lambda: not any(running(pid) for pid in children))
    assert_same_pixels(build(data, folder), data)
    assert 0 < len(decoded) < 30 - 3


def wait_for(condition, seconds=120):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_deep_pixels_that_an_older_version_scaled_are_made_anew(data, tmp_path, decoded):
    """0.1 scaled them by their greatest, and its caches say nothing of it."""
    for name in ("3.png", "5.png"):
        Image.fromarray(np.asarray(Image.open(data / name)).astype(np.uint16)).save(data / name)
    build(data, tmp_path / "cache")
    seal = CachePaths(tmp_path / "cache").seal
    older = {key: value for key, value in read_json(seal).items() if key != "deep_greys"}
    write_json(seal, {key: value for key, value in older.items() if key != "format"})
    decoded.clear()
    cache = build(data, tmp_path / "cache")
    assert sorted(decoded) == ["3.png", "5.png"]
    assert_same_pixels(cache, data)
    decoded.clear()
    build(data, tmp_path / "cache")
    assert decoded == []


def test_of_an_older_cache_only_dicom_and_deep_colours_are_decoded_again(data, tmp_path, decoded):
    """Those an older version may have shown otherwise; ordinary colours stay."""
    ordinary = np.dstack([np.asarray(Image.open(data / "4.png"))] * 3)
    Image.fromarray(ordinary).save(data / "4.png")
    (data / "6.png").write_bytes(deep_png(ordinary.astype(np.uint16) * 16))
    dicom(data / "3.png", wavy(40, 56, 12), 12, PatientOrientation=["R", "F"])
    dicom(data / "5.png", ordinary)
    build(data, tmp_path / "cache")
    seal, index = CachePaths(tmp_path / "cache").seal, CachePaths(tmp_path / "cache").index
    newer = ("dicom", "colour_greys")
    older = {key: value for key, value in read_json(seal).items() if key not in newer}
    index.write_text(index.read_text().replace("RGB;16", "RGB"))  # they did not tell the depth
    write_json(seal, {**older, "index_sha256": sha256(index)})
    decoded.clear()
    cache = build(data, tmp_path / "cache")
    assert sorted(decoded) == ["3.png", "5.png", "6.png"]
    assert_same_pixels(cache, data)
    assert set(newer) < set(read_json(seal))


def test_what_reading_an_image_lost_is_a_problem_also_of_a_cached_one(data, tmp_path, decoded):
    content = bytearray((data / "4.png").read_bytes())
    content[content.index(b"IEND") - 8] ^= 1
    (data / "4.png").write_bytes(content)
    for _ in range(2):
        problems = Problems()
        cache = NewCache(tmp_path / "cache", data, PATHS, SIDE)
        cache.seal(decode_images(data, PATHS, cache, 0, problems, SILENT), "f")
        (found,) = problems.table().to_dict("records")
        assert found == {
            "kind": "read with a warning",
            "where": "4.png",
            "detail": "damaged: a checksum of its pixels does not match",
            "kept": "yes",
        }
    assert len(decoded) == 30
    ImageCache(tmp_path / "cache").read([4])
