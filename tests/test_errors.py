"""Bad input: one clear error each, on one line, of a known type, with words that help (the table is in cases.py)."""

import numpy as np
import pytest
from cases import ERROR_CASES, NETWORK, X

import relprop


@pytest.mark.parametrize("case", ERROR_CASES, ids=lambda case: case.name)
def test_bad_input_is_refused_in_one_line(case):
    with pytest.raises(case.error) as caught:
        case.do()
    assert type(caught.value) is case.error
    assert case.words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_of_the_cases_are_unique():
    names = [case.name for case in ERROR_CASES]
    assert len(set(names)) == len(names)


def test_non_finite_values_are_let_through_on_request():
    x = X.copy()
    x[1, 2] = np.nan
    a = relprop.explain(NETWORK, x, "gradient_times_input", 0, allow_nonfinite=True)
    assert np.isnan(a.values[1]).any()
    assert np.isfinite(a.values[[0, 2]]).all(), "a sample does not touch its neighbours"
