"""FESGAN and FESR: expressions synthesized and recognized by networks that learn together.

Yan, Huang, Chen, Shen and Wang, "Joint Deep Learning of Facial Expression Synthesis and Recognition", IEEE
Transactions on Multimedia 22 (2020), arXiv:2002.02194.
"""

from affect3d.gan.fesgan.method import FESGAN, RECOGNITION, VARIANTS, FESGANOptions
from affect3d.gan.fesgan.networks import build_networks

__all__ = ["FESGAN", "FESGANOptions", "RECOGNITION", "VARIANTS", "build_networks"]
