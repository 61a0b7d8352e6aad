"""Pictures of every kind are read as upright sRGB; bad ones are refused in a sentence."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from affect3d.io.atomic import atomic_path, check_writable
from affect3d.io.image import WRITABLE_SUFFIXES, ImageError, Photo, read_image, write_image


@pytest.fixture
def colours():
    """(40, 60, 3) uint8, every pixel different."""
    y, x = np.mgrid[:40, :60]
    return np.stack([x * 4, y * 6, (x + y) * 2 + 20], axis=-1).astype(np.uint8)


def saved(tmp_path, image, name="picture.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff"])
def test_lossless_formats_keep_every_pixel(tmp_path, colours, suffix):
    write_image(tmp_path / f"a{suffix}", colours)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}").pixels, colours)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".JPG"])
def test_lossy_formats_stay_close(tmp_path, colours, suffix):
    write_image(tmp_path / f"a{suffix}", colours)
    error = np.abs(read_image(tmp_path / f"a{suffix}").pixels.astype(int) - colours)
    assert 0 < error.mean() < 2.5


def test_jpeg_keeps_colour_at_full_resolution(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = (200, 60, 60)
    stripes[:, 1::2] = (60, 60, 200)
    write_image(tmp_path / "a.jpg", stripes)
    out = read_image(tmp_path / "a.jpg").pixels.astype(int)
    assert (out[:, ::2, 0] - out[:, ::2, 2]).mean() > 100  # halved chroma would leave them purple


def test_alpha_comes_back_beside_straight_colours(tmp_path, colours):
    alpha = np.linspace(0, 255, 40 * 60).reshape(40, 60).astype(np.uint8)
    write_image(tmp_path / "a.png", np.dstack([colours, alpha]))
    photo = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.alpha, alpha)
    np.testing.assert_array_equal(photo.pixels, colours)


def test_grey_with_alpha_and_palette_with_transparency_are_read(tmp_path):
    grey = np.arange(240, dtype=np.uint8).reshape(12, 20)
    path = saved(tmp_path, Image.fromarray(np.dstack([grey, grey[::-1]]), "LA"))
    photo = read_image(path)
    np.testing.assert_array_equal(photo.pixels, np.repeat(grey[..., None], 3, 2))
    np.testing.assert_array_equal(photo.alpha, grey[::-1])

    indexed = Image.new("P", (8, 4), 1)
    indexed.putpalette([0, 0, 0, 250, 120, 10])
    indexed.putpixel((0, 0), 0)
    photo = read_image(saved(tmp_path, indexed, "p.gif", transparency=0))
    assert photo.pixels[2, 2].tolist() == [250, 120, 10]
    assert photo.alpha[0, 0] == 0 and photo.alpha[2, 2] == 255


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_greys_keep_their_range(tmp_path, suffix):
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    photo = read_image(saved(tmp_path, Image.fromarray(values), f"deep{suffix}"))
    np.testing.assert_array_equal(photo.pixels[..., 1], np.rint(values / 257.0).astype(np.uint8))
    assert photo.alpha is None


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_colours_are_read(tmp_path, colours, suffix):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / f"deep{suffix}"
    cv2.imwrite(str(path), np.ascontiguousarray(colours[..., ::-1].astype(np.uint16) * 257))
    np.testing.assert_array_equal(read_image(path).pixels, colours)


def test_one_bit_and_float_pictures_are_read(tmp_path):
    bits = np.indices((9, 9)).sum(0) % 2 == 0
    np.testing.assert_array_equal(read_image(saved(tmp_path, Image.fromarray(bits))).pixels[..., 0], bits * 255)
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    photo = read_image(saved(tmp_path, Image.fromarray(ramp), "f.tif"))
    np.testing.assert_array_equal(photo.pixels[..., 2], np.rint(ramp * 255))
    with pytest.raises(ImageError, match=r"g\.tif.*\[0, 1\]"):
        read_image(saved(tmp_path, Image.fromarray(ramp * 7), "g.tif"))


def test_cmyk_is_converted(tmp_path):
    white, red, black = ((0, 0, 0, 0), (255, 255, 255)), ((0, 255, 255, 0), (255, 0, 0)), ((0, 0, 0, 255), (0, 0, 0))
    for ink, expected in (white, red, black):
        photo = read_image(saved(tmp_path, Image.new("CMYK", (16, 16), ink), "ink.jpg", quality=100))
        assert photo.mode == "CMYK"
        assert np.abs(photo.pixels.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_every_exif_orientation_is_undone(tmp_path, colours, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}.get(suffix, {})
    path = saved(tmp_path, Image.fromarray(colours), f"turned{suffix}", exif=exif, **options)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    photo = read_image(path)
    np.testing.assert_array_equal(photo.pixels, expected)
    assert photo.pixels.shape[:2] == ((40, 60) if orientation < 5 else (60, 40))
    assert photo.exif_rotated == (orientation != 1)


def test_an_icc_profile_is_applied(tmp_path):
    # a profile whose red and blue are exchanged turns red into blue, whatever else it does
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = bytearray(profile)
    count = struct.unpack(">I", profile[128:132])[0]
    tags = {profile[132 + 12 * i : 136 + 12 * i]: 132 + 12 * i for i in range(count)}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    swapped[red + 4 : red + 12] = profile[blue + 4 : blue + 12]
    swapped[blue + 4 : blue + 12] = profile[red + 4 : red + 12]
    # it must not call itself sRGB either
    text = profile.find("sRGB".encode("utf-16-be"))
    swapped[text : text + 8] = "Swap".encode("utf-16-be")
    image = Image.new("RGB", (8, 8), (220, 30, 20))
    photo = read_image(saved(tmp_path, image, icc_profile=bytes(swapped)))
    assert photo.colour_converted
    assert np.abs(photo.pixels[0, 0].astype(int) - [20, 30, 220]).max() <= 4
    plain = read_image(saved(tmp_path, image, "b.png", icc_profile=profile))
    assert not plain.colour_converted
    assert plain.pixels[0, 0].tolist() == [220, 30, 20]
    broken = read_image(saved(tmp_path, image, "c.png", icc_profile=b"no profile"))
    assert broken.pixels[0, 0].tolist() == [220, 30, 20]


def test_the_first_frame_of_an_animation_is_read(tmp_path, colours):
    frames = [Image.fromarray(colours), Image.new("RGB", (60, 40), (1, 2, 3))]
    path = saved(tmp_path, frames[0], "film.webp", save_all=True, append_images=frames[1:], lossless=True)
    photo = read_image(path)
    assert photo.frames == 2
    np.testing.assert_array_equal(photo.pixels, colours)


def test_a_decompression_bomb_is_refused_from_its_header(tmp_path):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for side in (12_000, 200_000):  # above our limit, and above Pillow's own
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        path = tmp_path / f"bomb{side}.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ImageError, match=f"bomb{side}.png.*100000000"):
                read_image(path)


def test_a_deep_tiff_bomb_is_refused_from_its_header(tmp_path):
    entries = [(256, 4, 1, 100_000), (257, 4, 1, 100_000), (258, 3, 1, 16), (262, 3, 1, 2), (277, 3, 1, 3)]
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries) + struct.pack("<I", 0)
    (tmp_path / "deep.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + body)
    with pytest.raises(ImageError, match=r"deep\.tif: 100000 x 100000 pixels"):
        read_image(tmp_path / "deep.tif")


def test_the_pixel_limit_can_be_chosen(tmp_path, colours):
    write_image(tmp_path / "a.png", colours)
    assert read_image(tmp_path / "a.png", max_pixels=2400).size == (60, 40)
    with pytest.raises(ImageError, match="60 x 40 pixels are more than the 2399 allowed"):
        read_image(tmp_path / "a.png", max_pixels=2399)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_truncated_pictures_are_refused_at_every_length(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    write_image(tmp_path / f"whole{suffix}", noise)
    data = (tmp_path / f"whole{suffix}").read_bytes()
    path = tmp_path / f"part{suffix}"
    for part in (0.02, 0.3, 0.7, 0.95):
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_random_damage_never_escapes_as_another_error(tmp_path, colours):
    rng = np.random.default_rng(1)
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        write_image(tmp_path / f"whole{suffix}", colours)
        data = np.frombuffer((tmp_path / f"whole{suffix}").read_bytes(), np.uint8)
        for _ in range(60):
            broken = data.copy()
            broken[rng.integers(0, len(data), 6)] = rng.integers(0, 256, 6)
            path = tmp_path / f"broken{suffix}"
            path.write_bytes(broken.tobytes())
            try:
                assert read_image(path).pixels.dtype == np.uint8
            except ImageError as error:
                assert path.name in str(error)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"hello, I am a text", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    ],
)
def test_what_is_no_picture_is_said_so(tmp_path, content, word):
    path = tmp_path / "thing.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"thing\.jpg: .*{word}"):
        read_image(path)


def test_folders_missing_files_and_pipes_are_os_errors_naming_the_path(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nothing\.png: does not exist"):
        read_image(tmp_path / "nothing.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(OSError, match="not a regular file"):
            read_image(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="no possible file name"):
        read_image("a\0b.png")


def test_a_photo_is_read_only_and_checked(colours):
    photo = Photo(colours)
    with pytest.raises(ValueError, match="read-only"):
        photo.pixels[0, 0] = 0
    with pytest.raises(ValueError, match="alpha: expected shape"):
        Photo(colours, np.zeros((3, 3), np.uint8))


def test_bad_arguments_to_write_are_named(tmp_path, colours):
    with pytest.raises(ValueError, match=r"a\.xyz: expected a name ending in one of \.png, \.jpg"):
        write_image(tmp_path / "a.xyz", colours)
    with pytest.raises(ValueError, match="pixels: expected uint8, got float64"):
        write_image(tmp_path / "a.png", colours / 255.0)
    with pytest.raises(ValueError, match="pixels: expected shape"):
        write_image(tmp_path / "a.png", colours[:, :, :2])
    with pytest.raises(ValueError, match="quality"):
        write_image(tmp_path / "a.jpg", colours, quality=0)
    with pytest.raises(ValueError, match="no transparency"):
        write_image(tmp_path / "a.jpg", np.dstack([colours, colours[..., 0]]))
    assert list(tmp_path.iterdir()) == []


def test_unwritable_places_are_one_sentence_and_leave_nothing(tmp_path, colours):
    with pytest.raises(FileNotFoundError, match="folder .*missing does not exist"):
        write_image(tmp_path / "missing" / "a.png", colours)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        write_image(tmp_path / "file" / "a.png", colours)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_image(tmp_path / "folder.png", colours)
    with pytest.raises(OSError, match="not a regular file"):
        write_image_to_device(colours)
    with pytest.raises(OSError, match="WEBP cannot hold 20000 x 1"):
        write_image(tmp_path / "long.webp", np.zeros((1, 20000, 3), np.uint8))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


def write_image_to_device(colours):
    if not os.path.exists("/dev/null"):
        pytest.skip("no device files here")
    check_writable("/dev/null")


def test_the_same_pixels_give_the_same_bytes(tmp_path, colours):
    for suffix in WRITABLE_SUFFIXES:
        write_image(tmp_path / f"a{suffix}", colours)
        write_image(tmp_path / f"b{suffix}", colours)
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            assert temporary.parent == tmp_path and temporary.suffix == ".txt"
            assert target.read_text() == "old"
            raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]
    assert target.read_text() == "old"


def test_a_finished_write_replaces_the_file_behind_a_link_and_keeps_permissions(tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "out.txt"
    target.write_text("old")
    target.chmod(0o640)
    link = tmp_path / "link.txt"
    link.symlink_to(target)
    with atomic_path(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink() and target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in (tmp_path / "real").iterdir()] == ["out.txt"]


def test_a_new_file_has_the_permissions_that_open_gives(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_path(tmp_path / "new") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_bytes_decide_the_format_not_the_suffix(tmp_path, colours):
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "PNG")
    (tmp_path / "really-a-png.jpg").write_bytes(buffer.getvalue())
    photo = read_image(tmp_path / "really-a-png.jpg")
    assert photo.format == "PNG"
    np.testing.assert_array_equal(photo.pixels, colours)
