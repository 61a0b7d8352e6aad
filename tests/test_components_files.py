"""Files of components, curves over their number, class blendshapes, the estimator and the command."""

import json
import struct

import numpy as np
import pytest

from affect3d.io.glb_write import write_model_glb
from affect3d.model.class_blendshapes import ClassBlendshapes, class_blendshapes, gallery_blendshapes
from affect3d.model.component_curves import component_curves, projection_error
from affect3d.model.component_file import (
    ComponentFile, components_to_morphable, load_components, save_components,
)  # fmt: skip
from affect3d.model.component_weights import component_weights
from affect3d.model.frame_products import CoefficientFrames
from affect3d.model.splocs import SplocsOptions, reconstruction_error, sparse_localized_components


def sheet(n=9):
    x, y = np.meshgrid(np.linspace(0, 50, n), np.linspace(0, 50, n), indexing="ij")
    i = np.arange(n * n).reshape(n, n)
    a, b, c, d = i[:-1, :-1].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel(), i[:-1, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return np.stack([x.ravel(), y.ravel(), np.zeros(n * n)], 1), faces


def moving(frames=60, shapes=6, low=0.0, seed=0):
    rng = np.random.default_rng(seed)
    rest, faces = sheet()
    centres = rng.choice(len(rest), shapes, replace=False)
    basis = np.stack([
        np.maximum(0, 1 - np.linalg.norm(rest - rest[c], axis=1) / 15)[:, None] * rng.normal(size=3) for c in centres
    ])  # fmt: skip
    coefficients = rng.uniform(low, 1, (frames, shapes)) * (rng.random((frames, shapes)) < 0.6)
    return rest, faces, basis, coefficients


def learned_file(constraint="unit", count=5):
    rest, faces, basis, coefficients = moving(low=0.0 if constraint == "unit" else -1.0)
    options = SplocsOptions(constraint, outer_iterations=6)
    learned = sparse_localized_components(CoefficientFrames(coefficients, basis), count, rest, faces, options)
    return ComponentFile(learned, rest, faces, options, "0123abcd", "apex frames of a sheet")


@pytest.mark.parametrize("constraint", ["unit", "signed"])
@pytest.mark.parametrize("weights", [False, True])
def test_a_file_gives_back_what_was_saved(tmp_path, constraint, weights):
    file = learned_file(constraint)
    save_components(file, tmp_path / "c.safetensors", weights=weights)
    back = load_components(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(back.learned.components, file.learned.components.astype(np.float32))
    for name in ("centres", "explained", "energies"):
        np.testing.assert_array_equal(getattr(back.learned, name), getattr(file.learned, name))
    for name in ("residual", "scale", "constraint", "converged", "reason"):
        assert getattr(back.learned, name) == getattr(file.learned, name)
    wanted = file.learned.weights.astype(np.float32) if weights else np.zeros((0, 5))
    np.testing.assert_array_equal(back.learned.weights, wanted)
    np.testing.assert_array_equal(back.rest, file.rest)
    np.testing.assert_array_equal(back.faces, file.faces)
    assert (back.options, back.source, back.notes, back.unit) == (file.options, file.source, file.notes, "mm")


def test_the_same_components_give_the_same_bytes_and_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    file, path = learned_file(), tmp_path / "c.safetensors"
    save_components(file, path)
    first = path.read_bytes()
    save_components(file, path)
    assert path.read_bytes() == first

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        save_components(file, path)
    monkeypatch.undo()
    assert path.read_bytes() == first and [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_warm_start_from_a_file_goes_on_where_the_file_was_written(tmp_path):
    rest, faces, basis, coefficients = moving()
    frames = CoefficientFrames(coefficients, basis)
    options = SplocsOptions(outer_iterations=4, tolerance=0)
    first = sparse_localized_components(frames, 4, rest, faces, options)
    save_components(ComponentFile(first, rest, faces, options), tmp_path / "c.safetensors", weights=True)
    back = load_components(tmp_path / "c.safetensors").learned
    second = sparse_localized_components(frames, 4, rest, faces, options, start=back)
    assert second.energies[0] <= first.energies[-1] * (1 + 1e-6)


def rewritten(path, change):
    """The file with its JSON header changed."""
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    outer = json.loads(raw[8 : 8 + size])
    inner = json.loads(outer["__metadata__"]["affect3d_components"])
    change(outer, inner)
    outer["__metadata__"]["affect3d_components"] = json.dumps(inner)
    text = json.dumps(outer).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + size :])


def put(*keys, value):
    def change(outer, inner):
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("version", value=2), "newer"),
        (put("version", value="1"), "version"),
        (put("options", value=[]), "options"),
        (put("options", "constraint", value="both"), "constraint"),
        (put("options", "sparsity", value="2"), "sparsity"),
        (put("options", "sweeps", value=True), "sweeps"),
        (put("options", "colour", value=1), "options"),
        (put("energies", value=[1, float("inf")]), "energies"),
        (put("energies", value="none"), "energies"),
        (put("scale", value=-1), "scale"),
        (put("converged", value=1), "converged"),
        (put("unit", value=None), "unit"),
        (put("source", value=["x"]), "source"),
        (lambda outer, inner: inner.pop("reason"), "reason"),
        (lambda outer, inner: outer.pop("faces"), "not a file"),
        (lambda outer, inner: outer["components"].update(dtype="I32"), "components"),
        (lambda outer, inner: outer["components"].update(shape=[5, 3, 81]), "centres"),
        (lambda outer, inner: inner.update(notes="x" * 2**21), "longer"),
    ],
)
def test_hostile_headers_are_refused_in_one_sentence_that_names_the_file(tmp_path, change, message):
    path = tmp_path / "c.safetensors"
    save_components(learned_file(), path)
    rewritten(path, change)
    with pytest.raises(ValueError, match=message) as caught:
        load_components(path)
    assert "c.safetensors: not a file of components" in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_file_of_components_is_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    save_components(learned_file(), path)
    whole = path.read_bytes()
    for content in (b"", b"\x80\x04pickle", whole[: len(whole) // 2], whole + b"more"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a file of components"):
            load_components(path)
    with pytest.raises(FileNotFoundError):
        load_components(tmp_path / "none.safetensors")


def test_a_file_whose_numbers_are_not_finite_or_whose_indices_lie_outside_is_refused(tmp_path):
    file, path = learned_file(), tmp_path / "c.safetensors"
    from safetensors.numpy import load, save

    save_components(file, path, weights=True)
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    metadata = json.loads(raw[8 : 8 + size])["__metadata__"]
    for name, value in (("components", np.nan), ("centres", 81), ("faces", 81), ("weights", -0.5), ("rest", np.inf)):
        arrays = {k: v.copy() for k, v in load(raw).items()}
        arrays[name].flat[0] = value
        path.write_bytes(save(arrays, metadata))
        with pytest.raises(ValueError, match=name):
            load_components(path)


@pytest.mark.parametrize(("constraint", "targets"), [("unit", 5), ("signed", 10)])
def test_the_glb_has_a_named_target_for_each_component_and_way(tmp_path, constraint, targets):
    file = learned_file(constraint)
    model = components_to_morphable(file)
    assert len(model.expression_names) == targets and model.expression_names[0].startswith("component_001")
    write_model_glb(tmp_path / "c.glb", model)
    raw = (tmp_path / "c.glb").read_bytes()
    (length,) = struct.unpack("<I", raw[12:16])
    document = json.loads(raw[20 : 20 + length])
    assert document["meshes"][0]["extras"]["targetNames"] == list(model.expression_names)
    assert len(document["meshes"][0]["primitives"][0]["targets"]) == targets
    if constraint == "signed":
        np.testing.assert_array_equal(model.expression[1], -model.expression[0])
    np.testing.assert_allclose(
        model.instance(expression=np.eye(targets)[0]), file.rest + file.learned.components[0], atol=1e-5
    )


def test_names_of_targets_must_be_as_many_as_components():
    with pytest.raises(ValueError, match="names: expected 5"):
        components_to_morphable(learned_file(), ["one"])
    assert components_to_morphable(learned_file(), list("abcde")).expression_names == tuple("abcde")


def test_error_falls_with_the_number_of_components_and_is_that_of_the_explicit_residual():
    rest, faces, basis, coefficients = moving(frames=80)
    train, away = CoefficientFrames(coefficients[:50], basis), CoefficientFrames(coefficients[50:], basis)
    kept = {}
    curves = component_curves(
        train, [6, 2, 4, 2], rest, faces, SplocsOptions(sparsity=0.5), held_out=away, keep=kept.__setitem__
    )
    assert curves.counts.tolist() == [2, 4, 6] == list(kept)
    assert (np.diff(curves.error) < 0).all() and (np.diff(curves.held_out_error) < 0).all()
    assert curves.error[-1] < 0.2 * curves.motion and curves.held_out_error[-1] < 0.4 * curves.motion
    x = np.tensordot(coefficients, basis, 1)
    np.testing.assert_allclose(curves.motion, np.sqrt((x[:50] ** 2).sum(2).mean()), rtol=1e-9)
    for place, count in enumerate(kept):
        learned = kept[count]
        left = x[:50] - np.tensordot(learned.weights, learned.components, 1)
        np.testing.assert_allclose(curves.error[place], np.sqrt((left**2).sum(2).mean()), rtol=1e-6)
        np.testing.assert_allclose(curves.sparsity[place], (learned.components == 0).all(2).mean(), rtol=1e-12)
        weights = component_weights(away, learned.components, dtype=np.float64)
        left = x[50:] - np.tensordot(weights, learned.components, 1)
        np.testing.assert_allclose(curves.held_out_error[place], np.sqrt((left**2).sum(2).mean()), rtol=1e-6)


def test_curves_refuse_no_counts_and_other_topologies():
    rest, faces, basis, coefficients = moving()
    frames = CoefficientFrames(coefficients, basis)
    with pytest.raises(ValueError, match="counts"):
        component_curves(frames, [], rest, faces)
    with pytest.raises(ValueError, match="held_out"):
        component_curves(frames, [2], rest, faces, held_out=CoefficientFrames(coefficients, basis[:, :5]))


def test_the_error_of_a_projection_is_that_of_its_weights():
    rest, faces, basis, coefficients = moving()
    frames = CoefficientFrames(coefficients, basis)
    weights = component_weights(frames, basis[:3], dtype=np.float64)
    np.testing.assert_allclose(
        projection_error(frames, basis[:3]), reconstruction_error(frames, basis[:3], weights), rtol=1e-9
    )


def class_weights(low, frames=4000, k=12, seed=0):
    """Weights of a class with two ways to look, many exactly zero, correlated within each way."""
    rng = np.random.default_rng(seed)
    ways = rng.integers(0, 2, frames)
    intensity = rng.beta(4, 2, (frames, 1))
    patterns = np.where(rng.random((2, k)) < 0.5, rng.uniform(low, 1, (2, k)), 0)
    noise = 0.05 * rng.normal(size=(frames, k)) * (patterns[ways] != 0)
    return np.clip(intensity * patterns[ways] + noise, low, 1)


@pytest.mark.parametrize(("constraint", "low"), [("unit", 0.0), ("signed", -1.0)])
def test_samples_have_the_mean_and_covariance_of_the_class_stay_in_the_box_and_are_new(constraint, low):
    weights = class_weights(low)
    model = ClassBlendshapes(np.zeros((12, 4, 3)), weights, constraint)
    drawn = model.sample(20_000, np.random.default_rng(1))
    assert drawn.min() >= low and drawn.max() <= 1
    spread = model.weights.std(0).max()
    np.testing.assert_allclose(drawn.mean(0), model.mean, atol=0.03 * spread)
    known, found = np.cov(model.weights.T), np.cov(drawn.T)
    assert np.linalg.norm(found - known) < 0.05 * np.linalg.norm(known)
    from scipy.spatial import cKDTree

    nearest = cKDTree(model.weights).query(drawn)[0]
    assert (nearest > 1e-6).mean() > 0.999
    # the two ways to look are not averaged into a third: samples lie about as near to a frame as frames to another
    among = cKDTree(model.weights).query(model.weights, 2)[0][:, 1]
    assert np.quantile(nearest, 0.99) < 2.5 * np.quantile(among, 0.99)
    # weights that are zero in all frames of a way stay zero there
    never = (model.weights != 0).sum(0) == 0
    assert (drawn[:, never] == 0).all()


def test_the_same_seed_gives_the_same_expressions_and_another_seed_others():
    model = ClassBlendshapes(np.ones((12, 4, 3)), class_weights(0.0, 50), "unit")
    a, b, c = (model.sample(7, np.random.default_rng(s)) for s in (1, 1, 2))
    assert a.tobytes() == b.tobytes() != c.tobytes()
    assert model.sample(0, np.random.default_rng(0)).shape == (0, 12)
    np.testing.assert_allclose(model.displacements(a), np.einsum("nk,kvd->nvd", a, model.components))
    assert model.displacements(model.mean).shape == (4, 3)


@pytest.mark.parametrize("frames", [2, 3, 15, 16, 17, 100])
def test_every_frame_is_drawn_with_another_one_whatever_their_number(frames):
    weights = np.linspace(0, 1, frames)[:, None]
    model = ClassBlendshapes(np.ones((1, 2, 3)), weights, "unit", group=2)
    order, first, size = model._groups
    assert sorted(order) == list(range(frames)) and (size >= 2).all() and (first <= np.arange(frames)).all()
    drawn = model.sample(2000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(), weights.mean(), atol=0.05)


def test_a_class_is_projected_under_its_constraint():
    rest, faces, basis, coefficients = moving(low=-1.0)
    frames = CoefficientFrames(coefficients, basis)
    signed = class_blendshapes(frames, basis, "signed")
    np.testing.assert_allclose(signed.weights, coefficients, atol=1e-2)
    assert class_blendshapes(frames, basis, "unit").weights.min() >= 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(weights=np.zeros((0, 2))), "at least one frame"),
        (dict(weights=np.full((3, 2), -0.1)), r"weights: expected numbers in \[0, 1\]"),
        (dict(weights=np.full((3, 2), np.nan)), "weights: expected finite"),
        (dict(weights=np.zeros((3, 4))), "weights: expected shape"),
        (dict(constraint="both"), "constraint"),
        (dict(group=1), "group"),
    ],
)
def test_a_class_of_bad_weights_is_refused(change, message):
    good = dict(components=np.zeros((2, 4, 3)), weights=np.zeros((3, 2)), constraint="unit")
    with pytest.raises(ValueError, match=message):
        ClassBlendshapes(**{**good, **change})


def test_one_frame_has_a_mean_but_no_new_expressions():
    model = ClassBlendshapes(np.ones((2, 4, 3)), np.array([[0.5, 0.0]]), "unit")
    assert model.mean.tolist() == [0.5, 0.0]
    with pytest.raises(ValueError, match="at least two frames"):
        model.sample(1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="count"):
        model.sample(-1, np.random.default_rng(0))


class StandIn:
    """The part of a gallery that class models read."""

    def __init__(self, coefficients, basis, classes):
        self._frames, self._classes = CoefficientFrames(coefficients, basis), np.asarray(classes)

    def select(self, classes):
        return np.flatnonzero(self._classes == classes)

    def frames(self, rows):
        return self._frames.subset(rows)


def test_each_class_with_enough_frames_gets_a_model_of_its_own_frames():
    rest, faces, basis, coefficients = moving(frames=90)
    labels = np.repeat([3, 55, 56], [50, 35, 5])
    models = gallery_blendshapes(StandIn(coefficients, basis, labels), basis, most=20, least=10)
    assert sorted(models) == [3, 55] and all(len(m.weights) == 20 for m in models.values())
    np.testing.assert_allclose(models[3].weights[[0, -1]], coefficients[[0, 49]], atol=1e-2)
    assert gallery_blendshapes(StandIn(coefficients, basis, labels), basis, classes=[56], least=2).keys() == {56}
    with pytest.raises(ValueError, match="least, most"):
        gallery_blendshapes(StandIn(coefficients, basis, labels), basis, least=30, most=20)
