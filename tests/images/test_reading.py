import io
import os
import struct
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps

from cxrtool.images.reading import (
    QUIET,
    ImageError,
    MissingImageError,
    decode,
    is_image,
    load_pixels,
    pixel_sums,
    read_for_scoring,
    read_grey,
    read_header,
)
from tests.support.dicoms import dicom
from tests.support.greys import RAMP, grey, plain_tiff, saved


def test_eight_bit_grey_is_read_as_it_is(tmp_path):
    assert (grey(saved(tmp_path / "a.png", RAMP)) == RAMP).all()


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
    with pytest.raises(ImageError, match="not a JPEG, PNG, TIFF or DICOM image"):
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


def bomb(kind):
    """The beginning of an image of 100,000 by 100,000 pixels."""
    if kind == "PNG":
        header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
        crc = struct.pack(">I", zlib.crc32(header))
        start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + crc
        return start + struct.pack(">I", 1 << 20) + b"IDAT" + zlib.compress(bytes(1 << 20))
    levels = plain_tiff(RAMP, 1)
    old = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((256, 50), (257, 40))]
    new = [struct.pack("<HHII", tag, 4, 1, 100_000) for tag in (256, 257)]
    return levels.replace(old[0], new[0]).replace(old[1], new[1])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("read", [read_for_scoring, read_header])
def test_a_decompression_bomb_takes_no_memory(tmp_path, kind, read):
    (tmp_path / "a").write_bytes(bomb(kind))
    tracemalloc.start()
    with pytest.raises(ImageError, match="a: more pixels than 89,478,485"):
        read(tmp_path / "a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_in_threads_a_bomb_is_refused_and_the_filters_of_warnings_are_put_back(
    tmp_path, monkeypatch, capfd
):
    """Up to twice the limit Pillow only warns, and filters are the process's, not a thread's."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", RAMP.size - 1)
    path = saved(tmp_path / "a.png", RAMP)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        before = list(warnings.filters)

        def read(_):
            with pytest.raises(ImageError, match="more pixels"):
                read_grey(path)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(read, range(300)))
        assert warnings.filters == before
        with QUIET:
            inside = list(warnings.filters)
            with QUIET:
                pass
            assert warnings.filters == inside != before
        with QUIET:  # as if another thread put its own filters in place of these
            warnings.simplefilter("ignore")
            read(0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "name", ["two words.png", 'it\'s "so".png', "a\nb.png", "[bold]<b>&amp;.png", "köln—日本.png"]
)
def test_any_name_will_do(tmp_path, name):
    path = saved(tmp_path / name, RAMP)
    assert (grey(path) == RAMP).all()
    path.write_bytes(b"no image")
    with pytest.raises(ImageError) as caught:
        read_for_scoring(path)
    assert str(caught.value) == f"{path}: not a JPEG, PNG, TIFF or DICOM image"


@pytest.mark.parametrize("read", [read_grey, read_for_scoring, read_header, decode])
def test_what_is_no_file_is_refused_at_once(tmp_path, read):
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "round.jpg").symlink_to(tmp_path / "round.jpg")
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.dcm")
    for name, told in {
        "folder.jpg": "cannot be read (it is a folder)",
        "pipe.dcm": "cannot be read (it is not a regular file)",
        "round.jpg": "cannot be read (Too many levels of symbolic links)",
        "lost.jpg": "no such file",
        "folder.jpg/a.jpg": "no such file",
        f"{'x' * 300}.jpg": "cannot be read (File name too long)",
        "nul\0.jpg": "cannot be decoded (embedded null byte)",
    }.items():
        with pytest.raises(ImageError) as caught:
            read(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {told}"
        assert isinstance(caught.value, MissingImageError) == (told == "no such file")


def test_a_file_that_may_not_be_read_is_named(tmp_path):
    path = saved(tmp_path / "a.png", RAMP)
    path.chmod(0)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)  # nobody: root may read everything
        with pytest.raises(ImageError, match=r"a\.png: cannot be read \(Permission denied\)"):
            read_for_scoring(path)
    finally:
        if root:
            os.seteuid(0)


def test_too_little_memory_is_told(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", RAMP)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", fail)
    saved(path, np.dstack([RAMP] * 3))
    with pytest.raises(ImageError, match="too large for this machine's memory"):
        read_for_scoring(path)


def test_images_of_a_folder_are_known_by_suffix_or_as_dicom(tmp_path):
    names = ["a.jpg", "b.JPEG", "c.png", "d.tif", "e.TIFF", "f.dcm", "g.DICOM"]
    for name in (*names, "notes.txt", "table.csv", "README", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    bare = ["IM0001", "1.2.840.113619.2.5"]
    for name in (*bare, "scan.bak", ".hidden", "DICOMDIR"):
        dicom(tmp_path / name, RAMP)
    found = sorted(path.name for path in tmp_path.iterdir() if is_image(path))
    assert found == sorted(names + bare)
    assert not is_image(tmp_path / "gone")


def test_damaged_files_are_refused_or_read_and_nothing_else_happens(tmp_path):
    random = np.random.default_rng(0)
    image, whole = Image.fromarray(RAMP), []
    for kind, options in (
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ):
        stream = io.BytesIO()
        image.convert("RGB" if options else "L").save(stream, kind, **options)
        whole.append(stream.getvalue())
    for turn in range(300):
        content = bytearray(whole[turn % len(whole)])
        for place in random.integers(0, len(content), random.integers(1, 9)):
            content[place] = random.integers(256)
        if turn % 4 == 0:
            del content[random.integers(len(content)) :]
        (tmp_path / "a").write_bytes(content)
        try:
            assert read_for_scoring(tmp_path / "a")[0].mode == "L"
        except ImageError:
            continue
