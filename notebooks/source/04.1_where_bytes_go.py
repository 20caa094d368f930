# %% [markdown] lang="en"
# # 4.1 Where the bytes go
#
# A training step that does not fit stops with one line: *out of memory*. This notebook says what was in the memory. We
# predict each part by a formula, count it while the step runs, and then predict the whole step without running it, to
# the byte. Only after that do the next notebooks make it smaller.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %%
import subprocess
import sys
import weakref
from functools import partial

import numpy as np
import torch
from accelerate.commands.estimate import estimate_training_usage
from accelerate.utils.modeling import calculate_maximum_sizes
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from aigc_course import checks, diffusion, losses, memory, models, plotting, runtime

print(runtime.summary())

# %% [markdown] lang="en"
# ## What we are after
#
# One training step of the course's denoiser, a batch of 16. Bytes depend on the shapes of tensors and not on what stands
# in them, so noise of the right shape does for a batch.

# %%
pipe = models.load("text-to-image")
schedule, draw = diffusion.Schedule.from_scheduler(pipe.scheduler), runtime.generator(0)


def denoising(model, batch):
    return losses.denoising(model, *batch, schedule, runtime.generator(0))


def latents(n):
    """Noise in the shape of n latents and of the words to them."""
    return torch.randn(n, 32, 16, 16, generator=draw), torch.randn(n, 32, 128, generator=draw)


step = memory.Plan(denoising)  # AdamW, in float32
account = memory.count(pipe.unet, latents(16), step)
print(account)

# %% [markdown] lang="en"
# That account knows every block of memory, when it came and when it went. The picture shows the second of two steps, in
# which the optimiser's states are there from the start. Look at the activations: up on the way forward, down on the way back.

# %%
phases = [moment.phase for moment in account.moments]
first = next(i for i in range(1, len(phases)) if phases[i - 1 : i + 1] == ["optimiser", "forward"])
turn = phases.index("backward", first)
end = phases.index("optimiser", turn)
shown = {kind: values[first:] / 2**20 for kind, values in account.timeline.items() if kind != "data"}
plotting.show_curves(shown, xlabel="operation", ylabel="MiB alive")

# %% [markdown] lang="en"
# Two lines are flat: parameters and optimiser. One line is a mountain: activations. The old gradients go at once, and new
# ones grow while the mountain melts. The memory that a step needs is the highest point of their sum, and where that lies depends on the batch. We now
# build this picture from nothing.
#
# ## One tensor
#
# A tensor is a view of a *storage*, a plain row of bytes, and only storages take memory:
#
# $$\text{bytes} = \text{numbers} \times \text{bytes each},\qquad \text{float32: } 4,\quad \text{bfloat16: } 2 \tag{1}$$
#
# Four tensors, of which three look at one storage. Which addresses are equal?

# %%
x = torch.zeros(100, 50)
looks = {"x": x, "x.T": x.T, "x[:10]": x[:10], "x.bfloat16()": x.bfloat16()}
rows = [[name, y.numel(), y.untyped_storage().nbytes(), y.untyped_storage().data_ptr() == x.data_ptr()] for name, y in looks.items()]
plotting.show_table(rows, ["tensor", "numbers", "bytes of its storage", "the storage of x"])

# %% [markdown] lang="en"
# A slice of ten rows keeps the whole storage alive. Whoever adds up tensors counts too much, or too little; we add up
# storages, each once.
#
# ## What a step holds, by formula
#
# The smallest network with something to see: three layers and two ReLUs.

# %%
torch.manual_seed(0)
widths, rows_of_batch = [64, 256, 256, 10], 512
mlp = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
batch = torch.randn(rows_of_batch, 64), torch.randn(rows_of_batch, 10)
optimiser = torch.optim.AdamW(mlp.parameters(), fused=True)


def squares(model, batch):
    return (model(batch[0]) - batch[1]).square().mean()


def train_once():
    optimiser.zero_grad()
    squares(mlp, batch).backward()
    optimiser.step()


numbers, tensors = sum(p.numel() for p in mlp.parameters()), len(list(mlp.parameters()))
print(f"{numbers:,} numbers in {tensors} tensors")

# %% [markdown] lang="en"
# **Rule: one gradient a weight, and AdamW's two averages a weight** (equations of 2.1), all float32. With $N$ weights, of
# which $N_t$ learn, in $k$ tensors, each of which has a step number of its own:
#
# $$\underbrace{4N}_{\text{parameters}}+\underbrace{4N_t}_{\text{gradients}}+\underbrace{8N_t+4k}_{\text{optimiser}} \tag{2}$$
#
# If all learn, this is about $16N$: the "×4 rule", four times the model. The batch does not occur in it.
#
# **Rule: the chain rule needs what the forward pass saw.** A layer $y=xW$ needs $x$ for the gradient of $W$, ReLU needs its
# output, a square needs what was squared. Until the backward pass has used them they stay. The output of ReLU *is* the
# next layer's input, one storage. With $B$ rows and widths $d_0,\dots,d_n$:
#
# $$\text{activations} = 4B\,(d_1+d_2+\dots+d_n) \tag{3}$$
#
# where $d_0$ is missing because the batch was there before, and $d_n$ is there for the error that the square keeps. Autograd
# tells what it keeps, if we ask. Here it hands over each tensor, and we note its storage.

# %%
kept = {}


def pack(tensor):
    kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
    return tensor


with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
    loss = squares(mlp, batch)
known = {tensor.untyped_storage()._cdata for tensor in [*mlp.parameters(), *batch]}
made = [size for address, size in kept.items() if address not in known]
print(f"kept: {len(kept)} storages, of which {len(made)} are new: {made}")
print(f"together {sum(made):,} bytes; equation (3) says {4 * rows_of_batch * sum(widths[1:]):,}")
assert sum(made) == 4 * rows_of_batch * sum(widths[1:])

# %% [markdown] lang="en"
# The others are weights and the batch, which live anyway. What is left are **temporaries**: tensors that come and go
# within the step, such as the gradient of a hidden layer. They are on nobody's list, so a list is not enough. We have to watch.
#
# ## A counter of sixteen lines
#
# PyTorch sends each operation through `__torch_dispatch__`, if a *mode* is on. We run the operation, note each storage that
# is new, and leave a **finaliser** with it: a call that Python makes when the storage dies. Read it line by line; there is nothing else to it.

# %%
class Counter(TorchDispatchMode):
    def __init__(self, known):
        super().__init__()
        self.alive, self.history = {}, []  # address -> bytes; bytes alive after each operation
        self.note(known)

    def note(self, tensors):
        for tensor in [leaf for leaf in tree_leaves(tensors) if isinstance(leaf, Tensor)]:
            storage = tensor.untyped_storage()
            if storage._cdata not in self.alive:
                self.alive[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self.alive.pop, storage._cdata)

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        made = operation(*args, **(kwargs or {}))
        self.note(made)
        self.history.append(sum(self.alive.values()))
        return made


with Counter([list(mlp.parameters()), batch]) as counter:
    train_once()
    train_once()
plotting.show_curves({"bytes": np.array(counter.history) / 2**20}, xlabel="operation", ylabel="MiB alive")

# %% [markdown] lang="en"
# Two steps. The second begins higher, as the states of AdamW are there now. Its hill is the forward pass and the way back.
#
# ### The package's counter agrees
#
# `memory.counting` does the same, and files each storage by what it is for: a parameter, what lands in `.grad`, what the
# optimiser keeps, what outlives the forward pass. It watches the same code.

# %%
with memory.counting(mlp, batch, optimiser) as mine:
    train_once()
assert mine.peak == max(counter.history)
of_grads, of_states = 4 * numbers, 8 * numbers + 4 * tensors
expected = {"parameters": 4 * numbers, "gradients": of_grads, "optimiser": of_states, "activations": sum(made)}
rows = [[kind, mine.at_peak[kind], mine.highest[kind], expected.get(kind, "")] for kind in memory.KINDS]
plotting.show_table(rows, ["kind", "bytes at the peak", "most it ever was", "by formula"])

# %% [markdown] lang="en"
# Formulas (2) and (3) hold to the byte, but for the loss itself and the 1 that its backward pass starts from, eight bytes.
# More telling is the first column: at the peak hardly any gradient is there yet. **The peak is not the sum of the highest
# values.** It is the highest value of the sums, over all moments $m$:
#
# $$\text{peak}=\max_m\ \sum_{\text{storages alive at } m}\text{bytes} \tag{4}$$

# %%
assert all(0 <= mine.highest[kind] - size <= 8 for kind, size in expected.items())
together = sum(mine.highest.values())
print(f"sum of the highest: {together:,}    highest of the sums: {mine.peak:,}    {together / mine.peak - 1:+.0%}")

# %% [markdown] lang="en"
# ## Layer by layer
#
# Back to the denoiser. Which part of the network made the activations that are alive at a moment? Rows are parts, in the
# order in which they run; columns are moments, first six on the way forward, then six on the way back. Numbers are MiB.

# %%
def part(name):
    """down_blocks.0.resnets.0.conv1 -> down_blocks.0"""
    return ".".join(name.split(".")[: 2 if name.startswith(("down_blocks", "up_blocks")) else 1])


moments = [*np.linspace(first, turn - 1, 7, dtype=int)[1:], *np.linspace(turn - 1, end, 7, dtype=int)[1:]]
held = [account.modules(int(moment)) for moment in moments]
parts = list(dict.fromkeys(part(moment.module) for moment in account.moments[first:turn] if moment.module))
shares = np.array([[sum(n for m, n in each.items() if part(m) == row) for each in held] for row in parts]) / 2**20
names = [f"{way} {k}/6" for way in ("forward", "back") for k in range(1, 7)]
plotting.show_heatmap(shares[shares.max(1) > 1].round(1), np.array(parts)[shares.max(1) > 1], names)

# %% [markdown] lang="en"
# Forward fills the rows from top to bottom, backward empties them from bottom to top: last in, first out. Are the parts
# with many weights those with many activations? The last column is one divided by the other.

# %%
weights = dict.fromkeys(parts, 0.0)
for name, parameter in pipe.unet.named_parameters():
    weights[part(name)] += parameter.nbytes / 2**20
kept = {row: share.max() for row, share in zip(parts, shares, strict=True) if "block" in row}
rows = [[row, weights[row], most, most / weights[row]] for row, most in kept.items()]
assert min(rows, key=lambda row: row[3])[0] == "mid_block"
plotting.show_table(rows, ["part", "weights, MiB", "activations, MiB", "activations ÷ weights"])

# %% [markdown] lang="en"
# They are not. The blocks at full resolution, the first and the last, have few weights and keep many times as much; in the
# middle the two are about alike. Equation (3) says why: it counts rows and widths, never weights, and a latent has a row
# for each of its places.
#
# ## Predicted without running
#
# Shapes are enough to know bytes, so the step need not be run at all. PyTorch has **fake tensors**: they carry shape and
# type, and no numbers. `memory.predict` runs the step on fakes, under the same counter, as if it were real. For three of the
# course's models we count and predict. Beside it stands the usual estimate, `accelerate estimate-memory`: the bytes of the model
# times four.

# %%
def captioning(model, batch):
    logits = model(pixel_values=batch[0], decoder_input_ids=batch[1][:, :-1]).logits
    return losses.cross_entropy(logits, batch[1][:, 1:])


def copying(model, x):
    return losses.reconstruction(x, model.decode(model.encode(x).latent_dist.mean).sample)


def pictures(n):
    return torch.randn(n, 3, 128, 128, generator=draw)


words = torch.randint(5, 700, (16, 25), generator=draw)  # above the marks for beginning, end and padding
jobs = {
    "denoiser": (pipe.unet, latents(16), step),
    "captioner": (models.load("captioner"), (pictures(16), words), memory.Plan(captioning)),
    "autoencoder": (pipe.vae, pictures(4), memory.Plan(copying)),
}
counted = {name: memory.count(*job) if name != "denoiser" else account for name, job in jobs.items()}
predicted = {name: memory.predict(*job) for name, job in jobs.items()}
print({name: f"{size.peak / 2**20:.1f} MiB" for name, size in predicted.items()})

# %% [markdown] lang="en"
# Look at the fourth column, how far the prediction is off the count, and at the last, the usual estimate as a share of
# the count.

# %%
rule = {name: estimate_training_usage(calculate_maximum_sizes(job[0])[0], "float32")["step"] for name, job in jobs.items()}
rows = []
for name in jobs:
    off = predicted[name].peak / counted[name].peak - 1
    assert abs(off) < 1e-3
    rows.append([name, counted[name].peak, predicted[name].peak, f"{off:+.4%}", rule[name], rule[name] / counted[name].peak])
plotting.show_table(rows, ["model", "counted peak", "predicted", "off by", "×4 rule", "×4 rule ÷ counted"])

# %% [markdown] lang="en"
# The prediction takes the branches that the step takes and meets the same shapes, so it comes to the same bytes. The ×4
# rule is equation (2) and nothing else: it knows no batch, no picture size, no activation. Its authors say so: it is meant for a batch of
# one. It fits where weights outweigh all. How wrong it is elsewhere depends on what the peak is made of:

# %%
rows = [[name, *(each.at_peak[kind] / each.peak for kind in memory.KINDS)] for name, each in counted.items()]
table = np.array([row[1:] for row in rows]) * 100
plotting.show_heatmap(table.round(), [row[0] for row in rows], memory.KINDS)

# %% [markdown] lang="en"
# Percent of the peak. The denoiser has many weights on small latents; the autoencoder has few weights on whole pictures, and nearly all of it
# is activations. Each needs another remedy: an 8-bit optimiser helps the first a good deal and the last hardly.
#
# ## The dial: the batch
#
# **Rule: a storage either has a row for each row of the batch, or it has not.** So at each moment $m$ the bytes are a
# straight line in the batch $B$, and the peak is the highest of these lines:
#
# $$\text{peak}(B)=\max_m\,(a_m+b_m B) \tag{5}$$
#
# Two predictions give all $a_m$ and $b_m$. Then every batch is known, and the count of 16 from above must lie on it.

# %%
few, many = 4, 64
low, high = (sum(memory.predict(pipe.unet, latents(n), step).timeline.values()) for n in (few, many))
b = (high - low) / (many - few)
a = low - few * b


def peak(n):
    return (a + b * n).max()


print(f"by (5) a batch of 16 takes {peak(16):,.0f} bytes; counted were {account.peak:,}")
assert abs(peak(16) / account.peak - 1) < 1e-3

# %% [markdown] lang="en"
# Look for the bend: left of it another moment is the highest.

# %%
batches = np.arange(1, 25)
lines = {"predicted": [peak(n) for n in batches], "×4 rule": [rule["denoiser"]] * len(batches)}
plotting.show_curves({name: np.array(line) / 2**20 for name, line in lines.items()}, x=batches, xlabel="batch", ylabel="MiB at the peak")

# %% [markdown] lang="en"
# For a handful of rows the step is highest where all gradients are there, and the ×4 rule is nearly right. Beyond the
# bend the highest moment is the turn from forward to backward, and each row costs the same. Turned around, (5) tells what fits:

# %%
sizes = {"192 MiB": 192 * 2**20, "1 GiB": 2**30, "8 GiB": 2**33, "80 GiB": 80 * 2**30}
fits = {name: int(((size - a)[b > 0] / b[b > 0]).min()) for name, size in sizes.items()}
assert all(peak(n) <= sizes[name] < peak(n + 1) for name, n in fits.items())
plotting.show_table(list(fits.items()), ["memory", "largest batch of the denoiser"])

# %% [markdown] lang="en"
# ### The other dial: the size of the picture
#
# Convolutions and linear layers cost the same for each place, so twice the side is four times the bytes. Attention
# compares each place with each: with $h$ heads and $L$ places it makes, in each layer,
#
# $$4\,B\,h\,L^2 \ \text{bytes of scores} \tag{6}$$
#
# if written as in the textbook. `scaled_dot_product_attention` gives the same result and never holds all scores at once
# (Dao et al. 2022, for the CPU as well). Both, counted, on an input of growing length:

# %%
def textbook(q, k, v):
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v  # q @ k.mT: (B, heads, L, L)


def attended(attention, layer, x):
    return attention(layer(x), x, x).square().mean()


sdpa = nn.functional.scaled_dot_product_attention
rows, heads = [], 4
for L in (64, 256, 1024):
    x = torch.randn(2, heads, L, 32, generator=draw)
    job = nn.Linear(32, 32), x
    found = [memory.count(*job, memory.Plan(partial(attended, how)), 1).highest["activations"] for how in (textbook, sdpa)]
    torch.testing.assert_close(textbook(x, x, x), sdpa(x, x, x), rtol=1e-4, atol=1e-5)
    rows.append([L, 4 * 2 * heads * L**2, *found])
plotting.show_table(rows, ["places L", "equation (6)", "textbook keeps", "SDPA keeps"])

# %% [markdown] lang="en"
# Four times the places make sixteen times the scores; SDPA keeps four times the bytes. Our denoiser has attention from half of its latents'
# resolution downward: at 128 pixels that is 8 × 8 = 64 places, next to nothing. At 1,024 pixels? Nobody has to try: fakes cost no memory.

# %%
def imagined(side, processor):
    """MiB of activations, predicted, for one picture of that side."""
    pipe.unet.set_attn_processor(processor)
    batch = torch.randn(1, 32, side // 8, side // 8, generator=draw), torch.randn(1, 32, 128, generator=draw)
    return memory.predict(pipe.unet, batch, step, steps=1).highest["activations"] / 2**20


rows = [[f"{n} px", (n // 16) ** 2, imagined(n, AttnProcessor()), imagined(n, AttnProcessor2_0())] for n in (128, 1024)]
assert rows[1][2] > 2 * rows[1][3]
plotting.show_table(rows, ["picture", "places L", "textbook, MiB", "SDPA, MiB"])

# %% [markdown] lang="en"
# With SDPA, 64 times the area costs about 64 times the memory. With the textbook's attention the scores come on top and
# outweigh all else.
#
# ## What the machine sees
#
# The counter counts storages. The operating system counts pages, and so does whoever ends a program that takes too many.
# `memory.measure` looks from outside: what PyTorch's allocator gave out, and how the process grew. A process never forgets a
# peak, so each measurement gets a fresh one. In it we take a step with one row first, and then one with all rows. This is
# the whole program:

# %%
program = """
import torch
from torch import nn
from aigc_course import memory, models
loss = lambda model, x: model(x).square().mean()
{job}
plan = memory.Plan(loss)
one, full = (memory.measure(model, rows, plan) for rows in (x[:1].clone(), x))
print(one.process, memory.count(model, x, plan).peak, full.allocator, full.process or 0)
"""
fresh_jobs = {
    "a convolution": "model, x = nn.Conv2d(64, 64, 3, padding=1), torch.randn(32, 64, 64, 64)",
    "the captioner's eyes": """model, x = models.load("captioner").encoder, torch.randn(64, 3, 128, 128)
loss = lambda model, x: model(x).last_hidden_state.square().mean()""",
}
print(program.format(job=fresh_jobs["a convolution"]))

# %% [markdown] lang="en"
# Compare the last three columns: count, allocator and process for the step with all rows. The first column of numbers is the growth at
# the very first step, with a single row.

# %%
def fresh(program, *words):
    """What a program of a few lines prints, in a process of its own."""
    return subprocess.run([sys.executable, "-c", program, *words], check=True, text=True, stdout=subprocess.PIPE).stdout


rows = [[name, *(int(n) / 2**20 for n in fresh(program.format(job=job)).split())] for name, job in fresh_jobs.items()]
assert all(abs(allocator / count - 1) < 0.05 for _, _, count, allocator, _ in rows)
plotting.show_table(rows, ["MiB for", "process, first step", "counted", "allocator", "process, full step"])

# %% [markdown] lang="en"
# The allocator agrees with the count; what it may have more is scratch that a kernel takes and returns within one
# operation. The process grows by tens of MiB at its first step, however small: libraries and threads wake up, and stay.
# This is why a process looks so much larger than the count of a small model. After that it grows by about what is counted, or
# by more, where freed blocks are held back for the next request.
#
# ## Where it fails
#
# Three things that no count of storages sees, each with its number.
#
# **Scratch within an operation.** A kernel may take memory and give it back before the counter looks. Most of the course's do not;
# look at the eigenvalues of a matrix, which need a workspace.

# %%
def eigenvalues(model, x):
    return torch.linalg.eigvalsh(model.weight + model.weight.T).square().mean()


def plain(model, x):
    return model(x).square().mean()


rows = []
for name, loss in {"a linear layer": plain, "its eigenvalues": eigenvalues}.items():
    job = nn.Linear(256, 256), torch.randn(64, 256), memory.Plan(loss)
    rows.append([name, memory.count(*job).peak, memory.measure(*job).allocator])
    assert rows[-1][2] >= rows[-1][1]
plotting.show_table(rows, ["a step with", "counted", "allocator"])

# %% [markdown] lang="en"
# **Python.** A million numbers in a list are no tensor. **Fragments.** We make 100 MiB of small tensors, and of large ones,
# and drop every second one. The count halves. Does the process?

# %%
program = """
import sys, psutil, torch
rss = lambda: psutil.Process().memory_info().rss
torch.ones(1), rss()
before, size = rss(), int(sys.argv[1])
held = [torch.ones(size // 4) for _ in range(100 * 2**20 // size)]
held = held[::2]
print(sum(tensor.nbytes for tensor in held), rss() - before)
before = rss()
numbers = [float(i) for i in range(10**6)]
print(0, rss() - before)
"""
rows = []
for size in (20_000, 1_000_000):
    dropped, listed = (line.split() for line in fresh(program, str(size)).splitlines())
    rows.append([f"every second of tensors of {size:,} bytes dropped", *(int(n) / 2**20 for n in dropped)])
plotting.show_table([*rows, ["a list of a million numbers", *(int(n) / 2**20 for n in listed)]], ["", "counted, MiB", "process, MiB"])

# %% [markdown] lang="en"
# Large tensors go back to the system at once. Small ones leave holes between their neighbours, which PyTorch may use again and nobody else
# can. On a GPU the same happens to blocks of any size, since PyTorch keeps them in a cache of its own. So the count is what
# a step *needs*; leave room above it for what the machine *takes*.
#
# ## Exercises
#
# **4.1.1** (6 minutes) Weights of a model are stored in `each` bytes, 1, 2 or 4, and `trained` of its `numbers` learn.
# Gradients are as wide as the weights. AdamW's two states are float32. Weights narrower than float32 lose small steps, so the optimiser
# keeps a float32 copy of those that learn. How many bytes, before any activation?

# %% tags=["exercise"]
def fixed_bytes(numbers, trained, each):
    copy = 4 if each < 4 else 0  # solution
    return each * numbers + (each + copy + 8) * trained  # solution


checks.check_fixed_bytes(fixed_bytes)

# %% [markdown] lang="en"
# **4.1.2** (4 minutes) Equation (3): the bytes of activations of an MLP with ReLUs and a squared error in float32, for `widths` from the
# input to the answer, such as `[64, 256, 256, 10]`.

# %% tags=["exercise"]
def kept_bytes(batch, widths):
    return 4 * batch * sum(widths[1:])  # solution


checks.check_kept_bytes(kept_bytes)

# %% [markdown] lang="en"
# **4.1.3** (8 minutes) Equation (4): the peak of a list of storages `(bytes, born, died)`. One is alive at moment `m` if
# `born <= m < died`; where `died` is `None` it stays to the end.

# %% tags=["exercise"]
def most_alive(lives):
    # solution: return ...
    def alive(m):
        return sum(size for size, born, died in lives if born <= m and (died is None or m < died))

    return max(alive(born) for _, born, _ in lives)  # it can only rise when something is born
    # end solution


checks.check_peak(most_alive)

# %% [markdown] lang="en"
# ## Recap
#
# 1. Weights, gradients and AdamW take $16N$ bytes (2), whatever the batch; activations grow with it (3).
# 2. The peak is the highest of sums (4), not a sum of highest values; it lies at the turn of the step, unless the batch is tiny.
# 3. Counted by a few lines and predicted with fake tensors to the byte; two predictions give every batch (5).
# 4. Attention written out costs $L^2$ (6); the process takes more than the count, for scratch, libraries and holes.
#
# **Next:** 4.2 makes each of these parts smaller, and says what each trick does to the gradient.
#
# ### References
#
# - Hugging Face, *accelerate*, `commands/estimate.py`: the ×4 rule.
# - Chen et al. 2016, *Training deep nets with sublinear memory cost*, arXiv 1604.06174.
# - Rajbhandari et al. 2020, *ZeRO: memory optimizations toward training trillion parameter models*, arXiv 1910.02054.
# - Dao et al. 2022, *FlashAttention: fast and memory-efficient exact attention with IO-awareness*, arXiv 2205.14135.
# - Korthikanti et al. 2022, *Reducing activation recomputation in large transformer models*, arXiv 2205.05198.
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
