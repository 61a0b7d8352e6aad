"""What is particular to a person beyond the model's identity: resting scores, and where a detector puts landmarks.

A detector errs in the same way in all pictures of a person, and a model of tens of modes leaves details of a face
out.  In one picture both look like an expression.  Over many pictures they are what stays, and can be told from it.
"""

from __future__ import annotations

import numpy as np

from affect3d.fitting.facefit import RESTING_SCORES
from affect3d.fitting.known_face import fit_known
from affect3d.fitting.landmark_view import person_points

__all__ = ["expected_expressions", "landmark_offsets", "resting_scores"]


def resting_scores(scores, names, share: float = 10.0, reach: float = 2.0, spare: float = 0.1) -> np.ndarray:
    """(E,) detector's scores of a person's face at rest.

    Parameters
    ----------
    scores : (T, E) float array
        Of many pictures, in [0, 1].
    names : sequence of str
        ARKit names of the columns.
    share : float
        The percentile taken for rest.
    reach, spare : float
        It is believed up to `reach` times what faces of other people get, plus `spare`, so that somebody who smiles
        all the time is not taken for somebody at rest.
    """
    usual = np.array([RESTING_SCORES.get(n.removesuffix("Left").removesuffix("Right"), 0.0) for n in names])
    if len(scores) < 5:
        return usual
    return np.minimum(np.percentile(scores, share, axis=0), reach * usual + spare)


def expected_expressions(scores, rest) -> np.ndarray:
    """(T, E) scores above `rest`, stretched to [0, 1]."""
    return np.clip((scores - rest) / (1 - rest), 0, 1)


def landmark_offsets(
    views, basis, identity, poses, spread: float = 3.0, rounds: int = 4, worth: float = 8.0
) -> tuple[np.ndarray, list]:
    """By how much this person's landmarks, as the detector puts them, lie beside the model's.

    Pose and expression of every picture, and the offsets that all pictures share, are fitted in turn.

    Parameters
    ----------
    views : sequence of LandmarkView
        Their `trust` should be narrow: what is not expected of the expression then goes to the offsets.
    basis : LandmarkBasis
    identity : (K,) float array
        Standard deviations.
    poses : sequence of Pose
        Starts, one a picture.
    spread : float
        Expected deviation of an offset, mm.
    rounds : int
    worth : float
        How many independent pictures all pictures together are worth at most.

    Returns
    -------
    offsets : (L, 3) float64
        mm, model frame; along the line of sight little more than zero.
    poses : list of Pose
    """
    offset, poses = np.zeros_like(basis.mean), list(poses)
    part = min(len(views), worth) / max(len(views), 1)
    for _ in range(rounds):
        person = person_points(basis, identity, offset)
        left = np.tile(np.eye(3) / spread**2, (len(offset), 1, 1))
        right = np.zeros_like(offset)
        for k, view in enumerate(views):
            poses[k], _, _ = fit_known(view, person, poses[k], iterations=6)
            residual, _ = view.residual(person, poses[k])
            weight = part * view.weights(residual)[:, None]
            seen = view.project(person, poses[k])[1]
            P = np.zeros((len(seen), 2, 3))
            P[:, 0, 0] = P[:, 1, 1] = view.focal / seen[:, 2] / view.unit
            P[:, :, 2] = -view.focal * seen[:, :2] / seen[:, 2:] ** 2 / view.unit
            J = np.nan_to_num(P @ poses[k].rotation)
            aim = np.einsum("lij,lj->li", J, offset) - np.nan_to_num(residual)
            left += np.einsum("lij,lik->ljk", J * weight[..., None], J)
            right += np.einsum("lij,li->lj", J, weight * aim)
        offset = np.linalg.solve(left, right[..., None])[..., 0]
    return offset, poses
