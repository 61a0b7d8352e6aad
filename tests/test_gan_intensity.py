"""Intensity of expressions: what a reader of action units learns, and what is derived from its numbers."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="gan/ needs the extra affect3d[torch]")

from affect3d.gan.data import FaceImages  # noqa: E402
from affect3d.gan.intensity import (  # noqa: E402
    expression_directions, strength_along, total_intensity, train_unit_reader,
)  # fmt: skip
from affect3d.gan.recognizer import RecognizerOptions  # noqa: E402
from affect3d.gan.stoicnet.tables import IntensityTable, identity_table, intensity_table  # noqa: E402

NAMES = ("neutral", "happiness", "surprise")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def painted_faces(people=10, size=16, seed=0):
    """People are colours; the brightness of a bar above is AU12, of one below AU26."""
    rng = np.random.default_rng(seed)
    count = people * len(NAMES)
    units = np.zeros((people, len(NAMES), 2))
    units[:, 1, 0], units[:, 2, 1] = rng.uniform(1, 5, people), rng.uniform(1, 5, people)
    images = np.repeat(rng.integers(30, 100, (people, 1, 1, 1, 3)), len(NAMES), 1) * np.ones((1, 1, size, size, 1))
    images[:, :, 3:6] += 25 * units[:, :, 0, None, None, None]
    images[:, :, 10:13] += 25 * units[:, :, 1, None, None, None]
    subject = np.repeat(np.arange(people), len(NAMES))
    return FaceImages(
        np.clip(images, 0, 255).astype(np.uint8).reshape(count, size, size, 3), subject,
        np.tile(np.arange(len(NAMES)), people), NAMES, units.reshape(count, 2), ("AU12", "AU26"), sequence=subject,
        neutral=np.repeat(np.arange(people) * len(NAMES), len(NAMES)), source="Painted for a test.",
    )  # fmt: skip


class Colours:
    """Stands for a network: reads units off the bars, without any error."""

    unit_names = ("AU12", "AU26")

    def read(self, images):
        skin = images[:, 0, 0].astype(float)
        return np.stack([(images[:, row, 0] - skin).mean(1) / 25 for row in (4, 11)], 1)


def test_a_reader_learns_units_of_people_it_has_not_seen_and_repeats_itself():
    options = RecognizerOptions(steps=120, batch=24, shift=0, light=0.0, judges=1)
    reader = train_unit_reader(painted_faces(30), options)
    others = painted_faces(8, seed=5)
    found = reader.read(others.images)
    assert reader.unit_names == ("AU12", "AU26") and found.shape == (24, 2)
    error = np.abs(found - others.units).mean()
    assert error < 0.6 < np.abs(others.units - others.units.mean(0)).mean()
    again = train_unit_reader(painted_faces(30), options)
    np.testing.assert_array_equal(found, again.read(others.images))
    assert reader.read(others.images[:0]).shape == (0, 2)


def test_a_set_without_units_is_refused():
    faces = painted_faces(2)
    with pytest.raises(ValueError, match="all their action units"):
        train_unit_reader(FaceImages(faces.images, faces.subject, faces.expression, NAMES))
    with pytest.raises(ValueError, match="all their action units"):
        unknown = FaceImages(
            faces.images, faces.subject, faces.expression, NAMES, np.full((6, 2), np.nan), faces.unit_names
        )
        train_unit_reader(unknown)


def test_total_intensity_is_the_sum_of_what_is_shown():
    np.testing.assert_allclose(total_intensity([[1.0, 2.5, -0.5], [-1, -1, 0]]), [3.5, 0])
    with pytest.raises(ValueError, match="units: expected"):
        total_intensity([1.0, 2.0])


def test_directions_are_mean_units_of_each_expression():
    faces = painted_faces(6)
    found = expression_directions(faces)
    for k in range(3):
        slow = [faces.units[row] for row in range(len(faces)) if faces.expression[row] == k]
        np.testing.assert_allclose(found[k], np.mean(slow, 0))
    units = faces.units.copy()
    units[faces.expression == 2] = np.nan
    partly = FaceImages(faces.images, faces.subject, faces.expression, NAMES, units, faces.unit_names)
    assert np.isnan(expression_directions(partly)[2]).all() and np.isfinite(expression_directions(partly)[:2]).all()
    with pytest.raises(ValueError, match="expressions and action units"):
        expression_directions(FaceImages(faces.images, faces.subject, faces.expression, NAMES))


def test_strength_is_the_factor_of_the_direction_whatever_is_orthogonal_to_it():
    rng = np.random.default_rng(0)
    direction = rng.uniform(0, 5, 7)
    across = rng.normal(size=(20, 7))
    across -= np.outer(across @ direction, direction) / (direction @ direction)
    wanted = rng.uniform(-1, 2, 20)
    units = wanted[:, None] * direction + across
    np.testing.assert_allclose(strength_along(units, direction), wanted)
    np.testing.assert_allclose(strength_along(units, np.tile(direction, (20, 1))), wanted)
    slow = [np.linalg.lstsq(direction[:, None], row, rcond=None)[0][0] for row in units]
    np.testing.assert_allclose(strength_along(units, direction), slow)


@pytest.mark.parametrize("direction, said", [(np.zeros(2), "zero"), ([np.nan, 1], "finite"), (np.ones(3), "expected")])
def test_a_direction_that_is_none_is_refused(direction, said):
    with pytest.raises(ValueError, match=f"direction: .*{said}"):
        strength_along(np.ones((4, 2)), direction)


# StoicNet's tables


def pairs_of(faces):
    rows = np.flatnonzero(faces.neutral != np.arange(len(faces)))
    return np.column_stack([rows, faces.neutral[rows]])


def test_table_1_is_right_for_copies_for_true_neutral_faces_and_half_way():
    faces = painted_faces(10)
    pairs = pairs_of(faces)
    source, target = faces.images[pairs[:, 0]], faces.images[pairs[:, 1]]
    half = ((source.astype(int) + target) // 2).astype(np.uint8)
    sums = np.sort(faces.units[pairs[:, 0]].sum(1))[::-1]
    for made, removed in ((source, 0), (target, 1), (half, 0.5)):
        table = intensity_table(Colours(), faces, pairs, made)
        assert table.shares == (1.0, 0.25, 0.1)
        # a level of 255 is 0.04 of a unit
        np.testing.assert_allclose(table.expressive, [sums.mean(), sums[:5].mean(), sums[:2].mean()], atol=0.05)
        np.testing.assert_allclose(table.neutral, 0, atol=1e-9)
        np.testing.assert_allclose(table.removed, removed, atol=0.02)
    assert IntensityTable((1.0,), (4.31,), (2.10,), (1.42,)).removed[0] == pytest.approx(2.21 / 2.89)  # the paper's


def test_table_2_compares_with_the_input_and_takes_the_middle_as_threshold():
    faces = painted_faces(10)
    pairs = pairs_of(faces)
    describe = lambda images: images[:, 0, 0].astype(float) / 40  # noqa: E731  (the colour of the skin)
    table = identity_table(describe, faces, pairs, faces.images[pairs[:, 1]], np.random.default_rng(0))
    assert table.positive == table.neutralized == 0 and table.negative > 0.3
    assert table.threshold == pytest.approx(table.negative / 2)
    assert table.verified == table.recognized == 1
    somebody = faces.images[np.roll(pairs[:, 1], 2)]  # the neutral face of the next person
    worse = identity_table(describe, faces, pairs, somebody, np.random.default_rng(0))
    assert worse.neutralized > 0.3 and worse.verified < 0.5 and worse.recognized < 0.8
    assert worse.negative == table.negative  # the same others for the same generator


def test_wrong_pairs_shares_and_people_are_named():
    faces = painted_faces(3)
    pairs = pairs_of(faces)
    with pytest.raises(ValueError, match="images: expected one for each"):
        intensity_table(Colours(), faces, pairs, faces.images[:2])
    with pytest.raises(ValueError, match="shares"):
        intensity_table(Colours(), faces, pairs, faces.images[pairs[:, 0]], shares=(0,))
    with pytest.raises(ValueError, match="at least two people"):
        identity_table(lambda v: v.reshape(len(v), -1), faces, pairs[:1], faces.images[:1], np.random.default_rng(0))
