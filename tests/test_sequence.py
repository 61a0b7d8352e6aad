"""A sequence with a known answer is followed, without drift, past frames that are broken."""

import numpy as np
import pytest

from affect3d.geometry.rotation import rotation_exp
from affect3d.mesh import Mesh
from affect3d.registration.sequence import SequenceOptions, register_sequence

QUICK = SequenceOptions(stiffness=(100.0, 3.0), iterations=(3, 3))


def shell(columns=40, rows=48):
    """An open face-like surface with a nose and two hollows, mm."""
    x, y = np.meshgrid(np.linspace(-60, 60, columns), np.linspace(-75, 75, rows))
    z = 45 * np.sqrt(np.clip(1 - (x / 90) ** 2 - (y / 110) ** 2, 0, 1))
    z += 18 * np.exp(-((x / 9) ** 2) - ((y + 5) / 18) ** 2)
    for side in (-1, 1):
        z -= 7 * np.exp(-(((x - 28 * side) / 12) ** 2) - ((y - 22) / 9) ** 2)
    i = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    faces = np.concatenate([np.stack([i, i + 1, i + columns + 1], -1), np.stack([i, i + columns + 1, i + columns], -1)])
    return Mesh(np.column_stack([x.ravel(), y.ravel(), z.ravel()]), faces)


def moved(points, frame):
    """A cheek that swells and sinks, and a head that turns; all over again after 24 frames."""
    x, y, _ = points.T
    phase = 2 * np.pi * frame / 24
    strength = np.sin(phase / 2) ** 2
    out = points.copy()
    out[:, 2] += 6 * strength * np.exp(-((np.abs(x) - 35) / 16) ** 2 - ((y + 20) / 20) ** 2)
    out[:, 1] += 3 * strength * np.exp(-((y + 45) / 20) ** 2)
    turn = rotation_exp([0.1 * np.sin(phase), 0.15 * np.sin(2 * phase), 0.05])
    return out @ turn.T + [5 * np.sin(phase), 3, 400]


def scan(frame):
    """Another triangulation for each frame, shuffled and noisy."""
    rng = np.random.default_rng(frame)
    dense = shell(71 + frame % 5, 89 + frame % 7)
    order = rng.permutation(len(dense.vertices))
    vertices = moved(dense.vertices, frame) + rng.normal(0, 0.1, dense.vertices.shape)
    return Mesh(vertices[order], np.argsort(order)[dense.faces])


@pytest.fixture(scope="module")
def neutral():
    return shell()


START = (rotation_exp([0, 0, 0.05]), np.array([0.0, 3, 400]))


def error(result, neutral):
    inner = (np.abs(neutral.vertices[:, 0]) < 50) & (np.abs(neutral.vertices[:, 1]) < 64)
    return np.linalg.norm(result.vertices - moved(neutral.vertices, result.index), axis=1)[inner].mean()


def test_every_frame_is_followed_and_nothing_drifts(neutral):
    results = list(register_sequence(neutral, map(scan, range(120)), start=START))
    assert [r.index for r in results] == list(range(120)) and all(r.converged for r in results)
    errors = np.array([error(r, neutral) for r in results])
    assert errors.max() < 0.8
    assert errors[96:].mean() < errors[24:48].mean() + 0.03  # the fifth round is as good as the second


def test_a_broken_frame_says_so_and_the_next_one_goes_on(neutral):
    flat = Mesh(np.zeros((5, 3)), [[0, 1, 2]])
    elsewhere = Mesh(scan(4).vertices + [300, 0, 0], scan(4).faces)
    frames = [scan(0), scan(1), None, flat, elsewhere, scan(5)]
    results = list(register_sequence(neutral, frames, options=QUICK, start=START))
    assert [r.converged for r in results] == [True, True, False, False, False, True]
    assert "read" in results[2].reason and "area" in results[3].reason and "jumped" in results[4].reason
    for broken in results[2:5]:
        assert np.isinf(broken.distance).all() and not broken.matched.any()
        np.testing.assert_array_equal(broken.vertices, results[1].vertices)
    assert error(results[5], neutral) < 0.8


def test_landmarks_lead_where_the_surface_is_silent(neutral):
    """A flat sheet slides in its plane: only its landmarks know."""
    x, y = np.meshgrid(np.linspace(-60, 60, 25), np.linspace(-60, 60, 25))
    i = (np.arange(24)[:, None] * 25 + np.arange(24)).ravel()
    faces = np.concatenate([np.stack([i, i + 1, i + 26], -1), np.stack([i, i + 26, i + 25], -1)])
    sheet = Mesh(np.column_stack([x.ravel(), y.ravel(), np.zeros(625)]), faces)
    large = Mesh(sheet.vertices * 1.5, faces)  # goes on beyond the sheet, and its vertices lie elsewhere
    marks = np.arange(12, 625, 29)
    shift = np.array([1.5, -1.0, 0])
    (free,) = register_sequence(sheet, [large], options=QUICK)
    points = sheet.vertices[marks] + shift
    points[3] = np.nan
    led = list(register_sequence(sheet, [(large, points)] * 4, marks, QUICK))[-1]
    off = [np.linalg.norm(r.vertices - sheet.vertices - shift, axis=1).mean() for r in (free, led)]
    assert off[1] < 0.5 * off[0]


def test_the_same_frames_give_the_same_bits(neutral):
    first, second = (
        [r.vertices.tobytes() for r in register_sequence(neutral, map(scan, range(3)), options=QUICK, start=START)]
        for _ in range(2)
    )
    assert first == second


def test_frames_are_taken_one_ahead_only(neutral):
    taken = []

    def frames():
        for k in range(5):
            taken.append(k)
            yield scan(k)

    results = register_sequence(neutral, frames(), options=QUICK, start=START)
    next(results)
    assert taken == [0, 1]


def test_no_frames_give_no_results(neutral):
    assert list(register_sequence(neutral, [])) == []


def test_wrong_arguments_are_named(neutral):
    with pytest.raises(ValueError, match="landmarks"):
        list(register_sequence(neutral, [scan(0)], [10**6]))
    with pytest.raises(ValueError, match="positions"):
        list(register_sequence(neutral, [(scan(0), np.zeros((2, 3)))], [1, 2, 3], start=START))
    with pytest.raises(ValueError, match="iterations"):
        SequenceOptions(stiffness=(1.0,), iterations=(1, 2))


def test_a_vertex_in_no_triangle_does_no_harm(neutral):
    more = Mesh(np.vstack([neutral.vertices, [[0, 0, 80]]]), neutral.faces)
    (result,) = register_sequence(more, [scan(0)], options=QUICK, start=START)
    assert result.converged and np.isfinite(result.vertices).all()
