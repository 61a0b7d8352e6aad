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

#: Share of a film in which brows are taken to be at rest.
_OFTEN = 0.4
#: Scores from rest to 1 are stretched as if this much lay between them at least, for noise is stretched along.
_NARROW = 0.3
#: Expression for each unit of score that raised brows are below their rest.
_LOWERED = 1.3


def resting_scores(scores, names, share: float = 10.0, reach: float = 2.0, spare: float = 0.1) -> np.ndarray:
    """(E,) detector's scores of a person's face at rest.

    Parameters
    ----------
    scores : (T, E) float array
        Of many pictures, in [0, 1].
    names : sequence of str
        ARKit names of the columns.
    share : float
        The percentile taken for rest, of all but the brows.
    reach, spare : float
        It is believed up to `reach` times what faces of other people get, plus `spare`, so that somebody who smiles
        all the time is not taken for somebody at rest.

    Notes
    -----
    Brows move both ways from rest, and people at rest get any score for them: of 30 photographed without expression a
    tenth have more than 0.26 for raised inner brows, up to 0.81, and more than 0.36 for lowered ones.  What these
    scores are at rest is where they are most often: the middle of the shortest interval that holds two fifths of them.
    """
    usual = np.array([RESTING_SCORES.get(_stem(n), 0.0) for n in names])
    if len(scores) < 5:
        return usual
    rest = np.minimum(np.percentile(scores, share, axis=0), reach * usual + spare)
    ordered = np.sort(scores, axis=0)
    count = int(np.ceil(_OFTEN * len(scores)))
    for k, name in enumerate(names):
        if name.startswith("brow"):
            widths = ordered[count - 1 :, k] - ordered[: len(ordered) - count + 1, k]
            first = int(np.argmin(widths))
            rest[k] = np.median(ordered[first : first + count, k])
    return rest


def expected_expressions(scores, rest, names) -> np.ndarray:
    """Scores above `rest`, stretched to [0, 1].

    Brows that are less raised than at rest are lowered, and the other way round: a detector that sees raised brows in
    a face at rest scores lowered ones by less of that.

    Parameters
    ----------
    scores : (T, E) or (E,) float array
        In [0, 1].
    rest : (E,) float array
        As `resting_scores` gives it.
    names : sequence of str
        ARKit names of the columns.

    Returns
    -------
    float64 array of the shape of `scores`, in [0, 1]
    """
    scores, rest = np.asarray(scores, float), np.asarray(rest, float)
    above = (scores - rest) / np.maximum(1 - rest, _NARROW)
    expected = np.clip(above, 0, 1)
    place = {name: k for k, name in enumerate(names)}
    for side in ("Left", "Right"):
        up = [place[n] for n in ("browInnerUp", f"browOuterUp{side}") if n in place]
        down = place.get(f"browDown{side}")
        if down is None or not up:
            continue
        fallen = _LOWERED * np.maximum(rest[up] - scores[..., up], 0).max(-1)
        risen = _LOWERED * np.maximum(rest[down] - scores[..., down], 0)
        expected[..., down] = np.clip(expected[..., down] + fallen, 0, 1)
        for k in up:
            share = 0.5 if place.get("browInnerUp") == k else 1.0
            expected[..., k] = np.clip(expected[..., k] + share * risen, 0, 1)
    return expected


def _stem(name: str) -> str:
    return name.removesuffix("Left").removesuffix("Right")


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
