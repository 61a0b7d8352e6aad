"""The Basel Face Model 2009: ``01_MorphableModel.mat``, in micrometres.

``shapeMU`` (3V, 1) and ``texMU`` (3V, 1) are the means as x, y, z and r, g, b of each vertex in turn, ``shapePC`` and
``texPC`` (3V, K) unit vectors, ``shapeEV`` and ``texEV`` (K, 1) standard deviations (not variances), ``tl`` (F, 3)
the triangles counted from 1 and wound clockwise.  Colours run from 0 to 255.

Source: Paysan, Knothe, Amberg, Romdhani and Vetter, "A 3D Face Model for Pose and Illumination Invariant Face
Recognition", AVSS 2009, and the files' description.
"""

from __future__ import annotations

import numpy as np

from affect3d.io.foreign.assemble import ForeignModel, pca_modes, require_shape

__all__ = ["VARIABLES", "bfm2009_model"]

VARIABLES = ("shapeMU", "shapePC", "shapeEV", "texMU", "texPC", "texEV", "tl")


def bfm2009_model(arrays: dict[str, np.ndarray], keep: int | None = None) -> ForeignModel:
    """The model in the variables of the file.

    Parameters
    ----------
    arrays : dict
        Of the names in `VARIABLES`.
    keep : int, optional
        Identity and colour modes to keep; all of them if left out.

    Raises
    ------
    ValueError
        If a variable is missing or has a shape that does not fit the others.
    """
    missing = [name for name in VARIABLES if name not in arrays]
    if missing:
        raise ValueError(f"the variables {', '.join(missing)} are missing")
    mean = arrays["shapeMU"].ravel()
    count = len(mean) // 3
    require_shape(mean, (3 * count,), "shapeMU")
    require_shape(arrays["texMU"].ravel(), (3 * count,), "texMU")
    require_shape(arrays["tl"], (None, 3), "tl")
    if not np.isfinite(arrays["tl"]).all() or (arrays["tl"] != np.rint(arrays["tl"])).any():
        raise ValueError("tl: expected whole numbers")
    identity, std = pca_modes(arrays["shapePC"], arrays["shapeEV"], "shapePC", count, keep)
    colour, colour_std = pca_modes(arrays["texPC"], arrays["texEV"], "texPC", count, keep)
    return ForeignModel(
        mean=mean.reshape(count, 3), faces=arrays["tl"].astype(np.int64) - 1, identity=identity, identity_std=std,
        expression=np.zeros((0, count, 3), np.float32), expression_names=(),
        colour_mean=arrays["texMU"].reshape(count, 3) / 255, colour_modes=colour, colour_std=colour_std / 255,
        unit="um", name="Basel Face Model 2009",
        licence="as agreed with the University of Basel, who provide it for research",
        source="Paysan et al., AVSS 2009",
        notes=["200 scans; no expressions", "colours are taken as sRGB", "the four segments were left out"],
    )  # fmt: skip
