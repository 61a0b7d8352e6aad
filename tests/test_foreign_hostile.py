"""Foreign models that lie, are broken, or want to run something: one clear ValueError, and nothing large allocated."""

import importlib.util
import os
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from affect3d.io.foreign import read_foreign_model
from affect3d.io.foreign.array_files import parse_npy
from affect3d.io.foreign.array_pickle import unpickle_arrays

_spec = importlib.util.spec_from_file_location("foreign_files", Path(__file__).with_name("foreign_files.py"))
files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(files)


def written(folder, layout):
    """A sound small model of each layout."""
    t = files.truth()
    path = folder / f"{layout}.model"
    if layout in ("bfm", "bfm packed"):
        path.write_bytes(files.mat5(files.bfm2009_variables(t), layout != "bfm"))
    elif layout == "lsfm":
        path.write_bytes(files.mat5(files.lsfm_variables(t)))
    elif layout == "h5":
        pytest.importorskip("h5py")
        files.face_h5(path, t)
    elif layout == "eos":
        shapes = {"a": t.expression_mean, "b": t.expression_mean}
        path.write_bytes(files.eos_bin(t, 4, shapes, {"31": 31}, uv=np.zeros((files.COUNT, 2))))
    elif layout == "flame":
        arrays = files.flame_arrays(t)
        path.write_bytes(files.flame_pkl(dict(arrays, shapedirs=arrays["shapedirs"][:, :, :9].copy())))
    else:
        with open(path, "wb") as file:
            np.savez_compressed(file, **(files.gnm_arrays(t) if layout == "gnm" else files.flame_arrays(t)))
    return path


def read(path):
    return read_foreign_model(path, unit="mm", expression_modes=2, modes=2)


LAYOUTS = ("bfm", "bfm packed", "lsfm", "h5", "eos", "flame", "flame npz", "gnm")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_broken_off_anywhere_is_one_sentence_that_names_it(tmp_path, layout):
    path = written(tmp_path, layout)
    content = path.read_bytes()
    read(path)
    ends = {0, 1, 2, 5, 9, 20, 127, 128, 130, 140, len(content) - 1, len(content) - 2, len(content) - 9}
    ends |= set(np.random.default_rng(1).integers(0, len(content), 60).tolist())
    broken = tmp_path / "broken.model"
    for end in sorted(ends):
        broken.write_bytes(content[:end])
        with pytest.raises(ValueError, match="broken.model") as caught:
            read(broken)
        assert len(str(caught.value)) < 700 and "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", ("bfm", "bfm packed", "lsfm", "eos", "flame", "flame npz", "gnm"))
def test_changed_bytes_give_a_finite_model_or_a_sentence(tmp_path, layout):
    content = written(tmp_path, layout).read_bytes()
    rng = np.random.default_rng(2)
    changed = tmp_path / "changed.model"
    for _ in range(80):
        wrong = bytearray(content)
        for place in rng.integers(0, len(content) if rng.random() < 0.3 else min(len(content), 900),
            rng.integers(1, 4)):
            wrong[place] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        changed.write_bytes(wrong)
        try:
            model = read(changed)
        except ValueError as error:
            assert "changed.model" in str(error) and "\n" not in str(error)
        else:
            assert np.isfinite(model.instance(np.ones(len(model.identity)))).all()


class Runs:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_calls_the_system_is_refused_by_the_name_of_what_it_calls(tmp_path, protocol):
    marker = tmp_path / "ran"
    content = dict(files.flame_arrays(files.truth()), extra=Runs(f"touch {marker}"))
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(ValueError, match=r"model.pkl: the pickle refuses to build (posix|nt|os)\.system; only arrays"):
        read_foreign_model(tmp_path / "model.pkl")
    assert not marker.exists()


@pytest.mark.parametrize(
    "program, message",
    [
        (b"cos\nsystem\n(S'true'\ntR.", r"refuses to build os.system"),
        (b"(S'true'\nios\nsystem\n.", r"refuses to build os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x031+1\x85R.", "refuses to build builtins.eval"),
        (b"\x80\x04\x8c\x05numpy\x8c\x04load\x93.", "refuses to build numpy.load"),
        (b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.", "refuses to build"),
        (b"\x80\x02}(U\x01aPkey\nu.", "outside the file"),
        (b"\x80\x02U\x01aQ.", "outside the file"),
        (b"\x80\x02\x82\x01.", "outside the file"),
        (b"c__builtin__\nobject\n.", None),
        (b"ccopy_reg\n_reconstructor\n(c__builtin__\nobject\nc__builtin__\nobject\nNtR.", "no array"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "remembers more objects"),
        (b"\x80\x02T\xff\xff\xff\x7fabc.", "damaged"),
        (b"\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00abc.", "damaged"),
        (b"\x80\x04\x96\x00\x00\x00\x00\x00\x01\x00\x00abc.", "damaged"),
        (b"\x80\x02}", "damaged|broken off"),
        (b"\x80\x02N0.", "damaged"),
    ],
)
def test_pickles_that_want_more_than_arrays_are_refused(program, message):
    tracemalloc.start()
    if message is None:
        unpickle_arrays(program)  # a holder without content, harmless
    else:
        with pytest.raises(ValueError, match=message):
            unpickle_arrays(program)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize("end", [b"}h\0K\1s.", b"}(h\0K\1u.", b"(h\0K\1d.", b"\x8f(h\0\x90.", b"(h\0\x91."])
def test_keys_whose_hash_would_never_end_are_refused(end):
    deep = b"\x80\x04)q\0" + b"h\0h\0\x86q\0" * 200  # each level holds the one below twice
    with pytest.raises(ValueError, match="has keys that are neither texts nor numbers"):
        unpickle_arrays(deep + end)
    with pytest.raises(ValueError, match="has keys that are neither"):
        unpickle_arrays(deep + b"\x8c\x0bcollections\x8c\x0bOrderedDict\x93]h\0K\1\x86a\x85R.")


@pytest.mark.parametrize(
    "named", [b"cnumpy.core.multiarray\n_reconstruct\n", b"c__builtin__\nobject\n", b"cnumpy\nndarray\n", b"}", b"]"]
)
def test_a_pickle_cannot_change_what_stands_for_its_classes(named):
    for state in (b"}U\x01xK\x01s", b"N}U\x0c__defaults__K\x01\x85s\x86", b"N}U\x0c__setstate__Ns\x86"):
        with pytest.raises(ValueError, match="sets the state of something that is no array"):
            unpickle_arrays(b"\x80\x02" + named + state + b"b.")
    assert unpickle_arrays(pickled_array([1])) == [1.0]


def pickled_array(shape, code=b"f8", data=b"U\x08\0\0\0\0\0\0\xf0?"):
    numbers = b"".join(b"\x8a\x08" + struct.pack("<q", n) for n in shape)
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01(" + numbers
        + b"tcnumpy\ndtype\nU" + bytes([len(code)]) + code
        + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + data + b"tb."
    )  # fmt: skip


def test_an_array_of_a_pickle_cannot_promise_more_than_it_holds():
    assert unpickle_arrays(pickled_array([1])) == [1.0]
    for program, message in (
        (pickled_array([1 << 40]), "promises"), (pickled_array([-1]), "no shape"),
        (pickled_array([1] * 40), "no shape"),
        (pickled_array([1], b"O8"), "expected numbers"), (pickled_array([1], b"M8"), "expected numbers"),
        (pickled_array([1], b"V8"), "expected numbers"), (pickled_array([1], b"f8,f8"), "expected numbers|promises"),
        (pickled_array([1 << 40], data=b"]"), "promises .* objects"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            unpickle_arrays(program)


def test_a_sparse_matrix_of_a_pickle_cannot_write_elsewhere_or_grow():
    from scipy.sparse import csc_matrix

    for wrong in ({"_shape": (1 << 20, 1 << 20)}, {"indices": np.array([7, 9], np.int32)},
        {"indptr": np.array([0, 5, 9])},
                  {"data": np.zeros((2, 2))}, {"_shape": (2, -3)}, {"_shape": None},
                  {"indptr": np.array([0.0, 1, 2])}):  # fmt: skip
        matrix = csc_matrix(np.eye(2))
        matrix.__dict__.update(wrong)
        with pytest.raises(ValueError):
            unpickle_arrays(pickle.dumps(matrix, 2))


def test_a_selection_of_chumpys_cannot_reach_outside_its_array():
    for places, shape in (([0, 5], (2,)), ([-1, 0], (2,)), ([0, 1], (3,)), ([0, 1], (1 << 40, 1)), ([0.0, 1.0], (2,))):
        pickled = files.Pickle2()
        pickled.select(np.arange(4.0), np.array(places), ())
        program = pickled.out.getvalue() + b"."
        wanted = b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", n) for n in shape) + b"t"
        program = program.replace(b"U\x0fpreferred_shape(t", b"U\x0fpreferred_shape" + wanted)
        with pytest.raises(ValueError, match="a selection of chumpy's"):
            unpickle_arrays(program)


def peak_of(path, message):
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        read_foreign_model(path, unit="mm")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_an_eos_file_that_promises_much_is_refused_before_anything_is_allocated(tmp_path):
    t = files.truth()
    path = tmp_path / "m.bin"
    sound = files.eos_bin(t)
    triangles = 4 + 8 + 4 * 189 + 8 + 4 * 189 * 4 + 8 + 4 * 4
    assert struct.unpack("<Q", sound[triangles : triangles + 8]) == (len(t.faces),)
    for count in (1 << 40, 1 << 62, (1 << 64) - 1):
        path.write_bytes(sound[:triangles] + struct.pack("<Q", count) + sound[triangles + 8 :])
        assert peak_of(path, "m.bin: is broken off: shape triangles promises") < 500_000
    for rows, columns in ((2**31 - 1, 2**31 - 1), (-4, 4), (189, 2**30)):
        path.write_bytes(sound[:768] + struct.pack("<ii", rows, columns) + sound[776:])
        assert peak_of(path, "shape basis") < 500_000
    c = files.Cereal()
    c.pack("I", 4)
    for _ in range(2):
        c.pca(t.mean, t.basis, t.std, t.faces)
    c.pack("Bi", 0, 1)
    c.pack("Q", 1 << 40)
    path.write_bytes(bytes(c.out))
    assert peak_of(path, "blendshapes do not fit") < 500_000
    path.write_bytes(sound + b"\0")
    peak_of(path, "1 bytes are left over")
    for version in (0, 5):
        path.write_bytes(struct.pack("<I", version) + sound[4:])
        peak_of(path, f"of version {version}, expected one of 1, 2, 3, 4")


def test_an_hdf5_shape_larger_than_the_file_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    t = files.truth()
    path = tmp_path / "m.h5"
    for kind in ("promised", "packed", "elsewhere", "virtual", "linked", "text", "matrix"):
        files.face_h5(path, t)
        with h5py.File(path, "r+") as file:
            del file["shape/model/mean"]
            if kind == "promised":
                file.create_dataset("shape/model/mean", (1 << 40,), "f4", chunks=(1024,))
            elif kind == "packed":
                file.create_dataset("shape/model/mean", (1 << 40,), "f4", chunks=(1 << 16,),
                    compression="gzip")[:10] = 1
            elif kind == "elsewhere":
                (tmp_path / "secret").write_bytes(b"\0" * 756)
                file.create_dataset("shape/model/mean", (189,), "f4", external=[(str(tmp_path / "secret"), 0, 756)])
            elif kind == "virtual":
                layout = h5py.VirtualLayout((189,), "f4")
                layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (189,))
                file.create_virtual_dataset("shape/model/mean", layout)
            elif kind == "linked":
                file["shape/model/mean"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
            elif kind == "text":
                file["shape/model/mean"] = "no numbers"
            else:
                file["shape/model/mean"] = np.zeros((3, 63))
        messages = {"promised": "promises 4398046511104 bytes", "packed": "promises",
            "elsewhere": "lies in other files",
                    "virtual": "lies in other files", "linked": "is missing",
                    "text": "expected an array of real numbers",
                    "matrix": "expected 1 axes"}  # fmt: skip
        assert peak_of(path, f"m.h5: shape/model/mean: .*{messages[kind]}") < 3_000_000


def test_a_matlab_matrix_larger_than_its_bytes_is_refused(tmp_path):
    t = files.truth()
    path = tmp_path / "m.mat"
    head = files.mat5({})
    for dimensions in ((2**31 - 1, 2**31 - 1), (1 << 20, 1), (-3, -63), (189, 4, 4)):
        path.write_bytes(head + files.mat5_matrix("shapePC", t.basis, dimensions=dimensions))
        assert peak_of(path, "m.mat: shapePC: ") < 500_000
    # a packed element whose inside promises what 40 bytes cannot hold
    inside = files.mat5_matrix("shapePC", t.basis)[:64]
    packed = zlib.compress(struct.pack("<II", 14, 0xFFFFFFF0) + inside[8:])
    path.write_bytes(head + struct.pack("<II", 15, len(packed)) + packed)
    assert peak_of(path, "shapePC: promises 4294967280 bytes") < 500_000
    path.write_bytes(head + files.mat5_matrix("x", t.basis))
    peak_of(path, "variables of neither")


def test_an_npy_header_is_not_believed():
    def npy(header, data=b"\0" * 8):
        head = header.encode() + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data

    for header, message in (
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }", "promises"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", "promises|no .npy"),
        ("{'descr': '|S8', 'fortran_order': False, 'shape': (1,), }", "expected numbers"),
        ("{'descr': '<U2', 'fortran_order': False, 'shape': (2,), }", "promises"),
        ("{'descr': '<U0', 'fortran_order': False, 'shape': (1099511627776,), }", "promises|itemsize"),
        ("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", "expected numbers"),
        ("{'descr': __import__('os'), 'fortran_order': False, 'shape': (1,), }", "no .npy array"),
        ("{" * 3000, "no .npy array"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_npy(npy(header))
    with pytest.raises(ValueError, match="refuses to build"):
        parse_npy(npy("{'descr': '|O', 'fortran_order': False, 'shape': (), }", pickle.dumps(Runs("true"))))


def test_an_npz_bomb_is_refused(tmp_path):
    path = tmp_path / "flame.npz"
    arrays = files.flame_arrays(files.truth())
    np.savez(path, v_template=arrays["v_template"], f=arrays["f"])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("shapedirs.npy", b"\0" * 1000)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 0xFFFFFF00)  # the size it says to have
    path.write_bytes(content)
    assert peak_of(path, "flame.npz: shapedirs: promises 4294967040 bytes out of") < 3_000_000


def test_numbers_that_are_not_finite_are_refused_in_every_layout(tmp_path):
    pytest.importorskip("h5py")
    path = tmp_path / "m"
    for bad in (np.nan, np.inf):
        for field in ("mean", "basis", "std", "expression_basis", "colour_mean", "colour_basis", "colour_std",
            "expression_mean"):
            t = files.truth()
            getattr(t, field).flat[3 if getattr(t, field).size > 3 else 0] = bad
            contents = [files.eos_bin(t)]
            if not field.startswith("expression"):
                contents.append(files.mat5(files.bfm2009_variables(t)))
            if field in ("mean", "basis", "std"):
                contents.append(files.mat5(files.lsfm_variables(t)))
            for content in contents:
                path.write_bytes(content)
                with pytest.raises(ValueError, match="m: .*(finite|no head)"):
                    read_foreign_model(path, unit="mm")
            files.face_h5(path, t, landmarks=False)
            with pytest.raises(ValueError, match="m: .*(finite|no head)"):
                read_foreign_model(path, unit="mm")
        for name in ("v_template", "shapedirs", "posedirs", "weights", "J_regressor"):
            arrays = files.flame_arrays(files.truth())
            arrays[name].flat[3 if name != "posedirs" else 10] = bad
            path.write_bytes(files.flame_pkl(arrays))
            with pytest.raises(ValueError, match="m: .*finite"):
                read_foreign_model(path)


def test_parts_that_do_not_fit_together_are_named(tmp_path):
    h5py = pytest.importorskip("h5py")
    t = files.truth()
    path = tmp_path / "m"

    def fails(content, message, **options):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=f"m: {message}"):
            read_foreign_model(path, **options)

    bfm, lsfm = files.bfm2009_variables(t), files.lsfm_variables(t)
    for wrong, message in (
        ({"shapeMU": bfm["shapeMU"][:-1]}, "shapeMU: expected shape"),
        ({"shapePC": t.basis[:-3]}, "shapePC basis: expected"),
        ({"shapeEV": -bfm["shapeEV"]}, "shapePC: expected deviations"),
        ({"texMU": bfm["texMU"][:9]}, "texMU: expected shape"),
        ({"tl": bfm["tl"] - 1}, r"triangles: indices must lie in \[0, 63\), got -1"),
        ({"tl": bfm["tl"] + 0.5}, "tl: expected whole"),
        ({"tl": bfm["tl"] + 1}, r"triangles: .*got 63"), ({"tl": bfm["tl"][:, :2]}, "tl: expected shape"),
    ):  # fmt: skip
        fails(files.mat5(bfm | wrong), message)
    fails(files.mat5({k: v for k, v in bfm.items() if k != "texEV"}), "the variables texEV are missing")
    fails(files.mat5({k: v for k, v in lsfm.items() if k != "trilist"}), "the variables trilist are missing", unit="mm")
    fails(files.mat5(lsfm | {"eigenvalues": -lsfm["eigenvalues"]}), "eigenvalues: expected", unit="mm")
    fails(files.mat5(lsfm | {"trilist": np.zeros((0, 3), "u4")}), "expected vertices and triangles", unit="mm")
    for wrong, message in (
        ({"shapedirs": np.zeros((5, 3, 9))}, "shapedirs: expected shape"), ({"f": t.faces + 1}, "triangles: "),
        ({"v_template": np.array(["a"])}, "expected numbers, got the type 'U1'"),
        ({"v_template": None}, "v_template: is missing or no"), ({"f": t.faces + 0.5}, "f: expected whole"),
        ({"weights": np.zeros((3, 5))}, "weights: expected shape"),
        ({"J_regressor": np.zeros((5, 3))}, "J_regressor: expected"),
    ):  # fmt: skip
        fails(pickle.dumps(files.flame_arrays(t) | wrong), message)
    fails(pickle.dumps([1, 2]), "expected a dict with v_template")
    for name, value, message in (
        ("shape/model/pcaVariance", -t.std, "shape/model/pcaVariance: expected finite"),
        ("shape/model/pcaBasis", t.basis[:, :2], "shape/model/pcaBasis: expected shape"),
        ("expression/model/mean", np.zeros(9), "expression/model/mean: expected shape"),
        ("shape/representer/cells", t.faces, r"shape/representer/cells: expected shape \(3, \*\)"),
        ("shape/version/minorVersion", 3, "shape/version: expected 0.8, 0.9 or 1.x, got 0.3"),
    ):
        files.face_h5(path, t)
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = value
        fails(None, message)
    files.face_h5(path, t)
    with h5py.File(path, "r+") as file:
        del file["shape/representer/cells"]
    fails(None, "shape/representer/cells: is missing; meshes inside")
    with h5py.File(path, "w") as file:
        file["x"] = 1
    fails(None, "is an HDF5 file without a model")


def test_left_and_right_of_named_points_are_checked(tmp_path):
    h5py = pytest.importorskip("h5py")
    t = files.truth()
    for text in (
        "[", "3", "{}", '[{"id": 3}]', "[" * 100_000,
        '{"right.eye.corner_outer": [50, 30, 40], "left.eye.corner_outer": [-50, 30, 40],'
        ' "right.lips.corner": [20, -40, 70], "left.lips.corner": [-20, -40, 70], "center.nose.tip": [0, 5, 78]}',
    ):  # fmt: skip
        files.face_h5(tmp_path / "m.h5", t, landmarks=False)
        with h5py.File(tmp_path / "m.h5", "r+") as file:
            file["metadata/landmarks/json"] = text
        assert read_foreign_model(tmp_path / "m.h5").landmarks == {}


def test_missing_files_and_wrong_options_are_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_foreign_model(tmp_path / "none.mat")
    with pytest.raises(ValueError, match="modes: expected a whole number that is not negative, got -1"):
        read_foreign_model(written(tmp_path, "bfm"), modes=-1)
