"""Device, precision, several processes: the same bytes where nothing differs, the same gradients where they share."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="gan/ needs the extra affect3d[torch]")

sys.path.insert(0, str(Path(__file__).resolve().parent))
from gan_problem import LineMethod, line_batches  # noqa: E402

from affect3d.gan import checkpoint, determinism, machine, methods  # noqa: E402
from affect3d.gan.batches import EpochBatches, fingerprint  # noqa: E402
from affect3d.gan.data import FaceImages  # noqa: E402
from affect3d.gan.training import Stage, TrainOptions, train  # noqa: E402

ONE = TrainOptions(seed=5, device="cpu", threads=1, log_every=3, sample_every=4, checkpoint_every=4)
TWO = replace(ONE, devices=2)


@pytest.fixture
def fabric():
    return pytest.importorskip("lightning_fabric", reason="needs Lightning Fabric, in the extra affect3d[torch]")


@pytest.fixture
def copies(fabric):
    """Skip where a process cannot be copied."""
    if not hasattr(__import__("os"), "fork") or sys.platform == "darwin":
        pytest.skip("this operating system does not copy processes safely")


def files(folder):
    """Contents of all files of a run but the one with its duration and hidden ones."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.name != "summary.json" and not path.name.startswith(".")
    }


def stopped_at(folder, steps, options, method=LineMethod, batches=line_batches):
    """Train, but stop after `steps` steps."""

    def progress(done, total, label):
        if done == steps:
            raise ValueError("stopped on purpose")

    with pytest.raises(ValueError, match="stopped on purpose"):
        train(method(), batches(), options, folder, progress)


@dataclass(frozen=True)
class PlainOptions:
    rate: float = 0.05


class PlainMethod:
    """Two optimizers by turns on y = A x, without any draw: half the rows in each process are all there is to it."""

    name = "plain"

    def __init__(self, options=PlainOptions()):
        self.options = options
        with determinism.seeded(3):
            self.networks = {"A": torch.nn.Linear(4, 3), "B": torch.nn.Linear(3, 3)}
        self.optimizers = {k: torch.optim.Adam(n.parameters(), options.rate) for k, n in self.networks.items()}
        self.stages = (Stage("only", 12),)

    def step(self, stage, batch, generator, index):
        loss = (self.networks["B"](self.networks["A"](batch["x"])) - batch["y"]).square().mean()
        optimizer = self.optimizers["AB"[index % 2]]
        for one in self.optimizers.values():
            one.zero_grad()
        loss.backward()
        optimizer.step()
        return {"L": loss.detach()}

    def sample(self, batch, generator):
        return self.networks["A"](batch["x"][:2]).tanh().reshape(2, 1, 3, 1, 1).expand(2, 1, 3, 4, 4)


# One device


def test_with_and_without_fabric_the_bytes_are_the_same(fabric, tmp_path, monkeypatch):
    train(LineMethod(), line_batches(), ONE, tmp_path / "with")
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    train(LineMethod(), line_batches(), ONE, tmp_path / "without")
    assert files(tmp_path / "with") == files(tmp_path / "without")


@pytest.mark.parametrize("more", [dict(devices=2), dict(precision="bf16")])
def test_without_fabric_one_sentence_says_what_to_install(monkeypatch, tmp_path, more):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ImportError, match=r"need Lightning Fabric: pip install 'affect3d\[torch\]'"):
        train(LineMethod(), line_batches(), replace(ONE, **more), tmp_path / "run")


@pytest.mark.parametrize("wrong", [dict(device="tpu"), dict(precision="16"), dict(devices=0), dict(devices=1.5)])
def test_wrong_options_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainOptions(**wrong)


def test_a_gpu_of_apple_that_is_not_there_is_refused():
    if torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(ValueError, match="Apple"):
        determinism.pick_device("mps")


def test_what_the_command_offers_is_what_there_is():
    from affect3d.cli import gan_machine

    assert gan_machine.DEVICES == machine.DEVICES and gan_machine.PRECISIONS == tuple(machine.PRECISIONS)


# Sixteen bits


def small_faces(size):
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(4), 3)
    neutral = np.repeat(np.arange(0, 12, 3), 3)
    images = rng.integers(0, 256, (12, size, size, 3)).astype(np.uint8)
    names = ("neutral", "happiness", "surprise")
    return FaceImages(images, subject, np.tile([0, 1, 2], 4), names, neutral=neutral, sequence=subject)


TINY = {
    "cdaae": dict(width=4, steps=4),
    "stoicnet": dict(steps_reconstruct=2, enhance_from=0.5, steps_enhance=1, steps_neutralize=1, enhancer=4, blocks=1),
    "exprgan": dict(steps_control=1, steps_reconstruct=1, steps_refine=2, width=4, identity_steps=1),
    "fesgan": dict(steps_pretrain=2, steps_joint=2, recognition="JL", width=4, identity_steps=1),
}


@pytest.mark.parametrize("name", list(TINY))
def test_every_method_trains_with_sixteen_bits_and_repeats_itself(fabric, name, tmp_path):
    faces, found = small_faces(32 if name in ("exprgan", "fesgan") else 16), {}
    for folder, precision in (("a", "bf16"), ("b", "bf16"), ("full", "32")):
        method, batches = methods.recipe(name).prepare(faces, dict(TINY[name]), batch=6, seed=1)
        options = replace(ONE, precision=precision, sample_every=0)
        result = train(method, batches, options, tmp_path / folder)
        assert result.losses and all(np.isfinite(v) for v in result.losses.values())
        found[folder] = {k: v for n, net in method.networks.items() for k, v in net.state_dict(prefix=f"{n}.").items()}
    assert files(tmp_path / "a") == files(tmp_path / "b")
    # weights keep their 32 bits, and are not those of the full precision, nor far from them
    floats = {k for k, v in found["a"].items() if v.is_floating_point()}
    assert all(found["a"][k].dtype == torch.float32 and torch.isfinite(found["a"][k]).all() for k in floats)
    assert any((found["a"][k] != found["full"][k]).any() for k in floats)
    assert all((found["a"][k] - found["full"][k]).abs().max() < 0.1 for k in floats if "running" not in k)
    plan = checkpoint.read_header(tmp_path / "a" / "weights.safetensors")
    assert plan["train_options"]["precision"] == "bf16"
    assert "precision" not in checkpoint.read_header(tmp_path / "full" / "weights.safetensors")["train_options"]


def test_layers_compute_with_sixteen_bits_and_the_resume_is_exact(fabric, tmp_path):
    kinds = []

    class Watched(LineMethod):
        def step(self, stage, batch, generator, index):
            kinds.append(self.networks["B"](torch.zeros(1, 3)).dtype)
            return super().step(stage, batch, generator, index)

    options = replace(ONE, precision="bf16")
    train(Watched(), line_batches(), options, tmp_path / "whole")
    assert set(kinds) == {torch.bfloat16}
    stopped_at(tmp_path / "run", 10, options)
    assert train(LineMethod(), line_batches(), options, tmp_path / "run").resumed_at == 7
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    with pytest.raises(ValueError, match="precision bf16, not 32"):
        train(LineMethod(), line_batches(), ONE, tmp_path / "run")


# Several processes


def test_two_processes_with_half_a_batch_each_take_the_steps_of_one_with_all_of_it(copies, tmp_path):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 4))
    y = x @ rng.normal(size=(4, 3))

    def batches():
        return EpochBatches(20, 6, lambda rows, rng: {"x": x[rows], "y": y[rows]}, 1, fingerprint(x, y))

    one, two = PlainMethod(), PlainMethod()
    single = train(one, batches(), ONE, tmp_path / "one")
    double = train(two, batches(), TWO, tmp_path / "two")
    assert double.steps == 12
    start = PlainMethod()
    for name in "AB":
        for a, b, c in zip(*(m.networks[name].parameters() for m in (one, two, start))):
            torch.testing.assert_close(a, b, rtol=0, atol=2e-6)
            assert (a - c).abs().max() > 0.05  # they moved
    # losses are those of the whole batch too
    assert double.losses["L"] == pytest.approx(single.losses["L"], rel=1e-5)
    rows = [(tmp_path / k / "losses.csv").read_text().split() for k in ("one", "two")]
    assert len(rows[0]) == len(rows[1]) == 1 + 6  # every three steps, and where there is a checkpoint


def test_two_processes_repeat_themselves_and_resume_exactly(copies, tmp_path):
    """With dropout, noise and running means, which each process has its own of."""
    train(LineMethod(), line_batches(), TWO, tmp_path / "whole")
    train(LineMethod(), line_batches(), TWO, tmp_path / "again")
    whole = files(tmp_path / "whole")
    assert files(tmp_path / "again") == whole
    stopped_at(tmp_path / "run", 10, TWO)
    assert train(LineMethod(), line_batches(), TWO, tmp_path / "run").resumed_at == 7
    assert files(tmp_path / "run") == whole
    method = LineMethod()
    train(method, line_batches(), TWO, tmp_path / "run")  # a finished one gives its weights
    checkpoint.load_weights(tmp_path / "whole" / "weights.safetensors", (other := LineMethod()).networks)
    for name, network in method.networks.items():
        for a, b in zip(network.state_dict().values(), other.networks[name].state_dict().values()):
            assert torch.equal(a, b)
    with pytest.raises(ValueError, match="devices 2, not 1"):
        train(LineMethod(), line_batches(), ONE, tmp_path / "run")


def test_processes_draw_differently_and_see_different_rows(tmp_path):
    class Fake:
        device, world_size = torch.device("cpu"), 3

        def __init__(self, rank):
            self.global_rank = rank

    machines = [machine.Machine(Fake(rank)) for rank in range(3)]
    seeds = [m.seed(7, 1, 4) for m in machines]
    assert len(set(seeds)) == 3 and seeds[0] == determinism.step_seed(7, 1, 4)
    batch = {"x": torch.arange(6), "y": torch.arange(6) * 2}
    shares = [m.share(batch) for m in machines]
    assert sorted(torch.cat([s["x"] for s in shares]).tolist()) == list(range(6))
    assert all((s["y"] == 2 * s["x"]).all() for s in shares)
    for count in (7, 3):
        with pytest.raises(ValueError, match=f"batch: expected a multiple of 3 devices .* got {count}"):
            machines[0].share({"x": torch.arange(count)})


def test_an_error_in_one_process_is_the_sentence_that_it_was(copies, tmp_path):
    class Broken(LineMethod):
        def step(self, stage, batch, generator, index):
            return {"L_2": torch.tensor(float("nan") if index == 2 else 1.0)}

    with pytest.raises(ValueError, match="L_2"):
        train(Broken(), line_batches(), TWO, tmp_path / "nan")
    assert not (tmp_path / "nan" / "weights.safetensors").exists()


def test_what_cannot_be_shared_is_refused_before_anything_starts(fabric, tmp_path):
    with pytest.raises(ValueError, match="^batch: expected a multiple of 2 devices with 2 pictures for each"):
        train(LineMethod(), line_batches(size=5), TWO, tmp_path / "odd")
    assert not (tmp_path / "odd").exists()
    with pytest.raises(ValueError, match="^devices: expected at most .* cores here, got 5000"):
        machine.launch(lambda m: pytest.fail("started"), "cpu", "32", 5000)
