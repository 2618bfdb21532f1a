"""The answer: the labels that matter stand first."""

from cxrtool.reports.answer import answer_of
from tests.reports.test_page import FIVE, a_result
from tests.support.results import result_of


def test_the_competitions_labels_stand_first_where_they_say_something():
    made = a_result()
    answer = answer_of(result_of(made))
    assert list(answer.labels) == FIVE
    assert "CheXpert competition" in answer.why
    assert answer.with_rates
    for label in FIVE:
        made["labels"][label] |= {"too_few": True, "positive_patients": 3, "threshold": None}
    answer = answer_of(result_of(made))
    assert not set(answer.labels) & set(FIVE)
    assert len(answer.labels) == 5
    assert "Fracture" not in answer.labels  # not defined
    assert answer.why == "the labels of most patients"


def test_a_few_labels_are_all_there():
    made = a_result(competition=None)
    made["labels"] = {name: made["labels"][name] for name in ("Edema", "Fracture")}
    made["labels"]["Edema"]["threshold"] = None
    answer = answer_of(result_of(made))
    assert (list(answer.labels), answer.why, answer.with_rates) == (["Edema"], "all labels", False)
