"""Films are decoded again and compared with the frames they were made of."""

import weakref

import numpy as np
import pytest

from affect3d.io.video import write_video

av = pytest.importorskip("av")


def smooth(height, width, shift=0.0):
    """A picture without edges, so that only the colour conversion can change it much."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 90 * np.sin(x / 37 + shift), 127 + 90 * np.cos(y / 29 + shift), 120 + 60 * np.sin((x + y) / 51)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def decoded(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_film_gives_back_its_frames(tmp_path):
    frames = [smooth(96, 128, k / 5) for k in range(7)]
    assert write_video(tmp_path / "film.mp4", iter(frames), fps=25) == 7
    back = decoded(tmp_path / "film.mp4")
    assert len(back) == 7
    for frame, seen in zip(frames, back):
        assert np.abs(frame.astype(int) - seen).mean() < 2.0


def test_a_film_says_its_rate_size_and_colours(tmp_path):
    write_video(tmp_path / "film.mp4", [smooth(64, 64)] * 3, fps=29.97)
    with av.open(str(tmp_path / "film.mp4")) as container:
        stream = container.streams.video[0]
        assert abs(float(stream.average_rate) - 29.97) < 0.01
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.colorspace == 1 and stream.codec_context.color_range == 1


def test_odd_sides_are_padded_by_their_edge(tmp_path):
    frame = smooth(51, 33)
    write_video(tmp_path / "odd.mp4", [frame] * 2)
    back = decoded(tmp_path / "odd.mp4")[0]
    assert back.shape == (52, 34, 3)
    assert np.abs(back[:51, :33].astype(int) - frame).mean() < 2.5
    assert np.abs(back[51, :33].astype(int) - frame[50]).mean() < 5


def test_the_same_frames_give_the_same_bytes(tmp_path):
    frames = [smooth(64, 80, k / 3) for k in range(5)]
    rng = np.random.default_rng(0)
    films = set()
    for _ in range(60):  # the encoder's fastest code failed this about once in ten films
        litter = [rng.bytes(int(rng.integers(100, 20000))) for _ in range(40)]
        del litter
        write_video(tmp_path / "film.mp4", frames)
        films.add((tmp_path / "film.mp4").read_bytes())
    assert len(films) == 1


def test_frames_are_taken_one_at_a_time(tmp_path):
    made, most = [], []

    def frames():
        for k in range(60):
            frame = smooth(64, 64, k)
            made.append(weakref.ref(frame))
            yield frame
            del frame
            most.append(sum(ref() is not None for ref in made))

    write_video(tmp_path / "long.mp4", frames())
    assert len(made) == 60 and max(most) < 10


def test_red_has_the_luma_of_bt709(tmp_path):
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    write_video(tmp_path / "red.mp4", [red], quality=0)
    with av.open(str(tmp_path / "red.mp4")) as container:
        luma = np.asarray(next(container.decode(video=0)).to_ndarray())[:64, :64]
    # ITU-R BT.709-6: 16 + 219 * 0.2126 = 62.6; with the older BT.601 it would be 81.5
    assert abs(float(luma.mean()) - 62.6) < 1.5


def interrupted():
    yield smooth(64, 64)
    raise KeyboardInterrupt


def test_an_interrupted_film_leaves_the_older_one_alone(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"older")
    with pytest.raises(KeyboardInterrupt):
        write_video(path, interrupted())
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "frames, message",
    [
        ([], "frames: expected at least one"),
        ([smooth(64, 64), smooth(64, 66)], r"frames\[1\]: expected shape \(64, 64, 3\)"),
        ([smooth(64, 64).astype(float)], r"frames\[0\]: expected \(H, W, 3\) uint8"),
        ([smooth(64, 64)[..., 0]], r"frames\[0\]: expected \(H, W, 3\) uint8"),
    ],
)
def test_bad_frames_are_named_and_nothing_is_left(tmp_path, frames, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "film.mp4", frames)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options, name", [({"fps": 0}, "fps"), ({"fps": float("nan")}, "fps"), ({"quality": 52}, "quality")]
)
def test_options_out_of_range_are_named(tmp_path, options, name):
    with pytest.raises(ValueError, match=name):
        write_video(tmp_path / "film.mp4", [smooth(64, 64)], **options)


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match="ending in .mp4, got '.gif'"):
        write_video(tmp_path / "film.gif", [smooth(64, 64)])


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OSError, match="does not exist"):
        write_video(tmp_path / "none" / "film.mp4", [smooth(64, 64)])
