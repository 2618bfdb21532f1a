import numpy as np
import pytest
from highdicom.sr import Comprehensive3DSR
from PIL import Image
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from cxrtool.images.dicom.orientation import upright
from cxrtool.images.heat_grid import Cells, HeatMap
from cxrtool.pacs.instances import dicom_file
from cxrtool.pacs.presentation_state import presentation_states
from cxrtool.pacs.structured_report import structured_report
from tests.support.dicoms import NAME
from tests.support.studies import (
    STUDY,
    cr,
    dx,
    errors_of_the_standard,
    findings,
    heat,
    read_back,
    study,
    study_image,
)

LABELS = ["Edema", "Pleural Effusion", "Fracture", "No Finding"]
CELLS = Cells(0.125, 0.25)


def image(made=None, at=(1, 2), **options):
    """Edema and Pleural Effusion are positive; the first one's place is known."""
    fields = {"findings": findings([0.9, 0.8, 0.1, 0.7], LABELS), "heat": {"Edema": heat(at)}}
    return study_image(made, **fields | options)


def marked(*images):
    given = study(*(images or (image(),)))
    return [read_back(dicom_file(one)) for one in presentation_states(given)]


def marks_of(made):
    (annotation,) = made.GraphicAnnotationSequence
    return annotation.GraphicObjectSequence, annotation.TextObjectSequence


def test_a_positive_finding_whose_place_is_known_is_a_circle_with_a_text():
    (made,) = marked()
    (circle,), (text,) = marks_of(made)
    # Columns 48, rows 60: the third cell of four across, the second down.
    assert circle.GraphicType == "CIRCLE"
    assert circle.GraphicData == pytest.approx([30, 22.5, 36, 22.5])
    assert circle.GraphicAnnotationUnits == "PIXEL"
    assert text.UnformattedTextValue == "Edema 0.900"
    left, top, right, bottom = (
        *text.BoundingBoxTopLeftHandCorner,
        *text.BoundingBoxBottomRightHandCorner,
    )
    assert 0 <= left < right <= 48
    assert 0 <= top < bottom <= 60
    assert right < 30 or left > 36


@pytest.mark.parametrize(
    "orientation",
    [
        *(["L", "F"], ["R", "F"], ["L", "H"], ["R", "H"]),
        *(["F", "L"], ["H", "L"], ["F", "R"], ["H", "R"]),
        None,
    ],
)
def test_the_circle_is_where_the_upright_picture_has_its_peak(orientation):
    """Whatever way it is stored: a bright place is followed through Pillow's own turns."""
    stored = np.zeros((60, 48), np.uint8)
    stored[40:48, 6:12] = 255
    made = dx(PatientOrientation=orientation)
    turn = upright(made).turn
    shown = Image.fromarray(stored)
    shown = np.asarray(shown if turn is None else shown.transpose(turn), np.float32)
    rows, columns = (length // 4 for length in shown.shape)
    values = shown[: 4 * rows, : 4 * columns].reshape(4, rows, 4, columns).mean((1, 3))
    given = image(made, heat={"Edema": HeatMap(values - 1, CELLS)})
    (circle,), _ = marks_of(marked(given)[0])
    x, y = circle.GraphicData[:2]
    assert abs(x - 9) <= 6
    assert abs(y - 44) <= 7.5


def test_findings_at_one_place_have_texts_under_each_other():
    given = image(heat={"Edema": heat(), "Pleural Effusion": heat(), "Fracture": heat()})
    circles, texts = marks_of(marked(given)[0])
    assert [one.UnformattedTextValue for one in texts] == ["Edema 0.900", "Pleural Effusion 0.800"]
    assert circles[0].GraphicData == circles[1].GraphicData
    first, second = (one.BoundingBoxTopLeftHandCorner[1] for one in texts)
    assert second >= texts[0].BoundingBoxBottomRightHandCorner[1] > first


def test_a_place_on_the_edge_has_its_marks_on_the_film():
    cells = Cells(-0.1, 0.4)
    values = np.zeros((4, 4), np.float32)
    for at in ((0, 0), (3, 3), (0, 3)):
        values[:] = 0
        values[at] = 1
        (circle,), (text,) = marks_of(marked(image(heat={"Edema": HeatMap(values, cells)}))[0])
        places = [*circle.GraphicData, *text.BoundingBoxTopLeftHandCorner]
        places += text.BoundingBoxBottomRightHandCorner
        assert all(0 <= place <= limit for place, limit in zip(places, [48, 60] * 4, strict=True))


def test_where_no_place_is_known_there_are_no_marks():
    nothing = HeatMap(np.zeros((4, 4), np.float32), CELLS)
    assert marked(image(heat={})) == []
    assert marked(image(heat={"Edema": nothing})) == []
    assert marked(image(findings=findings([0.1, 0.1, 0.1, 0.9], LABELS))) == []


def test_they_are_a_series_of_the_study_and_tied_to_its_report():
    first, second = image(), image()
    found = marked(first, second)
    assert [one.InstanceNumber for one in found] == [1, 2]
    assert len({one.SeriesInstanceUID for one in found}) == 1
    tracked = set()
    for given, made in zip((first, second), found, strict=True):
        assert made.SOPClassUID == GrayscaleSoftcopyPresentationStateStorage
        assert (made.StudyInstanceUID, str(made.PatientName)) == (STUDY, NAME)
        assert made.SeriesDescription == "AI marks, research only"
        (series,) = made.ReferencedSeriesSequence
        assert series.ReferencedImageSequence[0].ReferencedSOPInstanceUID == given.uid
        tracked |= {one.TrackingUID for one in marks_of(made)[0]}
    report = Comprehensive3DSR.from_dataset(
        read_back(dicom_file(structured_report(study(first, second))))
    )
    groups = report.content.get_image_measurement_groups()
    assert tracked < {one.tracking_uid for one in groups}


def test_the_film_is_shown_as_its_own_header_has_it():
    (made,) = marked(image(dx(WindowCenter=2000, WindowWidth=1500)))
    (shown,) = made.SoftcopyVOILUTSequence
    assert (shown.WindowCenter, shown.WindowWidth) == (2000, 1500)
    assert made.PresentationLUTShape == "IDENTITY"
    assert marked(image(dx(PhotometricInterpretation="MONOCHROME1")))[0].PresentationLUTShape == (
        "INVERSE"
    )


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"PatientOrientation": ["F", "R"], "BodyPartExamined": None},
        {"WindowCenter": [2000, 1800], "WindowWidth": [1500, 900]},
        {"RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "US"},
        {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"},
        {"PhotometricInterpretation": "MONOCHROME1"},
    ],
)
@pytest.mark.parametrize("film", [dx, cr])
def test_it_is_what_the_standard_says(film, elements, tmp_path):
    (made,) = presentation_states(study(image(film(**elements))))
    assert errors_of_the_standard(dicom_file(made), tmp_path) == []
