"""Several recognizers asked together, and that what they say does not hang on the caller's threads."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="gan/ needs the extra affect3d[torch]")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from affect3d.gan import evaluation  # noqa: E402
from affect3d.gan.intensity import train_unit_reader  # noqa: E402
from affect3d.gan.jury import Jury, each_seed, train_jury  # noqa: E402
from affect3d.gan.metrics import descriptor_distance  # noqa: E402
from affect3d.gan.recognizer import RecognizerOptions, train_recognizer  # noqa: E402
from painted import painted_faces  # noqa: E402

QUICK = RecognizerOptions(steps=3, batch=8)


class Says:
    """A recognizer with known answers."""

    def __init__(self, logits, descriptors=None):
        self._logits, self._descriptors = np.float32(logits), descriptors

    def logits(self, images):
        return self._logits

    def descriptors(self, images):
        return self._descriptors


def test_the_likeliest_class_is_that_of_the_mean_probability():
    probable = np.array([[[0.9, 0.06, 0.04]], [[0.1, 0.48, 0.42]], [[0.1, 0.48, 0.42]]])
    jury = Jury(tuple(Says(np.log(p) + shift) for p, shift in zip(probable, (0.0, 300.0, -7.0))))
    mean = probable.mean(0)
    np.testing.assert_allclose(np.exp(jury.logits(None)), mean, rtol=1e-4)
    # two of three say another class, less surely
    assert jury.predict(None).tolist() == [0] and Jury(jury.members[1:]).predict(None).tolist() == [1]
    sure = Jury((Says([[0.0, 4000.0]]),)).logits(None)
    assert np.isfinite(sure).all() and sure[0, 1] == 0


def test_squares_of_distances_are_means_of_those_of_the_members():
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(3, 5, 8))
    parts /= np.linalg.norm(parts, axis=-1, keepdims=True)
    own = Jury(tuple(Says([[0]], part) for part in parts)).descriptors(None)
    np.testing.assert_allclose(np.linalg.norm(own, axis=1), 1)
    between = descriptor_distance(own[:-1], own[1:])
    alone = [descriptor_distance(part[:-1], part[1:]) for part in parts]
    np.testing.assert_allclose(between**2, np.mean(np.square(alone), 0))


def test_judges_have_seeds_of_their_own_of_which_the_first_is_that_which_was_given():
    seeds = [[o.seed for o in each_seed(RecognizerOptions(seed=seed, judges=4))] for seed in range(6)]
    assert [own[0] for own in seeds] == list(range(6)) and len({s for own in seeds for s in own}) == 24
    assert [o.seed for o in each_seed(RecognizerOptions(seed=2, judges=2))] == seeds[2][:2]
    with pytest.raises(ValueError, match="judges: expected 1 at least, got 0"):
        each_seed(RecognizerOptions(judges=0))


def test_a_jury_has_members_that_are_trained_as_one_alone_is():
    faces = painted_faces(4)
    jury = train_jury(faces.images, faces.expression, replace(QUICK, judges=2))
    first, second = (train_recognizer(faces.images, faces.expression, o) for o in each_seed(replace(QUICK, judges=2)))
    for member, alone in zip(jury.members, (first, second)):
        np.testing.assert_array_equal(member.logits(faces.images), alone.logits(faces.images))
    assert (first.logits(faces.images) != second.logits(faces.images)).any()


@pytest.mark.parametrize("train", ["recognizer", "reader"])
def test_judges_are_trained_with_one_thread_and_give_the_caller_its_own_back(train):
    faces, seen = painted_faces(4), set()

    def progress(done, total, label):
        seen.add(torch.get_num_threads())

    before = torch.get_num_threads()
    try:
        made = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            if train == "reader":
                made.append(train_unit_reader(faces, replace(QUICK, judges=1), progress).read(faces.images))
            else:
                made.append(train_recognizer(faces.images, faces.expression, QUICK, progress).logits(faces.images))
            assert torch.get_num_threads() == threads
        assert seen == {1}
        assert made[0].tobytes() == made[1].tobytes() == made[2].tobytes()
    finally:
        torch.set_num_threads(before)


def test_readers_of_action_units_give_their_mean():
    faces = painted_faces(4)
    together = train_unit_reader(faces, replace(QUICK, judges=3))
    alone = [train_unit_reader(faces, replace(o, judges=1)) for o in each_seed(replace(QUICK, judges=3))]
    assert len(together.networks) == 3
    np.testing.assert_allclose(
        together.read(faces.images), np.mean([r.read(faces.images) for r in alone], 0), atol=1e-12
    )


def test_the_measures_say_what_each_judge_alone_would_have_said():
    faces = painted_faces(6)
    judges = evaluation.train_judges(faces.select(faces.subject < 4), replace(QUICK, judges=2))
    unseen = faces.select(faces.subject >= 4)
    pairs = evaluation.evaluation_pairs(unseen)
    made = unseen.images[pairs[:, 1]] ^ np.uint8(1)  # equal pictures have no PSNR
    found = evaluation.evaluate_images(unseen, pairs, made, judges)["expression"]
    true = unseen.expression[pairs[:, 1]]
    alone = [float((m.predict(made) == true).mean()) for m in judges.expression.members]
    assert found["accuracy_of_each"] == pytest.approx(alone) and len(judges.identity.members) == 2
    assert found["accuracy"] == pytest.approx((judges.expression.predict(made) == true).mean())


def test_judges_are_kept_and_found_again_only_by_what_they_were_trained_by(tmp_path):
    faces, steps = painted_faces(4), []

    def progress(done, total, label):
        steps.append(label)

    def ask(images=faces.images, classes=faces.expression, **more):
        steps.clear()
        options = replace(QUICK, judges=2, keep=str(tmp_path / "judges"), **more)
        return train_jury(images, classes, options, progress).logits(faces.images), len(steps)

    plain = train_jury(faces.images, faces.expression, replace(QUICK, judges=2)).logits(faces.images)
    first, trained = ask()
    again, none = ask()
    assert (trained, none) == (6, 0)
    np.testing.assert_array_equal(first, plain)
    np.testing.assert_array_equal(again, plain)
    # other seeds, lengths, pictures or labels are others
    assert ask(seed=1)[1] == 6 and ask(steps=4)[1] == 8 and ask(images=faces.images ^ np.uint8(1))[1] == 6
    assert ask(classes=2 - faces.expression)[1] == 6
    reader = replace(QUICK, judges=2, keep=str(tmp_path / "judges"))
    units = [train_unit_reader(faces, reader).read(faces.images) for _ in range(2)]
    np.testing.assert_array_equal(units[0], units[1])
    np.testing.assert_array_equal(units[0], train_unit_reader(faces, replace(reader, keep="")).read(faces.images))
    # damaged files are written anew
    for path in (tmp_path / "judges").glob("recognizer-*"):
        path.write_bytes(path.read_bytes()[:100])
    mended, trained = ask()
    assert trained == 6 and ask()[1] == 0
    np.testing.assert_array_equal(mended, plain)


def test_a_folder_that_cannot_be_written_keeps_nobody_from_judging(tmp_path):
    faces = painted_faces(4)
    (tmp_path / "file").write_text("in the way")
    options = replace(QUICK, judges=1, keep=str(tmp_path / "file" / "judges"))
    alone = Jury((train_recognizer(faces.images, faces.expression, QUICK),))
    np.testing.assert_array_equal(
        train_jury(faces.images, faces.expression, options).logits(faces.images), alone.logits(faces.images)
    )
