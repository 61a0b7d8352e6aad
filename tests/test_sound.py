"""The sound of a film goes along with its pictures."""

from fractions import Fraction

import numpy as np
import pytest

from affect3d.io.video import write_video
from affect3d.io.video_read import read_frames

av = pytest.importorskip("av")
RATE, HERTZ = 15, 48000


def film_with_sound(path, codec="aac", seconds=3.0, late=0.0, form=None, rate=HERTZ, pictures=True, layout="mono"):
    """Grey frames and a beep of a tenth of a second at 1 s and at 2 s; the sound begins `late` seconds in."""
    with av.open(str(path), "w", format=form) as container:
        video = container.add_stream("libx264", rate=RATE) if pictures else None
        if video is not None:
            video.width = video.height = 64
            video.pix_fmt = "yuv420p"
        audio = container.add_stream(codec, rate=rate, layout=layout)
        t = late + np.arange(int((seconds - late) * rate)) / rate
        loud = ((t >= 1) & (t < 1.1)) | ((t >= 2) & (t < 2.1))
        wave = (0.8 * loud * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)
        wave = np.tile(wave, (2 if layout == "stereo" else 1, 1))
        for k in range(int(seconds * RATE) if pictures else 0):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 40 + k, np.uint8), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, RATE)
            container.mux(video.encode(frame))
        for first in range(0, wave.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(wave[:, first : first + 1024].copy(), format="fltp", layout=layout)
            frame.rate, frame.pts, frame.time_base = rate, first + round(late * rate), Fraction(1, rate)
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
        if video is not None:
            container.mux(video.encode())
    return path


def beeps(path):
    """Times (s, from the first frame on) at which the sound begins to be loud, the sound's end, and its codec."""
    with av.open(str(path)) as container:
        pictures = container.streams.video[0]
        origin = float((pictures.start_time or 0) * pictures.time_base)
        sound = container.streams.audio[0]
        times, levels = [], []
        for frame in container.decode(sound):
            data = np.abs(frame.to_ndarray().astype(float)).reshape(-1)
            data = data if frame.format.is_planar else data
            begin = float(frame.pts * frame.time_base) - origin
            step = frame.samples / frame.sample_rate / 8
            for k, part in enumerate(np.array_split(data[: frame.samples], 8)):
                times.append(begin + k * step)
                levels.append(part.max())
        levels = np.array(levels) / max(np.max(levels), 1e-9)
        begins = [t for t, a, b in zip(times[1:], levels, levels[1:]) if b > 0.4 and a < 0.2]
        return begins, times[-1], sound.codec_context.name


def frames(count):
    return (np.full((64, 64, 3), 200 - k, np.uint8) for k in range(count))


@pytest.mark.parametrize(
    "name, codec, comes, layout",
    [("a.mp4", "aac", "aac", "mono"), ("a.mov", "pcm_s16le", "aac", "stereo"), ("a.mkv", "libopus", "aac", "mono"),
     ("a.mkv", "libmp3lame", "aac", "stereo"), ("a.mkv", "flac", "aac", "mono")],
)  # fmt: skip
def test_beeps_sound_when_they_did(tmp_path, name, codec, comes, layout):
    source = film_with_sound(tmp_path / name, codec, layout=layout)
    told = []
    count = write_video(tmp_path / "out.mp4", frames(45), RATE, sound=source, told=told.append)
    begins, end, found = beeps(tmp_path / "out.mp4")
    assert count == 45 and told == [] and found == comes
    np.testing.assert_allclose(begins, [1, 2], atol=0.03)
    assert 2.8 < end < 3.1
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 45


def test_sound_that_begins_late_stays_late(tmp_path):
    for codec, name in (("aac", "l.mp4"), ("flac", "l.mkv")):
        source = film_with_sound(tmp_path / name, codec, late=0.7)
        write_video(tmp_path / "out.mp4", frames(45), RATE, sound=source)
        np.testing.assert_allclose(beeps(tmp_path / "out.mp4")[0], [1, 2], atol=0.03)


def test_sound_ends_with_the_pictures(tmp_path):
    source = film_with_sound(tmp_path / "long.mp4")
    write_video(tmp_path / "out.mp4", frames(24), RATE, sound=source)
    begins, end, _ = beeps(tmp_path / "out.mp4")
    np.testing.assert_allclose(begins, [1], atol=0.03)
    assert 1.4 < end < 1.75


def test_a_film_without_sound_stays_silent(tmp_path):
    write_video(tmp_path / "mute.mp4", frames(10), RATE)
    told = []
    write_video(tmp_path / "out.mp4", frames(10), RATE, sound=tmp_path / "mute.mp4", told=told.append)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio
    assert told == [] and (tmp_path / "out.mp4").read_bytes() == (tmp_path / "mute.mp4").read_bytes()


def test_a_sound_that_cannot_be_read_does_not_cost_the_film(tmp_path):
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    told = []
    for source in (tmp_path / "noise.mp4", tmp_path / "missing.mp4"):
        assert write_video(tmp_path / "out.mp4", frames(10), RATE, sound=source, told=told.append) == 10
    assert len(told) == 2 and "noise.mp4" in told[0] and "not carried over" in told[1]
    content = film_with_sound(tmp_path / "whole.mkv", "flac").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) // 2])
    assert write_video(tmp_path / "out.mp4", frames(45), RATE, sound=tmp_path / "cut.mkv") == 45
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 45


def test_the_same_film_and_sound_give_the_same_bytes(tmp_path):
    source = film_with_sound(tmp_path / "a.mkv", "flac")
    for name in ("one.mp4", "two.mp4"):
        write_video(tmp_path / name, frames(30), RATE, sound=source)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
