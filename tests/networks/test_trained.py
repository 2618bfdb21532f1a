"""A finished run's network."""

import pytest

from cxrtool.core.errors import RunError
from cxrtool.core.runs import RunFolder
from cxrtool.networks.class_activation import load_explainer


def test_weights_of_another_network_are_refused(trained):
    from tests.support.sealing import change_model

    run = RunFolder(trained.workspace.runs / trained.run)
    change_model(run, arch="resnet34")
    with pytest.raises(RunError, match=r"does not fit model\.json") as refusal:
        load_explainer(run)
    assert len(str(refusal.value)) < 1000, "torch's own message names every tensor"
