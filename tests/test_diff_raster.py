"""Differentiable rasterization: against a slow twin, finite differences, and itself on other paths."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="differentiable rendering needs torch")

from affect3d.camera import Camera
from affect3d.render.differentiable import (
    Topology, camera_tensors, draw, draw_colours, interpolate, pixel_points, rasterize, screen_derivatives,
    sh_irradiance, silhouette_samples, vertex_normals,
)  # fmt: skip
from affect3d.render.differentiable.backends import draw_colours_deodr
from affect3d.render.raster import rasterize as forward_rasterize
from affect3d.render.raster import screen_points

_spec = importlib.util.spec_from_file_location("diff_scenes", Path(__file__).with_name("diff_scenes.py"))
scenes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scenes)

WIDTH, HEIGHT = 16, 12
SCENES = {"icosahedron": scenes.icosahedron, "grid": scenes.grid, "layers": scenes.two_layers,
          "tetrahedron": scenes.tetrahedron}  # fmt: skip


def tensors(*arrays, dtype=torch.float64):
    return [torch.tensor(np.asarray(a), dtype=dtype) for a in arrays]


def placed(vertices, shift=(0.0, 0.0, 0.0), dtype=torch.float64):
    focal, centre, R, t = tensors(*scenes.IDENTITY, dtype=dtype)
    moved = torch.tensor(scenes.turned(vertices) + np.array(shift), dtype=dtype)
    return pixel_points(moved, focal, centre, R, t)


@pytest.fixture(params=SCENES)
def scene(request):
    vertices, faces = SCENES[request.param]()
    return scenes.turned(vertices), faces


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("shift", [(0, 0, 0), (4, -3, 85)], ids=["before", "reaching behind the camera"])
@pytest.mark.parametrize("cull", [False, True])
@pytest.mark.parametrize("backend", ["kernels", "torch"])
def test_faces_coordinates_and_depths_agree_with_the_slow_twin(name, shift, cull, backend):
    vertices, faces = SCENES[name]()
    points = placed(vertices, shift)
    found = rasterize(points, faces, WIDTH, HEIGHT, cull=cull, near=5.0, backend=backend)
    # the twin projects plain camera points; homogeneous pixel coordinates are such points
    face, weights, depth, close = scenes.naive_raster(points[0].numpy(), faces, WIDTH, HEIGHT, 5.0, cull)
    sure = ~close
    inside_a_closed_mesh = cull and shift[2] > 0 and name == "icosahedron"
    assert sure.mean() > 0.8 and ((face >= 0).mean() > 0.03 or inside_a_closed_mesh)
    np.testing.assert_array_equal(found.face[0].numpy()[sure], face[sure])
    np.testing.assert_allclose(found.weights[0].numpy()[sure], weights[sure], atol=1e-9)
    np.testing.assert_allclose(found.depth[0].numpy()[sure], depth[sure], rtol=1e-9)


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("backend", ["kernels", "torch"])
def test_outlines_agree_with_the_slow_twin(name, backend):
    vertices, faces = SCENES[name]()
    points = placed(vertices)
    colours = np.random.default_rng(1).uniform(0.2, 1, (len(vertices), 3))
    fragments = rasterize(points, faces, WIDTH, HEIGHT)
    plain = fragments.spread(interpolate(torch.tensor(colours), torch.tensor(faces), fragments.samples))
    drawn = draw_colours(points, faces, torch.tensor(colours), WIDTH, HEIGHT, reach=1.5, backend=backend)
    expected = scenes.naive_outlines(
        points[0].numpy(), faces, plain[0].numpy(), colours, fragments.depth[0].numpy(), reach=1.5
    )
    changed = np.abs(expected - plain[0].numpy()).max(-1) > 0
    assert changed.sum() > 10
    np.testing.assert_allclose(drawn[0].numpy(), expected, atol=1e-9)


def test_pixels_on_shared_edges_are_drawn_exactly_once():
    # corners on pixel centres: many pixels lie exactly on edges and corners
    rng = np.random.default_rng(0)
    n = 5
    x, y = np.meshgrid(np.arange(n) * 3.0, np.arange(n) * 2.0)
    x[1:-1, 1:-1] += rng.integers(-1, 2, (n - 2, n - 2))
    z = rng.choice([50.0, 64.0, 100.0], n * n)
    points = np.column_stack([x.ravel() * z, y.ravel() * z, z])
    _, faces = scenes.grid(n)
    count = np.zeros((HEIGHT, WIDTH), int)
    for f in faces:
        face = rasterize(torch.tensor(points)[None], f[None], WIDTH, HEIGHT).face[0]
        count += (face >= 0).numpy()
    whole = np.zeros_like(count)
    whole[: int(y.max()), : int(x.max())] = 1  # top and left borders belong to the sheet, bottom and right do not
    np.testing.assert_array_equal(count, whole)


def test_the_forward_rasterizer_sees_the_same():
    vertices, faces = scenes.two_layers()
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = scenes.IDENTITY[2], scenes.IDENTITY[3]
    camera = Camera(80.0, np.array([30.3, 22.1]), (61, 47), T)
    other = forward_rasterize(screen_points(camera, vertices), faces, 61, 47)
    points = pixel_points(torch.tensor(vertices), *camera_tensors(camera, torch.float64))
    mine = rasterize(points, faces, 61, 47)
    np.testing.assert_array_equal(mine.face[0].numpy(), other.face)
    np.testing.assert_allclose(mine.weights[0].numpy(), other.weights, atol=1e-5)
    np.testing.assert_allclose(mine.depth[0].numpy(), other.depth, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("backend", ["kernels", "torch"])
def test_results_follow_the_type_of_the_points(dtype, backend):
    vertices, faces = scenes.icosahedron()
    points = placed(vertices, dtype=dtype)
    fragments = rasterize(points, faces, WIDTH, HEIGHT, backend=backend)
    edges = silhouette_samples(points, faces, fragments, backend=backend)
    colours = torch.ones(len(vertices), 2, dtype=dtype)
    picture = draw_colours(points, faces, colours, WIDTH, HEIGHT, backend=backend)
    for t in (fragments.weights, fragments.depth, edges.weights, edges.depth, edges.opacity, picture):
        assert t.dtype == dtype


def picture_of(vertices, focal, centre, rotation, translation, colours, light, faces, topology, backend="auto"):
    """Lit colours, so that every input of a picture has a gradient."""
    points = pixel_points(vertices, focal, centre, rotation, translation)
    normals = vertex_normals(vertices[None], faces)[0]

    def shade(samples):
        n = torch.nn.functional.normalize(interpolate(normals, faces, samples), dim=1)
        return interpolate(colours, faces, samples) * sh_irradiance(n, light)

    return draw(points, topology, WIDTH, HEIGHT, shade, 0.3, reach=1.3, backend=backend)


def inputs_of(scene, seed=3):
    vertices, faces = scene
    rng = np.random.default_rng(seed)
    focal, centre, R, t = scenes.IDENTITY
    light = rng.normal(0, 0.1, (9, 3))
    light[0] += 0.8
    colours = rng.uniform(0.2, 1, (len(vertices), 3))
    names = ("vertices", "focal", "centre", "rotation", "translation", "colours", "light")
    return dict(zip(names, tensors(vertices, focal, centre, R, t, colours, light))), torch.tensor(faces)


@pytest.mark.parametrize("backend", ["kernels", "torch"])
def test_every_input_has_the_gradient_of_central_differences(scene, backend):
    inputs, faces = inputs_of(scene)
    topology = Topology.of(faces, len(inputs["vertices"]))
    rng = np.random.default_rng(5)
    weight = torch.tensor(rng.normal(size=(1, HEIGHT, WIDTH, 3)))
    for tensor in inputs.values():
        tensor.requires_grad_()
    loss = (picture_of(**inputs, faces=faces, topology=topology, backend=backend) * weight).sum()
    loss.backward()
    step = 1e-6
    for name, tensor in inputs.items():
        gradient = tensor.grad.reshape(-1)
        assert torch.isfinite(gradient).all()
        numeric = torch.zeros_like(gradient)
        with torch.no_grad():
            for k in range(len(gradient)):
                values = []
                for sign in (1, -1):
                    moved = {key: value.detach().clone() for key, value in inputs.items()}
                    moved[name].view(-1)[k] += sign * step
                    values.append((picture_of(**moved, faces=faces, topology=topology) * weight).sum())
                numeric[k] = (values[0] - values[1]) / (2 * step)
        assert numeric.abs().max() > 1e-4
        error = (gradient - numeric).abs().max() / numeric.abs().max()
        assert error < 2e-5, f"{name}: {error:.2g}"


@pytest.mark.parametrize("backend", ["kernels", "torch"])
@pytest.mark.parametrize("shift", [(0, 0, 0), (4, -3, 85)], ids=["before", "reaching behind the camera"])
def test_coordinates_depths_and_outlines_have_the_gradient_of_differences(scene, shift, backend):
    vertices, faces = scene
    camera = tensors(*scenes.IDENTITY)
    base = torch.tensor(vertices + np.array(shift))
    topology = Topology.of(faces, len(vertices))
    rng = np.random.default_rng(1)

    def numbers(v):
        points = pixel_points(v, *camera)
        fragments = rasterize(points, topology, WIDTH, HEIGHT, near=5.0, backend=backend)
        edges = silhouette_samples(points, topology, fragments, near=5.0, backend=backend)
        parts = (
            fragments.samples.weights,
            fragments.samples.depth / 50,
            edges.weights,
            edges.depth / 50,
            edges.opacity,
        )
        return torch.cat([p.reshape(-1) for p in parts])

    moved = base.clone().requires_grad_()
    found = numbers(moved)
    factor = torch.tensor(rng.normal(size=len(found)))
    (found * factor).sum().backward()
    for _ in range(4):
        direction = torch.tensor(rng.normal(size=base.shape))
        numeric = ((numbers(base + 1e-7 * direction) - numbers(base - 1e-7 * direction)) * factor).sum() / 2e-7
        assert float((moved.grad * direction).sum()) == pytest.approx(float(numeric), rel=1e-4, abs=1e-4)


def test_the_background_has_a_gradient_too():
    vertices, faces = scenes.icosahedron()
    points = placed(vertices).requires_grad_()
    colours = torch.rand(len(vertices), 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    behind = torch.rand(HEIGHT, WIDTH, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def render(b):
        return draw_colours(points.detach(), faces, colours, WIDTH, HEIGHT, background=b)

    assert torch.autograd.gradcheck(render, (behind.requires_grad_(),))
    assert torch.autograd.gradcheck(render, (torch.tensor([0.2, 0.7], dtype=torch.float64, requires_grad=True),))


def test_outline_pixels_alone_carry_the_right_gradient():
    # constant colour: without outlines the gradient of the positions would be zero
    vertices, faces = scenes.icosahedron()
    base = torch.tensor(scenes.turned(vertices))
    camera = tensors(*scenes.IDENTITY)
    colours = torch.ones(len(vertices), 1, dtype=torch.float64)

    def area(v, reach=1.0):
        return draw_colours(pixel_points(v, *camera), faces, colours, WIDTH, HEIGHT, reach=reach).sum()

    moved = base.clone().requires_grad_()
    area(moved).backward()
    assert moved.grad.abs().max() > 0.05
    rng = np.random.default_rng(2)
    direction = torch.tensor(rng.normal(size=base.shape))
    numeric = (area(base + 1e-6 * direction) - area(base - 1e-6 * direction)) / 2e-6
    assert float((moved.grad * direction).sum()) == pytest.approx(float(numeric), rel=1e-5)
    flat = base.clone().requires_grad_()
    area(flat, reach=0).backward()
    assert flat.grad.abs().max() < 1e-12


def test_the_picture_changes_steadily_while_an_outline_crosses_pixels():
    vertices, faces = scenes.icosahedron()
    camera = tensors(*scenes.IDENTITY)
    colours = torch.ones(len(vertices), 1, dtype=torch.float64)
    base = torch.tensor(scenes.turned(vertices))
    frames = [
        draw_colours(pixel_points(base + torch.tensor([s, 0.3 * s, 0]), *camera), faces, colours, WIDTH, HEIGHT)
        for s in np.linspace(0, 12, 601)
    ]
    steps = torch.stack([(a - b).abs().max() for a, b in zip(frames[1:], frames[:-1])])
    # 0.02 mm are 0.006 px; without the bands a pixel jumps by 1
    assert steps.max() < 0.02


def test_a_batch_equals_a_loop_to_the_last_bit():
    vertices, faces = scenes.two_layers()
    rng = np.random.default_rng(0)
    stack = np.stack([scenes.turned(vertices, rng.uniform(-0.5, 0.5, 3)) for _ in range(3)])
    colours = rng.uniform(0, 1, (3, len(vertices), 3))
    camera = tensors(*scenes.IDENTITY)
    topology = Topology.of(faces, len(vertices))

    def run(v, c):
        v, c = torch.tensor(v).requires_grad_(), torch.tensor(c).requires_grad_()
        picture = draw_colours(pixel_points(v, *camera), topology, c, WIDTH, HEIGHT)
        (picture**2).sum().backward()
        return picture.detach(), v.grad, c.grad

    together = run(stack, colours)
    alone = [run(stack[b : b + 1], colours[b : b + 1]) for b in range(3)]
    for k in range(3):
        assert torch.equal(together[k], torch.cat([a[k] for a in alone]))


@pytest.mark.parametrize("shared", ["vertices", "colours"])
def test_what_a_batch_shares_gets_the_sum_of_the_gradients(shared):
    vertices, faces = scenes.icosahedron()
    rng = np.random.default_rng(0)
    stack = torch.tensor(np.stack([scenes.turned(vertices, rng.uniform(-0.5, 0.5, 3)) for _ in range(3)]))
    colours = torch.tensor(rng.uniform(0, 1, (len(vertices), 3)), requires_grad=True)
    camera = tensors(*scenes.IDENTITY)
    if shared == "vertices":
        stack = stack[0].clone().requires_grad_()
        camera[3] = camera[3] + torch.tensor(rng.normal(0, 3, (3, 3)))
    points = pixel_points(stack, *camera)
    (draw_colours(points, faces, colours, WIDTH, HEIGHT) ** 2).sum().backward()
    total = torch.zeros_like(colours)
    for b in range(3):
        one = colours.detach().clone().requires_grad_()
        (draw_colours(points[b : b + 1].detach(), faces, one, WIDTH, HEIGHT) ** 2).sum().backward()
        total += one.grad
    torch.testing.assert_close(colours.grad, total)


def test_the_same_input_gives_the_same_bits_on_one_thread_and_on_two():
    rng = np.random.default_rng(0)
    vertices, faces = scenes.grid(60, 80.0)
    vertices = vertices + rng.normal(0, 0.2, vertices.shape)
    camera = (torch.tensor(300.0), torch.tensor([130.0, 120.0]), *tensors(*scenes.IDENTITY[2:], dtype=torch.float32))
    topology = Topology.of(faces, len(vertices))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            v = torch.tensor(vertices, dtype=torch.float32, requires_grad=True)
            picture = draw_colours(pixel_points(v, *camera), topology, v / 100 + 0.5, 256, 240)
            (picture**2).sum().backward()
            results.append((picture.detach(), v.grad))
    finally:
        torch.set_num_threads(before)
    assert (results[0][0] > 0).sum() > 30000
    for picture, gradient in results[1:]:
        assert torch.equal(picture, results[0][0]) and torch.equal(gradient, results[0][1])


def test_screen_derivatives_are_differences_between_pixels():
    vertices, faces = scenes.grid(3, 60.0)
    points = placed(vertices)
    fragments = rasterize(points, faces, WIDTH, HEIGHT)
    slope = screen_derivatives(points, torch.tensor(faces), fragments.samples)
    step = 1e-5
    for axis in (0, 1):
        move = torch.eye(3, dtype=torch.float64)
        move[axis, 2] = -step  # moving the picture by -step looks step further
        nearby = rasterize(points @ move.T, faces, WIDTH, HEIGHT)
        same = nearby.face == fragments.face
        both = (same & (fragments.face >= 0))[0]
        expected = (nearby.weights - fragments.weights)[0][both] / step
        kept = both.reshape(-1)[fragments.samples.place]
        torch.testing.assert_close(slope[kept, :, axis], expected, rtol=1e-3, atol=1e-4)


def test_empty_meshes_flat_triangles_and_one_pixel_pictures_are_drawn():
    camera = tensors(*scenes.IDENTITY)
    v = torch.tensor([[0.0, 0, 0], [10, 0, 0], [20, 0, 0], [0, 30, 0]], dtype=torch.float64, requires_grad=True)
    colours = torch.ones(4, 1, dtype=torch.float64)
    for faces in (np.zeros((0, 3), int), np.array([[0, 1, 2]]), np.array([[0, 0, 3]]), np.array([[0, 2, 3]])):
        for size in ((1, 1), (WIDTH, HEIGHT)):
            for backend in ("kernels", "torch"):
                picture = draw_colours(pixel_points(v, *camera), faces, colours, *size, backend=backend)
                v.grad = None
                (picture.sum() + 0 * v.sum()).backward()
                assert torch.isfinite(picture).all() and torch.isfinite(v.grad).all()
    everything_behind = pixel_points(v.detach() + torch.tensor([0, 0, 500.0]), *camera)
    assert (rasterize(everything_behind, np.array([[0, 2, 3]]), 8, 8).face == -1).all()


def test_wrong_arguments_are_named():
    points = torch.ones(1, 3, 3)
    faces = np.array([[0, 1, 2]])
    bad = points.clone()
    bad[0, 1, 1] = float("nan")
    with pytest.raises(ValueError, match=r"points: expected a tensor of shape \(B, V, 3\), got \(3, 3\)"):
        rasterize(points[0], faces, 4, 4)
    with pytest.raises(ValueError, match="points: expected finite"):
        rasterize(bad, faces, 4, 4)
    with pytest.raises(ValueError, match="float32 or float64"):
        rasterize(points.half(), faces, 4, 4)
    with pytest.raises(ValueError, match=r"faces: indices must lie in \[0, 3\), got 3"):
        rasterize(points, faces + 1, 4, 4)
    with pytest.raises(ValueError, match="width, height"):
        rasterize(points, faces, 0, 4)
    with pytest.raises(ValueError, match="near"):
        rasterize(points, faces, 4, 4, near=0)
    with pytest.raises(ValueError, match="backend: expected one of auto, kernels, torch, pytorch3d"):
        rasterize(points, faces, 4, 4, backend="opengl")
    with pytest.raises(ValueError, match="the topology has 5 vertices, got 3"):
        rasterize(points, Topology.of(faces, 5), 4, 4)
    fragments = rasterize(points, faces, 4, 4)
    with pytest.raises(ValueError, match="reach"):
        silhouette_samples(points, faces, fragments, reach=0)
    with pytest.raises(ValueError, match="values"):
        interpolate(torch.ones(3), torch.tensor(faces), fragments.samples)
    with pytest.raises(ValueError, match="float32 as the points"):
        interpolate(torch.ones(3, 1).double(), torch.tensor(faces), fragments.samples)


def test_a_missing_package_is_named():
    points = placed(scenes.icosahedron()[0])
    faces = scenes.icosahedron()[1]
    if importlib.util.find_spec("pytorch3d") is None:
        with pytest.raises(ImportError, match="needs the package pytorch3d"):
            rasterize(points, faces, 4, 4, backend="pytorch3d")
    if importlib.util.find_spec("deodr") is None:
        with pytest.raises(ImportError, match="pip install deodr"):
            draw_colours_deodr(points, faces, points[0], 4, 4)


def test_pytorch3d_sees_the_same():
    pytest.importorskip("pytorch3d", reason="pytorch3d is not installed")
    vertices, faces = scenes.two_layers()
    points = placed(vertices)
    mine, other = (rasterize(points, faces, WIDTH, HEIGHT, backend=b) for b in ("kernels", "pytorch3d"))
    assert (mine.face == other.face).double().mean() > 0.97


@pytest.mark.parametrize("name", ["icosahedron", "tetrahedron"])
def test_deodr_draws_nearly_the_same_picture_and_gradient(name):
    pytest.importorskip("deodr", reason="deodr is not installed")
    vertices, faces = SCENES[name]()
    rng = np.random.default_rng(0)
    colours = torch.tensor(rng.uniform(0.2, 1, (len(vertices), 3)))
    # far away and magnified: DEODR does not interpolate in perspective
    far = torch.tensor(scenes.turned(vertices))
    camera = tensors(3000.0, np.array([31.5, 23.5]), np.diag([1.0, -1, -1]), np.array([0, 0, 6000.0]))
    results = []
    for render in (draw_colours, draw_colours_deodr):
        v, c = far.clone().requires_grad_(), colours.clone().requires_grad_()
        options = {"cull": True} if render is draw_colours else {}
        picture = render(pixel_points(v, *camera), faces, c, 64, 48, **options)
        (picture**2).sum().backward()
        results.append((picture.detach(), v.grad, c.grad))
    (a, av, ac), (b, bv, bc) = results
    assert (a - b).abs().mean() < 2e-3  # corners of the outline differ
    for mine, other in ((av, bv), (ac, bc)):
        assert float((mine * other).sum() / (mine.norm() * other.norm())) > 0.97
