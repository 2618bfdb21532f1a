"""Underdiagnosis: No Finding's false alarms, or the misses of each finding."""

import copy

from cxrtool.core.numbers import Estimate
from cxrtool.reports.underdiagnosis import complement, underdiagnosis_of
from tests.reports.test_page import a_result, subgroup
from tests.support.results import result_of


def test_it_is_the_false_positive_rate_of_no_finding():
    made = a_result()
    both = copy.deepcopy(made["subgroups"]["sex"])
    made["subgroups"]["sex x age"] = both
    found = underdiagnosis_of(result_of(made))
    assert found.of_healthy
    assert found.measures == ("No Finding",)
    assert found.intersections
    women, _, unknown = found.columns["sex"]
    assert (women.group, women.n, women.patients) == ("Female", 1200, 400)
    assert women.rates == [Estimate(0.23, (0.2, 0.26))]
    assert unknown.rates == [None]


def test_without_no_finding_it_is_each_findings_misses():
    made = a_result()
    del made["labels"]["No Finding"]
    made["labels"]["Fracture"]["threshold"] = None
    made["subgroups"] = {"sex": subgroup(made["labels"])}
    found = underdiagnosis_of(result_of(made))
    assert not found.of_healthy
    assert not found.intersections
    assert "Edema" in found.measures
    assert "Fracture" not in found.measures
    rate = found.columns["sex"][0].rates[0]
    assert (round(rate.value, 6), [round(end, 6) for end in rate.interval]) == (0.29, [0.25, 0.34])


def test_without_groups_or_thresholds_there_is_none():
    assert underdiagnosis_of(result_of(a_result(subgroups={}))) is None
    made = a_result()
    for one in made["labels"].values():
        one["threshold"] = None
    assert underdiagnosis_of(result_of(made)) is None
    assert complement(Estimate()) == Estimate()
