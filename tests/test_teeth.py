"""Teeth by construction."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from affect3d.model.teeth import dentition


@pytest.mark.parametrize("jaw", ["upper", "lower"])
def test_teeth_are_mirror_symmetric_and_face_outwards(jaw):
    made = dentition(jaw)
    mirrored = made.vertices * [-1, 1, 1]
    assert cKDTree(made.vertices).query(mirrored)[0].max() < 1e-4
    corners = made.vertices[made.faces[~made.gums]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    front = (np.abs(normals[:, 1]) < 0.5) & (np.abs(corners[..., 0]).max(1) < 4) & (corners[..., 2].min(1) > -1.2)
    assert front.sum() > 20 and (normals[front, 2] > 0).all()


def test_width_scales_the_arch_and_the_edge_is_the_origin():
    small, large = dentition("upper", 48.0), dentition("upper", 60.0)
    np.testing.assert_allclose(large.vertices, small.vertices * 60 / 48)
    front = np.abs(small.vertices[:, 0]) < 3
    assert abs(small.vertices[front, 1].min()) < 0.6 and abs(small.vertices[front, 2].max()) < 1.0


def test_upper_teeth_hang_and_lower_teeth_stand():
    assert dentition("upper").vertices[:, 1].min() > -1.5
    assert dentition("lower").vertices[:, 1].max() < 1.5


def test_unknown_jaw_and_width_are_named():
    with pytest.raises(ValueError, match="jaw"):
        dentition("left")
    with pytest.raises(ValueError, match="width"):
        dentition("upper", 5)
