"""A folder belongs to one run at a time."""

import os
import subprocess
import sys

import pytest
from affect3d.io.folder_lock import empty_folder, one_run_in

pytest.importorskip("fcntl", reason="there are no file locks here")

HOLD = "import sys, time; from affect3d.io.folder_lock import one_run_in\n" + (
    "with one_run_in(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)"
)


def test_a_second_run_is_refused_until_the_first_is_killed(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match="another run is at work"):
        with one_run_in(tmp_path):
            pass
    child.kill()
    child.wait()
    child.stdout.close()
    with one_run_in(tmp_path):
        pass


def test_a_folder_that_was_taken_away_in_this_moment_is_not_held(tmp_path, monkeypatch):
    import fcntl

    real = fcntl.flock

    def late(file, how):
        real(file, how)
        os.unlink(tmp_path / ".lock")  # the other run ends between opening and locking

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ValueError, match="another run is at work"):
        with one_run_in(tmp_path):
            pass


def test_a_folder_is_emptied_of_all_but_its_lock(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c").write_text("c")
    outside = tmp_path.with_name(tmp_path.name + "-outside")
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (tmp_path / "link").symlink_to(outside)
    with one_run_in(tmp_path):
        empty_folder(tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == [".lock"]
    assert (outside / "kept").exists()


@pytest.mark.parametrize("kind", ["coefficients", "vertices"])
def test_two_runs_never_write_one_gallery(tmp_path, kind):
    import numpy as np
    from affect3d.affect.store_writer import StoreBlock, StorePlan, write_store

    pytest.importorskip("zarr", reason="zarr keeps galleries")
    zeros, shape = np.zeros(4, int), (1,) if kind == "coefficients" else (3, 3)
    plan = StorePlan(
        kind, shape, "abc", zeros, zeros, np.arange(4), zeros, ("s",), ("q",), np.array([[0, 1, 2]]), np.zeros((3, 3)),
        np.zeros((1, 3, 3)), names=tuple("abcd"), attributes={"expression_names": ["e"]},
    )

    def block(first, last):
        if not inner:
            inner.append(True)
            with pytest.raises(ValueError, match="another run is at work"):
                write_store(tmp_path / "g", plan, block)
        labels = np.zeros(last - first)
        return StoreBlock(np.zeros((last - first, *shape)), labels, labels, labels)

    inner = []
    assert write_store(tmp_path / "g", plan, block) and inner
    assert (tmp_path / "g").is_dir() and not (tmp_path / ".g.growing").exists()
