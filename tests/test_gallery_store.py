"""One reader for galleries of coefficients and of vertices, and the writer that streams into them."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from affect3d.affect.class_moments import MomentsJob, class_moments, moments_of_job
from affect3d.affect.gallery import Gallery, generate_gallery
from affect3d.affect.gallery_head import gallery_head
from affect3d.affect.generation import GenerationOptions, generate_store, plan_sequences
from affect3d.affect.performances import PerformanceOptions
from affect3d.affect.raw_chunks import PackedChunks, RawChunks, raw_chunks
from affect3d.affect.statistics import class_statistics
from affect3d.affect.store import open_gallery, stored_content
from affect3d.affect.store_frames import NeutralOffsets, StreamedCoefficients, take_rows
from affect3d.affect.store_writer import StorePlan, write_frames
from affect3d.affect.tables import ARKIT_SHAPES
from affect3d.affect.vaspace import VASpace
from affect3d.model import MorphableModel

zarr = pytest.importorskip("zarr", reason="zarr is not installed (affect3d[gallery])")
OPTIONS = GenerationOptions(subjects=5, sequences=13, frames=700, seed=3)


def tiny_head(expressions=ARKIT_SHAPES, vertices=23, modes=4) -> MorphableModel:
    rng = np.random.default_rng(11)
    faces = [[i, i + 1, i + 2] for i in range(vertices - 2)]
    return MorphableModel(
        rng.normal(size=(vertices, 3)) * 50, faces, rng.normal(size=(modes, vertices, 3)), rng.uniform(0.5, 3, modes),
        rng.normal(size=(len(expressions), vertices, 3)) * 4, tuple(expressions), name="tiny",
    )  # fmt: skip


def content(folder):
    """Bytes of every file below a folder."""
    folder = Path(folder)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three stores of the same performances: coefficients, vertices, and a small one of the first format."""
    folder = tmp_path_factory.mktemp("stores")
    generate_store(folder / "coefficients", OPTIONS, tiny_head())
    generate_store(folder / "vertices", OPTIONS, tiny_head(), meshes=True)
    generate_gallery(PerformanceOptions(subjects=3, sequences=2, frames=10)).save(folder / "first")
    return folder


@pytest.fixture(scope="module", params=["coefficients", "vertices"])
def store(request, folder):
    return open_gallery(folder / request.param)


def displacements(store):
    """(N, V, 3) float64, the slow and obvious way."""
    values = np.asarray(store.values[...], float)
    if store.kind == "coefficients":
        head = tiny_head()
        basis = np.stack([head.expression[head.expression_names.index(n)] for n in store.expression_names])
        values = np.tensordot(values, basis.astype(float), 1)
    return values - values[store.neutral]


# --- reading


def test_frames_are_displacements_from_the_neutral_face_of_the_same_sequence(store):
    truth = displacements(store)
    rng = np.random.default_rng(0)
    for rows in (None, np.arange(200, 420), rng.choice(len(store), 97, replace=False), np.array([5, 5, 3])):
        frames = store.frames(rows)
        wanted = truth if rows is None else truth[rows]
        assert frames.shape == wanted.shape
        np.testing.assert_allclose(frames.at_vertices(np.arange(23)), wanted, atol=2e-5)
        components = rng.normal(size=(3, 23, 3))
        np.testing.assert_allclose(
            frames.with_components(components), wanted.reshape(len(wanted), -1) @ components.reshape(3, -1).T, atol=1e-3
        )


def test_both_kinds_of_store_hold_the_same_displacements_and_labels(folder):
    a, b = open_gallery(folder / "coefficients"), open_gallery(folder / "vertices")
    np.testing.assert_allclose(displacements(a), displacements(b), atol=5e-5)
    for name in ("valence", "arousal", "subject", "sequence", "frame", "neutral", "subjects", "sequences", "distance"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    np.testing.assert_allclose(a.rest, tiny_head().mean, atol=1e-4)
    np.testing.assert_array_equal(a.faces, b.faces)
    assert a.content != b.content and a.model == "tiny" and a.frame_rate == 60 and a.hours == pytest.approx(700 / 216e3)


def test_vertices_of_one_subject_share_a_neutral_face_and_subjects_differ(folder):
    store = open_gallery(folder / "vertices")
    neutral = np.asarray(store.values[...])[store.neutral]
    for subject in range(5):
        mine = neutral[store.subject == subject]
        np.testing.assert_allclose(mine, np.broadcast_to(mine[0], mine.shape), atol=1e-4)
    people = np.stack([neutral[store.subject == subject][0] for subject in range(5)])
    assert people.std(0).mean() > 0.3 * tiny_head().identity_std.mean()


def test_the_stored_distance_is_the_root_mean_square_displacement(store):
    truth = np.sqrt((displacements(store) ** 2).sum(2).mean(1))
    np.testing.assert_allclose(store.distance, truth, atol=1e-4)
    plain = open_gallery(store.path)
    kept = {k: plain._group[k] for k in ("head", "vertices", "expression") if k in plain._group}
    object.__setattr__(plain, "_group", kept)
    np.testing.assert_allclose(plain.distance, truth, atol=1e-4)


def test_rows_are_selected_by_class_subject_sequence_and_split(store):
    space = VASpace()
    index = space.class_of(store.valence, store.arousal)
    most = int(np.bincount(index).argmax())
    np.testing.assert_array_equal(store.select(classes=most), np.flatnonzero(index == most))
    np.testing.assert_array_equal(store.select(subjects=["S002", 4]), np.flatnonzero(np.isin(store.subject, [1, 4])))
    name = store.sequences[7]
    np.testing.assert_array_equal(store.select(sequences=name), np.flatnonzero(store.sequence == 7))
    train, test = store.select(split="train"), store.select(split="test")
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(store)))
    assert not set(store.subject[train]) & set(store.subject[test]) and len(set(store.subject[test])) == 1
    mask = np.arange(len(store)) % 3 == 0
    both = store.select(classes=most, subjects=0, split=mask)
    np.testing.assert_array_equal(both, np.flatnonzero((index == most) & (store.subject == 0) & mask))
    np.testing.assert_array_equal(store.select(), np.arange(len(store)))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"classes": 100}, "k: classes must lie in"), ({"subjects": "Zoe"}, "subjects: the gallery has no 'Zoe'"),
        ({"sequences": 13}, "sequences: the gallery has no 13"), ({"split": "dev"}, r"\(test, train\), got 'dev'"),
        ({"split": np.zeros(3, bool)}, "split: expected a name or 700 booleans"),
    ],
)  # fmt: skip
def test_what_the_gallery_does_not_have_is_not_selected(store, wrong, message):
    with pytest.raises(ValueError, match=message):
        store.select(**wrong)


def test_apex_frames_are_the_farthest_of_their_sequence(store):
    for by, size in (("distance", store.distance), ("affect", np.hypot(store.valence, store.arousal))):
        rows = store.apex_rows(4, by)
        assert (np.diff(rows) > 0).all() and len(rows) == 4 * 13
        for sequence in range(13):
            mine = np.flatnonzero(store.sequence == sequence)
            chosen = rows[store.sequence[rows] == sequence]
            left = np.setdiff1d(mine, [*chosen, store.neutral[mine[0]]])
            assert size[chosen].min() >= size[left].max()
    everything = store.apex_rows(10_000)
    np.testing.assert_array_equal(everything, np.setdiff1d(np.arange(700), np.unique(store.neutral)))
    for wrong in (0, 1.5, True):
        with pytest.raises(ValueError, match="per_sequence: expected"):
            store.apex_rows(wrong)
    with pytest.raises(ValueError, match="by: expected"):
        store.apex_rows(1, "beauty")


def test_sequences_come_whole_and_in_order(store):
    seen = dict(store.sequence_rows())
    assert sorted(seen) == list(range(13))
    for number, rows in seen.items():
        assert (store.sequence[rows] == number).all() and store.frame[rows].tolist() == list(range(len(rows)))


@pytest.mark.parametrize("rows", [[-1], [700], [0.5], [[1, 2]]])
def test_rows_that_are_none_are_refused(store, rows):
    with pytest.raises(ValueError, match="rows: "):
        store.frames(np.array(rows))
    with pytest.raises(ValueError, match="rows: expected at least one"):
        store.frames(np.array([], int))


def test_stores_of_the_first_formats_are_read(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("affect3d.model.load.load_model", lambda *a: tiny_head())
    store = open_gallery(folder / "first")
    kept = Gallery.load(folder / "first")
    assert store.kind == "coefficients" and len(store) == 60
    assert store.subjects == ("subject 0", "subject 1", "subject 2")
    assert store.frame_rate is None and store.hours is None and store.splits == {}
    truth = np.tensordot((kept.expression - kept.expression[kept.neutral]).astype(float), store.basis.astype(float), 1)
    np.testing.assert_allclose(store.frames().at_vertices([0, 22]), truth[:, [0, 22]], atol=1e-5)
    shutil.copytree(folder / "first", tmp_path / "copy")
    assert open_gallery(tmp_path / "copy").content == store.content
    generate_gallery(PerformanceOptions(subjects=3, sequences=2, frames=10), seed=1).save(tmp_path / "other")
    assert open_gallery(tmp_path / "other").content != store.content

    rng = np.random.default_rng(0)
    faces = {f"q/{i}": rng.normal(size=(4, 3)) for i in range(5)}
    plan = StorePlan(
        "vertices", (4, 3), "abc", [0] * 5, [0] * 5, range(5), [2] * 5, ("s",), ("q",), [[0, 1, 2]], names=tuple(faces)
    )
    write_frames(tmp_path / "v", plan, np.zeros(5), np.zeros(5), faces.__getitem__)
    store = open_gallery(tmp_path / "v")
    assert store.kind == "vertices" and store.subjects == ("s",) and store.content == "abc" and store.basis is None
    np.testing.assert_allclose(store.rest, faces["q/2"], atol=1e-6)
    truth = np.stack(list(faces.values())) - faces["q/2"]
    np.testing.assert_allclose(store.frames().at_vertices(range(4)), truth, atol=1e-6)


def test_coefficients_are_read_whole_too_and_meshes_have_names(folder):
    kept, store = Gallery.load(folder / "coefficients"), open_gallery(folder / "coefficients")
    np.testing.assert_array_equal(kept.expression, store.values[...])
    assert open_gallery(folder / "vertices").frame_names[:2] == ("S001/01/000000", "S001/01/000001")
    assert store.frame_names == ()


def test_streamed_products_are_those_of_coefficients_in_memory(folder, monkeypatch):
    store = open_gallery(folder / "coefficients")
    whole = store.frames()
    monkeypatch.setattr("affect3d.affect.store._KEEP_BYTES", 0)
    monkeypatch.setattr("affect3d.affect.store_frames._BLOCK_BYTES", 1)
    monkeypatch.setattr("affect3d.affect.store_frames.block_rows", lambda array: 64)
    streamed = store.frames()
    assert isinstance(streamed, StreamedCoefficients) and streamed.shape == whole.shape
    rng = np.random.default_rng(1)
    components, weights = rng.normal(size=(5, 23, 3)), rng.normal(size=(700, 5))
    np.testing.assert_allclose(streamed.with_components(components), whole.with_components(components), atol=1e-5)
    np.testing.assert_allclose(streamed.with_weights(weights), whole.with_weights(weights), rtol=1e-5, atol=1e-4)
    parts = np.concatenate([p for _, p in streamed.component_products(components)])
    assert np.array_equal(parts, np.concatenate([p for _, p in whole.component_products(components)]))
    for one, two in zip(streamed.moments(), whole.moments()):
        np.testing.assert_allclose(one, two, rtol=1e-6)
    np.testing.assert_allclose(streamed.at_vertices([3, 1]), whole.at_vertices([3, 1]), atol=1e-5)
    index = np.array([650, 3, 3])
    np.testing.assert_allclose(streamed.subset(index).at_vertices([2]), whole.subset(index).at_vertices([2]), atol=1e-6)


class Counting:
    """An array in chunks of ten that counts the rows that are read from it."""

    def __init__(self, array):
        self._array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0
        self.chunks = (10, *array.shape[1:])

    def __len__(self):
        return len(self._array)

    def __getitem__(self, item):
        self.read += len(self._array[item])
        return self._array[item]


def test_a_stream_over_whole_sequences_reads_each_row_once(monkeypatch):
    monkeypatch.setattr("affect3d.affect.store_frames._BLOCK_BYTES", 1)
    array = Counting(np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32))
    neutral = np.arange(200) // 25 * 25
    stream = NeutralOffsets(array, np.arange(200), neutral)
    out = np.concatenate([block for _, block in stream.blocks()])
    np.testing.assert_array_equal(out, array._array - array._array[neutral])
    assert array.read == 200


def test_rows_are_taken_in_any_order_and_chunks_not_twice():
    array = Counting(np.arange(200.0).reshape(100, 2).astype(np.float32))
    rows = np.array([55, 3, 57, 3, 99, 50])
    np.testing.assert_array_equal(take_rows(array, rows), array._array[rows])
    assert array.read == 1 + 8 + 1
    assert take_rows(array, np.array([], int)).shape == (0, 2)


def test_whole_faces_are_the_neutral_one_and_the_displacement(folder):
    a, b = open_gallery(folder / "coefficients"), open_gallery(folder / "vertices")
    rows = np.array([400, 3, 80])
    values = np.asarray(a.values[...], float)[rows]
    basis = np.stack([tiny_head().expression[ARKIT_SHAPES.index(n)] for n in a.expression_names])
    truth = tiny_head().mean + np.tensordot(values, basis.astype(float), 1)
    np.testing.assert_allclose(a.vertices(rows), truth, atol=1e-4)
    np.testing.assert_array_equal(b.vertices(rows), b.values[...][rows])
    moved = b.vertices(rows) - b.vertices(b.neutral[rows])
    np.testing.assert_allclose(moved, a.vertices(rows) - a.vertices(a.neutral[rows]), atol=1e-4)


# --- plain files


@pytest.fixture
def stored(tmp_path):
    """Values, the zarr array that holds them, and the same read as plain files."""
    values = np.random.default_rng(0).normal(size=(23, 5, 3)).astype(np.float32)
    group = zarr.open_group(store=str(tmp_path / "z"), mode="w")
    array = group.create_array("v", shape=values.shape, chunks=(6, 5, 3), dtype="float32", compressors=None)
    array[...] = values
    return values, array, raw_chunks(array, tmp_path / "z" / "v")


@pytest.mark.parametrize(
    "item", [slice(None), slice(3, 20), slice(6, 12), slice(22, 23), slice(9, 9), slice(-4, None), 0, 22, -1, ...,
             (slice(2, 9), 4), (7, 2, 1), (slice(None), slice(1, 3), 0)],
)  # fmt: skip
def test_plain_files_give_what_zarr_gives(stored, item):
    values, array, raw = stored
    assert isinstance(raw, RawChunks) and raw.chunks == array.chunks and raw.shape == array.shape
    np.testing.assert_array_equal(raw[item], values[item])


def test_plain_files_that_end_early_or_rows_that_are_none_are_refused(stored, tmp_path):
    _, _, raw = stored
    with pytest.raises(IndexError, match=r"rows must lie in \[0, 23\), got 23"):
        raw[23]
    with pytest.raises(ValueError, match="got a step of 2"):
        raw[::2]
    chunk = tmp_path / "z" / "v" / "c" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    with pytest.raises(ValueError, match="1/0/0: is cut short"):
        raw[3:9]


def test_what_is_compressed_or_cut_otherwise_is_left_to_zarr(tmp_path):
    group = zarr.open_group(store=str(tmp_path / "z"), mode="w")
    for name, more in (
        ("a", {"chunks": (6, 5, 3)}), ("b", {"chunks": (6, 2, 3), "compressors": None}),
        ("c", {"chunks": (6, 5, 3), "compressors": None, "dtype": "float64"}),
    ):  # fmt: skip
        array = group.create_array(name, shape=(23, 5, 3), **{"dtype": "float32", **more})
        array[...] = 3
        taken = raw_chunks(array, tmp_path / "z" / name)
        assert isinstance(taken, PackedChunks) and np.array_equal(taken[3:9], array[3:9])


def test_a_store_of_compressed_vertices_is_read_as_well(folder, tmp_path):
    store = open_gallery(folder / "vertices")
    shutil.copytree(folder / "vertices", tmp_path / "copy")
    group = zarr.open_group(store=str(tmp_path / "copy"), mode="r+")
    group.create_array("vertices", shape=(700, 23, 3), chunks=(50, 23, 3), dtype="float32", overwrite=True)[...] = (
        store.values[...]
    )
    group.attrs["chunk_files"] = 14
    other = open_gallery(tmp_path / "copy")
    assert not isinstance(other.values, RawChunks) and isinstance(store.values, RawChunks)
    rows = np.array([699, 3, 320, 321])
    np.testing.assert_array_equal(other.frames(rows).at_vertices(range(23)), store.frames(rows).at_vertices(range(23)))


# --- damaged stores


def spoilt(folder, tmp_path, name, change):
    copy = tmp_path / "copy"
    shutil.copytree(folder / name, copy)
    change(copy)
    return copy


def overwrite(name, value):
    def change(path):
        zarr.open_group(store=str(path), mode="r+")[name][...] = value

    return change


def attribute(name, value):
    def change(path):
        zarr.open_group(store=str(path), mode="r+").attrs[name] = value

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (overwrite("valence", 1.5), r"valence: expected numbers in \[-1, 1\]"),
        (overwrite("arousal", np.nan), "arousal: expected numbers"),
        (overwrite("neutral", 700), "neutral: expected 700 rows"),
        (overwrite("neutral", 0), "the neutral face of row .* is another subject's"),
        (overwrite("subject", 5), "subject: expected numbers below 5"),
        (attribute("sequences", ["twice"] * 13), "sequences: two have the same name"),
        (attribute("format", "affect3d gallery 9"), "its format is 'affect3d gallery 9'"),
        (lambda p: shutil.rmtree(p / "frame"), "KeyError"),
        (lambda p: shutil.rmtree(p / "vertices" / "c"), "0 of its 1 chunks are there"),
    ],
)  # fmt: skip
def test_a_damaged_gallery_is_refused_with_the_reason(folder, tmp_path, change, message):
    with pytest.raises(ValueError, match=f"copy is not a readable gallery.*{message}|{message}"):
        open_gallery(spoilt(folder, tmp_path, "vertices", change))


def test_what_is_no_gallery_is_not_opened(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no gallery at"):
        open_gallery(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="not a readable gallery"):
        open_gallery(tmp_path / "empty")
    assert stored_content(tmp_path / "empty") is None


# --- generating


def test_sequences_differ_in_length_and_add_up_to_what_was_asked_for():
    plan = plan_sequences(GenerationOptions())
    assert len(plan.length) == 1580 and plan.length.sum() == 600_000 and plan.first[-1] == 600_000
    assert plan.length.min() >= 8 and 120 < plan.length.std() < 200 and len(np.unique(plan.subject)) == 180
    assert (np.diff(plan.subject) >= 0).all() and np.bincount(plan.subject).min() == 8
    even = plan_sequences(GenerationOptions(subjects=2, sequences=3, frames=100, even=True))
    assert sorted(even.length.tolist()) == [33, 33, 34]


def test_each_sequence_starts_at_its_neutral_face_and_goes_somewhere(store):
    assert (store.frame[np.unique(store.neutral)] == 0).all() and (store.distance[np.unique(store.neutral)] == 0).all()
    reach = [store.distance[rows].max() for _, rows in store.sequence_rows()]
    assert min(reach) > 0.3 and np.abs(store.valence).max() > 0.3


@pytest.mark.parametrize("meshes", [False, True])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(folder, tmp_path, monkeypatch, meshes):
    monkeypatch.setattr("affect3d.affect.store_writer._CHUNK", {"coefficients": 52 * 90, "vertices": 23 * 90})
    for name in "ab":
        assert generate_store(tmp_path / name, OPTIONS, tiny_head(), meshes)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert not generate_store(tmp_path / "a", OPTIONS, tiny_head(), meshes)
    other = GenerationOptions(subjects=5, sequences=13, frames=700, seed=4)
    with pytest.raises(FileExistsError, match="holds another gallery"):
        generate_store(tmp_path / "a", other, tiny_head(), meshes)
    assert generate_store(tmp_path / "a", other, tiny_head(), meshes, overwrite=True)
    assert open_gallery(tmp_path / "a").content != open_gallery(tmp_path / "b").content
    # and how the rows are cut into chunks changes nothing of what is read
    one, two = open_gallery(tmp_path / "b"), open_gallery(folder / ("vertices" if meshes else "coefficients"))
    assert one.values.chunks != two.values.chunks
    np.testing.assert_allclose(one.values[...], two.values[...], atol=2e-5)
    assert np.array_equal(one.valence, two.valence) and sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


class Tired(Exception):
    pass


@pytest.mark.parametrize("blocks", [0, 1, 4, 7])
def test_what_was_cut_short_continues_to_the_same_bytes(tmp_path, monkeypatch, blocks):
    monkeypatch.setattr("affect3d.affect.store_writer._CHUNK", {"coefficients": 52 * 90, "vertices": 23 * 90})
    generate_store(tmp_path / "whole", OPTIONS, tiny_head(), meshes=True)
    from affect3d.affect import generation

    calls = []
    real = generation._Maker.__call__

    def counted(self, first, last):
        calls.append(first)
        if len(calls) > blocks:
            raise Tired
        return real(self, first, last)

    monkeypatch.setattr(generation._Maker, "__call__", counted)
    with pytest.raises(Tired):
        generate_store(tmp_path / "cut", OPTIONS, tiny_head(), meshes=True)
    assert not (tmp_path / "cut").exists() and (tmp_path / ".cut.growing").exists()
    done = len(calls) - 1
    monkeypatch.setattr(generation._Maker, "__call__", lambda s, a, b: calls.append(a) or real(s, a, b))
    calls.clear()
    generate_store(tmp_path / "cut", OPTIONS, tiny_head(), meshes=True)
    assert len(calls) == 8 - done
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut", "whole"]


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[2])
from test_gallery_store import OPTIONS, tiny_head
from affect3d.affect import generation, store_writer
store_writer._CHUNK = {"coefficients": 52 * 20, "vertices": 23 * 20}
real = generation._Maker.__call__
def slow(self, first, last):
    time.sleep(0.05)
    return real(self, first, last)
generation._Maker.__call__ = slow
generation.generate_store(sys.argv[1], OPTIONS, tiny_head(), meshes=True)
"""


def test_packed_frames_that_are_lost_or_damaged_are_told_in_a_sentence(tmp_path):
    generate_store(tmp_path / "g", OPTIONS, tiny_head())
    chunk = tmp_path / "g" / "expression" / "c" / "0" / "0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:100])
    with pytest.raises(ValueError, match="expression: its frames cannot be read"):
        class_moments(open_gallery(tmp_path / "g"))
    chunk.unlink()  # zarr would read zeros, and the folder above is still there
    with pytest.raises(ValueError, match="0 of its 1 chunks are there"):
        open_gallery(tmp_path / "g")


def test_a_run_that_is_killed_leaves_no_gallery_and_the_next_one_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr("affect3d.affect.store_writer._CHUNK", {"coefficients": 52 * 20, "vertices": 23 * 20})
    path, parts = tmp_path / "g", tmp_path / ".g.growing" / "parts"
    for wanted in (3, 9):
        run = subprocess.Popen([sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent)])
        until = time.monotonic() + 60
        while not (parts.is_dir() and len(list(parts.glob("[0-9]*"))) >= wanted):
            assert run.poll() is None and time.monotonic() < until, "the run ended before it could be killed"
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        assert not path.exists()
        with pytest.raises(FileNotFoundError):
            open_gallery(path)
        # what grows under the hidden name is no gallery either
        with pytest.raises(ValueError, match="not a readable gallery"):
            open_gallery(tmp_path / ".g.growing" / "store")
    generate_store(path, OPTIONS, tiny_head(), meshes=True)
    generate_store(tmp_path / "whole", OPTIONS, tiny_head(), meshes=True)
    assert content(path) == content(tmp_path / "whole")


def test_what_grew_for_another_gallery_is_not_continued(tmp_path):
    growing = tmp_path / ".g.growing"
    (growing / "parts").mkdir(parents=True)
    (growing / "plan.json").write_text(json.dumps({"content": "another"}))
    (growing / "parts" / "000000000000.npy").write_bytes(b"rubbish")
    generate_store(tmp_path / "g", OPTIONS, tiny_head())
    assert len(open_gallery(tmp_path / "g")) == 700


def test_what_is_left_of_a_run_that_was_killed_at_its_very_end_does_no_harm(tmp_path):
    generate_store(tmp_path / "g", OPTIONS, tiny_head())
    whole = content(tmp_path / "g")
    growing = tmp_path / ".g.growing"
    (growing / "parts").mkdir(parents=True)
    plan = {"content": open_gallery(tmp_path / "g").content, "step": 700, "rows": 700}
    (growing / "plan.json").write_text(json.dumps(plan))
    shutil.move(tmp_path / "g", tmp_path / "kept")  # as if the user had taken it away
    assert generate_store(tmp_path / "g", OPTIONS, tiny_head()) and content(tmp_path / "g") == whole
    (growing / "parts").mkdir(parents=True)
    assert not generate_store(tmp_path / "g", OPTIONS, tiny_head()) and not growing.exists()


def test_a_folder_that_is_no_gallery_is_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all my work")
    with pytest.raises(FileExistsError, match="is no gallery"):
        generate_store(tmp_path / "mine", OPTIONS, tiny_head(), overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "all my work"
    with pytest.raises(FileNotFoundError, match="does not exist"):
        generate_store(tmp_path / "none" / "g", OPTIONS, tiny_head())


@pytest.mark.parametrize(
    "wrong",
    [{"subjects": 0}, {"sequences": 100}, {"frames": 12_639}, {"frame_rate": 0}, {"test_share": 1}, {"style": -1},
     {"seed": -1}, {"frames": 2**31}],
)  # fmt: skip
def test_options_off_their_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
        GenerationOptions(**wrong)


def test_a_head_without_some_expressions_says_so_and_one_without_any_is_refused(tmp_path):
    head = gallery_head(tiny_head(("jawOpen", "mouthSmileLeft", "odd")))
    assert len(head.missing) == 50 and head.basis.shape == (52, 23, 3)
    assert (np.abs(head.basis).max((1, 2)) > 0).sum() == 2
    generate_store(tmp_path / "g", OPTIONS, tiny_head(("jawOpen", "mouthSmileLeft", "odd")))
    assert "This head lacks" in open_gallery(tmp_path / "g").notes
    with pytest.raises(ValueError, match="tiny has none of the gallery's expressions"):
        gallery_head(tiny_head(("odd", "odder")))


# --- statistics of the classes


@pytest.mark.parametrize("offsets", [True, False])
def test_one_pass_gives_the_mean_and_spread_of_each_class(store, monkeypatch, offsets):
    monkeypatch.setattr("affect3d.affect.store_frames.block_rows", lambda array: 50)
    found = class_moments(store, offsets=offsets)
    values = np.asarray(store.values[...], float)
    if offsets:
        values = values - values[store.neutral]
    index = VASpace().class_of(store.valence, store.arousal)
    for k in range(100):
        mine = values[index == k]
        assert found.count[k] == len(mine)
        if len(mine):
            np.testing.assert_allclose(found.mean[k], mine.mean(0), atol=1e-5)
            np.testing.assert_allclose(found.spread[k], mine.std(0), atol=1e-5)
            labels = [np.median(store.valence[index == k]), np.median(store.arousal[index == k])]
            np.testing.assert_allclose(found.valence_arousal[k], labels)
        else:
            assert (found.mean[k] == 0).all() and (found.spread[k] == 0).all()


def test_statistics_do_not_depend_on_who_does_which_part_when(store, monkeypatch):
    monkeypatch.setattr("affect3d.affect.class_moments._JOB_BYTES", 4 * 23 * 3 * 40)
    monkeypatch.setattr("affect3d.affect.class_moments.block_rows", lambda array: 40)
    rows = np.random.default_rng(0).permutation(700)[:500]
    jobs_done = []

    def elsewhere(work, jobs):
        for job in jobs[::-1]:
            jobs_done.append(len(job.rows))
            yield job, pickle.loads(pickle.dumps(work(pickle.loads(pickle.dumps(job)))))

    here, there = class_moments(store, rows=rows), class_moments(store, rows=rows, run=elsewhere)
    assert len(jobs_done) > 3 and sum(jobs_done) == 500
    for name in ("count", "mean", "deviations", "valence_arousal"):
        assert getattr(here, name).tobytes() == getattr(there, name).tobytes(), name
    with pytest.raises(RuntimeError, match="rows .*: the machine burned"):
        class_moments(store, run=lambda work, jobs: [(jobs[0], "the machine burned")])
    with pytest.raises(ValueError, match="not the one that the statistics began with"):
        moments_of_job(MomentsJob(str(store.path), "another", np.arange(3), VASpace(), True))


def test_statistics_of_a_store_are_those_of_the_gallery_in_memory(folder):
    one = class_statistics(open_gallery(folder / "coefficients"))
    two = class_statistics(Gallery.load(folder / "coefficients"))
    for name in ("count", "mean", "spread", "valence_arousal"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), atol=1e-6)
    assert one.convention == two.convention
    with pytest.raises(ValueError, match="holds vertices, expected expression coefficients"):
        class_statistics(open_gallery(folder / "vertices"))


def test_spread_keeps_its_digits_far_from_the_origin(tmp_path):
    from affect3d.affect.class_moments import merge_moments, moments_of_block

    rng = np.random.default_rng(0)
    x = (1000 + 1e-2 * rng.normal(size=(4000, 3))).astype(np.float32)
    index = rng.integers(0, 2, 4000)
    count, mean, deviations = np.zeros(2, int), np.zeros((2, 3)), np.zeros((2, 3))
    for i in range(0, 4000, 333):
        merge_moments(count, mean, deviations, *moments_of_block(x[i : i + 333], index[i : i + 333]))
    for k in range(2):
        mine = x[index == k].astype(float)
        np.testing.assert_allclose(deviations[k] / count[k], mine.var(0), rtol=1e-8)
        np.testing.assert_allclose(mean[k], mine.mean(0), rtol=1e-13)
