"""Bringing scans of any topology into correspondence with one template."""

if __name__ != "affect3d.registration":
    raise ImportError(
        "this folder is the package affect3d.registration; install the project and import it by that name"
    )

from affect3d.registration.affine import affine_icp
from affect3d.registration.amberg import AmbergOptions, amberg_steps, register_amberg
from affect3d.registration.expression_prior import expression_prior
from affect3d.registration.nonrigid import (
    NonRigidOptions,
    NonRigidResult,
    NonRigidStep,
    nonrigid_steps,
    register_nonrigid,
)
from affect3d.registration.prior import DisplacementPrior
from affect3d.registration.sequence import WITH_PRIOR, FrameResult, SequenceOptions, register_sequence
from affect3d.registration.similarity import SimilarityResult, similarity_icp
from affect3d.registration.target import Correspondence, Target

__all__ = [
    "WITH_PRIOR", "AmbergOptions", "Correspondence", "DisplacementPrior", "FrameResult", "NonRigidOptions",
    "NonRigidResult", "NonRigidStep", "SequenceOptions", "SimilarityResult", "Target", "affine_icp", "amberg_steps",
    "expression_prior", "nonrigid_steps", "register_amberg", "register_nonrigid", "register_sequence",
    "similarity_icp",
]  # fmt: skip
