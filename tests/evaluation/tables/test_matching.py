"""Predictions beside the truth, by image or by study."""

import json

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.evaluation.tables.scores import read_score_table
from cxrtool.evaluation.tables.truth import read_truth_table
from tests.support.tables import (
    FIVE,
    TRUTH,
    chexpert,
    manifest,
    official_test,
    read,
    scores_of,
    short,
)


def test_the_public_test_labels_and_a_leaderboards_predictions(write):
    truth, scores = official_test()
    other = scores[["Study", *reversed(FIVE)]].sample(frac=1, random_state=0)
    at = write("groundtruth.csv", truth.to_csv(index=False).rstrip("\n").split("\n"))
    table = read_truth_table(at)
    assert (table.unit, table.dataset_part, table.laid_out, table.views) == (
        *("study", "test", "test"),
        (),
    )
    assert table.labels == CHEXPERT_LABELS
    assert table.keys[0] == "patient64741/study1"
    assert table.patients_known
    assert table.patients[:2].tolist() == ["patient64741", "patient64742"]
    assert read_score_table(write("q.csv", other), table).labels == FIVE
    matched = read(at, write("p.csv", scores), write("q.csv", other))
    assert matched.labels == FIVE
    assert matched.unit == "study"
    assert matched.aggregate is None
    assert matched.keys == table.keys
    np.testing.assert_array_equal(matched.raw, truth[list(FIVE)])
    for one in matched.scores:
        np.testing.assert_array_equal(one, scores[list(FIVE)])
    assert set(matched.missing.values()) == set(matched.extra.values()) == {0}
    lacking = [note for note in matched.notes if "no predictions of No Finding" in note]
    assert len(lacking) == len(matched.notes) == 2


def test_mimic_like_tables_match_by_study(write):
    lines = ["subject_id,study_id,Edema", "10000032,50414267,1.0", "10000032,53189527,"]
    table = read_truth_table(truth := write("t.csv", lines))
    assert (table.unit, table.patients.tolist()) == ("study", ["10000032"] * 2)
    assert np.isnan(table.raw[1, 0])
    lines = ["dicom_id,study_id,Edema", "a-b,50414267,1", "a-c,50414267,4", "a-d,53189527,7"]
    matched = read(truth, write("p.csv", lines))
    assert matched.scores[0].tolist() == [[2.5], [7]]
    assert matched.aggregate == "mean"


def test_of_a_studys_images_the_greatest_share_of_readers_counts(write):
    facts = {"format": 1, "dataset": "csv", "folder": "/x", "labels_by": {"train": "us"}}
    origin = {"kind": "own", "description": "x", "registers": [], "published": []}
    facts |= {"asked": {"readers": "soft"}, "origin": origin}
    write("data.json", [json.dumps(facts)])
    images = {"s1": "0.333 0.667", "s2": "0.5 -1", "s3": "-1 0.667", "s4": "-1 0.25", "s5": "0.25"}
    cells = [(study, cell) for study, of in images.items() for cell in of.split()]
    lines = [f"{at}.png,{study},{cell},," for at, (study, cell) in enumerate(cells)]
    # A label that nobody mentions, and one that is blank beside 0.
    lines[0], lines[1] = "0.png,s1,0.333,,0", "1.png,s1,0.667,,"
    truth = write("manifest.csv", ["path,study_id,Edema,Fracture,Pneumonia", *lines])
    scores = ["study_id,Edema,Fracture,Pneumonia", *(f"s{n},0.{n},0.2,0.3" for n in range(1, 6))]
    matched = read(truth, write("p.csv", scores))
    assert matched.unit == "study"
    expected = [[0.667, np.nan, 0], *([v, np.nan, np.nan] for v in (-1, 0.667, -1, 0.25))]
    np.testing.assert_array_equal(matched.raw, np.float32(expected))


@pytest.mark.parametrize("seed", range(8))
def test_the_order_of_rows_and_columns_changes_nothing(write, seed):
    rng = np.random.default_rng(seed)
    truth = chexpert(seed)
    scores = [scores_of(truth.sample(frac=0.8, random_state=seed), number) for number in (1, 2)]
    by_study = pd.DataFrame({"Study": truth["Path"].str.rpartition("/")[0].unique()})
    by_study[list(FIVE)] = rng.random((len(by_study), 5))
    scores = [*scores, by_study][seed % 2 :]
    before = read(write("t.csv", truth), *(write(f"{at}.csv", s) for at, s in enumerate(scores)))

    def mix(frame):
        return frame.sample(frac=1, random_state=seed)[rng.permutation(frame.columns)]

    mixed = [write(f"{at}.csv", mix(frame)) for at, frame in enumerate(scores)]
    after = read(write("t.csv", mix(truth)), *mixed)
    assert sorted(after.keys) == sorted(before.keys)
    assert sorted(after.labels) == sorted(before.labels)
    rows = pd.Index(after.keys).get_indexer(before.keys)
    columns = pd.Index(after.labels).get_indexer(before.labels)
    np.testing.assert_array_equal(after.raw[rows][:, columns], before.raw)
    np.testing.assert_array_equal(after.patients[rows], before.patients)
    assert after.missing == before.missing
    assert after.extra == before.extra
    for one, other in zip(after.scores, before.scores, strict=True):
        np.testing.assert_array_equal(one[rows][:, columns], other)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_images_become_studies_as_by_hand(write, seed, aggregate):
    frame = chexpert(seed)
    frame["Study"] = frame["Path"].str.rpartition("/")[0]
    scores = scores_of(frame, seed)
    studies = frame.drop_duplicates("Study")[["Study", *CHEXPERT_LABELS]]
    matched = read(write("t.csv", studies), write("p.csv", scores), aggregate=aggregate)
    by_hand = scores[list(FIVE)].groupby(frame["Study"]).agg(aggregate).loc[studies["Study"]]
    np.testing.assert_allclose(
        matched.scores[0], by_hand[list(matched.labels)].to_numpy(), rtol=1e-12
    )
    assert (matched.unit, matched.aggregate) == ("study", aggregate)
    assert matched.keys == [short(study) for study in studies["Study"]]
    assert any(f"the {aggregate} of its images" in note for note in matched.notes)


def test_only_images_that_the_truth_has_count_for_a_study(write):
    truth = write("t.csv", ["path,study_id,Edema", "a/1.png,a,1", "b/1.png,b,0"])
    images = write("p.csv", ["path,Edema", "a/1.png,1", "a/2.png,9", "b/1.png,2"])
    studies = write("q.csv", ["study_id,Edema", "b,5", "a,6"])
    matched = read(truth, images, studies)
    assert [scores[:, 0].tolist() for scores in matched.scores] == [[1, 2], [6, 5]]
    assert matched.extra == {str(images): 1, str(studies): 0}


@pytest.mark.parametrize("seed", range(4))
def test_the_truths_images_become_studies_as_by_hand(write, seed):
    frame = chexpert(seed)
    frame["Study"] = frame["Path"].str.rpartition("/")[0]
    scores = scores_of(frame.drop_duplicates("Study"), seed, CHEXPERT_LABELS, key="Study")
    matched = read(write("t.csv", frame.drop(columns="Study")), write("p.csv", scores))
    strength = {"": 0, "0.0": 1, "-1.0": 2, "1.0": 3}
    ranks = frame[list(CHEXPERT_LABELS)].map(strength.get)
    best = ranks.groupby(frame["Study"], sort=False).max()
    expected = best.map({0: np.nan, 1: 0, 2: -1, 3: 1}.get).to_numpy(dtype=float)
    np.testing.assert_array_equal(matched.raw, expected)
    np.testing.assert_array_equal(matched.scores[0], scores[list(CHEXPERT_LABELS)])
    first = frame.reset_index().drop_duplicates("Study")
    assert matched.rows.tolist() == first["index"].tolist()
    assert matched.aggregate is None
    assert any("a positive label goes before" in note for note in matched.notes)
    views = frame.groupby("Study", sort=False)["Frontal/Lateral"].agg(set)
    one = [view.pop().lower() if len(view) == 1 else "" for view in views]
    assert matched.about["view"].tolist() == one
    assert matched.about["age"].tolist() == first["Age"].tolist()


def test_truth_by_image_agrees_with_truth_by_study_where_all_images_agree(write):
    frame = manifest()
    labels = frame.groupby("study_id")[list(CHEXPERT_LABELS)].transform("first")
    frame[list(CHEXPERT_LABELS)] = labels
    studies = frame.drop_duplicates("study_id")
    scores = write("p.csv", scores_of(studies, key="study_id"))
    by_image = read(write("t.csv", frame), scores)
    by_study = read(write("s.csv", studies.drop(columns="path")), scores)
    assert by_image.keys == by_study.keys
    np.testing.assert_array_equal(by_image.raw, by_study.raw)
    np.testing.assert_array_equal(by_image.scores[0], by_study.scores[0])
    assert not any("a positive label goes before" in note for note in by_image.notes)


def test_the_coarser_unit_counts_for_all(write):
    frame = chexpert()
    images = scores_of(frame)
    studies = pd.DataFrame({"Study": frame["Path"].str.rpartition("/")[0].unique()})
    studies[list(FIVE)] = (
        images.groupby(images["Path"].str.rpartition("/")[0], sort=False)[list(FIVE)]
        .mean()
        .to_numpy()
    )
    matched = read(write("t.csv", frame), write("p.csv", images), write("q.csv", studies))
    assert (matched.unit, matched.aggregate) == ("study", "mean")
    np.testing.assert_allclose(*matched.scores, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_only_what_all_tables_have_counts(write, seed):
    truth, rng = chexpert(seed), np.random.default_rng(seed)
    scores = [scores_of(truth, number) for number in range(3)]
    parts = [one[rng.random(len(one)) < 0.7] for one in scores]
    stranger = parts[0].iloc[:2].assign(Path=["patient90000/study1/view1_frontal.jpg", "x"])
    parts[0] = pd.concat([parts[0], stranger])
    parts[1] = parts[1].drop(columns="Edema")
    paths = [write(f"{at}.csv", part) for at, part in enumerate(parts)]
    matched = read(write("t.csv", truth), *paths)
    shared = truth["Path"][np.all([truth["Path"].isin(part["Path"]) for part in parts], axis=0)]
    labels = [label for label in CHEXPERT_LABELS if label in FIVE and label != "Edema"]
    assert list(matched.labels) == labels
    assert matched.rows.tolist() == shared.index.tolist()
    for found, one in zip(matched.scores, scores, strict=True):
        np.testing.assert_array_equal(found, one.loc[shared.index, labels])
    sizes = [len(parts[0]) - 2, len(parts[1]), len(parts[2])]
    assert list(matched.missing.values()) == [len(truth) - size for size in sizes]
    assert list(matched.extra.values()) == [2, 0, 0]
    assert any(f"in all tables counts: {len(shared)} image" in note for note in matched.notes)


def test_tables_without_a_row_in_common_are_told(write):
    scores = [write(f"{key}.csv", ["path,Edema", f"{key},1"]) for key in "ab"]
    with pytest.raises(DataError, match=r"no image of .* is in all tables of predictions"):
        read(write("t.csv", TRUTH), *scores)


def test_tables_without_a_label_in_common_are_told(write):
    scores = [
        write(f"{at}.csv", [f"path,{label}", "a,1"])
        for at, label in enumerate(("Edema", "Fracture"))
    ]
    with pytest.raises(DataError, match="no label is in all tables of predictions"):
        read(write("t.csv", TRUTH), *scores)


def test_an_unknown_aggregate_is_told(write):
    with pytest.raises(UsageError, match="aggregate 'median' is not known"):
        read(write("t.csv", TRUTH), write("p.csv", TRUTH), aggregate="median")
