import pandas as pd
import pytest

from cxrtool.config import SplitConfig
from cxrtool.errors import DataError, UsageError
from cxrtool.manifest import read_manifest, read_split
from cxrtool.workflows.split import parse_sizes, split_manifest


def split_again(workspace, seed=42, **options):
    return split_manifest(SplitConfig(force=True, **options), workspace, seed=seed)


def test_no_patient_is_in_two_parts_and_radiologists_rows_stay_apart(prepared):
    result = split_again(prepared)
    manifest = read_manifest(prepared.manifest)
    parts = read_split(prepared.split, manifest)
    assert ((parts == "expert") == (manifest["source"] == "valid")).all()
    assert manifest.groupby(manifest["patient_id"])["path"].size().sum() == len(parts)
    owners = pd.DataFrame({"patient": manifest["patient_id"], "part": parts})
    assert (owners.groupby("patient")["part"].nunique() == 1).all()
    assert result.patients_in_two_splits == 0
    assert result.sizes == parts.value_counts().to_dict()


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
    "text", ["80,20", "80,10,0", "a,b,c", "80,10,-10", "", "1,1,nan", "inf,1,1"]
)
def test_sizes_that_are_none_are_a_usage_error(text):
    with pytest.raises(UsageError, match="three positive numbers"):
        parse_sizes(text)


def test_only_radiologists_rows_ask_for_merge_valid(prepared):
    frame = pd.read_csv(prepared.manifest, dtype=str, keep_default_na=False)
    frame[frame["source"] == "valid"].to_csv(prepared.manifest, index=False)
    with pytest.raises(DataError, match="--merge-valid"):
        split_again(prepared)
