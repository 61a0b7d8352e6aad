"""Ways to follow a sequence from frame to frame, behind one small interface for batches.

A follower hangs on the subject's registered neutral.  ``follow`` brings it to the next frame or changes nothing;
``state`` and ``restore`` let a run that was killed go on with the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.mesh import Mesh
from affect3d.registration.sequence import SequenceOptions, Tracker
from affect3d.registration.target import Target
from affect3d.registration.uv import UVOptions, UVRegistration

__all__ = ["FOLLOWERS", "Followed", "TrackFollower", "UVFollower", "View"]


@dataclass(frozen=True, eq=False)
class View:
    """One frame, read and prepared.

    Attributes
    ----------
    scan : Mesh
        mm.
    target : Target
        Of the scan.
    positions : (L, 3) float64, optional
        Of the follower's landmarks, mm; NaN where missing.
    texture : (H, W, 3) uint8, optional
        The picture that the scan's texture coordinates mean.
    """

    scan: Mesh
    target: Target
    positions: np.ndarray | None = None
    texture: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Followed:
    """What became of a frame: vertices (V, 3) mm, those read from the scan (V,) bool, and how it went."""

    vertices: np.ndarray
    matched: np.ndarray
    iterations: int
    converged: bool
    reason: str


class TrackFollower:
    """The tracker of `register_sequence`.

    Parameters
    ----------
    neutral : Mesh
        The template on the subject's neutral, mm.
    landmarks : (L,) int array
        Template vertices.
    options : SequenceOptions
    first : View
        The neutral's scan; not used here.
    prior : DisplacementPrior, optional
        In the neutral's pose and size.
    """

    def __init__(self, neutral: Mesh, landmarks, options: SequenceOptions, first: View, prior=None):
        self.tracker = Tracker(neutral, landmarks if len(landmarks) else None, options, prior=prior)

    @staticmethod
    def prepared(scan: Mesh, options: SequenceOptions) -> Target:
        """What may be done ahead of `follow`, in another thread; a ValueError if the scan is no surface."""
        return Target(scan, options.turn, options.points, options.smoothing)

    def follow(self, view: View) -> Followed:
        """Bring the neutral to the frame, from where the frame before left it."""
        result = self.tracker.frame(0, view.target, view.positions, "")
        count = sum(self.tracker.options.iterations)
        return Followed(result.vertices, result.matched, count, result.converged, result.reason)

    def restart(self, vertices) -> None:
        """See `Tracker.restart`."""
        self.tracker.restart(vertices)

    def state(self) -> dict[str, np.ndarray]:
        """See `Tracker.state`."""
        return self.tracker.state()

    def restore(self, state) -> None:
        """See `Tracker.restore`."""
        self.tracker.restore(state)


class UVFollower:
    """UV registration of each frame, in the pose that the tracker finds and from the flow of the frame before.

    The parameters are those of `TrackFollower`, with `UVOptions`; the texture of the first view, where it has one, is
    what the textures of the frames are compared with.  A prior has no say: images tell what slides.
    """

    def __init__(self, neutral: Mesh, landmarks, options: UVOptions, first: View, prior=None):
        marks = landmarks if len(landmarks) else None
        self.tracker = Tracker(neutral, marks, SequenceOptions())
        painted = None if first.texture is None else (first.scan, first.texture)
        self.method = UVRegistration(neutral, marks, options, painted)
        self.flow = np.zeros((*self.method.chart.shape, 2))

    @staticmethod
    def prepared(scan: Mesh, options: UVOptions) -> Target:
        """See `TrackFollower.prepared`."""
        tracking = SequenceOptions()
        return Target(scan, tracking.turn, tracking.points, tracking.smoothing)

    def follow(self, view: View) -> Followed:
        """Bring the neutral to the frame."""
        before = self.state()
        self.tracker.find_pose(view.target, 30)
        rotation, translation = self.tracker.rotation, self.tracker.translation
        result = self.method.register(view.scan, rotation, translation, view.positions, self.flow, view.texture)
        if result.converged:
            self.tracker.offset = (result.vertices - translation) @ rotation - self.tracker.rest
            self.flow = result.flow
        else:
            self.restore(before)
        return Followed(result.vertices, result.matched, 1, result.converged, result.reason)

    def restart(self, vertices) -> None:
        """Start from `vertices`, and from no flow."""
        self.tracker.restart(vertices)
        self.flow = np.zeros_like(self.flow)

    def state(self) -> dict[str, np.ndarray]:
        """That of the tracker, and the flow."""
        return {**self.tracker.state(), "flow": self.flow}

    def restore(self, state) -> None:
        """Go back to what `state` told."""
        self.tracker.restore(state)
        self.flow = np.array(state["flow"])


#: Followers by the name of the method.
FOLLOWERS = {"track": TrackFollower, "uv": UVFollower}
