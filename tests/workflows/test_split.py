import numpy as np
import pandas as pd
import pytest

from cxrtool.core.config import SplitConfig
from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.manifest import read_manifest, read_split
from cxrtool.workflows.split import parse_sizes, split_manifest
from tests.conftest import Hearing, Listening


def split_again(workspace, seed=42, **options):
    return split_manifest(SplitConfig(force=True, **options), workspace, seed=seed)


def test_no_patient_is_in_two_parts_and_radiologists_rows_stay_apart(prepared):
    result = split_again(prepared)
    manifest = read_manifest(prepared.manifest)
    parts = read_split(prepared.split, manifest)
    assert ((parts == "expert") == (manifest["source"] == "valid")).all()
    owners = pd.DataFrame({"patient": manifest["patient_id"], "part": parts})
    assert (owners.groupby("patient")["part"].nunique() == 1).all()
    assert result.patients_in_two_splits == 0
    assert result.sizes == parts.value_counts().to_dict()


def test_other_rows_of_patients_whom_radiologists_labelled_are_not_learned_from(prepared):
    manifest = pd.read_csv(prepared.manifest, dtype=str, keep_default_na=False)
    several = manifest["patient_id"].value_counts()
    patients = several.index[several > 1][:3].tolist()
    first = manifest["patient_id"].isin(patients) & ~manifest["patient_id"].duplicated()
    manifest.loc[manifest["patient_id"].isin(patients), "source"] = "train"
    manifest.loc[first, "source"] = "valid"
    manifest.to_csv(prepared.manifest, index=False)
    reporter = Hearing()
    result = split_manifest(SplitConfig(force=True), prepared, seed=1, reporter=reporter)
    parts = read_split(prepared.split, read_manifest(prepared.manifest))
    theirs = manifest["patient_id"].isin(patients)
    assert set(parts[theirs & first]) == {"expert"}
    assert set(parts[theirs & ~first]) == {"test"}
    assert result.patients_in_two_splits == 0
    beside = int((theirs & ~first).sum())
    assert any(f"{beside} other rows of the same patients" in note for note in reporter.notes)


def test_sizes_are_near_what_was_asked(prepared):
    result = split_again(prepared, sizes="50,25,25")
    assert result.fractions == pytest.approx({"train": 0.5, "valid": 0.25, "test": 0.25}, abs=0.05)


def test_the_reports_way_splits_patients_and_mixes_the_tables(prepared):
    result = split_again(prepared, by="image", merge_valid=True, sizes="50,25,25")
    assert "expert" not in result.sizes
    assert result.patients_in_two_splits > 0
    assert sum(result.sizes.values()) == len(read_manifest(prepared.manifest))


@pytest.mark.parametrize("by", ["patient", "image"])
def test_the_same_seed_gives_the_same_file_and_another_another(prepared, by):
    def content(seed):
        split_again(prepared, seed=seed, by=by)
        return prepared.split.read_bytes()

    assert content(1) == content(1)
    assert content(1) != content(2)


@pytest.mark.parametrize("by", ["patient", "image"])
def test_the_order_of_the_rows_does_not_matter(prepared, by):
    split_again(prepared, by=by)
    before = pd.read_csv(prepared.split).set_index("path")["split"]
    manifest = pd.read_csv(prepared.manifest, dtype=str, keep_default_na=False)
    manifest.sample(frac=1, random_state=0).to_csv(prepared.manifest, index=False)
    split_again(prepared, by=by)
    after = pd.read_csv(prepared.split).set_index("path")["split"]
    assert before.to_dict() == after.to_dict()


def test_an_existing_split_is_kept_without_force(prepared):
    before = prepared.split.read_bytes()
    with pytest.raises(DataError, match="--force"):
        split_manifest(SplitConfig(), prepared, seed=1)
    assert prepared.split.read_bytes() == before


def test_balance_is_told_under_both_policies(prepared):
    told = split_again(prepared).as_json()
    for measure in ("ld", "lpd"):
        assert set(told[measure]) == {"zeros", "ones"}
        assert all(0 <= value < 0.5 for value in told[measure].values())


def test_sizes_become_shares():
    assert parse_sizes("80,10,10") == pytest.approx((0.8, 0.1, 0.1))
    assert parse_sizes("7, 2, 1") == pytest.approx((0.7, 0.2, 0.1))


@pytest.mark.parametrize(
    "text", ["80,20", "80,10,0", "a,b,c", "80,10,-10", "", "1,1,nan", "inf,1,1", "1e23,1,1"]
)
def test_sizes_that_are_none_are_a_usage_error(text):
    with pytest.raises(UsageError, match="three positive numbers"):
        parse_sizes(text)


def test_only_radiologists_rows_ask_for_merge_valid(prepared):
    frame = pd.read_csv(prepared.manifest, dtype=str, keep_default_na=False)
    frame[frame["source"] == "valid"].to_csv(prepared.manifest, index=False)
    with pytest.raises(DataError, match="--merge-valid"):
        split_again(prepared)


def test_folds_are_dealt_of_train_and_valid_and_share_no_patient(prepared):
    result = split_again(prepared, folds=4)
    table = pd.read_csv(prepared.split)
    inside = table["split"].isin(["train", "valid"])
    assert table["fold"].notna().tolist() == inside.tolist()
    assert sorted(table["fold"].dropna().unique()) == [0, 1, 2, 3]
    assert table[inside].groupby("patient_id")["fold"].nunique().max() == 1
    assert result.folds["sizes"] == table["fold"].value_counts().sort_index().tolist()
    assert result.folds["patients_in_two_folds"] == 0
    assert max(result.folds["sizes"]) < 1.3 * min(result.folds["sizes"])


def test_folds_leave_the_parts_as_they_are_without(prepared):
    split_again(prepared)
    plain = pd.read_csv(prepared.split)["split"].tolist()
    split_again(prepared, folds=3)
    assert pd.read_csv(prepared.split)["split"].tolist() == plain


def test_a_fold_is_valid_and_the_others_are_train(prepared):
    split_again(prepared, folds=3)
    manifest = read_manifest(prepared.manifest)
    plain = read_split(prepared.split, manifest)
    inside = plain.isin(["train", "valid"])
    seen = np.zeros(len(plain), int)
    for fold in range(3):
        parts = read_split(prepared.split, manifest, fold)
        assert parts[~inside].equals(plain[~inside])
        assert set(parts[inside]) == {"train", "valid"}
        seen += (parts == "valid").to_numpy()
    assert seen.tolist() == inside.astype(int).tolist()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.drop(columns="fold"), "has no folds"),
        (lambda t: t.assign(fold=""), "rows have a wrong fold"),
        (lambda t: t.assign(fold="0"), "rows have a wrong fold"),
        (lambda t: t.assign(fold=t["fold"].str.replace("2", "7")), "has no fold 2: there are 0, 1"),
        (lambda t: t.assign(fold=t["fold"].str.replace("2", "x")), "rows have a wrong fold"),
    ],
)
def test_what_is_wrong_with_folds_is_named(prepared, change, told):
    split_again(prepared, folds=3)
    table = pd.read_csv(prepared.split, dtype=str, keep_default_na=False)
    change(table).to_csv(prepared.split, index=False)
    with pytest.raises(DataError, match=told):
        read_split(prepared.split, read_manifest(prepared.manifest), 2)


def test_labels_that_a_part_cannot_judge_are_told_and_train_comes_first(prepared):
    frame = pd.read_csv(prepared.manifest, dtype=str, keep_default_na=False)
    frame["Edema"] = ["-1"] * len(frame)  # no positive that is sure, and no negative
    frame["Pneumonia"] = ["1"] * len(frame)
    rows = np.flatnonzero(frame["source"] == "train")
    rare = dict(zip(("Fracture", "Pleural Other", "Lung Lesion"), rows[::20], strict=False))
    for label, row in rare.items():
        frame[label] = ["1" if at == row else "" for at in range(len(frame))]
    frame.to_csv(prepared.manifest, index=False)
    for seed in range(3):
        listening = Listening()
        result = split_manifest(
            SplitConfig(force=True, sizes="60,20,20", folds=3),
            prepared,
            seed=seed,
            reporter=listening,
        )
        told = result.as_json()["undefined"]
        assert set(told) == {"train", "valid", "test", "expert"}
        for part, lacks in told.items():
            edema = "no positive patient under U-Zeros; no negative patient under U-Ones"
            assert lacks["Edema"] == edema
            assert lacks["Pneumonia"] == "no negative patient"
            # The only patient of a label is in train, whatever the seed.
            for label in rare:
                assert lacks.get(label) == (None if part == "train" else "no positive patient")
            warned = [text for text in listening.warnings if text.startswith(f"{part} cannot")]
            assert any("Fracture" in text for text in warned) == (part != "train")
        lacking = [fold for fold, of in result.folds["undefined"].items() if "Fracture" in of]
        assert len(lacking) == 2
        assert any(f"fold {lacking[0]}, as valid, cannot" in text for text in listening.warnings)


def official(workspace, parts):
    manifest = pd.read_csv(workspace.manifest)
    rng = np.random.default_rng(0)
    chosen = {patient: rng.choice(parts) for patient in sorted(set(manifest["patient_id"]))}
    table = manifest[["path", "patient_id"]].assign(split=manifest["patient_id"].map(chosen))
    table.to_csv(workspace.official, index=False)
    return table["split"]


def test_official_parts_are_taken_as_they_are(prepared):
    parts = official(prepared, ["train", "train", "valid", "test"])
    split_again(prepared, by="official")
    assert pd.read_csv(prepared.split)["split"].tolist() == parts.tolist()


def test_official_parts_without_valid_get_one_out_of_train(prepared):
    parts = official(prepared, ["train", "train", "test"])
    result = split_again(prepared, by="official")
    made = pd.read_csv(prepared.split)["split"]
    assert made[parts == "test"].eq("test").all()
    assert set(made[parts == "train"]) == {"train", "valid"}
    assert result.sizes["valid"] == pytest.approx((parts == "train").sum() / 9, abs=2)
    assert result.patients_in_two_splits == 0


def test_a_data_set_without_parts_of_its_own_is_told(prepared):
    with pytest.raises(DataError, match="names no parts of its own"):
        split_again(prepared, by="official")
    official(prepared, ["train", "test", ""])
    with pytest.raises(DataError, match="images have no part"):
        split_again(prepared, by="official")


def test_an_unfinished_prepare_is_not_split(prepared):
    prepared.data_info.unlink()
    with pytest.raises(DataError, match=r"run `cxrtool prepare -w .*` first"):
        split_again(prepared)
