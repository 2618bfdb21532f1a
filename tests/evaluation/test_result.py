"""A result as JSON: every figure in its place, an interval beside it, nothing else."""

import json

from cxrtool.core.origin import DRAWN, Origin
from cxrtool.evaluation.result import EvaluationResult
from tests.reports.test_page import a_result, minimal
from tests.support.results import made_differences, result_of


def test_json_has_what_the_result_has_in_the_order_of_its_fields():
    values = a_result()
    found = json.loads(json.dumps(result_of(values).as_json(), allow_nan=False))
    assert list(found) == [
        name
        for name in EvaluationResult.__dataclass_fields__
        for name in ([name, f"{name}_ci"] if name.startswith("mean_") else [name])
        # What was not asked for, or is not of these data, is not there at all.
        if name not in ("written", "divided", "readers", "robustness", "certificates", "triage")
    ]
    for key in ("protocol", "operating_point", "intervals", "competition", "subgroups"):
        assert found[key] == values[key], key
        assert json.dumps(found[key]).count("{") == json.dumps(values[key]).count("{")
    for label, given in values["labels"].items():
        assert given.items() <= found["labels"][label].items(), label
    for key in ("run", "split", "n", "patients", "mean_auroc", "mean_auroc_ci", "warnings"):
        assert found[key] == values[key], key
    assert found["data"] == {"origin": "own", "description": "those of truth.csv"}
    assert list(found["labels"]["Edema"]) == [
        *("auroc", "auroc_ci", "auprc", "auprc_ci", "threshold"),
        *("sensitivity", "sensitivity_ci", "specificity", "specificity_ci"),
        *("ppv", "ppv_ci", "npv", "npv_ci", "f1", "f1_ci"),
        *("brier", "ece", "calibration_intercept", "calibration_intercept_ci"),
        *("calibration_slope", "calibration_slope_ci"),
        *("prevalence", "n", "positives", "positive_patients", "negative_patients"),
        *("tp", "fp", "fn", "tn", "too_few"),
        *("target_prevalence", "target_ppv", "target_ppv_ci", "target_npv", "target_npv_ci"),
    ]


def test_what_is_not_defined_is_null_and_what_was_not_done_too():
    found = result_of(minimal()).as_json()
    assert (found["mean_auroc"], found["mean_auroc_ci"]) == (None, None)
    nothing = ("operating_point", "calibration", "intervals", "competition", "split", "aggregate")
    assert [found[key] for key in nothing] == [None] * len(nothing)
    assert found["subgroups"] == {}


def test_patients_of_the_training_and_reasons_are_named_only_where_they_are():
    values = a_result()
    assert "trained_on" not in result_of(values).as_json()["protocol"]
    values["protocol"]["trained_on"] = True
    found = result_of(values).as_json()
    assert found["protocol"]["trained_on"] is True
    assert {one["why"] for one in found["references"]["other"]} == {"why C", "why D"}
    assert not any("why" in one for one in found["references"]["same"])


def test_thresholds_edited_by_hand_are_named_with_the_rule():
    values = a_result()
    values["operating_point"]["edited"] = ("Edema",)
    told = result_of(values).as_json()["operating_point"]
    assert told == {"rule": "youden, edited by hand for Edema", "chosen_on": "valid"}


def test_only_the_drawings_of_a_program_are_drawn():
    drawn = Origin(kind=DRAWN, description="drawings", registers=())
    assert result_of({**a_result(), "data": drawn}).as_json()["data"]["origin"] == DRAWN


def test_differences_name_both():
    found = made_differences("a", "b", {"Edema": (0.1, (0.0, 0.2))}, (0.1, None)).as_json()
    assert list(found) == ["run", "baseline", "mean", "competition", "labels", "adjusted"]
    assert found["labels"]["Edema"] == {
        **{"auroc": 0.1, "auroc_ci": [0.0, 0.2], "auroc_p": None},
        **{"auprc": None, "auprc_ci": None},
        **{"auroc_adjusted": [0.0, 0.2], "auprc_adjusted": None, "delong": None},
    }
    assert found["mean"] == {
        **{"defined": 1, "auroc": 0.1, "auroc_ci": None},
        **{"auprc": None, "auprc_ci": None},
    }
