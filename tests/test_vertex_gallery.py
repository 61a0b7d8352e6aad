"""A gallery of registered scans: what is written comes back, however often the writing is interrupted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from affect3d.affect.store import open_gallery, stored_content
from affect3d.affect.store_writer import StoreBlock, StorePlan, check_replaceable, write_frames, write_store

pytest.importorskip("zarr", reason="zarr is not installed (affect3d[gallery])")


FACES = np.array([[0, 1, 2], [1, 3, 2]])


def content(folder):
    """Bytes of every file below a folder."""
    folder = Path(folder)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def plan(count=7, content="abc"):
    zeros, names = np.zeros(count, int), tuple(f"q/{k}" for k in range(count))
    return StorePlan(
        "vertices", (4, 3), content, zeros, zeros, np.arange(count), zeros, ("s",), ("q",), FACES, names=names
    )


def write(path, read, count=7, content="abc", overwrite=False):
    """Write `count` frames that are read one by one, with labels all of zero."""
    return write_frames(path, plan(count, content), np.zeros(count), np.zeros(count), read, overwrite)


def vertices(name):
    return np.random.default_rng(int(name[2:])).normal(size=(4, 3))


@pytest.mark.parametrize("chunk", [4, 8, 10**6])
@pytest.mark.parametrize("reads", [0, 1, 2, 5, 6])
def test_a_gallery_that_is_interrupted_anywhere_continues_to_the_same_bytes(tmp_path, monkeypatch, chunk, reads):
    monkeypatch.setattr("affect3d.affect.store_writer._CHUNK", {"vertices": chunk})
    write(tmp_path / "whole", vertices)
    asked = []

    def tired(name):
        if len(asked) == reads:
            raise KeyboardInterrupt
        asked.append(name)
        return vertices(name)

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "cut", tired)
    assert not (tmp_path / "cut").exists()
    again = []
    assert write(tmp_path / "cut", lambda n: again.append(n) or vertices(n))
    # whole chunks that were written are not done again
    step = min(chunk // 4, 7)
    assert len(again) == 7 - len(asked) // step * step
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut", "whole"]


def test_the_same_content_is_not_written_twice_and_another_one_not_mixed_in(tmp_path):
    path = tmp_path / "g"
    assert write(path, vertices) is True
    assert stored_content(path) == "abc" and stored_content(tmp_path) is None
    assert write(path, None) is False  # nothing is even read
    with pytest.raises(FileExistsError, match="another gallery"):
        write(path, vertices, 3, "def")
    # what earlier versions left of a gallery that was not finished
    (tmp_path / ".g.growing/store").mkdir(parents=True)
    (tmp_path / ".g.growing/state.json").write_text('{"content": "abc", "step": 7, "done": 1}')
    assert write(path, vertices, 3, "def", overwrite=True)
    assert len(open_gallery(path)) == 3


def test_vertices_that_do_not_fit_are_refused(tmp_path):
    for read, message in (
        (lambda n: np.zeros((4 if n < "q/3" else 5, 3)), r"expected shape \(4, 3\) for frame q/3, got \(5, 3\)"),
        (lambda n: np.full((4, 3), np.nan if n == "q/2" else 0), "vertices of frame q/2"),
        (lambda n: np.zeros(12), r"expected shape \(4, 3\) for frame q/0, got \(12,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            write(tmp_path / "g", read)
        assert not (tmp_path / "g").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"neutral": np.full(7, 7)}, r"neutral: .* \[0, 7\), got 7 to 7"), ({"subject": np.ones(7, int)}, "subject: "),
        ({"names": ("a",) * 7}, "names: expected 7 different names, got 1 of 7"), ({"frame": -np.ones(7)}, "frame: "),
        ({"names": ()}, "names: "), ({"sequence": np.zeros(6, int)}, "sequence: "), ({"kind": "pictures"}, "kind: "),
        ({"kind": "coefficients"}, "rest: expected the head"),
        ({"names": (), **{k: [] for k in ("subject", "sequence", "frame", "neutral")}}, "subject: expected at least"),
    ],
)  # fmt: skip
def test_plans_that_make_no_sense_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(plan(), **change)


@pytest.mark.parametrize(
    "valence, arousal, message",
    [
        (np.full(7, 1.5), np.zeros(7), "valence"), (np.zeros(7), np.full(7, np.nan), "arousal"),
        (np.zeros(7), np.zeros(6), "valence|arousal"), (np.zeros(6), np.zeros(6), "expected 7 labels, got 6"),
    ],
)  # fmt: skip
def test_labels_that_make_no_sense_are_told_before_anything_is_read(tmp_path, valence, arousal, message):
    with pytest.raises(ValueError, match=message):
        write_frames(tmp_path / "g", plan(), valence, arousal, None)
    assert not list(tmp_path.iterdir())


def test_distances_are_kept_where_all_blocks_have_them_and_refused_where_only_some_do(tmp_path, monkeypatch):
    monkeypatch.setattr("affect3d.affect.store_writer._CHUNK", {"vertices": 8})
    zeros, distance = np.zeros(2), np.arange(7, dtype=np.float32)

    def block(a, b, some):
        return StoreBlock(np.ones((b - a, 4, 3)), zeros[: b - a], zeros[: b - a], distance[a:b] if some else None)

    write_store(tmp_path / "all", plan(), lambda a, b: block(a, b, True))
    np.testing.assert_array_equal(open_gallery(tmp_path / "all").distance, distance)
    write_store(tmp_path / "none", plan(), lambda a, b: block(a, b, False))
    assert not (tmp_path / "none" / "distance").exists()
    np.testing.assert_array_equal(open_gallery(tmp_path / "none").distance, np.zeros(7))
    with pytest.raises(ValueError, match="distance: expected in all blocks or in none"):
        write_store(tmp_path / "some", plan(), lambda a, b: block(a, b, a < 4))
    assert not (tmp_path / "some").exists()


def test_frames_of_zeros_are_frames_and_no_lost_chunks(tmp_path):
    write(tmp_path / "g", lambda name: np.zeros((4, 3)))
    assert not open_gallery(tmp_path / "g").values[...].any()
    next((tmp_path / "g" / "vertices" / "c").rglob("0")).joinpath("0", "0").unlink()
    with pytest.raises(ValueError, match="0 of its 1 chunks are there"):
        open_gallery(tmp_path / "g")


def test_a_store_that_was_begun_but_not_to_its_end_is_begun_anew(tmp_path):
    write(tmp_path / "whole", vertices)
    growing = tmp_path / ".cut.growing"
    with pytest.raises(KeyError):
        write(tmp_path / "cut", {}.__getitem__)
    (growing / "parts").rmdir()  # as a kill leaves it that comes before the last step of the beginning
    (growing / "store" / "rubbish").write_text("half of an array")
    write(tmp_path / "cut", vertices)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_what_is_no_gallery_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no gallery"):
        open_gallery(tmp_path / "none")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="is not a readable gallery"):
        open_gallery(tmp_path / "folder")
    with pytest.raises(FileExistsError, match="is no gallery, so it is not replaced"):
        write(tmp_path / "folder", vertices, overwrite=True)
    with pytest.raises(FileExistsError, match="is no gallery"):
        check_replaceable(tmp_path / "folder")
    check_replaceable(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        write(tmp_path / "none/g", vertices)
    write(tmp_path / "g", vertices)
    check_replaceable(tmp_path / "g")
    for path in (tmp_path / "g" / "valence").rglob("zarr.json"):
        path.unlink()
    with pytest.raises(ValueError, match="is not a readable gallery"):
        open_gallery(tmp_path / "g")
