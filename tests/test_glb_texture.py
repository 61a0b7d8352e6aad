"""The picture inside a .glb: found, read, and addressed by the coordinates its material names."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from affect3d.io.glb import read_glb, write_glb
from affect3d.io.glb_container import open_container, pack_container
from affect3d.io.glb_texture import read_glb_picture
from affect3d.io.texture_file import read_texture
from affect3d.mesh import Mesh

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
UV = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.25, 0.75]])


def square() -> Mesh:
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    return Mesh(np.array([[0, 0, 0], [100, 0, 0], [100, 100, 0], [0, 100, 0.0]]), faces, UV, faces)


def png(pixels=PIXELS) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def changed(tmp_path, change, name="b.glb"):
    """A textured square whose document `change` has altered."""
    write_glb(tmp_path / "a.glb", square(), texture=PIXELS)
    container = open_container((tmp_path / "a.glb").read_bytes())
    change(container.document)
    (tmp_path / name).write_bytes(pack_container(container.document, container.buffers[0]))
    return tmp_path / name


def info(document) -> dict:
    return document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]


def test_the_picture_that_was_written_comes_back(tmp_path):
    write_glb(tmp_path / "a.glb", square(), texture=PIXELS)
    np.testing.assert_array_equal(read_texture(tmp_path / "a.glb"), PIXELS)
    write_glb(tmp_path / "plain.glb", square())
    assert read_texture(tmp_path / "plain.glb") is None


def test_a_picture_beside_the_file_goes_before_the_one_inside(tmp_path):
    write_glb(tmp_path / "a.glb", square(), texture=PIXELS)
    (tmp_path / "a.png").write_bytes(png(PIXELS[::-1]))
    np.testing.assert_array_equal(read_texture(tmp_path / "a.glb"), PIXELS[::-1])


def test_a_picture_may_be_text_or_lie_beside_the_file_but_not_elsewhere(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "skin.png").write_bytes(png())
    uri = "data:image/png;base64," + base64.b64encode(png()).decode()
    for image in ({"uri": uri}, {"uri": "below/skin.png"}):
        path = changed(tmp_path, lambda d: d.update(images=[image]))
        np.testing.assert_array_equal(read_texture(path), PIXELS)
    inner = tmp_path / "below" / "c.glb"
    inner.write_bytes(changed(tmp_path, lambda d: d.update(images=[{"uri": "../outside.png"}])).read_bytes())
    (tmp_path / "outside.png").write_bytes(png())
    assert read_texture(inner) is None


def test_other_ways_to_name_the_picture_are_known(tmp_path):
    def glossy(document):
        texture = info(document)
        document["materials"] = [{"extensions": {"KHR_materials_pbrSpecularGlossiness": {"diffuseTexture": texture}}}]

    def webp(document):
        document["textures"] = [{"extensions": {"EXT_texture_webp": {"source": 0}}}]

    for change in (glossy, webp):
        np.testing.assert_array_equal(read_texture(changed(tmp_path, change)), PIXELS)


def test_parts_with_different_pictures_have_none_that_would_do_for_all(tmp_path):
    def two(document):
        document["images"] = document["images"] * 2
        document["textures"] = [{"source": 0}, {"source": 1}]
        document["materials"] = document["materials"] + [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 1}}}]
        part = document["meshes"][0]["primitives"][0]
        document["meshes"][0]["primitives"] = [part, {**part, "material": 1}]

    path = changed(tmp_path, two)
    assert read_glb_picture(path) is None and read_texture(path) is None
    assert len(read_glb(path).faces) == 4


@pytest.mark.parametrize("turn", [0.0, 0.5])
def test_coordinates_are_moved_as_the_material_says(tmp_path, turn):
    moved = {"offset": [0.1, 0.2], "scale": [0.5, 0.25], "rotation": turn}
    path = changed(tmp_path, lambda d: info(d).update(extensions={"KHR_texture_transform": moved}))
    u, v = UV[:, 0] * 0.5, (1 - UV[:, 1]) * 0.25  # glTF counts from the top
    c, s = np.cos(turn), np.sin(turn)
    expected = np.column_stack([c * u + s * v + 0.1, 1 - (c * v - s * u + 0.2)])
    np.testing.assert_allclose(read_glb(path).uv, expected, atol=1e-6)


def test_the_second_set_of_coordinates_is_read_where_the_material_names_it(tmp_path):
    def second(document):
        attributes = document["meshes"][0]["primitives"][0]["attributes"]
        attributes["TEXCOORD_1"] = attributes.pop("TEXCOORD_0")

    assert read_glb(changed(tmp_path, second)).uv is None
    for extra in ({"texCoord": 1}, {"texCoord": 5, "extensions": {"KHR_texture_transform": {"texCoord": 1}}}):
        path = changed(tmp_path, lambda d: (second(d), info(d).update(extra)))
        np.testing.assert_allclose(read_glb(path).uv, UV, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(images=[{}]), "images"),
        (lambda d: d.update(images=[{"uri": "data:image/png;base64,!!"}]), "base64"),
        (lambda d: d.update(textures=[{"source": 7}]), "images"),
        (lambda d: info(d).update(index=9), "textures"),
        (lambda d: d["images"][0].update(bufferView=0), "picture inside"),
        (lambda d: d["bufferViews"][d["images"][0]["bufferView"]].update(byteLength=10**9), "images"),
    ],
)
def test_a_damaged_picture_is_one_sentence_that_names_the_file(tmp_path, change, said):
    with pytest.raises(ValueError, match="b.glb") as caught:
        read_texture(changed(tmp_path, change))
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("moved", [{"offset": [1]}, {"scale": ["x", 1]}, {"rotation": "nan"}, {"rotation": []}])
def test_a_damaged_transform_is_one_sentence(tmp_path, moved):
    path = changed(tmp_path, lambda d: info(d).update(extensions={"KHR_texture_transform": moved}))
    with pytest.raises(ValueError, match="KHR_texture_transform.*offset.*scale.*rotation"):
        read_glb(path)


def test_a_ply_may_name_its_picture(tmp_path):
    (tmp_path / "skin.png").write_bytes(png())
    head = "ply\nformat ascii 1.0\ncomment TextureFile {}\nelement vertex 0\nend_header\n"
    (tmp_path / "a.ply").write_text(head.format("skin.png"))
    np.testing.assert_array_equal(read_texture(tmp_path / "a.ply"), PIXELS)
    (tmp_path / "a.ply").write_text(head.format("../skin.png"))
    assert read_texture(tmp_path / "a.ply") is None
