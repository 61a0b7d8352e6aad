"""The folder of a run: held alone, swept, and never mixed with what was made in another way."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from affect3d.io.atomic import atomic_path, remove_unfinished
from affect3d.io.digests import digest, file_digest
from affect3d.io.json_file import json_ready, read_json, write_json
from affect3d.io.run_folder import RunFolder, difference, end_step, make_folder, one_run, read_step


@dataclass(frozen=True)
class Options:
    seeds: int = 3
    people: tuple = (2, 4)
    rate: float = 0.1


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*"))


# --- one run, one folder, one plan


def test_the_same_plan_goes_on_and_finds_what_was_there(tmp_path):
    run = RunFolder(tmp_path / "new" / "out", "study", {"options": Options(), "data": "ab"})
    with one_run(run) as folder:
        assert folder == tmp_path / "new" / "out"
        (folder / "result").write_text("42")
    written = (folder / "plan.json").read_bytes()
    assert json.loads(written) == {"run": "study", "options": {"seeds": 3, "people": [2, 4], "rate": 0.1}, "data": "ab"}
    with one_run(RunFolder(str(folder), "study", {"data": "ab", "options": Options()})):
        assert (folder / "result").read_text() == "42"
    assert (folder / "plan.json").read_bytes() == written


@pytest.mark.parametrize(
    "plan, said",
    [
        ({"options": Options(seeds=4), "data": "ab"}, r"options\.seeds was 3, now 4"),
        ({"options": Options(people=(2, 5)), "data": "ab"}, r"options\.people was \[2, 4\], now \[2, 5\]"),
        ({"options": Options(), "data": "cd"}, "data was 'ab', now 'cd'"),
        ({"options": Options(), "data": "ab", "added": {"x": 1}}, r"added was not given, now \{'x': 1\}"),
        ({"options": Options()}, "data was 'ab', now not given"),
        ({"options": None, "data": "ab"}, r"options was \{'seeds': 3, .*, now None"),
        ({"options": Options(), "data": "x" * 500}, r"data was 'ab', now 'x{50,60}\.\.\."),
    ],
)  # fmt: skip
def test_another_plan_is_refused_by_the_name_of_the_first_difference(tmp_path, plan, said):
    with one_run(RunFolder(tmp_path, "study", {"options": Options(), "data": "ab"})):
        pass
    before = (tmp_path / "plan.json").read_bytes()
    wanted = f"{tmp_path}: was made with other options or data: {said}.*; name another folder"
    with pytest.raises(ValueError, match=wanted):
        with one_run(RunFolder(tmp_path, "study", plan)):
            raise AssertionError("the block of a run that is refused is not entered")
    assert (tmp_path / "plan.json").read_bytes() == before


def test_a_run_of_another_kind_is_refused_and_nothing_of_it_is_touched(tmp_path):
    with one_run(RunFolder(tmp_path, "register", parts=("meshes",))):
        (tmp_path / "meshes").mkdir()
    unfinished = tmp_path / "meshes" / ".a.0123456789ab.part.ply"
    unfinished.write_text("half")
    for anew_kind in ("analyze", "study"):
        with pytest.raises(ValueError, match=f"holds a run of affect3d register, not of affect3d {anew_kind}; name an"):
            with one_run(RunFolder(tmp_path, anew_kind, parts=("meshes",))):
                pass
    assert unfinished.exists()


@pytest.mark.parametrize("text", ['{"todo": "thesis"}', "[1, 2]", '{"options": ', '{"run": "study", "x": NaN}', ""])
def test_a_plan_that_is_not_ours_is_no_run_and_stays(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ValueError, match="plan.json in it is not that of a run of affect3d study; name another folder"):
        with one_run(RunFolder(tmp_path, "study", {"options": 1})):
            pass
    assert (tmp_path / "plan.json").read_text() == text


def test_a_plan_of_the_version_that_did_not_name_the_kind_is_understood(tmp_path):
    (tmp_path / "plan.json").write_text('{"data": "ab", "options": {"seeds": 3}}')
    with one_run(RunFolder(tmp_path, "study", {"options": {"seeds": 3}, "data": "ab"})):
        pass
    with pytest.raises(ValueError, match=r"options\.seeds was 3, now 4"):
        with one_run(RunFolder(tmp_path, "study", {"options": {"seeds": 4}, "data": "ab"})):
            pass


def test_work_of_another_plan_is_thrown_away_where_that_is_asked_for(tmp_path):
    for number, kept in ((1, False), (1, True), (2, False)):
        with one_run(RunFolder(tmp_path, "gallery", {"content": number}), anew=True):
            assert (tmp_path / "work").exists() == kept
            (tmp_path / "work").mkdir(exist_ok=True)
    (tmp_path / "plan.json").write_text("{")  # as a disk that was full leaves it
    with one_run(RunFolder(tmp_path, "gallery", {"content": 2}), anew=True):
        assert names(tmp_path) == [".lock", "plan.json"]
    (tmp_path / "plan.json").unlink()
    (tmp_path / "work").mkdir()
    with one_run(RunFolder(tmp_path, "gallery", {"content": 2}), anew=True):
        assert not (tmp_path / "work").exists()


def test_what_lies_in_a_folder_without_a_plan_stays(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with one_run(RunFolder(tmp_path, "study", {"options": 1})):
        pass
    assert (tmp_path / "mine").read_text() == "mine"


def test_half_written_files_are_swept_before_and_after_but_only_where_the_run_works(tmp_path):
    run = RunFolder(tmp_path, "register", parts=("records", "none"))
    places = [tmp_path, tmp_path / "records" / "deep", tmp_path / "other"]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)

    def leave():
        for place in places:
            (place / ".a b.0123456789ab.part.json").write_text("half")

    leave()
    with pytest.raises(KeyboardInterrupt):
        with one_run(run):
            assert not [p for p in names(tmp_path) if ".part" in p and "other" not in p]
            leave()
            raise KeyboardInterrupt
    assert [p for p in names(tmp_path) if ".part" in p] == ["other/.a b.0123456789ab.part.json"]


def test_two_runs_in_one_folder_are_refused(tmp_path):
    pytest.importorskip("fcntl", reason="there are no file locks here")
    run = RunFolder(tmp_path, "study")
    with one_run(run):
        with pytest.raises(ValueError, match="another run is at work"):
            with one_run(run):
                pass
    with one_run(run):
        pass


def test_a_folder_can_be_taken_away_within_the_block(tmp_path):
    import shutil

    run = RunFolder(tmp_path / "growing", "gallery", parts=("parts",))
    with one_run(run) as folder:
        shutil.rmtree(folder)
    assert not folder.exists()


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "out").write_text("")
    for ask in (make_folder, lambda path: one_run(RunFolder(path, "study")).__enter__()):
        with pytest.raises(NotADirectoryError, match="out: is a file, expected a folder"):
            ask(tmp_path / "out")
    assert make_folder(str(tmp_path / "a" / "b")).is_dir()


def test_plans_that_cannot_be_kept_are_refused():
    with pytest.raises(ValueError, match="plan: expected another name than 'run'"):
        RunFolder("x", "study", {"run": 1})
    with pytest.raises(TypeError, match="expected what JSON can hold, got set"):
        RunFolder("x", "study", {"names": {1, 2}})
    with pytest.raises(ValueError):
        RunFolder("x", "study", {"rate": float("nan")})


KILLED = """
import sys, time
from affect3d.io.atomic import atomic_path
from affect3d.io.run_folder import RunFolder, end_step, one_run
with one_run(RunFolder(sys.argv[1], "study", {"seed": 1}, ("steps",))) as folder:
    (folder / "steps").mkdir()
    end_step(folder / "steps" / "0.json", "abc", {"n": 1})
    with atomic_path(folder / "steps" / "1.json") as part:
        part.write_text("half")
        print("half", flush=True)
        time.sleep(60)
"""


def test_a_killed_run_lets_go_leaves_its_steps_and_its_rubbish_is_swept(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "half\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert [n for n in names(tmp_path / "steps") if ".part" in n]
    with one_run(RunFolder(tmp_path, "study", {"seed": 1}, ("steps",))) as folder:
        assert names(folder / "steps") == ["0.json"]
        assert read_step(folder / "steps" / "0.json", "abc")["n"] == 1


# --- differences, steps, JSON, digests


def test_plans_differ_exactly_where_a_slow_comparison_says_so():
    rng = np.random.default_rng(0)

    def some(depth=0):
        if depth == 2 or rng.random() < 0.4:
            return [None, 1, 2.5, "a", [1, 2], False][rng.integers(6)]
        return {"abc"[k]: some(depth + 1) for k in range(rng.integers(0, 4))}

    found = {True: 0, False: 0}
    for _ in range(500):
        a, b = ({"p": some()} for _ in range(2))
        same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
        assert (difference(a, b) == "") == same and difference(a, a) == ""
        found[same] += 1
    assert min(found.values()) > 5


def test_a_step_is_done_for_its_digest_only(tmp_path):
    path = tmp_path / "7.json"
    assert read_step(path, "abc") is None
    end_step(path, "abc", {"digest": "old", "energy": 0.1})
    assert read_step(path, "abc") == {"digest": "abc", "energy": 0.1} and read_step(path, "abd") is None
    end_step(path, "abd")
    assert read_step(path, "abd") == {"digest": "abd"}
    path.write_text(path.read_text()[:-4])
    assert read_step(path, "abd") is None


def test_json_comes_back_as_it_went_and_the_same_content_has_the_same_bytes(tmp_path):
    content = {"z": [1, 2.5, None], "a": {"ü\udcff": "\u2028"}, "t": True}
    write_json(tmp_path / "a.json", content)
    write_json(tmp_path / "b.json", dict(content))
    assert read_json(tmp_path / "a.json") == content and list(read_json(tmp_path / "a.json")) == ["z", "a", "t"]
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("inf")})
    assert read_json(tmp_path / "a.json") == content and names(tmp_path) == ["a.json", "b.json"]


@pytest.mark.parametrize("text", [b"", b"[1]", b"3", b'{"a": 1', b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_files_that_hold_no_object_are_as_none(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text)
    assert read_json(tmp_path / "a.json") is None and read_json(tmp_path / "none.json") is None
    (tmp_path / "b.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "b.json", 8) == {"a": 1} and read_json(tmp_path / "b.json", 7) is None


def test_values_become_what_json_gives_back():
    given = {"o": Options(), "n": (np.int64(3), np.float32(0.5), np.True_), "p": Path("a") / "b"}
    ready = json_ready(given)
    assert ready == {"o": {"seeds": 3, "people": [2, 4], "rate": 0.1}, "n": [3, 0.5, True], "p": os.path.join("a", "b")}
    assert json_ready(ready) == ready and type(ready["n"][0]) is int


def test_unfinished_files_are_those_of_atomic_path_and_no_others(tmp_path):
    kept = [".hidden", "a.part", ".a.part", ".a.0123.part.json", ".a.0123456789ab.par", "b.0123456789ab.part.json"]
    for name in kept:
        (tmp_path / name).write_text("")
    (tmp_path / "deep").mkdir()
    for path in (tmp_path / "deep" / "a.json", tmp_path / "no suffix", tmp_path / ".b.tar.gz"):
        with atomic_path(path) as temporary:
            os.link(temporary, tmp_path / "copy")
        os.replace(tmp_path / "copy", temporary)  # as a kill leaves it
        path.unlink()
    remove_unfinished(tmp_path, below=False)
    assert len(names(tmp_path / "deep")) == 1
    remove_unfinished(tmp_path)
    assert names(tmp_path) == sorted([*kept, "deep"])
    remove_unfinished(tmp_path / "none")


def test_digests_tell_arrays_from_each_other_by_shape_type_and_content(tmp_path):
    a = np.arange(6, dtype=np.int32)
    parts = [(a,), (a.reshape(2, 3),), (a.astype(np.int64),), (a[::-1],), (a, a), ("a",), ("a", "b"), (["a", "b"],)]
    assert len({digest(*part) for part in parts}) == len(parts)
    assert digest(a.reshape(2, 3).T) == digest(np.ascontiguousarray(a.reshape(2, 3).T))
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    with pytest.raises(TypeError):
        digest(object())
    (tmp_path / "f").write_bytes(b"abc")
    assert file_digest(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
