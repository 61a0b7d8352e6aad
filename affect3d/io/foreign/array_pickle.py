"""Pickles as data: an unpickler that can build arrays and nothing else.

Python's pickles are programs that may call anything.  Here every class and function they name is replaced by a holder
of ours, or refused; a walk over the opcodes before that refuses sizes that the file cannot hold.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools

import numpy as np

__all__ = ["looks_pickled", "unpickle_arrays"]

# texts in which Python 2 wrote bytes map to them one to one
_LATIN = "latin1"
_REFUSED_OPCODES = {"EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER", "READONLY_BUFFER"}


class _Type:
    """Stands for numpy.dtype, of numbers only."""

    def __init__(self, code="O", align=False, copy=False):
        self.code, self.order = str(code), "="

    def __setstate__(self, state):
        if not isinstance(state, tuple) or len(state) < 2:
            raise ValueError("a number type has no state")
        # fields, sub-arrays and names are what makes a type more than a number
        if any(part not in (None, ()) for part in state[2:5]):
            raise ValueError("expected arrays of plain numbers, got records")
        self.order = state[1] if isinstance(state[1], str) and state[1] in "<>|=" else "="

    def numpy(self) -> np.dtype:
        try:
            kind = np.dtype(self.code)
        except TypeError:
            raise ValueError(f"expected numbers, got the type {self.code[:20]!r}") from None
        if kind.kind not in "biuf" or kind.itemsize > 16:
            raise ValueError(f"expected numbers, got the type {self.code[:20]!r}")
        return kind.newbyteorder(self.order) if self.order in "<>" else kind


class _Array:
    """Stands for numpy.ndarray."""

    def __init__(self, *ignored, **more):
        self.value = None

    def __setstate__(self, state):
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array has no state")
        _, shape, kind, fortran, data = state
        self.value = _array(shape, kind, bool(fortran), data)


class _Sparse:
    """Stands for a compressed sparse matrix of SciPy; `by_rows` tells which way it is compressed."""

    by_rows = False

    def __init__(self, *ignored, **more):
        self.state = {}

    def __setstate__(self, state):
        self.state = dict(state) if isinstance(state, dict) else {}


class _SparseRows(_Sparse):
    by_rows = True


class _Chumpy:
    """Stands for chumpy.Ch: of all it holds, the array."""

    def __init__(self, *ignored, **more):
        self.state = {}

    def __setstate__(self, state):
        self.state = dict(state) if isinstance(state, dict) else {}


class _Selected(_Chumpy):
    """Stands for chumpy's Select: entries ``idxs`` of another object's array, in a shape of their own."""


class _Object:
    """Stands for `object`, which Python 2 names as the base of a class it rebuilds."""


def _reconstruct(*ignored):
    return _Array()


def _rebuild(kind=None, *ignored):
    if kind not in (_Array, _Type, _Sparse, _SparseRows, _Chumpy, _Selected):
        raise ValueError("refuses to rebuild an object that is no array")
    return kind()


def _mapping(items=(), *ignored):
    items = list(items.items()) if isinstance(items, dict) else items
    if not isinstance(items, (list, tuple)) or not all(isinstance(i, (list, tuple)) and len(i) == 2 for i in items):
        raise ValueError("a dict is no list of pairs")
    _require_plain([key for key, _ in items])
    return {key: value for key, value in items}


def _listed(items=(), *ignored):
    return list(items) if isinstance(items, (list, tuple)) else []


def _encode(text="", encoding=_LATIN, *ignored):
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "iso-8859-1"):
        raise ValueError("expected bytes written as latin1")
    return text.encode(_LATIN)


def _from_buffer(data, kind, shape, order="C", *ignored):
    made = _Array()
    made.value = _array(shape, kind, order == "F", data)
    return made


def _scalar(kind, data=b"", *ignored):
    made = _Array()
    made.value = _array((), kind, False, data)
    return made


#: What a pickle may name, and what stands for it.
_ALLOWED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.dtype", "dtype"): _Type,
    ("scipy.sparse.csc", "csc_matrix"): _Sparse,
    ("scipy.sparse._csc", "csc_matrix"): _Sparse,
    ("scipy.sparse._csc", "csc_array"): _Sparse,
    ("scipy.sparse.csr", "csr_matrix"): _SparseRows,
    ("scipy.sparse._csr", "csr_matrix"): _SparseRows,
    ("scipy.sparse._csr", "csr_array"): _SparseRows,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy", "Ch"): _Chumpy,
    ("chumpy.reordering", "Select"): _Selected,
    ("numpy.matrixlib.defmatrix", "matrix"): _Array,
    ("copy_reg", "_reconstructor"): _rebuild,
    ("copyreg", "_reconstructor"): _rebuild,
    ("__builtin__", "object"): _Object,
    ("builtins", "object"): _Object,
    # chumpy's objects remember names in sets; they are not looked at
    ("__builtin__", "set"): _listed,
    ("builtins", "set"): _listed,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): _mapping,
}
for _room in ("numpy.core", "numpy._core"):
    _ALLOWED |= {
        (f"{_room}.multiarray", "_reconstruct"): _reconstruct,
        (f"{_room}.multiarray", "scalar"): _scalar,
        (f"{_room}.numeric", "_frombuffer"): _from_buffer,
    }


class _Unpickler(pickle._Unpickler):
    """Python's unpickler written in Python, whose steps can be replaced; the one in C would let two things through.

    State could be set on our own functions, and keys of nested tuples take a time to hash that doubles with each level.
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module, name):
        if (module, name) not in _ALLOWED:
            raise ValueError(f"refuses to build {module}.{name}; only arrays are read from a pickle")
        return _ALLOWED[module, name]

    def persistent_load(self, key):
        raise ValueError("refers to objects outside the file")

    def load_build(self):
        state, holder = self.stack.pop(), self.stack[-1]
        if not isinstance(holder, (_Array, _Type, _Sparse, _Chumpy)):
            raise ValueError("sets the state of something that is no array")
        holder.__setstate__(state)

    def load_setitem(self):
        _require_plain(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self):
        _require_plain(self.stack[::2])
        super().load_setitems()

    def load_dict(self):
        _require_plain(self.stack[::2])
        super().load_dict()

    def load_additems(self):
        _require_plain(self.stack)
        super().load_additems()

    def load_frozenset(self):
        _require_plain(self.stack)
        super().load_frozenset()

    for _opcode, _step in (
        (pickle.BUILD, load_build), (pickle.SETITEM, load_setitem), (pickle.SETITEMS, load_setitems),
        (pickle.DICT, load_dict), (pickle.ADDITEMS, load_additems), (pickle.FROZENSET, load_frozenset),
    ):  # fmt: skip
        dispatch[_opcode[0]] = _step


def _require_plain(keys) -> None:
    if not all(type(key) in (str, bytes, int, float, bool, type(None)) for key in keys):
        raise ValueError("has keys that are neither texts nor numbers")


def looks_pickled(head: bytes) -> bool:
    """Whether a file that begins so may be a pickle: of protocol 2 to 5, or a dict of an older one."""
    marked = head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")
    return marked or head[:3] == b"(dp" or head[:2] == b"}q"


def unpickle_arrays(data: bytes):
    """What a pickle holds, as arrays, numbers, texts, lists and dicts.

    Arrays of NumPy come as such; sparse matrices of SciPy as dense ones; of chumpy's objects the array ``x`` that
    they hold or select.  Nothing that the pickle names is imported or called.

    Parameters
    ----------
    data : bytes
        Any protocol, also those of Python 2.

    Raises
    ------
    ValueError
        If the pickle names anything else (the message names the class), is broken off, or promises more than it
        holds.
    """
    _check_opcodes(data)
    try:
        return _resolve(_Unpickler(io.BytesIO(data), encoding=_LATIN).load())
    except ValueError as error:
        told = str(error).startswith(("refuses", "refers", "sets", "has keys"))
        raise ValueError(f"the pickle {error}" if told else str(error)) from None
    except MemoryError:
        raise ValueError("the pickle asks for more memory than there is") from None
    except Exception as error:  # a broken program can end in any way
        raise ValueError(f"the pickle is damaged ({type(error).__name__}: {str(error)[:80]})") from None


def _check_opcodes(data: bytes) -> None:
    """Refuse what could cost memory or reach outside before a single opcode is carried out.

    `pickletools` checks each length against the bytes that follow.  A place in the memo may be any number, and the
    unpickler allocates up to it: it may not exceed the number of opcodes.
    """
    count, highest, ended = 0, -1, False
    try:
        for opcode, argument, _ in pickletools.genops(data):
            count += 1
            if opcode.name in _REFUSED_OPCODES:
                raise ValueError("refers to objects outside the file")
            if opcode.name == "GLOBAL" or opcode.name == "INST":
                key = tuple(argument.split(" ", 1))
                if key not in _ALLOWED:
                    raise ValueError(f"refuses to build {'.'.join(key)[:80]}; only arrays are read from a pickle")
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
                highest = max(highest, argument)
            ended = opcode.name == "STOP"
    except ValueError as error:
        said = str(error) if str(error).startswith(("refers", "refuses")) else f"is damaged ({str(error)[:80]})"
        raise ValueError(f"the pickle {said}") from None
    except Exception as error:
        raise ValueError(f"the pickle is damaged ({type(error).__name__}: {str(error)[:80]})") from None
    if not ended:
        raise ValueError("the pickle is broken off")
    if highest > 2 * count + 1000:
        raise ValueError("the pickle is damaged (it remembers more objects than it builds)")


def _array(shape, kind, fortran: bool, data):
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 32:
        raise ValueError("an array has no shape")
    if not isinstance(kind, _Type):
        raise ValueError("an array has no type")
    count = math.prod(shape)
    if isinstance(data, list):  # an array of objects: what they are is looked at when one is used
        if len(data) != count:
            raise ValueError(f"an array promises {count} objects and has {len(data)}")
        return data[0] if shape == () else data
    if isinstance(data, str):
        data = data.encode(_LATIN)
    number = kind.numpy()
    if not isinstance(data, (bytes, bytearray)) or len(data) != count * number.itemsize:
        had = len(data) if isinstance(data, (bytes, bytearray)) else type(data).__name__
        raise ValueError(f"an array promises {shape} of {number} and has {had} bytes")
    return np.frombuffer(bytes(data), number).reshape(shape, order="F" if fortran else "C")


def _resolve(value, depth: int = 0):
    """Holders replaced by what they hold, in the top dict and what it names; deeper nests are left alone."""
    if isinstance(value, _Array):
        return _resolve(value.value, depth + 1) if depth < 4 else value.value
    if isinstance(value, _Selected):
        return _selected(value, depth)
    if isinstance(value, _Chumpy):
        return _resolve(value.state.get("x"), depth + 1) if depth < 4 else None
    if isinstance(value, _Sparse):
        return _dense(value)
    if isinstance(value, dict) and depth < 3:
        return {key: _resolve(item, depth + 1) for key, item in value.items()}
    return value


def _selected(value: _Selected, depth: int):
    source = _resolve(value.state.get("a"), depth + 1) if depth < 4 else None
    places, shape = _resolve(value.state.get("idxs"), 3), value.state.get("preferred_shape")
    if not isinstance(source, np.ndarray) or not isinstance(places, np.ndarray) or places.dtype.kind not in "iu":
        raise ValueError("a selection of chumpy's has no array or no places")
    places = places.ravel()
    shape = (len(places),) if shape is None else shape
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("a selection of chumpy's has no shape")
    if math.prod(shape) != len(places) or (len(places) and not 0 <= places.min() <= places.max() < source.size):
        raise ValueError(f"a selection of chumpy's names places that an array of {source.shape} has not")
    return source.ravel()[places].reshape(shape)


def _dense(sparse: _Sparse) -> np.ndarray:
    from scipy.sparse import csc_matrix, csr_matrix

    state = {key: _resolve(item, 3) for key, item in sparse.state.items()}
    shape = state.get("_shape")
    arrays = [state.get(key) for key in ("data", "indices", "indptr")]
    if not isinstance(shape, tuple) or len(shape) != 2 or not all(type(n) is int and 0 <= n < 2**24 for n in shape):
        raise ValueError("a sparse matrix has no shape")
    if not all(isinstance(a, np.ndarray) and a.ndim == 1 for a in arrays):
        raise ValueError("a sparse matrix has no entries")
    # its dense form is made: a few regressed joints of some thousand vertices, nothing that a number may enlarge
    if shape[0] * shape[1] > 1 << 26 or len(arrays[2]) != shape[0 if sparse.by_rows else 1] + 1:
        raise ValueError(f"a sparse matrix of {shape} does not fit its entries")
    if not all(np.issubdtype(a.dtype, np.integer) for a in arrays[1:]):
        raise ValueError("a sparse matrix has places that are no whole numbers")
    matrix = (csr_matrix if sparse.by_rows else csc_matrix)(tuple(arrays), shape=shape)
    matrix.check_format(full_check=True)  # places outside the shape are an error, not a write elsewhere
    return matrix.toarray()
