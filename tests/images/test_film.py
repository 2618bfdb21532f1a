"""A film for display: what its first presentation shows is what the network is given."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.apart import Apart
from cxrtool.images.errors import ImageError
from cxrtool.images.film import film_content, read_film, warm_up
from cxrtool.images.presentations import AS_STORED, FULL_RANGE, Table, Window
from cxrtool.images.reading import read_content, read_for_scoring
from tests.support.apart import FILM, content
from tests.support.dicom_greys import DEEP, SHALLOW, palette
from tests.support.dicoms import NAME, NUMBER, dataset, table
from tests.support.greys import plain_tiff
from tests.support.windows import displayed

SIGNED = DEEP.astype(np.int16) - 2048
CURVE = ((np.arange(3000) / 2999) ** 2 * 4095).astype(int)
WINDOW = {"WindowCenter": 1500, "WindowWidth": 900}
WHITE = {"PhotometricInterpretation": "MONOCHROME1"}


def sent(pixels, bits=None, **elements):
    """A DICOM as it is uploaded."""
    file = io.BytesIO()
    dataset(pixels, bits, **elements).save_as(file, enforce_file_format=True)
    return file.getvalue()


def rotated(kind, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    return content(kind, pixels, exif=exif)


def voi(*tables):
    """Several look-up tables, each with its explanation."""
    first, *others = (table(start, 12, CURVE, LUTExplanation=name) for name, start in tables)
    first.extend(one for other in others for one in other)
    return {"VOILUTSequence": first}


UPLOADS = {
    "without a window": sent(DEEP, 12),
    "white is zero": sent(DEEP, 12, **WHITE),
    "8 bits": sent(SHALLOW),
    "signed": sent(SIGNED, 12),
    "signed, 8 bits": sent(SHALLOW.view(np.int8), WindowCenter=5, WindowWidth=90),
    "one value": sent(np.full_like(DEEP, 700), 12),
    "window": sent(DEEP, 12, **WINDOW),
    "window, white is zero": sent(DEEP, 12, **WINDOW, **WHITE),
    "window one value wide": sent(DEEP, 12, WindowCenter=2000.5, WindowWidth=1),
    "narrow window": sent(DEEP, 12, WindowCenter=[0, 1500], WindowWidth=[0, 900]),
    "rescaled": sent(SIGNED, 12, RescaleSlope=2.5, RescaleIntercept=100, **WINDOW),
    "falling": sent(SIGNED, 12, RescaleSlope=-0.1, RescaleIntercept=7, **WINDOW),
    "exact": sent(SIGNED, 12, VOILUTFunction="LINEAR_EXACT", **WINDOW),
    "sigmoid": sent(DEEP, 12, VOILUTFunction="SIGMOID", **WINDOW, **WHITE),
    "table": sent(DEEP, 12, **voi(("A", 500)), **WINDOW),
    "table, white is zero": sent(SIGNED, 12, **voi(("A", -700)), **WHITE),
    "modality table": sent(
        DEEP, 12, ModalityLUTSequence=table(0, 16, CURVE[::-1] + 9, ModalityLUTType="US"), **WINDOW
    ),
    "both tables": sent(
        SIGNED,
        12,
        ModalityLUTSequence=table(-2048, 16, CURVE + 900, ModalityLUTType="US"),
        **voi(("A", 1000)),
    ),
    "padding": sent(np.where(DEEP < 900, 4095, DEEP // 2), 12, PixelPaddingValue=4095),
    "palette": sent(SHALLOW, **palette(np.stack([np.arange(256)] * 3, axis=1))),
    "colour": sent(np.stack([SHALLOW, SHALLOW[::-1], SHALLOW], axis=-1)),
    "JPEG": content("JPEG"),
    "rotated JPEG": rotated("JPEG", FILM),
    "colour PNG": content("PNG", np.stack([FILM, FILM[::-1], FILM], axis=-1)),
    "16-bit PNG": content("PNG", DEEP),
    "rotated 16-bit PNG": rotated("PNG", DEEP),
    "8 bits in 16": content("PNG", (FILM // 8).astype(np.uint16) * 257),
    "16-bit TIFF, white is zero": plain_tiff(DEEP.astype("<u2"), 0),
    "float TIFF": content("TIFF", (DEEP / 4095).astype(np.float32)),
    "float TIFF with a hole": content("TIFF", np.where(DEEP < 600, -1e30, DEEP).astype(np.float32)),
    "int TIFF": content("TIFF", SIGNED.astype(np.int32)),
    "32-bit TIFF": content("TIFF", DEEP.astype(np.int32) * 250_000),
}


def film_of(name):
    """Decoded in this process, which is faster."""
    return film_content("a", UPLOADS[name])


@pytest.mark.parametrize("name", UPLOADS)
def test_what_is_shown_at_first_is_what_the_network_is_given(name):
    film, scored = film_of(name), read_content("a", UPLOADS[name], look=True)
    grey = np.asarray(scored.grey)
    assert (np.asarray(film.grey) == grey).all()
    assert film.warning == scored.warning
    assert film.values.shape == grey.shape
    assert np.abs(displayed(film) - grey).max() <= 1
    # All others can be drawn too, and none is listed twice.
    for number in range(len(film.presentations)):
        assert displayed(film, number).shape == film.values.shape
    assert len(set(film.presentations)) == len(film.presentations)


@pytest.mark.parametrize("name", ["both tables", "8 bits", "rotated JPEG", "16-bit PNG"])
def test_what_was_sent_is_the_same_film_decoded_apart(name):
    sent, here = read_film("a", UPLOADS[name]), film_of(name)
    assert (sent.values == here.values).all()
    assert (np.asarray(sent.grey) == np.asarray(here.grey)).all()
    arrays = {"values", "grey"}
    for field in vars(here).keys() - arrays:
        assert getattr(sent, field) == getattr(here, field), field


@pytest.mark.parametrize("name", ["JPEG", "float TIFF", "sigmoid"])
def test_what_was_sent_is_scored_like_a_file(name, tmp_path):
    (tmp_path / "a").write_bytes(UPLOADS[name])
    film, (grey, warning) = read_film("a", UPLOADS[name]), read_for_scoring(tmp_path / "a")
    assert (np.asarray(film.grey) == np.asarray(grey)).all()
    assert film.warning == warning


@pytest.mark.parametrize("name", ["window", "signed", "rescaled", "table", "16-bit PNG"])
def test_the_film_is_at_full_depth(name):
    film = film_of(name)
    values = film.slope * film.values.astype(float) + film.intercept
    stored = SIGNED if name in ("signed", "rescaled") else DEEP
    expected = stored * 2.5 + 100 if name == "rescaled" else stored
    assert film.values.dtype == np.uint16
    assert (values == expected).all()


def test_a_modality_table_is_in_the_values():
    film = film_of("modality table")
    expected = (CURVE[::-1] + 9)[np.minimum(DEEP, 2999)]
    assert (film.slope * film.values + film.intercept == expected).all()


@pytest.mark.parametrize("name", ["8 bits", "signed, 8 bits", "palette", "colour", "JPEG"])
def test_eight_bits_stay_eight(name):
    assert read_film("a", UPLOADS[name]).values.dtype == np.uint8


@pytest.mark.parametrize("name", ["palette", "colour", "JPEG", "rotated JPEG", "colour PNG"])
def test_what_has_no_more_depth_is_shown_as_stored(name):
    film = film_of(name)
    assert [one.name for one in film.presentations] == [AS_STORED]
    assert (film.values == np.asarray(film.grey)).all()
    assert (film.slope, film.intercept, film.white_is_zero) == (1, 0, False)


def test_float_pixels_keep_their_values_within_a_step():
    film = film_of("float TIFF")
    values = film.slope * film.values + film.intercept
    assert np.abs(values - DEEP / 4095).max() < 1e-5


@pytest.mark.parametrize("name", ["float TIFF with a hole", "32-bit TIFF"])
def test_what_16_bits_do_not_hold_keeps_more_greys_than_8_bits_have(name):
    film = film_of(name)
    full = film.presentations[0].width
    assert film.slope < full / 255 / 10
    assert len(np.unique(film.values)) > 1000


def test_all_tables_and_windows_are_listed_by_their_names():
    names = ["bone\x07", "x" * 60, ""]
    windows = {"WindowCenter": [1000, 2000, 3000], "WindowWidth": [500, 800, 0]}
    upload = sent(
        DEEP,
        12,
        **windows,
        WindowCenterWidthExplanation=names,
        **voi(("standard", 0), ("soft", 500)),
    )
    film = film_content("a", upload)
    assert [one.name for one in film.presentations] == [
        "standard",
        "soft",
        "bone",
        "x" * 40,
        FULL_RANGE,
    ]
    assert [type(one) for one in film.presentations] == [Table] * 2 + [Window] * 3
    assert film.warning == ""  # the third window has no width, but nobody was shown it


def test_windows_without_names_are_numbered_and_the_function_is_all_windows():
    windows = {"WindowCenter": [1000, 2000], "WindowWidth": [500, 800]}
    film = film_content("a", sent(DEEP, 12, **windows, VOILUTFunction="SIGMOID"))
    assert [(one.name, one.function) for one in film.presentations] == [
        ("window 1", "SIGMOID"),
        ("window 2", "SIGMOID"),
        (FULL_RANGE, "LINEAR_EXACT"),
    ]


def test_a_narrow_first_window_gives_way_to_the_second():
    film = film_of("narrow window")
    assert [one.name for one in film.presentations] == ["window 2", FULL_RANGE]
    assert film.warning == "its window 1 is 0 wide: shown by its window 2"


def test_what_is_damaged_beside_the_first_presentation_is_left_out():
    """A program that shows the first would never have met it, and neither does scoring."""
    lone = voi(("A", 0), ("B", 0))
    del lone["VOILUTSequence"][1].LUTData
    upload = sent(DEEP, 12, **lone, WindowCenter=2000, WindowWidth=0)
    film = film_content("a", upload)
    assert [one.name for one in film.presentations] == ["A", FULL_RANGE]
    assert film.warning == ""


def test_the_full_range_leaves_padding_out():
    film = film_of("padding")
    (window,) = film.presentations
    assert window.centre + window.width / 2 == DEEP.max() // 2


def test_the_full_range_of_a_modality_table_is_of_the_values_that_occur():
    entries = np.where(np.arange(4096) % 2, 60_000, np.arange(4096))
    lone = table(0, 16, entries, ModalityLUTType="US")
    film = film_content("a", sent(DEEP // 2 * 2, 12, ModalityLUTSequence=lone))
    (window,) = film.presentations
    assert window.centre + window.width / 2 == DEEP.max() // 2 * 2


def test_the_header_says_scale_sides_and_study_and_nothing_of_the_patient():
    elements = {
        "PixelSpacing": [0.15, 0.2],
        "PatientOrientation": ["L", "F"],
        "StudyInstanceUID": "1.2.3",
    }
    film = read_film("a", sent(DEEP, 12, **elements))
    assert (film.spacing, film.sides, film.study) == ((0.15, 0.2), ("R", "L"), "1.2.3")
    said = repr(film)
    assert NAME not in said
    assert NUMBER not in said


def test_a_picture_has_no_header():
    film = read_film("a.png", content())
    assert (film.spacing, film.sides, film.study) == (None, ("", ""), "")


def bomb():
    """A PNG that says 60,000 x 60,000 pixels."""
    whole = content()
    head = (60_000).to_bytes(4, "big") * 2 + whole[24:29]
    return whole[:16] + head + zlib.crc32(b"IHDR" + head).to_bytes(4, "big") + whole[33:]


BAD = {
    "bomb": bomb(),
    "bomb.dcm": sent(DEEP, 12, Rows=60_000, Columns=60_000),
    "broken.png": content()[:40],
    "broken.dcm": sent(DEEP, 12)[:-999],
    "text.txt": b"a letter to the radiologist",
    "empty": b"",
    "sign.dcm": sent(DEEP, 12, PixelRepresentation=2),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_the_same_error_as_for_scoring(name):
    with pytest.raises(ImageError) as scored:
        read_content(name, BAD[name], look=True)
    with pytest.raises(ImageError) as shown:
        read_film(name, BAD[name])
    assert str(shown.value) == str(scored.value)
    assert type(shown.value) is type(scored.value)


def test_the_first_upload_need_not_wait_for_the_process_that_decodes(monkeypatch):
    apart = Apart()
    monkeypatch.setattr("cxrtool.images.reading.APART", apart)
    warm_up()
    assert [one.alive for one in apart._idle[True]] == [True]
    apart.close()
