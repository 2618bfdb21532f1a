import numpy as np
import pytest
from PIL import Image, ImageOps

from cxrtool.images import ImageError, load_pixels, pixel_sums, read_grey, shape_warning

RAMP = np.linspace(0, 255, 40 * 50).reshape(40, 50).astype(np.uint8)


def grey(path):
    return np.asarray(read_grey(path)).astype(int)


def saved(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def test_eight_bit_grey_is_read_as_it_is(tmp_path):
    assert (grey(saved(tmp_path / "a.png", RAMP)) == RAMP).all()


@pytest.mark.parametrize("greatest", [4095, 65535])
def test_deep_pixels_are_scaled_by_the_images_greatest(tmp_path, greatest):
    deep = (RAMP / 255 * greatest).astype(np.uint16)
    assert np.abs(grey(saved(tmp_path / "a.png", deep)) - RAMP).max() <= 1


def test_float_pixels_are_scaled(tmp_path):
    assert (
        np.abs(grey(saved(tmp_path / "a.tif", (RAMP / 255).astype(np.float32))) - RAMP).max() <= 1
    )


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


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_what_is_no_image_is_named(tmp_path, content):
    path = tmp_path / "bad.jpg"
    if content is None:
        whole = saved(tmp_path / "whole.jpg", RAMP).read_bytes()
        content = whole[: len(whole) * 2 // 3]
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        read_grey(path)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "EPS"])
def test_other_formats_are_not_taken_whatever_they_are_called(tmp_path, kind):
    Image.fromarray(RAMP).save(tmp_path / "bad.jpg", format=kind)
    with pytest.raises(ImageError, match="not a JPEG, PNG or TIFF"):
        read_grey(tmp_path / "bad.jpg")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.jpg: no such file"):
        read_grey(tmp_path / "gone.jpg")


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="more pixels than 100"):
        read_grey(saved(tmp_path / "a.png", RAMP))


def test_pixels_are_squished_to_a_square(tmp_path):
    left_white = np.zeros((40, 80), np.uint8)
    left_white[:, :40] = 255
    pixels = load_pixels(saved(tmp_path / "a.png", left_white), 20)
    assert pixels.shape == (20, 20)
    assert pixels.dtype == np.uint8
    assert (pixels[:, :9] == 255).all()
    assert (pixels[:, 11:] == 0).all()


def test_scaling_down_averages_and_does_not_skip(tmp_path):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    pixels = load_pixels(saved(tmp_path / "a.png", stripes), 8)
    assert np.abs(pixels.astype(int) - 127).max() < 15


def test_pixel_sums_are_exact():
    images = np.random.default_rng(0).integers(0, 256, (3, 300, 200)).astype(np.uint8)
    sums = pixel_sums([Image.fromarray(image).histogram() for image in images])
    assert sums[:, 0].tolist() == images.astype(np.int64).sum((1, 2)).tolist()
    assert sums[:, 1].tolist() == (images.astype(np.int64) ** 2).sum((1, 2)).tolist()


def test_no_images_have_no_sums():
    assert pixel_sums([]).shape == (0, 2)


@pytest.mark.parametrize("size", [(20, 20), (400, 30), (2000, 100), (100, 2000)])
def test_odd_shapes_are_told(size):
    assert f"{size[0]}x{size[1]}" in shape_warning(*size)


@pytest.mark.parametrize("size", [(390, 320), (320, 390), (64, 64), (2828, 2320)])
def test_an_x_rays_shapes_are_not_odd(size):
    assert shape_warning(*size) == ""


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
    assert np.abs(shown - expected * (255 / 250 if mode == "I;16" else 1.0)).max() <= 1
