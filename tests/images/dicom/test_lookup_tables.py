"""Look-up tables as programs write them."""

import numpy as np
import pytest

from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.lookup_tables import read_table
from tests.support.dicom_greys import DEEP, differs
from tests.support.dicoms import dataset, dicom, table


@pytest.mark.parametrize(
    ("bits", "greatest", "white"),
    [
        (16, 4095, 4095),  # 12 bits, said to be 16
        (16, 4096, 4096),  # one above 12 bits: half dark, if it were taken for 13
        (16, 4000, 4095),
        (16, 2600, 2600),
        (12, 2600, 4095),
        (12, 2047, 2047),
        (10, 4095, 4095),
    ],
)
def test_a_voi_table_ends_in_white_where_its_depth_is_not_what_it_says(
    tmp_path, bits, greatest, white
):
    entries = (np.arange(4096) / 4095 * greatest).round()
    path = dicom(tmp_path / "a.dcm", DEEP, 12, VOILUTSequence=table(0, bits, entries))
    assert differs(path, entries[DEEP] / white * 255) <= 0.51


@pytest.mark.parametrize(("first", "bits"), [(0, 16), (0, 12), (500, 12), (1000, 8)])
def test_a_voi_table_wins_over_a_window(tmp_path, first, bits):
    entries = ((np.arange(3000) / 2999) ** 2 * (2**bits - 1)).astype(int)
    elements = {"VOILUTSequence": table(first, bits, entries)}
    path = dicom(tmp_path / "a.dcm", DEEP, 12, WindowCenter=9, WindowWidth=3, **elements)
    places = [min(max(value - first, 0), 2999) for value in DEEP.ravel().tolist()]
    expected = entries[places].reshape(DEEP.shape) / (2**bits - 1) * 255
    assert differs(path, expected) <= 0.51


def test_a_voi_table_begins_below_zero(tmp_path):
    entries = np.arange(4096)
    pixels = DEEP.astype(np.int16) - 2048
    elements = {"VOILUTSequence": table(-2048, 12, entries)}
    path = dicom(tmp_path / "a.dcm", pixels, 12, **elements)
    assert differs(path, DEEP / 4095 * 255) <= 0.51


@pytest.mark.parametrize(
    ("keyword", "value", "told"),
    [
        ("LUTDescriptor", None, "is missing"),
        ("LUTDescriptor", [4096, 0], "is damaged"),
        ("LUTData", b"", "is empty"),
    ],
)
def test_a_table_that_is_damaged_is_refused(keyword, value, told):
    made = dataset(DEEP, 12, VOILUTSequence=table(0, 12, np.arange(4096)))
    item = made.VOILUTSequence[0]
    if value is None:
        del item[keyword]
    else:
        item[keyword].value = value
    with pytest.raises(DicomError, match=told):
        read_table(item, made, "LUTDescriptor", "LUTData", np.arange(4096.0))
