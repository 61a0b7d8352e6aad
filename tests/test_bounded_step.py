"""Steps that keep part of the unknowns within bounds."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from affect3d.fitting.bounded_step import bounded_step


@pytest.mark.parametrize("seed", range(6))
def test_a_step_is_that_of_bounded_least_squares_where_one_round_of_holding_is_enough(seed):
    """Against SciPy's solver of the same problem; unknowns that do not mix need one round only."""
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.5, 2, 9)
    here, where = rng.uniform(0, 1, 4), slice(3, 7)
    right = rng.normal(0, 2, 9)
    step = bounded_step(np.diag(scales**2), right, 0.0, here, where)
    low, high = np.full(9, -np.inf), np.full(9, np.inf)
    low[where], high[where] = -here, 1 - here
    np.testing.assert_allclose(step, lsq_linear(np.diag(scales), right / scales, (low, high)).x, atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_held_stays_at_its_bound_and_the_others_solve_their_equations(seed):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(20, 9))
    left, right = A.T @ A, A.T @ rng.normal(0, 4, 20)
    here, where, damping = rng.uniform(0, 1, 4), slice(2, 6), 0.1
    step = bounded_step(left, right, damping, here, where)
    after = here + step[where]
    assert (after >= -1e-9).all() and (after <= 1 + 1e-9).all()
    held = np.zeros(9, bool)
    held[where] = (np.abs(after) < 1e-12) | (np.abs(after - 1) < 1e-12)
    off = (left + damping * np.diag(np.diag(left))) @ step - right
    assert np.abs(off[~held]).max() < 1e-9
    # damping shortens
    inner = bounded_step(left, right, 1e9, here, where)
    assert np.abs(inner).max() < 1e-6
