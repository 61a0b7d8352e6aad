"""Small head models written in the layouts of other projects, byte by byte, without any code of the readers."""

import io
import json
import struct
import zlib
from types import SimpleNamespace

import numpy as np

ROWS, COLUMNS = 7, 9
COUNT = ROWS * COLUMNS


def truth(modes=4, expressions=3, colours=3, seed=5):
    """A face mask of 63 vertices in mm with unit modes, deviations, expressions and colours."""
    rng = np.random.default_rng(seed)
    a, h = np.meshgrid(np.linspace(-1.6, 1.6, COLUMNS), np.linspace(-1.2, 1.1, ROWS))
    a, h = a.ravel(), h.ravel()
    mean = np.column_stack([75 * np.sin(a) * np.cos(h), 110 * np.sin(h) + 5, 90 * np.cos(a) * np.cos(h) - 12])
    corner = np.arange(COUNT).reshape(ROWS, COLUMNS)
    p, q, r, s = (c.ravel() for c in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]))
    faces = np.concatenate([np.column_stack([p, q, r]), np.column_stack([p, r, s])])

    def unit(count):
        return np.linalg.qr(rng.normal(size=(3 * COUNT, count)))[0]

    single = np.float32  # what the files hold
    return SimpleNamespace(
        mean=mean.astype(single).astype(float), faces=faces.astype(np.int32), basis=unit(modes).astype(single),
        std=np.linspace(30, 4, modes).astype(single), expression_basis=unit(expressions).astype(single),
        expression_std=np.linspace(20, 5, expressions).astype(single),
        expression_mean=rng.normal(size=(COUNT, 3)).astype(single), colour_basis=unit(colours).astype(single),
        colour_std=np.linspace(0.9, 0.2, colours).astype(single),
        colour_mean=rng.uniform(0.2, 0.8, (COUNT, 3)).astype(single),
    )  # fmt: skip


def as_modes(basis):
    return basis.T.reshape(basis.shape[1], -1, 3)


# MATLAB 5


def mat5(variables, compress=False, order="<"):
    """A .mat file of level 5; values are arrays of two axes."""
    out = bytearray(b"MATLAB 5.0 MAT-file, written by a test".ljust(124))
    out += struct.pack(order + "H", 0x0100) + (b"IM" if order == "<" else b"MI")
    for name, array in variables.items():
        element = mat5_matrix(name, array, order)
        if compress:
            packed = zlib.compress(element)
            element = struct.pack(order + "II", 15, len(packed)) + packed
        out += element
    return bytes(out)


def mat5_matrix(name, array, order="<", dimensions=None, stored=None):
    array = np.asarray(array)
    kinds = {"f8": (6, 9), "f4": (7, 7), "i1": (8, 1), "u1": (9, 2), "i2": (10, 3), "u2": (11, 4), "i4": (12, 5),
             "u4": (13, 6)}  # fmt: skip
    kind, type_ = kinds[array.dtype.str[1:]]
    if stored:  # MATLAB stores whole numbers in fewer bytes than their class has
        type_, array = kinds[stored][1], array.astype(stored)
    body = struct.pack(order + "IIII", 6, 8, kind, 0)
    dimensions = array.shape if dimensions is None else dimensions
    body += struct.pack(order + "II", 5, 4 * len(dimensions)) + struct.pack(f"{order}{len(dimensions)}i", *dimensions)
    body += b"\0" * (-len(body) % 8)
    if len(name) <= 4:  # a small element
        body += struct.pack(order + "I", len(name) << 16 | 1) + name.encode().ljust(4, b"\0")
    else:
        body += struct.pack(order + "II", 1, len(name)) + name.encode()
        body += b"\0" * (-len(body) % 8)
    numbers = np.asarray(array, order + array.dtype.str[1:]).tobytes("F")
    if 0 < len(numbers) <= 4:
        body += struct.pack(order + "I", len(numbers) << 16 | type_) + numbers.ljust(4, b"\0")
    else:
        body += struct.pack(order + "II", type_, len(numbers)) + numbers
        body += b"\0" * (-len(body) % 8)
    return struct.pack(order + "II", 14, len(body)) + body


def bfm2009_variables(t):
    return {
        "shapeMU": (t.mean * 1000).astype("f4").reshape(-1, 1), "shapePC": t.basis,
        "shapeEV": (t.std * 1000).reshape(-1, 1),
        "texMU": (t.colour_mean * 255).reshape(-1, 1), "texPC": t.colour_basis,
        "texEV": (t.colour_std * 255).reshape(-1, 1),
        "tl": (t.faces[:, [0, 2, 1]] + 1).astype("f8"), "segbin": np.ones((COUNT, 4), "u1"),
    }  # fmt: skip


def lsfm_variables(t, unit=1.0):
    return {
        "mean": (t.mean * unit).reshape(1, -1), "components": t.basis.astype("f8"), "trilist": t.faces.astype("u4"),
        "eigenvalues": ((t.std.astype(float) * unit) ** 2).reshape(1, -1),
        "n_training_samples": np.array([[8402]], "u2"),
        "cumulative_explained_variance": np.linspace(0.5, 0.997, len(t.std)).reshape(1, -1),
    }  # fmt: skip


def mat73(path, variables):
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in variables.items():
            file[name] = np.ascontiguousarray(np.asarray(array).T)
    head = b"MATLAB 7.3 MAT-file, written by a test".ljust(124) + struct.pack("<H", 0x0200) + b"IM"
    with open(path, "r+b") as file:
        file.write(head)


# statismo


def statismo_group(group, mean, basis, std, faces, version=(1, 0), noise=0.0):
    group["representer/points"] = np.asarray(mean, "f4").reshape(-1, 3).T
    group["representer/cells"] = faces.T.astype("i4")
    group["model/mean"] = np.asarray(mean, "f4").ravel()
    group["model/pcaBasis"] = (basis * std if version == (0, 8) else basis).astype("f4")
    group["model/pcaVariance"] = (std**2).astype("f4")
    group["model/noiseVariance"] = np.array(noise, "f4")
    if version is not None:
        group["version/majorVersion"], group["version/minorVersion"] = (np.array(v, "i4") for v in version)


LANDMARKS = {"center.nose.tip": 31, "right.eye.corner_outer": 38, "left.eye.corner_outer": 42, "right.lips.corner": 21,
             "left.lips.corner": 23}  # fmt: skip


def face_h5(path, t, version=(0, 9), mean_expression=True, landmarks=True, libver=None):
    import h5py

    with h5py.File(path, "w") as file:
        statismo_group(file.create_group("shape"), t.mean, t.basis, t.std, t.faces, version, noise=0.5)
        shift = t.expression_mean if mean_expression else 0 * t.expression_mean
        statismo_group(file.create_group("expression"), shift, t.expression_basis, t.expression_std, t.faces, version)
        statismo_group(file.create_group("color"), t.colour_mean, t.colour_basis, t.colour_std, t.faces, version)
        file["color/representer/colorspace"] = "RGB"
        if landmarks:
            listed = [{"id": name, "coordinates": t.mean[v].tolist()} for name, v in LANDMARKS.items()]
            file["metadata/landmarks/json"] = json.dumps(listed)


# pickles of Python 2


class Pickle2:
    """Opcodes as Python 2's cPickle writes them with protocol 2."""

    def __init__(self):
        self.out = io.BytesIO()
        self.out.write(b"\x80\x02")

    def text(self, value):
        value = value.encode("latin1") if isinstance(value, str) else value
        if len(value) < 256:
            self.out.write(b"U" + bytes([len(value)]) + value)
        else:
            self.out.write(b"T" + struct.pack("<i", len(value)) + value)

    def number(self, value):
        self.out.write(b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value))

    def array(self, a):
        w = self.out.write
        w(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01(")
        for n in a.shape:
            self.number(n)
        w(b"tcnumpy\ndtype\n")
        self.text(a.dtype.str[1:])
        w(b"K\x00K\x01\x87R(K\x03U\x01" + (b"|" if a.dtype.itemsize == 1 else b"<"))
        w(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
        fortran = a.flags.f_contiguous and not a.flags.c_contiguous
        w(b"\x88" if fortran else b"\x89")
        self.text(a.tobytes("F" if fortran else "C"))
        w(b"tb")

    def chumpy(self, a, rebuilt=True):
        self.out.write(
            b"ccopy_reg\n_reconstructor\ncchumpy.ch\nCh\nc__builtin__\nobject\nN\x87R}(" if rebuilt
            else b"cchumpy.ch\nCh\n)\x81}("
        )  # fmt: skip
        self.text("x")
        self.array(a)
        self.remember()
        self.out.write(b"ub")

    def remember(self):
        """What chumpy's __getstate__ leaves beside the array."""
        self.text("_dirty_vars")
        self.out.write(b"c__builtin__\nset\n](")
        self.text("x")
        self.out.write(b"e\x85R")
        self.text("_itr")
        self.out.write(b"N")
        self.text("_depends_on_deps")
        self.out.write(b"}")

    def select(self, a, places, shape):
        """chumpy's Select: the entries of `a` at `places`, in a shape of their own."""
        self.out.write(b"cchumpy.reordering\nSelect\n)\x81}(")
        self.text("a")
        self.chumpy(a, False)
        self.text("idxs")
        self.array(places)
        self.text("preferred_shape")
        self.out.write(b"(")
        for n in shape:
            self.number(n)
        self.out.write(b"t")
        self.remember()
        self.out.write(b"ub")

    def sparse(self, matrix):
        self.out.write(b"cscipy.sparse.csc\ncsc_matrix\n)\x81}(")
        self.text("_shape")
        self.number(matrix.shape[0]), self.number(matrix.shape[1])
        self.out.write(b"\x86")
        for name in ("data", "indices", "indptr"):
            self.text(name)
            self.array(getattr(matrix, name))
        self.text("maxprint")
        self.number(50)
        self.out.write(b"ub")


def flame_arrays(t, seed=11):
    """FLAME's arrays in metres: 300 directions of identity, 100 of expression, five joints."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(COUNT, 3, 400)) * 0.001 * np.linspace(3, 0.2, 400)
    weights = rng.dirichlet(np.full(5, 0.4), COUNT)
    regressor = np.where(rng.random((5, COUNT)) < 0.2, rng.random((5, COUNT)), 0) + 1e-3
    regressor /= regressor.sum(1, keepdims=True)
    return {
        "v_template": t.mean / 1000, "f": t.faces.astype("u4"), "shapedirs": directions,
        "posedirs": rng.normal(size=(COUNT, 3, 36)) * 0.002, "weights": weights, "J_regressor": regressor,
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], "u4"),
    }  # fmt: skip


def flame_pkl(arrays, rebuilt=True, selected=False):
    from scipy.sparse import csc_matrix

    p = Pickle2()
    p.out.write(b"}q\x01(")
    for name, array in arrays.items():
        p.text(name)
        if name == "shapedirs" and selected:
            more = np.concatenate([np.full((COUNT, 3, 7), 9.0), array], axis=2)
            places = np.arange(more.size).reshape(more.shape)[:, :, 7:].ravel()
            p.select(more, places, array.shape)
        elif name in ("shapedirs", "posedirs"):
            p.chumpy(array, rebuilt)
        elif name == "J_regressor":
            p.sparse(csc_matrix(array))
        else:
            p.array(array)
    p.text("bs_type")
    p.text("lrotmin")
    p.out.write(b"u.")
    return p.out.getvalue()


def gnm_arrays(t, seed=13, tiles=False):
    """The arrays of gnm_head.npz, all 23 of them, in metres; half of the mask is an eye."""
    rng = np.random.default_rng(seed)
    names = ["skin", "left_eye", "eye_exteriors", "teeth", "upper_teeth_and_gums", "tongue", "mouth_sock"]
    groups = np.zeros((len(names), COUNT), np.float32)
    columns, rows = np.tile(np.arange(COLUMNS), ROWS), np.repeat(np.arange(ROWS), COLUMNS)
    groups[0] = columns < 5
    groups[1] = columns >= 5
    groups[2] = (columns >= 5) & (rows < 2)
    groups[3] = (columns < 5) & (rows < 2)
    groups[4] = (columns < 5) & (rows < 4)
    groups[6] = (columns < 3) & (rows >= 4)
    uv = (t.mean[t.faces][..., :2] / 300 + 0.5).astype(np.float32)
    if tiles:
        uv[(columns[t.faces] >= 5).all(1), :, 0] += 1
    single, joints = np.float32, 4
    return {
        "version": np.array("3.0"), "variant": np.array("head"),
        "template_vertex_positions": (t.mean / 1000).astype(single),
        "template_joint_positions": np.zeros((joints, 3), single),
        "vertex_identity_basis": (rng.normal(size=(6, COUNT, 3)) * 0.002).astype(single),
        "joint_identity_basis": np.zeros((6, joints, 3), single),
        "expression_basis": (rng.normal(size=(5, COUNT, 3)) * 0.001 * np.array([1, 3, 2, 5, 4])[:, None, None]).astype(
            single),
        "identity_names": np.array([f"head_{i:03d}" for i in range(6)]), "joint_names": np.array(["neck"] * joints),
        "expression_names": np.array([f"lower_face_region_{i:03d}" for i in range(4)] + ["pupils_000"]),
        "joint_parent_indices": np.array([-1, 0, 1, 1]), "skinning_weights": np.ones((joints, COUNT), single) / joints,
        "quads": np.zeros((1, 4), np.int32), "triangles": t.faces, "quad_uvs": np.zeros((1, 4, 2), single),
        "triangle_uvs": uv, "mesh_component_names": np.array(["skin", "left_eye"]),
        "mirror_indices": np.arange(COUNT), "joint_regressor": np.zeros((joints, COUNT), single),
        "pose_correctives_regressor": np.zeros((9 * joints, 3 * COUNT), single),
        "bone_aligned_template_joint_orientations": np.tile(np.eye(3, dtype=single), (joints, 1, 1)),
        "vertex_groups": groups, "vertex_group_names": np.array(names),
    }  # fmt: skip


# eos


class Cereal:
    """cereal's binary archive; the portable one with `portable`, of either byte order."""

    def __init__(self, order="<", portable=False):
        self.order = order
        self.out = bytearray([order == "<"] if portable else [])

    def pack(self, code, *values):
        self.out += struct.pack(self.order + code, *values)

    def matrix(self, a):
        a = np.asarray(a, self.order + "f4")
        a = a.reshape(-1, 1) if a.ndim == 1 else a
        self.pack("ii", *a.shape)
        self.out += a.tobytes("F")

    def rows(self, a, kind):
        a = np.asarray(a, self.order + kind)
        self.pack("Q", len(a))
        self.out += a.tobytes()

    def text(self, value):
        self.pack("Q", len(value.encode()))
        self.out += value.encode()

    def pca(self, mean, basis, variances, faces):
        self.matrix(np.ravel(mean)), self.matrix(basis), self.matrix(variances), self.rows(faces, "i4")


def eos_blendshapes(shapes, order="<", portable=False):
    c = Cereal(order, portable)
    c.pack("Q", len(shapes))
    for name, moved in shapes.items():
        c.text(name), c.matrix(np.ravel(moved))
    return bytes(c.out)


def eos_bin(t, version=4, expressions="pca", named=None, colour=True, uv=None, uv_faces=None, order="<",
    portable=False):
    c = Cereal(order, portable)
    c.pack("I", version)
    c.pca(t.mean, t.basis, t.std.astype(float) ** 2, t.faces)
    if colour:
        c.pca(t.colour_mean, t.colour_basis, t.colour_std.astype(float) ** 2, t.faces)
    else:
        c.pca(np.zeros(0), np.zeros((0, 0)), np.zeros(0), np.zeros((0, 3)))
    if version >= 2:
        c.pack("B", expressions is None)
        if expressions == "pca":
            c.pack("i", 0)
            c.pca(t.expression_mean, t.expression_basis, t.expression_std.astype(float) ** 2, t.faces)
        elif expressions is not None:
            c.pack("i", 1)
            c.pack("Q", len(expressions))
            for name, moved in expressions.items():
                c.text(name), c.matrix(np.ravel(moved))
    if version >= 3:
        c.pack("B", named is None)
        if named is not None:
            c.pack("Q", len(named))
            for name, vertex in named.items():
                c.text(name), c.pack("i", vertex)
    c.rows(np.zeros((0, 2)) if uv is None else uv, "f8")
    if version >= 4:
        c.rows(np.zeros((0, 3)) if uv_faces is None else uv_faces, "i4")
    return bytes(c.out)
