"""The compiled texture lookup against the same in torch operations, and against differences."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="differentiable rendering needs torch")

from affect3d.render import mipmap as textures
from affect3d.render.differentiable import Topology, pixel_points, rasterize, screen_derivatives
from affect3d.render.differentiable.samples import screen_derivatives_torch


def numbers(*shape, seed=0, low=0.0, high=1.0, dtype=torch.float64):
    drawn = np.random.default_rng(seed).uniform(low, high, shape)
    return torch.tensor(drawn, dtype=dtype, requires_grad=True)


def agree(compiled, plain, inputs, tolerance=1e-12):
    """Values and all gradients of two functions of the same tensors."""
    results = []
    for function in (compiled, plain):
        out = function(*inputs)
        weight = torch.rand(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype) - 0.3
        results.append([out.detach(), *torch.autograd.grad((out * weight).sum(), inputs)])
    for found, expected in zip(*results):
        assert found.dtype == expected.dtype and expected.abs().max() > 0
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize("size, levels", [((24, 16), None), ((8, 8), 2), ((5, 4), None), ((1, 6), None)])
def test_pyramids_are_those_of_torch(size, levels):
    texture = numbers(*size, 3)
    plain = textures._mipmap_torch(texture, levels)
    assert textures.mipmap(texture, levels).sizes == plain.sizes
    agree(
        lambda t: textures.mipmap(t, levels).texels, lambda t: textures._mipmap_torch(t, levels).texels, [texture]
    )


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("size", [(16, 32), (12, 20), (5, 4), (3, 1), (1, 1)])
def test_lookups_are_those_of_torch_inside_and_beyond_the_border(size, dtype, tolerance):
    texture = numbers(*size, 3, dtype=dtype)
    uv = numbers(400, 2, seed=1, low=-0.4, high=1.4, dtype=dtype)
    level = numbers(400, seed=2, low=-1.0, high=4.0, dtype=dtype)
    pyramid = textures.mipmap(texture)
    sizes = pyramid.sizes
    if size == (1, 1):  # one colour has no slopes
        assert torch.equal(textures.sample_mipmap(pyramid, uv, level), texture.reshape(1, 3).expand(400, 3))
        return
    table = pyramid.texels.detach().requires_grad_()
    inputs = [table, uv, level] if len(sizes) > 1 else [table, uv]

    def by(function):
        return lambda t, p, q=None: function(textures.Mipmap(t, sizes), p, q)

    agree(by(textures.sample_mipmap), by(textures._sample_torch), inputs, tolerance)
    agree(by(textures.sample_mipmap), by(textures._sample_torch), [table, uv], tolerance)


def test_whole_levels_and_points_on_texel_centres_read_the_texels():
    texture = numbers(8, 8, 2).detach()
    pyramid = textures.mipmap(texture)
    start = 0
    for k, (height, width) in enumerate(pyramid.sizes):
        y, x = np.mgrid[:height, :width]
        uv = torch.tensor(np.column_stack([(x.ravel() + 0.5) / width, 1 - (y.ravel() + 0.5) / height]))
        found = textures.sample_mipmap(pyramid, uv, torch.full((len(uv),), float(k), dtype=torch.float64))
        torch.testing.assert_close(found, pyramid.texels[start : start + len(uv)], rtol=0, atol=1e-14)
        start += len(uv)


def test_footprints_are_those_of_torch():
    corners, slopes = numbers(300, 3, 2), numbers(300, 3, 2, seed=1, low=-0.3, high=0.3)
    agree(
        lambda c, s: textures.footprint_level(c, s, (40, 64)), lambda c, s: textures._level_torch(c, s, (40, 64)),
        [corners, slopes],
    )  # fmt: skip
    small = slopes.detach() * 1e-3
    assert (textures.footprint_level(corners, small, (40, 64)) == 0).all()


def scene():
    rng = np.random.default_rng(3)
    vertices = torch.tensor(np.concatenate([rng.uniform(-20, 20, (2, 30, 2)), rng.uniform(-15, 15, (2, 30, 1))], 2))
    faces = np.array([rng.choice(30, 3, replace=False) for _ in range(12)])
    camera = [torch.tensor(np.asarray(a)) for a in (90.0, [40.0, 30.0], np.diag([1.0, -1, -1]), [0.0, 0, 60])]
    return pixel_points(vertices, *camera).requires_grad_(), Topology.of(faces, 30)


def test_screen_derivatives_are_those_of_torch_with_all_gradients():
    points, topology = scene()
    samples = rasterize(points.detach(), topology, 80, 60).samples
    assert len(samples.face) > 500 and len(samples.face.unique()) > 5
    weights, depth = samples.weights.clone().requires_grad_(), samples.depth.clone().requires_grad_()

    def by(function):
        def slopes(p, w, z):
            moved = type(samples)(samples.face, w, z, samples.place, samples.starts, samples.shape)
            return function(p, topology.faces, moved)

        return slopes

    agree(by(screen_derivatives), by(screen_derivatives_torch), [points, weights, depth], 1e-9)


def test_lookups_and_their_gradients_have_the_same_bits_on_any_number_of_threads():
    texture, uv = numbers(32, 32, 3, dtype=torch.float32), numbers(70_000, 2, seed=1, dtype=torch.float32)
    level = numbers(70_000, seed=2, high=3.0, dtype=torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            out = textures.sample_mipmap(textures.mipmap(texture), uv, level)
            results.append([out.detach(), *torch.autograd.grad((out**2).sum(), [texture, uv, level])])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_coordinates_that_are_no_numbers_are_named():
    pyramid = textures.mipmap(torch.ones(4, 4, 1))
    uv, level = torch.ones(3, 2), torch.ones(3)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="uv: expected finite"):
            textures.sample_mipmap(pyramid, uv * bad, level)
        with pytest.raises(ValueError, match="level: expected finite"):
            textures.sample_mipmap(pyramid, uv, level * bad)
    with pytest.raises(ValueError, match=r"level: expected shape \(3,\), got \(2,\)"):
        textures.sample_mipmap(pyramid, uv, level[:2])
    with pytest.raises(ValueError, match=r"uv: expected shape \(S, 2\)"):
        textures.sample_mipmap(pyramid, uv[0], level)
    assert textures.sample_mipmap(pyramid, uv[:0], level[:0]).shape == (0, 1)
