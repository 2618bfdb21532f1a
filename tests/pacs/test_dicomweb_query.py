import pytest

from cxrtool.core.errors import UsageError
from cxrtool.pacs.dicomweb_query import differs, parse_query


def test_keys_are_asked_where_they_belong():
    query = parse_query("Modality=DX, StudyDate=20261101-20261127,ViewPosition=PA")
    assert query.studies == {"StudyDate": "20261101-20261127", "ModalitiesInStudy": "DX"}
    assert query.series == {"Modality": "DX"}
    assert query.images == {"ViewPosition": "PA"}


@pytest.mark.parametrize("key", ["Modality", "modality", "00080060", "(0008,0060)", "0008,0060)"])
def test_a_key_is_a_keyword_or_a_tag(key):
    assert parse_query(f"{key}=DX").keys == {"Modality": "DX"}


@pytest.mark.parametrize("date", ["20261127", "20261101-20261127", "20261101-", "-20261127"])
def test_a_date_may_be_a_range(date):
    assert parse_query(f"StudyDate={date}").studies == {"StudyDate": date}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Modalty=DX", r"'Modalty' is not a DICOM keyword \(did you mean Modality"),
        ("hospital=x", r"'hospital' is not a DICOM keyword"),
        ("00099999=x", "is not a tag of the DICOM standard"),
        ("StudyDate=2026-11-27", "StudyDate has to be a date such as 20261127"),
        ("StudyDate=today", "StudyDate has to be a date"),
        ("Modality=", "Modality has no value"),
        ("", "is not KEY=VALUE"),
        ("Modality=DX,", "is not KEY=VALUE"),
        ("Modality=DX,Modality=CR", "give --query twice"),
        ("PixelData=1", "nothing can be searched by PixelData"),
    ],
)
def test_what_is_no_query_says_what_is(text, message):
    with pytest.raises(UsageError, match=message):
        parse_query(text)


def test_what_was_understood_names_no_patient():
    text = str(parse_query("PatientID=ID-4711,PatientName=Testperson*,Modality=DX"))
    assert text == (
        "studies with PatientID as given and PatientName as given and ModalitiesInStudy=DX, "
        "series with Modality=DX, any images"
    )


def test_plain_values_are_compared():
    assert differs("Modality", "DX", "CR")
    assert not differs("Modality", "DX", "DX ")
    assert not differs("Modality", "D?", "CR")
    assert not differs("Modality", "DX", "")
    assert not differs("StudyDate", "20261101-20261127", "20261105")
    assert not differs("PatientName", "doe^jane", "Doe^Jane")
