from types import SimpleNamespace

import numpy as np
import pytest
from pydicom.uid import generate_uid

from cxrtool import __version__
from cxrtool.core.errors import DataError
from cxrtool.data.prediction_rows import IDS, PROVENANCE
from cxrtool.inference.more_columns import columns_asked
from tests.support.dicoms import dicom


@pytest.fixture
def ensemble():
    members = [
        SimpleNamespace(fingerprint="aa", operating_point="youden"),
        SimpleNamespace(fingerprint="bb", operating_point="youden"),
    ]
    return SimpleNamespace(
        members=members, name="one + two", thresholds={"Edema": 0.25, "Fracture": None}
    )


def test_provenance_says_what_a_row_was_made_with(ensemble):
    columns = columns_asked(ensemble, ids=False, provenance=True)
    found = columns.of("x.png")
    assert tuple(found) == columns.names == PROVENANCE
    assert found["model"] == "one + two"
    assert found["weights_sha256"] == "aa + bb"
    assert found["operating_point"] == "youden"
    assert found["thresholds"] == "Edema=0.25"
    assert found["cxrtool_version"] == __version__
    assert found["scored_at"].endswith("+00:00")


def test_identifiers_are_read_only_where_they_are_asked_for(ensemble, tmp_path):
    study = generate_uid()
    file = dicom(tmp_path / "x.dcm", np.zeros((8, 8), np.uint8), StudyInstanceUID=study)
    assert columns_asked(ensemble, ids=False, provenance=False).of(file) == {}
    found = columns_asked(ensemble, ids=True, provenance=False).of(file)
    assert tuple(found) == IDS
    assert found["study_instance_uid"] == study
    nothing = columns_asked(ensemble, ids=True, provenance=False).of(tmp_path / "x.png")
    assert set(nothing.values()) == {""}


def test_a_label_may_not_be_called_like_a_column(ensemble):
    with pytest.raises(DataError, match="view"):
        columns_asked(ensemble, ids=True, provenance=False).check(["Edema", "view"])
    columns_asked(ensemble, ids=False, provenance=True).check(["Edema", "view"])
