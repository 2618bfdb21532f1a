"""What is sent to archives in several tests."""

import pytest

from cxrtool.pacs.instances import dicom_file
from cxrtool.pacs.secondary_capture import secondary_captures
from cxrtool.pacs.structured_report import structured_report
from tests.support.dicoms import saved
from tests.support.studies import dx, study


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """A report and a picture of one study."""
    folder = tmp_path_factory.mktemp("results")
    given = study()
    made = [structured_report(given), next(iter(secondary_captures(given)))]
    files = [folder / "report.dcm", folder / "picture-1.dcm"]
    for file, one in zip(files, made, strict=True):
        file.write_bytes(dicom_file(one))
    return files


@pytest.fixture
def image(tmp_path):
    return saved(tmp_path / "image.dcm", dx())
