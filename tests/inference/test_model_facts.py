from dataclasses import replace

from cxrtool import __version__
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.inference.engines.exported import read_exported
from cxrtool.inference.model_facts import (
    NOT_KNOWN,
    facts_of_ensemble,
    facts_of_exported,
    facts_of_model,
    facts_of_run,
)


def run_card(trained_once):
    return read_card(RunFolder(trained_once.workspace.runs / trained_once.run))


def test_a_run_says_what_its_decisions_rest_on(trained_once):
    card = run_card(trained_once)
    facts = facts_of_run("tiny", card)
    assert (facts.name, facts.arch, facts.version) == ("tiny", "resnet18", __version__)
    assert facts.fingerprint == card.weights_sha256
    assert facts.fingerprint.startswith(facts.short_fingerprint)
    assert facts.operating_point == card.operating_point
    assert facts.calibration == "none"


def test_an_edit_and_a_calibration_are_told(trained_once):
    card = run_card(trained_once)
    changed = replace(card, edited=("Edema",), calibration={"method": "platt"})
    facts = facts_of_run("tiny", changed)
    assert facts.operating_point == f"{card.operating_point}, edited by hand"
    assert facts.calibration == "platt"


def test_an_exported_model_says_the_same_of_itself(trained_once, exported):
    card = read_exported(exported.output)
    facts, run = facts_of_exported("tiny.onnx", card), facts_of_run("tiny", run_card(trained_once))
    assert facts == replace(run, name="tiny.onnx", fingerprint=card.sha256)
    silent = replace(card, about={})
    assert facts_of_exported("x", silent).arch == NOT_KNOWN


def test_a_model_is_named_as_elsewhere(trained_once, exported):
    runs = trained_once.workspace.runs
    run = facts_of_run("tiny", run_card(trained_once))
    assert facts_of_model(runs, "tiny") == facts_of_model(runs, None) == run
    file = facts_of_model(runs, str(exported.output))
    assert (file.name, file.fingerprint) == ("tiny.onnx", read_exported(exported.output).sha256)


def test_what_decides_otherwise_has_another_digest(trained_once):
    card = run_card(trained_once)
    thresholds = dict(card.thresholds) | {"Edema": 0.123}
    changed = replace(card, thresholds=thresholds), replace(card, calibration={"method": "platt"})
    digests = {facts_of_run("tiny", one).decisions for one in (card, *changed)}
    assert len(digests) == 3


def test_several_models_are_told_as_one_whatever_their_order(trained_once):
    first = replace(facts_of_run("tiny", run_card(trained_once)), promises=("all",))
    second = replace(first, name="other", fingerprint="ab" * 32, arch="vit", decisions="cd")
    both, again = facts_of_ensemble([first, second]), facts_of_ensemble([second, first])
    assert (both.name, both.arch) == ("tiny + other", "resnet18, vit")
    assert (both.fingerprint, both.decisions) == (again.fingerprint, again.decisions)
    assert both.fingerprint not in (first.fingerprint, second.fingerprint)
    assert [first.fingerprint in both.remarks[0], second.fingerprint in both.remarks[1]] == [1, 1]
    assert both.promises == ()
    assert facts_of_ensemble([first]) == first


def test_several_views_are_told_and_nothing_is_promised_of_them(trained_once):
    plain = replace(
        facts_of_run("tiny", run_card(trained_once)), promises=("all",), triage=("a", "b")
    )
    seen = facts_of_ensemble([plain], tta=True)
    assert (seen.fingerprint, seen.promises, seen.triage) == (plain.fingerprint, (), None)
    assert seen.decisions != plain.decisions
    assert "five views" in seen.remarks[0]
