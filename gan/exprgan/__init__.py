"""ExprGAN: expressions edited with a code that carries their intensity.

Ding, Sricharan and Chellappa, "ExprGAN: Facial Expression Editing with Controllable Expression Intensity", AAAI
2018, arXiv:1709.03842.
"""

from affect3d.gan.exprgan.method import ExprGAN, ExprGANOptions
from affect3d.gan.exprgan.networks import build_networks, controller

__all__ = ["ExprGAN", "ExprGANOptions", "build_networks", "controller"]
