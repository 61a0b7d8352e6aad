"""Valence and arousal: the plane, published tables, the gallery, and what expression a pair asks for."""

from affect3d.affect.gallery import Gallery, generate_gallery
from affect3d.affect.generation import GenerationOptions, generate_store
from affect3d.affect.metrics import concordance, mean_squared_error, pearson, sign_agreement
from affect3d.affect.named import NamedExpression, named_expression
from affect3d.affect.performances import PerformanceOptions
from affect3d.affect.query import AffectQuery, express, expression_for, interpolate_expression
from affect3d.affect.statistics import ClassStatistics, class_statistics, default_statistics
from affect3d.affect.store import GalleryStore, open_gallery
from affect3d.affect.tables import ARKIT_SHAPES
from affect3d.affect.vaspace import VASpace

__all__ = [
    "ARKIT_SHAPES", "AffectQuery", "ClassStatistics", "Gallery", "GalleryStore", "GenerationOptions", "NamedExpression",
    "PerformanceOptions", "VASpace", "class_statistics", "concordance", "default_statistics", "express",
    "expression_for", "generate_gallery", "generate_store", "interpolate_expression", "mean_squared_error",
    "named_expression", "open_gallery", "pearson", "sign_agreement",
]  # fmt: skip
