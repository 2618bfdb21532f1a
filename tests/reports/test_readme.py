"""README.md of a run: a model card that Hugging Face reads."""

from types import SimpleNamespace

import pytest
from huggingface_hub import ModelCard, ModelCardData

from cxrtool.core.json_files import read_json, write_json
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.reports.readme import few, write_readme
from tests.support.packing import private_words, score


@pytest.fixture
def run(trained):
    return RunFolder(trained.workspace.runs / "tiny")


def test_its_results_are_those_of_the_evaluation(trained, run):
    result = score(trained)
    assert result.written[-1] == run.path / "README.md"
    card = ModelCard.load(run.path / "README.md")
    assert isinstance(card.data, ModelCardData)
    assert card.data.model_name == "tiny"
    assert card.data.library_name == "cxrtool"
    found = {one.metric_name: one for one in card.data.eval_results}
    mean = found[f"mean AUROC over {result.defined} of 14 labels"]
    assert mean.metric_value == result.mean_auroc.value
    assert (mean.task_type, mean.metric_type) == ("image-classification", "roc_auc")
    assert (mean.dataset_type, mean.dataset_split) == ("drawn", "test")
    assert mean.dataset_revision == read_card(run).manifest_sha256
    told = {
        label: one.auroc.value
        for label, one in result.labels.items()
        if one.auroc.value is not None and one.positive_patients >= 10
    }
    of_labels = {name: one.metric_value for name, one in found.items() if "mean" not in name}
    assert of_labels == {f"AUROC, {label}": value for label, value in told.items()}
    assert "not X-rays" in card.text
    # What Hugging Face itself would write of these results is read back as the same.
    again = ModelCardData(**card.data.to_dict(), ignore_metadata_errors=False)
    assert again.eval_results == card.data.eval_results


def test_it_names_no_patient_and_no_place(trained, run):
    score(trained)
    text = (run.path / "README.md").read_text()
    for word in private_words(trained):
        assert word not in text


def test_parts_stand_beside_each_other_and_valid_says_what_it_is(trained, run):
    score(trained)
    score(trained, split="valid")
    card = ModelCard.load(run.path / "README.md")
    assert {one.dataset_split for one in card.data.eval_results} == {"test", "valid"}
    assert "## Scores on valid (the epoch and thresholds were chosen on it)" in card.text


def test_labels_of_few_patients_are_left_out_and_counted(trained, run):
    score(trained)
    scores = read_json(run.metrics("test"))
    for place, one in enumerate(scores["labels"].values()):
        one.update(auroc=0.75, positive_patients=9 if place < 3 else 10)
    write_json(run.metrics("test"), scores)
    write_readme(run)
    card = ModelCard.load(run.path / "README.md")
    assert sum(one.metric_value == 0.75 for one in card.data.eval_results) == 11
    assert "Left out: 3 labels with fewer than 10" in card.text
    assert few(SimpleNamespace(positive_patients=9))


def test_a_readme_of_the_users_own_stays(trained, run):
    (run.path / "README.md").write_text("# My notes\n")
    result = score(trained)
    assert (run.path / "README.md").read_text() == "# My notes\n"
    assert run.path / "README.md" not in result.written


def test_without_scores_it_is_a_card_without_results(run):
    write_readme(run)
    card = ModelCard.load(run.path / "README.md")
    assert card.data.eval_results is None
    assert "resnet18, 32 x 32 pixels" in card.text
