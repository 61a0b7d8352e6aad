"""A gallery of registered scans: what is written comes back, however often the writing is interrupted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from affect3d.affect.store import open_gallery, stored_content
from affect3d.affect.vertex_gallery import GalleryRows, write_vertex_gallery

pytest.importorskip("zarr", reason="zarr is not installed (affect3d[gallery])")


def content(folder):
    """Bytes of every file below a folder."""
    folder = Path(folder)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rows(count=7):
    zeros = np.zeros(count, int)
    names = tuple(f"q/{k}" for k in range(count))
    return GalleryRows(names, zeros / 1.0, zeros / 2.0, zeros, zeros, np.arange(count), zeros, ("s",), ("q",))


def vertices(name):
    return np.random.default_rng(int(name[2:])).normal(size=(4, 3))


FACES = np.array([[0, 1, 2], [1, 3, 2]])


@pytest.mark.parametrize("chunk", [4, 8, 10**6])
@pytest.mark.parametrize("reads", [0, 1, 2, 5, 6])
def test_a_gallery_that_is_interrupted_anywhere_continues_to_the_same_bytes(tmp_path, monkeypatch, chunk, reads):
    monkeypatch.setattr("affect3d.affect.vertex_gallery._CHUNK_VERTICES", chunk)
    write_vertex_gallery(tmp_path / "whole", rows(), FACES, vertices, "abc")
    asked = []

    def tired(name):
        if len(asked) > reads:
            raise KeyboardInterrupt
        asked.append(name)
        return vertices(name)

    with pytest.raises(KeyboardInterrupt):
        write_vertex_gallery(tmp_path / "cut", rows(), FACES, tired, "abc")
    assert not (tmp_path / "cut").exists()
    again = []
    assert write_vertex_gallery(tmp_path / "cut", rows(), FACES, lambda n: again.append(n) or vertices(n), "abc")
    # the first frame is read once more for its shape; whole chunks that were written are not done again
    step = min(chunk // 4, 7)
    chunks_before = max(len(asked) - 1, 0) // step
    assert len(again) == 1 + 7 - chunks_before * step
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut", "whole"]


def test_the_same_content_is_not_written_twice_and_another_one_not_mixed_in(tmp_path):
    path = tmp_path / "g"
    assert write_vertex_gallery(path, rows(), FACES, vertices, "abc") is True
    assert stored_content(path) == "abc" and stored_content(tmp_path) is None
    assert write_vertex_gallery(path, rows(), FACES, None, "abc") is False  # nothing is even read
    with pytest.raises(FileExistsError, match="another gallery"):
        write_vertex_gallery(path, rows(3), FACES, vertices, "def")
    (tmp_path / ".g.growing").mkdir()
    (tmp_path / ".g.growing/state.json").write_text('{"content": "abc", "step": 7, "done": 1}')
    assert write_vertex_gallery(path, rows(3), FACES, vertices, "def", overwrite=True)
    assert len(open_gallery(path)) == 3


def test_vertices_that_do_not_fit_are_refused(tmp_path):
    for read, message in (
        (lambda n: np.zeros((4 if n < "q/3" else 5, 3)), r"expected shape \(4, 3\) for frame q/3, got \(5, 3\)"),
        (lambda n: np.full((4, 3), np.nan if n == "q/2" else 0), "vertices of frame q/2"),
        (lambda n: np.zeros(12), r"expected shape \(V, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            write_vertex_gallery(tmp_path / "g", rows(), FACES, read, "abc")
        assert not (tmp_path / "g").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"valence": np.full(7, 1.5)}, "valence"), ({"neutral": np.full(7, 7)}, r"neutral: .* \[0, 7\)"),
        ({"subject": np.ones(7, int)}, "subject"), ({"names": ("a",) * 7}, "names"), ({"frame": -np.ones(7)}, "frame"),
        ({"arousal": np.zeros(6)}, "arousal"), ({"names": ()}, "names"),
    ],
)  # fmt: skip
def test_rows_that_make_no_sense_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(rows(), **change)


def test_what_is_no_gallery_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no gallery"):
        open_gallery(tmp_path / "none")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="is not a readable gallery"):
        open_gallery(tmp_path / "folder")
    with pytest.raises(FileExistsError, match="is no vertex gallery, so it is not replaced"):
        write_vertex_gallery(tmp_path / "folder", rows(), FACES, vertices, "abc", overwrite=True)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        write_vertex_gallery(tmp_path / "none/g", rows(), FACES, vertices, "abc")
    write_vertex_gallery(tmp_path / "g", rows(), FACES, vertices, "abc")
    for path in (tmp_path / "g" / "valence").rglob("zarr.json"):
        path.unlink()
    with pytest.raises(ValueError, match="is not a readable gallery"):
        open_gallery(tmp_path / "g")
