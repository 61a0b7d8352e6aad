"""How near fits come to known heads, and what they tell of real people: ``python benchmarks/bench_photometric.py``.

Three parts:

``--heads MODEL ...``: heads of known shape, expression, pose and light are drawn with skin from real photographs (the
folder ``--photos``), MediaPipe finds their landmarks, and they are fitted by each of the models.  The figure is the
mean distance (mm) of the face's vertices from where they truly are, after rigid alignment; where the head comes from
another model than the fit, the distance at the landmarks inside the face.  Beside it the same after alignment with
scale, since one photo says nothing of size, that of the model's mean head, and that of a fit to the exact landmarks,
which is the least that a landmark fit can leave; across models also the distance that the model's best coefficients
leave when the true landmarks are known in space.  The focal length is given.

``--photos FOLDER`` with files named ``<who>_neutral.*`` and ``<who>_smiling.*``: rank-1 recognition between a person's
two photographs by the cosine of centred identity coefficients, and the area under the curve of the mean of
``mouthSmileLeft`` and ``mouthSmileRight``, for all and for two halves of the people.

Always (alone with ``--eos``): noisy landmarks at vertices, fitted by `fit_face` and by eos-py (if it is installed),
both with the same model.  Errors are after alignment with scale, as eos knows no distances.

Processor time, not time on the clock, is given.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.optimize import lsq_linear
from scipy.spatial import cKDTree

from affect3d.camera import Camera
from affect3d.fitting import FitOptions, PhotometricOptions, fit_face, fit_photometric
from affect3d.fitting.landmark_basis import landmark_basis
from affect3d.geometry.procrustes import procrustes
from affect3d.geometry.rotation import rotation_exp
from affect3d.geometry.triangles import vertex_normals
from affect3d.landmark_groups import OUTLINE, UNUSED
from affect3d.landmarks import Landmarks, MeshLandmarks
from affect3d.model.load import load_model
from affect3d.render.raster import interpolate, rasterize, screen_points
from affect3d.render.shading import harmonics, linear_to_srgb, srgb_to_linear

SCHEME, SIZE = "mediapipe478", 512
INNER = np.setdiff1d(np.arange(478), [*UNUSED[SCHEME], *OUTLINE[SCHEME]])
SHOWN = (
    "jawOpen", "mouthSmileLeft", "browInnerUp", "eyeSquintLeft", "mouthPucker", "cheekSquintLeft", "browDownLeft",
    "mouthFrownLeft",
)  # fmt: skip
SIX = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "mouthPucker", "mouthFrownLeft")


def photographs(folder: Path) -> list[tuple[str, np.ndarray, object]]:
    """Name, pixels and detection of every photo with a face."""
    from affect3d.detect import detect_faces
    from affect3d.io.image import read_image

    out = []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png")):
        pixels = read_image(path).pixels
        faces = detect_faces(pixels)
        if faces:
            out.append((path.stem, pixels, faces[0]))
    return out


def skin_of(pixels, detection, model) -> np.ndarray:
    """(V, 3) linear albedo of a photo's face, laid on the model so that the landmarks meet."""
    fit = fit_face(detection, model, pixels.shape[1::-1])
    vertices = fit.vertices(model)
    screen = screen_points(fit.camera, vertices)
    raster = rasterize(screen, model.faces, *fit.camera.size)
    marks = model.landmarks[SCHEME]
    rest, fixed = (marks.locate(v, model.faces) for v in (model.mean, vertices))
    off = fit.targets - fit.camera.project(fixed)
    on = INNER[np.isfinite(off[INNER]).all(1) & np.isfinite(rest[INNER]).all(1)]
    skin = model.part_vertices("face", "lips")
    near = np.flatnonzero(skin & (model.mean[:, 2] > np.nanmin(rest[on, 2]) - 30))
    warp = RBFInterpolator(rest[on], off[on], neighbors=40, smoothing=1.0, kernel="linear")
    place = screen[:, :2].copy()
    place[near] += warp(model.mean[near])
    place = np.clip(place, 0, np.array(fit.camera.size) - 1).astype(np.float32)
    at = np.rint(place).astype(int)
    normal = vertex_normals(vertices, model.faces)
    view = fit.camera.position - vertices
    facing = (normal * view).sum(1) / np.linalg.norm(view, axis=1)
    seen = (screen[:, 2] < raster.depth[at[:, 1], at[:, 0]] + 3) & (facing > 0.35) & skin
    linear = srgb_to_linear(pixels)
    colour = cv2.remap(linear, place[:, :1], place[:, 1:], cv2.INTER_LINEAR)[:, 0]
    grey = colour @ [0.3, 0.6, 0.1]
    basis = harmonics(normal)
    light = np.linalg.solve(basis[seen].T @ basis[seen] + 1e-2 * np.eye(9), basis[seen].T @ grey[seen])
    shade = np.maximum(basis @ light, 0.3 * np.median((basis @ light)[seen]))
    albedo = colour / shade[:, None]
    albedo *= 0.4 / np.median(albedo[seen] @ [0.3, 0.6, 0.1])
    filled = albedo[np.flatnonzero(seen)[cKDTree(model.mean[seen]).query(model.mean)[1]]]
    far = np.linalg.norm(model.mean - model.mean[seen][cKDTree(model.mean[seen]).query(model.mean)[1]], axis=1)
    plain = np.median(albedo[seen], axis=0)
    filled = plain + (filled - plain) * np.exp(-far / 8)[:, None]
    if model.colours is not None:
        other = ~model.part_vertices("face", "head", "neck", "lips")
        filled[other] = srgb_to_linear(model.colours)[other]
    return np.clip(filled, 0.02, 1)


@dataclass(frozen=True, eq=False)
class Planted:
    """A drawn head: its picture, and what is true of it."""

    image: np.ndarray
    detection: object
    camera: Camera
    vertices: np.ndarray


def draw(model, albedo, seed: int):
    """Picture, camera and vertices of a head with that skin."""
    rng = np.random.default_rng(seed)
    expression = np.zeros(len(model.expression))
    for name in SHOWN:
        weight = max(0.0, rng.uniform(-0.5, 0.7))
        for side in {name, name.replace("Left", "Right")} & set(model.expression_names):
            expression[model.expression_names.index(side)] = weight
    vertices = model.instance(rng.normal(0, 0.9, min(70, len(model.identity))), expression)
    yaw, pitch, roll = rng.uniform(-0.45, 0.45), rng.uniform(-0.2, 0.2), rng.uniform(-0.1, 0.1)
    R = rotation_exp(np.array([0, 0, roll])) @ np.diag([1.0, -1, -1])
    R = R @ rotation_exp(np.array([pitch, 0, 0])) @ rotation_exp(np.array([0, yaw, 0]))
    T = np.eye(4)
    T[:3, :3] = R
    middle = model.landmarks[SCHEME].locate(model.mean, model.faces)
    T[:3, 3] = -R @ np.nanmean(middle, 0) + [rng.uniform(-15, 15), rng.uniform(-10, 10), rng.uniform(560, 840)]
    camera = Camera(2.4 * SIZE, np.full(2, SIZE / 2 - 0.5), (SIZE, SIZE), T)
    raster = rasterize(screen_points(camera.resized(2 * SIZE, 2 * SIZE), vertices), model.faces, 2 * SIZE, 2 * SIZE)
    light = np.zeros((9, 3))
    towards = rng.normal(size=3) * [1, 0.6, 0.3] + [0, 0.5, 0.8]
    light[0] = 1
    light[1:4] = rng.uniform(0.3, 0.7) * (towards / np.linalg.norm(towards))[:, None] * [1, 0.97, 0.93]
    light[4:] = rng.normal(0, 0.06, (5, 3))
    shade = np.maximum(harmonics(vertex_normals(vertices, model.faces)) @ light, 0.03)
    behind = cv2.resize(rng.uniform(0.05, 0.5, (6, 6, 3)).astype(np.float32), (2 * SIZE, 2 * SIZE))
    linear = np.where(raster.covered[..., None], interpolate(raster, model.faces, albedo * shade), behind)
    linear = cv2.resize(linear.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    linear = cv2.GaussianBlur(linear, (0, 0), 0.6)
    encoded = linear_to_srgb(np.clip(linear * rng.uniform(0.6, 0.95), 0, 1)) + rng.normal(0, 1.5, linear.shape)
    return np.clip(np.rint(encoded), 0, 255).astype(np.uint8), camera, vertices


def distances(head: Planted, of, vertices, model) -> tuple[float, float]:
    """Mean distance (mm) after rigid alignment and after alignment with scale."""
    if of is model:
        front = model.part_vertices("face", "lips") & (model.mean[:, 2] > -20)
        a, b = vertices[front], head.vertices[front]
    else:
        a = model.landmarks[SCHEME].locate(vertices, model.faces)[INNER]
        b = of.landmarks[SCHEME].locate(head.vertices, of.faces)[INNER]
        ok = np.isfinite(a).all(1) & np.isfinite(b).all(1)
        a, b = a[ok], b[ok]
    moved = (procrustes(a, b, scale=scale).apply(a) for scale in (False, True))
    rigid, similar = (float(np.linalg.norm(m - b, axis=1).mean()) for m in moved)
    return rigid, similar


def reachable(head: Planted, of, model, rounds: int = 6) -> float:
    """Mean distance (mm) of the inner landmarks that the model's best coefficients leave, the truth known in space."""
    basis = landmark_basis(model, SCHEME, min(60, len(model.identity)))
    true = of.landmarks[SCHEME].locate(head.vertices, of.faces)
    on = INNER[np.isfinite(basis.mean[INNER]).all(1) & np.isfinite(true[INNER]).all(1)]
    rest, true, count = basis.mean[on], true[on], len(basis.identity)
    linear = np.concatenate([basis.identity, basis.expression])[:, on].reshape(-1, 3 * len(on)).T
    # identities that nobody has do not count: one deviation costs as much as 4 mm at one landmark
    held = np.hstack([np.eye(count) * 4.0, np.zeros((count, linear.shape[1] - count))])
    low = np.r_[np.full(count, -np.inf), np.zeros(linear.shape[1] - count)]
    high = np.r_[np.full(count, np.inf), np.ones(linear.shape[1] - count)]
    points = rest
    for _ in range(rounds):
        aim = procrustes(true, points, scale=False).apply(true) - rest
        found = lsq_linear(np.vstack([linear, held]), np.r_[aim.ravel(), np.zeros(count)], (low, high)).x
        points = rest + (linear @ found).reshape(-1, 3)
    return float(np.linalg.norm(procrustes(points, true, scale=False).apply(points) - true, axis=1).mean())


def planted(models: dict, photos, count: int, options: PhotometricOptions) -> None:
    from affect3d.detect import detect_faces

    neutral = [p for p in photos if "smiling" not in p[0]]
    print(f"{'heads of':<10} {'fitted with':<12} {'heads':>5}  mean distance in mm after rigid alignment (with scale)")
    for of_name, of in models.items():
        heads = []
        for seed in range(count):
            _, pixels, detection = neutral[seed % len(neutral)]
            image, camera, vertices = draw(of, skin_of(pixels, detection, of), 5000 + seed)
            faces = detect_faces(image)
            if faces:
                heads.append(Planted(image, faces[0], camera, vertices))
        for name, model in models.items():
            rows, spent = [], 0.0
            for head in heads:
                given = FitOptions(focal=head.camera.focal)
                fit = fit_face(head.detection, model, (SIZE, SIZE), given)
                start = time.process_time()
                result = fit_photometric(head.image, fit, model, options)
                spent += time.process_time() - start
                true = head.camera.project(of.landmarks[SCHEME].locate(head.vertices, of.faces))
                exact = fit_face(Landmarks(SCHEME, true), model, (SIZE, SIZE), given)
                shapes = (model.mean, exact.vertices(model), fit.vertices(model), result.fit.vertices(model))
                rows.append([distances(head, of, v, model) for v in shapes])
            r = np.mean(rows, axis=0)
            named = ("mean head", "exact landmarks", "landmark fit", "photometric")
            print(
                f"{of_name:<10} {name:<12} {len(heads):>5}  "
                + ", ".join(f"{n} {a:.2f} ({b:.2f})" for n, (a, b) in zip(named, r))
                + f": {100 * (r[3, 0] / r[2, 0] - 1):+.0f} % ({100 * (r[3, 1] / r[2, 1] - 1):+.0f} %), "
                f"{spent / len(heads):.2f} s"
            )
            if model is not of:
                print(f"{'':<29} the model's best {np.mean([reachable(h, of, model) for h in heads]):.2f}")


def people(photos, model, options: PhotometricOptions) -> None:
    """Recognition and smiles of real photographs."""
    pairs = {}
    for stem, pixels, detection in photos:
        who, _, kind = stem.partition("_")
        pairs.setdefault(who, {})[kind] = (pixels, detection)
    pairs = {who: p for who, p in pairs.items() if {"neutral", "smiling"} <= set(p)}
    smile = [model.expression_names.index(f"mouthSmile{side}") for side in ("Left", "Right")]
    identity, score = np.zeros((2, 2, len(pairs), 60)), np.zeros((2, 2, len(pairs)))
    spent = 0.0
    for i, who in enumerate(sorted(pairs)):
        for k, kind in enumerate(("neutral", "smiling")):
            pixels, detection = pairs[who][kind]
            fit = fit_face(detection, model, pixels.shape[1::-1])
            start = time.process_time()
            refined = fit_photometric(pixels, fit, model, options).fit
            spent += time.process_time() - start
            for j, f in enumerate((fit, refined)):
                identity[j, k, i, : len(f.identity)] = f.identity
                score[j, k, i] = f.expression[smile].mean()
    halves = {"all": slice(None), "one half": slice(0, None, 2), "the other": slice(1, None, 2)}
    print(f"\n{len(pairs)} people, neutral and smiling; photometric {spent / max(2 * len(pairs), 1):.2f} s a photo")
    for j, name in enumerate(("landmark fit", "photometric")):
        a, b = (x - identity[j].mean((0, 1)) for x in identity[j])
        a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
        alike = a @ b.T
        own = np.arange(len(alike))
        rank = (np.mean(alike.argmax(0) == own) + np.mean(alike.argmax(1) == own)) / 2
        areas = [
            f"{half} {np.mean(np.sign(score[j, 1][s][:, None] - score[j, 0][s]) / 2 + 0.5):.3f}"
            for half, s in halves.items()
        ]
        print(f"{name:<13} rank-1 {100 * rank:.0f} %, smiles AUC {', '.join(areas)}")


def as_eos(model, eos):
    """The same model for eos."""
    count = len(model.mean)
    flat = model.identity.reshape(len(model.identity), -1).astype(np.float64)
    length = np.linalg.norm(flat, axis=1)
    shape = eos.morphablemodel.PcaModel(
        model.mean.reshape(-1, 1).astype(np.float32), (flat / length[:, None]).T.astype(np.float32),
        ((model.identity_std * length) ** 2)[:, None].astype(np.float32), model.faces.tolist(),
    )  # fmt: skip
    shapes = [
        eos.morphablemodel.Blendshape(name, d.reshape(3 * count, 1).astype(np.float32))
        for name, d in zip(model.expression_names, model.expression)
    ]
    return eos.morphablemodel.MorphableModel(shape, shapes, eos.morphablemodel.PcaModel())


def beside_eos(model, known: tuple[str, ...], shown: int, count: int = 20, noise: float = 0.01) -> None:
    """Both fits to the same noisy landmarks of the inner face, each at a vertex.

    The model has the expressions `known`, of which a head shows `shown`.
    """
    try:
        import eos
    except ImportError:
        print("\neos is not installed (pip install eos-py): nothing to compare with")
        return
    kept = [model.expression_names.index(name) for name in known]
    model = replace(model, expression=model.expression[kept], expression_names=known)
    scheme = "ibug68" if "ibug68" in model.landmarks else SCHEME
    marks = model.landmarks[scheme]
    chosen = [k for k in range(len(marks.faces)) if marks.present[k] and k not in {*OUTLINE[scheme], *UNUSED[scheme]}]
    corner = marks.weights[chosen].argmax(1)
    vertex = model.faces[marks.faces[chosen], corner]
    # the same landmarks for our fit: at those vertices exactly
    faces, weights = marks.faces.copy(), marks.weights.copy()
    weights[chosen] = np.eye(3)[corner]
    ours = replace(model, landmarks={**model.landmarks, scheme: MeshLandmarks(scheme, faces, weights)})
    theirs = as_eos(model, eos)
    names = [str(v) for v in vertex]
    front = model.part_vertices("face", "lips") & (model.mean[:, 2] > -20)
    weights_tried = (3.0, 10.0, 30.0, 100.0)  # of eos's priors: its default, and what may suit better
    rows, spent = [], np.zeros(2)
    for seed in range(count + 1):  # the first only warms up
        rng = np.random.default_rng(seed)
        expression = np.zeros(len(model.expression))
        expression[rng.choice(len(expression), shown, replace=False)] = rng.uniform(0, 0.6, shown)
        true = model.instance(rng.normal(0, 0.9, min(60, len(model.identity))), expression)
        T = np.eye(4)
        T[:3, :3] = np.diag([1.0, -1, -1]) @ rotation_exp(np.array([0, rng.uniform(-0.5, 0.5), 0]))
        T[:3, 3] = -T[:3, :3] @ true[vertex].mean(0) + [0, 0, 700]
        camera = Camera(1400.0, np.array([499.5, 499.5]), (1000, 1000), T)
        points = np.full((len(marks.faces), 2), np.nan)
        points[chosen] = camera.project(true[vertex])
        points[chosen] += noise * 180 * rng.normal(size=(len(chosen), 2))  # 180 px between the outer eye corners
        start = time.process_time()
        fit = fit_face(Landmarks(scheme, points), ours, camera.size, FitOptions(focal=1400.0))
        middle = time.process_time()
        given = [eos.core.Landmark(n, p.astype(np.float32)) for n, p in zip(names, points[chosen])]
        meshes = [
            eos.fitting.fit_shape_and_pose(
                theirs, given, eos.core.LandmarkMapper(), *camera.size, lambda_identity=w, lambda_expressions=w
            )[0]
            for w in weights_tried
        ]
        end = time.process_time()
        if seed:
            spent += [middle - start, end - middle]
            shapes = (model.mean, fit.vertices(ours), *(np.array(mesh.vertices, float)[:, :3] for mesh in meshes))
            moved = (procrustes(v[front], true[front], scale=True).apply(v[front]) for v in shapes)
            rows.append([np.linalg.norm(m - true[front], axis=1).mean() for m in moved])
    mean = np.mean(rows, axis=0)
    peers = ", ".join(f"{m:.2f} (lambda {w:g})" for w, m in zip(weights_tried, mean[2:]))
    print(
        f"\n{count} heads, {shown} of {len(known)} expressions shown, {len(chosen)} landmarks with {100 * noise:g} % of"
        f" noise; mean distance in mm after alignment with scale: the mean head {mean[0]:.2f}, fit_face {mean[1]:.2f}"
        f" in {1000 * spent[0] / count:.0f} ms, eos {peers} in {1000 * spent[1] / count / len(weights_tried):.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder of photographs: people, and skin for the heads")
    parser.add_argument("--heads", nargs="*", help="models to draw and to fit: files, or 'default'")
    parser.add_argument("--count", type=int, default=12, help="heads of each model")
    parser.add_argument("--rehearsals", type=int, default=PhotometricOptions().rehearsals)
    parser.add_argument("--eos", action="store_true", help="only the comparison with eos")
    given = parser.parse_args()
    options = PhotometricOptions(rehearsals=given.rehearsals)
    default = load_model()
    if not given.eos and given.photos:
        photos = photographs(given.photos)
        if given.heads is not None:
            models = {Path(n).stem: default if n == "default" else load_model(n) for n in given.heads or ["default"]}
            planted(models, photos, given.count, options)
        people(photos, default, options)
    # eos was made for six expressions; with all of ARKit's it follows the noise
    for known, shown in ((SIX, 0), (SIX, 3), (default.expression_names, 3)):
        beside_eos(default, known, shown)


if __name__ == "__main__":
    main()
