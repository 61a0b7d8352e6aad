"""Fitting heads to photos."""

from affect3d.fitting.facefit import FaceFit, FitOptions, fit_face
from affect3d.fitting.many import ManyFit, ManyOptions, fit_many
from affect3d.fitting.photometric import PhotometricFit, PhotometricOptions, fit_photometric
from affect3d.fitting.video import Track, TrackOptions, track_frames

__all__ = [
    "FaceFit", "FitOptions", "ManyFit", "ManyOptions", "PhotometricFit", "PhotometricOptions", "Track", "TrackOptions",
    "fit_face", "fit_many", "fit_photometric", "track_frames",
]  # fmt: skip
