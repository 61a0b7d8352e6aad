"""Reads the code: which way imports point, what is light, what gets installed."""

import ast
import fnmatch
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("gan", "registration", "render")
TOP = ("analysis", "bridges", "cli", "fitting", "study", "synthesis")
GROUND = ("affect", "detect", "geometry", "io", "model")


def package_folders():
    """Folder on disk -> name of the package it installs as."""
    return {ROOT / "affect3d": "affect3d"} | {ROOT / room: f"affect3d.{room}" for room in ROOMS}


def modules():
    """Name of each module of the installed package -> its file."""
    found = {}
    for folder, package in package_folders().items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((package, *parts))] = path
    return found


def floor(module):
    """"ground", the name of a room, or "top"."""
    parts = module.split(".")
    if module == "affect3d.__main__" or (len(parts) > 1 and parts[1] in TOP):
        return "top"
    if len(parts) > 1 and parts[1] in ROOMS:
        return parts[1]
    return "ground"


def imports(source, module, is_package):
    """Absolute names of all that `source` imports, inside functions too."""
    package = module if is_package else module.rpartition(".")[0]
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            # `from affect3d import render` imports a room as well
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


def allowed(here, there):
    """Whether a module of floor `here` may import one of floor `there`."""
    return here == "top" or there == "ground" or here == there


def upward_arrows(sources):
    """(importer, imported) for every import that points up; `sources` maps names to (text, is_package)."""
    return sorted(
        (module, name)
        for module, (text, is_package) in sources.items()
        for name in imports(text, module, is_package)
        if name.split(".")[0] == "affect3d" and not allowed(floor(module), floor(name))
    )


def test_imports_point_down():
    sources = {name: (path.read_text(), path.name == "__init__.py") for name, path in modules().items()}
    assert upward_arrows(sources) == []


@pytest.mark.parametrize(
    "module, text",
    [
        ("affect3d.io.glb", "from affect3d.render.raster import rasterize"),
        ("affect3d.io.glb", "def f():\n    import affect3d.synthesis.portrait"),
        ("affect3d.mesh", "from affect3d import render"),
        ("affect3d.model.load", "from ..fitting import fit_face"),
        ("affect3d.render.raster", "from affect3d.registration.icp import icp"),
        ("affect3d.render.raster", "from affect3d.cli import main"),
        ("affect3d.gan.train", "from ..render import raster"),
    ],
)
def test_an_arrow_that_points_up_is_found(module, text):
    assert upward_arrows({module: (text, False)})


@pytest.mark.parametrize(
    "module, text",
    [
        ("affect3d.synthesis.portrait", "from affect3d.render.raster import rasterize"),
        ("affect3d.cli.demo", "from affect3d.synthesis import Portrait"),
        ("affect3d.render.raster", "from affect3d.camera import Camera\nfrom affect3d.render import shading"),
        ("affect3d.io.obj", "from affect3d.mesh import Mesh\nimport renderer"),
    ],
)
def test_an_arrow_that_points_down_is_allowed(module, text):
    assert upward_arrows({module: (text, False)}) == []


def test_every_folder_of_the_package_stands_on_a_known_floor():
    folders = {p.name for p in (ROOT / "affect3d").iterdir() if p.is_dir() and any(p.rglob("*.py"))}
    assert folders <= {*TOP, *GROUND}, "say in tests/test_layout.py and docs/architecture.md which floor it is on"


def run_python(code, cwd, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60
    )  # fmt: skip


def test_the_ground_floor_never_asks_for_torch(tmp_path):
    ground = [name for name in modules() if floor(name) == "ground"]
    assert "affect3d.mesh" in ground and len(ground) > 10
    # the spy also notices an attempt that is caught, and works where torch is not installed
    code = (
        "import importlib, sys\n"
        "asked = []\n"
        "class Spy:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'torch': asked.append(name)\n"
        "sys.meta_path.insert(0, Spy())\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print('asked for', asked)\n"
    )
    done = run_python(code, tmp_path, *ground)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "asked for []"


def test_importing_the_package_and_its_command_line_is_light(tmp_path):
    done = run_python("import sys, affect3d, affect3d.cli; print('numpy' in sys.modules)", tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_the_shop_window_shows_what_is_there():
    import affect3d

    for name in affect3d.__all__:
        module = affect3d._WINDOW.get(name)
        assert module is None or module in modules()
    from affect3d.mesh import Mesh

    assert affect3d.Mesh is Mesh and "Mesh" in dir(affect3d)
    with pytest.raises(AttributeError, match="no attribute 'Mush'"):
        affect3d.Mush


@pytest.mark.parametrize("room", ROOMS)
def test_a_mapped_folder_refuses_its_bare_name(room):
    done = run_python(f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {room}", ROOT)
    assert done.returncode == 1
    assert f"affect3d.{room}" in done.stderr.splitlines()[-1]
    assert run_python(f"import affect3d.{room}", ROOT.anchor).returncode == 0


@pytest.fixture(scope="module")
def setup_arguments():
    """What setup.py hands to setuptools."""
    setuptools = pytest.importorskip("setuptools")
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(setuptools, "setup", lambda **arguments: given.update(arguments))
        runpy.run_path(str(ROOT / "setup.py"))
    return given


def test_setup_discovers_every_package(setup_arguments):
    expected = {name if path.name == "__init__.py" else name.rpartition(".")[0] for name, path in modules().items()}
    assert set(setup_arguments["packages"]) == expected
    for folder, package in package_folders().items():
        assert setup_arguments["package_dir"][package] == folder.name


def test_every_folder_with_code_is_a_package():
    # with importlib's namespace packages a forgotten __init__.py works here and is missing when installed
    for path in modules().values():
        assert (path.parent / "__init__.py").is_file(), path.parent


def test_data_files_are_installed():
    import tomllib

    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for folder, package in package_folders().items():
        patterns = table.get(package, [])
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix not in (".py", ".pyc", ".nbi", ".nbc") and not path.name.startswith("."):
                name = path.relative_to(folder).as_posix()
                assert any(fnmatch.fnmatch(name, p.replace("**/", "*")) for p in patterns), path


def test_versions_agree():
    import tomllib

    import affect3d

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == affect3d.__version__


def test_every_requirement_is_pinned_by_the_constraints():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(r for rows in project["optional-dependencies"].values() for r in rows)]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower() for line in lines if line and not line.startswith("#")}
    names = {r.split(">")[0].split("=")[0].strip().lower() for r in wanted if not r.startswith("affect3d")}
    assert names <= pinned
    assert all("==" in line for line in lines if line and not line.startswith("#"))


def test_no_module_outgrows_its_one_algorithm():
    long = {name: n for name, path in modules().items() if (n := len(path.read_text().splitlines())) > 450}
    assert long == {}


def test_benchmarks_are_listed_in_their_readme():
    readme = (ROOT / "benchmarks" / "README.md").read_text()
    assert [p.name for p in (ROOT / "benchmarks").glob("*.py") if p.name not in readme] == []
