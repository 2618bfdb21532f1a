import numpy as np
import pytest
from PIL import Image

from cxrtool.images.plausibility import shape_warning
from cxrtool.images.reading import read_for_scoring
from tests.support.lossless import wavy

GREY = wavy(200, 240, 8).astype(np.uint8)


def warning(path, image, **options):
    image.save(path, **options)
    return read_for_scoring(path)[1]


@pytest.mark.parametrize("size", [(20, 20), (400, 30), (2000, 100), (100, 2000)])
def test_odd_shapes_are_told(size):
    assert f"{size[0]}x{size[1]}" in shape_warning(*size)


@pytest.mark.parametrize("size", [(390, 320), (320, 390), (64, 64), (2828, 2320)])
def test_an_x_rays_shapes_are_not_odd(size):
    assert shape_warning(*size) == ""


def test_an_x_ray_gets_no_warning(drawn):
    files = sorted((drawn.folder / "train").rglob("*.jpg"))[:20]
    assert [read_for_scoring(file)[1] for file in files] == [""] * 20


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK"])
def test_grey_is_no_colour_however_it_is_stored(tmp_path, mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert warning(tmp_path / "a", Image.fromarray(GREY).convert(mode), format=kind) == ""


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpegs_own_noise_is_no_colour(tmp_path, quality):
    noisy = np.dstack([GREY] * 3).astype(int) + np.random.default_rng(0).normal(0, 2, (200, 240, 3))
    image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    assert warning(tmp_path / "a.jpg", image, quality=quality) == ""


def test_the_tint_of_a_film_is_no_colour(tmp_path):
    film = GREY // 2 + 100
    image = Image.fromarray(np.dstack([film, film - 6, film - 12]))
    assert warning(tmp_path / "a.png", image) == ""


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_colour_is_told_however_it_is_stored(tmp_path, mode):
    image = Image.fromarray(np.dstack([GREY, GREY // 2, GREY // 3])).convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert warning(tmp_path / "a", image, format=kind) == "in colour"


def test_a_coloured_stripe_is_told_and_a_dot_is_not(tmp_path):
    for width, told in ((40, "in colour"), (3, "")):
        colours = np.dstack([GREY] * 3)
        colours[:width, :width] = [200, 0, 0]
        assert warning(tmp_path / "a.png", Image.fromarray(colours)) == told


def test_what_is_under_a_transparent_part_is_no_colour(tmp_path):
    layers = np.dstack([np.dstack([GREY] * 3), np.full_like(GREY, 255)])
    layers[:100, :, :3] = [255, 0, 0]
    layers[:100, :, 3] = 0
    assert warning(tmp_path / "a.png", Image.fromarray(layers)) == ""


@pytest.mark.parametrize("level", [0, 77, 255])
def test_one_grey_alone_is_blank(tmp_path, level):
    image = Image.fromarray(np.full((200, 240), level, np.uint8))
    assert warning(tmp_path / "a.png", image) == f"blank: every pixel is {level}"


def test_noise_and_a_dot_are_nearly_blank(tmp_path):
    flat = np.random.default_rng(0).integers(100, 104, (200, 240)).astype(np.uint8)
    flat[5, 5] = 255
    assert warning(tmp_path / "a.png", Image.fromarray(flat)) == "nearly blank"


def test_a_flat_middle_row_alone_is_no_blank(tmp_path):
    image = GREY.copy()
    image[90:110] = 50
    assert warning(tmp_path / "a.png", Image.fromarray(image)) == ""


def test_all_that_is_odd_is_told_together(tmp_path):
    colours = np.zeros((20, 100, 3), np.uint8)
    colours[..., 0] = 200
    pages = [Image.fromarray(colours)] * 2
    told = warning(tmp_path / "a.tif", pages[0], save_all=True, append_images=pages[1:])
    assert told.split("; ") == [
        "the first of several pages",
        "100x20 pixels is too small for an X-ray",
        "in colour",
        "blank: every pixel is 60",
    ]


def test_of_an_ordinary_image_only_a_few_pixels_are_looked_at(tmp_path, monkeypatch):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    for name in ("getextrema", "resize", "convert", "histogram"):
        monkeypatch.delattr(Image.Image, name)
    assert read_for_scoring(tmp_path / "a.png")[1] == ""
