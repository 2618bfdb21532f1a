"""Files become networks' inputs in order, as validation sees them, and never far ahead."""

import time

import numpy as np
import pytest
from PIL import Image

from cxrtool.images import decoding as decoding
from cxrtool.images.decoding import VIEWS, decode_batches, squished_views
from cxrtool.images.resizing import load_pixels


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(1)
    files = []
    for number in range(11):
        side = 40 + number
        pixels = rng.integers(0, 256, (side, side + 9), dtype=np.uint8)
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(files[-1])
    (tmp_path / "bad.png").write_text("no image")
    files.insert(4, tmp_path / "bad.png")
    return files


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("batch", [1, 5, 50])
def test_batches_hold_the_files_in_order_whatever_decodes_them(pictures, workers, batch):
    batches = list(decode_batches(pictures, [(32,), (48, 16)], batch=batch, workers=workers))
    assert [len(one) for one in batches[:-1]] == [batch] * (len(batches) - 1)
    found = [one for group in batches for one in group]
    assert [one.index for one in found] == list(range(len(pictures)))
    for one, file in zip(found, pictures, strict=True):
        if file.name == "bad.png":
            assert one.pixels == {}
            assert "not a JPEG" in one.error
            assert str(file) not in one.error
        else:
            # What training and validation load of the same file.
            assert np.array_equal(one.pixels[(32,)][0], load_pixels(file, 32))
            assert np.array_equal(one.pixels[(48, 16)][0], load_pixels(file, 48, 16))


def test_no_more_is_decoded_than_the_next_batches(pictures, monkeypatch):
    begun = []
    real = decoding._decode

    def decode(index, *rest):
        begun.append(index)
        return real(index, *rest)

    monkeypatch.setattr(decoding, "_decode", decode)
    many = pictures * 50
    batches = decode_batches(iter(many), [(32,)], batch=2, workers=2)
    for taken in range(1, 4):
        next(batches)
        time.sleep(0.2)
        assert len(begun) <= 2 * taken + 6
    batches.close()
    time.sleep(0.2)
    before = len(begun)
    time.sleep(0.2)
    assert len(begun) == before < len(many)


def test_views_begin_with_the_image_itself_and_none_is_mirrored():
    plain = np.zeros((64, 64), np.uint8)
    plain[8:20, 6:14] = 255  # at the upper left, and higher than wide
    views = squished_views(Image.fromarray(plain), (64,), VIEWS)
    assert views.shape == (5, 64, 64)
    assert np.array_equal(views[0], plain)
    for view in views[1:]:
        assert not np.array_equal(view, plain)
        rows, columns = np.nonzero(view > 128)
        assert rows.mean() < 28
        assert columns.mean() < 24
        assert np.ptp(rows) > np.ptp(columns)


def test_a_turned_view_is_turned_about_the_middle_and_a_scaled_one_scaled():
    plain = np.zeros((101, 101), np.uint8)
    plain[50, 20:81] = 255
    left = squished_views(Image.fromarray(plain), (101,), [(6, 1)])[0]
    rows, columns = np.nonzero(left > 60)
    slope = np.polyfit(columns, rows, 1)[0]
    assert np.degrees(np.arctan(-slope)) == pytest.approx(6, abs=1)  # counter-clockwise
    assert rows.mean() == pytest.approx(50, abs=0.6)
    wide = squished_views(Image.fromarray(plain), (101,), [(0, 1.05)])[0]
    assert np.ptp(np.nonzero(wide > 60)[1]) == pytest.approx(60 * 1.05, abs=1.5)


def test_memory_that_is_not_enough_is_an_images_error(pictures, monkeypatch):
    def huge(path):
        raise MemoryError

    monkeypatch.setattr(decoding, "read_for_scoring", huge)
    ((one,),) = decode_batches(pictures[:1], [(32,)], batch=1, workers=0)
    assert "memory" in one.error
