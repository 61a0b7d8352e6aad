"""The scikit-learn face of sparse localized components."""

import numpy as np
import pytest

from affect3d.model.splocs import SplocsOptions, sparse_localized_components

pytest.importorskip("sklearn", reason="scikit-learn is missing; `pip install affect3d[analysis]` brings it")

from sklearn.base import clone  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from affect3d.analysis.sparse_components import SparseLocalizedComponents  # noqa: E402

FLAT = "the checks make samples of 1, 2, 4, 5 and 10 features, which are no whole points of three axes"
#: Checks that call fit with a number of features that three does not divide; with one axis all of them pass.
THREE_AXES = {
    name: FLAT for name in (
        "check_estimators_overwrite_params", "check_estimators_fit_returns_self", "check_readonly_memmap_input",
        "check_n_features_in_after_fitting", "check_positive_only_tag_during_fit", "check_estimators_dtypes",
        "check_dtype_object", "check_fit2d_1feature", "check_fit_idempotent", "check_fit_check_is_fitted",
        "check_n_features_in",
    )
}  # fmt: skip


@parametrize_with_checks(
    [SparseLocalizedComponents(2, axes=1), SparseLocalizedComponents(2, axes=1, constraint="signed"),
     SparseLocalizedComponents(2)],
    expected_failed_checks=lambda estimator: THREE_AXES if estimator.axes == 3 else {},
)  # fmt: skip
def test_scikit_learns_own_checks_pass(estimator, check):
    check(estimator)


def sheet(n=8):
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n), indexing="ij")
    i = np.arange(n * n).reshape(n, n)
    a, b, c, d = i[:-1, :-1].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel(), i[:-1, 1:].ravel()
    return np.stack([x.ravel(), y.ravel(), np.zeros(n * n)], 1), np.concatenate([np.stack([a, b, c], 1),
                                                                                np.stack([a, c, d], 1)])  # fmt: skip


def moving(seed=0, frames=50):
    rng = np.random.default_rng(seed)
    rest, faces = sheet()
    basis = np.stack([
        np.maximum(0, 1 - np.linalg.norm(rest - rest[c], axis=1) / 0.4)[:, None] * rng.normal(size=3)
        for c in (9, 14, 50)
    ])  # fmt: skip
    return rest, faces, rest + np.tensordot(rng.uniform(0, 1, (frames, 3)), basis, 1)


def test_it_learns_what_the_plain_function_learns_from_flat_and_from_shaped_samples():
    rest, faces, frames = moving()
    options = dict(sparsity=0.5, near=0.2, far=0.5, outer_iterations=8)
    known = sparse_localized_components(frames, 3, rest, faces, SplocsOptions(**options), seeds=[9])
    for X in (frames, frames.reshape(len(frames), -1)):
        found = SparseLocalizedComponents(3, rest=rest, faces=faces, seeds=[9], **options).fit(X)
        np.testing.assert_array_equal(found.components_, known.components.reshape(3, -1))
        np.testing.assert_array_equal(found.energies_, known.energies)
        assert found.n_features_in_ == 192 and found.n_iter_ == len(known.energies) and found.reason_ == known.reason
    assert found.get_feature_names_out().tolist() == [f"sparselocalizedcomponents{k}" for k in range(3)]


def test_inverse_transform_brings_samples_back():
    rest, faces, frames = moving()
    model = SparseLocalizedComponents(3, sparsity=0.05, rest=rest, faces=faces, ridge=1e-9, tolerance=1e-4)
    weights = model.fit_transform(frames)
    assert weights.min() >= 0 and weights.max() <= 1
    back = model.inverse_transform(weights).reshape(frames.shape)
    assert np.sqrt(((back - frames) ** 2).mean()) < 0.1 * np.sqrt(((frames - rest) ** 2).mean())


def test_the_constraint_holds_for_new_samples_and_single_precision_stays_single():
    rest, faces, frames = moving()
    model = SparseLocalizedComponents(3, rest=rest, faces=faces, constraint="signed").fit(frames)
    weights = model.transform((rest + 4 * (frames - rest)).astype(np.float32))
    assert weights.dtype == np.float32 and weights.min() >= -1 and weights.max() <= 1


def test_a_warm_start_goes_on():
    rest, faces, frames = moving()
    model = SparseLocalizedComponents(3, rest=rest, faces=faces, outer_iterations=2, tolerance=0, warm_start=True)
    first = model.fit(frames).energies_[-1]
    assert model.fit(frames).energies_[0] <= first * (1 + 1e-9)
    assert not hasattr(clone(model), "learned_")


def test_it_works_in_a_pipeline():
    _, _, frames = moving()
    pipeline = make_pipeline(StandardScaler(), SparseLocalizedComponents(2))
    assert pipeline.fit_transform(frames.reshape(len(frames), -1) + 0.0).shape == (50, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(axes=0), "axes"),
        (dict(axes=5), "X: expected a multiple of axes"),
        (dict(rest=np.zeros((3, 3))), "rest"),
        (dict(constraint="both"), "constraint"),
        (dict(count=0), "count"),
        (dict(seeds=[64]), "seeds"),
    ],
)
def test_bad_parameters_are_refused_by_fit(change, message):
    _, _, frames = moving()
    with pytest.raises(ValueError, match=message):
        SparseLocalizedComponents(**change).fit(frames)


def test_weights_of_another_width_are_refused():
    rest, faces, frames = moving()
    model = SparseLocalizedComponents(3, rest=rest, faces=faces).fit(frames)
    with pytest.raises(ValueError, match="expected 3 weights"):
        model.inverse_transform(np.zeros((2, 4)))
