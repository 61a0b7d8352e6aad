"""Sequences in a batch: followed from the neutral, judged, lost and found again, killed and resumed."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from affect3d.io.mesh_file import read_mesh, write_mesh
from affect3d.mesh import Mesh
from affect3d.registration.batch import BatchOptions, find_landmark_files, register_batch
from affect3d.registration.frames import find_frames
from affect3d.registration.labels import FrameLabel
from affect3d.registration.records import read_record
from affect3d.registration.sequence_batch import named_neutrals
from affect3d.registration.verdict import Limits
from affect3d.registration.workers import Death

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # processes that are started must be able to import the helpers as well
import batch_problem  # noqa: E402
import sequence_problem  # noqa: E402
from batch_problem import content, times  # noqa: E402
from sequence_problem import run  # noqa: E402


@pytest.fixture
def here(monkeypatch):
    """Sequences are done in this very process, one after the other: starting processes takes most of a test's time."""
    from affect3d.registration import sequence_batch

    monkeypatch.setattr(sequence_batch, "run_processes", _one_by_one)


def _one_by_one(work, jobs, count):
    return ((job, work(job)) for job in jobs)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two sequences of six frames, whose first has landmarks, and the truth by name."""
    folder = tmp_path_factory.mktemp("recordings")
    return folder, sequence_problem.record(folder, ("anna/smile", "ben/fear"), 6)


@pytest.fixture(scope="module")
def reference(scans, tmp_path_factory):
    """The run that nothing disturbs, in this very process."""
    from affect3d.registration import sequence_batch

    out = tmp_path_factory.mktemp("reference") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequence_batch, "run_processes", _one_by_one)
        return run(scans[0], out, jobs=2), out


def errors(result, truth):
    inner = sequence_problem.INNER
    return {
        r.name: np.linalg.norm(read_mesh(result.mesh(r)).vertices - truth[r.name], axis=1)[inner].mean()
        for r in result.records
        if r.mesh
    }


# -- a run --------------------------------------------------------------------------------------------


def test_a_sequence_is_followed_from_its_neutral_without_landmarks(scans, reference):
    (_, truth), (result, _) = scans, reference
    assert [r.verdict for r in result.records] == ["kept"] * 12
    assert [r.start for r in result.records] == (["alone"] + ["tracked"] * 5) * 2
    assert [r.landmarks for r in result.records] == (["0.landmarks.json"] + [""] * 5) * 2
    assert result.records[0].reason.startswith("the neutral of the sequence: ")
    assert all(r.landmark_error is None and r.residuals["median"] < 0.5 for r in result.records if r.start == "tracked")
    found = errors(result, truth)
    assert len(found) == 12 and max(found.values()) < 1.2
    faces = sequence_problem.template().mesh.faces
    assert np.array_equal(read_mesh(result.mesh(result.records[3])).faces, faces)


def test_uv_registration_follows_a_sequence_too(scans, tmp_path, here):
    folder, truth = scans
    (tmp_path / "in").mkdir()
    os.symlink(folder / "anna", tmp_path / "in" / "anna")
    result = run(tmp_path / "in", tmp_path / "out", method="uv")
    assert [r.verdict for r in result.records] == ["kept"] * 6
    assert result.records[4].settings["method"] == "uv" and "was read from the scan" in result.records[4].reason
    found = errors(result, truth)
    assert max(found.values()) < 1.8


def test_uv_registration_uses_textures_and_a_new_one_counts_as_input(tmp_path, here):
    from PIL import Image

    folder = tmp_path / "in" / "q"
    truth = sequence_problem.record(tmp_path / "in", ("q",), 3)
    picture = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    for k in range(3):
        scan = read_mesh(folder / f"{k}.ply")
        (folder / f"{k}.ply").unlink()
        at_rest = sequence_problem.undone(scan.vertices, k)
        painted = Mesh(scan.vertices, scan.faces, np.clip((at_rest[:, :2] + [70, 85]) / [140, 170], 0, 1))
        write_mesh(folder / f"{k}.obj", painted, unit="mm")
        Image.fromarray(picture).resize((400, 400)).save(folder / f"{k}.png")
    out = tmp_path / "out"
    result = run(tmp_path / "in", out, method="uv")
    assert [r.verdict for r in result.records] == ["kept"] * 3 and max(errors(result, truth).values()) < 1.8
    first = content(out)
    Image.fromarray(picture[::-1]).resize((400, 400)).save(folder / "2.png")
    result = run(tmp_path / "in", out, method="uv")
    assert result.reused == 0  # the state lies behind the last frame, so the sequence is done again
    changed = {name for name, data in content(out).items() if first[name] != data}
    assert "meshes/q/2.ply" in changed and not any("/1." in name or "/0." in name for name in changed)
    # no texture must also work
    for k in range(3):
        (folder / f"{k}.png").unlink()
    assert run(tmp_path / "in", out, method="uv").count("kept") == 3


def test_a_second_run_does_nothing_and_changes_nothing(scans, reference, here):
    _, out = reference
    before, worked = content(out), times(out)
    result = run(scans[0], out, jobs=2)
    assert result.reused == 12 and times(out) == worked and content(out) == before


def test_frames_that_are_recorded_later_are_all_that_is_done(scans, reference, tmp_path, here):
    folder, _ = scans
    place = tmp_path / "in" / "anna" / "smile"
    place.mkdir(parents=True)

    def bring(k):
        for path in (folder / "anna/smile").glob(f"{k}.*"):
            (place / path.name).write_bytes(path.read_bytes())

    for k in range(4):
        bring(k)
    run(tmp_path / "in", tmp_path / "out")
    for k in (4, 5):
        bring(k)
    result = run(tmp_path / "in", tmp_path / "out")
    assert result.reused == 4 and times(tmp_path / "out")[4:] == ["anna/smile/4", "anna/smile/5"]
    expected = {n: b for n, b in content(reference[1]).items() if not n.split("/")[1:2] == ["ben"]}
    assert content(tmp_path / "out") == expected


def test_a_frame_that_changes_counts_as_input_of_those_behind_it_only(tmp_path, here):
    sequence_problem.record(tmp_path / "in", ("q",), 4)
    run(tmp_path / "in", tmp_path / "out")
    before = {k: read_record(tmp_path / f"out/records/q/{k}.json").input for k in range(4)}
    path = tmp_path / "in/q/2.ply"
    scan = read_mesh(path)
    write_mesh(path, scan.with_vertices(scan.vertices + [0, 0, 0.5]), unit="mm")
    result = run(tmp_path / "in", tmp_path / "out")
    after = {r.name[2:]: r.input for r in result.records}
    assert [after[str(k)] == before[k] for k in range(4)] == [True, True, False, False]
    # what lay behind it has to be found again from the beginning, with the same bytes as in a folder of its own
    run(tmp_path / "in", tmp_path / "new")
    assert content(tmp_path / "out") == content(tmp_path / "new")


def test_other_limits_give_new_verdicts_without_new_work(scans, reference, tmp_path, here):
    out = tmp_path / "out"
    run(scans[0], out, jobs=2)
    strict = run(scans[0], out, jobs=2, limits=Limits(residual=1e-6))
    assert strict.reused == 12 and strict.count("pruned") == 12 and "median distance" in strict.records[1].why
    run(scans[0], out, jobs=2)
    assert content(out) == content(reference[1])


# -- the neutral --------------------------------------------------------------------------------------


def test_the_neutral_may_lie_in_the_middle_and_is_followed_both_ways(tmp_path, here):
    truth = sequence_problem.record(tmp_path / "in", ("q",), 5, first=-2)  # the neutral is the third
    frames = find_frames([tmp_path / "in"])
    neutrals = named_neutrals(frames, given="2")
    assert neutrals == {"q": "q/2"}
    result = run(tmp_path / "in", tmp_path / "out", neutrals=neutrals)
    assert [r.start for r in result.records] == ["tracked", "tracked", "alone", "tracked", "tracked"]
    assert times(tmp_path / "out") == ["q/2", "q/3", "q/4", "q/1", "q/0"]
    assert max(errors(result, truth).values()) < 1.2


def test_one_neutral_may_serve_all_sequences_of_a_subject(tmp_path, here):
    truth = sequence_problem.record(tmp_path / "in", ("anna/rest",), 1)
    # the head is elsewhere when the recording begins: it is registered afresh there
    truth |= sequence_problem.record(tmp_path / "in", ("anna/smile",), 4, first=3, shift=(150, 40, -60), marks=(0,))
    frames = find_frames([tmp_path / "in"])
    neutrals = named_neutrals(frames, given="rest/0")
    assert neutrals == {"anna/rest": "anna/rest/0", "anna/smile": "anna/rest/0"}
    result = run(tmp_path / "in", tmp_path / "out", neutrals=neutrals)
    assert [(r.name, r.start) for r in result.records] == [
        ("anna/rest/0", "alone"), ("anna/smile/0", "afresh"), *((f"anna/smile/{k}", "tracked") for k in (1, 2, 3)),
    ]  # fmt: skip
    assert [r.verdict for r in result.records] == ["kept"] * 5
    assert max(errors(result, truth).values()) < 1.2
    before = content(tmp_path / "out")
    (tmp_path / "out/records/anna/smile/3.json").unlink()
    assert run(tmp_path / "in", tmp_path / "out", neutrals=neutrals).reused >= 1
    assert content(tmp_path / "out") == before


def test_labels_and_users_name_neutrals_and_errors_name_sequences(tmp_path):
    for name in ("a/q/f1.ply", "a/q/f2.ply", "a/p/f1.ply", "b/r/f9.ply"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    frames = find_frames([tmp_path])
    marked = [FrameLabel("a/q", "2", 0, 0, True), FrameLabel("p", "f1", 0, 0, False)]
    assert named_neutrals(frames, marked) == {"a/q": "a/q/f2"}
    with pytest.raises(ValueError, match="'a/q' has two neutral frames"):
        named_neutrals(frames, [*marked, FrameLabel("a/q", "1", 0, 0, True)])
    with pytest.raises(ValueError, match="neutral: sequence 'b/r' has no frame '1'"):
        named_neutrals(frames, marked, "1")
    with pytest.raises(ValueError, match="sequence 'b/r' has no frame 'p/f1'"):
        named_neutrals(frames, (), "p/f1")
    assert named_neutrals(frames[:3], (), "p/f1") == {"a/p": "a/p/f1", "a/q": "a/p/f1"}


def test_where_the_first_frame_is_broken_the_next_one_is_the_neutral(tmp_path, here):
    truth = sequence_problem.record(tmp_path / "in", ("q",), 4, marks=(0, 1))
    (tmp_path / "in/q/0.ply").write_bytes(b"ply\nrubbish")
    result = run(tmp_path / "in", tmp_path / "out")
    assert [(r.verdict, r.start) for r in result.records] == [
        ("pruned", "tracked"), ("kept", "alone"), ("kept", "tracked"), ("kept", "tracked"),
    ]  # fmt: skip
    assert "0.ply" in result.records[0].why and max(errors(result, truth).values()) < 1.3
    # a neutral that was named is not replaced by another
    named = run(tmp_path / "in", tmp_path / "named", neutrals={"q": "q/0"})
    assert named.count("pruned") == 4
    assert all("the sequence has no neutral: " in r.why and "0.ply" in r.why for r in named.records)
    assert not (tmp_path / "named/state/q/under_way.txt").exists()


# -- what goes wrong ----------------------------------------------------------------------------------


def test_lost_tracking_starts_afresh_and_the_record_says_so(tmp_path, here):
    truth = sequence_problem.record(tmp_path / "in", ("q",), 3)
    # the head jumps by more than anybody can follow, and stays there
    truth |= sequence_problem.record(
        tmp_path / "in", ("q",), 6, first=3, shift=(260, 0, 0), marks=(4,), names=range(3, 9)
    )
    result = run(tmp_path / "in", tmp_path / "out", lost_after=2)
    got = [(r.verdict, r.start) for r in result.records]
    assert got == [("kept", "alone"), ("kept", "tracked"), ("kept", "tracked"), ("pruned", "tracked"),
                   ("kept", "afresh"), *[("kept", "tracked")] * 4]  # fmt: skip
    lost, found = result.records[3], result.records[4]
    assert "the head jumped" in lost.why and not lost.mesh
    assert found.reason.startswith("tracking was lost (2 frames in a row could not be kept); registered afresh")
    assert found.landmarks == "4.landmarks.json"
    assert max(errors(result, truth).values()) < 1.3


def test_where_no_landmarks_can_be_found_a_lost_face_stays_lost_and_says_why(tmp_path, here):
    sequence_problem.record(tmp_path / "in", ("q",), 2)
    sequence_problem.record(tmp_path / "in", ("q",), 3, first=2, shift=(260, 0, 0), names=range(2, 5))
    result = run(tmp_path / "in", tmp_path / "out", lost_after=2, find=batch_problem.find_none)
    assert [r.verdict for r in result.records] == ["kept", "kept", "pruned", "pruned", "pruned"]
    assert "no new start was found" in result.records[3].why and "shows no face" in result.records[3].why
    assert "no new start" not in result.records[4].why  # it is not tried at each frame


def test_broken_frames_are_pruned_or_fail_and_the_others_go_on(tmp_path, here):
    truth = sequence_problem.record(tmp_path / "in", ("q",), 7)
    (tmp_path / "in/q/2.ply").write_bytes(b"ply\nrubbish")
    scan = read_mesh(tmp_path / "in/q/3.ply")
    write_mesh(tmp_path / "in/q/3.ply", Mesh(scan.vertices, np.zeros((0, 3), int)), unit="mm")
    frames = find_frames([tmp_path / "in"])
    gone = (tmp_path / "in/q/5.ply").read_bytes()
    (tmp_path / "in/q/5.ply").unlink()

    def again():
        return register_batch(
            frames, sequence_problem.template(), tmp_path / "out", find_landmark_files(frames),
            BatchOptions(method="track", neutral_options=sequence_problem.QUICK),
        )  # fmt: skip

    result = again()
    verdicts = ["kept", "kept", "pruned", "pruned", "kept", "failed", "kept"]
    assert [r.verdict for r in result.records] == verdicts
    assert "no triangles" in result.records[3].why and "no such file" in result.records[5].why
    assert str(tmp_path) not in "".join(r.why for r in result.records)
    assert max(errors(result, truth).values()) < 1.2
    # a file that still cannot be read is no reason to do the sequence again; one that can is
    assert again().reused == 7
    (tmp_path / "in/q/5.ply").write_bytes(gone)
    assert [r.verdict for r in again().records] == [*verdicts[:5], "kept", "kept"]


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="lost_after: .* got 0"):
        BatchOptions(method="track", lost_after=0)
    with pytest.raises(ValueError, match="expected frames of the run, got 'x/y'"):
        from affect3d.registration.sequence_batch import sequence_jobs

        job = sequence_problem.frame_job()
        sequence_jobs([job], BatchOptions(method="track", neutrals={"q": "x/y"}))


# -- death --------------------------------------------------------------------------------------------

def test_a_state_that_is_damaged_costs_time_only(scans, reference, tmp_path, here):
    run(scans[0], tmp_path / "out", jobs=2)
    state = tmp_path / "out/state/anna/smile/tracking.npz"
    state.write_bytes(state.read_bytes()[:-300])
    (tmp_path / "out/records/anna/smile/4.json").unlink()
    result = run(scans[0], tmp_path / "out", jobs=2)
    assert result.reused == 6 and content(tmp_path / "out") == content(reference[1])


class Killed(BaseException):
    """Ends the work on a sequence as the death of its process does."""


def find_death(path, mesh):
    raise Killed


def test_a_frame_that_kills_its_process_fails_alone(tmp_path, monkeypatch):
    from affect3d.registration import sequence_batch

    tried = []

    def mortal(work, jobs, count):
        for job in jobs:
            tried.append((job.careful, job.broken))
            try:
                yield job, work(job)
            except Killed:
                yield job, Death("the process died twice over this frame")

    monkeypatch.setattr(sequence_batch, "run_processes", mortal)
    truth = sequence_problem.record(tmp_path / "in", ("q",), 3)
    truth |= sequence_problem.record(tmp_path / "in", ("q",), 2, first=3, shift=(260, 0, 0), names=(3, 4), marks=(4,))
    # frame 3 cannot be followed, and whoever looks for its landmarks dies
    result = run(tmp_path / "in", tmp_path / "out", lost_after=1, find=find_death)
    assert [r.verdict for r in result.records] == ["kept", "kept", "kept", "failed", "kept"]
    assert "process died over this frame" in result.records[3].why and result.records[4].start == "afresh"
    assert tried == [(False, ()), (True, ()), (True, ("q/3",))]
    assert max(errors(result, truth).values()) < 1.3
    before = content(tmp_path / "out")
    # failed is not done: the next run tries it again, with the same end
    assert run(tmp_path / "in", tmp_path / "out", lost_after=1, find=find_death).reused < 5
    assert content(tmp_path / "out") == before


def test_what_is_done_survives_when_a_sequence_is_given_up(tmp_path, monkeypatch):
    from affect3d.registration import sequence_batch

    sequence_problem.record(tmp_path / "in", ("q",), 3)
    monkeypatch.setattr(sequence_batch, "run_processes", _one_by_one)
    run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out/records/q/2.json").unlink()
    hopeless = lambda work, jobs, count: ((job, Death("no more")) for job in jobs)  # noqa: E731
    monkeypatch.setattr(sequence_batch, "run_processes", hopeless)
    result = run(tmp_path / "in", tmp_path / "out")
    assert [r.verdict for r in result.records] == ["kept", "kept", "failed"] and result.records[2].why == "no more"
    assert result.reused == 2 and (tmp_path / "out/meshes/q/1.ply").exists()


def test_a_neutral_that_kills_its_process_is_known(tmp_path, monkeypatch):
    from affect3d.registration import sequence_batch

    def mortal(work, jobs, count):
        for job in jobs:
            try:
                yield job, work(job)
            except Killed:
                yield job, Death("the process died twice over this frame")

    monkeypatch.setattr(sequence_batch, "run_processes", mortal)
    sequence_problem.record(tmp_path / "in", ("q",), 3, marks=(1,))
    (tmp_path / "in/q/0.landmarks.json").unlink()
    result = run(tmp_path / "in", tmp_path / "out", find=find_death)
    assert [r.verdict for r in result.records] == ["failed", "kept", "kept"]
    assert [r.start for r in result.records][1:] == ["alone", "tracked"]
