"""Named arrays with a header: what both kinds of file that are made of them share."""

import json

import numpy as np
import pytest

from affect3d.io.tensor_file import open_tensors, save_tensors


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.safetensors"
    arrays = {"mean": np.arange(6.0).reshape(2, 3), "half": np.float16([1, 2.5]), "faces": np.int32([[0, 1, 2]]).T,
              "one": np.float32(3), "none": None}  # fmt: skip
    save_tensors(path, "key", {"version": 2, "b": [1, "ü"], "a": None}, arrays)
    return path


def opened(path, read=lambda file: file, key="key", version=2):
    with open_tensors(path, key, version, "a thing of ours") as file:
        return read(file)


def test_what_was_saved_comes_back_read_only(path):
    def read(file):
        assert file.header == {"version": 2, "b": [1, "ü"], "a": None}
        assert file.names == {"mean", "half", "faces", "one"}
        return [file.array("mean", np.float64, 2), file.array("half", np.float32, 1), file.array("faces", np.int32, 2)]

    mean, half, faces = opened(path, read)
    np.testing.assert_array_equal(mean, np.arange(6.0).reshape(2, 3))
    assert half.dtype == np.float32 and half.tolist() == [1, 2.5] and faces.tolist() == [[0], [1], [2]]
    for array in (mean, half, faces):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_the_same_content_gives_the_same_bytes_and_a_number_that_is_not_finite_leaves_the_old_file(path):
    before = path.read_bytes()
    with pytest.raises(ValueError):
        save_tensors(path, "key", {"version": 1, "x": float("nan")}, {})
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == [path.name]
    save_tensors(path, "key", {"b": 1, "version": 1}, {"b": np.zeros(2), "a": np.ones(1)})
    one = path.read_bytes()
    save_tensors(path, "key", {"version": 1, "b": 1}, {"a": np.ones(1), "b": np.zeros(2)})
    assert path.read_bytes() == one


@pytest.mark.parametrize(
    "read, said",
    [
        (lambda file: file.array("colours", np.uint8, 2), "no array 'colours'"),
        (lambda file: file.array("mean", np.float32, 2), "mean: expected float32 with 2 axes, got F64"),
        (lambda file: file.array("mean", np.float64, 1), "mean: expected float64 with 1 axes"),
        (lambda file: file.array("half", np.float64, 1), "half: expected float64"),
        (lambda file: file.header["unit"], "KeyError: 'unit'"), (lambda file: file.header["b"] + 1, "TypeError"),
        (lambda file: int("many\nlines"), "invalid literal"),
    ],
)  # fmt: skip
def test_faults_found_while_reading_become_one_sentence_that_names_the_file(path, read, said):
    with pytest.raises(ValueError, match=f"a.safetensors: not a thing of ours \\(.*{said}") as caught:
        opened(path, read)
    assert "\n" not in str(caught.value)


def test_errors_that_are_not_the_files_are_left_alone(path):
    def fail(file):
        raise OSError("disk full")

    with pytest.raises(OSError, match="^disk full$"):
        opened(path, fail)
    with pytest.raises(FileNotFoundError):
        opened(path.with_name("none"))
    with pytest.raises(IsADirectoryError):
        opened(path.parent)


@pytest.mark.parametrize(
    "header, said",
    [
        ([1], "no JSON object"), ({}, "with a version"), ({"version": True}, "with a version"),
        ({"version": 0}, "with a version"), ({"version": "2"}, "with a version"),
        ({"version": 3}, "version 3 is newer than 2, update affect3d"), ({"version": 1, "x": "x" * 2**20}, "longer"),
    ],
)  # fmt: skip
def test_headers_that_are_not_ours_are_refused(path, header, said):
    save_tensors(path, "key", header, {"a": np.zeros(1)})
    with pytest.raises(ValueError, match=said):
        opened(path)


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}"])
def test_files_of_another_kind_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a thing of ours"):
        opened(path)


def test_another_purpose_and_a_file_that_was_cut_are_refused(path):
    with pytest.raises(ValueError, match="the header has no 'other'"):
        opened(path, key="other")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="not a thing of ours"):
        opened(path)
    text = json.dumps({"__metadata__": {"key": "[" * 50_000}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(ValueError, match="not a thing of ours"):
        opened(path)
