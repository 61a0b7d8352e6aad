"""A photo and an affect in, pictures out."""

from affect3d.synthesis.path import path_frames, path_points
from affect3d.synthesis.portrait import Portrait, Synthesis
from affect3d.synthesis.sheets import circle_sheet, grid_sheet, strip_sheet

__all__ = ["Portrait", "Synthesis", "circle_sheet", "grid_sheet", "path_frames", "path_points", "strip_sheet"]
