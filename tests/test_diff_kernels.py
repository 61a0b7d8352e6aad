"""The compiled renderer's shortcuts (spans, bands, sums over triangles) against what they are short for."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="differentiable rendering needs torch")

from affect3d.render.differentiable import Topology, draw, draw_colours, interpolate, pixel_points, rasterize
from affect3d.render.differentiable import kernels_bands as bands_kernels
from affect3d.render.differentiable.samples import interpolate_torch
from affect3d.render.differentiable.silhouette import _outline_torch

_spec = importlib.util.spec_from_file_location("diff_scenes", Path(__file__).with_name("diff_scenes.py"))
scenes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scenes)

SCENES = {"icosahedron": scenes.icosahedron, "grid": scenes.grid, "layers": scenes.two_layers,
          "tetrahedron": scenes.tetrahedron}  # fmt: skip


def exact_faces(corners, depths, width, height):
    """Triangles with whole-numbered corners (F, 3, 2) and one depth each: every pixel by whole numbers alone."""
    y, x = np.mgrid[:height, :width]
    face = np.full((height, width), -1)
    best = np.full((height, width), np.inf)
    for f, (triangle, depth) in enumerate(zip(corners.astype(np.int64), depths)):
        a, b, c = triangle
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area == 0:
            continue
        inside = np.ones((height, width), bool)
        for p, q in ((a, b), (b, c), (c, a)):
            by_x, by_y = np.sign(area) * (p[1] - q[1]), np.sign(area) * (q[0] - p[0])
            value = by_x * (x - p[0]) + by_y * (y - p[1])
            counts = by_x > 0 or (by_x == 0 and by_y > 0)  # a top or left edge
            inside &= (value > 0) | ((value == 0) & counts)
        win = inside & (depth < best)
        face[win], best[win] = f, depth
    return face


@pytest.mark.parametrize("shape", ["any", "flat", "slivers", "far outside"])
def test_spans_cover_exactly_the_pixels_that_whole_numbers_say(shape):
    # corners on pixel centres: edges run through pixels everywhere, and the spans must decide each as the signs do
    rng = np.random.default_rng(4)
    width, height, count = 75, 100, 120
    corners = rng.integers(-10, 110, (count, 3, 2))
    if shape == "flat":  # an edge along a row or a column
        corners[:60, 1, 1] = corners[:60, 0, 1]
        corners[60:, 1, 0] = corners[60:, 0, 0]
    elif shape == "slivers":
        corners[:, 2] = corners[:, 1] + rng.integers(-1, 2, (count, 2))
    elif shape == "far outside":
        corners = rng.integers(-30000, 30000, (count, 3, 2))
        corners[:, 0] = rng.integers(0, 80, (count, 2))
    depths = 16.0 + rng.permutation(count)  # whole numbers too: all products are exact
    points = np.concatenate([corners * depths[:, None, None], np.repeat(depths, 3).reshape(-1, 3, 1)], 2)
    found = rasterize(torch.tensor(points.reshape(1, -1, 3)), np.arange(3 * count).reshape(-1, 3), width, height)
    expected = exact_faces(corners, depths, width, height)
    assert 100 < (expected >= 0).sum() and len(np.unique(expected)) > (5 if shape == "far outside" else 20)
    np.testing.assert_array_equal(found.face[0].numpy(), expected)


def test_each_band_lists_the_boxes_that_meet_it_in_order():
    rng = np.random.default_rng(0)
    top, left = rng.integers(0, 100, (2, 300))
    bottom = np.minimum(top + rng.integers(-1, 60, 300), 99)
    box = np.column_stack([left, left + rng.integers(-1, 20, 300), top, bottom])
    entries, first = bands_kernels.band_lists(box.astype(np.int32), 3, 13)
    for band in range(13):
        meets = (box[:, 0] <= box[:, 1]) & (box[:, 2] <= box[:, 3])
        meets &= (box[:, 2] < 8 * band + 8) & (box[:, 3] >= 8 * band)
        np.testing.assert_array_equal(entries[first[band] : first[band + 1]], np.flatnonzero(meets))
    assert first[-1] == len(entries) > 300


@pytest.mark.parametrize("cull", [False, True])
def test_outline_edges_are_those_of_the_torch_path_also_where_many_triangles_meet(cull):
    rng = np.random.default_rng(1)
    faces = np.array([rng.choice(12, 3, replace=False) for _ in range(40)])
    topology = Topology.of(faces, 12)
    meeting = np.diff(topology.first.numpy())
    assert meeting.max() > 2 and (meeting == 2).any() and (meeting == 1).any()
    for _ in range(20):
        side = rng.integers(-1, 2, 40).astype(np.int8)
        around, edges, beside, first, half = topology.for_kernels
        number, outward, owner = bands_kernels.outline_edges(edges, beside, first, half, around, side, cull)
        # the torch path says 0 also where triangles on both sides cancel, so it is asked edge by edge
        expected, owners = _outline_torch(topology, torch.from_numpy(side)[None], cull)
        expected = expected[0].numpy()
        np.testing.assert_array_equal(number, np.flatnonzero(expected))
        np.testing.assert_array_equal(outward, np.sign(expected[number]))
        np.testing.assert_array_equal(owner, owners[0].numpy()[number])


def soup(seed=2):
    """Triangles of all sizes in no order of depth, some through the near plane, some behind others."""
    rng = np.random.default_rng(seed)
    large = np.column_stack([rng.uniform(-50, 50, (24, 2)), rng.uniform(-60, 106, 24)])
    centre = np.column_stack([rng.uniform(-20, 20, (80, 2)), rng.uniform(-40, 80, 80)])
    small = centre[:, None] + rng.normal(0, 4, (80, 3, 3))
    faces = np.array([rng.choice(24, 3, replace=False) for _ in range(5)])
    return np.vstack([large, small.reshape(-1, 3)]), np.vstack([faces, 24 + np.arange(240).reshape(-1, 3)])


def both_ways(vertices, faces, width, height, channels=3, dtype=torch.float64, **options):
    """Pictures and gradients of `draw_colours`, and of `draw` with interpolated colours."""
    rng = np.random.default_rng(3)
    focal, _, R, t = (torch.tensor(np.asarray(a), dtype=dtype) for a in scenes.IDENTITY)
    camera = (focal * width / 16, torch.tensor([width / 2 - 0.4, height / 2 - 0.7], dtype=dtype), R, t)
    topology = Topology.of(faces, vertices.shape[-2])
    colours = rng.uniform(0, 1, (vertices.shape[-2], channels))
    behind = options.pop("background", 0.0)
    results = []
    for fused in (True, False):
        v, c = (torch.tensor(a, dtype=dtype, requires_grad=True) for a in (vertices, colours))
        b = torch.tensor(behind, dtype=dtype, requires_grad=True) if isinstance(behind, np.ndarray) else behind
        points = pixel_points(v, *camera)
        if fused:
            picture = draw_colours(points, topology, c, width, height, background=b, **options)
        else:
            faces_ = topology.faces
            picture = draw(points, topology, width, height, lambda s: interpolate(c, faces_, s), b, **options)
        weight = torch.rand(picture.shape, generator=torch.Generator().manual_seed(0), dtype=dtype) - 0.3
        (picture * weight).sum().backward()
        results.append([picture.detach(), v.grad, c.grad] + ([b.grad] if isinstance(b, torch.Tensor) else []))
    return results


@pytest.mark.parametrize(
    "options",
    [
        {}, {"cull": True}, {"reach": 0}, {"reach": 2.5, "near": 20.0}, {"channels": 1}, {"channels": 2},
        {"background": np.array([0.3, 0.1, 0.8])},
        {"background": np.random.default_rng(0).uniform(0, 1, (150, 90, 3))},
        {"background": np.random.default_rng(0).uniform(0, 1, (2, 1, 1, 3))},
        {"background": np.random.default_rng(0).uniform(0, 1, (150, 1, 2)), "channels": 2},
    ],
    ids=lambda o: "-".join(f"{k} {getattr(v, 'shape', v)}" for k, v in o.items()) or "plain",
)  # fmt: skip
def test_colours_drawn_in_one_go_are_those_drawn_by_samples(options):
    vertices, faces = soup()
    stack = np.stack([vertices, vertices + [3.0, -2.0, 1.0]])
    one, other = both_ways(stack, faces, 90, 150, **options)
    assert len(one) == (4 if "background" in options else 3)
    for found, expected in zip(one, other):
        scale = float(expected.abs().max())
        assert scale > 0.1 and torch.isfinite(found).all()
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9 * scale)


def test_in_one_go_float32_is_as_near_to_float64_as_by_samples():
    vertices, faces = soup()
    exact = both_ways(vertices, faces, 90, 150)[0]
    for way in both_ways(vertices, faces, 90, 150, dtype=torch.float32):
        assert all(t.dtype == torch.float32 for t in way)
        # a pixel on an edge may fall to the other triangle when corners are rounded
        assert ((way[0] - exact[0]).abs() < 1e-4).double().mean() > 0.995


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("shift", [(0, 0, 0), (4, -3, 85)], ids=["before", "reaching behind the camera"])
def test_colours_drawn_in_one_go_have_the_gradient_of_central_differences(name, shift):
    vertices, faces = SCENES[name]()
    vertices = scenes.turned(vertices) + np.array(shift)
    camera = [torch.tensor(np.asarray(a), dtype=torch.float64) for a in scenes.IDENTITY]
    topology = Topology.of(faces, len(vertices))
    rng = np.random.default_rng(6)
    weight = torch.tensor(rng.normal(size=(1, 12, 16, 3)))
    base = [pixel_points(torch.tensor(vertices), *camera), torch.tensor(rng.uniform(0.2, 1, (len(vertices), 3)))]

    def loss(points, colours):
        return (draw_colours(points, topology, colours, 16, 12, near=5.0, reach=1.3) * weight).sum()

    moved = [t.clone().requires_grad_() for t in base]
    loss(*moved).backward()
    for k, step in ((0, 1e-5), (1, 1e-5)):
        numeric = torch.zeros_like(base[k])
        for i in range(base[k].numel()):
            ends = []
            for sign in (1, -1):
                there = [t.clone() for t in base]
                there[k].view(-1)[i] += sign * step
                ends.append(loss(*there))
            numeric.view(-1)[i] = (ends[0] - ends[1]) / (2 * step)
        assert numeric.abs().max() > 1e-3
        assert (moved[k].grad - numeric).abs().max() < 3e-5 * numeric.abs().max()


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("shift", [(0, 0, 0), (4, -3, 85)], ids=["before", "reaching behind the camera"])
def test_the_torch_path_draws_and_differentiates_as_the_kernels_do(name, shift):
    # what a GPU runs, run on the CPU; the pictures are larger than the slow twins can draw
    vertices, faces = SCENES[name]()
    vertices = scenes.turned(vertices) + np.array(shift)
    results = []
    for backend in ("kernels", "torch"):
        focal, centre, R, t = (torch.tensor(np.asarray(a), dtype=torch.float64) for a in scenes.IDENTITY)
        v = torch.tensor(np.stack([vertices, vertices + [1.0, 2.0, -3.0]]), requires_grad=True)
        c = torch.tensor(np.random.default_rng(0).uniform(0, 1, (len(vertices), 3)), requires_grad=True)
        points = pixel_points(v, focal * 6, centre * 6, R, t)
        picture = draw_colours(points, faces, c, 96, 72, background=0.2, near=5.0, reach=1.5, backend=backend)
        (picture**2).sum().backward()
        results.append((picture.detach(), v.grad, c.grad))
    for found, expected in zip(*results):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10 * float(expected.abs().max()))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_interpolation_by_torch_operations_is_that_of_the_kernels(channels):
    vertices, faces = soup()
    camera = [torch.tensor(np.asarray(a), dtype=torch.float64) for a in (110.0, [30, 25], *scenes.IDENTITY[2:])]
    points = pixel_points(torch.tensor(np.stack([vertices, vertices + 1.0])), *camera)
    topology = Topology.of(faces, len(vertices))
    samples = rasterize(points, topology, 60, 50).samples
    values = torch.tensor(np.random.default_rng(1).normal(size=(2, len(vertices), channels)), requires_grad=True)
    weights = samples.weights.clone().requires_grad_()
    held = type(samples)(samples.face, weights, samples.depth, samples.place, samples.starts, samples.shape)
    factor = torch.tensor(np.random.default_rng(2).normal(size=(len(samples.face), channels)))
    assert len(factor) > 300 and samples.starts[1] > 100
    results = []
    for function in (interpolate, interpolate_torch):
        for shared in (False, True):  # by the batch, and one table for all of it
            table = values[:1] if shared else values
            out = function(table, topology.faces, held)
            results.append([out, *torch.autograd.grad((out * factor).sum(), [values, weights])])
    for a, b in zip(results[:2], results[2:]):
        for found, expected in zip(a, b):
            torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_a_long_batch_of_small_pictures_equals_a_loop_to_the_last_bit():
    # more pictures than are gathered together
    vertices, faces = scenes.two_layers()
    rng = np.random.default_rng(8)
    stack = np.stack([scenes.turned(vertices, rng.uniform(-0.6, 0.6, 3)) for _ in range(11)])
    camera = [torch.tensor(np.asarray(a), dtype=torch.float64) for a in scenes.IDENTITY]
    topology = Topology.of(faces, len(vertices))
    behind = rng.uniform(0, 1, (11, 12, 16, 3))

    def run(v, b):
        v, b = torch.tensor(v, requires_grad=True), torch.tensor(b, requires_grad=True)
        colours = v.detach() / 60 + 0.5
        colours.requires_grad_()
        picture = draw_colours(pixel_points(v, *camera), topology, colours, 16, 12, background=b)
        (picture**2).sum().backward()
        return picture.detach(), v.grad, colours.grad, b.grad

    together, alone = run(stack, behind), [run(stack[b : b + 1], behind[b : b + 1]) for b in range(11)]
    for k in range(4):
        assert torch.equal(together[k], torch.cat([a[k] for a in alone]))


@pytest.mark.parametrize("way", ["in one go", "by samples"])
def test_what_is_changed_in_place_before_the_way_back_is_noticed(way):
    vertices, faces = scenes.icosahedron()
    camera = [torch.tensor(np.asarray(a), dtype=torch.float64) for a in scenes.IDENTITY]
    points = pixel_points(torch.tensor(vertices), *camera).requires_grad_()
    colours = torch.ones(len(vertices), 3, dtype=torch.float64, requires_grad=True)
    topology = Topology.of(faces, len(vertices))
    for changed in (points, colours):
        if way == "in one go":
            picture = draw_colours(points, topology, colours, 16, 12)
        else:
            picture = draw(points, topology, 16, 12, lambda s: interpolate(colours, topology.faces, s))
        with torch.no_grad():
            changed.mul_(1.1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            picture.sum().backward()


@pytest.mark.parametrize("way", ["in one go", "by samples"])
def test_large_pictures_have_the_same_bits_on_one_thread_and_on_three(way):
    rng = np.random.default_rng(0)
    vertices, faces = scenes.grid(50, 80.0)
    vertices = vertices + rng.normal(0, 0.3, vertices.shape)
    R, t = (torch.tensor(a).float() for a in scenes.IDENTITY[2:])
    camera = (torch.tensor(600.0), torch.tensor([220.0, 150.0]), R, t)
    topology = Topology.of(faces, len(vertices))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3, 3):
            torch.set_num_threads(threads)
            v = torch.tensor(np.stack([vertices, vertices * 0.9]), dtype=torch.float32, requires_grad=True)
            points, colours = pixel_points(v, *camera), v.detach()[0] / 100 + 0.5
            colours.requires_grad_()
            if way == "in one go":
                picture = draw_colours(points, topology, colours, 440, 300)
            else:
                picture = draw(points, topology, 440, 300, lambda s: interpolate(colours, topology.faces, s))
            (picture**2).sum().backward()
            results.append((picture.detach(), v.grad, colours.grad))
    finally:
        torch.set_num_threads(before)
    assert (results[0][0] != 0).float().mean() > 0.5
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0]))


def test_a_batch_drawn_by_samples_equals_a_loop_to_the_last_bit():
    vertices, faces = scenes.two_layers()
    stack = np.stack([scenes.turned(vertices, a) for a in ((0.1, 0.2, 0), (0.4, -0.3, 0.2), (0, 0, 0))])
    camera = [torch.tensor(np.asarray(a), dtype=torch.float64) for a in scenes.IDENTITY]
    topology = Topology.of(faces, len(vertices))

    def run(v):
        v = torch.tensor(v, requires_grad=True)
        picture = draw(
            pixel_points(v, *camera), topology, 16, 12, lambda s: interpolate(v[:, :, :2] / 50, topology.faces, s)
        )
        (picture**2).sum().backward()
        return picture.detach(), v.grad

    together, alone = run(stack), [run(stack[b : b + 1]) for b in range(3)]
    for k in (0, 1):
        assert torch.equal(together[k], torch.cat([a[k] for a in alone]))


def test_numbers_beyond_computing_are_not_drawn_and_leave_no_trace():
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    good = np.array([[10.0, 10, 10], [300, 20, 20], [100, 400, 20]])
    for bad in (1e150, 1e300):
        points = torch.tensor(np.vstack([good, good * bad])[None], requires_grad=True)
        colours = torch.ones(6, 3, dtype=torch.float64, requires_grad=True)
        picture = draw_colours(points, faces, colours, 40, 40)
        picture.sum().backward()
        only = draw_colours(points[:, :3], faces[:1], colours[:3], 40, 40)
        assert torch.equal(picture, only) and picture.sum() > 100
        assert torch.isfinite(points.grad).all() and (points.grad[0, 3:] == 0).all()


def test_wrong_arguments_of_colours_in_one_go_are_named():
    points, faces, colours = torch.ones(2, 3, 3), np.array([[0, 1, 2]]), torch.ones(3, 3)
    with pytest.raises(ValueError, match="values: expected a batch of 1 or 2, got 5"):
        draw_colours(points, faces, torch.ones(5, 3, 3), 4, 4)
    with pytest.raises(ValueError, match=r"values: expected 3 vertices, got 4"):
        draw_colours(points, faces, torch.ones(4, 3), 4, 4)
    with pytest.raises(ValueError, match="float32 as the points"):
        draw_colours(points, faces, colours.double(), 4, 4)
    with pytest.raises(ValueError, match="reach: expected a positive number"):
        draw_colours(points, faces, colours, 4, 4, reach=-1)
    with pytest.raises(ValueError, match="near: expected a positive depth"):
        draw_colours(points, faces, colours, 4, 4, near=0)
    with pytest.raises(ValueError, match="width, height"):
        draw_colours(points, faces, colours, 4, 0)
    with pytest.raises(ValueError, match="background: expected numbers that broadcast"):
        draw_colours(points, faces, colours, 4, 4, background=torch.ones(5))
