"""The loop: exact resume after any kill, and each dial against its formula."""

import io
import itertools
import json
import math
import multiprocessing
import os
import random
import re
import runpy
import shutil
import sys
import time
from collections import namedtuple
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aigc_course import models, runtime, scenes, training
from aigc_course.training import (
    History,
    Muon,
    Pool,
    Shuffled,
    cache,
    checkpoint,
    fit,
    loop,
    optimiser,
    precision,
    precomputed,
    progress,
    rate_at,
)


class Numbers:
    """Endless batches for a tiny regression, drawn from the position alone, which is the state."""

    def __init__(self, length: int = 7):
        self.length, self.position = length, 0

    def __iter__(self):
        while self.position < self.length:
            x = torch.randn(8, 4, generator=torch.Generator().manual_seed(self.position))
            self.position += 1
            yield {"x": x, "y": x.sum(1, keepdim=True)}
        self.position = 0

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]


def tiny(dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.SiLU(), nn.Dropout(dropout), nn.Linear(16, 1))


def error(model, batch):
    return F.mse_loss(model(batch["x"]), batch["y"])


def noisy_error(model, batch, generator):
    """Draws from every source of chance, so that a resume that forgets one of them shows."""
    noise = torch.randn(batch["x"].shape, generator=generator)
    push = random.gauss(0, 1) + np.random.normal()  # noqa: NPY002 - the global one must come back, too
    return F.mse_loss(model(batch["x"] + 0.1 * noise), batch["y"] + 0.01 * push)


def weights(model) -> dict:
    return {name: value.tolist() for name, value in model.state_dict().items()}


def hard_run(folder, batches=None, on_step=None, **dials):
    """A run in which everything that has a state is switched on."""
    random.seed(1)
    np.random.seed(2)  # noqa: NPY002
    model = tiny(dropout=0.5)
    dials = dict(steps=60, accumulate=2, ema=0.9, save_every=3, progress=False) | dials
    history = fit(model, batches or Numbers(), noisy_error, folder=folder, on_step=on_step, **dials)
    return history.losses, weights(model)


class Stop(Exception):
    """Raised on purpose where a power cut would have hit."""


def stop_at(number: int):
    def on_step(step):
        if step.number == number:
            raise Stop

    return on_step


def simple(model=None, steps=20, batches=None, **dials) -> History:
    batches = Numbers() if batches is None else batches
    return fit(model or tiny(), batches, error, steps, progress=False, **dials)


# Exact resume


def told_run(folder: Path, pipe) -> None:
    """A run in a process of its own, that says which step it has reached."""

    def say(step):
        pipe.send(step.number)
        time.sleep(0.01)

    pipe.send(hard_run(folder, on_step=say))


def run_until(context, run, folder: Path, last: int, wait: float = 0.0):
    """Start a run and kill it for good (SIGKILL) a moment after a step; with no such step, its result."""
    inbox, outbox = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(folder, outbox))
    process.start()
    outbox.close()
    said = inbox.recv()
    while isinstance(said, int) and said < last:
        said = inbox.recv()
    if isinstance(said, int):
        time.sleep(wait)  # it goes on meanwhile: into a step, or into a save
        process.kill()
    process.join()
    return said


@pytest.fixture(scope="module")
def context():
    """Where it can, a way to start processes that have imported everything already."""
    way = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(way)
    if way == "forkserver":
        heavy = ["torch._dynamo", "transformers.models.gpt2.modeling_gpt2", "diffusers.utils", "aigc_course.evaluation"]
        context.set_forkserver_preload([__name__, *heavy])
    return context


def test_a_run_killed_again_and_again_ends_with_the_losses_and_weights_of_one_that_was_not(tmp_path, context):
    for kill in sorted(random.Random(5).sample(range(4, 50), 4)):
        said = run_until(context, told_run, tmp_path / "run", kill)
        assert isinstance(said, int), "the run ended before it could be killed"
    resumed = run_until(context, told_run, tmp_path / "run", 1000)
    assert resumed == hard_run(None)


def recipe(folder: Path, pipe) -> None:
    """The recipe of the language model as `make models` runs it, but narrow and short, and saved every other step."""
    script = Path(__file__).parents[1] / "scripts" / "train_lm.py"
    os.environ["AIGC_DATA"] = str(folder.parent)
    sys.argv = [str(script), "--steps", "60", "--batch", "4", "--count", "4", "--precision", "fp32"]
    sys.argv += ["--folder", str(folder)]
    torch.set_num_threads(1)

    def say(step):
        pipe.send(step.number)
        time.sleep(0.005)

    models.language_model = partial(models.language_model, width=16, layers=1)
    training.fit = partial(training.fit, save_every=2, on_step=say, progress=False)
    runpy.run_path(str(script), run_name="__main__")
    pipe.send("shipped")


def recipe_folder(home: Path) -> Path:
    """A place for the recipe to run in, with the tokenizer that it needs."""
    shutil.copytree(runtime.data_dir() / "models" / "tokenizer", home / "models" / "tokenizer")
    return home / "run"


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot fork: each of the 22 starts would import torch anew")
def test_a_recipe_killed_at_twenty_steps_has_a_whole_checkpoint_each_time_and_ends_with_the_same_curve(
    tmp_path, context
):
    calm, folder = recipe_folder(tmp_path / "calm"), recipe_folder(tmp_path / "killed")
    assert run_until(context, recipe, calm, 1000) == "shipped"
    expected, chance = json.loads((calm / checkpoint.STATE).read_text())["losses"], random.Random(7)
    assert len(expected) == 60 and len(set(expected)) > 50
    for kill in sorted(chance.sample(range(2, 56), 20)):
        said = run_until(context, recipe, folder, kill, chance.uniform(0, 0.02))
        assert isinstance(said, int), "the recipe ended before it could be killed"
        left = checkpoint._read(folder)  # ValueError if any file is not whole
        state = json.loads(left[checkpoint.STATE]) if left else {"step": 0, "losses": []}
        assert state["step"] >= said - 2 and state["losses"] == expected[: state["step"]]
        assert not (tmp_path / "killed" / "models" / "lm").exists(), "nothing is shipped half-trained"
    assert run_until(context, recipe, folder, 1000) == "shipped"
    assert json.loads((folder / checkpoint.STATE).read_text())["losses"] == expected
    for file in ("model.safetensors", "ema.safetensors", "optimiser.safetensors"):
        assert (folder / file).read_bytes() == (calm / file).read_bytes()


@pytest.mark.parametrize("step", [1, 3, 7, 14, 20])
def test_a_run_stopped_anywhere_goes_on_as_if_it_had_not_been(tmp_path, step):
    with pytest.raises(Stop):
        hard_run(tmp_path / "run", on_step=stop_at(step), steps=20)
    assert hard_run(tmp_path / "run", steps=20) == hard_run(None, steps=20)


def shuffled() -> torch.utils.data.DataLoader:
    x = torch.randn(44, 4, generator=torch.Generator().manual_seed(3))
    rows = [{"x": row, "y": row.sum(0, keepdim=True)} for row in x]
    return torch.utils.data.DataLoader(rows, batch_size=8, shuffle=True)


@pytest.mark.parametrize("step", [2, 3, 6, 11])
def test_shuffled_batches_without_a_state_are_dealt_again_and_skipped(tmp_path, step):
    dials = dict(steps=12, accumulate=1, save_every=1)
    with pytest.raises(Stop):
        hard_run(tmp_path / "run", shuffled(), stop_at(step), **dials)
    assert hard_run(tmp_path / "run", shuffled(), **dials) == hard_run(None, shuffled(), **dials)


def picture_run(folder, on_step=None):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3)).to(
        memory_format=torch.channels_last
    )
    batch = torch.randn(2, 3, 8, 8)
    history = fit(model, [batch], lambda m, b: m(b).square().mean(), 8, folder=folder, save_every=2, on_step=on_step)
    return history.losses, weights(model)


def test_moments_come_back_in_the_memory_layout_of_their_parameter_and_buffers_come_back_too(tmp_path):
    with pytest.raises(Stop):
        picture_run(tmp_path / "run", stop_at(5))
    assert picture_run(tmp_path / "run") == picture_run(None)


def test_tied_weights_are_saved_once_and_stay_tied(tmp_path):
    def run(folder, on_step=None):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5, bias=False))
        model[1].weight = model[0].weight
        loss = lambda m, b: F.cross_entropy(m(b), b)  # noqa: E731
        fit(
            model,
            [torch.arange(5)],
            loss,
            6,
            ema=0.9,
            folder=folder,
            save_every=2,
            progress=False,
            on_step=on_step,
        )
        assert model[1].weight is model[0].weight
        return weights(model)

    with pytest.raises(Stop):
        run(tmp_path / "run", stop_at(4))
    assert run(tmp_path / "run") == run(None)


def test_an_optimiser_of_ones_own_resumes_exactly(tmp_path):
    def run(folder, on_step=None):
        model = tiny()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        simple(model, optimiser=optimiser, folder=folder, save_every=5, on_step=on_step)
        return weights(model)

    with pytest.raises(Stop):
        run(tmp_path / "run", stop_at(11))
    assert run(tmp_path / "run") == run(None)


def test_muon_resumes_exactly(tmp_path):
    def run(folder, on_step=None):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 40), nn.SiLU(), nn.Linear(40, 40), nn.SiLU(), nn.Linear(40, 1))
        simple(model, optimiser=training.muon(model, 0.01), folder=folder, save_every=5, on_step=on_step)
        return weights(model)

    with pytest.raises(Stop):
        run(tmp_path / "run", stop_at(11))
    assert run(tmp_path / "run") == run(None)


def test_a_finished_run_is_loaded_with_its_averages_and_takes_no_more_steps(tmp_path):
    first = hard_run(tmp_path / "run", steps=9)
    seen = []
    assert hard_run(tmp_path / "run", steps=9, on_step=seen.append) == first
    assert not seen


# A checkpoint is whole at every moment


class PowerCut:
    """Stands for the system calls of a save, and lets only the first few of them through."""

    def __init__(self, monkeypatch, calls: int):
        self.left = calls
        for owner, name in (
            (Path, "mkdir"),
            (Path, "open"),
            (os, "fsync"),
            (Path, "replace"),
            (shutil, "rmtree"),
        ):
            monkeypatch.setattr(owner, name, self.limited(getattr(owner, name)))

    def limited(self, real):
        def call(*arguments, **options):
            self.left -= 1
            if self.left < 0:
                raise Stop
            return real(*arguments, **options)

        return call


def test_a_save_cut_short_at_any_system_call_leaves_a_whole_checkpoint(tmp_path):
    dials = dict(steps=4, save_every=2)
    whole, resumed_at = hard_run(None, **dials), []
    for calls in range(100):
        here = tmp_path / str(calls)
        try:
            with pytest.MonkeyPatch.context() as patch:
                hard_run(here / "run", on_step=lambda s: s.number == 4 and PowerCut(patch, calls), **dials)  # noqa: B023
            break
        except Stop:
            seen = []
            assert hard_run(here / "run", on_step=seen.append, **dials) == whole
            resumed_at.append(seen[0].number if seen else 5)
    assert resumed_at == sorted(resumed_at) and set(resumed_at) == {3, 5}, "old until the swap, new after it"
    assert len(resumed_at) > 15


def test_leftovers_of_a_killed_save_are_cleared_away(tmp_path):
    stale = tmp_path / "run.partial"
    stale.mkdir()
    (stale / "model.safetensors").write_bytes(b"half")
    (stale / "subfolder").mkdir()
    assert hard_run(tmp_path / "run", steps=4) == hard_run(None, steps=4)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_folder_may_hold_other_files_and_they_stay(tmp_path):
    folder = tmp_path / "run"
    (folder / "samples").mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    hard_run(folder, steps=6, save_every=1)
    assert (folder / "notes.txt").read_text() == "mine" and (folder / "samples").is_dir()
    folder.replace(tmp_path / "run.previous")  # a kill between the two renames; a script then makes its folder
    (folder / "log").mkdir(parents=True)
    seen = []
    hard_run(folder, steps=6, on_step=seen.append)
    assert not seen and {"notes.txt", "samples", "log", "state.json"} <= {path.name for path in folder.iterdir()}


def test_a_checkpoint_is_safetensors_and_json_and_tells_its_step(tmp_path):
    hard_run(tmp_path / "run", steps=6)
    assert {path.suffix for path in (tmp_path / "run").iterdir()} == {".safetensors", ".json"}
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert state["step"] == 6 and state["data"]["state"] == {"position": 5}
    assert state["versions"]["torch"] == torch.__version__


def cut_off(path):
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("name", sorted(checkpoint.FILES))
def test_a_damaged_file_is_named_with_the_fix(tmp_path, name):
    for harm in (cut_off, flip_a_bit, Path.unlink):
        folder = tmp_path / harm.__name__
        hard_run(folder, steps=2)
        harm(folder / name)
        with pytest.raises(
            ValueError, match=rf"damaged \(.*{name if harm is not flip_a_bit else '.*'}.*delete the folder"
        ):
            hard_run(folder, steps=2)


def test_a_folder_that_holds_a_model_of_someone_else_is_not_overwritten(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"precious")
    with pytest.raises(ValueError, match="damaged"):
        simple(folder=tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (dict(steps=30), "steps: 20 there, 30 here"),
        (dict(learning_rate=0.5), r"learning_rate \[0.001\].* there, .*learning_rate \[0.5\].* here"),
        (dict(ema=0.9), "ema: None there, 0.9 here"),
        (dict(model=nn.Linear(4, 1)), r"parameter weight: None there, \(1, 4\) torch.float32 here"),
        (dict(model=tiny().double()), "torch.float32 there, .*torch.float64 here"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused_and_left_alone(tmp_path, change, told):
    simple(folder=tmp_path / "run")
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    with pytest.raises(ValueError, match=f"another run .*{told}.*name another folder"):
        simple(folder=tmp_path / "run", **change)
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before


def test_other_batches_than_those_of_the_checkpoint_are_refused(tmp_path):
    batches = list(Numbers(30))
    with pytest.raises(Stop):
        simple(batches=batches, folder=tmp_path, save_every=1, on_step=stop_at(10))
    with pytest.raises(ValueError, match="other batches"):
        simple(folder=tmp_path)
    with pytest.raises(ValueError, match="more batches"):
        simple(batches=batches[:4], folder=tmp_path)


@pytest.mark.parametrize("change", [dict(batch_size=6), dict(seed=1), dict(count=90)])
def test_batches_of_another_size_seed_or_number_are_refused(tmp_path, change):
    def dealt(count=80, batch_size=8, seed=0):
        def make(indices, turn):
            x = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))[indices]
            return {"x": x, "y": x.sum(1, keepdim=True)}

        return Shuffled(count, batch_size, make, seed)

    whole = simple(batches=dealt())
    with pytest.raises(Stop):
        simple(batches=dealt(), folder=tmp_path, save_every=1, on_step=stop_at(13))
    with pytest.raises(ValueError, match=r"made with other batches .*there, .*here.*: use those, name another folder"):
        simple(batches=dealt(**change), folder=tmp_path)
    assert simple(batches=dealt(), folder=tmp_path).losses == whole.losses


def test_all_batches_that_keep_their_place_tell_what_they_are_batches_of():
    def of(batches):
        return json.loads(json.dumps(batches.state_dict()))["of"]

    stream = scenes.SceneStream("train", 100, 10, seed=1)
    for change in (dict(split="test"), dict(count=90), dict(batch_size=5), dict(seed=2), dict(task="pair")):
        other = scenes.SceneStream(**dict(split="train", count=100, batch_size=10, seed=1) | change)
        assert of(other) != of(stream) and of(Pool(other, 4, 8)) != of(Pool(stream, 4, 8))
    next(iter(stream))
    assert of(stream) == of(scenes.SceneStream("train", 100, 10, seed=1, workers=1)), "place and helpers make no other"
    assert of(Pool(stream, 4, 8)) != of(Pool(stream, 5, 8)) and of(Pool(stream, 4, 8)) != of(Pool(stream, 4, 8, seed=1))


def test_a_checkpoint_around_other_frozen_weights_is_refused(tmp_path):
    def around(value):
        model = nn.Sequential(nn.Linear(4, 1), nn.Linear(1, 1).requires_grad_(False))
        for p in model.parameters():
            nn.init.constant_(p, value if not p.requires_grad else 0.1)
        return model

    simple(around(1.0), folder=tmp_path)
    with pytest.raises(ValueError, match="another run .frozen: '2 tensors, [0-9a-f]{8}' there, '2 tensors, "):
        simple(around(2.0), folder=tmp_path)
    again = around(1.0)
    nn.init.zeros_(again[0].weight)
    assert len(simple(again, folder=tmp_path).losses) == 20 and again[0].weight.any(), "what learns may differ"


# The dials


def test_the_loss_goes_down_on_a_small_regression():
    history = simple(steps=150, learning_rate=0.02)
    assert len(history.losses) == len(history.seconds) == 150
    assert history.last < 0.05 * history.losses[0]
    assert list(history.seconds) == sorted(history.seconds)


def test_four_micro_batches_make_the_step_of_the_large_batch():
    batches = list(Numbers(8))
    large = [{key: torch.cat([b[key] for b in batches[i : i + 4]]) for key in "xy"} for i in (0, 4)]
    one, four = tiny(), tiny()
    histories = simple(one, batches=large), simple(four, batches=batches, accumulate=4)
    torch.testing.assert_close(one.state_dict(), four.state_dict(), atol=1e-6, rtol=0)
    torch.testing.assert_close(*(torch.tensor(history.losses) for history in histories), atol=1e-6, rtol=0)


@pytest.mark.parametrize("clip", [0.01, 1e6, None])
def test_clipping_bounds_the_gradient_and_only_then_changes_it(clip):
    model, pairs = tiny(), []

    def look(step):
        left = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()
        pairs.append((step.norm, left))

    simple(model, clip=clip, on_step=look)
    for before, after in pairs:
        assert after == pytest.approx(min(before, clip or math.inf), rel=1e-3)
    assert max(before for before, _ in pairs) > 0.01


def test_the_averages_follow_the_recursion_written_by_hand():
    model, decay = tiny(), 0.9
    average, n = {name: p.detach().clone() for name, p in model.named_parameters()}, 0

    def follow(step):
        nonlocal n
        d = min(decay, (1 + n) / (10 + n))
        for name, p in model.named_parameters():
            average[name] = d * average[name] + (1 - d) * p.detach()
        n += 1

    simple(model, ema=decay, learning_rate=0.05, on_step=follow)
    torch.testing.assert_close(dict(model.named_parameters()), average, atol=1e-6, rtol=1e-5)


def test_averages_of_half_precision_weights_are_kept_in_float32(tmp_path):
    model = tiny().bfloat16()
    fit(model, [torch.ones(1, 4).bfloat16()], lambda m, b: m(b).square().mean(), 3, ema=0.9, folder=tmp_path)
    saved = checkpoint.safetensors.load_file(tmp_path / "ema.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.float32}
    assert model[0].weight.dtype == torch.bfloat16


def test_the_rate_climbs_to_one_and_falls_to_zero():
    assert rate_at(0, 100, "cosine", 0) == 1 and rate_at(50, 100, "cosine", 0) == pytest.approx(0.5)
    assert rate_at(100, 100) == rate_at(100, 100, "linear") == 0 and rate_at(100, 100, "constant") == 1
    assert [rate_at(step, 100, "linear", 0.04) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert rate_at(52, 100, "linear", 0.04) == 0.5


def test_the_rates_that_the_optimiser_uses_are_those_of_the_schedule():
    model, seen = tiny(), []
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[3].parameters()}]
    optimiser = torch.optim.SGD(groups, lr=0.02)
    simple(model, optimiser=optimiser, on_step=lambda s: seen.append([g["lr"] for g in optimiser.param_groups]))
    shares = [rate_at(step, 20) for step in range(20)]
    assert seen == [pytest.approx([0.1 * share, 0.02 * share]) for share in shares]


def test_bf16_runs_the_loss_in_half_precision_and_keeps_the_weights_whole():
    model, seen = tiny(), []

    def loss(model, batch):
        guess = model(batch["x"])
        seen.append(guess.dtype)
        return F.mse_loss(guess.float(), batch["y"])

    history = fit(model, Numbers(), loss, 60, learning_rate=0.02, precision="bf16", progress=False)
    assert set(seen) == {torch.bfloat16} and model[0].weight.dtype == torch.float32
    assert history.last < 0.5 * history.losses[0]


def test_on_a_processor_attention_and_group_norm_stay_whole_in_bf16():
    norm, linear, seen = nn.GroupNorm(2, 4), nn.Linear(4, 4), {}
    hooked = [norm.register_forward_hook(lambda m, x, y: seen.update(norm=y.dtype))]
    hooked.append(linear.register_forward_hook(lambda m, x, y: seen.update(linear=y.dtype)))

    def loss(model, batch):
        x = model[0](batch["x"])
        seen["attention"] = F.scaled_dot_product_attention(x[None], x[None], value=x[None]).dtype
        return model[1](x).square().mean()

    fit(nn.Sequential(linear, norm), Numbers(), loss, 1, precision="bf16", progress=False)
    assert seen == {"linear": torch.bfloat16, "attention": torch.float32, "norm": torch.float32}
    for hook in hooked:
        hook.remove()


def test_a_mode_for_bf16_gives_what_float32_gives_within_rounding():
    x = torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    for function in (lambda: F.group_norm(x, 2), lambda: F.scaled_dot_product_attention(x, x, x, is_causal=True)):
        expected = function()
        with precision.narrow(torch.device("cpu")):
            torch.testing.assert_close(function(), expected, rtol=0, atol=0)



def test_noise_comes_from_the_generator_and_leaves_the_global_one_alone():
    def run(**dials):
        model = tiny()
        before = torch.get_rng_state()
        fit(model, Numbers(), lambda m, b, generator: error(m, b) * torch.rand((), generator=generator), 5,
            progress=False, **dials)  # fmt: skip
        assert torch.equal(before, torch.get_rng_state())
        return weights(model)

    assert run() == run() == run(generator=torch.Generator().manual_seed(0))
    assert run() != run(generator=torch.Generator().manual_seed(1))


def test_losses_left_on_the_device_are_the_same_when_they_are_read_at_last(monkeypatch, tmp_path):
    at_once = simple(steps=130, folder=tmp_path / "a").losses
    monkeypatch.setattr(loop._Run, "cheap", property(lambda run: run.step == run.settings.steps))
    assert simple(steps=130, folder=tmp_path / "b", save_every=7).losses == at_once


def test_a_frozen_part_stays_and_the_model_trains_in_train_mode_and_ends_in_eval_mode():
    model = tiny(dropout=0.1)
    model[0].requires_grad_(False)
    before, modes = weights(model), []

    def loss(model, batch):
        modes.append(all(part.training for part in model.modules()))
        return error(model, batch)

    fit(model, Numbers(), loss, 3, ema=0.9, progress=False, on_step=lambda s: model.train(s.number == 3))
    assert modes == [True] * 3 and not any(part.training for part in model.modules())
    assert weights(model)["0.weight"] == before["0.weight"] and weights(model)["3.weight"] != before["3.weight"]


def test_batches_are_moved_whatever_they_are_packed_in():
    Pair = namedtuple("Pair", "picture words")
    x = torch.zeros(2)
    moved = loop._to({"a": [x, (x, "text")], "b": Pair(x, None)}, torch.device("meta"))
    assert moved["a"][0].is_meta and moved["a"][1][0].is_meta and moved["a"][1][1] == "text"
    assert isinstance(moved["b"], Pair) and moved["b"].picture.is_meta and moved["b"].words is None


def test_history_smooths_over_a_window_that_is_shorter_at_the_start():
    history = History((4.0, 2.0, 0.0, 1.0), (0.1, 0.2, 0.3, 0.4))
    assert history.last == 1.0
    assert history.smoothed(2) == (4.0, 3.0, 1.0, 0.5)
    assert repr(history) == "History of 4 steps in 0 s, last loss 1"


# What it says when something is wrong


@pytest.mark.parametrize("late", [False, True])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch, late):
    if late:  # as on a GPU, where losses are read seldom
        monkeypatch.setattr(loop._Run, "cheap", property(lambda run: False))
    batches = list(Numbers())
    batches[4] = {"x": batches[4]["x"], "y": batches[4]["y"] * math.nan}
    with pytest.raises(FloatingPointError, match="loss nan.* at step 5 of 20.*lower learning_rate"):
        simple(batches=batches, folder=tmp_path, save_every=2)
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 4
    weight = checkpoint.safetensors.load_file(tmp_path / "model.safetensors")["0.weight"]
    assert weight.isfinite().all()


def test_a_gradient_that_is_no_number_stops_the_run_though_the_loss_is_one(tmp_path):
    with pytest.raises(FloatingPointError, match="gradient (nan|inf) at step 1 of 5"):
        fit(tiny(), Numbers(), lambda m, b: (m(b["x"]) * 0).sum().abs().sqrt(), 5, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("dials", "told"),
    [
        (dict(steps=0), "at least one step"),
        (dict(steps=-3), "at least one step"),
        (dict(batches=[]), "there are no batches: use a list"),
        (dict(batches=iter(list(Numbers()))), "ended after 7: use a list, a DataLoader"),
        (dict(accumulate=0), "at least one micro-batch"),
        (dict(save_every=0), "save_every=1"),
        (dict(clip=0), "None"),
        (dict(ema=1.0), r"\(0, 1\)"),
        (dict(warmup=1), r"\[0, 1\)"),
        (dict(precision="fp16"), "'fp32' or 'bf16'"),
        (dict(schedule="step"), "cosine, linear, constant"),
        (dict(model=tiny().requires_grad_(False)), "requires_grad_"),
        (dict(optimiser=torch.optim.SGD(tiny().parameters(), 0.1)), "not in the model"),
    ],
)
def test_a_wrong_dial_is_answered_by_a_sentence_that_names_the_right_one(dials, told):
    with pytest.raises(ValueError, match=told):
        simple(**dials)


@pytest.mark.parametrize("wrong", [lambda m, b: 1.0, lambda m, b: m(b["x"]), lambda m, b: b["x"].sum()])
def test_a_loss_that_cannot_be_followed_is_answered_by_a_sentence(wrong):
    with pytest.raises(ValueError, match="one number.* computed from the model"):
        fit(tiny(), Numbers(), wrong, 1)


# The progress line


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watched(monkeypatch, tick: float, stream, steps: int = 200) -> str:
    """What a run prints whose clock advances by `tick` seconds at every look."""
    ticks = itertools.count()
    for part in (loop, progress):
        monkeypatch.setattr(part, "time", SimpleNamespace(perf_counter=lambda: next(ticks) * tick))
    monkeypatch.setattr(sys, "stdout", stream)
    fit(tiny(), Numbers(), error, steps)
    return stream.getvalue()


def test_a_terminal_sees_one_line_that_is_rewritten_at_most_four_times_a_second(monkeypatch):
    said = watched(monkeypatch, 0.01, Terminal())
    assert said.count("\n") == 1 and said.endswith("\n")
    *between, last = said.strip().split("\r")
    for line in between:
        assert re.fullmatch(r"step [\d,]+/200 · loss [\d.e-]+ · \d+ steps/s · \d+ s left *", line)
    assert re.fullmatch(r"200 steps in \d+ s · loss [\d.e-]+ · \d+ steps/s", last)
    seconds = int(re.search(r"in (\d+) s", last)[1])
    assert 3 <= len(between) <= 4 * seconds + 4


def test_a_log_gets_a_line_each_half_minute_and_one_at_the_end(monkeypatch):
    assert watched(monkeypatch, 0.01, io.StringIO()).count("\n") == 1
    said = watched(monkeypatch, 0.5, io.StringIO())
    assert "\r" not in said and 3 <= said.count("\n") <= 20
    assert re.search(r"step \d+/200 .* left\n", said)


def test_a_notebook_gets_one_output_that_is_updated(monkeypatch):
    import IPython.display

    shown, updated = [], []
    handle = SimpleNamespace(update=lambda data, raw: updated.append(data["text/plain"]))
    monkeypatch.setattr(IPython.display, "display", lambda data, **options: shown.append(data) or handle)
    monkeypatch.setattr(progress, "_shell", lambda: SimpleNamespace(kernel=None))
    assert watched(monkeypatch, 0.01, io.StringIO()) == ""
    assert len(shown) == 1 and updated[-1].startswith("200 steps in")


def test_an_error_begins_on_a_line_of_its_own(monkeypatch):
    stream, batches = Terminal(), iter(list(Numbers(100)))
    monkeypatch.setattr(Numbers, "__iter__", lambda self: batches)
    with pytest.raises(ValueError, match="ended after 100"):
        watched(monkeypatch, 0.01, stream)
    assert "\r" in stream.getvalue() and stream.getvalue().endswith("\n")


def test_progress_can_be_silent_and_a_resumed_run_says_so(tmp_path, capsys):
    simple(folder=tmp_path)
    assert capsys.readouterr().out == ""
    fit(tiny(), Numbers(), error, 20, folder=tmp_path)
    assert "20 steps in" in (said := capsys.readouterr().out) and said.endswith("resumed at step 20\n")


def test_a_length_of_time_is_told_as_a_person_would():
    assert [progress.words(s) for s in (0.4, 42, 125, 5999, 7260)] == [
        "0 s",
        "42 s",
        "2 min 5 s",
        "99 min 59 s",
        "2 h 1 min",
    ]


# Shuffled data keeps its place


def numbered(seed=0):
    return Shuffled(10, 3, lambda indices, turn: (indices.tolist(), turn), seed)


def test_a_pass_deals_every_number_once_in_an_order_of_its_own():
    data = numbered()
    first, second = list(data), list(data)
    assert [turn for _, turn in first + second] == [0] * 3 + [1] * 3
    assert all(len({i for batch, _ in some for i in batch}) == 9 for some in (first, second))
    assert [b for b, _ in first] != [b for b, _ in second] and first == list(numbered()) != list(numbered(seed=1))


def test_shuffled_data_goes_on_in_the_middle_of_any_pass():
    data, again = numbered(), numbered()
    whole, half = [*data, *data], numbered()
    list(half)
    reader = iter(half)
    next(reader)
    again.load_state_dict(json.loads(json.dumps(half.state_dict())))
    assert [*again] == [*reader] == whole[4:]


def test_processes_fill_batches_in_the_same_order_and_keep_their_place():
    alone, helped = numbered(), Shuffled(10, 3, alone_made, workers=2)
    assert [*helped, *helped] == [*alone, *alone]
    reader, again = iter(helped), Shuffled(10, 3, alone_made, workers=1)
    next(reader)
    again.load_state_dict(helped.state_dict())
    assert [*again] == [*reader]


def alone_made(indices, turn):
    """What `numbered` makes."""
    return indices.tolist(), turn


def test_batches_that_cannot_be_filled_are_refused():
    with pytest.raises(ValueError, match="use 1 to 10"):
        Shuffled(10, 11, lambda indices, turn: indices)


# --- a pool that grows ---------------------------------------------------------------------------------------


def counted(batches=5):
    """Batches of four rows: their number, and its square in half precision."""
    for start in range(0, 4 * batches, 4):
        rows = torch.arange(start, start + 4)
        yield {"n": rows, "square": (rows**2).half()[:, None]}


def test_a_pool_deals_rows_of_all_that_was_made_whole_and_at_random():
    pool = Pool(counted(), 6, room=18)
    dealt = [batch for batch, _ in zip(pool, range(200))]
    assert all(torch.equal(batch["square"], (batch["n"] ** 2).half()[:, None]) for batch in dealt)
    seen = torch.cat([batch["n"] for batch in dealt[50:]])
    assert set(seen.tolist()) == set(range(18)) and pool.filled == 18, "two rows found no room"
    assert seen.bincount().min() > 20 and not torch.equal(dealt[-1]["n"], dealt[-2]["n"])
    assert next(iter(pool))["n"].max() < 18 and pool.filled == 18, "asked again, it is not filled again"


def test_a_pool_that_cannot_be_filled_says_why():
    with pytest.raises(ValueError, match="room for 5 rows holds no batch of 6"):
        Pool(counted(), 6, room=5)
    with pytest.raises(ValueError, match="ended after 4 rows, fewer than a batch of 6"):
        next(iter(Pool(counted(1), 6, room=18)))


def test_a_pool_takes_half_of_the_free_memory_at_most_but_room_for_a_batch(monkeypatch):
    for free, room in ((10 * 2 * 12, 12), (0, 6), (sys.maxsize, 18)):  # a row takes ten bytes
        monkeypatch.setattr(training.batches, "_free", lambda free=free: free)
        pool = Pool(counted(), 6, room=18)
        next(iter(pool))
        pool.filling.join()
        assert pool.filled == pool.room == room


def test_what_goes_wrong_while_a_pool_is_filled_is_told_to_the_run():
    def broken():
        yield from counted(2)
        raise OSError("no room on the disk")

    with pytest.raises(OSError, match="no room on the disk"):
        for _ in Pool(broken(), 2, room=100):
            pass


# --- rows that are kept -------------------------------------------------------------------------------------


def squares(items):
    """One row for each number."""
    return torch.tensor([[item, item**2] for item in items], dtype=torch.float16)


def refuse(items):
    """What must not be called."""
    raise AssertionError("made again")


def test_rows_are_made_by_processes_in_order_and_only_once(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CHUNK", 3)
    file, numbers = tmp_path / "runs" / "rows.safetensors", list(range(10))
    assert torch.equal(precomputed(file, numbers, squares, workers=2), squares(numbers))
    assert torch.equal(precomputed(file, numbers, refuse), squares(numbers))
    assert [f.name for f in file.parent.iterdir()] == ["rows.safetensors"]


def test_rows_are_made_in_this_process_where_no_others_are_asked_for(tmp_path):
    made = precomputed(tmp_path / "rows.safetensors", [1, 2, 3], lambda items: squares(items), workers=0)
    assert torch.equal(made, squares([1, 2, 3])), "a lambda cannot cross to another process"


def test_no_items_are_refused_and_a_making_that_fails_leaves_no_file(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="there are no items .*: give at least one"):
        precomputed(tmp_path / "none.safetensors", [], squares)
    whole = cache.save_file

    def cut_short(tensors, file):
        whole(tensors, file)
        raise OSError("no room on the disk")

    monkeypatch.setattr(cache, "save_file", cut_short)
    with pytest.raises(OSError, match="no room"):
        training.made_once(tmp_path / "some.safetensors", lambda: {"a": torch.zeros(2)})
    assert not (tmp_path / "some.safetensors").exists()
    monkeypatch.setattr(cache, "save_file", whole)
    kept = training.made_once(tmp_path / "some.safetensors", lambda: {"a": torch.ones(2)})
    assert training.made_once(tmp_path / "some.safetensors", lambda: refuse([1]))["a"].equal(kept["a"])


def test_rows_of_other_items_are_not_taken_for_ours(tmp_path):
    file = tmp_path / "rows.safetensors"
    precomputed(file, [1, 2, 3], squares)
    with pytest.raises(ValueError, match="holds 3 rows for 2 items; delete it, or name another file"):
        precomputed(file, [1, 2], squares)


# Muon


def follow(optimiser, parameter, steps=10):
    """The weights after some steps along the same random gradients."""
    gradients = torch.Generator().manual_seed(1)
    for _ in range(steps):
        parameter.grad = torch.randn(parameter.shape, generator=gradients)
        optimiser.step()
    return parameter.detach()


def test_a_run_ends_where_on_step_raises_stop_iteration_and_says_so(tmp_path, capsys):
    model, seen = nn.Linear(1, 1), []

    def two_steps(step):
        seen.append(step.number)
        if step.number == 2:
            raise StopIteration

    ended = fit(model, [torch.ones(1, 1)], lambda m, b: m(b).square().mean(), 5, on_step=two_steps, folder=tmp_path)
    assert seen == [1, 2] and len(ended.losses) == 2 and not model.training
    assert "ended after step 2 of 5" in "".join(capsys.readouterr())
    again = fit(model, [torch.ones(1, 1)], lambda m, b: m(b).square().mean(), 5, folder=tmp_path, progress=False)
    assert len(again.losses) == 5 and again.losses[:2] == ended.losses


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (48, 48)])
def test_muon_steps_on_matrices_as_that_of_torch_does(shape):
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    ours, theirs = (nn.Parameter(start.clone()) for _ in range(2))
    reference = torch.optim.Muon([theirs], 1e-2, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    moved, expected = follow(Muon([ours], lr=1e-2), ours), follow(reference, theirs)
    assert (moved - expected).norm() < 0.02 * (expected - start).norm()  # bfloat16 rounds


def test_muon_steps_on_the_rest_as_adamw_does():
    ours, theirs = nn.Parameter(torch.ones(50)), nn.Parameter(torch.ones(50))
    reference = torch.optim.AdamW([theirs], 1e-2, betas=(0.9, 0.99), weight_decay=0.01)
    torch.testing.assert_close(follow(Muon([], [ours], lr=1e-2), ours), follow(reference, theirs))


def test_muon_takes_a_convolution_for_one_matrix_in_any_memory_layout():
    start = torch.randn(32, 8, 3, 3)
    whole, flat = nn.Parameter(start.clone().to(memory_format=torch.channels_last)), nn.Parameter(start.flatten(1))
    turned, reference = follow(Muon([whole]), whole), follow(Muon([flat]), flat)
    torch.testing.assert_close(turned.flatten(1), reference, atol=2e-3, rtol=0)


@pytest.mark.parametrize("shape", [(40, 40), (50, 40), (40, 60), (30, 400), (400, 30)])
@pytest.mark.parametrize(("precision", "near"), [("fp32", 1e-4), ("bf16", 0.04)])
def test_a_matrix_is_made_orthogonal_directly_or_by_way_of_its_gram_matrix(shape, precision, near, monkeypatch):
    monkeypatch.setattr(optimiser.runtime, "training_precision", lambda: precision)
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    u, lengths, v = torch.linalg.svd(matrices.double(), full_matrices=False)
    a, b, c = optimiser.NEWTON_SCHULZ
    lengths /= lengths.norm(dim=1, keepdim=True)
    for _ in range(5):
        lengths = a * lengths + b * lengths**3 + c * lengths**5
    expected = u * lengths[:, None] @ v
    assert (optimiser.orthogonal(matrices) - expected).norm() < near * expected.norm()


def test_muon_moves_every_direction_alike():
    strong_and_weak = torch.diag(torch.logspace(0, -2, 40)) @ torch.linalg.qr(torch.randn(40, 40)).Q
    lengths = torch.linalg.svdvals(optimiser.orthogonal(torch.stack([strong_and_weak, strong_and_weak.mT])).float())
    assert 0.6 < lengths.min() and lengths.max() < 1.25


def test_muon_is_given_the_matrices_and_leaves_embeddings_and_narrow_layers_to_adamw():
    parts = {"embed": nn.Embedding(50, 64), "conv_in": nn.Conv2d(64, 64, 3), "linear": nn.Linear(64, 64)}
    model = nn.ModuleDict(parts | {"conv": nn.Conv2d(8, 64, 3), "narrow": nn.Linear(64, 8)})
    matrices, others = (group["params"] for group in training.muon(model).param_groups)
    assert {tuple(p.shape) for p in matrices} == {(64, 64), (64, 8, 3, 3)}
    assert len(matrices) + len(others) == len(list(model.parameters()))


def test_muon_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="above 0"):
        Muon([nn.Parameter(torch.ones(40, 40))], lr=0)
    with pytest.raises(ValueError, match="closure"):
        Muon([nn.Parameter(torch.ones(40, 40))]).step(lambda: None)
