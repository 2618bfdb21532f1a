import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from cxrtool.core.config import TrainConfig
from cxrtool.core.errors import UsageError
from cxrtool.search.space import (
    applied,
    as_sweep,
    as_yaml,
    cast,
    default_space,
    parse_space,
    read_space,
    size,
)
from tests.conftest import TINY

DENSE = TrainConfig()


def parse(values, config=DENSE):
    return parse_space(values, config)


def test_the_reports_space():
    found = default_space(DENSE)
    space = {name: (one.low, one.high, one.log) for name, one in found.items()}
    assert space == {
        "lr": (1e-5, 1e-2, True),
        "weight_decay": (1e-6, 1e-1, True),
        "plateau_patience": (1, 4, False),
        "drop_rate": (0, 0.5, False),
    }


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"arch": "resnet101"}, "drop_rate"),
        ({"schedule": "cosine"}, "plateau_patience"),
        ({"patience": 2}, "plateau_patience"),
    ],
)
def test_what_would_have_no_effect_is_not_searched(options, missing):
    names = set(default_space(TrainConfig(**options)))
    assert missing not in names
    assert {"lr", "weight_decay"} <= names


def test_a_plateau_is_noticed_before_the_training_stops():
    space = default_space(TrainConfig(patience=3))
    assert space["plateau_patience"].high == 2


def test_a_space_reads_back_as_it_was_written(tmp_path):
    given = parse(
        {
            "lr": {"low": "1e-5", "high": 1e-2, "log": True},
            "epochs": {"low": 2, "high": 9},
            "arch": ["densenet121", "resnet18"],
            "batch_size": [16, 32],
        }
    )
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(as_yaml(given)))
    assert read_space(path, DENSE) == given
    whole = [isinstance(one, IntDistribution) for one in given.values()]
    assert whole == [False, True, False, False]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("lr", {"low": 1e-2, "high": 1e-5}, "is not below high"),
        ("lr", {"low": 0, "high": 1e-5, "log": True}, "logarithmic"),
        ("lr", {"low": -1, "high": 1}, "-1 is below 0"),
        ("lr", {"low": "much", "high": 1}, "are numbers"),
        ("lr", {"low": 1e-5, "high": 1e-2, "step": 2}, "key 'step' is not known"),
        ("lr", 1e-3, "a range"),
        ("drop_rate", {"low": 0, "high": 1}, "1 is above 0.99"),
        ("image_size", [16, 64], "16 is below 32"),
        ("batch_size", {"low": 1.5, "high": 4}, "1.5 is not a whole number"),
        ("schedule", ["plateau", "cosin"], "did you mean cosine"),
        ("arch", ["densenet121", "densenet12"], "densenet12"),
        ("arch", ["densenet121"], "two or more"),
        ("arch", {"low": 1, "high": 2}, "give a list"),
        ("epochs", [3, 3], "two or more"),
        ("rate", {"low": 1, "high": 2}, "option of train 'rate'"),
        ("uncertainty", ["ones", "zeros"], "what the score is measured on"),
        ("fold", [0, 1], "what the score is measured on"),
        ("device", ["cpu", "cuda"], "how a trial is run"),
        ("plateau_patience", {"low": 1, "high": 5}, "would stop before"),
    ],
)
def test_what_train_would_refuse_is_refused_before_it(name, given, message):
    with pytest.raises(UsageError, match=message):
        parse({name: given})


def test_all_problems_are_told_at_once():
    with pytest.raises(UsageError, match=r"lr: .*; epochs: .*"):
        parse({"lr": 3, "epochs": {"low": 0, "high": 3}})


def test_drop_rates_are_densenets():
    with pytest.raises(UsageError, match="resnet18 has none"):
        parse({"drop_rate": {"low": 0, "high": 0.5}}, TrainConfig(arch="resnet18"))
    space = parse({"drop_rate": [0.1, 0.2], "arch": ["resnet18", "densenet121"]})
    assert len(space) == 2
    values = {"drop_rate": 0.2, "arch": "resnet18"}
    assert applied(DENSE, values).drop_rate == 0
    assert applied(DENSE, {**values, "arch": "densenet121"}).drop_rate == 0.2


def test_drop_paths_are_of_networks_that_have_them():
    with pytest.raises(UsageError, match="drop_path: densenet121 has none"):
        parse({"drop_path": {"low": 0, "high": 0.5}}, DENSE)
    values = {"drop_path": 0.2, "drop_rate": 0.1}
    made = {arch: applied(DENSE, {**values, "arch": arch}) for arch in ("swin_t", "timm/test_vit")}
    assert [(one.drop_path, one.drop_rate) for one in made.values()] == [(0.2, 0), (0.2, 0.1)]
    assert applied(DENSE, {**values, "arch": "resnet18"}).drop_path is None


def test_a_space_without_real_numbers_has_a_size():
    assert size(parse({"batch_size": [8, 16, 32], "epochs": {"low": 2, "high": 5}})) == 12
    assert size(default_space(DENSE)) is None


def test_a_sweep_has_the_same_space():
    found = as_sweep(default_space(DENSE), "score")
    assert found["method"] == "bayes"
    assert found["metric"] == {"name": "score", "goal": "maximize"}
    assert found["parameters"] == {
        "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-2},
        "weight_decay": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-1},
        "plateau_patience": {"distribution": "int_uniform", "min": 1, "max": 4},
        "drop_rate": {"distribution": "uniform", "min": 0.0, "max": 0.5},
    }


def test_the_sweep_is_one_by_wandbs_own_schema():
    """`pip install --no-deps sweeps jsonschema jsonref`: what it says of numpy is out of date."""
    pytest.importorskip("sweeps", reason="W&B's schema is in the package sweeps, not installed")
    from sweeps import schema_violations_from_proposed_config as violations

    space = parse({"batch_size": [8, 16], "lr": {"low": 1e-5, "high": 1e-2, "log": True}})
    for one in (default_space(DENSE), space):
        assert violations(as_sweep(one, "score")) == []
    assert violations({**as_sweep(space, "score"), "method": "guess"}) != []


def test_what_comes_back_from_elsewhere_is_cast_and_checked():
    whole = IntDistribution(1, 4)
    assert cast("epochs", whole, 3.0) == 3
    assert isinstance(cast("epochs", whole, 3.0), int)
    rate = FloatDistribution(1e-5, 1e-2, log=True)
    assert cast("lr", rate, 1e-5 * (1 - 1e-9)) == 1e-5
    for wrong in (5.0, 2.5, "three", None):
        with pytest.raises(UsageError, match=f"epochs {wrong!r} is not in the space"):
            cast("epochs", whole, wrong)
    with pytest.raises(UsageError, match="not in the space"):
        cast("arch", CategoricalDistribution(("a", "b")), "c")


def test_a_spaces_numbers_have_the_same_ends(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("lr: {low: 1e-5, high: 1e9, log: yes}\nimage_size: [64, 100000]\n")
    with pytest.raises(UsageError, match="lr: 1000000000 is above 100") as refused:
        read_space(file, TINY)
    assert "image_size: 100000 is above" in str(refused.value)
