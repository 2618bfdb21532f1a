"""Names and recipes."""

import dataclasses

from cxrtool.core.config import RECIPES, TrainConfig

FIELDS = {field.name for field in dataclasses.fields(TrainConfig)}


def test_recipes_change_fields_that_there_are():
    for name, values in RECIPES.items():
        assert set(values) <= FIELDS - {"recipe", "name", "seed"}
        assert TrainConfig.of_recipe(name).recipe == name
