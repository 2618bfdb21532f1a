"""Tables of human readers: whose they are, what they name, and what is refused."""

import gzip
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.errors import DataError, UsageError
from cxrtool.evaluation.sample import Sample, by_study
from cxrtool.evaluation.tables.readings import read_readings

STUDIES = [f"patient{number:05d}/study1" for number in range(1, 5)]


@pytest.fixture
def sample():
    """Four studies, the first with two images."""
    studies = [STUDIES[0], *STUDIES]
    views = [2, 1, 1, 1, 1]
    paths = [
        f"CheXpert-v1.0/test/{study}/view{view}_frontal.jpg"
        for study, view in zip(studies, views, strict=True)
    ]
    return Sample(
        labels=("Edema", "Fracture"),
        keys=np.array(paths),
        patients=np.array([study[:12] for study in studies]),
        studies=np.array(studies),
        targets=np.zeros((5, 2), bool),
        mask=np.ones((5, 2), bool),
        scores=np.zeros((5, 2)),
    )


def written(folder, name, **columns):
    path = folder / name
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def read(files, sample, unit, policy="ones"):
    return read_readings(
        files, by_study(sample, "mean") if unit == "study" else sample, unit, policy
    )


def test_each_file_is_a_reader_and_its_rows_are_found_by_their_study(tmp_path, sample):
    # The test set's layout: studies with the folder before them, in another order.
    keys = [f"CheXpert-v1.0/test/{study}" for study in reversed(STUDIES)]
    one = written(tmp_path, "bc4.csv", Study=keys, Edema=[1, 0, 0, 0], Fracture=[0, 0, 1, ""])
    two = tmp_path / "bc6.csv.gz"
    two.write_bytes(gzip.compress(one.read_bytes()))
    found = read([one, two], sample, "study")
    assert [reader.name for reader in found.readers] == ["bc4", "bc6"]
    for reader in found.readers:
        assert reader.called.tolist() == [[0, 0], [0, 1], [0, 0], [1, 0]]
        # A blank was not read.
        assert reader.read.tolist() == [[1, 0], [1, 1], [1, 1], [1, 1]]
    assert found.notes == ()


def test_a_column_names_the_readers(tmp_path, sample):
    path = written(
        tmp_path,
        "all.csv",
        Reader=["Ada", "Bea", "Ada"],
        study=[STUDIES[1], STUDIES[1], STUDIES[2]],
        Edema=[1, 0, 1],
    )
    ada, bea = read([path], sample, "study").readers
    assert (ada.name, bea.name) == ("Ada", "Bea")
    assert ada.called[:, 0].tolist() == [0, 1, 1, 0]
    assert bea.read[:, 0].tolist() == [0, 1, 0, 0]
    assert not ada.read[:, 1].any()


def test_images_that_were_read_make_a_study_positive_if_one_is(tmp_path, sample):
    path = written(tmp_path, "a.csv", path=sample.keys, Edema=[0, 1, 0, 0, 0])
    (reader,) = read([path], sample, "study").readers
    assert reader.called[:, 0].tolist() == [1, 0, 0, 0]
    assert read([path], sample, "image").readers[0].called[:, 0].tolist() == [0, 1, 0, 0, 0]


@pytest.mark.parametrize(("policy", "called", "read_it"), [
    ("ones", True, True), ("zeros", False, True), ("ignore", False, False),
])  # fmt: skip
def test_an_uncertain_label_counts_as_in_the_truth(tmp_path, sample, policy, called, read_it):
    path = written(tmp_path, "a.csv", study=STUDIES, Edema=[-1, 0, 0, 0])
    (reader,) = read([path], sample, "study", policy).readers
    assert (reader.called[0, 0], reader.read[0, 0]) == (called, read_it)


def test_rows_of_other_studies_are_counted(tmp_path, sample):
    path = written(tmp_path, "a.csv", study=[*STUDIES, "patient09999/study1"], Edema=[0] * 5)
    assert read([path], sample, "study").notes == (
        "a.csv: 1 row of a left out, which are not among those that are scored",
    )


def test_what_cannot_be_matched_is_refused(tmp_path, sample):
    others = written(tmp_path, "a.csv", study=["patient09999/study1"], Edema=[1])
    with pytest.raises(DataError, match="none of its 1 row is among those that are scored"):
        read([others], sample, "study")
    with pytest.raises(DataError, match="has none of the labels"):
        read([written(tmp_path, "b.csv", study=STUDIES, Cough=[1] * 4)], sample, "study")
    with pytest.raises(DataError, match="names no image or study"):
        read([written(tmp_path, "c.csv", Day=[1] * 4, Edema=[1] * 4)], sample, "study")
    twice = written(tmp_path, "d.csv", study=[STUDIES[0]] * 2, Edema=[1, 0])
    with pytest.raises(DataError, match="more than once"):
        read([twice], sample, "study")
    good = written(tmp_path, "e.csv", study=STUDIES, Edema=[1] * 4)
    with pytest.raises(DataError, match="e is there twice"):
        read([good, good], sample, "study")
    odd = written(tmp_path, "f.csv", study=STUDIES, Edema=[1, 0, 0, 2])
    with pytest.raises(DataError, match="other than 1, 0, -1 or blank"):
        read([odd], sample, "study")
    nobody = written(tmp_path, "g.csv", reader=["Ada", ""], study=STUDIES[:2], Edema=[1, 0])
    with pytest.raises(DataError, match="1 rows name no reader"):
        read([nobody], sample, "study")


def test_studies_are_no_images(tmp_path, sample):
    path = written(tmp_path, "a.csv", study=STUDIES, Edema=[1, 0, 0, 0])
    with pytest.raises(UsageError, match="add --unit study"):
        read([path], sample, "image")
    # Where each study has one image, it can be only that one.
    alone = replace(
        sample,
        **{
            name: getattr(sample, name)[1:]
            for name in ("keys", "patients", "studies", "targets", "mask", "scores")
        },
    )
    assert read([path], alone, "image").readers[0].called[:, 0].tolist() == [1, 0, 0, 0]
