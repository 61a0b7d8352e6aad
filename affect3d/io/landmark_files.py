"""Landmark files: .pts, menpo's .ljson, MeshLab's .pp, tables of points, and affect3d's own JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from affect3d.io.atomic import atomic_path
from affect3d.landmarks import SCHEMES, Landmarks

__all__ = ["read_landmarks", "read_landmark_vertices", "write_landmarks"]

# 478 points fill some 30 kB; a file far beyond that is something else
_MAX_BYTES = 4_000_000
# beyond any picture or millimetre coordinate, and far from overflow in later products
_MAX_COORDINATE = 1e7


def read_landmarks(path) -> Landmarks:
    """Read landmarks; the suffix names the format.

    ``.pts``
        Points counted from 1 with pixel (1, 1) at the centre of the top-left
        pixel (the iBUG convention); one is subtracted.
    ``.ljson``
        menpo's JSON, versions 1 to 3.  Two-dimensional points are stored there
        as (y, x) and are swapped.  Where the file labels its 68 points as chin,
        leye, reye, leyebrow, nose, reyebrow and mouth they are brought into the
        order of iBUG, whichever order the file has.
    ``.pp``
        MeshLab's picked points in their order; those that are not active are missing.
    ``.csv``, ``.txt``
        A point a line: two or three numbers, after a name if there is one, separated by commas, semicolons or
        blanks; a first line of words only and lines that begin with # are passed over.  ``nan`` is a missing point.
    ``.json``
        ``{"scheme": "ibug68", "unit": "px", "points": [[x, y], null, ...]}``

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Landmarks
        Missing points are rows of NaN.  In all formats but the last the scheme
        follows from the number of points (51 are the 68 of iBUG without the
        outline) and the unit is "px" for two coordinates, "mm" for three.

    Raises
    ------
    ValueError
        If the file is malformed; one sentence naming it and the fault.
    OSError
        If it cannot be read.
    """
    readers = {
        ".pts": _parse_pts, ".ljson": _parse_ljson, ".pp": _parse_picked, ".csv": _parse_table, ".txt": _parse_table,
        ".json": _parse_json,
    }  # fmt: skip
    suffix = Path(path).suffix.lower()
    if suffix not in readers:
        raise ValueError(f"{path}: expected a name ending in one of {', '.join(readers)}, got {suffix!r}")
    text = _read_text(path)
    try:
        return readers[suffix](text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_landmark_vertices(path) -> tuple[str, np.ndarray]:
    """Read landmarks given as vertices of a mesh (`NAME.landmarks.json`).

    Parameters
    ----------
    path : str or Path
        ``{"scheme": "ibug68", "vertices": [i, null, ...]}``

    Returns
    -------
    scheme : str
    vertices : (L,) int32
        Vertex indices, -1 where missing.

    Raises
    ------
    ValueError
        If the file is malformed.
    """
    text = _read_text(path)
    try:
        content = _load_json(text)
        scheme = _scheme(content)
        listed = content.get("vertices")
        if not isinstance(listed, list) or len(listed) != SCHEMES[scheme]:
            raise ValueError(f"'vertices': expected a list of {SCHEMES[scheme]} indices for {scheme}")
        for i, value in enumerate(listed):
            if value is not None and (type(value) is not int or not 0 <= value < 2**31):
                raise ValueError(f"'vertices': entry {i} is no vertex index: {value!r}")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return scheme, np.array([-1 if v is None else v for v in listed], dtype=np.int32)


def write_landmarks(path, landmarks: Landmarks) -> None:
    """Write affect3d's JSON; missing points become null.

    Coordinates keep every digit: reading gives back the same numbers.

    Raises
    ------
    ValueError
        If the suffix is not .json.
    OSError
        If the file cannot be written.
    """
    if Path(path).suffix.lower() != ".json":
        raise ValueError(f"{path}: landmarks are written as .json, got {Path(path).suffix!r}")
    points = [row.tolist() if np.isfinite(row).all() else None for row in landmarks.points]
    content = {"scheme": landmarks.scheme, "unit": landmarks.unit, "points": points}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _read_text(path) -> str:
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(f"{path}: is a folder, expected a landmark file")
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        if error.errno is None:
            raise
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise type(error)(f"{path}: {reason}") from None
    if len(data) > _MAX_BYTES:
        raise ValueError(f"{path}: is larger than a landmark file can be")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not a text file") from None


def _parse_pts(text: str) -> Landmarks:
    lines = [line.split("//")[0].strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if "{" not in lines or "}" not in lines or lines.index("{") > lines.index("}"):
        raise ValueError("expected points between '{' and '}', as .pts files have them")
    header, body = lines[: lines.index("{")], lines[lines.index("{") + 1 : lines.index("}")]
    declared = [re.fullmatch(r"n_points\s*:\s*(\d{1,9})", line) for line in header]
    declared = [int(m.group(1)) for m in declared if m]
    if declared and declared[0] != len(body):
        raise ValueError(f"the header promises {declared[0]} points, the file has {len(body)}")
    rows = []
    for i, line in enumerate(body):
        try:
            rows.append([float(word) for word in line.replace(",", " ").split()])
        except ValueError:
            raise ValueError(f"point {i + 1} is no row of numbers: {line[:40]!r}") from None
    points = _points(rows)
    return Landmarks(_scheme_of_count(len(points)), points - 1.0 if points.shape[1] == 2 else points, _unit(points))


#: Labels of 68 points in older .ljson files, in the order of iBUG; left is the left of the picture.
_LABELLED = {"chin": 17, "leyebrow": 5, "reyebrow": 5, "nose": 9, "leye": 6, "reye": 6, "mouth": 20}


def _ibug_order(labels, count: int):
    """Places in the file of the points in the order of iBUG; None if the labels are not those above."""
    if not isinstance(labels, list) or count != sum(_LABELLED.values()):
        return None
    masks = {}
    for entry in labels:
        if not isinstance(entry, dict) or not isinstance(entry.get("mask"), list):
            return None
        masks[entry.get("label")] = entry["mask"]
    if {name: len(mask) for name, mask in masks.items()} != _LABELLED:
        return None
    order = [index for name in _LABELLED for index in masks[name]]
    return order if sorted(order, key=str) == sorted(range(count), key=str) else None


def _parse_ljson(text: str) -> Landmarks:
    content = _load_json(text)
    version, labels = content.get("version"), None
    try:
        if version == 1:
            rows = [entry["point"] for group in content["groups"] for entry in group["landmarks"]]
        elif version == 2:
            rows, labels = content["landmarks"]["points"], content.get("labels")
        elif version == 3:
            groups = content["groups"]
            if len(groups) != 1:
                names = ", ".join(sorted(groups))[:80]
                raise ValueError(f"expected one group of landmarks, got {len(groups)}: {names}")
            (group,) = groups.values()
            rows, labels = group["landmarks"]["points"], group.get("labels")
        else:
            raise ValueError(f"'version': expected 1, 2 or 3, got {version!r}")
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"is no .ljson file of version {version}: the list of points is missing") from None
    if isinstance(rows, list):  # menpo writes a missing point as a row of nulls
        rows = [None if isinstance(row, list) and row and all(v is None for v in row) else row for row in rows]
    points = _points(rows)
    order = _ibug_order(labels, len(points))
    points = points if order is None else points[order]
    points = points[:, ::-1] if points.shape[1] == 2 else points
    return Landmarks(_scheme_of_count(len(points)), points, _unit(points))


def _parse_picked(text: str) -> Landmarks:
    rows = []
    for tag in re.findall(r"<point\b[^<>]*>", text):
        values = dict(re.findall(r"""([\w:]+)\s*=\s*["']([^"']*)["']""", tag))
        if values.get("active", "1") not in ("1", "true"):
            rows.append(None)
            continue
        try:
            rows.append([float(values[axis]) for axis in "xyz"])
        except (KeyError, ValueError):
            raise ValueError(f"point {len(rows) + 1}: expected numbers x, y and z, got {tag[:60]!r}") from None
    return _counted(rows)


def _parse_table(text: str) -> Landmarks:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        words = [word.strip("\"' ") for word in re.split(r"[,;\s]+", line.strip()) if word.strip("\"' ")]
        if not words or words[0].startswith("#"):
            continue
        values = [_number(word) for word in words]
        if not rows and all(value is None for value in values):
            continue  # the head of the table
        values = values[1:] if values[0] is None or len(values) == 4 else values
        if len(values) not in (2, 3) or None in values:
            raise ValueError(f"line {number}: expected two or three numbers, after a name or not, got {line[:40]!r}")
        rows.append(None if any(value != value for value in values) else values)
    return _counted(rows)


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _counted(rows) -> Landmarks:
    points = _points(rows)
    if len(points) == 51:  # the outline is what is left out
        points = np.vstack([np.full((17, points.shape[1]), np.nan), points])
    return Landmarks(_scheme_of_count(len(points)), points, _unit(points))


def _parse_json(text: str) -> Landmarks:
    content = _load_json(text)
    scheme = _scheme(content)
    unit = content.get("unit")
    if unit not in ("px", "mm"):
        raise ValueError(f"'unit': expected 'px' or 'mm', got {unit!r}")
    if "points" not in content and "vertices" in content:
        raise ValueError("holds vertices of a mesh, expected 'points'")
    points = _points(content.get("points"))
    if len(points) != SCHEMES[scheme]:
        raise ValueError(f"'points': {scheme} has {SCHEMES[scheme]} points, got {len(points)}")
    return Landmarks(scheme, points, unit)


def _load_json(text: str) -> dict:
    def refuse(word):
        raise ValueError(f"{word} is no coordinate; a missing point is null")

    try:
        content = json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON (line {error.lineno}: {error.msg})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError(f"expected a JSON object, got {type(content).__name__}")
    return content


def _scheme(content: dict) -> str:
    scheme = content.get("scheme")
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        raise ValueError(f"'scheme': expected one of {', '.join(SCHEMES)}, got {scheme!r}")
    return scheme


def _scheme_of_count(count: int) -> str:
    for scheme, number in SCHEMES.items():
        if number == count:
            return scheme
    known = ", ".join(f"{number} ({scheme})" for scheme, number in SCHEMES.items())
    raise ValueError(f"expected a known number of points, {known}, got {count}")


def _unit(points: np.ndarray) -> str:
    return "px" if points.shape[1] == 2 else "mm"


def _points(rows) -> np.ndarray:
    """(L, 2) or (L, 3) float64 from nested lists; None becomes NaN."""
    if not isinstance(rows, list) or not rows:
        raise ValueError("'points': expected a list of points")
    widths = {len(row) for row in rows if isinstance(row, list)}
    if len(widths) != 1 or not widths <= {2, 3}:
        raise ValueError("'points': expected two or three coordinates, the same number for every point")
    width = widths.pop()
    out = np.full((len(rows), width), np.nan)
    for i, row in enumerate(rows):
        if row is None:
            continue
        if not isinstance(row, list) or any(type(v) not in (int, float) for v in row):
            raise ValueError(f"'points': entry {i} is neither null nor a row of numbers")
        if not all(abs(v) <= _MAX_COORDINATE for v in row):  # False for NaN and infinity as well
            raise ValueError(f"'points': entry {i} is beyond any picture: {row}")
        out[i] = row
    if np.isnan(out).all():
        raise ValueError("'points': every point is missing")
    return out
