"""Following faces in films: ``python benchmarks/bench_track.py``.

Films of people who do not exist are rendered with known curves: speech, smiles, raised and lowered brows, blinks, a
head that sways, and noise of a sensor.  Most people are drawn with skin, hair, brows and eyes from the default head
(`synthesis.rendered_people`); with ``--ict FILE`` some are drawn from the ICT head, with other surfaces and packed as
JPEG (`study.world`), and the default head is fitted to them.  Printed are, for each curve, the correlation of the
recovered with the true one in each film (least and median over the people), raw and after smoothing, the lag that fits
best, and, for films in which nothing moves but the noise, the deviation of coefficients and landmarks over time.
First comes the identity from several pictures of a person: distance of the face's vertices from the true ones.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import numpy as np

JUDGED = (
    "jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp",
)  # fmt: skip
RATE = 30.0


def performance(names, frames: int, rng: np.random.Generator) -> np.ndarray:
    """(T, E) weights of one take: everything at its own pace, and what goes together in faces together."""
    t = np.arange(frames) / RATE
    w = {name: np.zeros(frames) for name in names}

    def pulse(start, up, hold, down, height):
        rise = np.clip((t - start) / up, 0, 1)
        fall = np.clip((start + up + hold + down - t) / down, 0, 1)
        return height * (rise * rise * (3 - 2 * rise)) * (fall * fall * (3 - 2 * fall))

    def add(curve, **shapes):
        for name, share in shapes.items():
            for full in (name, name + "Left", name + "Right"):
                if full in w:
                    lean = 1 + 0.08 * rng.standard_normal() * (full != name)
                    w[full] = np.clip(w[full] + share * lean * curve, 0, 1)

    length = t[-1]
    talk = rng.uniform(0.05, 0.35) * length
    words = pulse(talk, 0.2, 0.35 * length, 0.2, 1.0)
    syllables = np.zeros(frames)
    at = talk
    while at < talk + 0.35 * length + 0.4:
        step = rng.uniform(0.18, 0.32)
        syllables = np.maximum(syllables, pulse(at, 0.45 * step, 0, 0.55 * step, rng.uniform(0.25, 0.8)))
        at += step * rng.uniform(0.7, 1.3)
    add(words * syllables, jawOpen=0.55)
    add(words * np.clip(np.sin(2 * np.pi * rng.uniform(0.8, 1.4) * t + rng.uniform(0, 6.3)), 0, 1), mouthFunnel=0.35)
    add(pulse(rng.uniform(0.5, 0.7) * length, 0.4, rng.uniform(0.2, 1.0), 0.5, rng.uniform(0.5, 0.9)),
        mouthSmile=1.0, cheekSquint=0.5, eyeSquint=0.25, jawOpen=0.15)  # fmt: skip
    add(pulse(rng.uniform(0.02, 0.15) * length, 0.3, 0.3, 0.4, rng.uniform(0.2, 0.5)), mouthSmile=1.0, cheekSquint=0.3)
    add(pulse(rng.uniform(0.1, 0.3) * length, 0.25, 0.4, 0.35, rng.uniform(0.5, 0.9)), browInnerUp=1.0, browOuterUp=0.8)
    add(pulse(rng.uniform(0.4, 0.6) * length, 0.3, 0.5, 0.4, rng.uniform(0.4, 0.8)), browDown=1.0, noseSneer=0.2)
    add(pulse(rng.uniform(0.75, 0.9) * length, 0.3, 0.3, 0.3, rng.uniform(0.4, 0.8)), browInnerUp=1.0)
    at = rng.uniform(0.2, 0.8)
    while at < length - 0.3:
        add(pulse(at, 0.08, 0.04, 0.13, rng.uniform(0.85, 1.0)), eyeBlink=1.0)
        at += rng.uniform(0.8, 2.2)
    gaze = np.cumsum((rng.random(frames) < 0.03) * rng.normal(0, 0.35, frames))
    gaze = np.clip(gaze - gaze.mean(), -0.5, 0.5)
    for name, curve in (("Left", gaze), ("Right", -gaze)):
        other = {"Left": "Right", "Right": "Left"}[name]
        for full, side in ((f"eyeLookOut{name}", curve), (f"eyeLookIn{other}", curve)):
            if full in w:
                w[full] = np.clip(side, 0, 1)
    return np.stack([w[name] for name in names], 1)


def sway(frames: int, rng: np.random.Generator, size: float) -> np.ndarray:
    """(T, 3) slow angles, radians, of deviation `size` degrees."""
    t = np.arange(frames) / RATE
    waves = sum(
        np.sin(2 * np.pi * rng.uniform(0.15, 0.6) * t[:, None] + rng.uniform(0, 6.3, 3)) * rng.uniform(0.3, 1, 3)
        for _ in range(3)
    )
    return np.radians(size) * waves * [1, 0.5, 0.4]


def film(model, seed: int, weights, angles, size: int, noise: float = 0.0025):
    """Yield the frames of one drawn person."""
    from affect3d.synthesis.rendered_people.cast import draw_person
    from affect3d.synthesis.rendered_people.draw import to_srgb
    from affect3d.synthesis.rendered_people.make import PeopleOptions, _draw_view, _photograph
    from affect3d.gan.data import CropOptions

    plan = PeopleOptions(people=1, crop=CropOptions(size), align="take", turn=6, samples=2, seed=seed)
    person = draw_person(model, np.random.default_rng([seed, 0, 0]))
    view = _draw_view(plan, np.random.default_rng([seed, 0, 2]), 0)
    rest = np.zeros(len(model.expression_names))
    own = np.random.default_rng([seed, 5])
    for stem, high in (("mouthSmile", 0.15), ("browDown", 0.12), ("eyeSquint", 0.2), ("mouthPress", 0.1)):
        amount = own.uniform(0, high)
        for k, name in enumerate(model.expression_names):
            if name.startswith(stem):
                rest[k] = amount
    frame, made = None, None
    for k, row in enumerate(weights):
        row = np.clip(row + (1 - row) * rest, 0, 1.0)
        if made is None or not (np.array_equal(made[0], row) and np.array_equal(made[1], angles[k])):
            linear, frame = _photograph(model, person, row, view, angles[k], plan, frame)
            made = row, angles[k], linear
        linear = made[2]
        grain = np.random.default_rng([seed, 4, k]).normal(0, noise, linear.shape)
        yield to_srgb(np.maximum(linear + grain * np.sqrt(np.maximum(linear, 0) + 0.01), 0))


def ict_film(model, seed: int, weights, angles, size: int, noise: float = 0.006):
    """Yield the frames of a person of the ICT head, blurred a little and packed as JPEG.

    Its surfaces are those of `study.appearance`, simpler than those of the drawn people and quite unlike them.
    """
    import cv2

    from affect3d.study.appearance import draw_colours
    from affect3d.study.world import rotation_of
    from affect3d.synthesis.rendered_people.draw import PLAIN, normals_of, shade_picture, to_srgb
    from affect3d.synthesis.rendered_people.light import draw_light

    rng = np.random.default_rng([seed, 9])
    neutral = model.instance(1.1 * np.clip(rng.standard_normal(len(model.identity)), -2, 2))
    colours, light = draw_colours(model, rng), draw_light(rng, 0.15)
    tone = max(float(np.median(colours[model.part_vertices("face")] @ [0.2126, 0.7152, 0.0722])), 0.02)
    gain = 0.7 * min((0.35 / tone) ** 0.4, 2.0)
    light = type(light)(light.coefficients * gain, light.key, light.key_colour * gain)
    backdrop = np.exp(rng.uniform(-3, -0.3)) * np.exp(rng.normal(0, 0.25, (2, 3)))
    distance, width, quality = rng.uniform(600, 1300), 0.62 * size / 160, int(rng.integers(50, 90))
    pose = np.radians(np.clip(rng.normal(0, [8, 4, 4]), -15, 15))
    kinds, faces = np.full(len(model.faces), PLAIN, np.uint8), np.ascontiguousarray(model.faces, np.int32)
    balls = model.part_vertices("eye_left", "eye_right")
    sheet, eye, texels = np.zeros((2, 2, 4), np.float32), np.zeros((2, 2, 3), np.float32), np.zeros((len(neutral), 2))
    basis = model.expression.reshape(len(model.expression), -1)
    for k, row in enumerate(weights):
        used = np.flatnonzero(row)
        vertices = neutral + (row[used].astype(np.float32) @ basis[used]).reshape(-1, 3)
        turn = np.diag([1.0, -1, -1]) @ rotation_of(pose + angles[k])
        vertices[balls, 2] -= 3.0  # the head's own balls come through its lids where a person's eyes are large
        seen = (vertices - [0, -25.0, -60.0]) @ turn.T
        depth = seen[:, 2] + distance
        flat = seen[:, :2] * (distance / depth * width)[:, None] + size / 2
        picture = shade_picture(
            np.column_stack([flat, depth]), normals_of(vertices, faces) @ turn.T, faces, kinds, texels, colours, sheet,
            eye, light, 0.0, np.clip(backdrop, 0.01, 0.9), size, 2,
        )  # fmt: skip
        grain = np.random.default_rng([seed, 4, k]).normal(0, noise, picture.shape)
        picture = to_srgb(np.maximum(picture + grain * np.sqrt(np.maximum(picture, 0) + 0.02), 0))
        picture = cv2.GaussianBlur(np.ascontiguousarray(picture[..., ::-1]), (0, 0), 0.7)
        _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        yield np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1])


def correlation(a, b) -> float:
    """0 where one of them does not move."""
    if np.ptp(a) < 1e-12 or np.ptp(b) < 1e-12:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def lag(found, true, most: int = 5) -> int:
    """Frames by which `found` is late, of those from -`most` to `most`."""
    inner = slice(most, -most)
    shifts = range(-most, most + 1)
    return shifts[int(np.argmax([correlation(np.roll(found, -k)[inner], true[inner]) for k in shifts]))]


def follow(path, model, folder):
    """Track, and the seconds of the processor for each frame."""
    from affect3d.fitting.video import TrackOptions, track_frames
    from affect3d.io.video_read import read_frames, video_info

    info, began = video_info(path), time.process_time()
    track = track_frames(lambda: read_frames(path), model, folder, {}, TrackOptions(rate=info.rate))
    return track, (time.process_time() - began) / len(track)


def landmarks_of(track, model) -> np.ndarray:
    """(T, L, 2) px: where the fitted head has MediaPipe's landmarks."""
    marks = model.landmarks["mediapipe478"]
    return np.stack([
        track.camera(k).project(marks.locate(track.vertices(model, k), model.faces)) for k in range(len(track))
    ])  # fmt: skip


def shape_error(model, identity, truth) -> float:
    """Mean distance of the face's vertices, mm, after the best rigid motion."""
    face = model.part_vertices("face")
    a, b = model.instance(identity)[face], model.instance(truth)[face]
    a, b = a - a.mean(0), b - b.mean(0)
    u, _, v = np.linalg.svd(a.T @ b)
    turn = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
    return float(np.linalg.norm(a @ turn - b, axis=1).mean())


def share_identities(model, people: int, size: int, seed: int, photos: int = 8) -> None:
    """Several pictures of each person, turned by up to 28 degrees: one identity from all, and from each alone."""
    from affect3d.detect import detect_faces
    from affect3d.fitting import fit_photometric
    from affect3d.fitting.many import fit_many
    from affect3d.synthesis.rendered_people.cast import _VARIED

    rows = []
    for person in range(people):
        rng = np.random.default_rng([seed, person, 5])
        weights = performance(model.expression_names, 300, rng)[::37][:photos]
        angles = np.radians(np.column_stack([rng.uniform(-28, 28, photos), rng.normal(0, 6, (photos, 2))]))
        number = 1000 * seed + 400 + person
        pictures = list(film(model, number, weights, angles, size))
        seen = [(picture, faces[0]) for picture in pictures if (faces := detect_faces(picture))]
        # as `draw_person` begins
        drawn = np.random.default_rng([number, 0, 0]).standard_normal(len(model.identity))
        truth = _VARIED * np.clip(drawn, -2.2, 2.2)
        fit = fit_many([face for _, face in seen], model, (size, size))
        finer = np.mean([fit_photometric(p, f, model).fit.identity for (p, _), f in zip(seen, fit.fits)], axis=0)
        errors = [shape_error(model, c, truth) for c in (np.zeros(1), fit.identity, finer)]
        alone = [shape_error(model, f.identity, truth) for f in fit.single]
        rows.append([errors[0], np.mean(alone), errors[1], errors[2]])
        print(
            f"person {person}, {len(seen)} pictures: mean head {errors[0]:.2f} mm, alone {rows[-1][1]:.2f} "
            f"({min(alone):.2f} to {max(alone):.2f}), together {errors[1]:.2f}, with pixels {errors[2]:.2f}",
            flush=True,
        )
    means = np.mean(rows, axis=0)
    print(
        f"means: mean head {means[0]:.2f} mm, alone {means[1]:.2f}, together {means[2]:.2f}, with pixels {means[3]:.2f}"
    )


def main() -> None:
    import tempfile

    from affect3d.io.video import write_video
    from affect3d.model.load import load_model

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=6, help="drawn from the default head")
    parser.add_argument("--ict", metavar="FILE", help="the ICT head")
    parser.add_argument("--ict-people", type=int, default=3)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--still", type=int, default=2, help="films in which nothing moves")
    parser.add_argument("--photographed", type=int, default=6, help="people of whom several pictures are taken")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    model = load_model()
    share_identities(model, a.photographed, a.size, a.seed)
    heads = [("drawn", model, film)] * a.people
    if a.ict:
        heads += [("ict", load_model(f"ict:{a.ict}"), ict_film)] * a.ict_people
    print(f"{platform.machine()}, {os.cpu_count()} cores; {a.frames} frames of {a.size} px at {RATE:g} a second")
    rows = {"raw": [], "smooth": []}
    late, seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, (kind, head, make) in enumerate(heads):
            rng = np.random.default_rng([a.seed, number, 31])
            weights = performance(head.expression_names, a.frames, rng)
            angles = sway(a.frames, rng, 4.0)
            path, work = Path(folder) / f"{number}.mp4", Path(folder) / str(number)
            work.mkdir()
            write_video(path, make(head, 1000 * a.seed + number + 500, weights, angles, a.size), RATE)
            track, each = follow(path, model, work)
            true = {n: weights[:, head.expression_names.index(n)] for n in JUDGED}
            index = {n: model.expression_names.index(n) for n in JUDGED}
            for how, curves in (("raw", track.expression_raw), ("smooth", track.expression)):
                rows[how].append([correlation(curves[:, index[n]], true[n]) for n in JUDGED])
            late += [lag(track.expression[:, index[n]], true[n]) for n in JUDGED]
            seconds.append(each)
            said = "  ".join(f"{n} {r:.3f}" for n, r in zip(JUDGED, rows["smooth"][-1]))
            print(f"{kind} {number}: {said}  found {int(track.found.sum())}", flush=True)
        for how, table in rows.items() if heads else ():
            table = np.array(table)
            print(f"{how:7s} least  " + "  ".join(f"{n} {r:.3f}" for n, r in zip(JUDGED, table.min(0))))
            print(f"{how:7s} median " + "  ".join(f"{n} {r:.3f}" for n, r in zip(JUDGED, np.median(table, 0))))
        if heads:
            table = np.array(rows["smooth"])
            lags = ", ".join(f"{k:+d}: {late.count(k)}" for k in sorted(set(late)))
            print(f"{(table >= 0.9).mean():.0%} of the {table.size} curves reach 0.9; lags in frames: {lags}")
            print(f"{1000 * np.median(seconds):.0f} ms of the processor a frame, identity included")
        for number in range(a.still):
            path, work = Path(folder) / f"still{number}.mp4", Path(folder) / f"still{number}"
            work.mkdir()
            weights, angles = np.zeros((90, len(model.expression_names))), np.zeros((90, 3))
            write_video(path, film(model, 1000 * a.seed + 900 + number, weights, angles, a.size, 0.005), RATE)
            track, _ = follow(path, model, work)
            points = landmarks_of(track, model)
            unit = np.linalg.norm(points[0, 33] - points[0, 263])
            print(
                f"still {number}: deviation of coefficients, mean {track.expression_raw.std(0).mean():.5f} to "
                f"{track.expression.std(0).mean():.5f}, largest {track.expression_raw.std(0).max():.4f} to "
                f"{track.expression.std(0).max():.4f}; from frame to frame {_jump(track.expression_raw):.5f} to "
                f"{_jump(track.expression):.6f}; landmarks {np.nanmean(points.std(0)):.3f} px, "
                f"{100 * np.nanmean(points.std(0)) / unit:.3f} % of the interocular distance",
                flush=True,
            )


def _jump(curves) -> float:
    return float(np.abs(np.diff(curves, axis=0)).mean())


if __name__ == "__main__":
    main()
