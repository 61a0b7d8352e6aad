"""BlazeFace: what the short-range face detection network's outputs mean.

References
----------
Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile
GPUs", 2019, arXiv:1907.05047.
"""

from __future__ import annotations

import numpy as np

__all__ = ["anchor_centres", "decode", "merge_overlapping", "overlap", "shared_part"]

# of the face_detector network in MediaPipe's face landmarker task
_INPUT = 128
_STRIDES_AND_ANCHORS = ((8, 2), (16, 6))


def anchor_centres() -> np.ndarray:
    """(896, 2) centres x, y of the anchors in [0, 1], in the network's order.

    Cells row by row, several anchors a cell; all anchors have unit size, so
    the centres are all there is to them.
    """
    centres = []
    for stride, anchors in _STRIDES_AND_ANCHORS:
        cells = _INPUT // stride
        y, x = np.divmod(np.arange(cells * cells), cells)
        centres.append(np.repeat((np.stack([x, y], 1) + 0.5) / cells, anchors, axis=0))
    return np.concatenate(centres)


def decode(regressors, logits, anchors, min_score: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes and key points of the anchors that see a face.

    Parameters
    ----------
    regressors : (A, 16) float
        Per anchor centre x, y, width, height, then six key points x, y, all in
        input pixels relative to the anchor's centre.
    logits : (A,) float
    anchors : (A, 2) float
        From `anchor_centres`.
    min_score : float
        In [0, 1].

    Returns
    -------
    boxes : (N, 4) float64
        x0, y0, x1, y1 in [0, 1] of the network's input.
    points : (N, 6, 2) float64
        The subject's right eye, left eye, nose tip, mouth, right and left ear.
    scores : (N,) float64
    """
    # beyond +-100 the exponential says nothing more and may overflow
    scores = 1.0 / (1.0 + np.exp(-np.clip(np.asarray(logits, float), -100, 100)))
    keep = scores >= min_score
    values = np.asarray(regressors, float)[keep].reshape(-1, 8, 2) / _INPUT
    origin = anchors[keep]
    centre, half = values[:, 0] + origin, values[:, 1] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return boxes, values[:, 2:] + origin[:, None], scores[keep]


def merge_overlapping(boxes, points, scores, threshold: float = 0.3):
    """Weighted non-maximum suppression.

    The surest box absorbs all that overlap it by more than `threshold`
    (intersection over union) and becomes their mean, weighted by score, which
    jitters less than the surest alone; then the next.

    Parameters
    ----------
    boxes : (N, 4), points : (N, K, 2), scores : (N,)

    Returns
    -------
    boxes, points, scores
        With one row a face, surest first.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, points, scores = boxes[order], points[order], scores[order]
    left = np.ones(len(scores), bool)
    out_boxes, out_points, out_scores = [], [], []
    for i in range(len(scores)):
        if not left[i]:
            continue
        group = left & (overlap(boxes[i], boxes) > threshold)
        group[i] = True
        weights = scores[group] / scores[group].sum()
        out_boxes.append(weights @ boxes[group])
        out_points.append(np.einsum("n,nkd->kd", weights, points[group]))
        out_scores.append(scores[i])
        left &= ~group
    return (
        np.array(out_boxes).reshape(-1, 4),
        np.array(out_points).reshape(-1, *points.shape[1:]),
        np.array(out_scores).reshape(-1),
    )


def overlap(box, boxes) -> np.ndarray:
    """(N,) intersection over union of one box (4,) with `boxes` (N, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    union = np.prod(np.maximum(box[2:] - box[:2], 0)) + areas - shared
    return np.where(union > 0, shared / np.maximum(union, 1e-300), 0.0)


def shared_part(box, other) -> float:
    """Area common to two boxes (4,), as a part of the smaller one's."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    shared = np.prod(np.maximum(high - low, 0))
    smaller = min(np.prod(np.maximum(b[2:] - b[:2], 0)) for b in (box, other))
    return float(shared / smaller) if smaller > 0 else 0.0
