"""Coefficients over time on disk: one row a frame in a .csv, all arrays in an .npz."""

from __future__ import annotations

import csv

import numpy as np
from scipy.spatial.transform import Rotation

from affect3d.io.atomic import atomic_path

__all__ = ["head_angles", "write_track_csv", "write_track_npz"]

#: Columns of the .csv before the expressions.
COLUMNS = ("frame", "name", "time", "found", "score", "rms", "yaw", "pitch", "roll", "x", "y", "z")


def head_angles(rotation) -> np.ndarray:
    """(T, 3) yaw, pitch and roll in degrees of rotations (T, 3, 3) from the model's frame to the camera's.

    All are zero for a head that looks into the camera.  Yaw is positive when the head turns to its own left, pitch
    when it looks up, roll when it tilts to its own right shoulder.
    """
    facing = np.diag([1.0, -1.0, -1.0]) @ np.asarray(rotation, float)  # camera with y up and z towards the viewer
    yaw, pitch, roll = Rotation.from_matrix(facing).as_euler("YXZ", degrees=True).T
    return np.column_stack([yaw, -pitch, roll])


def write_track_csv(path, track, names=None) -> None:
    """Write one row a frame: found, pose, and the expressions under their ARKit names.

    Parameters
    ----------
    path : str or Path
    track : Track
        Of `affect3d.fitting.video`, or anything with its attributes.
    names : sequence of str, optional
        What the frames are called, as the files of photos.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    angles = head_angles(track.rotation)
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *track.expression_names])
        for k in range(len(track.found)):
            time = "" if track.rate is None else f"{k / track.rate:.6f}"
            head = [k, names[k] if names is not None else "", time, int(track.found[k])]
            numbers = [track.score[k], track.rms[k], *angles[k], *track.shift[k], *track.expression[k]]
            writer.writerow(head + [f"{n + 0.0:.5f}" for n in numbers])  # + 0.0: a negative zero is zero


def write_track_npz(path, track, names=None) -> None:
    """Write all arrays of a track; `expression_names` and `names` as text, `rate` 0 where there is none."""
    keep = (
        "identity", "found", "score", "expression", "expression_raw", "rotation", "shift", "focal", "size", "rms",
        "offsets", "identity_frames",
    )  # fmt: skip
    arrays = {name: np.asarray(getattr(track, name)) for name in keep}
    if getattr(track, "lighting", None) is not None:
        arrays["lighting"] = np.asarray(track.lighting)
    arrays["expression_names"] = np.array(track.expression_names, dtype=np.str_)
    arrays["names"] = np.array(list(names) if names is not None else [], dtype=np.str_)
    arrays["rate"] = np.array(0.0 if track.rate is None else track.rate)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
