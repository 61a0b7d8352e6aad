"""How much of a class is who was recorded."""

import numpy as np
import pytest

from affect3d.affect.store import open_gallery
from affect3d.affect.store_writer import StoreBlock, StorePlan, write_store
from affect3d.affect.vaspace import VASpace
from affect3d.analysis.class_identity import class_identity, identity_facts, identity_lines

pytest.importorskip("zarr", reason="zarr is not installed (affect3d[gallery])")
SPACE = VASpace(2, 2)
SUBJECTS, EACH, FRAMES, VERTICES = 12, 6, 9, 7


def gallery(path, style=0.0, face=5.0, seed=0, shuffle=False):
    """Sequences whose displacement is an affect's, a subject's (of size `style`), and the sequence's own."""
    rng = np.random.default_rng(seed)
    rest = rng.normal(size=(VERTICES, 3)) * 40
    people, habit = (rng.normal(size=(SUBJECTS, VERTICES, 3)) * size for size in (face, style))
    affect = rng.normal(size=(4, VERTICES, 3)) * 3
    values, valence, arousal, subject, sequence, frame, neutral = ([] for _ in range(7))
    for q in range(SUBJECTS * EACH):
        s = q // EACH
        own = rng.normal(size=(VERTICES, 3))
        first = len(values)
        for t in range(FRAMES):
            k = 0 if t == 0 else int(rng.integers(4))
            moved = 0 if t == 0 else affect[k] + habit[s] + own + 0.2 * rng.normal(size=(VERTICES, 3))
            values.append(rest + people[s] + moved)
            valence.append(-0.5 if k % 2 == 0 else 0.5)
            arousal.append(-0.5 if k < 2 else 0.5)
            subject.append(s), sequence.append(q), frame.append(t), neutral.append(first)
    values, labels = np.array(values, np.float32), [np.array(x) for x in (subject, sequence, frame, neutral)]
    valence, arousal = np.array(valence, np.float32), np.array(arousal, np.float32)
    if shuffle:
        order = rng.permutation(len(values))
        back = np.argsort(order)
        values, valence, arousal = values[order], valence[order], arousal[order]
        labels = [x[order] for x in labels[:3]] + [back[labels[3][order]]]
    plan = StorePlan(
        "vertices", (VERTICES, 3), f"{style} {face} {seed} {shuffle}", *labels,
        tuple(f"s{i}" for i in range(SUBJECTS)), tuple(f"q{i}" for i in range(SUBJECTS * EACH)),
        np.array([[0, 1, 2]]), rest, names=tuple(map(str, range(len(values)))),
    )  # fmt: skip
    write_store(path, plan, lambda a, b: StoreBlock(values[a:b], valence[a:b], arousal[a:b], np.zeros(b - a)))
    return open_gallery(path)


def slow(store, offsets):
    """Explained over frames and over sequences, with loops."""
    x = np.asarray(store.values[...], float)
    x = x - x[store.neutral] if offsets else x - store.rest
    x = x.reshape(len(x), -1) / np.sqrt(VERTICES)
    index = SPACE.class_of(store.valence, store.arousal)
    frames, sequences = np.zeros(4), np.zeros(4)
    for k in range(4):
        mine = x[index == k]
        people = store.subject[index == k]
        between = sum(
            (people == s).sum() * ((mine[people == s].mean(0) - mine.mean(0)) ** 2).sum() for s in set(people)
        )
        frames[k] = between / ((mine - mine.mean(0)) ** 2).sum()
        means = {q: mine[store.sequence[index == k] == q].mean(0) for q in set(store.sequence[index == k])}
        y, who = np.array(list(means.values())), np.array([q // EACH for q in means])
        between = sum((who == s).sum() * ((y[who == s].mean(0) - y.mean(0)) ** 2).sum() for s in set(who))
        sequences[k] = between / ((y - y.mean(0)) ** 2).sum()
    return frames, sequences


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_shares_are_those_of_the_definition(tmp_path, monkeypatch, shuffle):
    monkeypatch.setattr("affect3d.affect.store_frames.block_rows", lambda array: 40)
    store = gallery(tmp_path / "g", style=0.5, shuffle=shuffle)
    found = class_identity(store, SPACE, 19)
    for part, offsets in ((found.offsets, True), (found.plain, False)):
        frames, sequences = slow(store, offsets)
        assert part.defined.all()
        np.testing.assert_allclose(part.explained_frames, frames, rtol=1e-4)
        np.testing.assert_allclose(part.explained, sequences, rtol=1e-4)
    index = SPACE.class_of(store.valence, store.arousal)
    assert found.frames.tolist() == np.bincount(index).tolist()
    assert found.subjects.tolist() == [len(set(store.subject[index == k])) for k in range(4)]
    assert found.sequences.tolist() == [len(set(store.sequence[index == k])) for k in range(4)]
    values = np.asarray(store.values[...], float)
    mean = (values - values[store.neutral])[index == 1].mean(0)
    assert found.mean_mm[1] == pytest.approx(np.sqrt((mean**2).sum(1).mean()), rel=1e-4)


def test_without_identity_subjects_explain_what_chance_says(tmp_path):
    shares, chances, small = [], [], 0
    for seed in range(6):
        found = class_identity(gallery(tmp_path / str(seed), style=0, seed=seed), SPACE, 99).offsets
        shares.append(found.explained[1:])
        chances.append(found.chance[1:])
        small += (found.p[1:] < 0.05).sum()
        assert np.abs(found.adjusted[1:]).max() < 0.15
    assert np.mean(shares) == pytest.approx(np.mean(chances), abs=0.02)
    assert small <= 4  # of 18, one in twenty by chance


def test_faces_are_identity_until_the_neutral_one_is_subtracted(tmp_path):
    found = class_identity(gallery(tmp_path / "g", style=0, face=5), SPACE, 99)
    assert found.plain.adjusted.min() > 0.9 and (found.plain.p == 0.01).all()
    assert np.abs(found.offsets.adjusted[1:]).max() < 0.15
    # 5 mm in each of three axes
    np.testing.assert_allclose(found.plain.between_mm, 5 * np.sqrt(3), rtol=0.25)
    assert found.left_mm.max() < 0.1 * found.left_plain_mm.min()


def test_a_habit_of_known_size_is_found_with_its_size(tmp_path):
    found = class_identity(gallery(tmp_path / "g", style=1.0), SPACE, 99)
    np.testing.assert_allclose(found.offsets.between_mm[1:], np.sqrt(3), rtol=0.25)
    # between subjects 1, between sequences 1 and a little noise
    np.testing.assert_allclose(found.offsets.intraclass[1:], 0.5, atol=0.12)
    # shared by twelve people nearly equally, the habit shrinks by the root of twelve
    np.testing.assert_allclose(found.left_mm[1:] / found.offsets.between_mm[1:], 1 / np.sqrt(12), rtol=0.1)


def test_numbers_and_sentences_say_the_same_and_empty_classes_are_left_out(tmp_path):
    store = gallery(tmp_path / "g", style=1.0)
    found = class_identity(store, permutations=9)
    facts = identity_facts(found)
    assert facts["classes_compared"] == 4 and len(facts["left_mm"]) == 100
    defined = found.offsets.defined
    wanted = np.average(found.offsets.adjusted[defined], weights=found.frames[defined])
    assert facts["offsets"]["mean"]["adjusted"] == pytest.approx(wanted)
    lines = identity_lines(found)
    assert f"{100 * wanted:.1f} % beyond it" in lines[1] and "in a class's mean" in lines[-1]
    assert all(np.isfinite(getattr(found.offsets, f)).all() for f in found.offsets.__dataclass_fields__)


def test_a_gallery_of_one_subject_cannot_be_compared(tmp_path):
    store = gallery(tmp_path / "g")
    object.__setattr__(store, "subject", np.zeros(len(store), np.int32))
    found = class_identity(store, SPACE, 9)
    assert not found.offsets.defined.any() and (found.offsets.explained == 0).all()
    assert "nothing can be compared" in identity_lines(found)[0]
    with pytest.raises(ValueError, match="permutations: expected"):
        class_identity(store, SPACE, 0)
