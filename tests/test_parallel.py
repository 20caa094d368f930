"""Several processes: each way gives the weights of one, holds its share, and never leaves a process behind."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
import torch.distributed as dist
from torch import nn

from aigc_course import parallel
from aigc_course.parallel import parcel, pipeline, processes, tensor
from aigc_course.parallel.ways import Trained

SHARED = ("data", "data by hand", "sharded")
CUT = ("gpipe", "1f1b")
EVERY = (*SHARED, "tensor", *CUT)


# --- what the processes run -------------------------------------------------------------------------------


def mlp(width: int = 16) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 4))


def plain_task(**dials) -> parallel.Task:
    x = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    dials = {"plan": {"0": "columns", "2": "rows"}, "double": True} | dials
    return parallel.Task(mlp, x, x[:, :4].sin(), parallel.squared_error, **dials)


def greet(x, more):
    """Adds over all ranks; gives back what came in."""
    print("at work")
    dist.all_reduce(x)
    return {"sum": x, "rank": dist.get_rank(), "more": more}


def several(trainings, x, more):
    return greet(x, more), parallel.ways._train_each(trainings)


def die():
    """Rank 1 is killed while rank 0 waits for it."""
    if dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


def fail():
    raise ValueError(f"at {time.time()}\nand a second line")


def sleep(file):
    Path(file).write_text(str(os.getpid()))
    time.sleep(600)


# --- one run, many facts ----------------------------------------------------------------------------------


TASKS = {
    "plain": plain_task(optimiser=torch.optim.SGD, learning_rate=0.5),  # a sum of gradients is not their mean
    "language": parallel.language_task(16, 2, double=True),
    "pictures": parallel.picture_task(16, 2, batch=2, double=True),
    "denoising": parallel.denoising_task((16, 32), batch=2, double=True),
}
PAIRS = [
    *((name, way) for name in ("plain", "language") for way in EVERY),
    *(("pictures", way) for way in ("data", "sharded")),
    *(("denoising", way) for way in ("sharded", "tensor")),
]


@pytest.fixture(scope="session")
def together():
    """What two processes said and trained."""
    trainings = [(TASKS[name], way) for name, way in PAIRS]
    more = [
        1,
        2.5,
        "three",
        None,
        (True, {4: 5}),
        mlp,
        partial(mlp, 3),
        torch.ones(2, 3).T,
        torch.ones((), dtype=torch.bfloat16),
    ]
    answers = parallel.run(several, 2, trainings, torch.ones(3), more, timeout=300)
    trained = dict(zip(PAIRS, (parallel.ways._joined(each) for each in zip(*(each[1] for each in answers)))))
    return [each[0] for each in answers], trained, more


@pytest.fixture(scope="session")
def apart():
    return {name: parallel.alone(task) for name, task in TASKS.items()}


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_every_way_gives_the_weights_and_losses_of_one_process(together, apart, pair):
    _, trained, _ = together
    name, _ = pair
    near = 1e-6 if name == "denoising" else 1e-9  # where a gradient is nearly zero, AdamW enlarges its rounding
    assert parallel.difference(apart[name], trained[pair]) < near
    assert trained[pair].apart == 0
    assert trained[pair].losses == pytest.approx(apart[name].losses, abs=near)
    assert apart[name].losses[-1] < apart[name].losses[0]


@pytest.mark.parametrize("name", ["plain", "language", "pictures"])
def test_data_parallel_copies_all(together, apart, name):
    _, trained, _ = together
    (whole,) = apart[name].held
    for held in trained[name, "data"].held:
        assert held["parameters"] == whole["parameters"] and held["optimiser"] == whole["optimiser"]


@pytest.mark.parametrize("name", TASKS)
def test_sharding_halves_all(together, apart, name):
    _, trained, _ = together
    (whole,) = apart[name].held
    for kind in ("parameters", "optimiser"):
        ours = [held[kind] for held in trained[name, "sharded"].held]
        assert sum(ours) == pytest.approx(whole[kind], rel=0.01, abs=64)
        assert max(ours) - min(ours) <= 0.01 * whole[kind]


def test_bytes_are_those_of_the_weights(apart):
    (held,) = apart["language"].held
    size = 8 * sum(weight.numel() for weight in apart["language"].weights.values())
    assert held["parameters"] == held["gradients"] == size
    assert 2 * size < held["optimiser"] < 2.01 * size


def test_tensor_parallel_halves_what_it_splits_and_copies_the_rest(together, apart):
    _, trained, _ = together
    model = mlp().double()
    split = sum(p.numel() for p in (model[0].weight, model[0].bias, model[2].weight))
    whole = sum(p.numel() for p in model.parameters())
    assert [held["parameters"] for held in trained["plain", "tensor"].held] == [8 * (whole - split // 2)] * 2


@pytest.mark.parametrize("way", CUT)
def test_the_stages_together_hold_the_model_and_a_shared_table_twice(together, apart, way):
    _, trained, _ = together
    for name, twice in (("plain", 0), ("language", 8 * apart["language"].weights["transformer.wte.weight"].numel())):
        (whole,) = apart[name].held
        assert sum(held["parameters"] for held in trained[name, way].held) == whole["parameters"] + twice


@pytest.mark.parametrize("way", CUT)
def test_every_micro_batch_is_timed_on_every_rank(together, way):
    _, trained, _ = together
    spans = trained["language", way].spans
    told = {(span.rank, span.kind, span.micro_batch) for span in spans}
    assert told == {(r, kind, m) for r in (0, 1) for kind in ("forward", "backward") for m in range(4)}
    assert len(spans) == 16 and min(span.start for span in spans) == 0
    at = {(span.rank, span.kind, span.micro_batch): span for span in spans}
    for m in range(4):
        assert at[0, "forward", m].end <= at[1, "forward", m].start + 1e-3
        assert at[1, "backward", m].end <= at[0, "backward", m].start + 1e-3
    assert 0 < parallel.bubble(spans) < 1


def test_gpipe_goes_forward_with_all_before_it_turns_and_1f1b_turns_at_once(together):
    _, trained, _ = together
    order = {way: [(s.kind, s.micro_batch) for s in trained["plain", way].spans if s.rank == 1] for way in CUT}
    assert order["gpipe"][:4] == [("forward", m) for m in range(4)]
    assert parallel.in_flight(trained["plain", "gpipe"].spans) == (4, 4)
    assert parallel.in_flight(trained["plain", "1f1b"].spans) == (2, 1)
    assert order["1f1b"] == [(kind, m) for m in range(4) for kind in ("forward", "backward")]


def test_what_is_sent_comes_back(together, capsys):
    answers, _, more = together
    for rank, answer in enumerate(answers):
        torch.testing.assert_close(answer["sum"], torch.full((3,), 2.0))
        assert answer["rank"] == rank
        back = answer["more"]
        assert back[:6] == more[:6] and type(back[4]) is tuple
        assert (back[6].func, back[6].args) == (mlp, (3,))
        assert torch.equal(back[7], more[7]) and torch.equal(back[8], more[8]) and back[8].dtype == torch.bfloat16


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what a process writes to a socket")
def test_what_is_sent_is_gradients_or_weights_or_what_passes_between_layers(together, apart):
    _, trained, _ = together
    assert apart["language"].sent[0] < 1000
    size = apart["language"].held[0]["gradients"]
    assert trained["language", "data"].sent == pytest.approx([size] * 2, rel=0.03)  # 2 (p - 1) / p of it
    tensors = len(trained["language", "data"].weights)
    overhead = [sent - size for sent in trained["language", "data by hand"].sent]  # a message for each tensor
    assert min(overhead) > 100 * tensors and max(overhead) < 1000 * tensors
    assert min(trained["language", "sharded"].sent) > 1.2 * size
    table = 8 * apart["language"].weights["transformer.wte.weight"].numel()
    passed = 8 * 8 * parallel.tasks.TOKENS * 16  # float64, rows, places, width
    for way in CUT:
        assert trained["language", way].sent == pytest.approx([table + passed] * 2, rel=0.15)


# --- deaths -----------------------------------------------------------------------------------------------


def children() -> list:
    return [each for each in psutil.Process().children(recursive=True) if each.is_running()]


def test_a_rank_that_is_killed_is_told_in_one_sentence():
    with pytest.raises(RuntimeError) as caught:
        parallel.run(die, 2)
    assert str(caught.value) == (
        "rank 1 of 2 was killed by SIGKILL (too little memory, perhaps); the others were ended"
    )
    assert not children()


def test_what_a_rank_raises_is_told_in_one_sentence_within_seconds():
    with pytest.raises(RuntimeError) as caught:
        parallel.run(fail, 1)
    now, sentence = time.time(), str(caught.value)
    assert sentence.startswith("rank 0 of 1 raised ValueError: at ") and sentence.endswith(")")
    assert "test_parallel.py, line" in sentence and "second" not in sentence
    assert now - float(sentence.split("at ")[1].split()[0]) < 10


def fake(monkeypatch, lines: str) -> None:
    """Processes that begin at once: no torch, only these lines; they see folder `f` and rank `r`."""
    start = "import os, sys, time, pathlib; f, r = pathlib.Path(sys.argv[1]), int(sys.argv[2])\n" + lines
    monkeypatch.setattr(processes, "START", start)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("os._exit(4)", "rank 0 of 2 ended with code 4 before its work was done; the others were ended"),
        ("pass", "rank 0 of 2 ended with code 0 before its work was done; the others were ended"),
        ("1 / 0", "rank 0 of 2 ended with code 1 before its work was done: ZeroDivisionError: division by zero; the"),
        ("if r: os.kill(os.getpid(), 11)\ntime.sleep(60)", "rank 1 of 2 was killed by SIGSEGV; the others were ended"),
    ],
)
def test_a_process_that_says_nothing_is_told_too(monkeypatch, lines, sentence):
    fake(monkeypatch, lines)
    with pytest.raises(RuntimeError) as caught:
        parallel.run(sleep, 2, "nowhere")
    assert str(caught.value).startswith(sentence)
    assert not children()


def test_the_first_to_speak_is_named_and_not_the_one_that_lost_its_peer(monkeypatch):
    told = json.dumps({"sentence": "raised ValueError: first", "time": 2.0})
    lost = json.dumps({"sentence": "raised RuntimeError: [gloo/transport/tcp] Connection closed", "time": 1.0})
    lines = f"(f / f'error-{{r}}.json').write_text([{lost!r}, {told!r}][r]); os._exit(1)"
    fake(monkeypatch, lines)
    with pytest.raises(RuntimeError, match="^rank 1 of 2 raised ValueError: first; the others were ended$"):
        parallel.run(sleep, 2, "nowhere")


def test_a_rank_that_returns_while_another_waits_is_told(monkeypatch):
    lost = json.dumps({"sentence": "raised RuntimeError: [gloo/transport/tcp] Connection closed", "time": 2.0})
    fake(monkeypatch, f"(f / ['error-0.json', 'result-1.json'][r]).write_text({lost!r}); os._exit(1 - r)")
    with pytest.raises(RuntimeError, match="^rank 0 of 2 waited for one that had returned"):
        parallel.run(sleep, 2, "nowhere")


def test_one_that_hangs_is_ended_with_all_that_it_started(monkeypatch):
    fake(monkeypatch, "import subprocess; subprocess.run(['sleep', '600'])")
    with pytest.raises(TimeoutError, match="no answer from rank 0 and 1 of 2 after 0.5 seconds, and all were ended"):
        parallel.run(sleep, 2, "nowhere", timeout=0.5)
    assert not children()


def test_an_interrupt_ends_all(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    fake(monkeypatch, "time.sleep(600)")
    monkeypatch.setattr(processes, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        parallel.run(sleep, 2, "nowhere")
    assert not children()


def test_what_the_processes_print_is_printed_with_their_rank(monkeypatch, capsys):
    fake(monkeypatch, "print('at work', flush=True); os._exit(1)")
    with pytest.raises(RuntimeError):
        parallel.run(sleep, 2, "nowhere")
    assert capsys.readouterr().out == "[rank 0] at work\n[rank 1] at work\n"


def test_a_process_leaves_when_its_parent_is_killed(tmp_path):
    parcel.write(tmp_path / "task", (sleep, [str(tmp_path / "pid")]))
    command = [sys.executable, "-c", processes.START, str(tmp_path), "0", "1", "60"]
    code = f"import subprocess as s, time; p = s.Popen({command}, stdin=s.PIPE); time.sleep(600)"
    found = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", code], env=found)
    end = time.monotonic() + 120
    while not (tmp_path / "pid").exists() and time.monotonic() < end:
        time.sleep(0.05)
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    child.wait(timeout=10)


# --- what is refused --------------------------------------------------------------------------------------


def test_what_cannot_be_imported_is_refused_before_anything_starts():
    def inner():
        return 1

    with pytest.raises(ValueError, match="cannot import a lambda: write it at the top of a module"):
        parallel.run(lambda: 1)
    with pytest.raises(ValueError, match="cannot import .*inner: write it at the top of a module"):
        parallel.run(inner)
    inner.__module__ = "__main__"  # as a function of a notebook's cell
    inner.__qualname__ = "inner"
    with pytest.raises(ValueError, match="cannot import inner"):
        parallel.run(inner)
    with pytest.raises(ValueError, match="no function 'test_parallel:nobody' to import"):
        parallel.run("test_parallel:nobody")
    with pytest.raises(TypeError, match="a Linear cannot travel between processes: .*the function that makes it"):
        parallel.run(greet, 2, nn.Linear(2, 2))


def test_counts_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="processes=0: ask for at least one"):
        parallel.run(greet, 0)
    with pytest.raises(ValueError, match="timeout=0: allow more"):
        parallel.run(greet, 2, timeout=0)
    with pytest.raises(ValueError, match="no way 'magic': choose one of alone, data"):
        parallel.train(plain_task(), "magic")
    with pytest.raises(ValueError, match="steps=0: ask for at least one"):
        plain_task(steps=0)
    with pytest.raises(ValueError, match="there are no spans"):
        parallel.bubble([])


def test_a_share_is_an_equal_part_of_every_tensor():
    batch = {"x": torch.arange(6), "more": [torch.arange(12).view(6, 2), torch.tensor(7)], "name": "batch"}
    parts = [parallel.share(batch, rank, 3) for rank in range(3)]
    assert torch.equal(torch.cat([part["x"] for part in parts]), batch["x"])
    assert torch.equal(torch.cat([part["more"][0] for part in parts]), batch["more"][0])
    assert parts[2]["more"][1] == 7 and parts[2]["name"] == "batch"
    with pytest.raises(ValueError, match="a batch of 6 cannot be dealt evenly to 4: choose a multiple of 4"):
        parallel.share(batch, 0, 4)


def test_a_model_that_is_no_chain_is_not_cut():
    with pytest.raises(ValueError, match="UNet2DConditionModel is not known as a chain of layers"):
        parallel.chain(TASKS["denoising"].model())
    with pytest.raises(ValueError, match="1 layers cannot make 2 stages"):
        pipeline.stages(nn.Sequential(nn.Linear(2, 2)), 2)
    model = TASKS["language"].model()
    model.set_attn_implementation("eager")
    with pytest.raises(ValueError, match="a block alone knows no mask"):
        parallel.chain(model)


def test_the_stages_of_a_tower_cost_the_same():
    task = parallel.tower_task(8, 4, batch=2)
    sizes = [sum(p.numel() for p in stage.parameters()) for stage in pipeline.stages(task.model(), 2)]
    assert sizes == [2 * (8 * 8 + 8)] * 2
    assert task.model()(task.inputs).shape == task.targets.shape


def test_a_chain_computes_what_the_model_does():
    torch.manual_seed(0)
    model, tokens = TASKS["language"].model().eval(), TASKS["language"].inputs
    through = nn.Sequential(*pipeline.stages(model, 3))
    torch.testing.assert_close(through(tokens), model(tokens).logits)


def test_the_blocks_of_a_model_are_its_repeated_layers():
    assert [type(block).__name__ for block in parallel.blocks(TASKS["language"].model())] == ["GPT2Block"] * 2
    assert len(parallel.blocks(mlp())) == 3  # an activation has nothing to shard


class Row:
    """As many processes as asked for, as far as `divide` looks before it splits."""

    def __init__(self, processes):
        self.size = lambda: processes


@pytest.mark.parametrize(
    ("model", "plan", "sentence"),
    [
        (mlp, {"0": "diagonal"}, "the plan says 'diagonal' for '0': choose 'columns' or 'rows'"),
        (mlp, {"1": "rows"}, "'1' is a GELU: a plan splits Linear layers"),
        (mlp, {"9": "rows"}, "the plan names '9', which is no layer here"),
        (partial(mlp, 15), {"0": "columns"}, "15 columns of '0' cannot be dealt to 2 processes"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(model, plan, sentence):
    with pytest.raises(ValueError, match=sentence):
        tensor.divide(model(), plan, Row(2))


def test_heads_are_dealt_whole():
    model = TASKS["language"].model()  # 4 heads, width 16
    with pytest.raises(ValueError, match="4 heads of attention cannot be dealt to 8 processes"):
        tensor.divide(model, tensor.plan_of(model), Row(8))
    with pytest.raises(ValueError, match="Sequential has no layer with a name that we know: say how to split it"):
        tensor.plan_of(mlp())


def test_regrouped_rows_come_back():
    rows = torch.arange(24).view(12, 2)
    moved = tensor._regroup(rows, 3, 2)
    assert moved[:, 0].tolist() == [0, 2, 8, 10, 16, 18, 4, 6, 12, 14, 20, 22]
    assert torch.equal(tensor._regroup(moved, 2, 3), rows)


def test_only_trainings_of_one_model_are_compared():
    one, other = (Trained((), {name: torch.ones(1)}, (), 0.0) for name in "ab")
    with pytest.raises(ValueError, match="only one of these trainings has a weight 'a'"):
        parallel.difference(one, other)
    assert parallel.difference(one, Trained((), {"a": torch.tensor([3.0])}, (), 0.0)) == 2


def test_the_bubble_of_a_drawn_pipeline_is_the_formula():
    spans = [parallel.Span(rank, "forward", m, rank + m, rank + m + 1) for rank in range(3) for m in range(4)]
    assert parallel.bubble(spans) == pytest.approx((3 - 1) / (4 + 3 - 1))


def test_a_parcel_refuses_what_would_have_to_be_pickled(tmp_path):
    with pytest.raises(TypeError, match="a set cannot travel between processes"):
        parcel.write(tmp_path / "x", {"a": {1, 2}})
    assert not (tmp_path / "x.json").exists()
