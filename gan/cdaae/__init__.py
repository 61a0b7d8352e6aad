"""CDAAE: the conditional difference adversarial autoencoder, with its ablations N1, N2, N3 and CAAE.

Zhou and Shi, "Photorealistic Facial Expression Synthesis by the Conditional Difference Adversarial
Autoencoder", ACII 2017, arXiv:1708.09126.
"""

from affect3d.gan.cdaae.method import CDAAE, CDAAEOptions
from affect3d.gan.cdaae.networks import VARIANTS, build_networks, synthesize

__all__ = ["CDAAE", "CDAAEOptions", "VARIANTS", "build_networks", "synthesize"]
