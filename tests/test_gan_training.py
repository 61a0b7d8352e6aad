"""The training loop: the same bytes after a kill, what it writes and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="gan/ needs the extra affect3d[torch]")

sys.path.insert(0, str(Path(__file__).resolve().parent))
from gan_problem import LineMethod, LineOptions, line_batches  # noqa: E402

from affect3d.gan import checkpoint, determinism, layers, logs, losses  # noqa: E402
from affect3d.gan.batches import EpochBatches, fingerprint, to_images, to_pixels  # noqa: E402
from affect3d.gan.training import Method, Stage, TrainOptions, describe, plain, train  # noqa: E402

OPTIONS = TrainOptions(seed=5, device="cpu", threads=1, log_every=3, sample_every=4, checkpoint_every=4)


def files(folder):
    """Contents of all files of a run but the one with its duration and hidden ones.

    A file that was being written when a process was killed stays there under a hidden name and does no harm.
    """
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.name != "summary.json" and not path.name.startswith(".")
    }


def run_until(folder, steps):
    """Train, but stop by an exception after `steps` steps."""

    class Stop(Exception):
        pass

    def progress(done, total, label):
        if done == steps:
            raise Stop

    with pytest.raises(Stop):
        train(LineMethod(), line_batches(), OPTIONS, folder, progress)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Files of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    result = train(LineMethod(), line_batches(), OPTIONS, folder)
    assert (result.steps, result.resumed_at) == (16, 0)
    return files(folder)


@pytest.mark.parametrize("steps", [1, 3, 4, 6, 7, 8, 10, 11, 15])
def test_a_run_that_was_stopped_and_resumed_leaves_the_same_bytes(whole, tmp_path, steps):
    folder = tmp_path / "run"
    run_until(folder, steps)
    result = train(LineMethod(), line_batches(), OPTIONS, folder)
    # checkpoints: every four steps within a stage, and at the end of the first, which is step 7
    assert result.resumed_at == max(k for k in (0, 4, 7, 11, 15) if k <= steps)
    assert files(folder) == whole


def test_a_run_that_was_stopped_twice_leaves_the_same_bytes(whole, tmp_path):
    for steps in (5, 12):
        run_until(tmp_path / "run", steps)
    train(LineMethod(), line_batches(), OPTIONS, tmp_path / "run")
    assert files(tmp_path / "run") == whole


def test_another_seed_gives_other_weights(whole, tmp_path):
    train(LineMethod(), line_batches(), TrainOptions(**{**plain(OPTIONS), "seed": 6}), tmp_path / "run")
    assert files(tmp_path / "run")["weights.safetensors"] != whole["weights.safetensors"]


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from gan_problem import LineMethod, line_batches
from affect3d.gan.training import TrainOptions, train
options = TrainOptions(seed=5, device="cpu", threads=1, log_every=3, sample_every=4, checkpoint_every=4)
def progress(done, total, label):
    print(done, flush=True)
    time.sleep(float(sys.argv[3]))
train(LineMethod(), line_batches(), options, Path(sys.argv[2]), progress)
"""


def test_a_process_that_was_killed_and_started_again_leaves_the_same_bytes(whole, tmp_path, repository):
    folder = tmp_path / "run"
    arguments = [sys.executable, "-c", KILLED, str(repository / "tests"), str(folder)]
    process = subprocess.Popen([*arguments, "0.05"], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if int(line) >= 9:
            os.kill(process.pid, signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    assert not (folder / "weights.safetensors").exists()
    done = subprocess.run([*arguments, "0"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "8"  # goes on behind the checkpoint of step 7, the end of the first stage
    assert files(folder) == whole


def test_two_runs_do_not_share_a_folder(tmp_path):
    said = []

    def progress(done, total, label):
        if done == 5:
            with pytest.raises(ValueError, match="another run is at work") as error:
                train(LineMethod(), line_batches(), OPTIONS, tmp_path / "run")
            said.append(error)

    pytest.importorskip("fcntl", reason="there are no file locks here")
    train(LineMethod(), line_batches(), OPTIONS, tmp_path / "run", progress)
    assert len(said) == 1


def test_a_finished_run_is_not_trained_again(whole, tmp_path):
    train(LineMethod(), line_batches(), OPTIONS, tmp_path / "run")
    method = LineMethod()
    result = train(method, line_batches(), OPTIONS, tmp_path / "run")
    assert (result.steps, result.resumed_at) == (16, 16) and set(result.losses) == {"L_2"}
    assert files(tmp_path / "run") == whole
    fresh = LineMethod()
    checkpoint.load_weights(result.weights, fresh.networks)
    for a, b in zip(method.networks["A"].state_dict().values(), fresh.networks["A"].state_dict().values()):
        assert torch.equal(a, b)


def test_training_lowers_the_loss_and_writes_what_it_did(tmp_path):
    method = LineMethod(steps=(150, 150))
    result = train(method, line_batches(), TrainOptions(device="cpu", log_every=50, sample_every=100), tmp_path / "run")
    rows = (tmp_path / "run" / "losses.csv").read_text().splitlines()
    assert rows[0] == "step,stage,L_2"
    assert [r.split(",")[:2] for r in rows[1:]] == [
        [str(n), "first" if n <= 150 else "second"] for n in range(50, 301, 50)
    ]
    values = [float(r.split(",")[2]) for r in rows[1:]]
    assert values[-1] < values[0] / 2 and result.losses["L_2"] == values[-1]
    options = json.loads((tmp_path / "run" / "options.json").read_text())
    assert options == describe(method, line_batches(), TrainOptions(device="cpu", log_every=50, sample_every=100))
    assert options["networks"] == {"A": 4 * 8 + 8 + 16 + 8 * 3 + 3, "B": 12}
    samples = sorted(p.name for p in (tmp_path / "run" / "samples").iterdir())
    assert samples == [f"{n}-{s}-{k:06d}.png" for n, s in ((1, "first"), (2, "second")) for k in (100, 150)]


def test_rows_of_losses_are_means_over_their_steps(tmp_path):
    seen = []

    class Spy(LineMethod):
        def step(self, *arguments):
            result = super().step(*arguments)
            seen.append(float(result["L_2"]))
            return result

    train(Spy(), line_batches(), OPTIONS, tmp_path / "run")
    rows = [line.split(",") for line in (tmp_path / "run" / "losses.csv").read_text().splitlines()[1:]]
    last = 0
    for step, _, value in rows:
        np.testing.assert_allclose(float(value), np.mean(seen[last : int(step)]), rtol=1e-5)
        last = int(step)
    assert last == 16


def test_stages_begin_once_each_and_again_after_a_resume(tmp_path):
    method = LineMethod()
    train(method, line_batches(), OPTIONS, tmp_path / "whole")
    assert method.begun == ["first", "second"]
    run_until(tmp_path / "run", 12)
    method = LineMethod()
    train(method, line_batches(), OPTIONS, tmp_path / "run")
    assert method.begun == ["second"]


def test_the_callers_random_state_and_settings_stay_as_they_were(tmp_path):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    threads = torch.get_num_threads()
    train(LineMethod(), line_batches(), OPTIONS, tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads and not torch.are_deterministic_algorithms_enabled()


def test_sampling_is_done_without_dropout_and_leaves_the_networks_in_training(tmp_path):
    modes = []

    class Spy(LineMethod):
        def sample(self, batch, generator):
            modes.append((self.networks["A"].training, torch.is_grad_enabled()))
            return super().sample(batch, generator)

    method = Spy()
    method.networks["B"].eval()
    train(method, line_batches(), OPTIONS, tmp_path / "run")
    assert set(modes) == {(False, False)}
    assert method.networks["A"].training and not method.networks["B"].training


@pytest.mark.parametrize(
    "method, batches, options, said",
    [
        (LineMethod(LineOptions(rate=0.02)), line_batches(), OPTIONS, "rate 0.01, not 0.02"),
        (LineMethod(steps=(7, 10)), line_batches(), OPTIONS, "stages"),
        (LineMethod(), line_batches(count=21), OPTIONS, "data"),
        (LineMethod(), line_batches(seed=2), OPTIONS, "data"),
        (LineMethod(), line_batches(), TrainOptions(seed=4), "seed 5, not 4"),
    ],
)
def test_a_run_with_other_options_or_data_is_not_continued(tmp_path, method, batches, options, said):
    run_until(tmp_path / "run", 5)
    before = files(tmp_path / "run")
    with pytest.raises(ValueError, match=said):
        train(method, batches, options, tmp_path / "run")
    assert files(tmp_path / "run") == before


def test_how_often_things_are_written_may_change_at_a_resume_without_a_change_of_weights(whole, tmp_path):
    run_until(tmp_path / "run", 5)
    train(LineMethod(), line_batches(), TrainOptions(seed=5, device="cpu", threads=1, log_every=1), tmp_path / "run")
    assert files(tmp_path / "run")["weights.safetensors"] == whole["weights.safetensors"]


def test_a_loss_that_is_not_finite_ends_the_run_with_a_sentence(tmp_path):
    class Breaks(LineMethod):
        def step(self, stage, batch, generator, index):
            return {"L_2": float("nan") if index == 5 else 1.0}

    with pytest.raises(ValueError, match="L_2.*no longer finite.*up to 6 of stage first"):
        train(Breaks(), line_batches(), OPTIONS, tmp_path / "run")
    assert checkpoint.read_header(tmp_path / "run" / "checkpoint.safetensors")["method"] == "line"  # that of step 4


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\0\0\0\0\0\0\0{\"a\":1}"])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="checkpoint.safetensors"):
        train(LineMethod(), line_batches(), OPTIONS, tmp_path / "run")


def test_weights_of_other_networks_are_refused(tmp_path):
    result = train(LineMethod(), line_batches(), OPTIONS, tmp_path / "run")
    with pytest.raises(ValueError, match="other networks"):
        checkpoint.load_weights(result.weights, {"A": LineMethod().networks["A"]})
    with pytest.raises(ValueError, match="other networks"):
        checkpoint.load_weights(result.weights, {"A": torch.nn.Linear(4, 3), "B": torch.nn.Linear(3, 3)})
    with pytest.raises(ValueError, match="expected a checkpoint, got weights"):
        checkpoint.load_checkpoint(result.weights, LineMethod(), {}, lambda stage: None)
    with pytest.raises(FileNotFoundError):
        checkpoint.load_weights(tmp_path / "none.safetensors")


def test_networks_that_share_a_trunk_are_saved_and_loaded(tmp_path):
    class Shared(LineMethod):
        def __init__(self):
            super().__init__()
            trunk = torch.nn.Linear(3, 3)
            self.networks |= {"D": torch.nn.Sequential(trunk, torch.nn.ReLU()), "Q": torch.nn.Sequential(trunk)}

    method = Shared()
    checkpoint.save_weights(tmp_path / "w.safetensors", method, describe(method, line_batches(), OPTIONS))
    fresh = Shared()
    checkpoint.load_weights(tmp_path / "w.safetensors", fresh.networks)
    assert torch.equal(fresh.networks["Q"][0].weight, method.networks["D"][0].weight)
    assert fresh.networks["Q"][0] is fresh.networks["D"][0]


def test_the_small_method_keeps_the_protocol():
    method = LineMethod()
    assert isinstance(method, Method)
    with pytest.raises(ValueError, match="at least 1 step"):
        Stage("a", 0)


@pytest.mark.parametrize(
    "wrong", [dict(device="tpu"), dict(seed=-1), dict(log_every=0), dict(threads=1.5), dict(checkpoint_every=0)]
)
def test_wrong_options_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainOptions(**wrong)


def test_a_gpu_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match="no GPU"):
        determinism.pick_device("cuda")
    assert determinism.pick_device("auto").type == "cpu"


# batches


def test_an_epoch_gives_every_row_once_and_each_epoch_another_order():
    batches = EpochBatches(10, 3, lambda rows, rng: {"rows": rows}, seed=4)
    assert batches.per_epoch == 3
    first, second = ([batches.batch("a", e * 3 + k)["rows"].tolist() for k in range(3)] for e in (0, 1))
    for epoch in (first, second):
        assert len({r for rows in epoch for r in rows}) == 9
    assert first != second and first != [batches.batch("b", k)["rows"].tolist() for k in range(3)]


def test_a_batch_depends_on_its_number_alone():
    make = lambda rows, rng: {"rows": rows, "noise": rng.normal(size=3)}  # noqa: E731
    forward, backward = EpochBatches(10, 3, make, seed=4), EpochBatches(10, 3, make, seed=4)
    a = [forward.batch("a", k) for k in range(8)]
    b = [backward.batch("a", k) for k in reversed(range(8))][::-1]
    for x, y in zip(a, b):
        assert torch.equal(x["rows"], y["rows"]) and torch.equal(x["noise"], y["noise"])
    assert len({tuple(x["noise"].tolist()) for x in a}) == 8


def test_pictures_become_tensors_and_back():
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    images = to_images(pixels)
    assert images.shape == (2, 3, 4, 5) and images.dtype == torch.float32
    np.testing.assert_array_equal(to_pixels(images), pixels)
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(to_pixels(to_images(every)), every)
    assert to_images(every).min() == -1 and to_images(every).max() == 1
    np.testing.assert_array_equal(to_pixels(torch.tensor([-3.0, 7.0]).reshape(2, 1, 1, 1)).ravel(), [0, 255])
    with pytest.raises(ValueError, match="uint8"):
        to_images(pixels.astype(float))
    with pytest.raises(ValueError, match="1 to 4 rows"):
        EpochBatches(4, 5, None)


def test_the_fingerprint_tells_arrays_apart():
    a = np.arange(6.0)
    assert fingerprint(a) == fingerprint(a.copy())
    assert len({fingerprint(x) for x in (a, a.reshape(2, 3), a.astype(int), a + 1e-12, a[:5])}) == 5


# losses against values computed by hand


def test_losses_have_the_values_of_their_formulas():
    real, fake = torch.tensor([[0.0], [2.0]]), torch.tensor([[-1.0], [0.5]])
    sigmoid = lambda t: 1 / (1 + np.exp(-t.numpy()))  # noqa: E731
    value = -(np.log(sigmoid(real)).mean() + np.log(1 - sigmoid(fake)).mean())
    np.testing.assert_allclose(losses.gan_discriminator(real, fake), value, rtol=1e-6)
    np.testing.assert_allclose(losses.gan_generator(fake), -np.log(sigmoid(fake)).mean(), rtol=1e-6)
    minimax = losses.gan_generator(fake, "minimax")
    np.testing.assert_allclose(minimax, np.log(1 - sigmoid(fake)).mean(), rtol=1e-6)
    assert losses.lsgan_discriminator(real, fake) == pytest.approx(((1 + 1) / 2 + (1 + 0.25) / 2) / 2)
    assert losses.lsgan_generator(fake) == pytest.approx((4 + 0.25) / 4)
    assert losses.wgan_critic(real, fake) == pytest.approx(-0.25 - 1)
    assert losses.wgan_generator(fake) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="non_saturating or minimax"):
        losses.gan_generator(fake, "hinge")


def test_both_forms_of_the_generator_loss_pull_the_same_way():
    fake = torch.linspace(-3, 3, 7, requires_grad=True)
    for form in ("non_saturating", "minimax"):
        (slope,) = torch.autograd.grad(losses.gan_generator(fake, form), fake)
        assert (slope < 0).all()  # a larger logit is always better for the generator


def test_the_gradient_penalty_of_a_linear_critic_is_known():
    weights = torch.tensor([3.0, 4.0])
    real, fake = torch.rand(5, 2, requires_grad=True), torch.rand(5, 2, requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    penalty = losses.gradient_penalty(lambda x: x @ weights, real, fake, generator)
    assert penalty.item() == pytest.approx(16.0, rel=1e-5)  # |w| = 5 everywhere
    weights.requires_grad_(True)
    penalty = losses.gradient_penalty(lambda x: x @ weights, real, fake, generator)
    penalty.backward()
    torch.testing.assert_close(weights.grad, 2 * (5 - 1) * torch.tensor([3.0, 4.0]) / 5)
    assert real.grad is None and fake.grad is None
    with pytest.raises(ValueError, match="shape of real"):
        losses.gradient_penalty(lambda x: x.sum(1), real, fake[:4], generator)


def test_the_gradient_penalty_looks_between_real_and_fake():
    seen = []
    real, fake = torch.ones(200, 1, 2, 2), torch.zeros(200, 1, 2, 2)

    def critic(x):
        seen.append(x.detach())
        return x.flatten(1).square().sum(1) / 2

    penalty = losses.gradient_penalty(critic, real, fake, torch.Generator().manual_seed(0))
    points = seen[0].flatten(1)
    assert (points == points[:, :1]).all() and points.min() < 0.05 and points.max() > 0.95
    # the gradient of |x|^2 / 2 is x, whose norm is twice each of its four equal numbers
    np.testing.assert_allclose(penalty.item(), ((2 * points[:, 0] - 1) ** 2).mean(), rtol=1e-5)


def test_the_divergence_from_the_standard_normal_agrees_with_torch():
    mean, log_variance = torch.randn(6, 3), torch.randn(6, 3)
    twin = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (log_variance / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(losses.kl_to_standard_normal(mean, log_variance), twin.sum(1).mean())
    assert losses.kl_to_standard_normal(torch.zeros(2, 3), torch.zeros(2, 3)) == 0


def test_reconstruction_and_total_variation_have_the_values_of_their_formulas():
    a, b = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, -2.0], [0.0, 3.0]]]])
    assert losses.reconstruction(a, b) == pytest.approx(14 / 4)
    assert losses.reconstruction(a, b, norm=1) == pytest.approx(6 / 4)
    assert losses.total_variation(b) == pytest.approx((1 + 5) / 2 + (3 + 3) / 2)
    with pytest.raises(ValueError, match="shape of target"):
        losses.reconstruction(a, b[0])
    with pytest.raises(ValueError, match="1 or 2"):
        losses.reconstruction(a, b, norm=3)


def test_gradients_pass_through_a_stopped_network_but_do_not_reach_its_weights():
    network, x = torch.nn.Linear(2, 1), torch.ones(1, 2, requires_grad=True)
    network.bias.requires_grad_(False)
    with losses.stopped(network):
        y = network(x).sum()
    y.backward()
    assert network.weight.grad is None and torch.equal(x.grad, network.weight.detach())
    assert network.weight.requires_grad and not network.bias.requires_grad


# layers


@pytest.mark.parametrize("kernel, stride, size", [(3, 1, 7), (3, 2, 8), (5, 2, 32), (5, 2, 6), (1, 1, 4), (7, 3, 9)])
def test_a_transposed_convolution_undoes_the_size_of_a_convolution(kernel, stride, size):
    smaller = layers.conv(2, 3, kernel, stride)(torch.zeros(1, 2, size, size))
    assert smaller.shape == (1, 3, -(-size // stride), -(-size // stride))
    larger = layers.TransposedConv(3, 2, kernel, stride)(smaller)
    assert larger.shape[-1] == stride * smaller.shape[-1]
    with pytest.raises(ValueError, match="odd"):
        layers.conv(2, 3, 4, 2)
    with pytest.raises(ValueError, match="odd"):
        layers.TransposedConv(2, 3, 4, 2)


def test_glorot_weights_lie_within_their_limit_and_come_from_the_generator():
    make = lambda seed: layers.glorot(torch.nn.Linear(300, 200), torch.Generator().manual_seed(seed))  # noqa: E731
    network, limit = make(0), (6 / 500) ** 0.5
    assert network.weight.abs().max() <= limit
    assert network.weight.detach().std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
    assert not network.bias.any()
    assert torch.equal(make(0).weight, network.weight) and not torch.equal(make(1).weight, network.weight)


# what is written for people


def test_the_grid_has_every_picture_in_its_place():
    pictures = np.linspace(-1, 1, 2 * 3 * 4 * 5).reshape(2, 3, 1, 4, 5)
    sheet = logs.picture_grid(pictures, gap=1)
    assert sheet.shape == (2 * 5 + 1, 3 * 6 + 1, 3)
    np.testing.assert_array_equal(sheet[6:10, 13:18, 2], np.rint((pictures[1, 2, 0] + 1) * 127.5))
    assert (sheet[[0, 5, 10]] == 255).all() and (sheet[:, [0, 6, 12, 18]] == 255).all()
    with pytest.raises(ValueError, match="NaN"):
        logs.picture_grid(np.full((1, 1, 1, 2, 2), np.nan))
    with pytest.raises(ValueError, match="got shape"):
        logs.picture_grid(pictures[0])


def test_losses_are_read_as_they_were_written(tmp_path):
    log = logs.LossLog()
    log.add({"a": 1.0, "b": torch.tensor(3.0)})
    log.add({"a": 2.0})
    assert log.flush(2, "one") == {"a": 1.5, "b": 1.5}
    log.add({"c": 1 / 3})
    log.flush(3, "two")
    log.write(tmp_path / "l.csv")
    again = logs.LossLog.read(tmp_path / "l.csv")
    again.write(tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_bytes() == (tmp_path / "l.csv").read_bytes()
    assert again.last == {"c": 1 / 3} and logs.LossLog.read(tmp_path / "l.csv", until=2).last == {"a": 1.5, "b": 1.5}
    (tmp_path / "l.csv").write_text("step,stage,a\nx,y,z\n")
    with pytest.raises(ValueError, match="no list of losses"):
        logs.LossLog.read(tmp_path / "l.csv")


def test_options_that_cannot_be_saved_are_refused():
    import dataclasses

    @dataclasses.dataclass
    class Wrong:
        x: object

    assert plain(Wrong((1, np.float32(0.5), "a", None))) == {"x": [1, 0.5, "a", None]}
    with pytest.raises(ValueError, match="got set"):
        plain(Wrong({1}))
    with pytest.raises(ValueError, match="dataclass"):
        plain({})


def test_training_does_not_wait_for_a_person():
    began = time.perf_counter()
    for k in range(100):
        determinism.step_seed(1, 2, k)
    assert time.perf_counter() - began < 0.5
    assert len({determinism.step_seed(a, b, c) for a in range(3) for b in range(3) for c in range(3)}) == 27
