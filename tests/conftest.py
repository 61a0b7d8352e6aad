"""What several test files use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds affect3d/, gan/, registration/ and render/."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development data beside the repository, or the one AFFECT3D_SHARED names."""
    chosen = os.environ.get("AFFECT3D_SHARED")
    folder = Path(chosen) if chosen else ROOT.parent / "shared"
    if not (folder / "photos").is_dir():
        pytest.skip(f"the development data are not at {folder} (AFFECT3D_SHARED names another place)")
    return folder


@pytest.fixture(scope="session")
def need_asset():
    """Skip the test that asks for an asset which is not in the cache."""

    def need(name):
        from affect3d.assets import list_assets

        if not next(asset for asset in list_assets() if asset.name == name).present:
            pytest.skip(f"the {name} asset is not in the cache; `affect3d assets --fetch {name}` gets it")

    return need
