"""Registration of a 4D sequence with a known answer: true-vertex error, drift, frames a second.

    python benchmarks/bench_sequence.py [--frames 300] [--model FILE] [--vertices 5000] [--uv]

A head model performs (smile, surprise, anger, speech-like jaw) while the head turns; each frame is divided finer,
its vertices wander on the surface and are shuffled, with 0.15 mm of noise and four holes.  Rows: the subject's
neutral known exactly, the neutral registered from the model's mean as `register --method track` does it, and that with
landmarks wrong by 1 mm on each frame.

With a model other than the built-in head (`--model ict_facekit_light.npz`) there are rows with a prior: how the
*built-in* head moves, carried over to the model's topology.  The built-in head itself would know the answer.
`--uv` adds rows of UV registration, every tenth frame, without and with a texture (blotches and freckles, lit
differently in each frame).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from affect3d.geometry.rotation import rotation_exp
from affect3d.mesh import Mesh
from affect3d.model.load import load_model
from affect3d.registration import register_nonrigid
from affect3d.registration.expression_prior import expression_prior
from affect3d.registration.model_fit import fit_modes
from affect3d.registration.modes import model_modes
from affect3d.registration.sequence import NEUTRAL, register_sequence
from affect3d.registration.template import Template, model_template
from affect3d.registration.uv import UVRegistration

#: What is performed, one after the other.
ACTS = [
    {"mouthSmile": 0.9, "cheekSquint": 0.6, "jawOpen": 0.2},
    {"browInnerUp": 0.9, "browOuterUp": 0.8, "eyeWide": 0.7, "jawOpen": 0.5},
    {"browDown": 0.9, "noseSneer": 0.6, "mouthPress": 0.5}, {"jawOpen": 0.5, "mouthFunnel": 0.6},
    {"mouthPucker": 0.8}, {"mouthFrown": 0.7, "browInnerUp": 0.6},
]  # fmt: skip


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--model", default="default")
    parser.add_argument("--vertices", type=int, help="cut the template to so many around the nose")
    parser.add_argument("--uv", action="store_true")
    parser.add_argument("--modes", type=int, metavar="N", help="the neutral begins from N identity modes of the model")
    options = parser.parse_args(argv)
    model = load_model(options.model)
    template = model_template(model)
    if options.vertices:
        template = middle(template, options.vertices)
    rng = np.random.default_rng(5)
    identity = 0.8 * rng.standard_normal(len(model.identity))
    marks = template.landmarks[17:]
    marks = marks[marks >= 0]
    neutral = template.mesh.with_vertices(performed(model, template, identity, 0, None)[0])
    scan, _ = scanned(neutral, rng)
    placed = neutral.vertices[marks] + rng.normal(0, 1, (len(marks), 3))
    began = time.perf_counter()
    shape = template.mesh
    if options.modes:
        own = model_modes(replace(model, identity=model.identity[: options.modes],
                                  identity_std=model.identity_std[: options.modes]), template)  # fmt: skip
        shape = shape.with_vertices(fit_modes(shape, own, scan, marks, placed).vertices)
    found = register_nonrigid(shape, scan, marks, placed, NEUTRAL)
    seconds = time.perf_counter() - began
    error = np.linalg.norm(found.vertices - neutral.vertices, axis=1)
    print(f"template of {len(neutral.vertices)} vertices, scans of about {len(scan.vertices)}")
    high = np.percentile(error, 95)
    print(f"neutral registered in {seconds:.1f} s, {error.mean():.2f} mm from the truth ({high:.2f} at 95 %)")
    print(f"{'':<36}{'mean mm':>9}{'95 %':>7}{'strong':>8}{'at 30':>7}{'at end':>7}{'failed':>8}{'frames/s':>10}")
    registered = neutral.with_vertices(found.vertices)
    rows = [
        ("neutral known", neutral, False, None), ("neutral registered", registered, False, None),
        ("neutral registered, landmarks 1 mm", registered, True, None),
    ]  # fmt: skip
    if options.model != "default":
        prior = expression_prior(load_model("default"), template)
        rows += [
            ("prior, neutral known", neutral, False, prior), ("prior, neutral registered", registered, False, prior),
            ("prior, registered, landmarks 1 mm", registered, True, prior),
        ]  # fmt: skip
    for name, rest, with_marks, prior in rows:
        truths, spent = [], [0.0]

        def frames():
            noise = np.random.default_rng(6)
            for k in range(options.frames):
                began = time.perf_counter()
                truth, _ = performed(model, template, identity, k + 1, options.frames)
                truths.append(truth)
                raw, _ = scanned(neutral.with_vertices(truth), noise)
                points = truth[marks] + noise.normal(0, 1, (len(marks), 3))
                spent[0] += time.perf_counter() - began
                yield (raw, points) if with_marks else raw

        began, errors, failed = time.perf_counter(), [], 0
        for result in register_sequence(rest, frames(), marks if with_marks else None, prior=prior):
            failed += not result.converged
            errors.append(np.linalg.norm(result.vertices - truths[result.index], axis=1))
        show(name, errors, range(1, options.frames + 1), failed, time.perf_counter() - began - spent[0])
    if options.uv:
        for name, textured in (("uv, neutral known, every 10th", False), ("the same with texture", True)):
            errors, failed, seconds = flattened(model, template, identity, neutral, options.frames, textured)
            show(name, errors, range(1, options.frames + 1, 10), failed, seconds)


def middle(template: Template, count: int) -> Template:
    """The triangles of a template among the `count` vertices that are nearest to the tip of its nose."""
    mesh, nose = template.mesh, template.landmarks[30]
    near = np.zeros(len(mesh.vertices), bool)
    near[np.argsort(np.linalg.norm(mesh.vertices - mesh.vertices[nose], axis=1), kind="stable")[:count]] = True
    faces = mesh.faces[near[mesh.faces].all(1)]
    used = np.unique(faces)
    new = np.full(len(near), -1)
    new[used] = np.arange(len(used))
    marks = np.where(template.landmarks >= 0, new[template.landmarks], -1)
    return Template(Mesh(mesh.vertices[used], new[faces]), template.scheme, marks, "", template.model_vertices[used])


def show(name, errors, numbers, failed: int, seconds: float) -> None:
    """A row: true-vertex errors over all frames, at strong expressions, around frame 30 and at the end."""
    means, every, numbers = np.array([e.mean() for e in errors]), np.concatenate(errors), np.array(numbers)
    strong = np.abs((numbers / 50) % 1 - 0.5) < 0.2
    around = np.abs(numbers - 30) <= 10
    print(
        f"{name:<36}{every.mean():>9.2f}{np.percentile(every, 95):>7.2f}{means[strong].mean():>8.2f}"
        f"{means[around].mean():>7.2f}{means[numbers > numbers[-1] - 20].mean():>7.2f}{failed:>8}"
        f"{len(errors) / seconds:>10.1f}", flush=True,
    )  # fmt: skip


def flattened(model, template, identity, neutral, frames: int, textured: bool):
    """Errors of `UVRegistration`, in the true pose, each frame from the flow of the one before."""
    noise, light = np.random.default_rng(6), np.random.default_rng(8)
    # where a place of the skin lies on the face at rest is where it lies in the texture
    low, high = neutral.vertices[:, :2].min(0), neutral.vertices[:, :2].max(0)
    uv = (neutral.vertices[:, :2] - low) / (high - low)
    picture = skin(np.random.default_rng(9))
    rest, _ = scanned(neutral, noise, uv)
    method = UVRegistration(neutral, painted=(rest, picture) if textured else None)
    errors, failed, seconds, flow = [], 0, 0.0, None
    for k in range(1, frames + 1, 10):
        truth, turn = performed(model, template, identity, k, frames)
        scan, _ = scanned(neutral.with_vertices(truth), noise, uv)
        lit = np.clip(picture * light.uniform(0.7, 1.2), 0, 255).astype(np.uint8)
        began = time.perf_counter()
        result = method.register(
            scan, rotation_exp(turn), shifted(k), start=flow, texture=lit if textured else None
        )
        seconds += time.perf_counter() - began
        failed += not result.converged
        flow = result.flow
        errors.append(np.linalg.norm(result.vertices - truth, axis=1))
    return errors, failed, seconds


def skin(rng, size: int = 1024):
    """A picture (size, size, 3) uint8 of blotches of all sizes and of freckles."""
    grey = sum(s**0.5 * gaussian_filter(rng.normal(0, 1, (size, size)), s, mode="wrap") * s for s in (3, 8, 20))
    grey -= 8 * (gaussian_filter((rng.random((size, size)) > 0.9995).astype(float), 2) > 0.02)
    grey = 150 + 18 * grey / grey.std()
    return np.clip(grey[..., None] * [1.1, 0.85, 0.75], 0, 255).astype(np.uint8)


def performed(model, template, identity, frame, frames):
    """True vertices (V, 3) of the template's part at a frame, and the head's rotation."""
    coefficients = np.zeros(len(model.expression_names))
    turn, shift = np.zeros(3), np.zeros(3)
    if frames is not None:
        phase = frame / 50.0
        act = ACTS[int(phase) % len(ACTS)]
        strength = np.sin(np.pi * (phase % 1)) ** 2
        for k, name in enumerate(model.expression_names):
            coefficients[k] = strength * act.get(name, act.get(name.removesuffix("Left").removesuffix("Right"), 0.0))
        turn = 0.25 * np.array([np.sin(frame / 31), np.sin(frame / 23), 0.5 * np.sin(frame / 41)])
        shift = shifted(frame)
    vertices = model.instance(identity, coefficients)[template.model_vertices]
    return vertices @ rotation_exp(turn).T + shift, turn


def shifted(frame):
    """Where the head is, mm."""
    return np.array([8 * np.sin(frame / 17), 5 * np.sin(frame / 29), 10 * np.sin(frame / 37)])


def scanned(mesh, rng, uv=None):
    """The surface as another scanner would give it; `uv` (V, 2) of the mesh's vertices goes with it."""
    sides = np.sort(mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, back = np.unique(sides, axis=0, return_inverse=True)
    ab, bc, ca = (back.reshape(-1, 3) + len(mesh.vertices)).T
    a, b, c = mesh.faces.T
    faces = np.vstack([np.column_stack(p) for p in ((a, ab, ca), (ab, b, bc), (bc, c, ca), (ab, bc, ca))])
    carried = mesh.vertices if uv is None else np.hstack([mesh.vertices, uv])
    vertices = np.vstack([carried, carried[edges].mean(1)])
    # each vertex wanders along one of its edges, on the surface
    sides = faces[rng.permutation(len(faces))][:, [0, 1]]
    goal = np.arange(len(vertices))
    goal[sides[:, 0]] = sides[:, 1]
    vertices = vertices + rng.uniform(0, 0.4, (len(vertices), 1)) * (vertices[goal] - vertices)
    vertices, uv = vertices[:, :3], None if uv is None else vertices[:, 3:]
    vertices = vertices + rng.normal(0, 0.15, vertices.shape)
    keep = np.ones(len(vertices), bool)
    for middle in vertices[rng.choice(len(vertices), 4)]:
        keep &= np.linalg.norm(vertices - middle, axis=1) > rng.uniform(4, 9)
    faces = (np.cumsum(keep) - 1)[faces[keep[faces].all(1)]]
    vertices, uv = vertices[keep], None if uv is None else uv[keep]
    order = rng.permutation(len(vertices))
    return Mesh(vertices[order], np.argsort(order)[faces], None if uv is None else uv[order]), order


if __name__ == "__main__":
    main()
