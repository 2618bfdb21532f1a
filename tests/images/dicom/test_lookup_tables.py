"""Look-up tables as programs write them."""

import numpy as np
import pytest
from pydicom import uid

from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.lookup_tables import read_table
from tests.support.dicom_greys import DEEP, differs
from tests.support.dicoms import dataset, dicom, saved, table
from tests.support.lossless import wavy


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


def rising(count, bits=12):
    """A table that is not straight, so that it is not taken for the full range."""
    return ((np.arange(count) / (count - 1)) ** 2 * (2**bits - 1)).round().astype(int)


@pytest.mark.parametrize(
    ("representation", "entries"),
    [
        ("OW", rising(4096)),
        ("US", rising(4096)),
        ("UN", rising(4096)),
        ("SS", rising(4096, 16)),  # its upper half is written as negative
        ("OW", rising(4096, 8)),  # 8 bits, each in a word
    ],
)
def test_entries_may_have_any_representation(tmp_path, representation, entries):
    bits = int(entries.max()).bit_length()
    made = dataset(DEEP, 12, VOILUTSequence=table(0, bits, entries))
    words = entries.astype("<u2")
    content = words.astype("<i2") if representation == "SS" else words
    whole = representation in ("OW", "UN")
    value = words.tobytes() if whole else content.tolist()
    made.VOILUTSequence[0].add_new("LUTData", representation, value)
    path = saved(tmp_path / "a.dcm", made)
    assert differs(path, entries[DEEP] / (2**bits - 1) * 255) <= 0.51


def test_a_table_of_all_values_says_that_it_has_none(tmp_path):
    """65,536 does not fit into 16 bits, and is written as 0 (C.11.1.1)."""
    pixels, entries = wavy(40, 56, 16), rising(65536, 16)
    lone = table(0, 16, entries)
    assert lone[0].LUTDescriptor[0] == 0
    path = dicom(tmp_path / "a.dcm", pixels, 16, VOILUTSequence=lone)
    assert differs(path, entries[pixels] / 65535 * 255) <= 0.51


def test_a_table_may_begin_in_the_middle(tmp_path):
    pixels, entries = wavy(40, 56, 15) | 32768, rising(32768)
    path = dicom(tmp_path / "a.dcm", pixels, 16, VOILUTSequence=table(32768, 12, entries))
    assert differs(path, entries[pixels - 32768] / 4095 * 255) <= 0.51


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_a_first_value_below_zero_may_be_written_without_its_sign(tmp_path, syntax):
    entries = rising(4096)
    made = dataset(DEEP, 12, syntax, VOILUTSequence=table(65536 - 1024, 12, entries))
    made.RescaleSlope, made.RescaleIntercept = 1, -1024
    assert differs(saved(tmp_path / "a.dcm", made), entries[DEEP] / 4095 * 255) <= 0.51


def test_a_table_of_a_quarter_is_looked_up_by_rescaled_values(tmp_path):
    entries = rising(1024)
    made = dataset(DEEP, 12, VOILUTSequence=table(0, 12, entries))
    made.RescaleSlope, made.RescaleIntercept = 0.25, 0
    expected = entries[np.clip(np.rint(DEEP * 0.25), 0, 1023).astype(int)] / 4095 * 255
    assert differs(saved(tmp_path / "a.dcm", made), expected) <= 0.51
