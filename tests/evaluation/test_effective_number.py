"""Kish's effective number of patients."""

import doctest

import numpy as np
import pytest

from cxrtool.core.errors import DataError
from cxrtool.evaluation import effective_number as effective


def test_examples_in_the_docstrings_hold():
    assert doctest.testmod(effective).failed == 0


def test_equal_patients_are_worth_their_number_and_unequal_ones_fewer():
    rng = np.random.default_rng(3)
    for _ in range(50):
        sizes = rng.integers(1, 30, rng.integers(2, 40))
        found = effective.effective_number(sizes)
        assert 1 <= found <= len(sizes) + 1e-9
        assert effective.effective_number(np.full(len(sizes), sizes[0])) == pytest.approx(
            len(sizes)
        )
        # One over the sum of squared weights, by its other form.
        assert found == pytest.approx(1 / np.sum((sizes / sizes.sum()) ** 2))


def test_it_is_the_variance_of_a_mean_over_rows_of_wholly_alike_clusters():
    sizes, rng = np.array([1, 2, 3, 30]), np.random.default_rng(5)
    means = rng.normal(size=(200_000, 4)) @ sizes / sizes.sum()
    assert 1 / np.var(means) == pytest.approx(effective.effective_number(sizes), rel=0.02)


def test_nobody_is_worth_nothing():
    assert effective.effective_number([]) == effective.effective_number([0, 0]) == 0
    assert effective.effective_number([0, 4]) == 1


def test_wrong_sizes_are_refused():
    for wrong in ([-1], [[1, 2]], [float("nan")]):
        with pytest.raises(DataError, match="sizes of clusters"):
            effective.effective_number(wrong)
    with pytest.raises(DataError, match="2 rows have patients"):
        effective.effective_patients(["a", "b"], [True, False])


def test_rows_of_each_column_are_counted_by_patient():
    among = np.array([[1, 0], [1, 1], [1, 1], [0, 0]], bool)
    found = effective.effective_patients(["x", "x", "y", "z"], among)
    assert found == pytest.approx([9 / 5, 2])
