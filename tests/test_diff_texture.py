"""Mip-mapped lookup, light from photos, filling, unwrapping and textured OBJ files."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from affect3d.camera import Camera
from affect3d.io.image import read_image
from affect3d.io.obj import read_obj
from affect3d.io.texture_file import find_texture
from affect3d.io.textured_obj import write_textured_obj
from affect3d.mesh import Mesh
from affect3d.render.pushpull import push_pull
from affect3d.render.sh_lighting import estimate_sh_lighting
from affect3d.render.shading import harmonics
from affect3d.render.unwrap import unwrap_texture

_spec = importlib.util.spec_from_file_location("diff_scenes", Path(__file__).with_name("diff_scenes.py"))
scenes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scenes)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="differentiable rendering needs torch")


def test_every_level_of_a_pyramid_has_the_mean_of_the_texture(torch):
    from affect3d.render.mipmap import mipmap

    texture = torch.rand(16, 32, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pyramid = mipmap(texture)
    assert pyramid.sizes == ((16, 32), (8, 16), (4, 8), (2, 4), (1, 2))
    at = 0
    for height, width in pyramid.sizes:
        level = pyramid.texels[at : at + height * width]
        torch.testing.assert_close(level.mean(0), texture.mean((0, 1)))
        at += height * width
    assert at == len(pyramid.texels)


def test_texel_middles_are_read_exactly_and_lines_are_kept(torch):
    from affect3d.render.mipmap import mipmap, sample_mipmap

    height, width = 6, 8
    y, x = np.mgrid[:height, :width]
    u, v = (x + 0.5) / width, 1 - (y + 0.5) / height
    texture = torch.tensor(np.stack([u, v, 2 * u - 3 * v], -1))
    uv = torch.tensor(np.stack([u, v], -1).reshape(-1, 2))
    torch.testing.assert_close(sample_mipmap(mipmap(texture), uv), texture.reshape(-1, 3))
    inner = torch.rand(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.5 + 0.25
    got = sample_mipmap(mipmap(texture), inner)
    torch.testing.assert_close(got, torch.stack([inner[:, 0], inner[:, 1], 2 * inner[:, 0] - 3 * inner[:, 1]], 1))
    # a level between two: each level keeps the line, so any blend of them does (away from the border)
    middle = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    got = sample_mipmap(mipmap(texture), middle, torch.tensor([0.4], dtype=torch.float64))
    torch.testing.assert_close(got, torch.tensor([[0.5, 0.5, -0.5]], dtype=torch.float64))


def test_texture_coordinates_and_level_have_the_gradient_of_differences(torch):
    from affect3d.render.mipmap import mipmap, sample_mipmap

    g = torch.Generator().manual_seed(3)
    texture = torch.rand(8, 8, 2, generator=g, dtype=torch.float64, requires_grad=True)
    uv = (torch.rand(20, 2, generator=g, dtype=torch.float64) * 1.2 - 0.1).requires_grad_()
    level = (torch.rand(20, generator=g, dtype=torch.float64) * 4 - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda t, p, q: sample_mipmap(mipmap(t), p, q), (texture, uv, level))


def test_a_checkerboard_seen_from_far_is_grey_and_from_near_is_not(torch):
    from affect3d.render.differentiable import draw, interpolate, pixel_points, screen_derivatives
    from affect3d.render.mipmap import footprint_level, mipmap, sample_mipmap

    vertices = torch.tensor([[-50.0, -50, 0], [50, -50, 0], [50, 50, 0], [-50, 50, 0]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    uv = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.float64)
    board = torch.tensor(np.indices((64, 64)).sum(0) % 2, dtype=torch.float64)[..., None]
    pyramid = mipmap(board)
    focal, centre, R, _ = (torch.tensor(np.asarray(a), dtype=torch.float64) for a in scenes.IDENTITY)
    spread = []
    for distance in (30.0, 600.0):
        points = pixel_points(vertices, focal, centre, R, torch.tensor([0, 0, distance], dtype=torch.float64))

        def shade(s, points=points, distance=distance):
            level = footprint_level(uv[faces[s.face]], screen_derivatives(points, faces, s), (64, 64))
            if distance == 600.0:
                # 100 mm are 5 px, so a pixel covers 64 / 5 texels
                torch.testing.assert_close(level, torch.full_like(level, np.log2(64 / 5)))
            return sample_mipmap(pyramid, interpolate(uv, faces, s), level)

        picture = draw(points, faces, 16, 12, shade, 0.5, reach=0)
        spread.append(float((picture - 0.5).abs().max()))
    assert spread[0] > 0.1 and spread[1] < 1e-9


def test_a_textured_picture_has_the_gradient_of_differences(torch):
    from affect3d.render.differentiable import draw, interpolate, pixel_points, screen_derivatives
    from affect3d.render.mipmap import footprint_level, mipmap, sample_mipmap

    vertices, faces = scenes.icosahedron()
    rng = np.random.default_rng(0)
    base, faces = torch.tensor(scenes.turned(vertices)), torch.tensor(faces)
    uv = torch.tensor(rng.uniform(0.1, 0.9, (len(vertices), 2)))
    texture = torch.tensor(rng.uniform(0, 1, (32, 32, 2)))
    camera = [torch.tensor(np.asarray(a), dtype=torch.float64) for a in scenes.IDENTITY]
    weight = torch.tensor(rng.normal(size=(1, 12, 16, 2)))

    def loss(v, t):
        points, pyramid = pixel_points(v, *camera), mipmap(t)

        def shade(s):
            level = footprint_level(uv[faces[s.face]], screen_derivatives(points, faces, s), (32, 32))
            return sample_mipmap(pyramid, interpolate(uv, faces, s), level)

        return (draw(points, faces, 16, 12, shade, 0.5) * weight).sum()

    v, t = base.clone().requires_grad_(), texture.clone().requires_grad_()
    loss(v, t).backward()
    for _ in range(4):
        a, b = torch.tensor(rng.normal(size=v.shape)), torch.tensor(rng.normal(size=t.shape))
        numeric = (loss(base + 1e-7 * a, texture) - loss(base - 1e-7 * a, texture)) / 2e-7
        assert float((v.grad * a).sum()) == pytest.approx(float(numeric), rel=1e-4)
        numeric = (loss(base, texture + 1e-6 * b) - loss(base, texture - 1e-6 * b)) / 2e-6
        assert float((t.grad * b).sum()) == pytest.approx(float(numeric), rel=1e-6)


def sphere_normals(count, seed=0):
    n = np.random.default_rng(seed).normal(size=(count, 3))
    return n / np.linalg.norm(n, axis=1, keepdims=True)


def test_light_is_found_again_under_outliers():
    rng = np.random.default_rng(1)
    normals = sphere_normals(2000)
    albedo = rng.uniform(0.2, 0.8, (2000, 3))
    light = rng.normal(0, 0.15, (9, 3))
    light[0] += 1
    observed = albedo * (harmonics(normals) @ light) + rng.normal(0, 0.003, (2000, 3))
    hair = rng.random(2000) < 0.25
    observed[hair] = rng.uniform(0, 0.1, (hair.sum(), 3))
    found = estimate_sh_lighting(normals, albedo, observed)
    assert found.converged and "no coefficient moved" in found.reason
    np.testing.assert_allclose(found.coefficients, light, atol=0.01)
    assert found.trust[hair].mean() < 0.15 and found.trust[~hair].mean() > 0.7


def test_light_from_unseen_sides_stays_near_zero():
    normals = sphere_normals(3000)
    normals = normals[normals[:, 2] > 0.3]
    found = estimate_sh_lighting(normals, np.array([0.5, 0.5, 0.5]), np.full((len(normals), 3), 0.4))
    np.testing.assert_allclose(found.coefficients[0], 0.8, atol=0.02)
    assert np.abs(found.coefficients[1:]).max() < 0.02


def test_wrong_arguments_of_the_light_are_named():
    n = sphere_normals(20)
    with pytest.raises(ValueError, match="normals"):
        estimate_sh_lighting(n[:, :2], 1.0, np.ones((20, 3)))
    with pytest.raises(ValueError, match="observed"):
        estimate_sh_lighting(n, 1.0, np.ones((19, 3)))
    with pytest.raises(ValueError, match="albedo"):
        estimate_sh_lighting(n, np.ones((3, 3)), np.ones((20, 3)))
    with pytest.raises(ValueError, match="observed: expected finite"):
        estimate_sh_lighting(n, [1.0], np.full((20, 3), np.nan))
    with pytest.raises(ValueError, match="at least 9"):
        estimate_sh_lighting(n, [1.0], np.ones((20, 3)), np.r_[np.ones(8), np.zeros(12)])


def test_filling_keeps_what_is_known_and_continues_it():
    rng = np.random.default_rng(0)
    values = rng.uniform(0.3, 0.6, (37, 50, 3))
    weights = (rng.random((37, 50)) < 0.3).astype(float)
    filled = push_pull(values, weights)
    np.testing.assert_array_equal(filled[weights == 1], values[weights == 1])
    assert filled.min() >= 0.3 - 1e-9 and filled.max() <= 0.6 + 1e-9
    np.testing.assert_allclose(push_pull(np.full((9, 7, 1), 0.25), np.eye(9, 7)), 0.25)
    assert (push_pull(values, np.zeros((37, 50))) == 0).all()
    with pytest.raises(ValueError, match="weights"):
        push_pull(values, weights[1:])


def bump():
    """A symmetric open sheet with a nose, and texture coordinates that fill the square."""
    t = np.linspace(-60, 60, 41)
    x, y = np.meshgrid(t, t)
    z = 40 * np.exp(-(x**2 + y**2) / 800) - (x**2 + y**2) / 200
    q = np.arange(x.size).reshape(x.shape)
    a, b, c, d = q[:-1, :-1].ravel(), q[:-1, 1:].ravel(), q[1:, 1:].ravel(), q[1:, :-1].ravel()
    faces = np.vstack([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    uv = np.column_stack([x.ravel() + 60, y.ravel() + 60]) / 120
    return Mesh(np.column_stack([x.ravel(), y.ravel(), z.ravel()]), faces, uv)


def camera_at(yaw=0.0, size=(240, 200), focal=420.0):
    c, s = np.cos(yaw), np.sin(yaw)
    T = np.eye(4)
    T[:3, :3] = np.diag([1.0, -1, -1]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    T[:3, 3] = [0, 0, 400]
    return Camera(focal, np.array([(size[0] - 1) / 2, (size[1] - 1) / 2]), size, T)


def painted(mesh, camera, paint):
    """A photo of the mesh whose linear colour is ``paint(points)``, drawn pixel by pixel."""
    from affect3d.render.raster import interpolate, rasterize, screen_points
    from affect3d.render.shading import linear_to_srgb

    raster = rasterize(screen_points(camera, mesh.vertices), mesh.faces, *camera.size)
    position = interpolate(raster, mesh.faces, mesh.vertices)
    colour = np.where(raster.covered[..., None], paint(position.astype(float)), 0.05)
    return np.rint(linear_to_srgb(colour)).astype(np.uint8)


def waves(p):
    return np.stack([0.4 + 0.2 * np.sin(p[..., 0] / 12), 0.4 + 0.2 * np.cos(p[..., 1] / 15),
                     0.3 + 0.1 * np.sin(np.abs(p[..., 0]) / 9)], -1)  # fmt: skip


def texel_positions(mesh, size):
    t = (np.arange(size) + 0.5) / size * 120 - 60
    x, y = np.meshgrid(t, -t)
    return np.stack([x, y], -1)


def test_a_planted_texture_is_found_again_where_it_is_seen():
    from affect3d.render.shading import srgb_to_linear

    mesh, camera = bump(), camera_at()
    got = unwrap_texture(painted(mesh, camera, waves), camera, mesh, 128)
    assert got.visible.mean() > 0.8 and got.texture.shape == (128, 128, 3)
    xy = texel_positions(mesh, 128)
    expected = waves(np.concatenate([xy, np.zeros((*xy.shape[:2], 1))], -1))
    error = np.abs(srgb_to_linear(got.texture) - expected)[(got.confidence > 0.5) & (np.abs(xy).max(-1) < 56)]
    assert error.mean() < 0.006 and np.percentile(error, 99) < 0.03


def test_the_unseen_side_of_the_nose_is_mirrored_in_its_own_light():
    from affect3d.render.shading import srgb_to_linear

    mesh, camera = bump(), camera_at(0.9)

    def symmetric(p):
        pattern = 0.4 + 0.2 * np.sin(np.abs(p[..., :1]) / 9) * np.cos(p[..., 1:2] / 15)
        return pattern * np.array([1, 0.9, 0.8]) * (1 + 0.004 * p[..., :1])  # brighter on one side

    photo = painted(mesh, camera, symmetric)
    alone = unwrap_texture(photo, camera, mesh, 128)
    both = unwrap_texture(photo, camera, mesh, 128, rest=mesh.vertices)
    np.testing.assert_array_equal(alone.visible, both.visible)
    mirrored = both.source == 2
    assert 300 < mirrored.sum() and (alone.source != 2).all()
    xy = texel_positions(mesh, 128)
    expected = symmetric(np.concatenate([xy, np.zeros((*xy.shape[:2], 1))], -1))
    inner = mirrored & (np.abs(xy).max(-1) < 45)
    by_mirror = np.abs(srgb_to_linear(both.texture) - expected)[inner].mean()
    made_up = np.abs(srgb_to_linear(alone.texture) - expected)[inner].mean()
    assert by_mirror < 0.75 * made_up and by_mirror < 0.05
    assert (both.confidence[mirrored] <= 0.5).all() and (both.confidence[mirrored] > 0).all()


def test_with_its_light_known_the_texture_is_albedo():
    from affect3d.geometry.triangles import vertex_normals
    from affect3d.render.raster import interpolate, rasterize, screen_points
    from affect3d.render.shading import linear_to_srgb, srgb_to_linear

    mesh, camera = bump(), camera_at()
    light = np.zeros((9, 3))
    light[0], light[1], light[3] = 0.6, 0.35, 0.3
    raster = rasterize(screen_points(camera, mesh.vertices), mesh.faces, *camera.size)
    normal = interpolate(raster, mesh.faces, vertex_normals(mesh.vertices, mesh.faces)).astype(float)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    photo = np.rint(linear_to_srgb(0.5 * harmonics(normal) @ light)).astype(np.uint8)
    flat = unwrap_texture(photo, camera, mesh, 96, lighting=light)
    lit = unwrap_texture(photo, camera, mesh, 96)
    sure = flat.confidence > 0.5

    def unevenness(found):
        linear = srgb_to_linear(found.texture)[sure]
        return linear.std() / linear.mean()

    assert unevenness(flat) < 0.03 and unevenness(lit) > 0.1


def test_what_is_not_trusted_is_not_taken():
    mesh, camera = bump(), camera_at()
    photo = painted(mesh, camera, waves)
    trust = np.ones(photo.shape[:2])
    trust[:, :120] = 0
    found = unwrap_texture(photo, camera, mesh, 64, trust=trust)
    assert not found.visible[:, :28].any() and found.visible[:, 36:].mean() > 0.7


def test_wrong_arguments_of_the_unwrapping_are_named():
    mesh, camera = bump(), camera_at()
    photo = painted(mesh, camera, waves)
    with pytest.raises(ValueError, match="image: expected"):
        unwrap_texture(photo.astype(float), camera, mesh)
    with pytest.raises(ValueError, match=r"\(240, 200\) \(width, height\), got \(239, 200\)"):
        unwrap_texture(photo[:, 1:], camera, mesh)
    with pytest.raises(ValueError, match="texture coordinates"):
        unwrap_texture(photo, camera, Mesh(mesh.vertices, mesh.faces))
    with pytest.raises(ValueError, match="rest"):
        unwrap_texture(photo, camera, mesh, rest=mesh.vertices[1:])
    with pytest.raises(ValueError, match="trust"):
        unwrap_texture(photo, camera, mesh, trust=np.ones((3, 3)))
    away = Camera(420.0, np.array([-4000.0, 0]), camera.size, camera.T_camera_world)
    with pytest.raises(ValueError, match="nothing of the mesh"):
        unwrap_texture(photo, away, mesh)


def test_a_textured_obj_names_its_picture_and_comes_back(tmp_path):
    mesh = bump()
    texture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    files = write_textured_obj(tmp_path / "head.obj", mesh, texture)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f.name for f in files)
    back = read_obj(tmp_path / "head.obj")
    np.testing.assert_array_equal(back.uv_faces, mesh.uv_faces)
    np.testing.assert_allclose(back.vertices, mesh.vertices, atol=1e-4)
    found = find_texture(tmp_path / "head.obj")
    np.testing.assert_array_equal(read_image(found).pixels, texture)
    assert "map_Kd head.png" in (tmp_path / "head.mtl").read_text()
    with pytest.raises(ValueError, match="blanks"):
        write_textured_obj(tmp_path / "my head.obj", mesh, texture)
    with pytest.raises(ValueError, match="texture coordinates"):
        write_textured_obj(tmp_path / "x.obj", Mesh(mesh.vertices, mesh.faces), texture)
    with pytest.raises(ValueError, match="texture: expected"):
        write_textured_obj(tmp_path / "x.obj", mesh, texture / 255)
