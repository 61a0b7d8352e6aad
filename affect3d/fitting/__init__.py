"""Fitting heads to photos."""

from affect3d.fitting.facefit import FaceFit, FitOptions, fit_face
from affect3d.fitting.photometric import PhotometricFit, PhotometricOptions, fit_photometric

__all__ = ["FaceFit", "FitOptions", "PhotometricFit", "PhotometricOptions", "fit_face", "fit_photometric"]
