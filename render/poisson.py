"""Poisson blending: paste the gradients of one image into another, exactly, inside any mask.

For every pixel p of the mask the result u obeys the discrete equation of Perez et al. [1]_, eq. 7,

    sum_q (u_p - u_q) = sum_q v_pq      over the neighbours q of p inside the picture,

with v_pq = source_p - source_q (or given gradients) and u_q = photo_q for q outside the mask.  Where the mask touches
the picture's border the missing neighbour is dropped, so that nothing is asked for there.

The unknown solved for is the correction x = u - source, zero outside the mask once the photo's values have gone to the
right-hand side: it is harmonic in the mask, hence smooth, hence a good friend of coarse grids.  The solver is a
multigrid F-cycle [2]_ on 2 x 2 aggregated cells with red-black Gauss-Seidel relaxation.  Coarse cells keep the number
of links that cross between them (halved, for twice the distance) and the full number that ties them to the photo, so
that walls and holes one pixel wide are still there on every coarse grid and the number of cycles hardly depends on
the size or the raggedness of the mask.

References
----------
.. [1] Perez, Gangnet, Blake, "Poisson Image Editing", SIGGRAPH 2003.  DOI 10.1145/882262.882269
.. [2] Trottenberg, Oosterlee, Schueller, "Multigrid", Academic Press, 2001, sections 2.4 and 5.1.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from affect3d.geometry.arrays import require_finite
from affect3d.render import poisson_kernels as kernels

__all__ = ["BlendResult", "PoissonSolver", "poisson_blend"]

_DENSE = 100  # cells below which a grid is solved by a precomputed dense inverse
_THREADED = 20_000  # pixels of the mask's box above which the channels run in threads
_MAX_CYCLES = 50
_UNIT = np.zeros(0, np.float32)  # stands for couplings that are all 1


@dataclass(frozen=True, eq=False)
class BlendResult:
    """A blended picture and how well it solves the equation.

    Attributes
    ----------
    image : (H, W, 3) float32
        The photo outside the mask, bit for bit; inside, the solution, neither rounded nor clipped.
    iterations : int
        Multigrid cycles of the slowest channel.
    residual : float
        Largest |sum_q (u_p - u_q) - sum_q v_pq| over the mask and the channels, in the unit of the images, as
        measured on the correction u - source; rounding u to float32 changes it by some 1e-4 in 0..255.
    converged : bool
        Whether `residual` is at most the tolerance.
    reason : str
        One sentence; with a remedy where it did not converge.
    """

    image: np.ndarray
    iterations: int
    residual: float
    converged: bool
    reason: str


def poisson_blend(source, photo, mask, tolerance: float = 0.005, gradients=None, screening=None) -> BlendResult:
    """Blend `source` into `photo` inside `mask` so that no seam is left.

    Parameters
    ----------
    source : (H, W, 3) uint8 or float array
        Gives the gradients.  Read inside the mask and one pixel around it.
    photo : (H, W, 3) uint8 or float array
        Gives the values around the mask and everything outside it.  Same unit as `source`, usually 0..255.
    mask : (H, W) bool array
        Pixels to replace.  Any shape: holes, islands and thin lines are fine, and so is the picture's border.
    tolerance : float
        Largest residual allowed at any pixel, in the unit of the images.  Float32 arithmetic reaches about 1e-6 of
        the largest grey level, 0.0003 for 0..255.
    gradients : pair of (H, W, 3) float arrays, optional
        (gx, gy) to be met instead of those of `source`: ``gx[i, j]`` is the wanted ``u[i, j + 1] - u[i, j]`` and
        ``gy[i, j]`` the wanted ``u[i + 1, j] - u[i, j]``; the last column of gx and last row of gy are not read.
    screening : (H, W) float array, optional
        Weight lambda >= 0 that pulls each pixel to `source`: adds lambda_p (u_p - source_p) to the left-hand side.

    Returns
    -------
    BlendResult
        An empty mask returns the photo.  A mask over the whole picture leaves the solution free up to a constant
        (unless screened): the one with the mean of `source` is returned, channel by channel.

    Raises
    ------
    ValueError
        If shapes or types do not fit, numbers are not finite, `tolerance` is not positive or `screening` negative.

    Notes
    -----
    Deterministic: same input, same bits, whatever the number of cores.

    Examples
    --------
    >>> import numpy as np
    >>> photo = np.full((8, 8, 3), 100.0)
    >>> mask = np.zeros((8, 8), bool)
    >>> mask[2:6, 2:6] = True
    >>> result = poisson_blend(photo + 50, photo, mask)  # a constant offset is a seam and nothing else
    >>> bool(abs(result.image - photo).max() < 0.01)
    True
    """
    return PoissonSolver(mask, screening).blend(source, photo, tolerance, gradients)


class PoissonSolver:
    """The grids of one mask, for blending many sources into it (see `poisson_blend`).

    Parameters
    ----------
    mask : (H, W) bool array
        Pixels to replace.
    screening : (H, W) float array, optional
        Weight >= 0 pulling to the source.

    Raises
    ------
    ValueError
        As `poisson_blend`.
    """

    def __init__(self, mask, screening=None):
        mask = np.asarray(mask)
        if mask.ndim != 2 or mask.dtype != np.bool_:
            raise ValueError(f"mask: expected a (H, W) bool array, got {mask.dtype} of shape {mask.shape}")
        self.shape = mask.shape
        weights = np.zeros((0, 0), np.float32)
        if screening is not None:
            weights = _checked(screening, "screening", mask.shape)
            if weights.size and (weights.min() < 0 or weights.max() > 1e30):
                raise ValueError(f"screening: expected weights in [0, 1e30], got {weights.min()} to {weights.max()}")
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        self._empty = not rows.size
        if self._empty:
            return
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        height, width = mask.shape
        self._box = (top, bottom, left, right)
        # The picture's own border, not the box, decides where the flux is free.
        self._closed = (left == 0, right == width, top == 0, bottom == height)
        weights = np.ascontiguousarray(weights[top:bottom, left:right], np.float32)
        # With no known pixel, adding up all equations says that the mean of the correction, weighted with the
        # screening, is 0.  A weak screening alone would leave it to rounding errors.
        self._anchor = None
        if mask.all():
            self._anchor = _checkerboard(weights if weights.any() else np.ones(mask.shape, np.float32))
        self._singular = self._anchor is not None and (weights.size == 0 or weights.mean() < 1e-6)
        self._code = _window(mask, self._box, np.uint8, fill=kernels.BEYOND)
        self._build(bottom - top, right - left, weights)

    def blend(self, source, photo, tolerance: float = 0.005, gradients=None) -> BlendResult:
        """Blend `source` into `photo`; parameters, result and errors as in `poisson_blend`."""
        shape = (*self.shape, 3)
        source, photo = _checked(source, "source", shape), _checked(photo, "photo", shape)
        if not (np.isfinite(tolerance) and tolerance > 0):
            raise ValueError(f"tolerance: expected a number above 0, got {tolerance}")
        if gradients is not None:
            if not isinstance(gradients, (tuple, list, np.ndarray)) or len(gradients) != 2:
                raise ValueError("gradients: expected a pair (gx, gy) of arrays")
            gradients = [_checked(g, f"gradients[{n}]", shape).astype(np.float32) for n, g in enumerate(gradients)]
        image = photo.astype(np.float32)
        if self._empty:
            return BlendResult(image, 0, 0.0, True, "the mask is empty: the photo is returned as it is")
        near_source, near_photo = _window(source, self._box, np.float32), _window(image, self._box, np.float32)
        f = np.zeros((3, *self._w.shape), np.float32)
        kernels.boundary_term(self._code, near_source, near_photo, f)
        if gradients is not None:
            f += self._gradient_term(source, gradients)
        x = np.zeros_like(f)
        answers = self._solve_channels(x, f, tolerance)
        cycles, residual = max(a[0] for a in answers), max(a[1] for a in answers)
        if self._anchor is not None:
            total = self._anchor.sum(dtype=np.float64)
            for channel in range(3):
                x[channel] -= np.float32(np.sum(x[channel] * self._anchor, dtype=np.float64) / total)
        kernels.add_correction(self._code, near_source, x, near_photo)
        top, bottom, left, right = self._box
        image[top:bottom, left:right] = near_photo[1:-1, 1:-1]
        if not _all_finite(near_photo):
            raise ValueError("source, photo: expected numbers that float32 arithmetic can add, got an overflow")
        return BlendResult(image, cycles, residual, residual <= tolerance, _reason(cycles, residual, tolerance))

    def _build(self, height: int, width: int, weights: np.ndarray) -> None:
        """Grids from the pixels down to one small enough for a dense inverse; the coarse ones share packed arrays."""
        self._w = np.zeros(_shape(height, width), np.float32)
        coarse = _full_layout(height, width)
        kernels.pixel_grid(self._code, weights, weights.size > 0, self._w, *coarse)
        grids, table, end = [coarse], [], 0
        while True:
            height, width = grids[-1][0].shape
            colours, rows, pitch = _shape(height, width)
            table.append((end, end + colours * rows * pitch, pitch))
            end = table[-1][1]
            if height * width <= _DENSE:
                break
            grids.append(_full_layout(height, width))
            kernels.coarsen(*grids[-2], *grids[-1])
        self._table = np.array(table, np.int64)
        self._coarse_w, self._coarse_c = np.zeros(end, np.float32), np.zeros(2 * end, np.float32)
        for grid, (start, end, pitch) in zip(grids, table):
            w, c = self._coarse_w[start:end], self._coarse_c[2 * start : 2 * end]
            kernels.cell_grid(*grid, w.reshape(2, -1, pitch), c.reshape(4, -1, pitch))
        self._inverse = _dense_inverse(*grids[-1], self._singular)
        self._program = np.array(_cycle(0, len(table) - 1, twice=True), np.int64)

    def _gradient_term(self, source, gradients) -> np.ndarray:
        """Right-hand side of the difference between the wanted gradients and those of `source`."""
        gx, gy = gradients
        source = source.astype(np.float32)
        term = np.zeros_like(source)
        flow = gx[:, :-1] - np.diff(source, axis=1)
        term[:, :-1] -= flow
        term[:, 1:] += flow
        flow = gy[:-1] - np.diff(source, axis=0)
        term[:-1] -= flow
        term[1:] += flow
        top, bottom, left, right = self._box
        term = np.where(self._code[1:-1, 1:-1, None] == kernels.INSIDE, term[top:bottom, left:right], 0)
        return np.stack([_checkerboard(term[..., channel]) for channel in range(3)])

    def _solve_channels(self, x, f, tolerance) -> list[tuple[int, float]]:
        def solve(channel):
            return self._solve(x[channel].ravel(), f[channel].ravel(), tolerance)

        # Channels share nothing, and the compiled loops run without the interpreter's lock; small ones are solved
        # before threads have started.
        workers = min(3, os.cpu_count() or 1) if self._w.size > _THREADED else 1
        if workers == 1:
            return [solve(channel) for channel in range(3)]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(solve, range(3)))

    def _solve(self, x, f, tolerance) -> tuple[int, float]:
        """Cycle until the residual is small or stops falling; `x` receives the solution."""
        w, pitch = self._w.ravel(), self._w.shape[2]
        coarse_x, coarse_f = np.zeros_like(self._coarse_w), np.zeros_like(self._coarse_w)
        _, end, coarse_pitch = self._table[0]
        kernels.relax_pixels(x, f, w, pitch)
        best, stalled = np.inf, 0
        for cycle in range(_MAX_CYCLES + 1):
            residual = float(kernels.restrict_residual(x, f, w, _UNIT, pitch, coarse_f[:end], coarse_pitch))
            stalled = stalled + 1 if residual > 0.9 * best else 0
            best = min(best, residual)
            if residual <= tolerance or stalled == 3 or cycle == _MAX_CYCLES:
                return cycle, residual
            kernels.run_program(
                self._program, self._table, coarse_x, coarse_f, self._coarse_w, self._coarse_c, self._inverse,
                self._closed,
            )
            kernels.add_interpolated(x, w, pitch, coarse_x[:end], coarse_pitch, self._closed)
            kernels.relax_pixels(x, f, w, pitch)
            kernels.relax_pixels(x, f, w, pitch)


def _cycle(grid: int, last: int, twice: bool) -> list[tuple[int, int]]:
    """Steps (what, grid) that solve `grid` roughly, from zero: an F-cycle if `twice`, else a V-cycle."""
    if grid == last:
        return [(kernels.INVERT, grid)]
    steps = [(kernels.CLEAR, grid)]
    for inner_twice in (True, False) if twice else (False,):
        steps += [(kernels.RELAX, grid), (kernels.RESTRICT, grid)]
        steps += _cycle(grid + 1, last, inner_twice)
        steps += [(kernels.INTERPOLATE, grid), (kernels.RELAX, grid)]
    return steps


def _shape(height: int, width: int) -> tuple[int, int, int]:
    """Shape of a grid in checkerboard layout (see `poisson_kernels`)."""
    return 2, height + 2, (width + 1) // 2 + 2


def _full_layout(height: int, width: int) -> list[np.ndarray]:
    """Zeroed couplings (right, down, outer) of the grid half as fine as (height, width)."""
    return [np.zeros(((height + 1) // 2, (width + 1) // 2), np.float32) for _ in range(3)]


def _checkerboard(full) -> np.ndarray:
    """(H, W) -> (2, H + 2, K + 2)."""
    height, width = full.shape
    even = np.zeros((height, width + width % 2), np.float32)
    even[:, :width] = full
    out = np.zeros(_shape(height, width), np.float32)
    for colour in range(2):
        out[colour, 1:-1:2, 1:-1] = even[0::2, colour::2]
        out[colour, 2:-1:2, 1:-1] = even[1::2, 1 - colour :: 2]
    return out


def _dense_inverse(right, down, outer, singular: bool) -> np.ndarray:
    """Inverse of the coarsest grid's matrix, in the order of a raveled checkerboard array without its ring."""
    height, width = outer.shape
    cells = np.arange(height * width).reshape(height, width)
    matrix = np.zeros((cells.size, cells.size))
    for weight, a, b in ((right[:, :-1], cells[:, :-1], cells[:, 1:]), (down[:-1], cells[:-1], cells[1:])):
        weight, a, b = weight.ravel(), a.ravel(), b.ravel()
        np.add.at(matrix, (a, a), weight)
        np.add.at(matrix, (b, b), weight)
        matrix[a, b] -= weight
        matrix[b, a] -= weight
    if not singular:
        matrix[cells.ravel(), cells.ravel()] += outer.ravel()
    unknown = np.flatnonzero(matrix.diagonal() > 0)
    block = matrix[np.ix_(unknown, unknown)]
    # Without a known pixel anywhere constants are free: the pseudo-inverse picks the one with mean 0.
    block = np.linalg.pinv(block, hermitian=True) if singular else np.linalg.inv(block)
    inverse = np.zeros_like(matrix)
    inverse[np.ix_(unknown, unknown)] = block
    order = _checkerboard(cells + 1)[:, 1:-1, 1:-1].ravel().astype(int) - 1
    padded = np.zeros((cells.size + 1, cells.size + 1))  # the last row and column stand for cells that pad odd widths
    padded[:-1, :-1] = inverse
    return np.ascontiguousarray(padded[np.ix_(order, order)], np.float32)


def _window(image, box, dtype, fill: int = 0) -> np.ndarray:
    """Copy of the box with one more pixel on each side, `fill` where that lies beyond the picture."""
    top, bottom, left, right = box
    height, width = image.shape[:2]
    out = np.full((bottom - top + 2, right - left + 2, *image.shape[2:]), fill, dtype)
    a, b, c, d = max(top - 1, 0), min(bottom + 1, height), max(left - 1, 0), min(right + 1, width)
    out[a - top + 1 : b - top + 1, c - left + 1 : d - left + 1] = image[a:b, c:d]
    return out


def _checked(value, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Finite array of numbers of the given shape."""
    array = np.asarray(value)
    if array.dtype.kind not in "fui":
        raise ValueError(f"{name}: expected integer or real numbers, got {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    if not _all_finite(array):
        require_finite(array, name)
    return array


def _all_finite(array) -> bool:
    # A finite sum proves it and costs less than a look at every number.
    with np.errstate(over="ignore", invalid="ignore"):
        return array.dtype.kind != "f" or bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def _reason(cycles: int, residual: float, tolerance: float) -> str:
    if residual <= tolerance:
        return f"the residual fell to {residual:.2g}, tolerance {tolerance:g}, in {cycles} cycles"
    return (
        f"the residual stays at {residual:.2g} after {cycles} cycles, above the tolerance {tolerance:g}; allow a larger"
        " tolerance, at least 1e-6 of the largest grey level"
    )
