"""The Large Scale Facial Model: ``all_all_all.mat`` and its like.

``mean`` (3V) holds x, y, z of each vertex in turn, ``components`` (3V, K) unit vectors, ``eigenvalues`` (K) variances,
``trilist`` (F, 3) triangles counted from 0, ``n_training_samples`` the number of people.  The description names no
unit of length.

Source: Booth, Roussos, Zafeiriou, Ponniah and Dunaway, "A 3D Morphable Model Learnt from 10,000 Faces", CVPR 2016;
menpo/lsfm, MODELS.md ("Model Format").
"""

from __future__ import annotations

import numpy as np

from affect3d.io.foreign.assemble import ForeignModel, pca_modes, require_shape

__all__ = ["VARIABLES", "lsfm_model"]

VARIABLES = ("mean", "components", "eigenvalues", "trilist", "n_training_samples")


def lsfm_model(arrays: dict[str, np.ndarray], keep: int | None = None) -> ForeignModel:
    """The model in the variables of the file.

    Parameters
    ----------
    arrays : dict
        Of the names in `VARIABLES`; the last may be missing.
    keep : int, optional
        Identity modes to keep; all of them if left out.

    Raises
    ------
    ValueError
        If a variable is missing or has a shape that does not fit the others.
    """
    missing = [name for name in VARIABLES[:4] if name not in arrays]
    if missing:
        raise ValueError(f"the variables {', '.join(missing)} are missing")
    mean = arrays["mean"].ravel()
    count = len(mean) // 3
    require_shape(mean, (3 * count,), "mean")
    require_shape(arrays["trilist"], (None, 3), "trilist")
    if not np.isfinite(arrays["trilist"]).all() or (arrays["trilist"] != np.rint(arrays["trilist"])).any():
        raise ValueError("trilist: expected whole numbers")
    variances = np.asarray(arrays["eigenvalues"], np.float64).ravel()
    if not np.isfinite(variances).all() or (variances < 0).any():
        raise ValueError("eigenvalues: expected finite numbers that are not negative")
    identity, std = pca_modes(arrays["components"], np.sqrt(variances), "components", count, keep)
    people = arrays.get("n_training_samples")
    known = people is not None and people.size == 1 and np.isfinite(people).all()
    said = f"{int(people.ravel()[0])} people" if known else "many people"
    return ForeignModel(
        mean=mean.reshape(count, 3), faces=arrays["trilist"].astype(np.int64), identity=identity, identity_std=std,
        expression=np.zeros((0, count, 3), np.float32), expression_names=(), name="Large Scale Facial Model",
        licence="as agreed with its provider, for research that is not commercial",
        source="Booth et al., CVPR 2016", notes=[f"{said}; no expressions, no colours"],
    )  # fmt: skip
