"""Labels as Aff-Wild, Aff-Wild2, AFEW-VA and plain tables keep them."""

import json

import numpy as np
import pytest

from affect3d.io.label_files import LabelTrack, join_tracks, read_label_file


def written(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def afew(**change):
    frame = {"valence": -3.0, "arousal": 10, "landmarks": [[float(i), 2.0 * i] for i in range(68)]}
    frames = {"00002": {**frame, **change}, "00000": {**frame, "valence": 5.0}}
    return json.dumps({"actor": "someone", "video_id": "077", "frames": frames})


def test_aff_wild_keeps_one_number_a_line_and_each_target_in_a_folder_of_its_own(tmp_path):
    one = written(tmp_path, "valence/105.txt", "0.5\n-1\n0.25\n\n")
    two = written(tmp_path, "arousal/105.txt", "0\n0.125\n1\r\n")
    (valence,), (arousal,) = read_label_file(one), read_label_file(two)
    assert valence.arousal is None and arousal.valence is None and valence.name == "105"
    (track,) = join_tracks([arousal, valence])
    assert track.valence.tolist() == [0.5, -1, 0.25] and track.arousal.tolist() == [0, 0.125, 1]
    assert track.frame.tolist() == [1, 2, 3] and track.annotated.all()
    plain = written(tmp_path, "tracks/a.txt", "0.5\n")
    with pytest.raises(ValueError, match="neither its name nor its folder's"):
        read_label_file(plain)
    assert read_label_file(plain, "arousal")[0].arousal.tolist() == [0.5]
    assert read_label_file(written(tmp_path, "x.txt", "arousal\n0.5\n"))[0].arousal.tolist() == [0.5]


def test_aff_wild2_marks_frames_that_nobody_annotated(tmp_path):
    path = written(tmp_path, "video1.txt", "valence,arousal\n0.1,-0.2\n-5,-5\n0.3,-5.0\n1,1\n")
    (track,) = read_label_file(path)
    assert track.annotated.tolist() == [True, False, False, True]
    assert track.valence.tolist() == [0.1, 0, 0, 1] and track.arousal.tolist() == [-0.2, 0, 0, 1]
    other = written(tmp_path, "other.txt", "arousal,valence\n0.1,-0.2\n")
    assert read_label_file(other)[0].valence.tolist() == [-0.2]
    bare = written(tmp_path, "bare.txt", "0.1,-0.2\n0.3,0.4")
    assert read_label_file(bare)[0].arousal.tolist() == [-0.2, 0.4]


def test_afew_va_is_scaled_and_sorted_and_keeps_its_landmarks(tmp_path):
    (track,) = read_label_file(written(tmp_path, "077.json", afew()))
    assert track.name == "077" and track.frame.tolist() == [0, 2] and track.missing.tolist() == [1]
    assert track.valence.tolist() == [0.5, -0.3] and track.arousal.tolist() == [1, 1]
    assert track.landmarks.shape == (2, 68, 2) and track.landmarks[1, 5].tolist() == [5, 10]


def test_a_table_holds_sequences_gaps_and_empty_cells(tmp_path):
    text = "\ufeffArousal;sequence;frame;valence;who\n0.5;b;3;-0.5;x\n0.25;a;7;1;x\n;b;5;0.5;y\n0;b;1;0;z\n"
    b, a = read_label_file(written(tmp_path, "t.csv", text))
    assert (b.name, a.name) == ("b", "a") and b.frame.tolist() == [1, 3, 5] and b.missing.tolist() == [2, 4]
    assert b.annotated.tolist() == [True, True, False] and b.valence.tolist() == [0, -0.5, 0]
    assert a.arousal.tolist() == [0.25]
    (only,) = read_label_file(written(tmp_path, "one.csv", "frame,valence\n0,1\n1,-1\n"))
    assert only.name == "one" and only.arousal is None


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("v.txt", "valence,arousal\n0,0\n0,1.5\n", r"v.txt: line 3: arousal: expected a number in \[-1, 1\], .* '1.5'"),
        ("v.txt", "valence,arousal\n0,nan\n", "line 2: arousal"),
        ("v.txt", "valence,arousal\n0,0\n0\n", "line 3: expected two numbers"),
        ("v.txt", "0.1,0.2\n7,0", "line 2: valence: expected"),
        ("v.txt", "valence,arousal\n", "no labels"),
        ("valence.txt", "0.1\n-4\n", "line 2: valence: .* got '-4'"),
        ("valence.txt", "0.1\nwell\n", "line 2: valence: .* got 'well'"),
        ("v.txt", "", "is empty"),
        ("v.txt", "a,b,c\n", "line 1: expected one number, or the names"),
        ("v.txt", b"\xff\xfe\x00", "expected text"),
        ("t.csv", "frame,valence,arousal\n1,0,0\n1,0,0\n", "line 3: frame 1 of sequence 't' comes twice"),
        ("t.csv", "frame,valence,arousal\n1,0\n", "line 2: expected 3 cells, got 2"),
        ("t.csv", "frame,valence,arousal\nx,0,0\n", "line 2: frame: expected a whole number"),
        ("t.csv", "frame,mood\n1,0\n", "expected a column valence or arousal"),
        ("t.csv", "frame,valence,valence\n1,0,0\n", "two columns"),
        ("t.csv", "frame,valence,arousal\n1,0,-1.01\n", "line 2: arousal"),
        ("a.json", afew(valence=11), r"frame 00002: valence: expected a number in \[-10, 10\], got 11"),
        ("a.json", afew(arousal=None), "frame 00002: arousal"),
        ("a.json", afew(landmarks=[[1, 2]]), r"frame 00002: landmarks: expected 68 pairs"),
        ("a.json", afew(landmarks=None), "frame 00002: has no landmarks, but"),
        ("a.json", '{"frames": {}}', "expected an object with frames"),
        ("a.json", '{"frames": {"x": {}}}', "frame 'x'"),
        ("a.json", '{"frames": \n{]', "line 2: is no JSON"),
    ],
)
def test_what_is_wrong_is_refused_with_file_and_line(tmp_path, name, text, message):
    path = written(tmp_path, name, text)
    with pytest.raises(ValueError, match=message) as caught:
        read_label_file(path)
    assert str(path) in str(caught.value)


def test_tracks_that_do_not_belong_together_are_not_joined():
    def track(valence=None, arousal=None, frames=3, source="f"):
        given = {k: np.zeros(frames) if v else None for k, v in (("valence", valence), ("arousal", arousal))}
        return LabelTrack("a", np.arange(frames), **given, annotated=np.ones(frames, bool), source=source)

    with pytest.raises(ValueError, match="g: sequence 'a' has its valence in f already"):
        join_tracks([track(valence=True), track(valence=True, source="g")])
    with pytest.raises(ValueError, match="g: has 4 frames of sequence 'a', but f has 3"):
        join_tracks([track(valence=True), track(arousal=True, frames=4, source="g")])
    with pytest.raises(ValueError, match="expected valence, arousal or both"):
        track()
    with pytest.raises(ValueError, match="target: expected"):
        read_label_file("x", "mood")
