"""A batch of registrations that is killed, starved and fed rubbish ends with the same bytes and names what is bad."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from affect3d.io.mesh_file import read_mesh, write_mesh
from affect3d.io.run_folder import RunFolder, one_run
from affect3d.mesh import Mesh
from affect3d.registration.batch import BatchOptions, find_landmark_files, left_over, register_batch
from affect3d.registration.distortion import distorted_share
from affect3d.registration.frame_work import loaded
from affect3d.registration.frames import Frame, find_frames, natural_key
from affect3d.registration.methods import method_named
from affect3d.registration.records import FrameRecord, digest, read_record, write_record
from affect3d.registration.template import Template, matching_landmarks, model_template
from affect3d.registration.verdict import Limits, frame_verdict, sequence_outliers
from affect3d.registration.workers import Death, run_dask, run_processes

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # processes that are started must be able to import the helper as well
import batch_problem  # noqa: E402
from batch_problem import content, run, times  # noqa: E402


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two sequences of three scans, and the truth of each frame by its name."""
    folder = tmp_path_factory.mktemp("scans")
    truth = {}
    for seed in range(6):
        name = f"anna/{'smile' if seed < 3 else 'fear'}/f{seed % 3 + 8}"  # 8, 9 and 10
        truth[name] = batch_problem.write_scan(folder / f"{name}.ply", seed)
    return folder, truth


@pytest.fixture(scope="module")
def reference(scans, tmp_path_factory):
    """The run that nothing disturbs, in two processes."""
    folder, _ = scans
    out = tmp_path_factory.mktemp("reference") / "out"
    return run(folder, out, jobs=2), out


def record(**changed):
    good = FrameRecord(
        "a", "a.ply", residuals={"mean": 0.3, "median": 0.2, "p95": 0.9, "max": 2.0}, landmark_error=1.5,
        landmark_count=20, matched=0.9, converged=True, own_verdict="kept", verdict="kept", reason="it did",
    )  # fmt: skip
    return replace(good, **changed)


# -- a run --------------------------------------------------------------------------------------------


def test_every_frame_is_registered_to_its_true_vertices(scans, reference):
    _, truth = scans
    result, out = reference
    assert [r.verdict for r in result.records] == ["kept"] * 6
    for r in result.records:
        mesh = read_mesh(out / "meshes" / f"{r.name}.ply")
        assert np.array_equal(mesh.faces, batch_problem.small_template().mesh.faces)
        error = np.linalg.norm(mesh.vertices - truth[r.name], axis=1)
        assert np.median(error) < 1.0 and error.mean() < 2.5
        assert r.residuals["median"] < 0.5 and r.landmark_count == 40 and r.unit_source == "stated by the file"


def test_frames_come_in_natural_order_and_keep_their_folders(reference):
    result, out = reference
    expected = [f"anna/{s}/f{k}" for s in ("fear", "smile") for k in (8, 9, 10)]
    assert [r.name for r in result.records] == expected
    assert all((out / "records" / f"{name}.json").is_file() for name in expected)


def test_a_second_run_does_nothing_and_changes_nothing(scans, reference):
    (folder, _), (_, out) = scans, reference
    before, worked = content(out), times(out)
    result = run(folder, out, jobs=2)
    assert result.reused == 6 and times(out) == worked and content(out) == before


def test_the_number_of_processes_leaves_no_trace(scans, reference, tmp_path):
    folder, _ = scans
    run(folder, tmp_path / "out", jobs=1)
    assert content(tmp_path / "out") == content(reference[1])
    # a single frame runs in this very process
    frames = find_frames([folder])[:1]
    quick = BatchOptions(method_options=batch_problem.QUICK)
    register_batch(frames, batch_problem.small_template(), tmp_path / "one", find_landmark_files(frames), quick)
    alone = content(tmp_path / "one")
    assert len([n for n in alone if n.startswith("meshes/")]) == 1
    assert all(content(reference[1])[name] == data for name, data in alone.items())


def test_only_what_changed_is_done_again(tmp_path):
    for seed in range(3):
        batch_problem.write_scan(tmp_path / "in" / f"{seed}.ply", seed)
    out = tmp_path / "out"
    run(tmp_path / "in", out, jobs=2)
    before = content(out)
    batch_problem.write_scan(tmp_path / "in" / "1.ply", 9)  # another scan
    (out / "meshes" / "2.ply").write_bytes(b"damaged")
    result = run(tmp_path / "in", out, jobs=2)
    assert result.reused == 1 and sorted(times(out)[3:]) == ["1", "2"]
    after = content(out)
    assert {name for name in after if after[name] != before[name]} == {"meshes/1.ply", "records/1.json"}


def test_landmarks_options_and_template_count_as_input(tmp_path):
    path = tmp_path / "in" / "0.ply"
    batch_problem.write_scan(path, 0)
    frames, template = find_frames([path]), batch_problem.small_template()

    def again(template=template, options=BatchOptions()):
        return register_batch(frames, template, tmp_path / "out", find_landmark_files(frames), options).reused

    assert (again(), again()) == (0, 1)
    beside = path.with_suffix(".landmarks.json")
    beside.write_text(beside.read_text() + "\n")
    assert (again(), again()) == (0, 1)
    other = BatchOptions(method_options=replace(method_named("nicp").options(), scale=False))
    assert (again(options=other), again(options=other)) == (0, 1)
    moved = Template(template.mesh.with_vertices(template.mesh.vertices + 0.001), "ibug68", template.landmarks)
    assert (again(template=moved), again(template=moved)) == (0, 1)
    assert again(template=moved, options=replace(other, method="nonrigid")) == 0


def test_bad_frames_are_pruned_and_named_and_harm_no_others(tmp_path):
    folder = tmp_path / "in"
    batch_problem.write_scan(folder / "good.ply", 0)
    for name in ("nan", "empty", "points", "rubbish", "nomarks", "fewmarks", "metres", "elsewhere"):
        batch_problem.write_scan(folder / f"{name}.ply", 0, landmarks=name != "nomarks")
    (folder / "nan.ply").unlink()
    (folder / "nan.obj").write_text("v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n")
    (folder / "empty.ply").write_bytes(b"")
    good = read_mesh(folder / "good.ply")
    write_mesh(folder / "points.ply", Mesh(good.vertices, np.zeros((0, 3), int)), unit="mm")
    (folder / "rubbish.ply").write_bytes(os.urandom(2000))
    (folder / "fewmarks.landmarks.json").write_text(
        json.dumps({"scheme": "ibug68", "unit": "mm", "points": [None] * 65 + [[0, 0, 0]] * 3})
    )
    write_mesh(folder / "metres.ply", good.with_vertices(good.vertices / 1000), unit="mm")
    write_mesh(folder / "elsewhere.ply", good.with_vertices(good.vertices + 400), unit="mm")
    result = run(folder, tmp_path / "out", jobs=2, guessed="mm", find=batch_problem.find_none)
    found = {r.name: r for r in result.records}
    assert {name for name, r in found.items() if r.verdict == "kept"} == {"good"}
    assert {r.verdict for name, r in found.items() if name != "good"} == {"pruned"}
    for name, word in (
        ("nan", "finite"), ("empty", "empty"), ("points", "no triangles"), ("nomarks", "shows no face"),
        ("fewmarks", "at least 4"), ("rubbish", "rubbish.ply"),
    ):  # fmt: skip
        assert word in found[name].why and str(tmp_path) not in found[name].why
    assert [p.name for p in (tmp_path / "out" / "meshes").iterdir()] == ["good.ply"]
    # pruned frames are done: nothing is tried again
    assert run(folder, tmp_path / "out", jobs=2, guessed="mm", find=batch_problem.find_none).reused == 9


def test_landmarks_may_be_vertices_of_the_scan(tmp_path):
    path = tmp_path / "0.ply"
    template = batch_problem.small_template()
    truth = batch_problem.write_scan(path, 0)
    scan = read_mesh(path).vertices
    near = [None if v < 0 else int(((scan - truth[v]) ** 2).sum(1).argmin()) for v in template.landmarks]
    beside = path.with_suffix(".landmarks.json")

    def verdict(marks):
        beside.write_text(json.dumps({"scheme": "ibug68", "vertices": marks}))
        frames = find_frames([path])
        return register_batch(frames, template, tmp_path / "out", find_landmark_files(frames)).records[0]

    assert verdict(near).verdict == "kept" and verdict(near).landmark_error < 4
    bad = verdict([*near[:-2], 99_999, None])
    assert bad.verdict == "pruned" and bad.why == "0.landmarks.json: indices must lie in [0, 1080), got 99999"
    assert "0.landmarks.json" in verdict([1, 2]).why


def test_a_scan_that_cannot_be_read_fails_and_is_tried_again(tmp_path):
    path = tmp_path / "in" / "0.ply"
    batch_problem.write_scan(path, 0)
    frames, data = find_frames([path]), path.read_bytes()
    path.unlink()
    template, marks = batch_problem.small_template(), find_landmark_files(frames)
    lost = register_batch(frames, template, tmp_path / "out", marks)
    assert lost.records[0].verdict == "failed" and lost.records[0].why == "0.ply: no such file or directory"
    path.write_bytes(data)
    assert register_batch(frames, template, tmp_path / "out", marks).records[0].verdict == "kept"


def test_other_limits_give_new_verdicts_without_new_work(scans, tmp_path):
    folder, _ = scans
    out = tmp_path / "out"
    first = find_frames([folder])[:2]
    marks, template = find_landmark_files(first), batch_problem.small_template()
    register_batch(first, template, out, marks, BatchOptions(jobs=2))
    before = content(out)
    strict = BatchOptions(jobs=2, limits=Limits(residual=1e-6))
    pruned = register_batch(first, template, out, marks, strict)
    assert pruned.reused == 2 and pruned.count("pruned") == 2 and "median distance" in pruned.records[0].why
    assert not (out / "meshes" / f"{first[0].name}.ply").exists() and (out / "pruned" / f"{first[0].name}.ply").exists()
    register_batch(first, template, out, marks, BatchOptions(jobs=2))
    assert content(out) == before


def test_landmarks_are_found_where_no_file_has_them(tmp_path):
    truth = batch_problem.write_scan(tmp_path / "in" / "seed_4.ply", 4, landmarks=False)
    result = run(tmp_path / "in", tmp_path / "out", find=batch_problem.find_true)
    assert result.records[0].landmarks == "found" and result.records[0].verdict == "kept"
    mesh = read_mesh(result.mesh(result.records[0]))
    assert np.median(np.linalg.norm(mesh.vertices - truth, axis=1)) < 1.0


def test_a_new_texture_counts_as_input_where_landmarks_are_found(tmp_path):
    folder = tmp_path / "in"
    batch_problem.write_scan(folder / "seed_2.ply", 2, landmarks=False)

    def again():
        return run(folder, tmp_path / "out", find=batch_problem.find_true).reused

    assert (again(), again()) == (0, 1)
    (folder / "seed_2.png").write_bytes(b"a picture")
    assert (again(), again()) == (0, 1)
    (folder / "seed_2.png").write_bytes(b"another one")
    assert (again(), again()) == (0, 1)


def test_what_earlier_runs_left_of_other_scans_is_named_and_left_alone(tmp_path):
    for seed in range(3):
        batch_problem.write_scan(tmp_path / "in" / f"{seed}.ply", seed)
    assert left_over(run(tmp_path / "in", tmp_path / "out")) == ()
    before = content(tmp_path / "out")
    (tmp_path / "in" / "1.ply").unlink()
    assert left_over(run(tmp_path / "in", tmp_path / "out")) == ("1",)
    assert content(tmp_path / "out") == before


def test_the_report_lives_without_the_scans_and_with_odd_names(tmp_path):
    from affect3d.analysis.registration_report import write_registration_report

    name = "a<b>&'\"c"
    batch_problem.write_scan(tmp_path / "in" / f"{name}.ply", 0)
    result = run(tmp_path / "in", tmp_path / "out")
    template = batch_problem.small_template()
    write_registration_report(tmp_path / "with.html", result, template)
    (tmp_path / "in" / f"{name}.ply").unlink()
    write_registration_report(tmp_path / "without.html", result, template)
    texts = [(tmp_path / f"{kind}.html").read_text() for kind in ("with", "without")]
    assert [text.count("<img") for text in texts] == [3, 0] and "No picture: " in texts[1]
    assert all("a&lt;b&gt;&amp;&#x27;&quot;c" in text and "<b>&" not in text for text in texts)


def test_two_runs_do_not_write_to_one_folder(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    batch_problem.write_scan(tmp_path / "in" / "0.ply", 0)
    (tmp_path / "out").mkdir()
    with open(tmp_path / "out" / ".lock", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another run"):
            run(tmp_path / "in", tmp_path / "out")


def test_a_folder_of_another_command_is_refused(tmp_path):
    batch_problem.write_scan(tmp_path / "in" / "0.ply", 0)
    with one_run(RunFolder(tmp_path / "out", "study", {"data": 1})):
        pass
    with pytest.raises(ValueError, match="holds a run of affect3d study, not of affect3d register; name another"):
        run(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out" / "records").exists()


def test_a_template_that_is_not_the_runs_is_told(tmp_path):
    template = batch_problem.small_template()
    template.save(tmp_path / "template.npz")
    assert loaded(Template, tmp_path / "template.npz", template.digest).digest == template.digest
    with pytest.raises(RuntimeError, match="template.npz: is not that of this run; another run may write"):
        loaded(Template, tmp_path / "template.npz", "another")


# -- death --------------------------------------------------------------------------------------------

_RUN = """
import sys
sys.path.insert(0, {here!r})
import batch_problem
if __name__ == "__main__":
    batch_problem.run({folder!r}, {out!r}, jobs=2)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is known on POSIX systems only")
@pytest.mark.parametrize("frames_before_death", [0, 2])
def test_a_run_that_is_killed_continues_and_ends_with_the_same_bytes(scans, reference, tmp_path, frames_before_death):
    folder, out = scans[0], tmp_path / "out"
    script = tmp_path / "run.py"
    script.write_text(_RUN.format(here=str(HERE), folder=str(folder), out=str(out)))
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        done = len([p for p in (out / "records").rglob("*.json") if not p.name.startswith(".")])
        if out.exists() and done >= frames_before_death:
            break
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)  # the parent alone: its processes must notice by themselves
    process.wait()
    assert process.returncode == -signal.SIGKILL
    while time.monotonic() < deadline and _group_lives(process.pid):
        time.sleep(0.05)
    assert not _group_lives(process.pid)
    # what a process leaves that dies while it writes
    for folder_of_run in (out, out / "meshes"):
        folder_of_run.mkdir(parents=True, exist_ok=True)
        (folder_of_run / ".f8.0123456789ab.part.ply").write_bytes(b"half a mesh")
    result = run(folder, out, jobs=2)
    assert result.reused >= done  # whoever finds a record finds the whole result
    assert content(out) == content(reference[1])


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
        return True
    except ProcessLookupError:
        return False


def test_a_frame_that_kills_its_process_fails_alone(tmp_path):
    for seed in range(3):
        batch_problem.write_scan(tmp_path / "in" / f"seed_{seed}.ply", seed, landmarks=seed != 1)
    result = run(tmp_path / "in", tmp_path / "out", jobs=2, find=batch_problem.find_death)
    assert [r.verdict for r in result.records] == ["kept", "failed", "kept"]
    assert "died twice" in result.records[1].why
    assert read_record(tmp_path / "out" / "records" / "seed_1.json") == result.records[1]
    # failed is not done; what kills it only once does not fail it
    (tmp_path / "in" / "seed_1.once").touch()
    result = run(tmp_path / "in", tmp_path / "out", jobs=2, find=batch_problem.find_death)
    assert [r.verdict for r in result.records] == ["kept"] * 3 and result.reused == 2


def test_deaths_lose_no_job_and_do_none_twice(tmp_path):
    jobs = [*range(10), ("die", str(tmp_path / "a")), *range(10, 20), ("once", str(tmp_path / "b"))]
    done = list(run_processes(batch_problem.work, jobs, 2))
    assert sorted(map(str, (job for job, _ in done))) == sorted(map(str, jobs))
    for job, result in done:
        if isinstance(job, tuple):
            assert isinstance(result, Death) if job[0] == "die" else result == "alive"
        else:
            assert result == job * job


def test_processes_use_one_thread_of_linear_algebra_each(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    assert [n for _, n in run_processes(batch_problem.threads, [0, 1], 2)] == [1, 1]
    assert os.environ["OMP_NUM_THREADS"] == "2" and "NUMBA_NUM_THREADS" not in os.environ


def test_no_process_at_all_is_refused():
    with pytest.raises(ValueError, match="count: .* got 0"):
        list(run_processes(batch_problem.work, [1], 0))
    with pytest.raises(ValueError, match="jobs: .* got 0"):
        BatchOptions(jobs=0)


# -- a cluster ----------------------------------------------------------------------------------------


def test_a_dask_cluster_gives_the_same_bytes(scans, reference, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed (affect3d[dask])")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
    folder, _ = scans
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
    ) as cluster:
        run(folder, tmp_path / "out", scheduler=cluster.scheduler_address)
    assert content(tmp_path / "out") == content(reference[1])


def test_deaths_on_a_cluster_are_the_frames_own(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed (affect3d[dask])")
    dask = pytest.importorskip("dask", reason="Dask is not installed (affect3d[dask])")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
    jobs = [1, 2, ("die", str(tmp_path / "a")), 3, 4]
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
        ) as cluster,
    ):
        done = dict(run_dask(batch_problem.work, jobs, cluster.scheduler_address))
    assert done.pop(jobs[2]) == Death("the worker died, more than once")
    # a neighbour may be blamed as well, because Dask cannot tell who killed the worker; the next run does it again
    assert set(done) == {1, 2, 3, 4} and all(v == k * k or isinstance(v, Death) for k, v in done.items())


@pytest.mark.parametrize("status", ["lost", "pending"])
def test_a_result_that_is_lost_with_its_worker_is_waited_for_again(monkeypatch, status):
    """A worker can die between the end of a job and the fetching of its result; which jobs, is a matter of chance."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed (affect3d[dask])")

    class Future:
        def __init__(self, job):
            self.key, self.job, self.status = f"job-{job}", job, status if job == 2 else "finished"

        def exception(self):
            return None

        def result(self):
            assert self.status == "finished"
            return self.job**2

    class Client:
        loop = None

        def __init__(self, address, **options):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def scheduler_info(self, **options):
            return {"workers": {"one": {}}}

        def nthreads(self):
            return {"one": 1}

        def submit(self, work, job, pure):
            return Future(job)

    class Stream:
        def __init__(self, futures, loop):
            self.futures = list(futures)

        def add(self, future):
            future.status = "finished"  # done again meanwhile
            self.futures.append(future)

        def __iter__(self):
            while self.futures:
                yield self.futures.pop(0)

    monkeypatch.setattr(distributed, "Client", Client)
    monkeypatch.setattr(distributed, "as_completed", Stream)
    done = list(run_dask(batch_problem.work, range(1, 8), "tcp://127.0.0.1:1"))
    assert sorted(done) == [(k, k * k) for k in range(1, 8)]


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed (affect3d[dask])")

    def refuse(address, **options):
        raise OSError("timed out")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(OSError, match="no Dask scheduler answers at tcp://127.0.0.1:1"):
        list(run_dask(batch_problem.work, [1], "tcp://127.0.0.1:1"))


def test_a_missing_dask_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"affect3d\[dask\]"):
        list(run_dask(batch_problem.work, [1], "tcp://127.0.0.1:1"))


# -- frames -------------------------------------------------------------------------------------------


def test_natural_order_counts_numbers_and_tells_all_texts_apart():
    names = ["f10", "f9", "f1", "f01", "f", "F2", "a/b", "a/a10", "a/a9", "1", "10", "9", "f²"]
    ordered = sorted(names, key=natural_key)
    assert ordered.index("f9") < ordered.index("f10") and ordered.index("a/a9") < ordered.index("a/a10")
    assert ordered.index("9") < ordered.index("10") and len({str(natural_key(n)) for n in names}) == len(names)


def test_frames_of_a_folder_know_subject_and_sequence(tmp_path):
    for name in ("s1/q2/f10.ply", "s1/q2/f9.obj", "s1/q10/a.stl", "top.off", ".hidden/x.ply", "s1/.h.ply", "notes.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    os.symlink(tmp_path / "in", tmp_path / "in" / "s1" / "loop")
    os.symlink(tmp_path / "in" / "s1" / "q10", tmp_path / "in" / "s2")  # the same scan under another name is one more
    frames = find_frames([tmp_path / "in"])
    assert [f.name for f in frames] == ["s1/q2/f9", "s1/q2/f10", "s1/q10/a", "s2/a", "top"]
    assert (frames[0].subject, frames[0].sequence, frames[0].label) == ("s1", "s1/q2", "f9")
    assert (frames[4].subject, frames[4].sequence, frames[4].label) == ("", "", "top")
    assert Path(frames[0].path) == tmp_path / "in" / "s1/q2/f9.obj" and frames[0].scan == "s1/q2/f9.obj"


def test_several_folders_put_their_names_before_their_frames(tmp_path):
    for name in ("a/f.ply", "b/f.ply"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert [f.name for f in find_frames([tmp_path / "a", tmp_path / "b"])] == ["a/f", "b/f"]
    (tmp_path / "b/g.ply").touch()
    mixed = find_frames([tmp_path / "a", tmp_path / "b/g.ply"])  # one folder and a file need no such names
    assert [f.name for f in mixed] == ["f", "g"]


@pytest.mark.parametrize(
    "make, given, error, message",
    [
        ((), ["none"], FileNotFoundError, "no such file or folder"),
        ((), [], ValueError, "at least one"),
        (("d/readme.txt",), ["d"], ValueError, "holds no scan"),
        (("f.txt",), ["f.txt"], ValueError, "expected a name ending in .obj"),
        (("d/f.ply", "d/f.obj"), ["d"], ValueError, "would both be called f"),
        (("a/f.ply", "b/f.ply"), ["a/f.ply", "b/f.ply"], ValueError, "would both be called f"),
        (("d/f.ply", "d/F.ply"), ["d"], ValueError, "would both be called"),
    ],
)
def test_scans_that_are_none_or_share_a_name_are_refused(tmp_path, make, given, error, message):
    for name in make:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(error, match=message):
        find_frames([tmp_path / g for g in given])


def test_landmark_files_lie_beside_the_scans_or_in_a_folder(tmp_path):
    scans = ("in/a/1.ply", "in/b/1.ply", "in/b/2.ply")
    for name in (*scans, "in/a/1.pts", "marks/2.ljson", "marks/b/1.csv", "marks/1.pp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    frames = find_frames([tmp_path / "in"])
    beside = find_landmark_files(frames)
    assert {k: Path(v).name for k, v in beside.items()} == {"a/1": "1.pts"}
    found = find_landmark_files(frames, tmp_path / "marks")
    # marks/1.pp could be meant for a/1 or for b/1, so it is nobody's
    expected = {"a/1": "in/a/1.pts", "b/1": "marks/b/1.csv", "b/2": "marks/2.ljson"}
    assert {k: Path(v).relative_to(tmp_path).as_posix() for k, v in found.items()} == expected
    assert set(find_landmark_files(frames[:1], tmp_path / "marks/1.pp")) == {"a/1"}
    with pytest.raises(ValueError, match="3 scans are given"):
        find_landmark_files(frames, tmp_path / "marks/1.pp")
    with pytest.raises(FileNotFoundError, match="no such"):
        find_landmark_files(frames, tmp_path / "nowhere")


# -- records and verdicts -----------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_and_always_with_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_record(tmp_path / f"{name}.json", record(why="ä"))
    assert read_record(tmp_path / "a.json") == record(why="ä")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    with pytest.raises(ValueError):
        write_record(tmp_path / "c.json", record(matched=float("nan")))
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda t: t[:-20], lambda t: "", lambda t: "[1]", lambda t: t.replace('"matched": 0.9', '"matched": NaN'),
        lambda t: t.replace('"matched": 0.9', '"matched": "much"'), lambda t: t.replace("record 2", "record 3"),
        lambda t: t.replace('"verdict": "kept"', '"verdict": "nice"'), lambda t: t.replace('"matched"', '"met"'),
        lambda t: t.replace('"converged": true', '"converged": 1'), lambda t: "[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_record_counts_as_none(tmp_path, damage):
    path = tmp_path / "a.json"
    write_record(path, record())
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    assert read_record(path) is None
    assert read_record(tmp_path / "none.json") is None


def test_digests_tell_apart_what_differs():
    zeros = np.zeros((2, 3))
    different = [
        (zeros,), (zeros.T,), (zeros.astype(np.float32),), (zeros, zeros), (zeros + [0, 0, 1e-300],), ("a", "b"),
        ("ab",), ({"a": 1},), ({"a": 1.5},), (None,), (),
    ]  # fmt: skip
    assert len({digest(*parts) for parts in different}) == len(different)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


@pytest.mark.parametrize(
    "change, word",
    [
        ({"converged": False, "reason": "it ran off"}, "did not converge: it ran off"),
        ({"residuals": {"median": 1.1, "p95": 2.0}}, "median distance to the scan is 1.10 mm, more than 1 mm"),
        ({"residuals": {"median": 1.0, "p95": 5.5}}, "95th percentile"),
        ({"residuals": {}}, "is not known"),
        ({"landmark_error": 11.0}, "landmark error is 11.00 mm"),
        ({"landmark_error": None}, "landmark error is not known"),
        ({"matched": 0.4}, "40% of the template found the scan, less than 60%"),
        ({"distorted": 0.03}, "3.0% of the template's triangles were turned over, crushed or torn apart"),
    ],
)
def test_every_limit_prunes_and_says_so(change, word):
    assert frame_verdict(record()) == ("kept", "")
    verdict, why = frame_verdict(record(**change))
    assert verdict == "pruned" and word in why


def test_a_number_that_is_none_is_never_kept():
    nan = float("nan")
    changes = [{name: nan} for name in ("landmark_error", "matched", "distorted")]
    for change in (*changes, {"residuals": {"median": nan, "p95": nan}}):
        assert frame_verdict(record(**change))[0] == "pruned"


def test_outliers_of_a_sequence_are_those_of_a_plain_computation():
    rng = np.random.default_rng(3)
    p95 = rng.normal(1.0, 0.15, 60)
    p95[[7, 30]] = 2.2, 0.2  # one far too bad, one far better than the others
    records = [record(residuals={"median": 0.2, "p95": float(v)}) for v in p95]
    middle = sorted(p95)[29] / 2 + sorted(p95)[30] / 2
    spread = 1.4826 * float(np.median([abs(v - middle) for v in p95]))
    for deviations in (2.0, 6.0):
        expected = [v > middle + deviations * spread for v in p95]
        found = sequence_outliers(records, Limits(deviations=deviations, least_spread=1e-9))
        assert [bool(text) for text in found] == expected
    assert expected[7] and not expected[30] and "2.20 mm" in found[7]


def test_even_and_short_sequences_lose_nobody_and_pruned_frames_do_not_count():
    even = [record(landmark_error=1.0 + 1e-4 * (k == 5)) for k in range(20)]
    assert not any(sequence_outliers(even))
    one_bad = [record(landmark_error=9.0 if k == 3 else 1.0 + k / 100) for k in range(12)]
    assert [bool(t) for t in sequence_outliers(one_bad)] == [k == 3 for k in range(12)]
    assert not any(sequence_outliers(one_bad[:7]))
    bad = [replace(r, own_verdict="pruned") if k % 2 else r for k, r in enumerate(one_bad)]
    assert not any(sequence_outliers(bad))  # six are left to compare
    poor = [record(matched=0.65 if k == 2 else 0.9) for k in range(10)]
    assert [bool(t) for t in sequence_outliers(poor)] == [k == 2 for k in range(10)]


@pytest.mark.parametrize(
    "bad",
    [
        {"residual": 0}, {"residual_p95": float("nan")}, {"matched": 1.1}, {"distorted": -0.1}, {"least_frames": 2},
        {"deviations": -1},
    ],
)  # fmt: skip
def test_limits_that_make_no_sense_are_named(bad):
    with pytest.raises(ValueError, match=f"^{next(iter(bad))}: expected"):
        Limits(**bad)


def test_an_outlier_of_its_sequence_moves_to_the_pruned(tmp_path, monkeypatch):
    from affect3d.registration import batch
    from affect3d.registration.frame_work import FrameOutcome, Places

    folder = tmp_path / "in"
    frames = tuple(Frame(str(folder / f"{k}.ply"), f"q/{k}", f"q/{k}.ply") for k in range(10))
    places = Places(str(tmp_path / "out"))

    def stand_in(jobs, options):
        for k, job in enumerate(jobs):
            path = places.mesh(job.name, "kept")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"mesh {k}")
            error = 8.0 if k == 4 else 1.0 + k / 50
            yield job, FrameOutcome(record(name=job.name, scan=job.scan, mesh="there", landmark_error=error), False)

    monkeypatch.setattr(batch, "_run", stand_in)
    result = register_batch(frames, batch_problem.small_template(), tmp_path / "out")
    assert [r.verdict for r in result.records] == ["pruned" if k == 4 else "kept" for k in range(10)]
    assert (tmp_path / "out/pruned/q/4.ply").read_text() == "mesh 4" and not (tmp_path / "out/meshes/q/4.ply").exists()
    assert result.mesh(result.records[4]) == tmp_path / "out/pruned/q/4.ply"
    on_disk = read_record(tmp_path / "out/records/q/4.json")
    assert on_disk == result.records[4] and on_disk.own_verdict == "kept" and "outlier" in on_disk.why


def test_distortion_counts_triangles_that_turned_or_changed_their_size():
    mesh = batch_problem.shell()
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    assert distorted_share(mesh, 1.3 * mesh.vertices @ turn.T + [5, 6, 7]) == 0  # a similarity bends nothing
    assert distorted_share(mesh, batch_problem.pose(mesh.vertices, 3)) == 0
    count = len(mesh.faces)
    corner = mesh.faces[100]
    middle = mesh.vertices[corner[1:]].mean(0)
    for share in (0.9, 2.0):  # a triangle of a tenth of its area, or turned over
        vertices = mesh.vertices.copy()
        vertices[corner[0]] += share * (middle - vertices[corner[0]])
        touched = (mesh.faces == corner[0]).any(1).sum()
        assert 1 <= round(distorted_share(mesh, vertices) * count) <= touched
    mirrored = mesh.vertices * [-1, 1, 1]
    assert distorted_share(mesh, mirrored + np.random.default_rng(0).normal(0, 4, mirrored.shape)) > 0.1
    assert distorted_share(mesh, mesh.vertices * [1, 0.02, 1]) > 0.5
    assert distorted_share(mesh, mesh.vertices * [1, 0, 0]) == 1.0
    needle = Mesh(mesh.vertices, np.concatenate([mesh.faces, [[5, 5, 6]]]))  # a triangle that has no area to change
    assert distorted_share(needle, mesh.vertices) == 0.0
    with pytest.raises(ValueError, match="vertices"):
        distorted_share(mesh, mesh.vertices * np.nan)


# -- templates ----------------------------------------------------------------------------------------


def small_model():
    """The small head, whose crown is hair and whose chin is teeth."""
    import small_head

    model = small_head.small_head()
    height = model.mean[model.faces][:, :, 1].mean(1)
    parts = np.where(height > 70, 1, np.where(height < -100, 2, 0)).astype(np.uint8)
    return replace(model, parts=parts, part_names=("face", "head", "teeth_upper"))


def test_the_template_of_a_model_is_its_skin_with_landmarks_in_place():
    model = small_model()
    template = model_template(model)
    assert np.array_equal(template.mesh.vertices, model.mean[template.model_vertices])
    skin = model.part_vertices("face")
    assert np.array_equal(np.flatnonzero(skin), template.model_vertices) and 0 < skin.sum() < len(model.mean)
    assert len(template.mesh.faces) == (model.parts == 0).sum()
    truth = model.landmarks["ibug68"].locate(model.mean, model.faces)
    there = template.mesh.vertices[template.landmarks]
    assert np.abs(there - truth)[template.landmarks >= 0].max() < 1e-9  # they lie on vertices there
    assert (template.landmarks >= 0).sum() == 68


def test_a_model_without_skin_or_landmarks_is_no_template():
    model = small_model()
    with pytest.raises(ValueError, match="none of the parts"):
        model_template(replace(model, part_names=("a", "b", "c")))
    with pytest.raises(ValueError, match="landmarks of the scheme ibug68, got none"):
        model_template(replace(model, landmarks={}))


def test_a_template_is_saved_exactly_and_always_with_the_same_bytes(tmp_path):
    template = batch_problem.small_template()
    for name in ("a", "b"):
        template.save(tmp_path / f"{name}.npz")
        time.sleep(0.01)
    back = Template.load(tmp_path / "a.npz")
    assert back.digest == template.digest and np.array_equal(back.mesh.vertices, template.mesh.vertices)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: (t.mesh, "dots", t.landmarks), "scheme"),
        (lambda t: (t.mesh, "ibug68", np.full(68, -1)), "at least 4, got 0"),
        (lambda t: (t.mesh, "ibug68", np.full(68, 10**6)), r"landmarks: vertices must lie in \[-1, 270\)"),
        (lambda t: (Mesh(t.mesh.vertices, np.zeros((0, 3), int)), "ibug68", t.landmarks), "triangles"),
    ],
)
def test_a_template_that_makes_no_sense_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        Template(*change(batch_problem.small_template()))


def test_the_outline_is_used_only_where_there_is_little_else():
    from affect3d.landmarks import Landmarks

    mesh = batch_problem.shell()
    template = Template(mesh, "ibug68", np.arange(68))
    points = np.random.default_rng(0).normal(size=(68, 3))
    marks, positions = matching_landmarks(template, Landmarks("ibug68", points, "mm"))
    assert marks.tolist() == list(range(17, 68)) and np.array_equal(positions, points[17:])
    few = np.where((np.arange(68) < 22)[:, None], points, np.nan)  # five beside the outline
    assert matching_landmarks(template, Landmarks("ibug68", few, "mm"))[0].tolist() == list(range(22))
    with pytest.raises(ValueError, match="points of a picture"):
        matching_landmarks(template, Landmarks("ibug68", points[:, :2], "px"))
    with pytest.raises(ValueError, match="at least 4 .* got 3"):
        matching_landmarks(template, Landmarks("ibug68", np.where((np.arange(68) < 3)[:, None], points, np.nan), "mm"))


def test_an_unknown_method_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="method: expected one of nonrigid.*, got 'magic'"):
        BatchOptions(method="magic")
    assert method_named("nicp") is method_named("nonrigid")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text_is_no_obstacle(tmp_path):
    from affect3d.analysis.registration_report import write_registration_report, write_registration_summary

    name = os.fsdecode(b"f\xff\xc3\xa9")
    batch_problem.write_scan(tmp_path / "in" / f"{name}.ply", 0)
    result = run(tmp_path / "in", tmp_path / "out")
    assert result.records[0].verdict == "kept" and result.records[0].name == name
    assert read_record(result.places.record(name)) == result.records[0]
    write_registration_summary(tmp_path / "s.json", result)
    write_registration_report(tmp_path / "r.html", result, batch_problem.small_template(), worst=1)
    assert "&lt;" not in (tmp_path / "r.html").read_text(encoding="utf-8")
