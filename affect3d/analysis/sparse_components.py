"""Sparse localized components as a scikit-learn estimator."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from affect3d.model.component_weights import component_weights
from affect3d.model.splocs import SplocsOptions, sparse_localized_components

__all__ = ["SparseLocalizedComponents"]


class SparseLocalizedComponents(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Deformation components that move few vertices around one place each.

    A thin estimator over `affect3d.model.splocs`, which says how they are found.

    Parameters
    ----------
    count : int
        K, number of components.
    constraint, sparsity, near, far, outer_iterations, tolerance, sweeps, initial_frames
        Fields of `affect3d.model.splocs.SplocsOptions`.
    rest : (V, axes) float array, optional
        Positions that displacements are measured from; the mean of the samples by default.
    faces : (T, 3) int array, optional
        Triangles along which distances are measured; without them components are sparse but not local.
    seeds : sequence of int
        Vertices around which the first components start.
    axes : int
        Features of a vertex, which vanish together.  Flat samples are x0 y0 z0 x1 y1 z1 ...
    ridge : float
        As in `component_weights`, used by `transform`.
    warm_start : bool
        Whether `fit` goes on from the components of the last one.

    Attributes
    ----------
    components_ : (K, V * axes) float64
        Displacements at weight 1.
    rest_ : (V * axes,) float64
    centres_ : (K,) int64
        The vertex that each component lies around.
    explained_ : (K,) float64
        Squared error that would come back without a component; components are sorted by it.
    energies_ : (T,) float64
        After each round.
    sparsity_ : (K,) float64
        Share of the vertices that a component leaves exactly in place.
    learned_ : SparseComponents
        All of it.
    n_iter_ : int
    converged_ : bool
    reason_ : str
    n_features_in_ : int
    """

    def __init__(
        self, count=8, *, constraint="unit", sparsity=2.0, near=0.1, far=0.7, outer_iterations=50, tolerance=1e-2,
        sweeps=20, initial_frames=1000, rest=None, faces=None, seeds=(), axes=3, ridge=1e-4, warm_start=False,
    ):  # fmt: skip
        self.count = count
        self.constraint = constraint
        self.sparsity = sparsity
        self.near = near
        self.far = far
        self.outer_iterations = outer_iterations
        self.tolerance = tolerance
        self.sweeps = sweeps
        self.initial_frames = initial_frames
        self.rest = rest
        self.faces = faces
        self.seeds = seeds
        self.axes = axes
        self.ridge = ridge
        self.warm_start = warm_start

    def fit(self, X, y=None):
        """Learn components.

        Parameters
        ----------
        X : (F, V * axes) or (F, V, axes) float array
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X does not fit `axes`, `rest` or `faces`, is not finite, or its samples are all alike.
        """
        X = validate_data(self, self._flat(X), dtype=np.float64, ensure_min_samples=2)
        axes = self._axes(X.shape[1])
        if self.rest is None:
            rest = X.mean(0)
        else:
            rest = np.array(self.rest, float).ravel()
            if rest.shape != X.shape[1:]:
                raise ValueError(f"rest: expected {X.shape[1]} numbers as in a sample of X, got {rest.size}")
        options = SplocsOptions(
            self.constraint, self.sparsity, self.near, self.far, self.outer_iterations, self.tolerance, self.sweeps,
            self.initial_frames,
        )  # fmt: skip
        start = getattr(self, "learned_", None) if self.warm_start else None
        learned = sparse_localized_components(
            X.reshape(len(X), -1, axes), self.count, rest.reshape(-1, axes), self.faces, options, seeds=self.seeds,
            start=start,
        )  # fmt: skip
        self.learned_ = learned
        self.components_ = learned.components.reshape(len(learned.components), -1)
        self.rest_ = rest
        self.centres_ = learned.centres
        self.explained_ = learned.explained
        self.energies_ = learned.energies
        self.sparsity_ = learned.sparsity
        self.n_iter_ = len(learned.energies)
        self.converged_ = learned.converged
        self.reason_ = learned.reason
        return self

    def transform(self, X):
        """Weights (F, K) of the best fit of each sample under the constraint, in the precision of X."""
        check_is_fitted(self)
        X = validate_data(self, self._flat(X), reset=False, dtype=(np.float64, np.float32))
        axes = self._axes(X.shape[1])
        return component_weights(
            X.reshape(len(X), -1, axes), self.learned_.components, self.learned_.constraint,
            self.rest_.reshape(-1, axes), ridge=self.ridge, sweeps=200, tolerance=1e-6, dtype=X.dtype,
        )  # fmt: skip

    def inverse_transform(self, X):
        """Samples (F, V * axes) of weights (F, K)."""
        check_is_fitted(self)
        X = check_array(X, dtype=(np.float64, np.float32))
        if X.shape[1] != len(self.components_):
            raise ValueError(f"X: expected {len(self.components_)} weights a sample, got {X.shape[1]}")
        return self.rest_.astype(X.dtype) + X @ self.components_.astype(X.dtype)

    @property
    def _n_features_out(self):
        return len(self.components_)

    @staticmethod
    def _flat(X):
        """(F, V, axes) as (F, V * axes); whatever else is left to scikit-learn's own checks."""
        if isinstance(X, np.ndarray) and X.ndim == 3:
            return X.reshape(len(X), -1)
        return X

    def _axes(self, features: int) -> int:
        axes = self.axes
        if isinstance(axes, bool) or int(axes) != axes or axes < 1:
            raise ValueError(f"axes: expected a whole number of at least 1, got {axes}")
        if features % axes:
            raise ValueError(f"X: expected a multiple of axes = {axes} features, got {features}")
        return int(axes)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
