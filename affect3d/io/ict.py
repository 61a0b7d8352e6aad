"""Reader of ICT-FaceKit (Li et al., "Learning Formation of Physically-Based Face Attributes", CVPR 2020).

Two layouts: the original `FaceXModel` folder of OBJ files, and one .npz of the same content
(`neutral`, `faces`, `uv`, `uv_faces`, `identity`, `expression`, `expression_names`,
`landmarks_ibug68`).  Both are in centimetres; the result is in millimetres, in our model frame, with
the origin between the eyeballs.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from affect3d.landmarks import MeshLandmarks
from affect3d.model.morphable import MorphableModel
from affect3d.progress import Progress, silent

__all__ = ["read_ict"]

#: Vertex ranges of the parts (the ICT-FaceKit documentation), and our names; None is left out:
#: lacrimal fluid, eye blend, eye occlusion and eyelash cards are shells that hide the photo's eyes.
_RANGES = (
    (0, 6706, "face"), (6706, 9409, "head"), (9409, 11248, "neck"), (11248, 13294, "mouth"), (13294, 14062, "socket"),
    (14062, 17039, "gums"), (17039, 21451, "teeth_upper"), (21451, 23021, "eye_left"), (23021, 24591, "eye_right"),
    (24591, 26719, None),
)
PARTS = (
    "face", "head", "neck", "lips", "mouth", "socket", "gums", "tongue", "teeth_upper", "teeth_lower", "eye_left",
    "eye_right",
)
_COLOURS = {
    "face": (205, 164, 143), "head": (205, 164, 143), "neck": (205, 164, 143), "lips": (176, 104, 100),
    "mouth": (110, 45, 45), "socket": (190, 150, 130), "gums": (196, 112, 112), "tongue": (190, 100, 100),
    "teeth_upper": (238, 230, 214), "teeth_lower": (236, 228, 212), "eye_left": (240, 240, 238),
    "eye_right": (240, 240, 238),
}
COUNT = 26719
#: The 68 points as vertices of the topology, which `vertex_indices.json` of the original folder also lists.
_NPZ_KEYS = ("neutral", "faces", "uv", "uv_faces", "identity", "expression", "expression_names", "landmarks_ibug68")


def read_ict(path, progress: Progress = silent) -> MorphableModel:
    """Read ICT-FaceKit from a folder of OBJ files or an .npz file.

    Raises
    ------
    ValueError
        If something is missing or of another shape than ICT-FaceKit's; the message names it.
    OSError
        If the path cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        content = _read_folder(path, progress)
    else:
        content = _read_npz(path)
    return _build(content, str(path))


def _read_npz(path) -> dict:
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [k for k in _NPZ_KEYS if k not in archive]
            if missing:
                raise ValueError(f"{path}: not an ICT-FaceKit archive, {missing[0]!r} is missing")
            return {k: archive[k] for k in _NPZ_KEYS}
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path}: not an .npz archive ({error})") from None


def _read_folder(path, progress) -> dict:
    neutral = path / "generic_neutral_mesh.obj"
    if not neutral.exists():
        raise ValueError(f"{path}: generic_neutral_mesh.obj is missing, so this is no FaceXModel folder")
    vertices, uv, faces, uv_faces = _read_obj(neutral)
    modes = sorted(path.glob("identity[0-9][0-9][0-9].obj"))
    skip = {neutral.name, *(m.name for m in modes)}
    shapes = sorted(p for p in path.glob("*.obj") if p.name not in skip)
    total = len(modes) + len(shapes)
    deltas = []
    for k, file in enumerate([*modes, *shapes]):
        moved = _read_obj(file, positions_only=True)
        if moved.shape != vertices.shape:
            raise ValueError(f"{file}: {len(moved)} vertices, but the neutral mesh has {len(vertices)}")
        deltas.append((moved - vertices).astype(np.float32))
        progress(k + 1, total, "reading ICT-FaceKit")
    empty = np.zeros((0, len(vertices), 3), np.float32)
    return {
        "neutral": vertices, "faces": faces, "uv": uv, "uv_faces": uv_faces,
        "identity": np.stack(deltas[: len(modes)]) if modes else empty,
        "expression": np.stack(deltas[len(modes) :]) if shapes else empty,
        "expression_names": np.array([p.stem for p in shapes]), "landmarks_ibug68": _landmark_indices(path),
    }


def _landmark_indices(path):
    import json

    file = path / "vertex_indices.json"
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file}: not JSON ({error})") from None
    for key, value in content.items() if isinstance(content, dict) else ():
        if "68" in key or "landmark" in key.lower():
            if isinstance(value, list) and len(value) == 68 and all(isinstance(v, int) for v in value):
                return np.array(value)
    return None


def _read_obj(path, positions_only: bool = False):
    """Vertices, texture coordinates and triangles (quads are split along their first diagonal)."""
    vertices, uv, faces, uv_faces = [], [], [], []
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            for line in stream:
                if line.startswith("v "):
                    vertices.append(line.split()[1:4])
                elif positions_only:
                    continue
                elif line.startswith("vt "):
                    uv.append(line.split()[1:3])
                elif line.startswith("f "):
                    corners = [c.split("/") for c in line.split()[1:]]
                    index = [int(c[0]) - 1 for c in corners]
                    texture = [int(c[1]) - 1 if len(c) > 1 and c[1] else 0 for c in corners]
                    for k in range(1, len(index) - 1):
                        faces.append((index[0], index[k], index[k + 1]))
                        uv_faces.append((texture[0], texture[k], texture[k + 1]))
        positions = np.array(vertices, dtype=float).reshape(-1, 3)
        if positions_only:
            return positions
        return positions, np.array(uv, float).reshape(-1, 2), np.array(faces, int), np.array(uv_faces, int)
    except (ValueError, IndexError):
        raise ValueError(f"{path}: a line is not what an OBJ file of triangles or quads holds") from None


def _build(content, origin) -> MorphableModel:
    neutral = np.asarray(content["neutral"], float) * 10.0
    if neutral.shape != (COUNT, 3):
        raise ValueError(f"{origin}: ICT-FaceKit has {COUNT} vertices, got {len(neutral)}")
    faces = np.asarray(content["faces"])
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.min() < 0 or faces.max() >= COUNT:
        raise ValueError(f"{origin}: faces must be triangles with indices in [0, {COUNT})")
    label = np.full(COUNT, -1)
    for start, stop, name in _RANGES:
        label[start:stop] = -1 if name is None else PARTS.index(name)
    # Several separate pieces share a range; geometry tells them apart.
    left = neutral[:, 0] > 0
    eyes = (label == PARTS.index("eye_left")) | (label == PARTS.index("eye_right"))
    label[eyes & left], label[eyes & ~left] = PARTS.index("eye_left"), PARTS.index("eye_right")
    expression, names = _arkit(content)
    _split_mouth(label, faces, neutral, dict(zip(names, expression)))
    origin_point = (neutral[eyes & left].mean(0) + neutral[eyes & ~left].mean(0)) / 2
    parts = label[faces].max(1)
    parts[(label[faces] < 0).any(1)] = -1
    keep = parts >= 0
    uv_faces = np.asarray(content["uv_faces"])[keep]
    faces, parts = faces[keep], parts[keep].astype(np.uint8)
    landmarks = {}
    marks = content["landmarks_ibug68"]
    if marks is not None:
        landmarks["ibug68"] = _on_vertices(np.asarray(marks), faces)
    vertices = neutral - origin_point
    if marks is not None:
        _label_lips(parts, faces, vertices, vertices[np.asarray(marks)])
    landmarks |= _placed(len(faces))
    colours = np.zeros((COUNT, 3), np.uint8)
    colours[:] = _COLOURS["face"]
    for i, name in enumerate(PARTS):
        colours[faces[parts == i]] = _COLOURS[name]
    _paint_irises(colours, vertices, label)
    identity = np.asarray(content["identity"], np.float32) * 10
    return MorphableModel(
        vertices, faces, identity, np.ones(len(identity)), expression, names, landmarks, parts, PARTS, colours,
        content["uv"], uv_faces, "ICT-FaceKit light", "MIT, Copyright (c) 2020 USC Institute for Creative Technologies",
        origin, "converted from cm; identity modes are scaled to one measured standard deviation; no tongueOut",
    )


def _arkit(content):
    """Expressions in mm under ARKit names; what ICT splits in two halves and ARKit does not is added up."""
    total: dict[str, np.ndarray] = {}
    for name, delta in zip(content["expression_names"], content["expression"]):
        name = str(name)
        name = name[:-2] + {"_L": "Left", "_R": "Right"}[name[-2:]] if name[-2:] in ("_L", "_R") else name
        for whole in ("browInnerUp", "cheekPuff"):
            if name.startswith(whole):
                name = whole
        delta = np.asarray(delta, np.float32) * 10
        total[name] = total[name] + delta if name in total else delta
    names = tuple(total)
    shape = (0, COUNT, 3)
    return (np.stack([total[n] for n in names]) if names else np.zeros(shape, np.float32)), names


def _split_mouth(label, faces, neutral, shapes):
    """Tell the lower teeth from the upper ones, and the tongue from the gums, by how jawOpen moves them."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if "jawOpen" not in shapes:
        return
    drop = np.linalg.norm(shapes["jawOpen"], axis=1)
    links = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(COUNT, COUNT))
    _, piece = connected_components(graph, directed=False)
    threshold = 0.3 * drop[label == PARTS.index("face")].max()
    for name, lower in (("teeth_upper", "teeth_lower"),):
        for k in np.unique(piece[label == PARTS.index(name)]):
            members = (piece == k) & (label == PARTS.index(name))
            if drop[members].mean() > threshold:
                label[members] = PARTS.index(lower)
    gums = label == PARTS.index("gums")
    for k in np.unique(piece[gums]):
        members = (piece == k) & gums
        # the tongue is the piece that reaches the midline well behind the teeth and lies low
        width = np.ptp(neutral[members, 0])
        if drop[members].mean() > threshold and width < 45:
            label[members] = PARTS.index("tongue")


def _on_vertices(indices, faces) -> MeshLandmarks:
    """Landmarks on vertices as (triangle, barycentric); -1 where no triangle has the vertex."""
    first = np.full(COUNT, -1)
    corner = np.zeros(COUNT, int)
    for k in (2, 1, 0):
        first[faces[:, k]] = np.arange(len(faces))
        corner[faces[:, k]] = k
    found = first[indices]
    weights = np.zeros((len(indices), 3))
    weights[np.arange(len(indices)), corner[indices]] = found >= 0
    return MeshLandmarks("ibug68", found, weights)


def _label_lips(parts, faces, vertices, marks):
    """Face triangles between the outer and the inner lip contour (front view) become lips."""
    from affect3d.geometry.polygon import inside_polygon

    centre = vertices[faces].mean(1)
    front = (parts == PARTS.index("face")) & (centre[:, 2] > marks[48:60, 2].min() - 6)
    lips = front & inside_polygon(centre[:, :2], marks[48:60, :2])
    parts[lips] = PARTS.index("lips")


def _paint_irises(colours, vertices, label):
    for name in ("eye_left", "eye_right"):
        part = np.flatnonzero(label == PARTS.index(name))
        if not len(part):
            continue
        centre = (vertices[part].max(0) + vertices[part].min(0)) / 2
        radius = np.hypot(*(vertices[part] - centre)[:, :2].T)
        front = vertices[part, 2] > centre[2]
        colours[part[front & (radius < 5.9)]] = (96, 72, 52)
        colours[part[front & (radius < 2.3)]] = (18, 16, 16)


def _placed(count) -> dict[str, MeshLandmarks]:
    """MediaPipe's points, placed on this topology by our own measurement (see docs/tools)."""
    file = Path(__file__).resolve().parent.parent / "model" / "data" / "ict_mediapipe478.npz"
    if not file.exists():
        return {}
    with np.load(file, allow_pickle=False) as table:
        if int(table["triangles"]) != count:
            return {}
        return {"mediapipe478": MeshLandmarks("mediapipe478", table["faces"], table["weights"])}
