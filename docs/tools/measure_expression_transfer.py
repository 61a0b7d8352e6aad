"""Expression transfer against a head whose own ARKit shapes are known.

Prints, over the shapes that both heads name, how alike the transferred displacements of face and lips are to the head's
own (correlation of the displacement fields) and how large they are (ratio of their norms); the same for displacements
copied from the nearest place, without deformation transfer; the way there and back; and a re-meshed copy.  Needs the
development data (ICT-FaceKit) and the default head.

    python docs/tools/measure_expression_transfer.py [FOLDER_OF_THE_DATA]
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from affect3d.fitting.expression_transfer import TransferOptions, transfer_expressions
from affect3d.geometry.proximity import nearest_on_mesh
from affect3d.geometry.triangles import face_normals
from affect3d.model.load import load_model
from affect3d.model.morphable import MorphableModel

#: Groups of shapes in the table.
GROUPS = {
    "jaw": ("jaw", "mouthClose"), "mouth": ("mouth",), "lids": ("eyeBlink", "eyeSquint", "eyeWide"), "brows": ("brow",),
    "cheeks, nose": ("cheek", "nose"), "gaze (lids)": ("eyeLook",),
}  # fmt: skip


def stripped(model: MorphableModel, landmarks: bool = True) -> MorphableModel:
    """A model without expressions and identity modes, and if wanted without landmarks."""
    none = np.zeros((0, len(model.mean), 3), np.float32)
    return replace(
        model, expression=none, expression_names=(), identity=none, identity_std=np.zeros(0),
        landmarks=model.landmarks if landmarks else {},
    )  # fmt: skip


def compared(model, names, expression, skin) -> dict[str, tuple[float, float, float]]:
    """Correlation, ratio and mean distance in mm for each shape that both have."""
    out = {}
    for k, name in enumerate(names):
        if name in model.expression_names:
            a = expression[k][skin].astype(float)
            b = model.expression[model.expression_names.index(name)][skin].astype(float)
            if np.linalg.norm(b) > 1e-6 and np.linalg.norm(a) > 1e-6:
                out[name] = (
                    float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)),
                    float(np.linalg.norm(a) / np.linalg.norm(b)), float(np.linalg.norm(a - b, axis=1).mean()),
                )  # fmt: skip
    return out


def folded(model, shapes, skin) -> str:
    """How many triangles of face and lips turn by more than a right angle at full intensity, and how many have an edge
    stretched to more than four times its length."""
    faces = model.faces[skin[model.faces].all(1)]
    before, sides = face_normals(model.mean, faces), _sides(model.mean, faces)
    turned = [int(((face_normals(model.mean + e, faces) * before).sum(1) < 0).sum()) for e in shapes]
    torn = [int((_sides(model.mean + e, faces) > 4 * sides).any(1).sum()) for e in shapes]
    return (
        f"a shape turns over {np.mean(turned):.1f} of {len(faces)} triangles (at most {max(turned)}) and stretches "
        f"{np.mean(torn):.1f} (at most {max(torn)})"
    )


def _sides(vertices, faces) -> np.ndarray:
    return np.linalg.norm(vertices[faces] - vertices[np.roll(faces, 1, 1)], axis=2)


def row(title, found):
    values = np.array(list(found.values()))
    ratio = np.exp(np.log(values[:, 1]).mean())
    print(f"{title:44s} {values[:, 0].mean():.3f} {np.median(values[:, 0]):.3f} {values[:, 0].min():.3f} "
          f"{ratio:.2f} {values[:, 2].mean():.2f}  ({len(values)} shapes)")  # fmt: skip


def main() -> None:
    shared = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1].parent / "shared"
    default, ict = load_model("default"), load_model(f"ict:{shared / 'models' / 'ict_facekit_light.npz'}")
    skin = {id(m): m.part_vertices("face", "lips") for m in (default, ict)}
    print(f"{'':44s} mean  median  min   size  mm")
    start = time.process_time()
    own = transfer_expressions(default, stripped(ict))
    print(f"one transfer: {time.process_time() - start:.1f} s of processor time")
    ways = {"its own 478 landmarks": own, "landmarks found on its shape": transfer_expressions(
        default, stripped(ict, landmarks=False))}  # fmt: skip
    for reach in (25.0, 100.0):
        options = TransferOptions(reach=reach)
        ways[f"reach {reach:.0f} mm"] = transfer_expressions(default, stripped(ict), options=options)
    for title, found in ways.items():
        row(f"default -> ICT, {title}", compared(ict, found.names, found.expression, skin[id(ict)]))
    near = nearest_on_mesh(
        ict.mean, own.placed.placed[own.placed.source.vertices], own.placed.source.faces
    )
    rows = default.expression[:, own.placed.source.vertices].astype(float)
    copied = np.einsum("nk,enkd->end", near.weights, rows[:, own.placed.source.faces[near.faces]])
    row("default -> ICT, copied from the nearest place", compared(ict, own.names, copied, skin[id(ict)]))
    for title, shapes in (("transferred", own.expression), ("copied", copied)):
        print(f"  {title}: {folded(ict, shapes, skin[id(ict)])}")
    print(f"  its own: {folded(ict, ict.expression, skin[id(ict)])}")
    found = transfer_expressions(ict, stripped(default))
    row("ICT -> default", compared(default, found.names, found.expression, skin[id(default)]))
    there = replace(ict, expression=own.expression, expression_names=own.names)
    back = transfer_expressions(there, stripped(default))
    row("default -> ICT -> default", compared(default, back.names, back.expression, skin[id(default)]))
    refined, operator = remeshed(default)
    again = transfer_expressions(default, refined)
    truth = replace(refined, expression=np.stack([operator @ e.astype(float) for e in default.expression]),
                    expression_names=default.expression_names)  # fmt: skip
    mask = operator @ skin[id(default)].astype(float) > 0.99
    row("default -> default refined and shuffled", compared(truth, again.names, again.expression, mask))
    table = compared(ict, own.names, own.expression, skin[id(ict)])
    for title, prefixes in GROUPS.items():
        chosen = {n: v for n, v in table.items() if n.startswith(prefixes)}
        row(f"  {title}", {n: v for n, v in chosen.items() if title == "jaw" or n != "mouthClose"})
    for name, (alike, ratio, distance) in table.items():
        print(f"    {name:24s} {alike:.3f} {ratio:.2f} {distance:.2f}")


def remeshed(model: MorphableModel):
    """The skin of a model with every triangle cut in four and the vertices shuffled; the operator from old to new."""
    from scipy import sparse

    from affect3d.fitting.transfer_surface import main_surface

    surface = main_surface(model)
    faces, count = surface.faces, len(surface.vertices)
    sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, place = np.unique(sides, axis=0, return_inverse=True)
    d, e, f = (count + place.reshape(-1, 3)).T
    a, b, c = faces.T
    fine = np.concatenate([np.column_stack(t) for t in ((a, d, f), (d, b, e), (f, e, c), (d, e, f))])
    k = np.arange(len(edges))
    new = sparse.vstack([
        sparse.eye_array(count),
        sparse.coo_array((np.full(2 * len(k), 0.5), (np.r_[k, k], edges.T.ravel())), (len(k), count)),
    ]).tocsr()
    order = np.random.default_rng(5).permutation(count + len(edges))
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    pick = sparse.coo_array((np.ones(count), (np.arange(count), surface.vertices)), (count, len(model.mean)))
    operator = (new @ pick).tocsr()[order]
    none = np.zeros((0, len(order), 3), np.float32)
    bare = MorphableModel(operator @ model.mean, place[fine], none, np.zeros(0), none, (), part_names=("face",))
    return bare, operator


if __name__ == "__main__":
    main()
