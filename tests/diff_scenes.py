"""Small scenes and a slow, obvious renderer for the tests of differentiable rendering."""

import itertools

import numpy as np

IDENTITY = (30.0, np.array([7.5, 5.5]), np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 100.0]))


def icosahedron(radius=25.0):
    g = (1 + 5**0.5) / 2
    v = np.array([p for a, b in itertools.product((-1, 1), (-g, g)) for p in ((0, a, b), (a, b, 0), (b, 0, a))])
    faces = []
    for i, j, k in itertools.combinations(range(12), 3):
        sides = [np.linalg.norm(v[a] - v[b]) for a, b in ((i, j), (j, k), (k, i))]
        if np.allclose(sides, 2):
            normal = np.cross(v[j] - v[i], v[k] - v[i])
            faces.append((i, j, k) if normal @ v[i] > 0 else (i, k, j))
    return v * radius / np.linalg.norm(v[0]), np.array(faces)


def grid(n=4, size=36.0):
    """An open sheet with a bump, tilted."""
    t = np.linspace(-size / 2, size / 2, n)
    x, y = np.meshgrid(t, t)
    z = 10 * np.exp(-(x**2 + y**2) / 200) + 0.4 * x - 0.2 * y
    v = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
    q = np.arange(n * n).reshape(n, n)
    a, b, c, d = q[:-1, :-1].ravel(), q[:-1, 1:].ravel(), q[1:, 1:].ravel(), q[1:, :-1].ravel()
    return v, np.vstack([np.column_stack([a, b, c]), np.column_stack([a, c, d])])


def two_layers():
    """A small ball before an open sheet: an outline over a surface."""
    v, f = icosahedron(11.0)
    w, g = grid(4, 70.0)
    w = w * [1, 1, 0.3] - [3, 2, 30]
    return np.vstack([v + [2, 1, 20], w]), np.vstack([f, g + len(v)])


def tetrahedron(size=25.0):
    v = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * size * 0.8
    return v, np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])


def turned(vertices, angles=(0.3, -0.5, 0.2)):
    for axis, angle in enumerate(angles):
        i, j = [k for k in range(3) if k != axis]
        R = np.eye(3)
        R[i, i] = R[j, j] = np.cos(angle)
        R[i, j], R[j, i] = -np.sin(angle), np.sin(angle)
        vertices = vertices @ R.T
    return vertices


def _cut(polygon, near):
    """Sutherland-Hodgman against z = near; rows are (position, barycentric)."""
    out = []
    for here, there in zip(polygon, polygon[1:] + polygon[:1]):
        zi, zj = here[0][2], there[0][2]
        if zi >= near:
            out.append(here)
        if (zi >= near) != (zj >= near):
            t = (near - zi) / (zj - zi)
            out.append((here[0] + t * (there[0] - here[0]), here[1] + t * (there[1] - here[1])))
    return out


def naive_raster(points, faces, width, height, near=1.0, cull=False):
    """Clip, project, fan out and test every pixel: face (H, W), weights (H, W, 3), depth (H, W).

    Pixels that lie on an edge within rounding are marked in the fourth result.
    """
    face = np.full((height, width), -1)
    weights = np.zeros((height, width, 3))
    depth = np.full((height, width), np.inf)
    close = np.zeros((height, width), bool)
    for f, triangle in enumerate(faces):
        polygon = _cut([(points[i], np.eye(3)[k]) for k, i in enumerate(triangle)], near)
        if len(polygon) < 3:
            continue
        flat = [p[:2] / p[2] for p, _ in polygon]
        area = sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(flat, flat[1:] + flat[:1]))
        if cull and area > 0:
            continue
        for k in range(1, len(polygon) - 1):
            corners = [polygon[0], polygon[k], polygon[k + 1]]
            uv = np.array([flat[0], flat[k], flat[k + 1]])
            M = np.vstack([uv.T, np.ones(3)])
            if abs(np.linalg.det(M)) < 1e-12:
                continue
            for y in range(height):
                for x in range(width):
                    w = np.linalg.solve(M, [x, y, 1.0])
                    if np.abs(w).min() < 1e-9:
                        close[y, x] = True
                    if w.min() < 0:
                        continue
                    over = w / [p[2] for p, _ in corners]
                    z = 1 / over.sum()
                    if z < depth[y, x]:
                        depth[y, x], face[y, x] = z, f
                        weights[y, x] = sum(o * z * b for o, (_, b) in zip(over, corners))
    return face, weights, depth, close


def naive_outlines(points, faces, picture, colours, depth, near=1.0, reach=1.0):
    """The picture with outlines laid over, edge by edge and pixel by pixel."""
    height, width = depth.shape
    best = np.full((height, width), np.inf)
    out = picture.copy()
    edges = {}
    for f in faces:
        for k in range(3):
            edges.setdefault(tuple(sorted((f[k], f[(k + 1) % 3]))), []).append(f)
    for (i, j), around in sorted(edges.items()):
        ends = [points[i], points[j]]
        if max(e[2] for e in ends) < near:
            continue
        for k in (0, 1):
            if ends[k][2] < near:
                other = ends[1 - k]
                ends[k] = ends[k] + (near - ends[k][2]) / (other[2] - ends[k][2]) * (other - ends[k])
        a, b = (e[:2] / e[2] for e in ends)
        line = b - a
        sides = set()
        for f in around:
            third = next(n for n in f if n not in (i, j))
            # the side of the line on which the triangle lies, also where its third corner is behind us
            sides.add(np.sign(np.linalg.det([points[i], points[j], points[third]])))
        sides -= {0.0}
        if len(sides) != 1:
            continue
        inner = sides.pop()
        for y in range(height):
            for x in range(width):
                p = np.array([x, y]) - a
                if (line[0] * p[1] - line[1] * p[0]) * inner > 0:
                    continue
                s = np.clip(p @ line / (line @ line), 0, 1)
                d = np.linalg.norm(p - s * line)
                z = 1 / ((1 - s) / ends[0][2] + s / ends[1][2])
                if d < reach and d < best[y, x] and z < depth[y, x]:
                    best[y, x] = d
                    point = (1 - s) * z / ends[0][2] * ends[0] + s * z / ends[1][2] * ends[1]
                    whole = points[j] - points[i]
                    t = (point - points[i]) @ whole / (whole @ whole)
                    colour = (1 - t) * colours[i] + t * colours[j]
                    out[y, x] = d / reach * picture[y, x] + (1 - d / reach) * colour
    return out
