"""Operating points: equal to a search through every threshold, and to scikit-learn's curves."""

import doctest
from fractions import Fraction

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from cxrtool.core.errors import DataError, UsageError
from cxrtool.evaluation import thresholds as operating
from cxrtool.evaluation.metrics import youden_threshold
from cxrtool.evaluation.thresholds import Rule, parse_rule, threshold_for, thresholds_for
from tests.support.confusion import confusion_at
from tests.support.labelled_scores import labelled_scores

pytestmark = pytest.mark.filterwarnings("error")

WANTED = ("0.001", "0.1", "1/3", "0.5", "0.7", "0.9", "0.95", "0.99", "1")
RULES = [Rule("youden"), Rule("f1")] + [
    Rule(name, float(Fraction(share)))
    for name in ("sensitivity", "specificity")
    for share in WANTED
]
CASES = {  # images, prevalence, distinct scores (None: no ties), share without a label
    "random": (150, 0.4, None, 0.0),
    "tied": (150, 0.4, 7, 0.1),
    "two scores": (40, 0.5, 2, 0.1),
    "one score": (20, 0.5, 1, 0.0),
    "one positive": (100, 0.0, None, 0.0),
    "one negative": (100, 1.0, 30, 0.0),
    "tiny": (4, 0.5, None, 0.0),
    "tiny and tied": (5, 0.5, 3, 0.2),
    "two images": (2, 0.5, None, 0.0),
    "mostly missing": (200, 0.5, 20, 0.8),
}


@pytest.fixture(params=[(case, seed) for case in CASES for seed in range(4)], ids=str)
def labelled(request):
    case, seed = request.param
    return labelled_scores(CASES[case], seed)


def exact(wanted):
    """The share that was written, and not the float next to it."""
    return Fraction(str(wanted))


def rates(y_true, y_score, threshold):
    """Sensitivity, specificity and F1 at a threshold, in fractions."""
    positive, called = y_true == 1, y_score >= threshold
    tp, fp = int(np.sum(called & positive)), int(np.sum(called & ~positive))
    fn, tn = int(np.sum(positive)) - tp, int(np.sum(~positive)) - fp
    return Fraction(tp, tp + fn), Fraction(tn, tn + fp), Fraction(2 * tp, 2 * tp + fp + fn)


def brute_threshold(rule, y_true, y_score):
    """Search the scores that occur, and the number above them all for a specificity."""
    scores = np.unique(y_score)
    at = {float(score): rates(y_true, y_score, score) for score in scores}
    if rule.name == "youden":
        return min(at, key=lambda score: (-at[score][0] - at[score][1], score))
    if rule.name == "f1":
        return min(at, key=lambda score: (-at[score][2], score))
    if rule.name == "sensitivity":
        return max(score for score in at if at[score][0] >= exact(rule.share))
    specific = [score for score in at if at[score][1] >= exact(rule.share)]
    return min(specific, default=above(float(scores[-1])))


def above(score):
    """The next float64 above a score that is rounded up to a float32."""
    single = np.float32(score)
    up = single if float(single) >= score else np.nextafter(single, np.float32(np.inf))
    return float(np.nextafter(float(up), np.inf))


# Thresholds


def test_a_threshold_is_what_a_search_through_all_finds(labelled):
    y_true, y_score, mask = labelled
    for rule in RULES:
        expected = brute_threshold(rule, y_true[mask], y_score[mask].astype(float))
        found = threshold_for(rule, *labelled)
        assert found == expected, rule
        assert np.isfinite(found), rule


def test_the_rates_at_a_threshold_are_those_that_were_wanted(labelled):
    for rule in RULES:
        at = confusion_at(*labelled[:2], threshold_for(rule, *labelled), labelled[2])
        if rule.name == "sensitivity":
            assert Fraction(at.tp, at.tp + at.fn) >= exact(rule.share), rule
        if rule.name == "specificity":
            assert Fraction(at.tn, at.tn + at.fp) >= exact(rule.share), rule


def test_youden_is_the_one_of_the_metrics(labelled):
    assert threshold_for(Rule("youden"), *labelled) == youden_threshold(*labelled)


def test_f1_is_the_best_of_scikit_learns_curve(labelled):
    y_true, y_score, mask = labelled
    precision, recall, _ = precision_recall_curve(y_true[mask], y_score[mask])
    f1 = 2 * precision * recall / np.where(precision + recall > 0, precision + recall, 1)
    at = confusion_at(y_true, y_score, threshold_for(Rule("f1"), *labelled), mask)
    assert at.f1 == pytest.approx(f1.max(), abs=1e-12)


@pytest.mark.parametrize("wanted", [0.1, 0.5, 0.9, 1.0])
def test_no_point_of_scikit_learns_curve_is_better_at_the_wanted_rate(wanted, labelled):
    y_true, y_score, mask = labelled
    fpr, tpr, _ = roc_curve(y_true[mask], y_score[mask], drop_intermediate=False)
    at = confusion_at(y_true, y_score, threshold_for(Rule("sensitivity", wanted), *labelled), mask)
    assert 1 - at.specificity == pytest.approx(fpr[tpr >= wanted - 1e-12].min(), abs=1e-12)
    at = confusion_at(y_true, y_score, threshold_for(Rule("specificity", wanted), *labelled), mask)
    assert at.sensitivity == pytest.approx(tpr[1 - fpr >= wanted - 1e-12].max(), abs=1e-12)


@pytest.mark.parametrize("many", [10, 20, 50, 70, 100, 1000])
def test_a_share_of_many_is_a_whole_number_where_it_is_one(many):
    # As floats 0.07 * 100 is more than 7, and 0.29 * 100 less than 29.
    y_true, y_score = np.repeat([1, 0], [many, 1]), np.append(np.arange(many, 0, -1), 0)
    for percent in range(1, 101):
        needed = -(-percent * many // 100)
        at = threshold_for(parse_rule(f"sensitivity={percent / 100}"), y_true, y_score)
        assert at == many + 1 - needed, percent
        at = threshold_for(parse_rule(f"specificity={percent / 100}"), 1 - y_true, -y_score)
        assert confusion_at(1 - y_true, -y_score, at).tn == needed, percent


def test_of_equal_f1_the_more_sensitive_wins():
    y_true, y_score = np.array([1, 0, 0, 1]), np.array([0.9, 0.5, 0.4, 0.3])
    assert rates(y_true, y_score, 0.9)[2] == rates(y_true, y_score, 0.3)[2] == Fraction(2, 3)
    assert threshold_for(Rule("f1"), y_true, y_score) == 0.3


def test_nobody_is_positive_where_the_highest_score_is_not_specific_enough():
    y_true, y_score = [0, 0, 0, 1, 1], np.array([0.2, 0.7, 0.7, 0.7, 0.1], np.float32)
    threshold = threshold_for(Rule("specificity", 0.9), y_true, y_score)
    assert threshold == np.nextafter(float(np.float32(0.7)), np.inf)
    at = confusion_at(y_true, y_score, threshold)
    assert (at.tp, at.fp, at.specificity) == (0, 0, 1)


@pytest.mark.parametrize("highest", [0.7, 1 - 2**-53, 1.0, 7.3, 1e38, 3.5e38, 1e300])
def test_nobody_is_positive_just_above_a_score_of_any_size(highest):
    threshold = threshold_for(Rule("specificity", 1), [0, 1, 0], [0.1, highest, highest])
    assert highest < threshold < highest * (1 + 2**-22)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_all_equal_scores_have_a_threshold(rule):
    threshold = threshold_for(rule, [0, 1, 1], [0.5, 0.5, 0.5])
    expected = np.nextafter(0.5, 1) if rule.name == "specificity" else 0.5
    assert threshold == expected


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("one", [0, 1])
def test_one_class_has_no_threshold(rule, one):
    assert np.isnan(threshold_for(rule, [one] * 3, [0.1, 0.2, 0.3]))
    assert np.isnan(threshold_for(rule, [one, 1 - one], [0.1, 0.2], [True, False]))
    assert np.isnan(threshold_for(rule, [], []))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_neighbours_of_float32_are_told_apart(rule):
    y_score = np.nextafter(np.float32(0.3), np.float32([0, 0.3, 1]), dtype=np.float32)
    y_true = np.array([0, 1, 0])
    assert threshold_for(rule, y_true, y_score) == brute_threshold(
        rule, y_true, y_score.astype(float)
    )


def test_the_order_of_the_images_does_not_matter(labelled):
    order = np.random.default_rng(1).permutation(len(labelled[0]))
    shuffled = [part[order] for part in labelled]
    for rule in RULES:
        assert threshold_for(rule, *shuffled) == threshold_for(rule, *labelled), rule


# Many labels


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_each_label_has_its_own_threshold(rule):
    rng = np.random.default_rng(5)
    targets = (rng.random((60, 4)) < 0.4).astype(float)
    scores = rng.normal(targets, 1).astype(np.float32)
    mask = rng.random((60, 4)) < 0.7
    targets[:, 2] = 1
    targets[~mask], scores[~mask] = np.nan, np.inf
    found = thresholds_for(rule, targets, scores, mask)
    assert found.dtype == np.float64
    assert np.isnan(found).tolist() == [False, False, True, False]
    for label in (0, 1, 3):
        parts = (part[:, label] for part in (targets, scores, mask))
        assert found[label] == threshold_for(rule, *parts)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_scores_that_cannot_be_are_refused(rule):
    with pytest.raises(DataError, match="1 have a target other than 0 and 1"):
        threshold_for(rule, [0, 2], [0.1, 0.2])
    with pytest.raises(DataError, match="expected 1 dimension"):
        threshold_for(rule, [0, 1], [0.1])
    with pytest.raises(DataError, match=r"column 1: .* 1 a score that is not finite"):
        thresholds_for(rule, np.eye(2), [[0, np.nan], [1, 1]], np.ones((2, 2), bool))


# Rules


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_rule_reads_back_from_its_text(rule):
    assert parse_rule(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "rule", "shown"),
    [
        ("youden", Rule("youden"), "youden"),
        (" f1 ", Rule("f1"), "f1"),
        ("sensitivity=0.9", Rule("sensitivity", 0.9), "sensitivity=0.9"),
        ("sensitivity = .90", Rule("sensitivity", 0.9), "sensitivity=0.9"),
        ("specificity=1", Rule("specificity", 1.0), "specificity=1"),
        ("specificity=1e-3", Rule("specificity", 0.001), "specificity=0.001"),
        ("sensitivity=1e-9", Rule("sensitivity", 1e-9), "sensitivity=1e-09"),
    ],
)
def test_a_rule_is_read(text, rule, shown):
    assert parse_rule(text) == rule
    assert str(rule) == shown
    assert str(Rule(rule.name, rule.share and np.float64(rule.share))) == shown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sensitivity=90", r"sensitivity=90: .*did you mean sensitivity=0\.9\?"),
        ("specificity=97.5", r"did you mean specificity=0\.975\?"),
        ("sensitivity=90%", r"as sensitivity=0\.9$"),
        ("sensitivity=85 %", r"as sensitivity=0\.85$"),
        ("sensitivity=0", "above 0 and up to 1$"),
        ("sensitivity=-0.5", "above 0 and up to 1$"),
        ("sensitivity=101", "above 0 and up to 1$"),
        ("sensitivity=nan", "above 0 and up to 1, as sensitivity=0.9"),
        ("sensitivity=inf", "above 0 and up to 1, as sensitivity=0.9"),
        ("specificity=", "above 0 and up to 1, as specificity=0.9"),
        ("specificity=high", "above 0 and up to 1, as specificity=0.9"),
        ("specificity=0.9=0.9", "above 0 and up to 1, as specificity=0.9"),
        ("sensitivity", "needs a share: as sensitivity=0.9"),
        ("youden=0.9", "youden takes no share: write youden"),
        ("f1=", "f1 takes no share: write f1"),
        ("sensitivty=0.9", "'sensitivty' is not known: did you mean sensitivity"),
        ("recall", "'recall' is not known: .*youden, f1, sensitivity, specificity"),
        ("", "'' is not known"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(text, says):
    with pytest.raises(UsageError, match=says):
        parse_rule(text)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("youden", 0.5), ("f1", 1.0), ("sensitivity", None), ("specificity", np.nan), ("ppv", 0.5)],
)
def test_no_rule_is_made_that_could_not_be_read(name, wanted):
    with pytest.raises(UsageError):
        Rule(name, wanted)


def test_examples():
    assert doctest.testmod(operating).failed == 0
