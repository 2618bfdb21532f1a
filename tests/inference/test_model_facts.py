from dataclasses import replace

from cxrtool import __version__
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.inference.engines.exported import read_exported
from cxrtool.inference.model_facts import NOT_KNOWN, facts_of_exported, facts_of_run


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
