import gzip

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.logits import probabilities_of
from cxrtool.data.prediction_rows import Row, write_rows
from cxrtool.data.prediction_tables import rows_of
from cxrtool.evaluation.tables.matching import match_scores
from cxrtool.evaluation.tables.scores import read_score_table
from cxrtool.evaluation.tables.truth import read_truth_table

FIVE = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
ABOUT = ["path", "patient_id", "study_id", "view", "orientation", "sex", "age", "source"]


@pytest.fixture
def write(tmp_path):
    """Writes a table, from a frame or from lines, and gives its path."""

    def write(name, content):
        path = tmp_path / name
        if isinstance(content, pd.DataFrame):
            content.to_csv(path, index=False)
        else:
            path.write_text("\n".join(content))
        return path

    return write


def read(truth, *scores, key=None, labels=None, aggregate="mean"):
    table = read_truth_table(truth, key, labels)
    return match_scores(table, [read_score_table(path, table, key) for path in scores], aggregate)


def official_test(count=500):
    """The public test labels and a leaderboard's predictions, as published but for the values."""
    rng = np.random.default_rng(1)
    studies = [f"CheXpert-v1.0/test/patient{64741 + row}/study1" for row in range(count)]
    truth = pd.DataFrame({"Study": studies})
    truth[list(CHEXPERT_LABELS)] = rng.integers(0, 2, (count, 14))
    scores = pd.DataFrame({"Study": studies})
    scores[list(FIVE)] = rng.random((count, 5))
    return truth, scores


def chexpert(seed=0, patients=30):
    """A table as CheXpert's train.csv: some studies with several images."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in rng.permutation(patients) + 1:
        for study in range(1, rng.integers(1, 4)):
            for view in range(1, rng.integers(2, 5)):
                side = "lateral" if view == 3 else "frontal"
                name = f"view{view}_{side}.jpg"
                path = f"CheXpert-v1.0-small/train/patient{patient:05d}/study{study}/{name}"
                about = ("Male", 40 + patient, side.title(), "AP" if view < 3 else "")
                labels = rng.choice(["1.0", "0.0", "-1.0", ""], 14)
                rows.append((path, *about, *labels))
    columns = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS]
    return pd.DataFrame(rows, columns=columns)


def scores_of(truth, seed=0, labels=FIVE, key="Path"):
    scores = truth[[key]].copy()
    scores[list(labels)] = np.random.default_rng(seed).normal(size=(len(truth), len(labels)))
    return scores


def short(path):
    return path[path.index("patient") :]


# What works as it is


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


def test_chexperts_own_table_as_truth(write):
    frame = chexpert().astype({"Age": object})
    frame.loc[0, ["Sex", "Age"]] = ("Unknown", "")
    table = read_truth_table(write("train.csv", frame))
    assert table.unit == "image"
    assert table.labels == CHEXPERT_LABELS
    assert table.keys == [short(path) for path in frame["Path"]]
    assert table.patients.tolist() == [key.split("/")[0] for key in table.keys]
    assert table.studies.tolist() == [key.rpartition("/")[0] for key in table.keys]
    assert table.views == ("frontal", "lateral")
    # Thirty patients in CheXpert's layout are not the 64,540 of its table.
    assert (table.laid_out, table.dataset_part) == ("train", None)
    assert table.about["view"].tolist() == frame["Frontal/Lateral"].str.lower().tolist()
    assert table.about["orientation"].tolist() == frame["AP/PA"].tolist()
    assert table.about["sex"][:2].tolist() == ["Unknown", "Male"]
    assert np.isnan(table.about["age"][0])
    assert table.about["age"][1:].tolist() == frame["Age"][1:].tolist()
    expected = frame[list(CHEXPERT_LABELS)].replace("", "nan").astype(np.float32)
    np.testing.assert_array_equal(table.raw, expected)


def manifest(seed=0):
    frame = chexpert(seed)
    paths = frame["Path"].str.removeprefix("CheXpert-v1.0-small/")
    parts = paths.str.split("/")
    about = [paths, parts.str[1], parts.str[1] + "/" + parts.str[2], frame["Frontal/Lateral"]]
    about = [*about, frame["AP/PA"], frame["Sex"], frame["Age"], "train"]
    made = pd.DataFrame(dict(zip(ABOUT, about, strict=True)))
    made["view"] = made["view"].str.lower()
    made[list(CHEXPERT_LABELS)] = frame[list(CHEXPERT_LABELS)].replace({"1.0": "1", "0.0": "0"})
    return made


def own_predictions(paths, labels, failed=()):
    logits = np.random.default_rng(3).normal(0, 2, (len(paths), len(labels)))
    values = probabilities_of(logits)
    rows = list(rows_of(paths, logits, labels, dict.fromkeys(labels, 0.5)))
    for row in failed:
        rows[row] = Row(path=paths[row], scores=None, error="cannot be decoded")
    values[list(failed)] = np.nan
    return rows, values


def test_our_manifest_and_our_predictions(write, tmp_path):
    truth = manifest()
    rows, values = own_predictions(truth["path"].tolist(), CHEXPERT_LABELS, failed=(2, 5))
    write_rows(rows, tmp_path / "test.csv", CHEXPERT_LABELS)
    at = write("manifest.csv", truth)
    matched = read(at, tmp_path / "test.csv")
    good = [row for row in range(len(truth)) if row not in (2, 5)]
    assert (matched.unit, matched.aggregate) == ("image", None)
    assert matched.rows.tolist() == good
    assert matched.keys == [short(path) for path in truth["path"][good]]
    np.testing.assert_array_equal(matched.scores[0], values[good])
    assert matched.missing == {str(tmp_path / "test.csv"): 2}
    assert matched.patients.tolist() == truth["patient_id"][good].tolist()
    assert matched.about["view"].tolist() == truth["view"][good].tolist()
    assert any("2 rows have an error and no scores" in note for note in matched.notes)
    table = read_truth_table(at)
    assert table.studies.tolist() == truth["study_id"].tolist()
    ignored = read_score_table(tmp_path / "test.csv", table).ignored
    assert ignored == ("path", "positive", "warning", "error")


def test_a_gzipped_table_and_one_with_a_mark(tmp_path):
    truth, scores = official_test(5)
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write(truth.to_csv(index=False))
    (tmp_path / "p.csv").write_text(scores.to_csv(index=False), encoding="utf-8-sig")
    assert len(read(tmp_path / "t.csv.gz", tmp_path / "p.csv").keys) == 5


def test_nih_like_names_give_the_patients(write):
    names = ["00000013_005.png", "00000013_006.png", "00000014_000.png"]
    truth = write("t.csv", ["Image Index,Mass", *(f"{name},1" for name in names)])
    table = read_truth_table(truth)
    assert table.patients.tolist() == ["00000013", "00000013", "00000014"]
    assert table.patients_known
    assert table.labels == ("Mass",)
    assert table.studies is None
    matched = read(truth, write("p.csv", ["image_id,Mass", *(f"{name[:-4]},2" for name in names)]))
    assert matched.keys == names
    assert any("file names, without their endings" in note for note in matched.notes)


def test_mimic_like_tables_match_by_study(write):
    lines = ["subject_id,study_id,Edema", "10000032,50414267,1.0", "10000032,53189527,"]
    table = read_truth_table(truth := write("t.csv", lines))
    assert (table.unit, table.patients.tolist()) == ("study", ["10000032"] * 2)
    assert np.isnan(table.raw[1, 0])
    lines = ["dicom_id,study_id,Edema", "a-b,50414267,1", "a-c,50414267,4", "a-d,53189527,7"]
    matched = read(truth, write("p.csv", lines))
    assert matched.scores[0].tolist() == [[2.5], [7]]
    assert matched.aggregate == "mean"


# Properties


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


@pytest.mark.parametrize("prefix", ["", "./", "/data/x/", "C:\\films\\CheXpert-v1.0\\valid\\"])
def test_what_stands_before_the_patient_changes_nothing(write, prefix):
    truth = chexpert()
    scores = scores_of(truth)
    expected = read(write("t.csv", truth), write("p.csv", scores))
    scores["Path"] = [prefix + short(path) for path in scores["Path"]]
    if "\\" in prefix:
        scores["Path"] = scores["Path"].str.replace("/", "\\")
    found = read(write("t.csv", truth), write("p.csv", scores))
    assert found.keys == expected.keys
    np.testing.assert_array_equal(found.scores[0], expected.scores[0])


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


# Keys


def keyed(write, truth, scores, key=None):
    """The scores, in the truth's order, of tables with one label and these keys."""
    labels = [",Edema", *(f",{row % 2}" for row in range(len(truth) - 1))]
    values = [",Edema", *(f",{row}" for row in range(len(scores) - 1))]
    t = write("t.csv", [line + label for line, label in zip(truth, labels, strict=True)])
    p = write("p.csv", [line + value for line, value in zip(scores, values, strict=True)])
    return read(t, p, key=key).scores[0][:, 0].tolist()


@pytest.mark.parametrize("mine", ["Path", "image", "Image_Path", "filename", "file", "image_id"])
@pytest.mark.parametrize("theirs", ["path", "Image Index", "dicom_id", "Image Path"])
def test_known_names_pair_up(write, mine, theirs):
    assert keyed(write, [theirs, "a.png", "b.png"], [mine, "b.png", "a.png"]) == [1, 0]


@pytest.mark.parametrize("name", ["xray", "ID", "Study", "StudyInstanceUID"])
def test_a_column_of_the_same_name_is_the_key(write, name):
    assert keyed(write, [name, "1.2.3", "1.2.4"], [name, "1.2.4", "1.2.3"]) == [1, 0]


def test_a_generic_name_may_be_of_studies(write):
    assert keyed(write, ["StudyInstanceUID", "1.2", "1.3"], ["id", "1.3", "1.2"]) == [1, 0]


def test_of_several_keys_the_one_with_most_rows_counts(write):
    truth = ["image,file", "a,w", "b,x", "c,y"]
    scores = ["image,file", "b,y", "q,x", "r,w"]
    assert keyed(write, truth, scores) == [2, 1, 0]


def test_contradicting_keys_are_told(write):
    truth, scores = ["image,file", "a,x", "b,y"], ["image,file", "b,x", "a,y"]
    with pytest.raises(DataError, match=r"contradict each other: .*2 rows.*--key"):
        keyed(write, truth, scores)
    assert keyed(write, truth, scores, key="image") == [1, 0]
    assert keyed(write, truth, scores, key="file") == [0, 1]


def test_a_rows_number_gives_way_to_a_name(write):
    truth, scores = ["id,path", "0,a", "1,b", "2,c"], ["id,path", "0,a", "1,b", "2,q"]
    assert keyed(write, truth, scores) == [0, 1]


def test_images_of_studies_are_not_taken_by_their_row_numbers(write):
    study, image = "patient0000{}/study1", "patient0000{}/study1/view1_frontal.jpg"
    truth = ["id,Study", *(f"{row},{study.format(row)}" for row in range(3))]
    scores = ["id,Path", *(f"{row},{image.format(2 - row)}" for row in range(3))]
    with pytest.raises(DataError, match="contradict each other"):
        keyed(write, truth, scores)
    same = ["id,Path", *(f"{row},{image.format(row)}" for row in range(3))]
    assert keyed(write, truth, same) == [0, 1, 2]
    assert keyed(write, truth, scores, key="Path=Study") == [2, 1, 0]


def test_key_may_name_two_columns(write):
    truth, scores = ["mine,path", "a,x", "b,y"], ["yours,path", "b,x", "a,y"]
    assert keyed(write, truth, scores, key="yours=mine") == [1, 0]
    with pytest.raises(UsageError, match=r"--key mine: column of p.csv 'mine' is not known"):
        keyed(write, truth, scores, key="mine")
    with pytest.raises(UsageError, match=r"column of t.csv 'nine' is not known: did you mean mine"):
        keyed(write, truth, scores, key="yours=nine")


def test_exact_keys_come_before_their_ends(write):
    truth, scores = ["path", "a/1.png", "a/2.png"], ["path", "b/1.png", "a/2.png"]
    assert keyed(write, truth, scores) == [1]


def test_the_end_of_a_path_counts_if_it_is_unique(write):
    truth = ["path", "x/a/1.png", "x/b/1.png", "x/b/2.png"]
    scores = ["path", "/y/b/2.png", "/y/a/1.png", "/y/b/1.png"]
    assert keyed(write, truth, scores) == [1, 2, 0]
    with pytest.raises(DataError, match="no row of"):
        keyed(write, truth, ["path", "/y/q/1.png", "/y/r/1.png", "/y/c/2.png"])
    with pytest.raises(DataError, match="no row of"):
        keyed(write, truth, ["path", "/y/q/1.png"])


def test_a_key_that_is_named_is_compared_whole(write):
    truth, scores = ["path", "x/a.png", "x/b.png"], ["path", "y/b.png", "y/a.png"]
    assert keyed(write, truth, scores) == [1, 0]
    with pytest.raises(DataError, match=r"no row of .*With --key the cells must be equal; without"):
        keyed(write, truth, scores, key="path")


def test_other_endings_are_the_same_images(write):
    paths = [f"patient0000{row}/study1/view1_frontal" for row in range(3)]
    assert keyed(
        write,
        ["Path", *(f"{p}.jpg" for p in paths)],
        ["Path", *(f"x/{p}.png" for p in paths)],
    ) == [0, 1, 2]


def test_another_patients_image_of_the_same_name_is_no_match(write):
    path = "patient0000{}/study1/view1_frontal.jpg"
    for end in ("view1_frontal.jpg", ""):
        one, two = (path.format(n).removesuffix("/view1_frontal.jpg" * (not end)) for n in (1, 2))
        with pytest.raises(DataError, match=r"no row of"):
            keyed(write, ["Path", one], ["Path", two])


def test_lateral_images_are_not_taken_for_frontal_ones(write):
    path = "patient0000{}/study1/view{}.jpg"
    truth = ["path", path.format(1, "1_frontal"), path.format(2, "1_frontal")]
    with pytest.raises(DataError, match="no row of"):
        keyed(write, truth, ["path", path.format(1, "2_lateral"), path.format(2, "2_lateral")])


def test_images_are_matched_before_their_studies(write):
    frame = manifest()
    frontal = frame[frame["view"] == "frontal"]
    scores = scores_of(frame, key="path").assign(study_id=frame["study_id"])
    matched = read(write("t.csv", frontal), write("p.csv", scores))
    assert matched.unit == "image"
    assert matched.keys == [short(path) for path in frontal["path"]]
    assert list(matched.extra.values()) == [len(frame) - len(frontal)]


def test_the_same_number_in_two_folders_is_two_patients(write):
    path = "{}/patient00001/study1/view1_frontal.jpg"
    names = ["Path", path.format("train"), path.format("valid")]
    assert keyed(write, names, [names[0], names[2], names[1]]) == [1, 0]
    assert keyed(write, names, [names[0], "other/" + names[2], names[1]]) == [1]


def test_studies_named_under_each_patient(write):
    truth = ["patient_id,study", "p1,study1", "p2,study1"]
    assert keyed(write, truth, ["patient_id,study", "p2,study1", "p1,study1"]) == [1, 0]


# Labels


def test_label_names_match_but_for_case_and_joints(write):
    lines = ["path,pleural_effusion,Lung-Opacity,Mass", "a,1,0,1", "b,0,,0"]
    truth = write("t.csv", lines)
    table = read_truth_table(truth)
    assert table.labels == ("Pleural Effusion", "Lung Opacity", "Mass")
    assert any("pleural_effusion as Pleural Effusion" in note for note in table.notes)
    matched = read(truth, write("p.csv", ["path,MASS,Pleural Effusion", "a,1,2", "b,3,4"]))
    assert matched.labels == ("Pleural Effusion", "Mass")
    assert matched.scores[0].tolist() == [[2, 1], [4, 3]]
    assert any("MASS as Mass" in note for note in matched.notes)


def test_what_is_a_label_of_the_truth(write):
    lines = ["path,sex,Unnamed: 0,split,age,Nodule,Hernia,Note,Odd,Blank,subject_id"]
    lines += ["a,1,0,1,1,1.0,nan,x,1,,1", "b,0,1,0,1,-1,0,y,2,,1"]
    table = read_truth_table(write("t.csv", lines))
    assert table.labels == ("Nodule", "Hernia")
    np.testing.assert_array_equal(table.raw, np.float32([[1, np.nan], [-1, 0]]))
    assert set(table.about.columns) == {"sex", "age", "split", "Note", "Odd", "Blank"}
    assert table.patients.tolist() == ["1", "1"]
    chosen = read_truth_table(write("t.csv", lines), labels=["hernia"])
    assert chosen.labels == ("hernia",)
    with pytest.raises(UsageError, match=r"'Hernja' is not known: did you mean Hernia"):
        read_truth_table(write("t.csv", lines), labels=["Hernja"])


def test_predictions_of_chexperts_labels_that_the_truth_lacks_are_noted(write):
    truth = write("t.csv", ["path,Edema", "a,1", "b,0"])
    matched = read(truth, write("p.csv", ["path,Edema,Fracture", "a,1,x", "b,2,"]))
    assert matched.labels == ("Edema",)
    assert any("p.csv predicts Fracture: the truth has no such label" in n for n in matched.notes)
    truth = write("t.csv", ["path,Edema,Fracture", "a,1,1", "b,0,1"])
    chosen = read(
        truth, write("p.csv", ["path,Edema,Fracture", "a,1,2", "b,2,3"]), labels=["Edema"]
    )
    assert chosen.labels == ("Edema",)
    assert chosen.notes == []


def test_known_columns_and_text_are_ignored(write):
    truth = write("t.csv", ["path,Edema,weight", "a,1,80", "b,0,70"])
    columns = "Unnamed: 0,,path,Edema,age,fold,split,Sex,Patient ID,weight,comment,positive"
    lines = [columns, "0,0,a,0.5,60,1,2,0,7,80,fine,1", "1,1,b,0.25,61,1,2,0,7,70,,0"]
    matched = read(truth, write("p.csv", lines))
    assert matched.scores[0].tolist() == [[0.5], [0.25]]


def test_rows_without_a_patient_are_their_own(write):
    table = read_truth_table(write("t.csv", ["file,patient,Edema", "a,p,1", "b,,1", "c,,0"]))
    assert len(set(table.patients)) == 3
    assert not table.patients_known
    table = read_truth_table(write("t.csv", ["file,Edema", "a,1", "b,1"]))
    assert len(set(table.patients)) == 2
    assert not table.patients_known


@pytest.mark.parametrize(
    ("number", "folder", "part"),
    [
        (64540, "train/", "train"),
        (64541, "valid/", "valid"),
        (64740, "", "valid"),
        (64741, "test/", "test"),
        (65240, "", "test"),
        (65241, "", None),
        (64741, "valid/", None),
        (0, "train/", None),
    ],
)
def test_the_part_of_chexpert_that_rows_are_laid_out_as(write, number, folder, part):
    rows = [f"CheXpert-v1.0/{folder}patient{number:05d}/study1/view1_frontal.jpg,1"]
    table = read_truth_table(write("t.csv", ["Path,Edema", *rows]))
    assert (table.laid_out, table.dataset_part) == (part, None)
    rows.append("x/patient64600/study1/view1_frontal.jpg,1")
    mixed = read_truth_table(write("t.csv", ["Path,Edema", *rows])).laid_out
    assert mixed == ("valid" if part == "valid" else None)


def test_views_by_the_name_or_the_projection(write):
    image = "patient00001/study1/view{}.jpg,1"
    lines = ["Path,Edema", image.format("1_frontal"), image.format("2_lateral")]
    assert read_truth_table(write("t.csv", lines)).about["view"].tolist() == ["frontal", "lateral"]
    lines = ["dicom_id,ViewPosition,Edema", "a,AP,1", "b,LL,0"]
    table = read_truth_table(write("t.csv", lines))
    assert table.about["view"].tolist() == ["frontal", "lateral"]
    assert table.about["orientation"].tolist() == ["AP", "LL"]


# Bad input

TRUTH = ["path,Edema,Fracture", "a,1,0", "b,0,1", "c,0,1"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [TRUTH[0], "a,0.1,", "b,inf,1", "c,no,2"],
            r"3 cells .*line 2, Fracture: blank, line 3, E.*inf.*line 4, .*no",
        ),
        ([TRUTH[0], "a,NaN,1"], r"no finite number in 1 cell of scores \(line 2, Edema: NaN\)"),
        (
            [TRUTH[0] + ",error", "a,,,bad", "b,,1,", "c,no,,bad"],
            r"2 cells .*line 3, Edema: blank, line 4, Edema: no",
        ),
        ([TRUTH[0], "a,1,1", "b,1,1", "a,1,1"], r"1 name in its column path .*\(a; lines 2, 4\)"),
        ([TRUTH[0], "a,1,1", "b,1,1", ",1,1"], r"1 of 3 rows have no path \(lines 4\)"),
        ([TRUTH[0], "z,1,1"], r"no row of .*such as 'z', path of the truth such as 'a'"),
        (
            ["path,Edema,Fractures", "a,1,1"],
            r"1 column of numbers.*\n.*'Fractures' is not known: did you mean Fracture",
        ),
        (["path,Mass", "a,1"], "no label in common: p.csv has the columns path, Mass, the truth"),
        (["patient,Edema", "a,1"], "no key column in common"),
        (["path,Edema,edema", "a,1,1"], "two columns of one label: Edema and edema"),
        (["path", "a"], "only one column, path: a key and at least one label"),
        (["path;Edema", "a;1"], "separated by ';'"),
        ([""], "is empty"),
        ([TRUTH[0]], "no rows"),
        ([TRUTH[0] + ",error", "a,,,x"], "no scores of any image of .*all rows failed"),
    ],
)
def test_bad_predictions_are_told(write, lines, message):
    with pytest.raises(DataError, match=message) as caught:
        read(write("t.csv", TRUTH), write("p.csv", lines))
    assert "p.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,Edema", "a,1", "b,0.3"], r"1 label value .*line 3, Edema: '0.3'"),
        (["path,Edema", "a,1", "b,0", "a,0"], r"1 name in its column path .*\(a; lines 2, 4\)"),
        (["path,Edema", "a,1", ",0"], r"1 of 2 rows have no path \(lines 3\)"),
        (["path,Note", "a,x"], "has no label: .*Its columns are path, Note"),
        (["Edema,Fracture", "1,1", "0,0"], "no column that names its images or studies"),
        (["path,Edema,edema", "a,1,1"], "two columns of one label: Edema and edema"),
        (["path", "a"], "only one column, path"),
        ([""], "is empty"),
    ],
)
def test_a_bad_truth_is_told(write, lines, message):
    with pytest.raises(DataError, match=message) as caught:
        read_truth_table(write("t.csv", lines))
    assert "t.csv" in str(caught.value)


def test_the_same_image_in_two_ways_of_writing_is_told(write):
    path = "patient00001/study1/view1_frontal.jpg"
    lines = ["Path,Edema", f"CheXpert-v1.0/train/{path},1", f"train/{path},2"]
    for truth in (f"x/{path},1", f"{path.rpartition('/')[0]},1"):
        with pytest.raises(DataError, match=r"1 name in its column Path .*lines 2, 3"):
            read(write("t.csv", ["Path,Edema", truth]), write("p.csv", lines))


def test_a_study_given_twice_is_told(write):
    truth = ["Study,Edema", "patient00001/study1,1"]
    lines = ["Study,Edema", "patient00001/study1,1", "patient00001/study1,2"]
    with pytest.raises(DataError, match=r"1 name in its column Study .*lines 2, 3"):
        read(write("t.csv", truth), write("p.csv", lines))


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
