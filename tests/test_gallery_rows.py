"""From frames and labels to the rows of a gallery."""

import numpy as np
import pytest

from affect3d.registration.frames import Frame
from affect3d.registration.gallery_rows import labelled_frames
from affect3d.registration.labels import FrameLabel


def frame(name):
    return Frame(f"/scans/{name}.ply", name, f"{name}.ply")


def test_rows_are_numbered_sequence_by_sequence_in_natural_order_and_name_their_neutral():
    frames = [frame(n) for n in ("bob/b/2", "ann/a/10", "ann/a/9", "ann/a/1", "bob/b/1", "ann/c/1", "ann/a/2")]
    labels = [
        FrameLabel("ann/a", "10", 0.5, -0.5), FrameLabel("ann/a", "9", 0.25, 0.0, True), FrameLabel("ann/a", "1", 0, 0),
        FrameLabel("bob/b", "2", -1.0, 1.0), FrameLabel("bob/b", "1", 0.0, 0.125), FrameLabel("zoe/z", "1", 0.0, 0.0),
    ]  # fmt: skip
    rows = labelled_frames(frames, labels)
    assert rows.names == ("ann/a/1", "ann/a/9", "ann/a/10", "bob/b/1", "bob/b/2")
    assert rows.frame.tolist() == [0, 2, 3, 0, 1]  # frame 2 has no label and is counted all the same
    assert rows.neutral.tolist() == [1, 1, 1, 3, 3]
    assert (rows.subjects, rows.subject.tolist()) == (("ann", "bob"), [0, 0, 0, 1, 1])
    assert (rows.sequences, rows.sequence.tolist()) == (("ann/a", "bob/b"), [0, 0, 0, 1, 1])
    assert rows.valence.tolist() == [0, 0.25, 0.5, 0, -1] and rows.arousal.tolist() == [0, 0, -0.5, 0.125, 1]
    assert [f.name for f in rows.unlabelled] == ["ann/a/2", "ann/c/1"] and rows.unused_labels == 1
    assert rows.unmarked == ("bob/b",) and rows.without_neutral == ()
    assert rows.valence.dtype == np.float32 and rows.neutral.dtype == np.int32
    with pytest.raises(ValueError, match="read-only"):
        rows.valence[0] = 1


def test_frames_that_may_not_be_used_keep_their_place_and_a_lost_neutral_is_told():
    frames = [frame(f"s/q/{k}") for k in range(4)] + [frame("s/r/0"), frame("s/t/0")]
    labels = [FrameLabel("s/q", str(k), 0.1 * k, 0.0, k == 2) for k in range(4)] + [FrameLabel("s/r", "0", 0, 0, True)]
    rows = labelled_frames(frames, labels, [False, True, False, True, False, False])
    assert rows.names == ("s/q/1", "s/q/3") and rows.frame.tolist() == [1, 3] and rows.neutral.tolist() == [0, 0]
    # a sequence of which nothing is left is not spoken of, and neither are frames that may not be used
    assert rows.without_neutral == ("s/q",) and rows.unmarked == () and rows.unlabelled == ()
    assert rows.unused_labels == 0 and rows.sequences == ("s/q",)
    none = labelled_frames(frames, labels, [False] * 6)
    assert none.names == () and none.valence.shape == (0,) and none.subjects == ()
    assert labelled_frames(frames, []).names == ()


def test_a_frame_at_the_top_is_a_subject_of_its_sequence_and_two_neutrals_are_refused():
    rows = labelled_frames([frame("1"), frame("2")], [FrameLabel("", "1", 0, 0), FrameLabel("", "2", 0, 0)])
    assert rows.subjects == ("",) and rows.sequences == ("",)
    frames = [frame("s/q/0"), frame("s/q/1")]
    two = [FrameLabel("s/q", "0", 0, 0, True), FrameLabel("s/q", "1", 0, 0, True)]
    with pytest.raises(ValueError, match="sequence 's/q' has 2 neutral frames, expected one"):
        labelled_frames(frames, two)
    with pytest.raises(ValueError, match="valence"):
        labelled_frames(frames, [FrameLabel("s/q", "0", 1.5, 0)])
