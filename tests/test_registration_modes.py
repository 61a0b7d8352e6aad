"""Frames that begin from the modes of the template's own model."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from affect3d.cli import main
from affect3d.geometry.rotation import rotation_exp
from affect3d.io.mesh_file import read_mesh, write_mesh
from affect3d.io.model_file import save_model_file
from affect3d.mesh import Mesh
from affect3d.registration import register_nonrigid
from affect3d.registration.batch import BatchOptions, find_landmark_files, register_batch
from affect3d.registration.frames import find_frames
from affect3d.registration.model_fit import ModelFitOptions, fit_modes
from affect3d.registration.modes import model_modes
from affect3d.registration.prior import DisplacementPrior
from affect3d.registration.template import Template, model_template

_spec = importlib.util.spec_from_file_location("small_head", Path(__file__).with_name("small_head.py"))
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
MODEL = _module.small_head()
TEMPLATE = model_template(MODEL)
MODES = model_modes(MODEL, TEMPLATE)
MARKS = TEMPLATE.landmarks[17:][TEMPLATE.landmarks[17:] >= 0]


def person(seed: int):
    """True vertices, and a scan of them with other triangles, noise and a pose of its own; landmarks 1 mm off."""
    rng = np.random.default_rng(seed)
    identity = np.clip(rng.normal(size=len(MODEL.identity)), -2, 2)
    expression = rng.uniform(0, 0.7, len(MODEL.expression))
    turn, shift = rotation_exp(rng.normal(0, 0.5, 3)), rng.normal(0, 50, 3)
    true = MODEL.instance(identity, expression) @ turn.T + shift
    middles = true[MODEL.faces].mean(1)
    vertices = np.concatenate([true, middles]) + rng.normal(0, 0.1, (len(true) + len(middles), 3))
    centre = len(true) + np.arange(len(MODEL.faces))
    a, b, c = MODEL.faces.T
    faces = np.concatenate([np.stack([p, q, centre], 1) for p, q in ((a, b), (b, c), (c, a))])
    order = rng.permutation(len(vertices))
    scan = Mesh(vertices[order], np.argsort(order)[faces])
    return true, scan, true[MARKS] + rng.normal(0, 1 / np.sqrt(3), (len(MARKS), 3)), identity


def error(vertices, true) -> float:
    return float(np.linalg.norm(vertices - true, axis=1).mean())


def test_people_of_the_model_are_found_to_a_fraction_of_what_bending_leaves():
    before, fitted, after = [], [], []
    for seed in range(2):
        true, scan, positions, identity = person(seed)
        fit = fit_modes(TEMPLATE.mesh, MODES, scan, MARKS, positions)
        assert fit.converged and "came to rest" in fit.reason
        assert np.corrcoef(fit.weights[: len(identity)], identity)[0, 1] > 0.9
        start = TEMPLATE.mesh.with_vertices(fit.vertices)
        before.append(error(register_nonrigid(TEMPLATE.mesh, scan, MARKS, positions).vertices, true))
        fitted.append(error(fit.vertices, true))
        after.append(error(register_nonrigid(start, scan, MARKS, positions).vertices, true))
    assert np.mean(fitted) < 0.35 and np.mean(after) < 0.5 * np.mean(before)


def test_the_fit_moves_with_the_scan():
    _, scan, positions, _ = person(7)
    turn, shift = rotation_exp([0.9, -0.4, 1.6]), np.array([100.0, -40, 7])
    first = fit_modes(TEMPLATE.mesh, MODES, scan, MARKS, positions)
    moved = scan.with_vertices(scan.vertices @ turn.T + shift)
    second = fit_modes(TEMPLATE.mesh, MODES, moved, MARKS, positions @ turn.T + shift)
    np.testing.assert_allclose(second.vertices, first.vertices @ turn.T + shift, atol=0.02)
    np.testing.assert_allclose(second.weights, first.weights, atol=0.02)
    shape = TEMPLATE.mesh.vertices + np.tensordot(first.weights, MODES.basis.astype(float), 1)
    np.testing.assert_allclose(shape @ first.rotation.T + first.translation, first.vertices, atol=1e-3)


def test_the_answer_is_where_the_slow_sum_is_least():
    """Steps of the pose and of every weight away from the answer raise the sum that is to be least."""
    _, scan, positions, _ = person(3)
    options = ModelFitOptions(points=10**6, tolerance=1e-6, iterations=60)
    fit = fit_modes(TEMPLATE.mesh, MODES, scan, MARKS, positions, options)
    basis = MODES.basis.astype(float)

    def cost(step):
        from affect3d.geometry.triangles import vertex_normals
        from affect3d.registration.target import Target

        target = Target(scan, options.turn, smoothing=options.smoothing)
        normals = vertex_normals(fit.vertices, TEMPLATE.mesh.faces)
        found = target.nearest(fit.vertices, normals, options.agreement)
        away = ((fit.vertices - found.points) * found.normals).sum(1)
        use = found.trusted & (found.distance < options.reach[1])
        sigma = max(1.5 * np.median(np.abs(away[use])), options.surface_sigma)
        sure = use / (1 + (away / (3 * sigma)) ** 2) ** 2
        sure = sure * options.information / sure.sum() / sigma**2
        shape = TEMPLATE.mesh.vertices + np.tensordot(fit.weights + step[6:], basis, 1)
        place = shape @ (rotation_exp(step[:3]) @ fit.rotation).T + fit.translation + step[3:6]
        distance = ((place - found.points) * found.normals).sum(1)
        marks = (place[MARKS] - positions) / options.landmark_sigma
        return (sure * distance**2).sum() + (marks**2).sum() + ((fit.weights + step[6:]) ** 2).sum()

    least = cost(np.zeros(6 + len(basis)))
    for k in range(6 + len(basis)):
        step = np.zeros(6 + len(basis))
        step[k] = 1e-3 if k < 3 else 0.02
        for sign in (1, -1):
            assert cost(sign * step) > least


def test_modes_are_the_models_at_the_templates_vertices():
    people = len(MODEL.identity)
    weights = np.zeros(len(MODES.basis))
    weights[:people] = np.linspace(-1, 1, people)
    made = MODEL.instance(weights[:people])[TEMPLATE.model_vertices]
    np.testing.assert_allclose(TEMPLATE.mesh.vertices + np.tensordot(weights, MODES.basis, 1), made, atol=1e-3)
    assert "8 identity modes" in MODES.source and len(MODES.basis) == people + len(MODEL.expression)


def test_one_of_two_opposite_shapes_is_taken_at_a_third():
    names = ("component", "component_minus", "jawOpen")
    shapes = np.stack([MODEL.expression[1], -MODEL.expression[1], MODEL.expression[0]])
    model = replace(MODEL, expression=shapes, expression_names=names, identity=MODEL.identity[:0], identity_std=[])
    modes = model_modes(model, model_template(model))
    assert len(modes.basis) == 2
    np.testing.assert_allclose(modes.basis[0], shapes[0] / 3, atol=1e-5)
    np.testing.assert_allclose(modes.basis[1], 0.35 * shapes[2], atol=1e-5)


def test_errors_name_what_is_wrong(tmp_path):
    _, scan, positions, _ = person(1)
    with pytest.raises(ValueError, match="modes: expected those of"):
        fit_modes(TEMPLATE.mesh, DisplacementPrior(MODES.basis[:, :-1]), scan, MARKS, positions)
    with pytest.raises(ValueError, match="basis"):
        DisplacementPrior(np.full((1, 4, 3), np.nan))
    bare = Template(TEMPLATE.mesh, TEMPLATE.scheme, TEMPLATE.landmarks)
    with pytest.raises(ValueError, match="no part of the head model"):
        model_modes(MODEL, bare)
    with pytest.raises(ValueError, match="lies elsewhere"):
        model_modes(replace(MODEL, mean=MODEL.mean + 5), TEMPLATE)
    with pytest.raises(ValueError, match="none of its modes"):
        model_modes(MODEL, TEMPLATE, least=1e6)
    fit = fit_modes(TEMPLATE.mesh, MODES, scan.with_vertices(scan.vertices + 500), MARKS, positions)
    assert not fit.converged and "too far" in fit.reason and np.isfinite(fit.vertices).all()
    few = fit_modes(TEMPLATE.mesh, MODES, scan, MARKS, positions, ModelFitOptions(iterations=1))
    assert not few.converged and "still moved" in few.reason
    MODES.save(tmp_path / "modes.npz")
    assert DisplacementPrior.load(tmp_path / "modes.npz").digest == MODES.digest


def written(folder, seeds):
    truths = {}
    for seed in seeds:
        true, scan, positions, _ = person(seed)
        path = folder / f"f{seed}.ply"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mesh(path, scan, unit="mm")
        points = [None] * 68
        at = [k for k in range(17, 68) if TEMPLATE.landmarks[k] >= 0]
        for k, p in zip(at, positions):
            points[k] = p.tolist()
        path.with_suffix(".landmarks.json").write_text(
            json.dumps({"scheme": "ibug68", "unit": "mm", "points": points})
        )
        truths[f"f{seed}"] = true
    return truths


@pytest.mark.parametrize("method", ["nonrigid", "track"])
def test_a_batch_begins_from_them_and_leaves_the_same_bytes_whoever_did_it(tmp_path, method):
    truths = written(tmp_path / "scans", range(3))
    frames = find_frames([tmp_path / "scans"])
    landmarks = find_landmark_files(frames)
    bytes_of = {}
    for name, jobs in (("one", 1), ("two", 2)):
        options = BatchOptions(method=method, unit="mm", jobs=jobs, modes=MODES)
        result = register_batch(frames, TEMPLATE, tmp_path / name, landmarks, options)
        assert all(r.settings["modes"] == MODES.digest for r in result.records)
        bytes_of[name] = [p.read_bytes() for p in sorted((tmp_path / name).rglob("*.ply"))]
    assert bytes_of["one"] == bytes_of["two"]
    plain = register_batch(frames, TEMPLATE, tmp_path / "plain", landmarks, BatchOptions(method=method, unit="mm"))
    assert "modes" not in plain.records[0].settings

    def first(run):
        return error(read_mesh(next((tmp_path / run).rglob("f0.ply"))).vertices, truths["f0"])

    assert first("one") < 0.6 * first("plain")
    # other modes are other work, the same are none
    again = register_batch(frames, TEMPLATE, tmp_path / "one", landmarks, BatchOptions(
        method=method, unit="mm", modes=MODES))  # fmt: skip
    assert again.reused == len(frames)
    wrong = BatchOptions(modes=DisplacementPrior(MODES.basis[:, 1:]))
    with pytest.raises(ValueError, match="modes: expected those of the template"):
        register_batch(frames, TEMPLATE, tmp_path / "bad", landmarks, wrong)


def test_the_command_takes_the_templates_own_model(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    truths = written(tmp_path / "scans", [2])
    save_model_file(MODEL, tmp_path / "head.safetensors")
    run = ["register", "scans", "--unit", "mm", "--template", "head.safetensors", "--modes", "--out", "out", "--json"]
    assert main(run) == 0
    told = json.loads(capsys.readouterr().out)
    assert any("begin from 8 identity modes" in note for note in told["notes"])
    assert error(read_mesh(told["meshes"][0]).vertices, truths["f2"]) < 0.5
    write_mesh(tmp_path / "plain.ply", TEMPLATE.mesh, unit="mm")
    marks = [int(v) if v >= 0 else None for v in TEMPLATE.landmarks]
    (tmp_path / "plain.landmarks.json").write_text(json.dumps({"scheme": "ibug68", "vertices": marks}))
    run[run.index("head.safetensors")] = "plain.ply"
    assert main(run) != 0
    assert "--modes: the template plain.ply is a mesh and has none" in capsys.readouterr().err
