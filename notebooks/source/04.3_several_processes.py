# %% [markdown] lang="en"
# # 4.3 On several processes
#
# What does not fit into one machine is divided among several. There are four ways to divide a training step: by rows of
# the batch, by pieces of the weights, by columns of a matrix, by layers. This notebook takes the same steps in all of them,
# on two real processes that talk to each other, and each way must end with the weights of a single process. Two
# processes on one laptop are enough to see all of it: the messages, the bytes, the waiting, and what happens when one
# of them dies.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %%
import importlib
import inspect
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import torch
import torch.distributed as dist
from torch.nn import functional as F

from aigc_course import checks, parallel, plotting, runtime
from aigc_course.parallel import tensor

print(runtime.summary())

# %% [markdown] lang="en"
# ## What we are after
#
# Eight equal layers, of which each of two processes has four. A batch is cut into four micro-batches, numbered from 0,
# which follow one another through the layers and back. We let it run in several ways at once, and each process notes
# when it begins and ends a piece. Then, in the picture, follow number 0, and look for the empty places.

# %%
pipes = [(m, way) for way in ("gpipe", "1f1b") for m in (1, 2, 4, 8) if way == "gpipe" or m > 1]
asked = pipes * 2 + [(4, "alone"), (4, "data")]
answers = parallel.train_each([(parallel.tower_task(micro_batches=m), way) for m, way in asked], timeout=300)


def waiting(trained):
    return parallel.bubble(trained.spans) if trained.spans else 0


by_waiting = sorted(zip(asked, answers, strict=True), key=lambda pair: waiting(pair[1]), reverse=True)
towers = dict(by_waiting)  # the last of a key stays
print(f"{len(answers)} trainings; of each pipeline we keep the run with the least waiting")

# %% [markdown] lang="en"
# Other work on the machine adds to the waiting, hence the better of two runs. Both kinds of pipeline, with four
# micro-batches:

# %%
def work(trained, name):
    """What each rank did when, as rows of a timeline."""
    ranks = range(len(trained.held))
    spans = [[(s.kind, str(s.micro_batch), s.start, s.end) for s in trained.spans if s.rank == r] for r in ranks]
    return {f"{name}, rank {r}": each for r, each in zip(ranks, spans, strict=True)}


plotting.show_timeline(work(towers[4, "gpipe"], "GPipe") | work(towers[4, "1f1b"], "1F1B"))

# %% [markdown] lang="en"
# Rank 1 waits at the start, until micro-batch 0 comes; rank 0 waits in the middle, until it comes back. These empty
# places are the *bubble*. In the upper two rows all go forward before any goes back; in the lower two rank 1 turns at
# once. Both end with the same weights. We come back to this picture, but begin with a single message.
#
# ## The smallest thing that works
#
# `parallel.run` starts fresh Python processes, calls one function in each, and returns the answers. A process has a
# number, its *rank*. It knows nothing of this notebook: it can only import. A function of a cell is therefore refused,
# before anything starts.

# %%
try:
    parallel.run(lambda: dist.get_rank(), 2)
except ValueError as error:
    print(error)

# %% [markdown] lang="en"
# So we write the functions of a cell into a file, in a temporary folder, and import them from there, here and in all
# processes.

# %%
folder = tempfile.TemporaryDirectory()
sys.path.insert(0, folder.name)


def importable(name, *functions):
    """A module that holds these functions of the notebook."""
    head = "import os\nimport signal\n\nimport torch\nimport torch.distributed as dist\nfrom torch.nn import functional as F\n"
    Path(folder.name, f"{name}.py").write_text("\n\n".join([head, *map(inspect.getsource, functions)]))
    importlib.invalidate_caches()
    return importlib.import_module(name)


def told():
    mine = torch.tensor([1.0, 10.0]) * (dist.get_rank() + 1)
    x = mine.clone()
    dist.all_reduce(x)
    return dist.get_rank(), mine, x


first = importable("first", told)
print(Path(folder.name, "first.py").read_text())

# %% [markdown] lang="en"
# `all_reduce` is a message: each process gives a tensor, and all get the sum. Compare what the two had before and
# after.

# %%
with runtime.stopwatch() as hello:
    answers = parallel.run(first.told, 2, timeout=300)
for rank, mine, x in answers:
    print(f"rank {rank} had {mine.tolist()} and has {x.tolist()}")
    assert x.tolist() == [3, 30]
print(f"{hello.seconds:.1f} s")

# %% [markdown] lang="en"
# Most of these seconds are `import torch`, twice. From here on each run takes several things along.
#
# ## Rows of the batch: data parallel
#
# One `all_reduce` is all that this way needs.
#
# **Rule: a gradient is linear.** If $p$ processes have the same weights and equal shares of the rows, the gradient $g$
# of the mean over all rows is the mean of the gradients $g_r$ of the ranks:
#
# $$g=\frac1p\sum_{r=0}^{p-1} g_r \tag{1}$$
#
# Words come in captions of different lengths, and the loss of 2.1 is a mean over *tokens*. Rank $r$ has $n_r$ of them,
# its $g_r$ is the gradient of its own mean, and a plain mean of means counts a token of a short share for more than one
# of a long share. Each mean has to become a sum again:
#
# $$g=\frac{\sum_r n_r\,g_r}{\sum_r n_r} \tag{2}$$
#
# The model is a table: the row of a token holds the logits for the next token. Padding is −1.

# %%
def gradient(table, tokens):
    """Of the mean nats for each next token.  table: (V, V); tokens: (B, T), padded with -1."""
    table = table.clone().requires_grad_()
    logits = table[tokens[:, :-1].clamp(0)]  # (B, T - 1, V)
    F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=-1).backward()
    return table.grad


def averaged(table, batches):
    """For each batch, equation (1) and equation (2)."""
    found = []
    for tokens in batches:
        mine = tokens.chunk(dist.get_world_size())[dist.get_rank()]
        g, n = gradient(table, mine), (mine[:, 1:] >= 0).sum()
        plain, weighted, all_tokens = g.clone(), n * g, n.clone()
        for message in (plain, weighted, all_tokens):
            dist.all_reduce(message)
        found.append((plain / dist.get_world_size(), weighted / all_tokens))
    return found

# %% [markdown] lang="en"
# ### What a sum costs
#
# All ranks could send all they have to rank 0, which would choke. Instead they stand in a ring, and each sends to the
# next:
#
# 1. *reduce-scatter:* the tensor is cut into $p$ parts; in $p-1$ rounds each part travels around and collects. Then each
#    rank has the sum of one part.
# 2. *all-gather:* in $p-1$ more rounds the finished parts travel around.
#
# Of a tensor of $S$ bytes each round sends one part, $S/p$ bytes, so that a rank sends
#
# $$\text{all-reduce}=2\,\frac{p-1}{p}S,\qquad \text{reduce-scatter}=\text{all-gather}=\frac{p-1}{p}S \tag{3}$$
#
# which hardly depends on how many there are. Here is a sum without `all_reduce`:

# %%
def ring_sum(x):
    """The sum over all ranks, and the bytes that this one sent.  The length of x is a multiple of the ranks."""
    rank, p, sent = dist.get_rank(), dist.get_world_size(), 0
    parts = list(x.chunk(p))
    for turn in range(2 * (p - 1)):
        going, place = parts[(rank - turn) % p], (rank - turn - 1) % p
        coming = torch.empty_like(parts[place])
        message = dist.isend(going, (rank + 1) % p)
        dist.recv(coming, (rank - 1) % p)
        message.wait()
        parts[place] = parts[place] + coming if turn < p - 1 else coming
        sent += going.nbytes
    return torch.cat(parts), sent


def on_each_rank(table, batches, x):
    return averaged(table, batches), ring_sum(x * (dist.get_rank() + 1))  # every rank has another tensor

# %% [markdown] lang="en"
# One run for both. Six rows of made-up tokens, once all of one length and once not; rank 0 gets the upper two rows.

# %%
draw = runtime.generator(0)
table, x = torch.randn(6, 6, generator=draw).double(), torch.randn(300, generator=draw).double()
even = torch.randint(6, (6, 8), generator=draw)
uneven = even.masked_fill(torch.arange(8) >= torch.tensor([[3], [4], [7], [8], [5], [8]]), -1)
rows_and_ring = importable("rows_and_ring", gradient, averaged, ring_sum, on_each_rank)
answers = parallel.run(rows_and_ring.on_each_rank, 3, table, [even, uneven], x, timeout=300)
print(uneven)

# %% [markdown] lang="en"
# First the ring. Its sum must be that of `all_reduce`, six times $x$, and its bytes those of (3).

# %%
for _, (total, sent) in answers:
    torch.testing.assert_close(total, (1 + 2 + 3) * x)
    assert sent == 2 * (3 - 1) * x.nbytes // 3
print(f"a tensor of {x.nbytes:,} bytes, sent by each rank: {[sent for _, (_, sent) in answers]}")

# %% [markdown] lang="en"
# Then the gradients: how far each mean is from the one that a single process finds for all rows.

# %%
rows = []
for name, tokens, (plain, weighted) in zip(("equal", "unequal"), (even, uneven), answers[0][0], strict=True):
    counts = [(each[:, 1:] >= 0).sum().item() for each in tokens.chunk(3)]
    whole = gradient(table, tokens)
    rows.append([name, str(counts), *(f"{(whole - each).abs().max().item():.0e}" for each in (plain, weighted))])
    torch.testing.assert_close(weighted, whole)
    assert torch.allclose(plain, whole) == (len(set(counts)) == 1)
plotting.show_table(rows, ["shares", "tokens of the ranks", "mean of means, off by", "weighted, off by"])

# %% [markdown] lang="en"
# With equal shares both are right. With unequal ones the mean of means is another gradient, of a loss that nobody asked
# for. The course's `training.fit` averages by (1), as its loss functions return means; with captions of nearly the same
# length that is a small error, but it is one.
#
# PyTorch's `DistributedDataParallel` (DDP) does the same with two refinements: many gradients go in one message, and a
# message leaves while the backward pass still runs. The model is not divided at all: each rank has all weights, gradients
# and states.
#
# ## Pieces of the weights: sharded
#
# Equation (2) of 4.1 says $16N$ bytes for $N$ weights, on every rank; the gradients are $S=4N$ of them. But (3) has a
# gap in the middle: after the reduce-scatter each gradient is complete on one rank. That rank alone needs the
# optimiser's states for it, and can keep the weights, too. Others ask for them, a block at a time, and drop them again
# (ZeRO, Rajbhandari et al. 2020; PyTorch's `fully_shard`, FSDP2):
#
# $$\frac{16N}{p}\ \text{bytes held},\qquad \underbrace{\text{all-gather}}_{\text{forward}}+\underbrace{\text{all-gather}}_{\text{backward}}
# +\underbrace{\text{reduce-scatter}}_{\text{gradients}}=3\,\frac{p-1}{p}S\ \text{bytes sent} \tag{4}$$
#
# One and a half times the messages of data parallel, for a $p$-th of the memory.
#
# ## Columns of a matrix: tensor parallel
#
# Two ways to cut a product $xA$, on tensors small enough to see. By columns each rank makes some of the answers; by
# rows each makes a part of the sum of every answer.

# %%
x, A = torch.randn(2, 4, generator=draw).double(), torch.randn(4, 6, generator=draw).double()
by_columns = [x @ part for part in A.chunk(2, 1)]
by_rows = [xs @ part for xs, part in zip(x.chunk(2, 1), A.chunk(2, 0), strict=True)]
torch.testing.assert_close(torch.cat(by_columns, 1), x @ A)
torch.testing.assert_close(sum(by_rows), x @ A)
print("columns:", [tuple(y.shape) for y in by_columns], "  rows:", [tuple(y.shape) for y in by_rows])

# %% [markdown] lang="en"
# After columns one would have to gather; rows need an input that is cut already. So one follows the other (Shoeybi et
# al. 2019). Between them may stand any function that works on each number alone:
#
# $$\text{gelu}(xA)\,B=\text{gelu}\big(x\,[A_0\ A_1]\big)\begin{bmatrix}B_0\\B_1\end{bmatrix}
# =\underbrace{\text{gelu}(xA_0)\,B_0}_{\text{rank }0}+\underbrace{\text{gelu}(xA_1)\,B_1}_{\text{rank }1} \tag{5}$$
#
# One sum at the end, and one on the way back, of the size of the *activations*. Attention is cut the same way: each
# rank has some of the heads. In PyTorch a plan of names does it, and the weights become `DTensor`s, tensors that know
# their cut. This is the package's plan for one block of our language model:

# %%
plan = tensor.plan_of(parallel.language_task().model())
plotting.show_table([[name, style] for name, style in plan.items() if ".h.0." in name], ["layer", "split by"])

# %% [markdown] lang="en"
# ## All ways, one answer
#
# Now the proof. Three optimiser steps of AdamW, each way, on a small language model and on a small denoiser of the
# course's kind, and once more in a single process. A pipeline needs a chain of layers, and our U-Net is none: its skips
# jump over any cut.

# %%
language = {"language, float64": parallel.language_task(double=True), "language, float32": parallel.language_task()}
denoiser = {
    "denoiser, float64": parallel.denoising_task(batch=2, double=True),
    "denoiser, float32": parallel.denoising_task(batch=2),
    "denoiser, float32, SGD": parallel.denoising_task(batch=2, optimiser=torch.optim.SGD),
}
tasks, ways = language | denoiser, ["alone", "data by hand", "data", "sharded", "tensor", "gpipe", "1f1b"]
pairs = [(name, way) for name in language for way in ways]
pairs += [(name, way) for name in denoiser for way in ("alone", "data", "tensor")] + [("denoiser, float64", "sharded")]
found = parallel.train_each([(tasks[name], way) for name, way in pairs], timeout=500)
trained = dict(zip(pairs, found, strict=True))
print(f"{len(found)} trainings of {tasks[pairs[0][0]].steps} steps each, in one start of two processes")

# %% [markdown] lang="en"
# The largest difference of any weight from the single process. Compare the columns of one model before you compare the
# rows.

# %%
def off(name, way):
    return parallel.difference(trained[name, "alone"], trained[name, way]) if (name, way) in trained else None


rows = [[way, *(off(name, way) for name in tasks)] for way in ways[1:]]
assert all(off(name, way) < 1e-6 for name, way in pairs if "float64" in name or "SGD" in name)
assert all(each.apart == 0 for each in found)  # two copies of one weight never differ
plotting.show_table([[way, *("" if n is None else f"{n:.0e}" for n in row)] for way, *row in rows], ["way", *tasks])

# %% [markdown] lang="en"
# An empty place was not run, or cannot be: the denoiser is no chain. In float64 all ways give the weights of one
# process. So they are the same mathematics; what is left in float32 is rounding, as a sum in another order rounds
# differently. But why is *denoiser, float32* so much worse than *denoiser, float32, SGD*, the same model in the same
# float32? AdamW's first step (2.1) from a gradient $g$ at the rate $\eta$ is
#
# $$\Delta w=-\eta\,\frac{g}{|g|+\epsilon} \tag{6}$$
#
# which forgets how large $g$ was. If the true gradient is 0, then $g$ is nothing but rounding, and AdamW makes a
# step of it all the same. SGD multiplies by $g$ and stays put. Here are the weights that are furthest off, and the size of their
# gradients.

# %%
one, other = (trained["denoiser, float32", way].weights for way in ("alone", "data"))
far = {name: (one[name] - other[name]).abs().max().item() for name in one}
task = tasks["denoiser, float32"]
torch.manual_seed(0)
model = task.model()
task.loss(model(**task.inputs), task.targets).backward()
size = {name: parameter.grad.abs().mean().item() for name, parameter in model.named_parameters()}
typical = sorted(size.values())[len(size) // 2]
rows = [[name, far[name], far[name] / task.learning_rate, size[name] / typical] for name in sorted(far, key=far.get)[-4:]]
assert all(row[-1] < 1e-3 for row in rows)
plotting.show_table(rows, ["weight", "off by", "in steps of the rate", "its gradient ÷ a typical one"])

# %% [markdown] lang="en"
# They are biases just before a normalisation. This narrow denoiser normalises each of their channels alone, which takes
# a constant away again: the loss does not depend on them, and their true gradient is 0. Nothing is broken, and no
# picture changes. But this is why equality is *proven* in float64, and why two float32 runs on different numbers of
# machines part slowly even if both are right.
#
# ## What each rank holds
#
# Counted by the storages of 4.1 on each rank after the last step, in KiB, for the language model in float32. Look down
# the columns: what does each way divide, and what does it copy?

# %%
kinds = ["parameters", "gradients", "optimiser"]
held = {way: trained["language, float32", way].held for way in ("alone", "data", "sharded", "tensor", "1f1b")}
whole = held["alone"][0]
assert all(each == whole for each in held["data"])
assert all(abs(sum(each[kind] for each in held["sharded"]) / whole[kind] - 1) < 0.01 for kind in kinds)
assert all(whole[kind] / 2 < each[kind] < whole[kind] for way in ("tensor", "1f1b") for each in held[way] for kind in kinds)
table = torch.tensor([[each[kind] / 1024 for kind in kinds for each in ranks] for ranks in held.values()])
plotting.show_heatmap(table.round(), list(held), [name for kind in kinds for name in (f"{kind}, rank 0", "rank 1")])

# %% [markdown] lang="en"
# Data parallel copies everything. Sharding halves everything, to the last piece. Tensor parallel halves the large
# matrices and copies norms, positions and the table of words. The pipeline divides by layers; together its stages hold
# more than the model, because a GPT-2 reads and writes with *one* table, which the first stage and the last both need.
#
# This is what stays between two steps; within one, sharding puts a block at a time together. Activations are another
# matter: by (3) of 4.1 data parallel and sharding halve them, as each rank has half of the rows. That is why a batch
# too large calls for one way and a model too large for another.
#
# ### What each rank sends
#
# Linux counts the bytes that a process writes, to sockets, too. Formulas: (3) for data parallel; (4) for sharding; two
# sums of activations per block forward, and two back, for tensor parallel; for the pipeline one activation at the cut,
# and the sum of the shared table's gradient.

# %%
task, weights = tasks["language, float32"], trained["language, float32", "alone"].weights
S, shared = 4 * sum(w.numel() for w in weights.values()), 4 * weights["transformer.wte.weight"].numel()
width, layers = weights["transformer.wpe.weight"].shape[1], sum(name.endswith("ln_1.bias") for name in weights)
activation = 4 * task.inputs.numel() * width
formula = dict(zip(ways[2:], (S, 1.5 * S, 4 * layers * activation, activation + shared, activation + shared), strict=True))
rows = [[way, formula[way] / 1024, *(n / 1024 for n in trained["language, float32", way].sent)] for way in ways[2:]]
for way, wanted, *sent in rows:
    assert all(1 < n / wanted < (1.4 if way == "sharded" else 1.1) for n in sent)
plotting.show_table([[*row, "", ""][:4] for row in rows], ["KiB in a step", "by formula", "rank 0 sent", "rank 1 sent"])

# %% [markdown] lang="en"
# The formulas hold, but for sharding: gloo, which carries the messages, needs more of them for a reduce-scatter than a
# ring does. What does *not* occur in a formula matters most. Data parallel sends gradients, and sharding sends weights
# and gradients: as many bytes as the model is large, or more, however small the batch. Tensor parallel sends only
# activations, and so would the pipeline without the shared table; but tensor parallel does so in every block, and all
# wait for it. So it is used within one machine, where wires are short, and the pipeline between machines.
#
# ## The dial: micro-batches
#
# Back to the first picture. **Rule: a stage begins a micro-batch one turn after the stage before it.** So with $p$ equal
# stages the last one starts $p-1$ turns late, and on the way back the first one waits as long. Of $m+p-1$ turns in
# either direction a stage works in $m$, and is idle in the rest (GPipe, Huang et al. 2019):
#
# $$\text{bubble}=\frac{p-1}{m+p-1} \tag{7}$$
#
# Forward turns of equal length, written down as the rule says, and measured as the real ones will be:

# %%
def turns(p, m):
    return [parallel.Span(rank, "forward", i, rank + i, rank + i + 1) for rank in range(p) for i in range(m)]


for p, m in ((2, 4), (4, 4), (4, 32)):
    print(f"{p} stages, {m} micro-batches: {parallel.bubble(turns(p, m)):.4f}, formula {(p - 1) / (m + p - 1):.4f}")
    assert abs(parallel.bubble(turns(p, m)) - (p - 1) / (m + p - 1)) < 1e-9

# %% [markdown] lang="en"
# Now three values of the dial, from the time stamps of the first cell:

# %%
plotting.show_timeline({row: spans for m in (1, 2, 8) for row, spans in work(towers[m, "gpipe"], f"m = {m}").items()})

# %% [markdown] lang="en"
# The time stamps also hold whatever else the machine does. The *order* in which a stage took its pieces does not. So we keep
# each stage's order as noted in the run, let every piece last one turn and a message none, and measure again: this must
# be the formula, however busy the machine is. Look how the gap between that and the clock changes with $m$.

# %%
def in_equal_turns(spans):
    free, over = {}, {}
    for each in sorted(spans, key=lambda each: each.start):
        sender = each.rank + (-1 if each.kind == "forward" else 1)
        start = max(free.get(each.rank, 0), over.get((sender, each.kind, each.micro_batch), 0))
        free[each.rank] = over[each.rank, each.kind, each.micro_batch] = start + 1
        yield parallel.Span(each.rank, each.kind, each.micro_batch, start, start + 1)


rows = []
for (m, way), tower in sorted((key, tower) for key, tower in towers.items() if tower.spans):
    rows.append([way, m, 1 / (m + 1), parallel.bubble(list(in_equal_turns(tower.spans))), waiting(tower)])
    assert abs(rows[-1][3] - rows[-1][2]) < 1e-9 and (m > 1 or rows[-1][4] > 0.499)
plotting.show_table(rows, ["way", "micro-batches m", "formula (7)", "in equal turns", "by the clock"])

# %% [markdown] lang="en"
# With one micro-batch two processes take turns, and nothing is gained but memory. More of them fill the gap, in equal
# turns for both ways alike. The formula knows no messages, no small products that run less well, and no other work on the machine, all
# of which the clock sees; each new micro-batch adds a message, so there is an end to it.
#
# More micro-batches have another price: each that went forward and has not come back keeps its activations. How many at
# once?

# %%
kept = {key: parallel.in_flight(each.spans) for key, each in towers.items() if each.spans}
rows = [[m, *kept[m, "gpipe"], *kept[m, "1f1b"]] for m in (2, 4, 8)]
assert all(kept[m, "gpipe"] == (m, m) and kept[m, "1f1b"] == (2, 1) for m, *_ in rows)
plotting.show_table(rows, ["micro-batches", "GPipe, rank 0", "GPipe, rank 1", "1F1B, rank 0", "1F1B, rank 1"])

# %% [markdown] lang="en"
# GPipe keeps all of them, everywhere. *One forward, one backward* (1F1B, Narayanan et al. 2021) turns as soon as it
# can: rank $r$ keeps at most $p-r$, one for each stage from here on, whatever $m$ is. The bubble is the same, by (7).
# So $m$ may be large.
#
# ## Where it fails
#
# **One dies.** The others wait for its message, for ever if nobody looks. In the function below rank 1 kills itself, as
# the system does to a process that takes too much memory, while rank 0 waits at a barrier. Look at the sentence, and at
# who is left.

# %%
def lost():
    if dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


before = psutil.Process().children(recursive=True)
with runtime.stopwatch() as death:
    try:
        parallel.run(importable("death", lost).lost, 2, timeout=300)
    except RuntimeError as error:
        print(error)
left = [each for each in psutil.Process().children(recursive=True) if each not in before]
print(f"{death.seconds:.1f} s, and {hello.seconds:.1f} s where nobody died; processes left: {len(left)}")
assert not left

# %% [markdown] lang="en"
# **A model is no chain.** A pipeline cuts between layers, and a U-Net has skips across every cut:

# %%
try:
    parallel.chain(tasks["denoiser, float32"].model())
except ValueError as error:
    print(error)

# %% [markdown] lang="en"
# **It does not pay.** The tower's three steps in this process alone, and on two processes, which take half of the rows,
# or half of the layers, each. The last column adds the time to start two processes at all.

# %%
mine = min((parallel.alone(parallel.tower_task()) for _ in range(3)), key=lambda each: each.seconds)
assert max(parallel.difference(mine, each) for each in towers.values()) < 1e-5
rows = [[f"one process, threads: {torch.get_num_threads()}", mine.seconds, mine.seconds]]
for name, way in (("data parallel", "data"), ("1F1B", "1f1b")):
    seconds = towers[4, way].seconds
    rows.append([f"two processes, {name}", seconds, seconds + hello.seconds])
plotting.show_table(rows, ["what", "seconds for the steps", "with the start"])

# %% [markdown] lang="en"
# One process can use all cores already, without a message. Two on the same laptop divide the same cores, and start and
# talk besides. It pays where each brings a processor, and memory, of its own.
#
# ## The same on two cards
#
# `parallel.run` gives each process a card if there are as many cards as processes, and carries messages by `nccl`
# instead of gloo; the cells above stay as they are. No machine with two cards was at hand for this notebook, so that
# path is untested.
#
# For real trainings one starts the whole script several times, with `accelerate launch`. The course's `training.fit`
# notices it: each process takes an equal share of every batch, gradients are averaged (1), and rank 0 prints and saves.
# We run the script that trained our language model, for three steps, into a temporary folder. It ends with a line for
# each language, in nats a token: how surprised the model is, the least that the grammar allows, and how far the model
# is above it, with an interval.

# %%
data = Path(folder.name, "data", "models")
shutil.copytree(runtime.data_dir() / "models" / "tokenizer", data / "tokenizer")
script = Path(parallel.__file__).parents[2] / "scripts" / "train_lm.py"
launch = "-m accelerate.commands.launch --cpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"
dials = "--steps 3 --batch 4 --count 4 --precision fp32 --folder".split()
command = [sys.executable, *launch.split(), "--main_process_port", "0", str(script), *dials, str(data.parent / "run")]
settings = {"AIGC_DATA": str(data.parent), "PYTHONPATH": str(script.parents[1]), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
ran = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=True, timeout=500)
print(ran.stdout)
assert ran.stdout.count("| en |") == 1 and (data / "lm" / "model.safetensors").is_file()

# %% [markdown] lang="en"
# Each line stands there once, though two processes ran the script. After three steps the model is about as surprised as
# one that has learnt nothing; the shipped one took many more. On two cards one would leave `--cpu` out; that, too, is
# untested here.
#
# ## Exercises
#
# **4.3.1** (4 minutes) Equation (2): one gradient from the ranks' `gradients`, each of a mean over that rank's tokens,
# and the `counts` of these tokens.

# %% tags=["exercise"]
def weighted_mean(gradients, counts):
    return sum(n * g for g, n in zip(gradients, counts, strict=True)) / sum(counts)  # solution


checks.check_weighted_mean(weighted_mean)

# %% [markdown] lang="en"
# **4.3.2** (7 minutes) Equation (5), with biases: what rank `rank` of `p` computes, so that the sum over all ranks is
# `F.gelu(x @ A + a) @ B + b`. Use only its own columns of `A`, numbers of `a` and rows of `B`. Who adds `b`?

# %% tags=["exercise"]
def part(x, A, a, B, b, rank, p):
    # solution: return ...
    hidden = F.gelu(x @ A.chunk(p, 1)[rank] + a.chunk(p)[rank])
    return hidden @ B.chunk(p)[rank] + (b if rank == 0 else 0)
    # end solution


checks.check_part(part)

# %% [markdown] lang="en"
# **4.3.3** (10 minutes) 1F1B: in what order does stage `rank` of `stages` work on `m` micro-batches? Return a list of
# `("F", i)` and `("B", i)`. First some forwards, as many as stages come after this one (or `m`, if that is less); then
# one forward and one backward in turn; then the backwards that are left.

# %% tags=["exercise"]
def order(rank, stages, m):
    # solution: return ...
    warm = min(m, stages - 1 - rank)
    steps = [("F", i) for i in range(warm)]
    for i in range(warm, m):
        steps += [("F", i), ("B", i - warm)]
    return steps + [("B", i) for i in range(m - warm, m)]
    # end solution


checks.check_order(order)

# %% [markdown] lang="en"
# ## Recap
#
# 1. Data parallel: half of the rows each, one sum of gradients (1); with unequal shares weigh by tokens (2). It divides activations only.
# 2. Sharding divides all of $16N$ for half as many messages again (4); tensor parallel divides matrices, columns then rows (5).
# 3. A pipeline divides layers; it idles $(p-1)/(m+p-1)$ of the time (7), and 1F1B keeps no more micro-batches than there are stages.
# 4. All give the weights of one process, proven in float64; in float32 AdamW turns the rounding of a zero gradient into steps (6).
#
# **Next:** 4.4 leaves training and makes pictures in less memory.
#
# ### References
#
# - Huang et al. 2019, *GPipe: efficient training of giant neural networks using pipeline parallelism*, arXiv 1811.06965.
# - Shoeybi et al. 2019, *Megatron-LM: training multi-billion parameter language models using model parallelism*, arXiv 1909.08053.
# - Rajbhandari et al. 2020, *ZeRO: memory optimizations toward training trillion parameter models*, arXiv 1910.02054.
# - Li et al. 2020, *PyTorch distributed: experiences on accelerating data parallel training*, arXiv 2006.15704.
# - Narayanan et al. 2021, *Efficient large-scale language model training on GPU clusters using Megatron-LM*, arXiv 2104.04473.
#
# The last cell says what memory all this took on this machine, in the notebook's own process.

# %%
folder.cleanup()
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
