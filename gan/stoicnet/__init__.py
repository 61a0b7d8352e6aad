"""StoicNet: faces made neutral in the code of a variational autoencoder, then enhanced.

Carver and Nwogu, "Facial Expression Neutralization With StoicNet", WACV Workshops 2021.
"""

from affect3d.gan.stoicnet.method import StoicNet, StoicNetOptions
from affect3d.gan.stoicnet.networks import build_networks, sharpen

__all__ = ["StoicNet", "StoicNetOptions", "build_networks", "sharpen"]
