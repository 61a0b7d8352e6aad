"""Morphable models: instances, components, and files."""

import json
import struct

import numpy as np
import pytest

from affect3d.io.model_file import load_model_file, save_model_file
from affect3d.landmarks import MeshLandmarks
from affect3d.model.load import load_model
from affect3d.model.morphable import MorphableModel
from affect3d.model.pca import principal_components

ARRAYS = ("mean", "faces", "identity", "identity_std", "expression", "parts", "colours", "uv", "uv_faces")


def small_model(seed=0, **change):
    rng = np.random.default_rng(seed)
    marks = MeshLandmarks("ibug68", np.r_[np.zeros(67, int), -1], np.r_[np.full((67, 3), 1 / 3), np.zeros((1, 3))])
    values = dict(
        mean=rng.standard_normal((6, 3)), faces=np.array([[0, 1, 2], [2, 3, 4], [3, 4, 5]]),
        identity=rng.standard_normal((2, 6, 3)), identity_std=np.array([3.0, 1.0]),
        expression=rng.standard_normal((2, 6, 3)), expression_names=("jawOpen", "mouthSmileLeft"),
        landmarks={"ibug68": marks}, parts=np.array([0, 1, 1]), part_names=("face", "lips"),
        colours=rng.integers(0, 255, (6, 3)), uv=rng.random((5, 2)),
        uv_faces=np.array([[0, 1, 2], [2, 3, 4], [0, 1, 4]]),
        name="small", licence="CC0-1.0", source="a test", notes="ünïcode",
    )  # fmt: skip
    return MorphableModel(**{**values, **change})


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model_file(small_model(), path)
    return path


def header_of(content):
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def with_header(header, body):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def test_no_coefficients_give_the_mean():
    model = small_model()
    for instance in (model.instance(), model.instance(np.zeros(2), np.zeros(2)), model.instance(np.zeros(0))):
        np.testing.assert_array_equal(instance, model.mean)


def test_instances_are_sums_of_modes_and_shapes():
    model = small_model()
    got = model.instance([2.0, -1.0], [0.5, 0.25])
    wanted = model.mean.copy()
    for c, s, mode in zip((2.0, -1.0), (3.0, 1.0), model.identity):
        wanted += c * s * mode
    wanted += 0.5 * model.expression[0] + 0.25 * model.expression[1]
    np.testing.assert_allclose(got, wanted, atol=1e-6)
    # one half added to the other
    halves = model.instance([2.0]) + model.instance([0.0, -1.0]) - model.mean
    np.testing.assert_allclose(model.instance([2.0, -1.0]), halves, atol=1e-6)


def test_names_become_coefficients_and_unknown_ones_are_errors():
    model = small_model()
    np.testing.assert_array_equal(model.expression_vector({"mouthSmileLeft": 0.5}), [0, 0.5])
    with pytest.raises(ValueError, match="noseWiggle"):
        model.expression_vector({"noseWiggle": 1})
    with pytest.raises(ValueError, match="expression: expected 2"):
        model.instance(None, [1.0])
    with pytest.raises(ValueError, match="identity: expected at most 2"):
        model.instance([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="identity: expected finite"):
        model.instance([np.nan])


def test_models_that_make_no_sense_are_refused():
    for change, words in (
        (dict(identity_std=np.array([1.0, 0.0])), "identity_std"),
        (dict(expression_names=("a", "a")), "expression_names"),
        (dict(parts=np.array([0, 1, 2])), "parts"),
        (dict(identity=np.full((2, 6, 3), np.inf)), "identity"),
        (dict(faces=np.array([[0, 1, 6]])), "faces"),
    ):
        with pytest.raises(ValueError, match=words):
            small_model(**change)


# --- components


def planted(rng, people=400, length=60):
    directions = np.linalg.qr(rng.standard_normal((length, 3)))[0].T
    deviations = np.array([5.0, 2.0, 1.0])
    weights = rng.standard_normal((people, 3))
    weights = np.linalg.svd(weights - weights.mean(0), full_matrices=False)[0] * np.sqrt(people - 1)  # exactly white
    return directions, deviations, 7.0 + weights * deviations @ directions


@pytest.mark.parametrize("people, length", [(400, 60), (40, 300)])
def test_components_recover_a_planted_subspace(people, length):
    directions, deviations, samples = planted(np.random.default_rng(2), people, length)
    found = principal_components(samples, 10)
    assert len(found.modes) == 3  # noiseless: no more directions than planted
    np.testing.assert_allclose(found.deviations, deviations, rtol=1e-9)
    np.testing.assert_allclose(np.abs(found.modes @ directions.T), np.eye(3), atol=1e-8)
    np.testing.assert_allclose(found.mean, samples.mean(0))
    np.testing.assert_allclose(found.explained[-1], 1)


def test_components_agree_with_a_singular_value_decomposition_and_settle_signs():
    samples = np.random.default_rng(3).standard_normal((30, 12))
    found = principal_components(samples, 12)
    _, s, vt = np.linalg.svd(samples - samples.mean(0), full_matrices=False)
    np.testing.assert_allclose(found.deviations, s / np.sqrt(29), rtol=1e-9)
    np.testing.assert_allclose(np.abs((found.modes * vt).sum(1)), 1, atol=1e-9)
    assert (found.modes[np.arange(12), np.abs(found.modes).argmax(1)] > 0).all()
    flipped = principal_components(2 * samples.mean(0) - samples, 12)
    np.testing.assert_allclose(flipped.modes, found.modes, atol=1e-8)


def test_components_say_what_they_want():
    with pytest.raises(ValueError, match="samples"):
        principal_components(np.zeros((1, 4)), 2)
    with pytest.raises(ValueError, match="count"):
        principal_components(np.zeros((3, 4)), 0)
    with pytest.raises(ValueError, match="samples: expected finite"):
        principal_components(np.full((3, 4), np.nan), 1)
    assert len(principal_components(np.ones((3, 4)), 2).modes) == 0


# --- files


def test_a_saved_model_comes_back_bit_for_bit(path):
    model, back = small_model(), load_model_file(path)
    for name in ARRAYS:
        one, other = getattr(model, name), getattr(back, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    for name in ("expression_names", "part_names", "name", "licence", "source", "notes"):
        assert getattr(model, name) == getattr(back, name)
    np.testing.assert_array_equal(model.landmarks["ibug68"].faces, back.landmarks["ibug68"].faces)
    np.testing.assert_array_equal(model.landmarks["ibug68"].weights, back.landmarks["ibug68"].weights)
    assert not back.mean.flags.writeable


def test_the_same_model_makes_the_same_file(path, tmp_path):
    save_model_file(small_model(), tmp_path / "again.safetensors")
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    save_model_file(load_model_file(path), tmp_path / "again.safetensors")
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_a_model_without_the_optional_arrays_survives(tmp_path):
    save_model_file(small_model(colours=None, uv=None, uv_faces=None, landmarks={}), tmp_path / "m.safetensors")
    back = load_model_file(tmp_path / "m.safetensors")
    assert back.colours is None and back.uv is None and back.landmarks == {}


def test_every_truncation_is_one_value_error_that_names_the_file(path):
    content = path.read_bytes()
    for size in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="model.safetensors: not a morphable model"):
            load_model_file(path)


def test_random_damage_is_a_value_error_or_harmless(path):
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        for at in rng.integers(0, min(len(content), 2600), 3):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            load_model_file(path)
        except ValueError as error:
            refused += 1
            assert str(error).count("\n") == 0
    assert refused > 50


@pytest.mark.parametrize(
    "name, change",
    [
        ("mean", dict(dtype="F32", data_offsets=[0, 72])),
        ("faces", dict(shape=[9])),
        ("identity", dict(shape=[2, 3, 6])),
        ("parts", dict(shape=[1 << 40])),
    ],
)
def test_arrays_of_another_kind_or_size_are_refused(path, name, change):
    header, body = header_of(path.read_bytes())
    header[name] |= change
    path.write_bytes(with_header(header, body))
    with pytest.raises(ValueError, match="not a morphable model"):
        load_model_file(path)


def test_headers_of_newer_versions_and_of_other_makers_are_refused(path):
    header, body = header_of(path.read_bytes())
    ours = json.loads(header["__metadata__"]["affect3d_model"])
    for change, words in (
        ({"version": 99}, "newer"), ({"expression_names": 3}, "expression_names"), ({"notes": 5}, "texts"),
        ({"part_names": ["face"]}, "parts"), ({"version": None}, "version"),
    ):  # fmt: skip
        header["__metadata__"] = {"affect3d_model": json.dumps(ours | change)}
        path.write_bytes(with_header(header, body))
        with pytest.raises(ValueError, match=words):
            load_model_file(path)
    del header["__metadata__"]
    path.write_bytes(with_header(header, body))
    with pytest.raises(ValueError, match="affect3d_model"):
        load_model_file(path)


def test_an_interrupted_save_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.write_bytes", stop)
    with pytest.raises(KeyboardInterrupt):
        save_model_file(small_model(1), path)
    monkeypatch.undo()
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def test_models_are_found_by_path_and_missing_ones_are_named(path, tmp_path):
    assert load_model(path).name == "small" and load_model(str(path)).name == "small"
    with pytest.raises(FileNotFoundError, match="nothing.safetensors"):
        load_model(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match="spec"):
        load_model("")
    with pytest.raises((ValueError, OSError), match="nowhere"):
        load_model(f"ict:{tmp_path / 'nowhere'}")
