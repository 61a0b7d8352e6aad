"""Flattening, thin-plate splines and dense alignment, against known warps; then a whole frame."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from affect3d.geometry.rotation import rotation_exp
from affect3d.mesh import Mesh
from affect3d.registration.thin_plate import thin_plate
from affect3d.registration.uv import UVOptions, UVRegistration
from affect3d.registration.uv_domain import chart_around, draw, sample
from affect3d.registration.uv_flow import align_images
from affect3d.registration.uv_paint import draw_texture


def shell(columns=61, rows=71):
    """A face-like shell, 110 x 140 mm, with bumps that tell its places apart."""
    x, y = np.meshgrid(np.linspace(-55, 55, columns), np.linspace(-70, 70, rows))
    z = 45 * np.sqrt(np.clip(1 - (x / 90) ** 2 - (y / 110) ** 2, 0, 1))
    z += 15 * np.exp(-((x / 10) ** 2) - ((y + 5) / 18) ** 2) + 2 * np.cos(x / 6) * np.cos(y / 7)
    i = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    first, second = (i, i + 1, i + columns + 1), (i, i + columns + 1, i + columns)
    return Mesh(
        np.column_stack([x.ravel(), y.ravel(), z.ravel()]), np.vstack([np.column_stack(first), np.column_stack(second)])
    )


def deform(points):
    """A stretch along the surface of up to 4 mm, that a search for nearest points would not see as such."""
    out = points.copy()
    out[:, 0] += 4 * np.exp(-(((points[:, 0] - 20) / 18) ** 2) - ((points[:, 1] + 20) / 20) ** 2)
    return out


def inner(mesh):
    return (np.abs(mesh.vertices[:, 0]) < 44) & (np.abs(mesh.vertices[:, 1]) < 58)


def test_a_thin_plate_goes_through_its_points_and_knows_affine_maps():
    rng = np.random.default_rng(0)
    source, elsewhere = rng.normal(0, 20, (25, 2)), rng.normal(0, 60, (40, 2))
    goal = source + rng.normal(0, 3, source.shape)
    np.testing.assert_allclose(thin_plate(source, goal)(source), goal, atol=1e-7)
    turn, shift = np.array([[0.9, 0.3], [-0.2, 1.1]]), np.array([4.0, -7])
    affine = thin_plate(source, source @ turn + shift)
    np.testing.assert_allclose(affine(elsewhere), elsewhere @ turn + shift, atol=1e-6)


def test_a_smooth_thin_plate_misses_noise_and_bends_less():
    rng = np.random.default_rng(1)
    source = rng.normal(0, 20, (40, 2))
    goal = source + rng.normal(0, 1, source.shape)
    exact, smooth = thin_plate(source, goal), thin_plate(source, goal, 1e4)
    assert np.abs(smooth.bends).sum() < 0.3 * np.abs(exact.bends).sum()
    between = rng.normal(0, 20, (200, 2))
    assert np.linalg.norm(smooth(between) - between, axis=1).mean() < np.linalg.norm(
        exact(between) - between, axis=1
    ).mean()


@pytest.mark.parametrize(
    "source, smoothness, message",
    [
        (np.zeros((2, 2)), 0, "L >= 3"), (np.full((4, 2), np.nan), 0, "finite"),
        (np.column_stack([np.arange(5.0), np.arange(5.0)]), 0, "one line"), (np.eye(3)[:, :2], -1, "smoothness"),
    ],
)
def test_bad_points_of_a_thin_plate_are_named(source, smoothness, message):
    with pytest.raises(ValueError, match=message):
        thin_plate(source, source, smoothness)


def test_images_are_linear_on_triangles_and_the_outermost_surface_is_seen():
    flat = np.array([[1, 1, 5], [9, 1, 5], [1, 9, 5], [1, 1, 8], [5, 1, 8], [1, 5, 8]], float)
    values = np.column_stack([flat[:, 0] * 2 - flat[:, 1], [0, 0, 0, 1, 1, 1]])
    image, seen = draw(flat, np.array([[0, 1, 2], [5, 4, 3]]), values, (11, 21))
    y, x = np.nonzero(seen)
    assert {(1, 1), (1, 9), (9, 1)} <= set(zip(y, x)) and not seen[9, 9] and not seen[0, 0]
    np.testing.assert_allclose(image[y, x, 0], 2 * x - y, atol=1e-12)
    assert image[2, 2, 1] == 1 and image[1, 8, 1] == 0


def test_the_chart_keeps_lengths_on_its_cylinder():
    angle, height = np.linspace(-1, 1, 50), np.linspace(0, 30, 50)
    points = np.column_stack([70 * np.sin(angle), height, 70 * np.cos(angle)])
    chart = chart_around(points)
    flat = chart.flatten(points)
    step = np.linalg.norm(np.diff(flat[:, :2], axis=0), axis=1) * chart.pixel
    scale = chart.radius / np.hypot(points[:, 0] - chart.centre[0], points[:, 2] - chart.centre[1])
    np.testing.assert_allclose(step, np.hypot(70 * 2 / 49, 30 / 49), rtol=2e-3)
    np.testing.assert_allclose(scale, 1, atol=1e-2)


def test_a_known_smooth_flow_is_recovered_to_a_third_of_a_pixel():
    rng = np.random.default_rng(2)
    other = gaussian_filter(rng.normal(0, 1, (90, 110, 3)), (3, 3, 0)) * 10
    y, x = np.mgrid[:90, :110].astype(float)
    true = np.stack([2.5 * np.exp(-(((x - 55) / 25) ** 2) - ((y - 45) / 25) ** 2), 1.5 * np.sin(x / 40)], -1)
    fixed = sample(other, (x + true[..., 0]).ravel(), (y + true[..., 1]).ravel(), 3).reshape(other.shape)
    flow = align_images(fixed, other, np.ones((90, 110)))
    error = np.linalg.norm(flow - true, axis=-1)[8:-8, 8:-8]
    assert error.mean() < 0.33 and error.mean() < 0.25 * np.linalg.norm(true, axis=-1)[8:-8, 8:-8].mean()


def test_equal_images_do_not_move_and_nothing_seen_stays_finite():
    image = np.random.default_rng(3).normal(0, 1, (20, 24, 2))
    np.testing.assert_allclose(align_images(image, image, np.ones((20, 24))), 0, atol=1e-9)
    assert np.isfinite(align_images(image, image[::-1], np.zeros((20, 24)))).all()


@pytest.mark.parametrize("change, message", [({"bending": 0}, "bending"), ({"start": np.zeros((3, 3, 2))}, "start")])
def test_bad_arguments_of_the_alignment_are_named(change, message):
    image = np.zeros((8, 8, 1))
    with pytest.raises(ValueError, match=message):
        align_images(image, image, np.ones((8, 8)), **change)


def posed_scan(seed=0):
    neutral, dense = shell(), shell(98, 113)
    rng = np.random.default_rng(seed)
    turn, shift = rotation_exp([0.1, -0.3, 0.05]), np.array([5.0, -8, 30])

    def pose(points):
        return deform(points) @ turn.T + shift

    order = rng.permutation(len(dense.vertices))
    vertices = (pose(dense.vertices) + rng.normal(0, 0.1, dense.vertices.shape))[order]
    return neutral, Mesh(vertices, np.argsort(order)[dense.faces]), pose(neutral.vertices), turn, shift


def test_a_frame_stretched_along_its_surface_is_followed_without_texture():
    neutral, scan, truth, turn, shift = posed_scan()
    result = UVRegistration(neutral).register(scan, turn, shift)
    assert result.converged, result.reason
    keep = inner(neutral)
    error = np.linalg.norm(result.vertices - truth, axis=1)[keep]
    before = np.linalg.norm(neutral.vertices @ turn.T + shift - truth, axis=1)[keep]
    assert error.mean() < 0.6 and np.percentile(error, 95) < 0.6 * np.percentile(before, 95)


def test_landmarks_lead_where_shape_says_nothing():
    neutral, scan, truth, turn, shift = posed_scan()
    rng = np.random.default_rng(4)
    marks = rng.choice(np.flatnonzero(inner(neutral)), 40, replace=False)
    places = truth[marks] + rng.normal(0, 0.3, (40, 3))
    places[3] = np.nan
    stiff = UVOptions(bending=1e9, landmark_smoothness=5)
    with_marks = UVRegistration(neutral, marks, stiff).register(scan, turn, shift, places)
    without = UVRegistration(neutral, None, stiff).register(scan, turn, shift)
    # where the surface was stretched; elsewhere there is nothing to lead
    keep = inner(neutral) & (np.linalg.norm(deform(neutral.vertices) - neutral.vertices, axis=1) > 1.5)
    errors = [np.linalg.norm(r.vertices - truth, axis=1)[keep].mean() for r in (with_marks, without)]
    assert errors[0] < 0.6 * errors[1]


def test_a_scan_elsewhere_is_no_success_and_bad_input_is_named():
    neutral, scan, _, turn, shift = posed_scan()
    method = UVRegistration(neutral, [1, 2, 3, 4])
    far = method.register(scan, turn, shift + [0, 900, 0])
    assert not far.converged and "pose" in far.reason and np.isfinite(far.vertices).all()
    with pytest.raises(ValueError, match="scan"):
        method.register(Mesh(scan.vertices, np.zeros((0, 3), int)))
    with pytest.raises(ValueError, match="positions"):
        method.register(scan, turn, shift, np.zeros((5, 3)))
    with pytest.raises(ValueError, match="landmarks"):
        UVRegistration(neutral, [10**6])


def test_the_same_input_gives_the_same_bytes():
    neutral, scan, _, turn, shift = posed_scan()
    first, second = (UVRegistration(neutral).register(scan, turn, shift).vertices.tobytes() for _ in range(2))
    assert first == second


# -- textures -----------------------------------------------------------------------------------------


def picture(seed=7, size=512):
    """Blotches of several sizes, (size, size, 3) uint8."""
    rng = np.random.default_rng(seed)
    grey = sum(s * gaussian_filter(rng.normal(0, 1, (size, size)), s, mode="wrap") for s in (5, 10, 20))
    return np.clip(128 + 40 * grey / grey.std(), 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def textured(mesh, at):
    """The mesh with texture coordinates that lie at `at` (V, 3) in the plane of the face."""
    return Mesh(mesh.vertices, mesh.faces, (at[:, :2] + [70, 85]) / [140, 170])


def sphere_part(columns=81, rows=91):
    """Smooth and round, so that its shape is the same wherever its skin slides."""
    a, h = np.meshgrid(np.linspace(-0.7, 0.7, columns), np.linspace(-55, 55, rows))
    i = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    first, second = (i, i + 1, i + columns + 1), (i, i + columns + 1, i + columns)
    points = np.column_stack([80 * np.sin(a.ravel()), h.ravel(), 80 * np.cos(a.ravel())])
    return Mesh(points, np.vstack([np.column_stack(first), np.column_stack(second)]))


def slid(points):
    """The same surface, its skin moved around the axis by up to 3 mm."""
    angle = np.arctan2(points[:, 0], points[:, 2])
    angle = angle + 3 / 80 * np.exp(-((angle / 0.3) ** 2) - (points[:, 1] / 22) ** 2)
    return np.column_stack([80 * np.sin(angle), points[:, 1], 80 * np.cos(angle)])


def test_a_texture_is_drawn_where_its_coordinates_say_across_seams():
    chart = chart_around(sphere_part().vertices)
    mesh, image = sphere_part(), picture()
    flat = chart.flatten(mesh.vertices)
    whole = textured(mesh, mesh.vertices)
    seen = draw_texture(flat, whole, image, chart.shape, 8.0)
    # the same texture on a mesh whose triangles share no coordinates, in another order
    order = np.random.default_rng(0).permutation(3 * len(mesh.faces))
    uv_faces = np.argsort(order).reshape(-1, 3)
    torn = Mesh(mesh.vertices, mesh.faces, whole.uv[mesh.faces.ravel()][order], uv_faces)
    again = draw_texture(flat, torn, image, chart.shape, 8.0)
    np.testing.assert_array_equal(seen[1], again[1])
    np.testing.assert_allclose(seen[0], again[0], atol=1e-9)
    # upside down and left to right as the convention says: a dark spot near the top left of the picture
    spot = np.full((512, 512, 3), 200, np.uint8)
    spot[100:120, 150:170] = 20
    drawn = draw_texture(flat, whole, spot, chart.shape, 8.0)[0][..., 0]
    row, column = np.unravel_index(drawn.argmin(), drawn.shape)
    x, y = 160 / 512 * 140 - 70, (1 - 110 / 512) * 170 - 85
    place = chart.flatten(np.array([[x, y, np.sqrt(80**2 - x**2)]]))[0]
    assert abs(column - place[0]) < 4 and abs(row - place[1]) < 4


def test_light_and_exposure_hardly_change_a_drawn_texture():
    mesh, image = sphere_part(), picture()
    chart = chart_around(mesh.vertices)
    flat, whole = chart.flatten(mesh.vertices), textured(mesh, mesh.vertices)
    ramp = np.linspace(0.6, 0.9, 512)[None, :, None]
    one, two = (draw_texture(flat, whole, p, chart.shape, 8.0)[0] for p in (image, (ramp * image).astype(np.uint8)))
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.98 and abs(one.std() - two.std()) < 0.15 * one.std()


def test_a_texture_leads_where_shape_says_nothing():
    """Skin slides over a cylinder: only what is painted on it knows."""
    neutral, dense, image = sphere_part(41, 45), sphere_part(), picture()
    scan = textured(dense.with_vertices(slid(dense.vertices)), dense.vertices)
    truth = slid(neutral.vertices)
    moving = np.linalg.norm(truth - neutral.vertices, axis=1) > 1
    painted = textured(dense, dense.vertices), image
    dimmer = (0.8 * image).astype(np.uint8)
    with_it = UVRegistration(neutral, painted=painted).register(scan, texture=dimmer)
    without = UVRegistration(neutral).register(scan, texture=dimmer)  # nothing to compare it with
    plain = UVRegistration(neutral, painted=painted).register(scan)
    off = [np.linalg.norm(r.vertices - truth, axis=1)[moving].mean() for r in (with_it, without, plain)]
    assert off[0] < 0.2 * off[1] and off[0] < 0.2
    np.testing.assert_allclose(without.vertices, plain.vertices)


def test_bad_textures_are_named():
    neutral, image = sphere_part(), picture(size=32)
    method = UVRegistration(neutral, painted=(textured(neutral, neutral.vertices), image))
    with pytest.raises(ValueError, match="no texture coordinates"):
        method.register(neutral, texture=image)
    with pytest.raises(ValueError, match=r"texture: expected a picture of shape \(H, W, 3\)"):
        method.register(textured(neutral, neutral.vertices), texture=image[..., 0])
