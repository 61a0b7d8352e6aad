"""Sequences in processes and on a cluster, killed and resumed: the end has the bytes of an undisturbed run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest


HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # processes that are started must be able to import the helper as well
import sequence_problem  # noqa: E402
from batch_problem import content  # noqa: E402
from sequence_problem import run  # noqa: E402


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two sequences of six frames, whose first has landmarks, and the truth by name."""
    folder = tmp_path_factory.mktemp("recordings")
    return folder, sequence_problem.record(folder, ("anna/smile", "ben/fear"), 6)


@pytest.fixture(scope="module")
def reference(scans, tmp_path_factory):
    """The run that nothing disturbs, in two processes."""
    out = tmp_path_factory.mktemp("reference") / "out"
    return run(scans[0], out, jobs=2), out


def test_the_number_of_processes_leaves_no_trace(scans, reference, tmp_path):
    run(scans[0], tmp_path / "out", jobs=1)
    assert content(tmp_path / "out") == content(reference[1])


_RUN = """
import sys
sys.path.insert(0, {here!r})
import sequence_problem
if __name__ == "__main__":
    sequence_problem.run({folder!r}, {out!r}, jobs=2)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is known on POSIX systems only")
@pytest.mark.parametrize("frames_before_death", [1, 5])
def test_a_run_that_is_killed_goes_on_where_it_was_and_ends_with_the_same_bytes(
    scans, reference, tmp_path, frames_before_death
):
    folder, out = scans[0], tmp_path / "out"
    script = tmp_path / "run.py"
    script.write_text(_RUN.format(here=str(HERE), folder=str(folder), out=str(out)))
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        done = len([p for p in (out / "records").rglob("*.json") if not p.name.startswith(".")])
        if done >= frames_before_death:
            break
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)  # all of it at once, as when the power goes
    process.wait()
    states = [float(np.load(p)["done"]) for p in out.rglob("tracking.npz")]
    result = run(folder, out, jobs=2)
    assert result.reused == sum(states)  # none but the frame under way is done twice
    assert content(out) == content(reference[1])


def test_a_dask_cluster_gives_the_same_bytes(scans, reference, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed (affect3d[dask])")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
    ) as cluster:
        run(scans[0], tmp_path / "out", scheduler=cluster.scheduler_address)
    assert content(tmp_path / "out") == content(reference[1])
