"""Which registrations are kept: limits for each frame alone, and outliers within its sequence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from affect3d.registration.records import FrameRecord

__all__ = ["Limits", "frame_verdict", "sequence_outliers"]


@dataclass(frozen=True)
class Limits:
    """What a registration must keep to.

    Attributes
    ----------
    residual : float
        Largest median distance to the scan, mm.
    residual_p95 : float
        Largest 95th percentile of that distance, mm.
    landmark_error : float
        Largest median distance of landmarks, mm; generous, because landmarks are found or clicked with errors of
        some millimetres.
    matched : float
        Least share of the template that found the scan, in [0, 1].
    distorted : float
        Largest share of the template's triangles that were turned over, crushed or torn apart, in [0, 1].
    deviations : float
        A frame is an outlier of its sequence beyond so many robust standard deviations (1.4826 times the median
        absolute deviation).
    least_spread : float
        Robust standard deviations below this count as this, mm (for `matched`: a tenth of it, as a share), so that
        a very even sequence does not lose frames over micrometres.
    least_frames : int
        Shorter sequences are not searched for outliers.
    """

    residual: float = 1.0
    residual_p95: float = 4.0
    landmark_error: float = 10.0
    matched: float = 0.6
    distorted: float = 0.02
    deviations: float = 6.0
    least_spread: float = 0.1
    least_frames: int = 8

    def __post_init__(self):
        for name in ("residual", "residual_p95", "landmark_error", "deviations", "least_spread"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}: expected a positive finite number, got {value}")
        for name in ("matched", "distorted"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share in [0, 1], got {getattr(self, name)}")
        if self.least_frames < 3:
            raise ValueError(f"least_frames: expected at least 3, got {self.least_frames}")


def frame_verdict(record: FrameRecord, limits: Limits = Limits()) -> tuple[str, str]:
    """Verdict on a registered frame alone.

    Returns
    -------
    verdict : {"kept", "pruned"}
    why : str
        Every limit that was broken; empty if kept.
    """
    faults = []
    if not record.converged:
        faults.append(f"the registration did not converge: {record.reason}")
    for value, limit, what in (
        (record.residuals.get("median"), limits.residual, "the median distance to the scan"),
        (record.residuals.get("p95"), limits.residual_p95, "the 95th percentile of the distance to the scan"),
        (record.landmark_error, limits.landmark_error, "the median landmark error"),
    ):
        if value is None:
            if what.endswith("landmark error") and record.start == "tracked" and not record.landmarks:
                continue  # a tracked frame needs no landmarks
            faults.append(f"{what} is not known")
        elif not value <= limit:
            faults.append(f"{what} is {value:.2f} mm, more than {limit:g} mm")
    if not record.matched >= limits.matched:
        faults.append(f"{record.matched:.0%} of the template found the scan, less than {limits.matched:.0%}")
    if not record.distorted <= limits.distorted:
        faults.append(
            f"{record.distorted:.1%} of the template's triangles were turned over, crushed or torn apart, more than "
            f"{limits.distorted:.1%}"
        )
    return ("pruned", "; ".join(faults)) if faults else ("kept", "")


def sequence_outliers(records, limits: Limits = Limits()) -> list[str]:
    """Frames that stand out of their sequence.

    Parameters
    ----------
    records : sequence of FrameRecord
        Of one sequence.  Only those whose own verdict is "kept" are compared, with one another.

    Returns
    -------
    list of str
        For each record why it is an outlier, "" if it is none.  A frame is one if its 95th-percentile residual or
        its landmark error lies too far above, or its matched share too far below, the median of the sequence.  Only
        one side counts: nobody minds a frame that is better than the others.
    """
    reasons = [""] * len(records)
    members = [i for i, r in enumerate(records) if r.own_verdict == "kept"]
    if len(members) < limits.least_frames:
        return reasons
    for what, unit, sign, spread, value in (
        ("95th percentile of the distance to the scan", " mm", 1, limits.least_spread, lambda r: r.residuals["p95"]),
        ("median landmark error", " mm", 1, limits.least_spread, lambda r: r.landmark_error),
        ("matched share", "", -1, limits.least_spread / 10, lambda r: r.matched),
    ):
        known = [i for i in members if value(records[i]) is not None]
        if len(known) < limits.least_frames:
            continue
        values = np.array([value(records[i]) for i in known], float)
        middle = float(np.median(values))
        robust = max(1.4826 * float(np.median(np.abs(values - middle))), spread)
        for i, v in zip(known, values):
            if sign * (v - middle) > limits.deviations * robust:
                text = (
                    f"an outlier of its sequence: {what} {v:.2f}{unit}, where {middle:.2f}{unit} is usual "
                    f"({abs(v - middle) / robust:.1f} robust deviations, {limits.deviations:g} are allowed)"
                )
                reasons[i] = "; ".join(filter(None, (reasons[i], text)))
    return reasons
