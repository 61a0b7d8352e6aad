"""What is written is read back by a few lines of our own, and by trimesh where it is installed."""

import numpy as np
import pytest

from affect3d.io.obj import write_obj
from affect3d.mesh import Mesh


def patch(uv=False, colours=False):
    """A grid whose texture coordinates are split along a seam, so that uv_faces differ from faces."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:4, :5]
    vertices = np.column_stack([x.ravel() * 10.0, y.ravel() * 10.0, rng.normal(size=20)])
    a = (y[:3, :4] * 5 + x[:3, :4]).ravel()
    faces = np.concatenate([np.column_stack([a, a + 1, a + 6]), np.column_stack([a, a + 6, a + 5])])
    extra = {}
    if uv:
        extra = {"uv": rng.random((len(faces) * 3, 2)), "uv_faces": np.arange(len(faces) * 3).reshape(-1, 3)}
    if colours:
        extra["colours"] = rng.integers(0, 256, (20, 3), dtype=np.uint8)
    return Mesh(vertices, faces, **extra)


def read_back(path):
    rows = {"v": [], "vt": [], "f": []}
    for line in path.read_text().splitlines():
        key, *words = line.split()
        if key in rows:
            rows[key].append(words)
    corners = np.array([[[int(n) for n in corner.split("/")] for corner in row] for row in rows["f"]]) - 1
    return np.array(rows["v"], float), np.array(rows["vt"], float), corners


@pytest.mark.parametrize("uv", [False, True])
@pytest.mark.parametrize("colours", [False, True])
def test_order_positions_seams_and_colours_survive(tmp_path, uv, colours):
    mesh = patch(uv, colours)
    write_obj(tmp_path / "patch.obj", mesh)
    v, vt, corners = read_back(tmp_path / "patch.obj")
    np.testing.assert_allclose(v[:, :3], mesh.vertices, atol=5.1e-5)
    np.testing.assert_array_equal(corners[..., 0], mesh.faces)
    assert v.shape[1] == (6 if colours else 3)
    if colours:
        np.testing.assert_array_equal(np.rint(v[:, 3:] * 255), mesh.colours)
    if uv:
        np.testing.assert_allclose(vt, mesh.uv, atol=5.1e-7)
        np.testing.assert_array_equal(corners[..., 1], mesh.uv_faces)


def test_trimesh_reads_the_same_triangles(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    mesh = patch()
    write_obj(tmp_path / "patch.obj", mesh)
    peer = trimesh.load(tmp_path / "patch.obj", process=False, maintain_order=True)
    np.testing.assert_allclose(peer.triangles, mesh.vertices[mesh.faces], atol=1e-4)


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match="ending in .obj, got '.ply'"):
        write_obj(tmp_path / "patch.ply", patch())
