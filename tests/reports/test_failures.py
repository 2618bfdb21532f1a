"""Failures: the worst first, one a patient, and nothing that names one."""

from dataclasses import replace

import numpy as np

from cxrtool.evaluation.operating_points import OperatingPoint
from cxrtool.evaluation.protocol import Protocol
from cxrtool.evaluation.scoring import About, score_sample
from cxrtool.evaluation.thresholds import ChosenRule, Rule
from cxrtool.reports.failures import MOST, Sources, worst_failures
from tests.support.results import ORIGIN
from tests.support.samples import LABELS, THRESHOLDS, draw_sample


def scored(sample):
    protocol = Protocol(
        name="other",
        labels_by="x",
        uncertainty="ones",
        blank="zeros",
        split_by="patient",
        views=(),
    )
    about = About(
        run="r", split="test", protocol=protocol, unit="image", aggregate=None, origin=ORIGIN
    )
    chosen = ChosenRule(rule=Rule("youden"), chosen_on="valid", edited=())
    point = OperatingPoint(chosen=chosen, thresholds=THRESHOLDS, without={})
    return score_sample(sample, about, point=point, replicates=0, seed=1)


def test_the_worst_of_each_label_come_first_one_a_patient():
    sample = draw_sample(4)
    sample.targets[np.flatnonzero(sample.targets[:, 2])[3:], 2] = False
    # The two that are missed worst are one patient's.
    of_edema = np.where(sample.targets[:, 0], sample.scores[:, 0], 1.0)
    first, second = np.argsort(of_edema)[:2]
    sample.patients[second] = sample.patients[first]
    ages = np.where(np.arange(240) % 2, "0-19", "20-39")
    sample = replace(sample, groups={**sample.groups, "sex x age": sample.keys, "age": ages})
    lines = {
        (patient, key): [at + 2]
        for at, (patient, key) in enumerate(zip(sample.patients, sample.keys, strict=True))
    }
    found = worst_failures(scored(sample), Sources(lines=lines, table="predictions/test.csv"))
    assert found.columns == ("sex", "age")
    assert [one.label for one in found.labels] == ["Edema", "Cardiomegaly", "Pneumonia"]
    assert found.left_out == ["Fracture", "Nothing"]
    for one in found.labels:
        at = LABELS.index(one.label)
        score, positive, mask = sample.scores[:, at], sample.targets[:, at], sample.mask[:, at]
        called = score >= THRESHOLDS[at]
        wrong = {"misses": positive & ~called & mask, "false_alarms": ~positive & called & mask}
        assert (one.missed, one.alarmed) == tuple(rows.sum() for rows in wrong.values())
        for kind, rows in wrong.items():
            listed = [line - 2 for failure in getattr(one, kind) for line in failure.lines]
            assert len(listed) == MOST
            assert rows[listed].all()
            whose = sample.patients[listed]
            assert len(set(whose)) == MOST
            sign = 1 if kind == "misses" else -1
            # Nobody else is as wrong.
            others = rows & ~np.isin(sample.patients, whose)
            assert (sign * score[others]).min() >= (sign * score[listed]).max()
            for row, failure in zip(listed, getattr(one, kind), strict=True):
                assert failure.groups == {"sex": sample.groups["sex"][row], "age": ages[row]}
                assert float(failure.score) == round(score[row], len(failure.score) - 2)
                assert failure.score != failure.threshold


def test_pictures_are_those_of_the_rows_that_are_listed():
    sample = draw_sample(4)
    sources = Sources(pictures=lambda key: [" of ".join(key)])
    found = worst_failures(scored(sample), sources)
    assert found.shown
    key_of = dict(zip(sample.keys, sample.patients, strict=True))
    pictures = [
        picture
        for label in found.labels
        for failure in (*label.misses, *label.false_alarms)
        for picture in failure.pictures
    ]
    assert pictures
    for picture in pictures:
        patient, key = picture.split(" of ")
        assert key_of[key] == patient
    assert not worst_failures(scored(sample)).shown


def test_without_the_table_no_line_is_named():
    found = worst_failures(scored(draw_sample(4)))
    assert found.table == ""
    assert all(not one.lines for label in found.labels for one in label.misses)
