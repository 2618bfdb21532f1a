"""A picture that lies otherwise is put upright, as its header says."""

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.dicom.orientation import TURNS, Upright
from cxrtool.images.film import film_content
from cxrtool.images.reading import decode, read_for_scoring, read_header
from tests.support.dicom_greys import DEEP, differs, greys, stretched, warning
from tests.support.dicoms import dicom

FRONTAL = stretched(DEEP)
"""Upright: the patient's left is right, the feet are below."""
LYING = {
    ("L", "F"): FRONTAL,
    ("R", "F"): FRONTAL[:, ::-1],
    ("L", "H"): FRONTAL[::-1],
    ("R", "H"): FRONTAL[::-1, ::-1],
    ("F", "L"): FRONTAL.T,
    ("H", "L"): FRONTAL[::-1].T,
    ("F", "R"): FRONTAL[:, ::-1].T,
    ("H", "R"): FRONTAL[::-1, ::-1].T,
}
"""The same picture as a file may hold it: what its rows run to, and its columns."""


def lying(path, orientation, **more):
    pixels = np.rint(LYING[orientation] / 255 * 4095).astype(np.uint16)
    return dicom(path, pixels, 12, PatientOrientation=list(orientation), **more)


@pytest.mark.parametrize("orientation", LYING)
def test_a_frontal_picture_is_put_upright_and_it_is_told(tmp_path, orientation):
    path = lying(tmp_path / "a.dcm", orientation)
    assert differs(path, FRONTAL) <= 0.6
    row, column = orientation
    told = f"put upright by its Patient Orientation ({row}\\{column})"
    assert warning(path) == ("" if orientation == ("L", "F") else told)
    assert decode(path).warning == warning(path)
    assert read_header(path) == (56, 40, "MONOCHROME2", warning(path))


@pytest.mark.parametrize(
    ("orientation", "made"),
    [
        (["A", "F"], lambda stored: stored),
        (["P", "F"], lambda stored: stored),
        (["P", "H"], lambda stored: stored[::-1]),
        (["F", "A"], lambda stored: stored.T),
        (["H", "P"], lambda stored: stored.T[::-1]),
        (["AL", "HP"], lambda stored: stored[::-1]),
    ],
)
def test_a_lateral_picture_may_face_either_side(tmp_path, orientation, made):
    path = dicom(tmp_path / "a.dcm", DEEP, 12, PatientOrientation=orientation)
    assert differs(path, made(FRONTAL)) <= 0.51
    assert "a lateral view by its Patient Orientation" in warning(path).split("; ")


def test_a_direction_may_be_oblique(tmp_path):
    path = dicom(tmp_path / "a.dcm", DEEP, 12, PatientOrientation=["RP", "FA"])
    assert differs(path, FRONTAL[:, ::-1]) <= 0.51


@pytest.mark.parametrize("orientation", [["L", "P"], ["H", "F"], ["A", "R"]])
def test_another_view_is_left_as_it_is_and_told(tmp_path, orientation):
    path = dicom(tmp_path / "a.dcm", DEEP, 12, PatientOrientation=orientation)
    assert differs(path, FRONTAL) <= 0.51
    row, column = orientation
    told = f"its Patient Orientation ({row}\\{column}) is of neither a frontal nor a lateral view"
    assert told in warning(path).split("; ")


@pytest.mark.parametrize(
    "orientation", [None, "", "R", ["R", ""], ["TESTPERSON", "F"], list("RFL")]
)
def test_where_nothing_is_known_nothing_is_done(tmp_path, orientation):
    path = dicom(tmp_path / "a.dcm", DEEP, 12, PatientOrientation=orientation)
    assert differs(path, FRONTAL) <= 0.51
    assert warning(path) == ""


@pytest.mark.parametrize("orientation", LYING)
@pytest.mark.parametrize("spacing", ["PixelSpacing", "ImagerPixelSpacing"])
def test_a_film_is_put_upright_with_its_scale_and_its_sides(tmp_path, orientation, spacing):
    upright = orientation[1] in "FH"
    path = lying(
        tmp_path / "a.dcm", orientation, **{spacing: [0.1, 0.2] if upright else [0.2, 0.1]}
    )
    film = film_content("a.dcm", path.read_bytes())
    assert film.grey.size == (56, 40)
    assert film.values.shape == (40, 56)
    assert np.abs(film.values / film.values.max() * 255 - FRONTAL).max() <= 0.6
    assert (np.asarray(film.grey) == greys(path)).all()
    assert film.spacing == (0.1, 0.2)
    assert film.sides == ("R", "L")


def test_colours_are_put_upright_too(tmp_path):
    colours = np.stack([(DEEP >> 4).astype(np.uint8)] * 3, axis=-1)
    path = dicom(tmp_path / "a.dcm", colours, PatientOrientation=["F", "R"])
    expected = Image.fromarray(colours).convert("L").transpose(Image.Transpose.ROTATE_270)
    assert (greys(path) == np.asarray(expected)).all()
    assert read_for_scoring(path)[0].size == (40, 56)


@pytest.mark.parametrize("turn", TURNS.values(), ids=str)
def test_a_place_of_the_upright_picture_is_found_in_the_stored_one(turn):
    stored = np.arange(30, dtype=np.uint8).reshape(5, 6)
    image = Image.fromarray(stored)
    shown = np.asarray(image if turn is None else image.transpose(turn))
    rows, columns = shown.shape
    for down, across in np.ndindex(rows, columns):
        place = (across + 0.5) / columns, (down + 0.5) / rows
        x, y = Upright(turn, None, "").stored_place(*place)
        assert stored[int(y * 5), int(x * 6)] == shown[down, across]
