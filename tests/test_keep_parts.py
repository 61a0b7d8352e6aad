"""Parts of a model: the same numbers at the vertices that stay."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from affect3d.model.keep_parts import keep_parts, skin_of_face


_spec = importlib.util.spec_from_file_location("small_head", Path(__file__).with_name("small_head.py"))
_small = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_small)


@pytest.fixture(scope="module")
def head():
    model = _small.small_head()
    high = model.mean[model.faces][:, :, 1].mean(1) > 60
    return replace(model, parts=high.astype(np.uint8), part_names=("face", "crown"))


def test_what_stays_is_what_it_was(head):
    part, vertices = keep_parts(head, "face")
    assert 0 < len(part.mean) < len(head.mean)
    assert (np.diff(vertices) > 0).all()
    assert np.array_equal(part.mean, head.mean[vertices])
    assert np.array_equal(vertices[part.faces], head.faces[head.part_faces("face")])
    some = np.linspace(-1, 1, len(head.identity)), np.linspace(0, 1, len(head.expression))
    assert np.array_equal(part.instance(*some), head.instance(*some)[vertices])
    assert part.expression_names == head.expression_names


def test_landmarks_stay_where_they_were_or_are_missing(head):
    part, _ = keep_parts(head, "face")
    for scheme, marks in head.landmarks.items():
        before = marks.locate(head.mean, head.faces)
        after = part.landmarks[scheme].locate(part.mean, part.faces)
        stays = np.isin(np.maximum(marks.faces, 0), np.flatnonzero(head.part_faces("face"))) & marks.present
        assert np.array_equal(after[stays], before[stays])
        assert np.isnan(after[~stays]).all()


def test_all_parts_are_the_whole(head):
    whole, vertices = keep_parts(head, "face", "crown")
    assert np.array_equal(whole.mean, head.mean) and np.array_equal(whole.faces, head.faces)


def test_the_skin_of_a_face_is_what_scans_show(head):
    assert len(skin_of_face(head).mean) == len(keep_parts(head, "face")[0].mean)
    bare = replace(head, part_names=("hull", "crown"))
    assert skin_of_face(bare) is bare


def test_a_part_that_is_not_there_is_refused(head):
    with pytest.raises(ValueError, match="has none of the parts teeth; it has face, crown"):
        keep_parts(head, "teeth")
