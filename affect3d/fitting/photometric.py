"""Fits that use every pixel: camera, identity, expression, light and albedo against the photo.

From a landmark fit, Gauss-Newton steps on residuals at points of the skin: colour (albedo times
irradiance, a spherical-harmonic function of the normal), or gradient directions, or both; beside them
the landmarks, the outline, and the priors of the model.  Which points are seen is settled by a depth
buffer between the steps.  What does not look as skin would (hair, glasses, hands, highlights) loses
its weight by its residual.  Compare Blanz and Vetter, "A Morphable Model for the Synthesis of 3D Faces",
SIGGRAPH 1999, and Booth et al., "3D Face Morphable Models In-the-Wild", CVPR 2017.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from threadpoolctl import ThreadpoolController

from affect3d.fitting.bounded_step import bounded_step
from affect3d.fitting.facefit import FaceFit
from affect3d.fitting.photometric_albedo import vertex_albedo
from affect3d.fitting.photometric_colour import ColourTerm, at_pixels
from affect3d.fitting.photometric_gradient import GradientTerm
from affect3d.fitting.photometric_landmarks import LandmarkTerm
from affect3d.fitting.photometric_outline import OutlineTerm
from affect3d.fitting.photometric_priors import PriorTerm
from affect3d.fitting.photometric_rehearsal import REPEATED, Rehearsal
from affect3d.fitting.photometric_samples import skin_samples
from affect3d.fitting.photometric_scene import draw_window, lit_picture, sample_weights
from affect3d.fitting.photometric_state import Layout, State
from affect3d.fitting.photometric_view import View
from affect3d.model import MorphableModel
from affect3d.render.sh_lighting import estimate_sh_lighting
from affect3d.render.shading import srgb_to_linear

__all__ = ["PhotometricFit", "PhotometricOptions", "fit_photometric"]

_BLAS = ThreadpoolController()
CHANNELS = ("colour", "gradient", "both")


@dataclass(frozen=True)
class PhotometricOptions:
    """Options of `fit_photometric`.  Lengths in the picture are in interocular distances.

    Attributes
    ----------
    channels : {"colour", "gradient", "both"}
        What is compared: linear colour, directions of the gradient, or the two together.
    identity_modes : int
        Identity modes used at most.
    colour_modes : int
        Colour modes used at most, where the model has a colour basis; with 0 it is treated as one without.
    samples : int
        Points of the skin that are compared.
    blurs : tuple of float
        Width of the blur at each level, coarse to fine.
    landmark_sigma, outline_landmark_sigma : float
        Expected deviation of a landmark; larger than in the landmark fit, whose say they had.
    expression_sigma : float
        Expected deviation of an expression coefficient from the landmark fit's, where that says nothing of what
        the detector foretold.
    colour_sigma, gradient_sigma : float
        Expected deviation of the residuals: of colours relative to the face's median, of channels in [-1, 1].
    information : float
        How many independent observations all pixels together are worth.  Neighbouring pixels err
        together, so this is far less than their number.
    albedo_sigma, light_sigma : float
        Expected size of the albedo's smooth changes (of models without a colour basis), and of light
        coefficients relative to the constant one.
    focal_sigma : float
        Expected deviation of the logarithm of the focal length from the landmark fit's.
    edge_sigma : float
        Expected deviation of the head's outline from the one in the picture.
    max_iterations : int
        At each level.
    tolerance : float
        A level ends when no point of the skin moves by more.
    rehearsals : int
        How often MediaPipe's network, if the landmarks are its own, is shown a drawing of the fit, to
        take off the photo's landmarks what it gets wrong there.
    """

    channels: str = "colour"
    identity_modes: int = 60
    colour_modes: int = 40
    samples: int = 1500
    blurs: tuple[float, ...] = (0.06, 0.03)
    landmark_sigma: float = 0.12
    outline_landmark_sigma: float = 0.24
    expression_sigma: float = 0.08
    colour_sigma: float = 0.06
    gradient_sigma: float = 0.35
    information: float = 60.0
    albedo_sigma: float = 0.15
    light_sigma: float = 0.5
    focal_sigma: float = 0.05
    edge_sigma: float = 0.3
    max_iterations: int = 10
    tolerance: float = 2e-3
    rehearsals: int = 2

    def __post_init__(self):
        if self.channels not in CHANNELS:
            raise ValueError(f"channels: expected one of {', '.join(CHANNELS)}, got {self.channels!r}")
        for name in (
            "landmark_sigma", "outline_landmark_sigma", "expression_sigma", "colour_sigma", "gradient_sigma",
            "information", "albedo_sigma", "light_sigma", "focal_sigma", "edge_sigma", "tolerance",
        ):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name}: expected a positive number, got {value}")
        if not self.blurs or min(self.blurs) <= 0:
            raise ValueError(f"blurs: expected positive numbers, at least one, got {self.blurs}")
        for name, least in (
            ("identity_modes", 0), ("colour_modes", 0), ("samples", 100), ("max_iterations", 1), ("rehearsals", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class PhotometricFit:
    """A head in a photo, by its pixels.

    Attributes
    ----------
    fit : FaceFit
        Camera, identity and expression.  `predicted` is new for landmarks that are fixed points of the
        skin; those of the outline stay as the landmark fit left them.
    lighting : (9, 3) float64
        Irradiance coefficients in the model frame for the basis of `render.shading.harmonics`; with the
        albedo around 1 on skin they carry the skin's colour.
    albedo : (V, 3) float64
        Linear, relative to the face's median skin.
    trust : (H, W) float32
        In [0, 1]: how much each pixel of the photo looks as the fitted skin would; 0 off the skin.
    cost_before, cost_after : float
        The same sum of squares at the landmark fit and at the result; never larger after than before.
    iterations : int
    converged : bool
    reason : str
    rehearsals : int
        Times the landmark network looked at a drawing of the fit.
    colour : (C,) float64
        Coefficients of the model's colour modes in standard deviations, as `MorphableModel.colour_instance` takes them;
        empty if it has none.  How bright the skin is and how bright the light is, a photo hardly tells apart.
    """

    fit: FaceFit
    lighting: np.ndarray
    albedo: np.ndarray
    trust: np.ndarray
    cost_before: float
    cost_after: float
    iterations: int
    converged: bool
    reason: str
    rehearsals: int = 0
    colour: np.ndarray = field(default_factory=lambda: np.zeros(0))


def fit_photometric(
    image, fit: FaceFit, model: MorphableModel, options: PhotometricOptions = PhotometricOptions()
) -> PhotometricFit:
    """Refine a landmark fit by the pixels of its photo.

    Parameters
    ----------
    image : (H, W, 3) uint8
        sRGB; the picture the landmarks were found in.
    fit : FaceFit
        What `fit_face` gave for it.
    model : MorphableModel
        The model it was fitted with.

    Returns
    -------
    PhotometricFit
        Where the picture says nothing (black, or too little of the face in it) the landmark fit as it
        was, with the reason; the result is finite in any case.  The same bits for the same input.

    Raises
    ------
    ValueError
        If the picture is not of that type or of the size the fit was made for, or the fit belongs to
        another model.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image: expected (H, W, 3) uint8, got {image.dtype} {image.shape}")
    if image.shape[1::-1] != fit.camera.size:
        raise ValueError(f"image: the fit is for {fit.camera.size} (width, height), got {image.shape[1::-1]}")
    if len(fit.expression) != len(model.expression) or len(fit.identity) > len(model.identity):
        raise ValueError(
            f"fit: the model has {len(model.identity)} identity modes and {len(model.expression)} expressions, "
            f"the fit {len(fit.identity)} and {len(fit.expression)}"
        )
    # the matrices are small: threads of BLAS would wait for each other
    with _BLAS.limit(limits=1, user_api="blas"):
        return _Problem(image, fit, model, options).solve()


class _Problem:
    def __init__(self, image, fit, model, options):
        self.image, self.fit, self.model, self.o = image, fit, model, options
        self.size = image.shape[1::-1]
        self.modes = min(options.identity_modes, len(fit.identity))
        self.samples = skin_samples(model, self.modes, options.samples, colour_modes=options.colour_modes)
        self.paint = vertex_albedo(model, options.colour_modes, self.samples.centres)
        self.layout = Layout(self.modes, len(fit.expression), self.paint.count)
        self.landmarks = LandmarkTerm(model, fit, self.modes, options.landmark_sigma, options.outline_landmark_sigma)
        self.unit = self.landmarks.unit
        self.outline = OutlineTerm(model, self.modes, self.unit, options.edge_sigma)
        # pictures with the eyes far apart hold detail that no level looks at
        self.linear = srgb_to_linear(image)
        self.colour = ColourTerm(self.linear, self.samples, self.layout, options.colour_sigma, options.information)
        self.gradient = GradientTerm(self.linear, self.samples, options.gradient_sigma, options.information)
        terms = {"colour": [self.colour], "gradient": [self.gradient], "both": [self.colour, self.gradient]}
        self.compared = terms[options.channels]

    def start(self):
        """First state, or why there is none."""
        coefficients = np.r_[self.fit.identity[: self.modes], self.fit.expression]
        view = View.of(self.fit.camera)
        state = State(view, coefficients, np.zeros((9, 3)), self.paint.expected(self.o.albedo_sigma)[0])
        if not len(self.landmarks.on):
            return None, "no landmark is a point of the skin that is seen"
        for term in (self.colour, self.gradient):
            term.prepare(self.o.blurs[0] * self.unit)
        weight = self.look(state, search=False)
        if (weight > 0).sum() < 100:
            return None, "too little of the face is in the picture"
        centre, _, _, normal, _ = self.samples.posed(coefficients)
        observed = at_pixels(self.colour.smooth, view.project(centre)[0])
        self.colour.scale = np.median(observed[weight > 0], axis=0)
        if self.colour.scale.min() < 1e-3:
            return None, "the face is black in the picture"
        light = estimate_sh_lighting(normal, self.colour.albedo(state), observed, weight, ridge=1e-2)
        self.priors = PriorTerm(self.layout, self.fit, self.model, self.paint, self.colour.scale, self.o)
        return replace(state, light=light.coefficients), ""

    def look(self, state: State, search: bool = True):
        """Settle what is seen from here: samples, outline, the model's own picture.  Returns the weights."""
        vertices = self.model.instance(self.padded(state), state.coefficients[self.modes :])
        centre, _, _, normal, _ = self.samples.posed(state.coefficients)
        window = draw_window(self.model, vertices, state.view, state.view.project(centre)[0], self.unit)
        weight = sample_weights(window, state.view, centre, normal, self.size)
        self.colour.see(weight)
        self.gradient.see(weight)
        if search:
            self.outline.search(state.view, vertices, window.raster.depth, window.low, window.scale, self.colour.smooth)
            if self.gradient in self.compared:
                self.draw(state, window)
        self.window = window
        return weight

    def draw(self, state, window):
        brightness = float(np.median(self.colour.scale))
        picture = lit_picture(window, self.model.faces, self.paint.drawn(state.albedo), state.light, brightness)
        self.gradient.draw(state, picture, window.low, window.scale)

    def padded(self, state) -> np.ndarray:
        identity = self.fit.identity.copy()
        identity[: self.modes] = state.coefficients[: self.modes]
        return identity

    def cost(self, state) -> float:
        P = state.coefficients
        fixed = self.landmarks.cost(state.view, P) + self.outline.cost(state.view, P) + self.priors.cost(state)
        return fixed + sum(term.cost(state) for term in self.compared)

    def equations(self, state):
        left, right = self.priors.equations(state)
        g = self.layout.geometry
        for term in (self.landmarks, self.outline):
            a, b = term.equations(state.view, state.coefficients)
            left[g, g] += a
            right[g] += b
        # gradients alone say nothing of light and albedo, so colour settles these in any case
        a, b = self.colour.equations(state)
        if self.colour in self.compared:
            left += a
            right += b
        else:
            left[g.stop :, g.stop :] += a[g.stop :, g.stop :]
            right[g.stop :] += b[g.stop :]
        if self.gradient in self.compared:
            a, b = self.gradient.equations(state)
            left[g, g] += a
            right[g] += b
        return left, right

    def solve(self) -> PhotometricFit:
        begin, reason = self.start()
        if begin is None:
            return self.unchanged(reason)
        state, total, converged, rehearsed = begin, 0, False, 0
        blurs = list(self.o.blurs)
        rehearsal = Rehearsal.of(self.image, self.fit, self.unit) if self.o.rehearsals else None
        if rehearsal is not None:
            # the network looks again after each level but the last
            blurs += blurs[-1:] * max(self.o.rehearsals + 1 - len(blurs), 0)
        for level, blur in enumerate(blurs):
            if rehearsal is not None and 0 < level <= self.o.rehearsals:
                rehearsed += self.rehearse(rehearsal, state)
            for term in (self.colour, self.gradient):
                term.prepare(blur * self.unit)
            damping, converged = 1e-3, False
            for iteration in range(self.o.max_iterations):
                if iteration % 2 == 0 or self.gradient in self.compared:
                    self.look(state)
                total += 1
                fresh, damping = self.improved(state, damping)
                if fresh is None:
                    converged, why = True, "no step lowers the cost any more"
                    break
                moved = self.movement(state, fresh)
                state = fresh
                if moved < self.o.tolerance and iteration > 0:
                    converged, why = True, f"the skin moved less than {self.o.tolerance:g} interocular distances"
                    break
            else:
                why = f"stopped after {self.o.max_iterations} iterations a level; raise max_iterations"
        weight = np.minimum(self.look(begin), self.look(state))
        for term in (self.colour, self.gradient):
            term.see(weight)
        before, after = (self.measured(s) for s in (begin, state))
        if not after < before:
            return self.unchanged("the picture asks for nothing better than the landmark fit", before)
        return self.result(state, before, after, total, converged, why, rehearsed)

    def rehearse(self, rehearsal: Rehearsal, state) -> bool:
        """Take off the landmarks what the network gets wrong on a drawing of the head; False if it sees no face."""
        vertices = self.model.instance(self.padded(state), state.coefficients[self.modes :])
        lm = self.landmarks
        points = np.full(self.fit.targets.shape, np.nan)
        points[lm.on] = state.view.project(lm.points(state.coefficients))[0]
        # of the model's own colours all: the network needs to see lips and brows
        painted = self.paint.drawn(state.albedo, full=True)
        errors = rehearsal.errors(self.model, vertices, state.view, painted, state.light, points)
        if errors is None:
            return False
        lm.aim = self.fit.targets[lm.on] - REPEATED * errors[lm.on]
        return True

    def improved(self, state, damping):
        """A state of lower cost and the next damping; None if there is no such step."""
        cost = self.cost(state)
        left, right = self.equations(state)
        here = state.coefficients[self.modes :]
        for _ in range(8):
            step = bounded_step(left, right, damping, here, self.layout.expression)
            fresh = state.moved(step, self.layout)
            depth = fresh.view.project(self.samples.posed(fresh.coefficients)[0])[1][:, 2]
            if depth.min() > 1 and self.cost(fresh) <= cost:
                return fresh, max(damping / 5, 1e-7)
            damping *= 8
        return None, damping

    def movement(self, before, after) -> float:
        a, b = (s.view.project(self.samples.posed(s.coefficients)[0])[0] for s in (before, after))
        return float(np.abs(b - a).max()) / self.unit

    def measured(self, state) -> float:
        """The cost with the model's own picture taken from this very state."""
        if self.gradient in self.compared:
            weight = self.gradient.weight
            vertices = self.model.instance(self.padded(state), state.coefficients[self.modes :])
            around = state.view.project(self.samples.posed(state.coefficients)[0])[0]
            self.draw(state, draw_window(self.model, vertices, state.view, around, self.unit))
            self.gradient.see(weight)
        return self.cost(state)

    def result(self, state, before, after, total, converged, why, rehearsed) -> PhotometricFit:
        camera = state.view.camera(self.size)
        predicted = self.fit.predicted.copy()
        lm = self.landmarks
        predicted[lm.on] = state.view.project(lm.points(state.coefficients))[0]
        rms = float(np.sqrt(np.nanmean(((predicted - self.fit.targets) ** 2).sum(1))))
        identity, expression = self.padded(state), state.coefficients[self.modes :].copy()
        albedo = self.paint.drawn(state.albedo)
        trust = self.trust(state, albedo)
        colour = state.albedo.copy() if self.paint.learned else np.zeros(0)
        for array in (identity, expression, predicted, albedo, trust, colour):
            array.flags.writeable = False
        fit = replace(
            self.fit, camera=camera, identity=identity, expression=expression, predicted=predicted, rms_px=rms,
            rms_relative=rms / self.unit, iterations=self.fit.iterations + total, converged=converged, reason=why,
        )  # fmt: skip
        return PhotometricFit(fit, state.light, albedo, trust, before, after, total, converged, why, rehearsed, colour)

    def trust(self, state, albedo) -> np.ndarray:
        """(H, W) float32: residual weights of all pixels of the skin."""
        self.look(state, search=False)
        window = self.window
        height, width = window.raster.face.shape
        drawn = lit_picture(window, self.model.faces, albedo, state.light, 0.0)
        # the window's pixels in the photo, and the photo's pixels in the window
        at = np.float32([[1 / window.scale, 0, window.low[0]], [0, 1 / window.scale, window.low[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        photo = cv2.warpAffine(self.colour.smooth, at, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        skin = np.append(self.model.part_faces("face", "lips", "skin"), False)[window.raster.face]
        away = np.sqrt((((photo - drawn) / self.colour.scale) ** 2).mean(-1))
        # what half of the skin does is skin; single points that happen to agree are not
        expected = max(self.o.colour_sigma, 1.5 * float(np.median(away[skin]))) if skin.any() else 1.0
        away = cv2.GaussianBlur(np.where(skin, away, 0), (0, 0), 1.5) / np.maximum(
            cv2.GaussianBlur(skin.astype(np.float32), (0, 0), 1.5), 1e-3
        )
        inside = np.where(skin, 1 / (1 + (away / expected) ** 2 / 4) ** 2, 0).astype(np.float32)
        return cv2.warpAffine(inside, at, self.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)

    def unchanged(self, reason, cost=float("inf")) -> PhotometricFit:
        count = len(self.model.mean)
        trust = np.zeros(self.size[::-1], np.float32)
        cost = cost if np.isfinite(cost) else 0.0
        return PhotometricFit(
            self.fit, np.zeros((9, 3)), np.ones((count, 3)), trust, cost, cost, 0, False, reason
        )
