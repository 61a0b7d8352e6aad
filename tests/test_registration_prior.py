"""How faces move, carried over from a model to another topology, fitted, and used while a sequence is followed."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import sequence_problem  # noqa: E402
import small_head  # noqa: E402

from affect3d.geometry.rotation import rotation_exp  # noqa: E402
from affect3d.mesh import Mesh  # noqa: E402
from affect3d.registration.batch import BatchOptions, find_landmark_files, register_batch  # noqa: E402
from affect3d.registration.expression_prior import expression_prior  # noqa: E402
from affect3d.registration.frames import find_frames  # noqa: E402
from affect3d.registration.nonrigid import NonRigidOptions  # noqa: E402
from affect3d.registration.prior import DisplacementPrior, PriorFit  # noqa: E402
from affect3d.registration.records import read_record  # noqa: E402
from affect3d.registration.sequence import WITH_PRIOR, Tracker, register_sequence  # noqa: E402
from affect3d.registration.target import Target  # noqa: E402
from affect3d.registration.template import Template, model_template  # noqa: E402


def slide(points):
    """A cheek that is pushed up and out: 5 mm along the surface, which nearest points do not see, and 4 mm across."""
    x, y, _ = points.T
    weight = np.exp(-(((x - 25) / 20) ** 2) - ((y + 20) / 22) ** 2)
    return weight[:, None] * np.array([2.0, 5.0, 4.0])


def prior_of(mesh) -> DisplacementPrior:
    """Knows the motion of `slide`, its mirror image, and two that have nothing to do with it."""
    mirrored = slide(mesh.vertices * [-1, 1, 1]) * [-1, 1, 1]
    x, y, _ = mesh.vertices.T
    brow = np.exp(-((y - 45) / 12) ** 2)[:, None] * np.array([0, 4.0, 1.0])
    chin = np.exp(-((y + 65) / 15) ** 2 - (x / 25) ** 2)[:, None] * np.array([0, -6.0, 1.0])
    return DisplacementPrior(np.stack([slide(mesh.vertices), mirrored, brow, chin]), "four motions")


# -- carrying over ------------------------------------------------------------------------------------


def test_a_models_own_topology_gets_its_own_expressions():
    model = small_head.small_head()
    template = model_template(model)
    prior = expression_prior(model, template)
    moving = np.linalg.norm(model.expression[:, template.model_vertices], axis=2).max(1) > 0.5
    np.testing.assert_array_equal(prior.basis, model.expression[moving][:, template.model_vertices].astype(float))
    assert 0 < moving.sum() <= len(model.expression) and f"{moving.sum()} expressions of the" in prior.source


def test_another_topology_size_and_pose_get_the_displacements_of_the_same_places():
    """The template is the head again, with other vertices, 10 % larger, turned and moved."""
    model = small_head.small_head()
    own = model_template(model)
    turn, scale, shift = rotation_exp([0.1, -0.4, 0.2]), 1.1, np.array([30.0, -20, 500])
    # every triangle in three: new vertices in their middles, old ones shuffled
    faces, count = own.mesh.faces, len(own.mesh.vertices)
    middle = np.arange(count, count + len(faces))
    more = np.vstack([own.mesh.vertices, own.mesh.vertices[faces].mean(1)])
    split = np.vstack([np.column_stack([faces[:, i], faces[:, (i + 1) % 3], middle]) for i in range(3)])
    order = np.random.default_rng(0).permutation(len(more))
    vertices = scale * more @ turn.T + shift
    place = np.argsort(order)
    marks = np.where(own.landmarks >= 0, place[own.landmarks], -1)
    template = Template(Mesh(vertices[order], place[split]), "ibug68", marks)
    quick = NonRigidOptions(stiffness=(3000, 300, 30, 3), iterations=3, passes=1)
    prior = expression_prior(model, template, quick)
    moves = expression_prior(model, own).basis
    truth = scale * np.concatenate([moves, moves[:, faces].mean(2)], 1)[:, order] @ turn.T
    error = np.linalg.norm(prior.basis - truth, axis=2)
    strong = np.linalg.norm(truth, axis=2) > 1
    assert error[strong].mean() < 0.15 * np.linalg.norm(truth, axis=2)[strong].mean()


def test_a_model_that_does_not_move_the_template_is_refused():
    model = small_head.small_head()
    with pytest.raises(ValueError, match="none of its 7 expressions moves the template by 500 mm"):
        expression_prior(model, model_template(model), least=500)


@pytest.mark.parametrize("basis", [np.zeros((3, 4)), np.zeros((2, 4, 2)), np.full((1, 4, 3), np.nan)])
def test_a_basis_that_makes_no_sense_is_refused(basis):
    with pytest.raises(ValueError, match="basis"):
        DisplacementPrior(basis)


def test_a_prior_is_saved_exactly_and_always_with_the_same_bytes(tmp_path):
    prior = prior_of(sequence_problem.shell())
    for name in "ab":
        prior.save(tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert DisplacementPrior.load(tmp_path / "a.npz").digest == prior.digest != prior.scaled(1.1).digest


# -- the fit ------------------------------------------------------------------------------------------


def problem(seed=0):
    rng = np.random.default_rng(seed)
    mesh = sequence_problem.shell()
    normals = rng.normal(0, 1, mesh.vertices.shape)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    true = np.array([0.9, 0.1, 0.6, -0.3])
    wanted = (np.tensordot(true, prior_of(mesh).basis, 1) * normals).sum(1)
    return prior_of(mesh), normals, true, wanted, rng


def test_planted_weights_are_found_from_distances_along_normals():
    prior, normals, true, wanted, _ = problem()
    fit = PriorFit(prior, 1e-9, 1.0)
    moved = fit.fit(wanted, normals, np.ones(len(wanted)), 8)
    np.testing.assert_allclose(fit.weights, true, atol=1e-4)
    np.testing.assert_allclose(moved, np.tensordot(true, prior.basis, 1), atol=1e-3)


def test_the_fit_is_the_least_squares_solution_of_a_plain_computation():
    prior, normals, _, wanted, rng = problem(1)
    share = rng.uniform(0, 1, len(wanted))
    fit = PriorFit(prior, 0.2, 1e9)  # nothing is an outlier
    fit.fit(wanted, normals, share, 1)
    rows = np.array([[(prior.basis[k, v] * normals[v]).sum() for k in range(4)] for v in range(len(wanted))])
    weight = np.sqrt(share / share.sum())
    stacked = np.vstack([rows * weight[:, None], np.sqrt(0.2) * np.eye(4)])
    expected = np.linalg.lstsq(stacked, np.concatenate([weight * wanted, np.zeros(4)]), rcond=None)[0]
    np.testing.assert_allclose(fit.weights, expected, rtol=1e-6)


def test_what_is_no_expression_has_little_say():
    prior, normals, true, wanted, rng = problem(2)
    wanted[rng.choice(len(wanted), len(wanted) // 5, replace=False)] += 15.0  # hair
    robust, plain = PriorFit(prior, 1e-6, 1.0), PriorFit(prior, 1e-6, 1e9)
    for fit in (robust, plain):
        fit.fit(wanted, normals, np.ones(len(wanted)), 12)
    off = [np.abs(fit.weights - true).max() for fit in (robust, plain)]
    assert off[0] < 0.05 and off[0] < 0.2 * off[1]


def test_the_ridge_draws_to_rest_and_a_few_vertices_tell_enough():
    prior, normals, true, wanted, _ = problem(3)
    share = np.ones(len(wanted))
    sizes = []
    for ridge in (1e-6, 0.1, 10.0):
        fit = PriorFit(prior, ridge, 3.0)
        fit.fit(wanted, normals, share, 4)
        sizes.append(np.linalg.norm(fit.weights))
    assert sizes[0] > sizes[1] > sizes[2]
    few = PriorFit(prior, 1e-9, 1.0, points=80)
    few.fit(wanted, normals, share, 12)
    np.testing.assert_allclose(few.weights, true, atol=1e-3)
    # weights of displacements that are known altogether
    few.explain(np.tensordot(true, prior.basis, 1))
    np.testing.assert_allclose(few.weights, true, atol=1e-6)
    assert np.isfinite(PriorFit(prior, 0.1, 1.0).fit(wanted, normals, np.zeros(len(wanted)))).all()


# -- following ----------------------------------------------------------------------------------------


def frames(count=6):
    """The cheek rises further with each frame; every scan has other triangles."""
    for k in range(count):
        dense = sequence_problem.shell(52 + k % 3, 61)
        rng = np.random.default_rng(k)
        moved = dense.vertices + (k + 1) / count * slide(dense.vertices)
        yield Mesh(moved + rng.normal(0, 0.05, moved.shape), dense.faces)


def test_a_prior_takes_sliding_away_where_a_surface_alone_cannot():
    neutral = sequence_problem.shell()
    truth = neutral.vertices + slide(neutral.vertices)
    moving = np.linalg.norm(slide(neutral.vertices), axis=1) > 1.5
    plain = list(register_sequence(neutral, frames()))[-1]
    # it knows this very motion, so all of it may be believed
    whole = replace(WITH_PRIOR, believed=1.0)
    prior = list(register_sequence(neutral, frames(), options=whole, prior=prior_of(neutral)))[-1]
    half = list(register_sequence(neutral, frames(), prior=prior_of(neutral)))[-1]
    assert plain.converged and prior.converged and half.converged
    off = [np.linalg.norm(r.vertices - truth, axis=1)[moving].mean() for r in (plain, prior, half)]
    assert off[1] < 0.6 * off[0] and off[1] < 1.0
    assert off[1] < off[2] < 0.65 * off[0]
    # what it does not know it leaves to the scan
    strange = DisplacementPrior(prior_of(neutral).basis[2:])
    other = list(register_sequence(neutral, frames(), prior=strange))[-1]
    across = np.abs((other.vertices - truth)[moving, 2]).mean()
    assert other.converged and across < 0.5


def test_the_state_holds_every_bit_of_a_tracker_with_a_prior():
    neutral = sequence_problem.shell()
    targets = [Target(frame, 0.0) for frame in frames(4)]
    first = Tracker(neutral, None, WITH_PRIOR, prior=prior_of(neutral))
    for target in targets[:2]:
        first.frame(0, target, None, "")
    second = Tracker(neutral, None, WITH_PRIOR, prior=prior_of(neutral))
    second.restore({name: value.copy() for name, value in first.state().items()})
    for target in targets[2:]:
        one, two = (tracker.frame(0, target, None, "").vertices for tracker in (first, second))
        assert one.tobytes() == two.tobytes()
    # a frame that fails leaves no trace in it
    before = {name: value.copy() for name, value in first.state().items()}
    far = next(frames(1))
    lost = first.frame(0, Target(far.with_vertices(far.vertices + [0, 300, 0]), 0.0), None, "")
    assert not lost.converged
    assert all(np.array_equal(before[name], value) for name, value in first.state().items())


def test_a_prior_of_another_topology_is_refused():
    neutral = sequence_problem.shell()
    with pytest.raises(ValueError, match="prior: expected displacements of 750 vertices, got 4"):
        list(register_sequence(neutral, frames(1), prior=DisplacementPrior(np.zeros((1, 4, 3)))))


def test_a_batch_keeps_the_prior_with_its_results_and_does_them_again_for_another(tmp_path, monkeypatch):
    from affect3d.registration import sequence_batch

    monkeypatch.setattr(sequence_batch, "run_processes", lambda work, jobs, count: ((j, work(j)) for j in jobs))
    sequence_problem.record(tmp_path / "in", ("q",), 3)
    found = find_frames([tmp_path / "in"])
    prior = prior_of(sequence_problem.shell())
    options = BatchOptions(method="track", neutral_options=sequence_problem.QUICK, prior=prior)

    def again(options):
        template = sequence_problem.template()
        return register_batch(found, template, tmp_path / "out", find_landmark_files(found), options)

    first = again(options)
    assert [r.verdict for r in first.records] == ["kept"] * 3
    record = read_record(tmp_path / "out/records/q/1.json")
    assert record.settings["prior"] == prior.digest
    assert record.settings["options"]["stiffness"] == list(WITH_PRIOR.stiffness)
    assert DisplacementPrior.load(tmp_path / "out/prior.npz").digest == prior.digest
    assert again(options).reused == 3
    assert again(replace(options, prior=prior.scaled(0.5))).reused == 0
    without = again(replace(options, prior=None))
    assert without.reused == 0 and without.records[1].settings["prior"] == ""
