"""A film of a person with another affect: the same person, who goes on talking and blinking."""

from __future__ import annotations

import numpy as np

from affect3d.affect import express as query_affect
from affect3d.affect import expression_for
from affect3d.detect import FaceDetection
from affect3d.fitting.facefit import FaceFit
from affect3d.fitting.resting import over_rest, resting_expression
from affect3d.landmark_groups import interocular
from affect3d.landmarks import Landmarks
from affect3d.synthesis.portrait import Portrait

__all__ = ["affect_expressions", "film_frames", "film_rest", "moving_expression"]

#: Percentile of a shape over a film that is taken for the face at rest.
_REST = 20.0


def moving_expression(track, rest, base, keep: float = 0.8) -> np.ndarray:
    """(T, E) expressions of a film whose person feels something else.

    Parameters
    ----------
    track : Track
        Of `affect3d.fitting.video`.
    rest : (E,) float array in [0, 1]
        The person's (`film_rest`).
    base : (E,) or (T, E) float array
        The expression of the wanted affect, away from rest.
    keep : float
        How much of the person's own movement, away from rest, is laid over it; in [0, 1].

    Returns
    -------
    (T, E) float64 in [0, 1].  The gaze is the film's own.
    """
    if not 0 <= keep <= 1:
        raise ValueError(f"keep: expected a number in [0, 1], got {keep}")
    own = np.asarray(track.expression, float)
    base = over_rest(track.expression_names, rest, np.broadcast_to(np.asarray(base, float), own.shape))
    # what is there already needs less: a closed lid does not close twice
    out = base + keep * np.clip(own - _least(track), 0, 1) * (1 - base)
    gaze = np.array([name.startswith("eyeLook") for name in track.expression_names])
    out[:, gaze] = own[:, gaze]
    return np.clip(out, 0, 1)


def film_rest(track, model) -> np.ndarray:
    """(E,) expression in [0, 1] of the person of a film at rest, by what is least in it."""
    return resting_expression(model, "mediapipe478", _least(track))


def _least(track):
    return np.percentile(np.asarray(track.expression, float)[np.asarray(track.found, bool)], _REST, axis=0)


def affect_expressions(model, statistics, points) -> np.ndarray:
    """(T, E) expressions of `model` for T points of the plane.

    Parameters
    ----------
    model : MorphableModel
    statistics
        Of a gallery, as for `Portrait.express`.
    points : (T, 2) array of valence and arousal in [-1, 1]

    Raises
    ------
    ValueError
        If a point lies outside the plane.
    """
    points = np.asarray(points, float)
    # a film whose affect stays asks once
    known, which = np.unique(points, axis=0, return_inverse=True)
    found = [expression_for(model.expression_names, query_affect(statistics, v, a)) for v, a in known.tolist()]
    return np.array(found)[which.ravel()]


def film_frames(frames, track, model, base, keep: float = 0.8):
    """Yield the frames of a film in which the person shows the expressions `base`.

    Every frame is made from itself by the smoothed fit and landmarks of the track, so nothing of one frame's noise
    comes into the shape.  Frames in which the face was not found stay as they are.

    Parameters
    ----------
    frames : iterable of (H, W, 3) uint8
        Those that were tracked.
    track : Track
    model : MorphableModel
    base : (E,) or (T, E) float array in [0, 1]
        In the order of the model's expressions, e.g. from `affect_expressions` or `expression_for`.
    keep : float
        As in `moving_expression`.

    Raises
    ------
    ValueError
        If an argument is out of range or the face is too small to draw.
    """
    rest = film_rest(track, model)
    wanted, white = moving_expression(track, rest, base, keep), None
    for k, pixels in zip(range(len(track)), frames):
        if not track.found[k]:
            yield np.asarray(pixels)
            continue
        portrait = _portrait(pixels, track, model, k, rest)
        # one white for all frames, or teeth would change whenever lips part
        white = portrait.white = portrait.white if white is None else white
        yield portrait.posed(wanted[k]).image


class _FilmPortrait(Portrait):
    """A portrait whose mouth is drawn from the model in every frame.

    A photo's own teeth are kept where it shows some.  In a film that would change from frame to frame.
    """

    def _setup_source(self):
        super()._setup_source()
        self._inside_seen = np.zeros_like(self._inside_seen)
        self._own_teeth = False


def _portrait(pixels, track, model, k, rest) -> Portrait:
    marks = track.landmarks(model, k)
    camera = track.camera(k)
    unit = max(interocular("mediapipe478", marks), 1e-6)
    box = np.concatenate([np.nanmin(marks, 0), np.nanmax(marks, 0)])
    detection = FaceDetection(box, float(track.score[k]), Landmarks("mediapipe478", marks))
    fit = FaceFit(
        camera, track.identity, track.expression[k], "mediapipe478", marks, marks, float(track.rms[k] * unit),
        float(track.rms[k]), 0, True, "tracked",
    )  # fmt: skip
    return _FilmPortrait(np.ascontiguousarray(pixels), model, fit, detection, rest=rest)
