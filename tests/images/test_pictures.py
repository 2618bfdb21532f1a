"""JPEG, PNG and TIFF as upright 8-bit grey."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from cxrtool.images.errors import ImageError
from cxrtool.images.reading import decode, read_for_scoring, read_grey, read_header
from tests.support.greys import RAMP, grey, saved


def test_palette_and_colour_give_the_same_grey(tmp_path):
    colour = np.dstack([RAMP] * 3)
    Image.fromarray(RAMP).convert("P").save(tmp_path / "p.png")
    assert np.abs(grey(saved(tmp_path / "c.png", colour)) - RAMP).max() <= 1
    assert np.abs(grey(tmp_path / "p.png") - RAMP).max() <= 1


def test_what_is_transparent_is_black(tmp_path):
    alpha = np.where(np.arange(50) < 25, 0, 255).astype(np.uint8)[None].repeat(40, 0)
    read = grey(saved(tmp_path / "a.png", np.dstack([RAMP] * 3 + [alpha])))
    assert (read[:, :25] == 0).all()
    assert np.abs(read[:, 25:] - RAMP[:, 25:]).max() <= 1


def test_a_cameras_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_grey(saved(tmp_path / "a.jpg", RAMP, exif=exif)).size == (40, 50)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "EPS"])
def test_other_formats_are_not_taken_whatever_they_are_called(tmp_path, kind):
    Image.fromarray(RAMP).save(tmp_path / "bad.jpg", format=kind)
    with pytest.raises(ImageError, match="not a JPEG, PNG, TIFF or DICOM image"):
        read_grey(tmp_path / "bad.jpg")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_camera_was_held(tmp_path, mode, orientation):
    levels = np.arange(40 * 60).reshape(40, 60) % 251
    image = Image.fromarray(levels.astype(np.uint16 if mode == "I;16" else np.uint8))
    plain = image if mode == "I;16" else image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain.save(tmp_path / "turned.png", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "turned.png")))
    shown = np.asarray(read_grey(tmp_path / "turned.png"))
    expected = upright if upright.ndim == 2 else upright[..., 0]
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).max() <= 1


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *((mode, "PNG") for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16")),
        *(
            (mode, "TIFF")
            for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "I", "F")
        ),
        *((mode, "JPEG") for mode in ("L", "RGB", "CMYK", "YCbCr")),
    ],
)
def test_every_mode_gives_the_same_grey(tmp_path, mode, kind):
    halves = np.where(np.indices((40, 50))[1] < 25, 0, 255).astype(np.uint8)
    levels = halves if mode == "1" else RAMP
    image = Image.fromarray(levels.astype(np.uint16) if mode == "I;16" else levels)
    if mode != "I;16":
        image = image.convert(mode)
    image.save(tmp_path / "a", kind, quality=95)
    # JPEG is not exact; the others are, but for rounding.
    assert np.abs(grey(tmp_path / "a") - levels).max() <= (6 if kind == "JPEG" else 1)
    stored = {"YCbCr": "RGB"}.get(mode, mode)
    assert decode(tmp_path / "a")[1] == stored == read_header(tmp_path / "a")[2]


def test_of_several_pages_the_first_is_read_and_it_is_told(tmp_path):
    pages = [Image.fromarray(np.roll(RAMP, 7 * page, 1)) for page in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert (grey(tmp_path / "a.tif") == RAMP).all()
    assert read_for_scoring(tmp_path / "a.tif")[1] == "the first of several pages"


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "tiff_lzw"},
        {"compression": "tiff_adobe_deflate"},
        {"compression": "packbits"},
        {"big_tiff": True},
        {"tiffinfo": {278: 7}},  # seven rows a strip
    ],
)
@pytest.mark.parametrize("white", [255, 4095, 65535])
def test_a_deep_tiff_is_the_same_however_it_is_written(tmp_path, options, white):
    levels = (RAMP.astype(float) / 255 * white + 0.5).astype(np.uint16)
    assert np.abs(grey(saved(tmp_path / "a.tif", levels, **options)) - RAMP).max() <= 1
    assert read_for_scoring(tmp_path / "a.tif")[1] == ""


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_palette_of_few_bits_is_spread_over_all_greys(tmp_path, bits):
    steps = 2**bits
    levels = (np.arange(steps) * 255 // (steps - 1)).astype(np.uint8)
    image = Image.fromarray((RAMP // (256 // steps)).astype(np.uint8), "P")
    image.putpalette(np.stack([levels] * 3, 1).ravel().tolist())
    image.save(tmp_path / "a.png", bits=bits)
    assert np.abs(grey(tmp_path / "a.png") - levels[RAMP // (256 // steps)]).max() <= 1


@pytest.mark.parametrize("clear", [0, 128, 255])
def test_of_a_grey_that_is_transparent_the_pixels_are_black(tmp_path, clear):
    read = grey(saved(tmp_path / "a.png", RAMP, transparency=clear))
    assert (read == np.where(clear == RAMP, 0, RAMP)).all()
