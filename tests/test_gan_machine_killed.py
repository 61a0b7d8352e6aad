"""A training of several processes that is killed: nothing is left running, and it goes on to the same bytes."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="gan/ needs the extra affect3d[torch]")
pytest.importorskip("lightning_fabric", reason="needs Lightning Fabric, in the extra affect3d[torch]")

sys.path.insert(0, str(Path(__file__).resolve().parent))
from gan_problem import LineMethod, line_batches  # noqa: E402

from affect3d.gan.training import TrainOptions, train  # noqa: E402

if sys.platform in ("win32", "darwin"):
    pytest.skip("this operating system does not copy processes safely", allow_module_level=True)

TWO = TrainOptions(seed=5, device="cpu", threads=1, log_every=3, sample_every=4, checkpoint_every=4, devices=2)


def files(folder):
    """Contents of all files of a run but the one with its duration and hidden ones."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.name != "summary.json" and not path.name.startswith(".")
    }


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from gan_problem import LineMethod, line_batches
from affect3d.gan.training import TrainOptions, train
options = TrainOptions(seed=5, device="cpu", threads=1, log_every=3, sample_every=4, checkpoint_every=4, devices=2)
def progress(done, total, label):
    print(done, flush=True)
    time.sleep(0.1)
train(LineMethod(), line_batches(), options, Path(sys.argv[2]), progress)
"""


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
def test_a_killed_run_leaves_no_process_behind_and_goes_on(tmp_path, repository, number):
    """SIGINT is ignored, as it is behind `nohup` and in scripts: nothing may hang on it."""
    folder = tmp_path / "run"
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", ignored + KILLED, str(repository / "tests"), str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if int(line) >= 9:
            process.send_signal(getattr(signal, number))
            break
    assert process.wait(20) != 0
    process.stdout.read()  # ends when the copies, who write there too, are gone
    process.stdout.close()
    assert not (folder / "weights.safetensors").exists()
    assert train(LineMethod(), line_batches(), TWO, folder).resumed_at in (7, 11)
    train(LineMethod(), line_batches(), TWO, tmp_path / "whole")
    assert files(folder) == files(tmp_path / "whole")
