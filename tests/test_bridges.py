"""Meshes, landmarks and pictures go to other packages and come back; a missing package is one sentence.

trimesh and open3d are used where they are installed.  menpo and PyTorch3D, which are hard to install, are stood in for
by a few lines with their names, arguments and attributes where they are missing; with them the same tests use them.
"""

import importlib
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from affect3d.bridges import common, menpo, open3d, pytorch3d, trimesh
from affect3d.landmarks import Landmarks
from affect3d.mesh import Mesh

UNITS = {"mm": 1.0, "cm": 10.0, "m": 1000.0}


def head(uv=None, colours=False, seed=0):
    """Random triangles with a vertex in none, a degenerate and a duplicate one; `uv` as None, "vertex" or "seams"."""
    rng = np.random.default_rng(seed)
    faces = np.vstack([rng.integers(0, 19, (30, 3)), [[3, 3, 4]], [[0, 1, 2], [0, 1, 2]]])
    extra = {}
    if uv == "vertex":
        extra["uv"] = rng.random((20, 2))
    if uv == "seams":
        extra |= {"uv": rng.random((50, 2)), "uv_faces": rng.integers(0, 50, faces.shape)}
    if colours:
        extra["colours"] = rng.integers(0, 256, (20, 3), dtype=np.uint8)
    return Mesh(100 * rng.normal(size=(20, 3)), faces, **extra)


def photo():
    return np.random.default_rng(4).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def assert_same(back, mesh, rtol=1e-12):
    np.testing.assert_allclose(back.vertices, mesh.vertices, rtol=rtol)
    np.testing.assert_array_equal(back.faces, mesh.faces)


# --- trimesh


@pytest.fixture
def peer_trimesh():
    return pytest.importorskip("trimesh")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("colours", [False, True])
def test_trimesh_keeps_vertices_triangles_colours_and_states_the_unit(peer_trimesh, unit, colours):
    mesh = head(colours=colours)
    theirs = trimesh.to_trimesh(mesh, unit)
    np.testing.assert_allclose(theirs.vertices * UNITS[unit], mesh.vertices)
    np.testing.assert_array_equal(theirs.faces, mesh.faces)
    back = trimesh.from_trimesh(theirs)
    assert_same(back, mesh)
    assert (back.colours is None) == (not colours)
    if colours:
        np.testing.assert_array_equal(back.colours, mesh.colours)
    # the caller's word outranks what the mesh states
    np.testing.assert_allclose(trimesh.from_trimesh(theirs, "mm").vertices * UNITS[unit], mesh.vertices)


def test_trimesh_gets_texture_coordinates_where_a_vertex_has_one(peer_trimesh):
    mesh = head(uv="vertex")
    back = trimesh.from_trimesh(trimesh.to_trimesh(mesh))
    assert_same(back, mesh)
    used = np.unique(mesh.faces)  # of a vertex in no triangle nobody sees it
    np.testing.assert_allclose(back.uv[used], mesh.uv[used])


def test_seams_are_dropped_or_split_for_trimesh_as_asked(peer_trimesh):
    mesh = head(uv="seams")
    dropped = trimesh.from_trimesh(trimesh.to_trimesh(mesh))
    assert_same(dropped, mesh)
    assert dropped.uv is None
    split = trimesh.from_trimesh(trimesh.to_trimesh(mesh, seams="split"))
    np.testing.assert_allclose(split.vertices[:20], mesh.vertices)  # copies come after them
    np.testing.assert_allclose(split.vertices[split.faces], mesh.vertices[mesh.faces])
    np.testing.assert_allclose(split.uv[split.faces], mesh.uv[mesh.uv_faces])


def test_what_the_caller_holds_is_not_changed_through_trimesh(peer_trimesh):
    mesh = head(colours=True)
    before = mesh.vertices.copy(), mesh.faces.copy()
    theirs = trimesh.to_trimesh(mesh)
    theirs.vertices += 1.0
    theirs.faces[:] = 0
    np.testing.assert_array_equal(mesh.vertices, before[0])
    np.testing.assert_array_equal(mesh.faces, before[1])
    theirs.vertices[:] = 5.0
    kept = trimesh.from_trimesh(theirs)
    theirs.vertices[:] = 6.0
    assert (kept.vertices == 5.0).all()


def test_a_trimesh_without_a_unit_is_asked_for_one(peer_trimesh):
    theirs = peer_trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], process=False)
    with pytest.raises(ValueError, match="the mesh states None, expected one of 'mm', 'cm', 'm'"):
        trimesh.from_trimesh(theirs)
    theirs.units = "inches"
    with pytest.raises(ValueError, match="the mesh states 'inches'"):
        trimesh.from_trimesh(theirs)
    theirs.units = "millimeters"
    assert trimesh.from_trimesh(theirs).vertices.max() == 1
    with pytest.raises(ValueError, match="expected a trimesh.Trimesh, got Mesh"):
        trimesh.from_trimesh(head(), "mm")
    theirs.vertices = [[0, 0, 0], [1, 0, np.nan], [0, 1, 0]]
    with pytest.raises(ValueError, match="vertices: expected finite numbers"):
        trimesh.from_trimesh(theirs)


# --- open3d


@pytest.fixture
def peer_open3d():
    return pytest.importorskip("open3d", exc_type=ImportError, reason="needs open3d and libusb-1.0-0")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("uv", [None, "vertex", "seams"])
def test_open3d_keeps_vertices_triangles_colours_and_corners(peer_open3d, unit, uv):
    mesh = head(uv=uv, colours=True)
    theirs = open3d.to_open3d(mesh, unit)
    np.testing.assert_allclose(np.asarray(theirs.vertices) * UNITS[unit], mesh.vertices)
    back = open3d.from_open3d(theirs, unit)
    assert_same(back, mesh)
    np.testing.assert_array_equal(back.colours, mesh.colours)
    assert (back.uv is None) == (uv is None)
    if uv:
        np.testing.assert_array_equal(back.uv[back.uv_faces], mesh.uv[mesh.uv_faces])
    plain = open3d.from_open3d(open3d.to_open3d(head()), "mm")
    assert plain.uv is None and plain.colours is None


def test_open3d_reads_the_same_mesh_from_our_file(peer_open3d, tmp_path):
    from affect3d.io.mesh_file import write_mesh

    mesh = head(uv="seams")
    write_mesh(tmp_path / "a.ply", head())
    assert_same(open3d.from_open3d(peer_open3d.io.read_triangle_mesh(str(tmp_path / "a.ply")), "mm"), head())
    # texture coordinates count from the same corner as in an OBJ file that open3d reads itself
    write_mesh(tmp_path / "a.obj", mesh)
    theirs = peer_open3d.io.read_triangle_mesh(str(tmp_path / "a.obj"))
    ours = open3d.to_open3d(mesh)
    np.testing.assert_allclose(np.asarray(theirs.triangle_uvs), np.asarray(ours.triangle_uvs), atol=1e-5)


def test_points_and_pictures_go_through_open3d(peer_open3d):
    points = np.random.default_rng(1).normal(size=(68, 3))
    points[5] = np.nan
    np.testing.assert_allclose(open3d.points_from_open3d(open3d.points_to_open3d(points, "m"), "m"), points)
    np.testing.assert_allclose(np.asarray(open3d.points_to_open3d(points, "cm").points), points / 10)
    np.testing.assert_array_equal(open3d.image_from_open3d(open3d.image_to_open3d(photo())), photo())


def test_open3d_refuses_what_is_something_else(peer_open3d):
    with pytest.raises(ValueError, match="got Mesh"):
        open3d.from_open3d(head(), "mm")
    with pytest.raises(ValueError, match="got TriangleMesh"):
        open3d.points_from_open3d(open3d.to_open3d(head()), "mm")
    with pytest.raises(ValueError, match=r"got \(5, 7\) of uint8"):
        open3d.image_from_open3d(peer_open3d.geometry.Image(photo()[..., 0].copy()))
    with pytest.raises(ValueError, match="expected an open3d.geometry.Image"):
        open3d.image_from_open3d(photo())
    with pytest.raises(ValueError, match="expected one of 'mm', 'cm', 'm'"):
        open3d.from_open3d(open3d.to_open3d(head()), None)


# --- menpo


def fake_menpo():
    """What the bridge uses of menpo 0.11: constructors, attributes and who inherits from whom."""

    class PointCloud:
        def __init__(self, points, copy=True):
            self.points = np.array(points)

    class TriMesh(PointCloud):
        def __init__(self, points, trilist=None, copy=True):
            super().__init__(points)
            self.trilist = np.array(trilist)

    class ColouredTriMesh(TriMesh):
        def __init__(self, points, trilist=None, colours=None, copy=True):
            super().__init__(points, trilist)
            self.colours = np.array(colours)

    class TexturedTriMesh(TriMesh):
        def __init__(self, points, tcoords, texture, trilist=None, copy=True):
            super().__init__(points, trilist)
            self.tcoords, self.texture = PointCloud(tcoords), texture

    class Image:
        def __init__(self, image_data, copy=True):
            self.pixels = np.array(image_data)

    shape = SimpleNamespace(
        PointCloud=PointCloud, TriMesh=TriMesh, ColouredTriMesh=ColouredTriMesh, TexturedTriMesh=TexturedTriMesh
    )
    return {"menpo.shape": shape, "menpo.image": SimpleNamespace(Image=Image)}


def stand_in(monkeypatch, package, modules):
    """The real package where it is installed, else `modules` under its name."""
    try:
        return importlib.import_module(package)
    except ImportError:
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
        for name, members in modules.items():
            module = ModuleType(name)
            module.__dict__.update(vars(members))
            monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def peer_menpo(monkeypatch):
    stand_in(monkeypatch, "menpo", fake_menpo())
    return SimpleNamespace(
        shape=importlib.import_module("menpo.shape"), image=importlib.import_module("menpo.image")
    )


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("colours", [False, True])
def test_menpo_keeps_vertices_triangles_and_colours(peer_menpo, unit, colours):
    mesh = head(colours=colours)
    theirs = menpo.to_menpo(mesh, unit)
    assert type(theirs) is (peer_menpo.shape.ColouredTriMesh if colours else peer_menpo.shape.TriMesh)
    np.testing.assert_allclose(theirs.points * UNITS[unit], mesh.vertices)
    back = menpo.from_menpo(theirs, unit)
    assert_same(back, mesh)
    if colours:
        np.testing.assert_array_equal(back.colours, mesh.colours)


def test_menpo_gets_a_texture_with_one_coordinate_a_vertex(peer_menpo):
    mesh, texture = head(uv="vertex"), photo()
    theirs = menpo.to_menpo(mesh, texture=texture)
    back = menpo.from_menpo(theirs, "mm")
    assert_same(back, mesh)
    np.testing.assert_allclose(back.uv[back.uv_faces], mesh.uv[mesh.uv_faces])
    np.testing.assert_array_equal(menpo.image_from_menpo(theirs.texture), texture)
    seams = head(uv="seams")
    with pytest.raises(ValueError, match="expected 'split' with a texture"):
        menpo.to_menpo(seams, texture=texture)
    split = menpo.from_menpo(menpo.to_menpo(seams, texture=texture, seams="split"), "mm")
    np.testing.assert_allclose(split.vertices[split.faces], seams.vertices[seams.faces])
    np.testing.assert_allclose(split.uv[split.faces], seams.uv[seams.uv_faces])
    with pytest.raises(ValueError, match="without texture coordinates"):
        menpo.to_menpo(head(), texture=texture)


def test_menpo_counts_the_axes_of_a_picture_the_other_way_round(peer_menpo):
    rng = np.random.default_rng(6)
    flat = Landmarks("ibug68", rng.random((68, 2)) * 100)
    theirs = menpo.landmarks_to_menpo(flat)
    np.testing.assert_array_equal(theirs.points, flat.points[:, ::-1])
    back = menpo.landmarks_from_menpo(theirs, "ibug68", "px")
    np.testing.assert_array_equal(back.points, flat.points)
    assert back.unit == "px"
    points = rng.normal(size=(68, 3))
    points[7] = np.nan
    deep = Landmarks("ibug68", points, "mm")
    theirs = menpo.landmarks_to_menpo(deep, "cm")
    np.testing.assert_allclose(theirs.points, points / 10)
    np.testing.assert_allclose(menpo.landmarks_from_menpo(theirs, "ibug68", "cm").points, points)


def test_pictures_go_through_menpo(peer_menpo):
    theirs = menpo.image_to_menpo(photo())
    assert theirs.pixels.shape == (3, 5, 7) and theirs.pixels.max() <= 1
    np.testing.assert_array_equal(menpo.image_from_menpo(theirs), photo())
    grey = menpo.image_from_menpo(peer_menpo.image.Image(np.full((1, 4, 2), 0.5)))
    np.testing.assert_array_equal(grey, np.full((4, 2, 3), 128))


def test_menpo_refuses_what_is_something_else(peer_menpo):
    cloud = peer_menpo.shape.PointCloud(np.zeros((5, 2)))
    for call, message in [
        (lambda: menpo.from_menpo(cloud, "mm"), "expected a menpo.shape.TriMesh, got PointCloud"),
        (lambda: menpo.from_menpo(menpo.to_menpo(head()), "inch"), "expected one of 'mm', 'cm', 'm'"),
        (lambda: menpo.to_menpo(head(), seams="weld"), "seams: expected 'drop' or 'split', got 'weld'"),
        (lambda: menpo.landmarks_from_menpo(cloud, "ibug68", "px"), r"expected shape \(68, 2\)"),
        (lambda: menpo.landmarks_from_menpo(cloud, "ibug68", "mm"), "expected 'px'"),
        (lambda: menpo.landmarks_from_menpo(head(), "ibug68", "mm"), "got Mesh"),
        (lambda: menpo.landmarks_to_menpo(Landmarks("ibug68", np.zeros((68, 2))), "mm"), "expected none"),
        (lambda: menpo.image_from_menpo(photo()), "got ndarray"),
        (lambda: menpo.image_from_menpo(peer_menpo.image.Image(np.full((3, 2, 2), np.nan))), "finite"),
        (lambda: menpo.image_from_menpo(peer_menpo.image.Image(np.zeros((2, 2, 2)))), "1 or 3"),
        (lambda: menpo.image_to_menpo(photo() / 255), r"expected a picture \(H, W, 3\) of uint8"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


# --- PyTorch3D


def fake_pytorch3d():
    """What the bridge uses of PyTorch3D 0.7."""

    class Meshes:
        def __init__(self, verts, faces, textures=None):
            self.verts, self.faces, self.textures = verts, faces, textures

        def verts_list(self):
            return self.verts

        def faces_list(self):
            return self.faces

    class TexturesVertex:
        def __init__(self, verts_features):
            self.features = verts_features

        def verts_features_list(self):
            return self.features

    class TexturesUV:
        def __init__(self, maps, faces_uvs, verts_uvs):
            self.maps, self.faces, self.verts = maps, faces_uvs, verts_uvs

        def faces_uvs_list(self):
            return self.faces

        def verts_uvs_list(self):
            return self.verts

    return {
        "pytorch3d.structures": SimpleNamespace(Meshes=Meshes),
        "pytorch3d.renderer": SimpleNamespace(TexturesVertex=TexturesVertex, TexturesUV=TexturesUV),
    }


class FakeTensor:
    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    cpu = detach

    def numpy(self):
        return self.array


@pytest.fixture
def peer_pytorch3d(monkeypatch):
    stand_in(monkeypatch, "torch", {})
    if not hasattr(sys.modules["torch"], "tensor"):
        sys.modules["torch"].tensor = lambda array, device: FakeTensor(np.array(array))
    stand_in(monkeypatch, "pytorch3d", fake_pytorch3d())


@pytest.mark.parametrize("unit", UNITS)
def test_a_batch_goes_through_pytorch3d(peer_pytorch3d, unit):
    meshes = [head(uv="seams", colours=True, seed=1), head(uv="seams", colours=True, seed=2)]
    theirs = pytorch3d.to_pytorch3d(meshes, unit)
    verts, faces = theirs.verts_list()[1].numpy(), theirs.faces_list()[1].numpy()
    assert verts.dtype == np.float32 and faces.dtype == np.int64
    np.testing.assert_allclose(verts * UNITS[unit], meshes[1].vertices, rtol=1e-6)
    for back, mesh in zip(pytorch3d.from_pytorch3d(theirs, unit), meshes, strict=True):
        assert_same(back, mesh, rtol=1e-6)
        np.testing.assert_array_equal(back.colours, mesh.colours)
    for back, mesh in zip(pytorch3d.from_pytorch3d(pytorch3d.to_pytorch3d(meshes, texture=photo()), "m"), meshes):
        np.testing.assert_allclose(back.uv, mesh.uv, rtol=1e-6)
        np.testing.assert_array_equal(back.uv_faces, mesh.uv_faces)
        assert back.colours is None
    alone = pytorch3d.from_pytorch3d(pytorch3d.to_pytorch3d(head()), "m")
    assert len(alone) == 1 and alone[0].colours is None and alone[0].uv is None


def test_pytorch3d_refuses_what_is_something_else(peer_pytorch3d):
    for call, message in [
        (lambda: pytorch3d.to_pytorch3d([]), "expected a Mesh or a sequence"),
        (lambda: pytorch3d.to_pytorch3d([3]), "expected a Mesh or a sequence"),
        (lambda: pytorch3d.to_pytorch3d(head(), "inch"), "expected one of 'mm', 'cm', 'm'"),
        (lambda: pytorch3d.to_pytorch3d(head(), texture=photo()), "without texture coordinates"),
        (lambda: pytorch3d.from_pytorch3d(head(), "mm"), "expected a pytorch3d.structures.Meshes, got Mesh"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


# --- missing packages

CALLS = {
    "trimesh": [lambda: trimesh.to_trimesh(head()), lambda: trimesh.from_trimesh(None)],
    "open3d": [
        lambda: open3d.to_open3d(head()),
        lambda: open3d.from_open3d(None, "mm"),
        lambda: open3d.points_to_open3d(np.zeros((1, 3))),
        lambda: open3d.points_from_open3d(None, "mm"),
        lambda: open3d.image_to_open3d(photo()),
        lambda: open3d.image_from_open3d(None),
    ],
    "menpo": [
        lambda: menpo.to_menpo(head(colours=True)),
        lambda: menpo.to_menpo(head(uv="vertex"), texture=photo()),
        lambda: menpo.from_menpo(None, "mm"),
        lambda: menpo.landmarks_to_menpo(Landmarks("ibug68", np.zeros((68, 2)))),
        lambda: menpo.landmarks_from_menpo(None, "ibug68", "px"),
        lambda: menpo.image_to_menpo(photo()),
        lambda: menpo.image_from_menpo(None),
    ],
    "pytorch3d": [lambda: pytorch3d.to_pytorch3d(head()), lambda: pytorch3d.from_pytorch3d(None, "mm")],
}


@pytest.mark.parametrize("package", CALLS)
def test_a_missing_package_is_one_sentence_that_says_how_to_get_it(monkeypatch, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # import finds nothing
    for call in CALLS[package]:
        with pytest.raises(ImportError) as caught:
            call()
        message = str(caught.value)
        assert message.startswith(f"the bridge to {package} needs the package {package}: ") and "\n" not in message
        assert common._INSTALL[package] in message


def test_a_package_that_is_there_but_broken_says_why(monkeypatch):
    def broken(name):
        raise ImportError("libusb-1.0.so.0: cannot open shared object file")

    monkeypatch.setattr(common.importlib, "import_module", broken)
    with pytest.raises(ImportError, match=r"needs the package open3d \(libusb-1.0.so.0: cannot open"):
        open3d.to_open3d(head())
