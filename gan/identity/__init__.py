"""Networks that know faces: Light CNN and VGG-Face, their published weights, and a small one trained here."""

from affect3d.gan.identity.light_cnn import LIGHT_CNN_29, LIGHT_CNN_29_V2, LightCNN, LightCNNOptions
from affect3d.gan.identity.training import SMALL_LIGHT_CNN, IdentityTraining, train_identity
from affect3d.gan.identity.vgg_face import PERCEPTUAL_LAYERS, VGGFace
from affect3d.gan.identity.weights import load_light_cnn, load_vgg_face, read_state_dict, save_light_cnn

__all__ = [
    "LIGHT_CNN_29", "LIGHT_CNN_29_V2", "PERCEPTUAL_LAYERS", "SMALL_LIGHT_CNN", "IdentityTraining", "LightCNN",
    "LightCNNOptions", "VGGFace", "load_light_cnn", "load_vgg_face", "read_state_dict", "save_light_cnn",
    "train_identity",
]  # fmt: skip
