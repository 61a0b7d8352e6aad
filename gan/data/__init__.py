"""Sets of face pictures: their type, readers of databases, crops, pairings and folds."""

from affect3d.gan.data.crops import CROPS, CropOptions, crop_image, crop_transform, mean_shape
from affect3d.gan.data.folds import FOLDS, Fold, check_fold, given_folds, subject_folds
from affect3d.gan.data.images import FaceImages, join_faces
from affect3d.gan.data.listing import Entry, Listing, find_points, read_faces
from affect3d.gan.data.pairs import (
    last_frames, neutral_pairs, same_class_pairs, same_person_pairs, unit_pairs, unlike_pairs,
)  # fmt: skip
from affect3d.gan.data.readers import LISTERS, read_tfd

__all__ = [
    "CROPS", "Entry", "FOLDS", "FaceImages", "Fold", "LISTERS", "Listing", "CropOptions", "check_fold", "crop_image",
    "crop_transform", "find_points", "given_folds", "join_faces", "last_frames", "mean_shape", "neutral_pairs",
    "read_faces", "read_tfd", "same_class_pairs", "same_person_pairs", "subject_folds", "unit_pairs", "unlike_pairs",
]  # fmt: skip
