"""`training.fit` in two processes takes the steps of one, and comes back to them exactly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from aigc_course import parallel, training

REPOSITORY = Path(__file__).parents[1]


def mlp() -> nn.Sequential:
    torch.manual_seed(dist.get_rank() if dist.is_initialized() else 0)  # fit gives all what the first one made
    return nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 4))


def batches() -> list:
    x = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    return [{"x": each, "y": each[:, :4].sin()} for each in x]


def error(model, batch):
    return F.mse_loss(model(batch["x"]), batch["y"])


def noisy(model, batch, generator):
    return error(model, batch) + 0.1 * model(torch.randn(batch["x"].shape, generator=generator)).square().mean()


class Stop:
    """Ends a run after a step, in the first process only: the others must hear of it."""

    def __init__(self, number):
        self.number = number

    def __call__(self, step):
        if step.number == self.number and training.is_first():
            raise StopIteration


def fitted(loss, folder=None, stop=None, optimiser=torch.optim.SGD):
    model = mlp()
    dials = dict(folder=folder, save_every=2, ema=0.9, clip=0.05, accumulate=2, progress=True, on_step=stop)
    history = training.fit(model, batches(), loss, 6, optimiser=optimiser(model.parameters(), lr=0.5), **dials)
    return history.losses, dict(model.named_parameters())


def work(folder):
    """Everything that two processes are to show, in one start."""
    plain = fitted(error)
    whole = fitted(noisy, f"{folder}/whole")
    first = fitted(noisy, f"{folder}/cut", Stop(3))
    return plain, whole, first, fitted(noisy, f"{folder}/cut")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return parallel.run(work, 2, str(tmp_path_factory.mktemp("team")), timeout=200)


def test_two_processes_take_the_steps_of_one(both):
    losses, weights = fitted(error)
    for (theirs, found), *_ in both:
        assert theirs == pytest.approx(losses, abs=1e-6)
        assert max((found[name] - weight).abs().max().item() for name, weight in weights.items()) < 1e-6


def test_a_run_that_was_stopped_goes_on_exactly_in_both(both):
    for _, whole, first, again in both:
        assert len(first[0]) == 3 and again[0] == whole[0]
        assert all(torch.equal(value, again[1][name]) for name, value in whole[1].items())


def test_each_process_draws_its_own_noise(both):
    one, _ = fitted(noisy)
    assert all(whole[0] != list(one) for _, whole, *_ in both)


@pytest.mark.slow
def test_a_training_script_runs_under_accelerate(tmp_path):
    data = tmp_path / "data" / "models"
    data.mkdir(parents=True)
    (data / "tokenizer").symlink_to(REPOSITORY / "data" / "models" / "tokenizer")
    dials = "--steps 3 --batch 4 --count 4 --precision fp32".split()
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    command = [
        *launch,
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--main_process_port",
        "0",
    ]
    ran = subprocess.run(
        [*command, REPOSITORY / "scripts" / "train_lm.py", *dials, "--folder", tmp_path / "run"],
        env=os.environ | {"AIGC_DATA": str(tmp_path / "data"), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("| en |") == 1 and ran.stdout.count("3 steps in") == 1
    assert (data / "lm" / "model.safetensors").is_file()
