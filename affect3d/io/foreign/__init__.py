"""Head models of other projects, read once and converted: BFM, LSFM, FLAME, eos, statismo."""

from affect3d.io.foreign.read import LAYOUTS, foreign_layout, read_foreign_model

__all__ = ["LAYOUTS", "foreign_layout", "read_foreign_model"]
