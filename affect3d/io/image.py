"""Photographs in and pictures out: any file a camera makes, to sRGB uint8."""

from __future__ import annotations

import importlib
import io
import stat
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affect3d.geometry.arrays import frozen_array
from affect3d.io.atomic import atomic_path

__all__ = ["ImageError", "Photo", "decode_image", "read_image", "write_image", "MAX_PIXELS", "WRITABLE_SUFFIXES"]

#: Larger pictures are refused from their header, before anything is decoded.
MAX_PIXELS = 100_000_000

#: Suffix -> Pillow's name of the format.
WRITABLE_SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}

# Pillow would otherwise try all its readers, the one for EPS starts another program,
# and formats without a signature (TGA, PCX) claim files that are no pictures at all.
_READABLE = {
    "PNG": "Png", "JPEG": "Jpeg", "MPO": "Mpo", "WEBP": "WebP", "AVIF": "Avif", "JPEG2000": "Jpeg2K", "TIFF": "Tiff",
    "BMP": "Bmp", "GIF": "Gif", "PPM": "Ppm", "ICO": "Ico",
}  # fmt: skip

_ORIENTATION = 0x0112


class ImageError(ValueError):
    """A file that is no usable picture; the message is one sentence naming it."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded picture.

    Attributes
    ----------
    pixels : (H, W, 3) uint8
        sRGB, upright (EXIF orientation applied).  Where `alpha` is given these
        are the straight colours, not multiplied by it.
    alpha : (H, W) uint8, optional
        Opacity, 255 opaque; None where the file has none.
    exif_rotated : bool
        Whether the stored pixels had to be turned or mirrored.
    colour_converted : bool
        Whether an embedded ICC profile other than sRGB was applied.
    format : str
        As Pillow names it: "JPEG", "PNG", ...
    mode : str
        Pillow's mode of the stored pixels: "RGB", "CMYK", "I;16", ...
    frames : int
        Number of frames in the file, of which the first was read.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    exif_rotated: bool = False
    colour_converted: bool = False
    format: str = ""
    mode: str = "RGB"
    frames: int = 1

    def __post_init__(self):
        pixels = frozen_array(self.pixels, np.uint8, "pixels", (None, None, 3))
        object.__setattr__(self, "pixels", pixels)
        if self.alpha is not None:
            object.__setattr__(self, "alpha", frozen_array(self.alpha, np.uint8, "alpha", pixels.shape[:2]))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


def read_image(path, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a picture as upright sRGB.

    8 and 16 bits a channel, grey, palette, transparent, CMYK and animated files
    (first frame) are read; ICC profiles and EXIF orientation are applied.

    Parameters
    ----------
    path : str or Path
    max_pixels : int
        Refuse pictures with more pixels than this, judged by the header alone.

    Raises
    ------
    ImageError
        If the file is empty, truncated, damaged, too large or no picture.
    OSError
        If it does not exist, is a folder, or cannot be read.
    """
    return decode_image(_read_bytes(path), path, max_pixels)


def decode_image(data: bytes, path, max_pixels: int = MAX_PIXELS) -> Photo:
    """The same from the bytes of a file; `path` is what messages call them.

    Raises
    ------
    ImageError
        As `read_image`.
    """
    from PIL import Image

    formats = _load_readers()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own size warning, and remarks on odd metadata
        try:
            image = Image.open(io.BytesIO(data), formats=formats)
        except Image.DecompressionBombError:
            raise ImageError(f"{path}: has more than the {max_pixels} pixels allowed") from None
        except Exception:
            if data[:4] in (b"II*\0", b"MM\0*"):
                return _read_deep_tiff(data, path, max_pixels)
            raise ImageError(f"{path}: is not a picture in a format that can be read") from None
        with image:
            _check_size(image.size, path, max_pixels)
            try:
                return _decode(image)
            except ImageError as error:
                raise ImageError(f"{path}: {error}") from None
            except MemoryError:
                raise ImageError(f"{path}: its {image.size} pixels do not fit into memory") from None
            except Exception as error:  # decoders raise nearly every type there is
                word = "truncated" if "truncated" in str(error).lower() else "damaged"
                raise ImageError(f"{path}: the picture is {word} and cannot be decoded") from None


def write_image(path, pixels, quality: int = 95) -> None:
    """Write a picture; the format follows from the suffix.

    Nothing half-written is ever found under `path`.

    Parameters
    ----------
    path : str or Path
        Suffix .png, .jpg, .jpeg, .webp, .tif, .tiff or .bmp.
    pixels : (H, W, 3), (H, W, 4) or (H, W) uint8
        sRGB, with straight alpha, or grey.
    quality : int
        1 to 100 for JPEG and WebP; the other formats lose nothing.

    Raises
    ------
    ValueError
        If the suffix is unknown, or `pixels` or `quality` are not as above.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE_SUFFIXES:
        raise ValueError(f"{path}: expected a name ending in one of {', '.join(WRITABLE_SUFFIXES)}, got {suffix!r}")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality: expected a number from 1 to 100, got {quality}")
    array = np.asarray(pixels)
    if array.dtype != np.uint8:
        raise ValueError(f"pixels: expected uint8, got {array.dtype}")
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or array.size == 0:
        raise ValueError(f"pixels: expected shape (H, W, 3), (H, W, 4) or (H, W), got {array.shape}")
    kind = WRITABLE_SUFFIXES[suffix]
    if kind == "JPEG" and array.ndim == 3 and array.shape[2] == 4:
        raise ValueError(f"{path}: JPEG has no transparency; write a .png or leave the alpha channel out")

    from PIL import Image

    # full chroma resolution: halved, the red of lips bleeds over their outline
    options = {
        "JPEG": {"quality": int(quality), "subsampling": 0, "optimize": True},
        "WEBP": {"quality": int(quality), "method": 4, "exact": True},
        "PNG": {"compress_level": 4},
        "TIFF": {"compression": "tiff_deflate"},
    }.get(kind, {})
    with atomic_path(path) as temporary:
        try:
            Image.fromarray(np.ascontiguousarray(array)).save(temporary, format=kind, **options)
        except (OSError, ValueError, struct.error) as error:  # encoders raise all three for too many pixels
            size = f"{array.shape[1]} x {array.shape[0]}"
            reason = getattr(error, "strerror", None) or f"{kind} cannot hold {size} pixels"
            raise OSError(f"{path}: cannot be written ({reason})") from None


def _read_bytes(path) -> bytes:
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(f"{path}: is a folder, expected a picture")
        if not stat.S_ISREG(mode):  # a pipe or /dev/zero would never end
            raise OSError(f"{path}: is not a regular file")
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        if error.errno is None:
            raise
        reason = {FileNotFoundError: "does not exist", PermissionError: "no permission to read it"}
        said = reason.get(type(error), f"cannot be read ({error.strerror})")
        raise type(error)(f"{path}: {said}") from None
    except ValueError:  # a null character in the name
        raise ImageError(f"{str(path)!r}: is no possible file name") from None
    if not data:
        raise ImageError(f"{path}: the file is empty")
    return data


def _load_readers() -> list[str]:
    """Names of the formats that this Pillow reads; it loads few readers by itself."""
    from PIL import Image

    for plugin in _READABLE.values():
        try:
            importlib.import_module(f"PIL.{plugin}ImagePlugin")
        except ImportError:
            pass
    return [kind for kind in _READABLE if kind in Image.OPEN]


def _check_size(size, path, max_pixels: int) -> None:
    width, height = (int(n) for n in size)
    if width * height > max_pixels:
        raise ImageError(f"{path}: {width} x {height} pixels are more than the {max_pixels} allowed")
    if width < 1 or height < 1:
        raise ImageError(f"{path}: the picture has no pixels")


def _decode(image) -> Photo:
    """Pixels, alpha and what was done to them; `image` is open but not decoded."""
    mode, kind = image.mode, image.format or ""
    frames = int(getattr(image, "n_frames", 1) or 1)
    stored_turned = _orientation(image) != 1
    profile = image.info.get("icc_profile")
    image.load()
    orientation = _orientation(image)  # again: Pillow turns TIFF files itself and then says so
    image, alpha = _split_alpha(image)
    image = _eight_bits(image)
    image, converted = _to_srgb(image, profile)
    pixels = _turn(np.asarray(image), orientation)
    alpha = None if alpha is None else _turn(np.asarray(alpha), orientation)
    return Photo(pixels, alpha, stored_turned, converted, kind, mode, frames)


def _orientation(image) -> int:
    """EXIF orientation, 1 (upright) to 8; damaged metadata counts as upright."""
    try:
        value = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1
    return value if 1 <= value <= 8 else 1


def _turn(array: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (EXIF 2.32, tag 274) on (H, W) or (H, W, C)."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array


def _split_alpha(image):
    """Straight colours and opacity (None if there is none)."""
    if image.mode in ("La", "RGBa"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode == "PA" or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("LA", "RGBA"):
        alpha = image.getchannel("A")
        colours = image.getchannel("L") if image.mode == "LA" else image.convert("RGB")
        return colours, alpha
    return image, None


def _eight_bits(image):
    """Greys deeper than eight bits, and floats in [0, 1], to eight bits."""
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        # Pillow keeps 16-bit greys in 32-bit integers for some formats
        top = 65535.0 if values.max() <= 65535 else 4294967295.0
        if values.min() < 0:
            raise ImageError("grey values below zero have no meaning as light")
        return Image.fromarray(np.rint(values * (255.0 / top)).astype(np.uint8))
    if image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise ImageError("floating point pixels are read only where all lie in [0, 1]")
        return Image.fromarray(np.rint(values * 255.0).astype(np.uint8))
    return image


def _to_srgb(image, profile):
    """RGB image in sRGB, and whether an ICC profile was applied."""
    from PIL import ImageCms

    if image.mode in ("1", "P", "HSV"):
        image = image.convert("RGB")
    if profile and image.mode in ("L", "RGB", "CMYK", "LAB", "YCbCr"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            # the common case, and a round trip through it would move pixels by one level
            if image.mode == "RGB" and "srgb" in ImageCms.getProfileDescription(source).lower():
                return image, False
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            return converted, True
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a damaged or mismatched profile: the plain conversion is the better guess
    return (image if image.mode == "RGB" else image.convert("RGB")), False


def _read_deep_tiff(data: bytes, path, max_pixels: int) -> Photo:
    """TIFF with 16 bits a colour channel, which Pillow cannot read."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        stream = io.BytesIO(data)
        tags = ImageFileDirectory_v2(stream.read(8))
        stream.seek(tags.next)
        tags.load(stream)
        size = int(tags[256]), int(tags[257])
    except Exception:
        raise ImageError(f"{path}: the picture is damaged and cannot be decoded") from None
    _check_size(size, path, max_pixels)
    import cv2

    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        array = None
    if array is None or array.dtype != np.uint16 or array.ndim != 3 or array.shape[2] not in (3, 4):
        raise ImageError(f"{path}: is a TIFF of a kind that cannot be read, or is damaged")
    array = np.rint(array * (255.0 / 65535.0)).astype(np.uint8)
    alpha = array[:, :, 3] if array.shape[2] == 4 else None
    return Photo(array[:, :, 2::-1], alpha, False, False, "TIFF", "RGB;16")
