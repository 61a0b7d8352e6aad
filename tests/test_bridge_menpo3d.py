"""menpo3d works on what the menpo bridge gives it, and gives back what the bridge takes.

It is installed apart (docs/formats.md), so this is skipped where it is missing.
"""

import numpy as np
import pytest

from affect3d.bridges.menpo import from_menpo, image_from_menpo, to_menpo
from affect3d.mesh import Mesh


@pytest.fixture(scope="module")
def menpo3d():
    # three names that numpy 2 no longer has and menpo3d 0.8 asks for when it is imported
    for name, now in (("in1d", np.isin), ("product", np.prod), ("issubclass_", issubclass)):
        if not hasattr(np, name):
            setattr(np, name, now)
    found = pytest.importorskip("menpo3d", reason="menpo3d is not installed (docs/formats.md says how)")
    pytest.importorskip("menpo3d.io")
    return found


def bumpy(height: float) -> Mesh:
    """A square of 11 x 11 vertices, 100 mm wide, with a bump."""
    x, y = np.meshgrid(np.linspace(-50, 50, 11), np.linspace(-50, 50, 11))
    corner = np.add.outer(np.arange(10) * 11, np.arange(10)).ravel()
    faces = np.vstack([np.column_stack([corner, corner + 1, corner + 11]),
                       np.column_stack([corner + 1, corner + 12, corner + 11])])  # fmt: skip
    z = height * np.exp(-(x**2 + y**2) / 800)
    uv = np.column_stack([x.ravel(), y.ravel()]) / 100 + 0.5
    points = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
    return Mesh(points, faces, uv, faces)


def test_a_mesh_goes_through_a_file_of_menpo3d_in_vertex_order(menpo3d, tmp_path):
    import menpo3d.io as mio

    mesh = bumpy(20)
    mio.export_mesh(to_menpo(mesh, "cm"), tmp_path / "a.obj")
    back = from_menpo(mio.import_mesh(tmp_path / "a.obj"), "cm")
    np.testing.assert_allclose(back.vertices, mesh.vertices, atol=1e-4)
    np.testing.assert_array_equal(back.faces, mesh.faces)


def test_a_texture_is_where_menpo3d_looks_for_it(menpo3d):
    texture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    theirs = to_menpo(bumpy(20), texture=texture)
    np.testing.assert_array_equal(image_from_menpo(theirs.texture), texture)
    # rows from the top and columns, as it draws them
    places = theirs.tcoords_pixel_scaled().points
    np.testing.assert_allclose(places[:, 1], bumpy(20).uv[:, 0] * 7, atol=1e-9)
    np.testing.assert_allclose(places[:, 0], (1 - bumpy(20).uv[:, 1]) * 7, atol=1e-9)


def test_its_registration_runs_on_our_meshes(menpo3d):
    from menpo3d.correspond import non_rigid_icp

    flat, bump = bumpy(2), bumpy(20)
    result = non_rigid_icp(to_menpo(flat), to_menpo(bump), eps=1e-2, stiffness_weights=[50, 5, 1])
    back = from_menpo(result, "mm")
    np.testing.assert_array_equal(back.faces, flat.faces)
    before, after = (np.abs(m.vertices[:, 2] - bump.vertices[:, 2]).mean() for m in (flat, back))
    assert after < 0.2 * before
