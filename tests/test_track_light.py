"""The light of a frame, and the head drawn over it, on heads drawn under a known light."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from affect3d.camera import Camera
from affect3d.fitting.frame_light import frame_lighting
from affect3d.geometry.rotation import rotation_exp
from affect3d.geometry.triangles import vertex_normals
from affect3d.render.raster import interpolate, rasterize, screen_points
from affect3d.render.shading import harmonics, linear_to_srgb
from affect3d.synthesis.overlay import draw_overlay, overlay_frames

_spec = importlib.util.spec_from_file_location("small_head", Path(__file__).with_name("small_head.py"))
_head = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_head)
MODEL = _head.small_head()
LIGHT = np.array([[0.35, 0.3, 0.25], [0.1, 0.05, 0.02], [-0.08, -0.07, -0.05], [-0.12, -0.1, -0.1], *np.zeros((5, 3))])


def view(yaw=0.2, shift=(0, 0, 600)):
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation_exp([0, yaw, 0]) @ np.diag([1.0, -1, -1]), shift
    return Camera(400.0, np.array([159.5, 119.5]), (320, 240), T)


def drawn(camera):
    raster = rasterize(screen_points(camera, MODEL.mean), MODEL.faces, *camera.size)
    normals = interpolate(raster, MODEL.faces, vertex_normals(MODEL.mean, MODEL.faces) @ camera.rotation.T)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    light = harmonics(normals.reshape(-1, 3).astype(float)) @ LIGHT
    picture = np.where(raster.covered[..., None], light.reshape(240, 320, 3), 0)
    return np.rint(linear_to_srgb(np.clip(picture, 0, 1))).astype(np.uint8), raster.covered


@pytest.mark.parametrize("yaw", [-0.3, 0.0, 0.3])
def test_a_known_light_is_found_however_the_head_turns(yaw):
    camera = view(yaw)
    picture, _ = drawn(camera)
    found = frame_lighting(picture, MODEL, MODEL.mean, camera)
    normals = vertex_normals(MODEL.mean, MODEL.faces) @ camera.rotation.T
    front = harmonics(normals[-normals[:, 2] > 0.4])
    assert np.abs(front @ (found - LIGHT)).max() < 0.03


def test_an_occluder_has_little_say():
    camera = view(0.0)
    picture, _ = drawn(camera)
    clean = frame_lighting(picture, MODEL, MODEL.mean, camera)
    picture[140:165, 150:175] = 255
    normals = vertex_normals(MODEL.mean, MODEL.faces) @ camera.rotation.T
    front = harmonics(normals[-normals[:, 2] > 0.4])
    assert np.abs(front @ (frame_lighting(picture, MODEL, MODEL.mean, camera) - clean)).mean() < 0.02


def test_a_face_outside_the_picture_gives_zeros_and_no_nan():
    away = view(0.0, (5000, 0, 600))
    np.testing.assert_array_equal(
        frame_lighting(np.zeros((240, 320, 3), np.uint8), MODEL, MODEL.mean, away), np.zeros((9, 3))
    )
    with pytest.raises(ValueError, match="camera"):
        frame_lighting(np.zeros((10, 10, 3), np.uint8), MODEL, MODEL.mean, away)


def test_the_overlay_changes_the_face_and_nothing_else():
    camera = view()
    picture, covered = drawn(camera)
    over = draw_overlay(picture, MODEL, MODEL.mean, camera)
    assert np.array_equal(over[~covered], picture[~covered])
    assert (over[covered] != picture[covered]).any(1).mean() > 0.9
    assert np.array_equal(draw_overlay(picture, MODEL, MODEL.mean, camera, 0.0), picture)
    with pytest.raises(ValueError, match="strength"):
        draw_overlay(picture, MODEL, MODEL.mean, camera, 2.0)
    with pytest.raises(ValueError, match="camera"):
        draw_overlay(picture[:100], MODEL, MODEL.mean, camera)


def test_frames_without_the_face_stay_bare():
    class Two:
        found = np.array([True, False])

        def __len__(self):
            return 2

        def camera(self, k):
            return view()

        def vertices(self, model, k):
            return model.mean

    picture, _ = drawn(view())
    first, second = overlay_frames([picture, picture], Two(), MODEL)
    assert not np.array_equal(first, picture) and np.array_equal(second, picture)
