"""Fitting heads to photos."""

from affect3d.fitting.facefit import FaceFit, FitOptions, fit_face

__all__ = ["FaceFit", "FitOptions", "fit_face"]
