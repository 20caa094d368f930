# %% [markdown] lang="en"
# # 6.5 Evaluate, ship, contribute
#
# A model in a notebook helps one person. This notebook takes one out: a style of your own, written in one file, is taught
# to the denoiser in less than a minute, judged before and after with intervals and controls, given a card and hashes, put behind
# HTTP, run as several processes, and made ready for a pull request. What it breaks is told as plainly as what it gains.
#
# **Needs:** this repository and two processor cores. The last cell prints the memory it took.

# %%
import base64
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles

import httpx
import psutil
import torch
import uvicorn
from PIL import Image

from aigc_course import (
    applications,
    checks,
    evaluation,
    lora,
    models,
    plotting,
    runtime,
    sampling,
    scenes,
    serving,
    studio,
)

print(runtime.summary())

# %% [markdown] lang="en"
# ## What we are after
#
# The file `data/recipes/lacquer.py` holds a drawing style that no model of the course has seen: a name in two languages, a
# licence, and a function that paints. Below, four scenes as the world draws them, and the same four as that file paints them.

# %%
recipe = applications.load_recipe(runtime.data_dir() / "recipes" / "lacquer.py")
four = scenes.samples(4, "validation", seed=3)
plotting.show_images(torch.cat([scenes.pictures(four), recipe.pictures(four)]), ["the world's"] * 4 + ["lacquer"] * 4, columns=4, scale=0.75)

# %% [markdown] lang="en"
# Same places, same things, another hand. Here is the whole file; the licence is a line of it, as everything that is shown
# here may be given on: CC BY 4.0.

# %%
print(recipe.file.read_text(encoding="utf-8"))

# %% [markdown] lang="en"
# ## Can it be taught?
#
# Before any training, three questions that drawings can answer. Is the painter deterministic, at any size, and quick? Are the
# things still read by a judge that never saw the style? And can the style be told from the twelve others? The judge of the
# last question is made for it: a linear layer on the features of CLIP, learnt from drawings. It never sees a generated
# picture before it judges one, and it had no part in drawing any.

# %%
judge = applications.StyleJudge(recipe)
seen = applications.check_recipe(recipe, judge)
rows = [["things read in its pictures", f"{seen.read}"], ["in plain drawings of the same scenes", f"{seen.read_flat}"]]
plotting.show_table([*rows, ["told from other styles", f"{seen.told_apart}"]], ["on fresh drawings", "share right"])

# %% [markdown] lang="en"
# These are the judges' own errors, on scenes of one, two and several things. The exam asks for the new style with one
# thing only, so its ceiling is the row *by rule* below. The style itself costs the reader of things
# something; no model is to blame for that.
#
# ## Before
#
# An *exam* is two lists of prompts of the validation split: some that ask for the new style, in English and Chinese by turns,
# and as many old ones from the suite of chapter 1. The model sits it before it has learnt anything.

# %%
pipe, exam = models.load("text-to-image"), applications.Exam(recipe, judge, count=12)
new_prompts, old_prompts = exam.prompts
before = exam.drawn(pipe)
print("\n".join([*new_prompts[:2], *old_prompts[:2]]))

# %% [markdown] lang="en"
# Now the lesson, as in 3.2: drawings become latents, captions become text states, and a low-rank change at a few places
# learns. The rest stays frozen.

# %%
lesson = applications.recipe_lesson(pipe, recipe, scenes.samples(96, "train", seed=41))
history = applications.learn_recipe(pipe, lesson, steps=80)
plotting.show_curves({"loss": history.smoothed(10)}, xlabel="step", ylabel="error of the velocity")

# %% [markdown] lang="en"
# ## After
#
# The same prompts, the same noise. First row: drawn by rule, as the file paints it. Second: before. Third: after.

# %%
after = exam.drawn(pipe)
three = torch.cat([recipe.pictures(exam.new[:6]), before.new[:6], after.new[:6]])
plotting.show_images(three, ["by rule"] * 6 + ["before"] * 6 + ["after"] * 6, columns=6, scale=0.6)

# %% [markdown] lang="en"
# The third row leans towards the first, and drawing is lost on the way; how much of each, the table says. A mark is given picture by
# picture, so *before* and *after* are pairs. A question mark stands where the interval of the difference holds zero.

# %%
marks = {"before": exam.marks(before), "after": exam.marks(after)}
figures = applications.compare(marks["before"], marks["after"])
plotting.show_table(*applications.rows_of(figures))

# %% [markdown] lang="en"
# The first row is what was gained. None of the others should have moved; those without a question mark did. The change
# is always on, whether or not a prompt asks for it: *old prompts: in the new style* is that leak.

# %%
gained, leak = figures[0].difference, figures[-1].after
assert gained.low > 0, "the style was not learnt"
print(f"gained: {gained:+.2f}    leaked into old prompts: {leak}")

# %% [markdown] lang="en"
# ## Is the examiner honest?
#
# Four controls beside it. **By rule**: true drawings, sent through the autoencoder as generated ones are, are the ceiling.
# **Shuffled**: each picture judged by another's prompt must fail, or the judge does not look. **Guidance 1** is the same model
# with the words at plain strength. And *before* is the model that was only told the style's name.

# %%
controls = {"by rule": exam.marks(exam.by_rule(pipe)), "guidance 1": exam.marks(exam.drawn(pipe, scale=1.0))}
controls["shuffled"] = exam.marks(after, shuffled=True)
columns = ["in the new style", "things in it", "old prompts: thing", "old prompts: colour"]
table = marks | controls
rows = [[name, *(f"{evaluation.interval(found[c].float())}" if c in found else "–" for c in columns)] for name, found in table.items()]
plotting.show_table(rows, ["", *columns])

# %% [markdown] lang="en"
# The row *by rule* is what the judges read off true drawings: a model that paints this style faithfully is not read better than
# that. On old prompts the shuffled row lies far below it; were they alike, every figure above would be worthless.

# %%
ceiling, shuffled = (table[name]["old prompts: colour"].float().mean() for name in ("by rule", "shuffled"))
assert ceiling > shuffled + 0.5
print(f"old prompts, right colour: by rule {ceiling:.2f}, shuffled {shuffled:.2f}")

# %% [markdown] lang="en"
# ## The dial: how strong
#
# The change has one dial. What does half of it keep, and what does it give up?

# %%
lora.combine(pipe.unet, {"style": 0.5})
half = exam.marks(exam.drawn(pipe))
lora.combine(pipe.unet, {"style": 1.0})
dial = {column: [found[column].float().mean().item() for found in (marks["before"], half, marks["after"])] for column in columns}
plotting.show_curves(dial, x=[0, 0.5, 1], xlabel="strength of the LoRA", ylabel="share right")

# %% [markdown] lang="en"
# *In the new style* is bought with the other lines. There is no strength that is best for all; whoever uses it decides.
#
# ## How sure?
#
# A dozen pictures are few. **Rule: redraw what you have.** Take as many pairs again, with repeats; the mean moves as it would
# have with other pictures (the bootstrap, Efron 1979). With $b_i$ and $a_i$ the marks of prompt $i$ before and after, and $J$ a
# redraw of $n$ places:
#
# $$d_J=\frac1n\sum_{i\in J}(a_i-b_i),\qquad \text{the interval: from the 2.5th to the 97.5th percentile of all } d_J \tag{1}$$
#
# The pair stays together. A hard prompt is hard for both, and falls out of the difference. Full strength against half:

# %%
name = "old prompts: thing"
a, b = marks["after"][name].double(), half[name].double()
draws = torch.randint(len(a), (2000, len(a)), generator=runtime.generator(0))
means = (a - b)[draws].mean(1)
low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
print(f"{name}: {means.mean():+.2f} [{low:+.2f}, {high:+.2f}]")

# %% [markdown] lang="en"
# ### The package agrees
#
# `applications.paired` is (1). The last column is what comes out if the two are redrawn apart, as if they had been asked
# different prompts. Compare the two widths, row by row.

# %%
other, rows = draws[torch.randperm(len(draws), generator=runtime.generator(1))], []
for column in half:
    full, part = marks["after"][column].double(), half[column].double()
    together = applications.paired(part, full)
    ends = (full[draws].mean(1) - part[other].mean(1)).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    rows.append([column, f"{together:+.2f}", together.high - together.low, (ends[1] - ends[0]).item()])
    assert column != name or abs(together.low - low) + abs(together.high - high) < 0.2
plotting.show_table(rows, ["full against half strength", "difference in pairs", "its width", "width, redrawn apart"])

# %% [markdown] lang="en"
# The more often both fail at the same prompts, the more the pairs win; where one of them is always right or always
# wrong there is nothing to win. How many pictures would be enough? Half the width of an interval is about
# $z\,s/\sqrt n$. If half of the pairs do not change, $s^2\le\tfrac12$, and a difference $d$ stands out from zero when
#
# $$n \ge \frac{z^2}{2d^2},\qquad z=1.96 \tag{2}$$

# %%
smallest = [0.5, 0.25, 0.1, 0.05, 0.02]
needed = {d: applications.pairs_needed(d) for d in smallest}
plotting.show_table([[f"{d:.0%}", n] for d, n in needed.items()], ["difference to be seen", "pairs that it takes"])

# %% [markdown] lang="en"
# With a dozen pairs only a change of the order of a half can be seen. That suffices for the style, and for what broke badly; for "a few per
# cent better" it takes hundreds. Half the effect costs four times the pictures.
#
# ## A card, and a folder
#
# A model that leaves must say what it is, what it was measured by, and where it fails (Mitchell et al. 2019). `propose` writes a
# folder: the LoRA as diffusers reads it, the recipe, a **card** by `huggingface_hub`, whose head is for machines and whose text is for people, and the
# hash of every file.

# %%
shelf = Path(tempfile.mkdtemp())
folder = shelf / recipe.folder
_ = applications.propose(pipe, exam, folder, marks["before"], marks["after"], count=96, steps=80)
plotting.show_table([[file.name, file.stat().st_size] for file in sorted(folder.iterdir())], ["file", "bytes"])

# %%
card = applications.read_model_card(folder)
print("\n".join(str(card.data.to_yaml()).splitlines()[:28]))

# %% [markdown] lang="en"
# Is it the card that was written? Each figure that the head tells must be the one we measured, and written again it must come out the same, letter by
# letter. The hub's own validation asks the hub; `read_model_card` asks offline for what can be known here: facts that are missing,
# shares beyond their intervals, a table that tells otherwise than the head, no word on failures.

# %%
told = {result.metric_name: result.metric_value for result in card.data.eval_results}
assert told == {figure.name: round(figure.after.mean, 2) for figure in figures}
card.save(shelf / "again.md")
assert type(card).load(shelf / "again.md").content == card.content
models.verify(folder)
(shelf / "bent").mkdir()
(shelf / "bent" / "README.md").write_text(card.content.replace("## Fails", "## Awards"), encoding="utf-8")
try:
    applications.read_model_card(shelf / "bent")
except ValueError as error:
    print(error)

# %% [markdown] lang="en"
# ### The library reads the folder
#
# Stock diffusers, stock method, the same answer to the same noise.

# %%
stock = models.load("text-to-image")
with models.storage.quiet():
    stock.load_lora_weights(folder, adapter_name="lacquer")
z, words = torch.randn(2, *models.LATENT, generator=runtime.generator(2)), sampling.encode_words(pipe, new_prompts[:2])
with torch.no_grad():
    ours, theirs = (unet(z, 500, encoder_hidden_states=words).sample for unet in (pipe.unet, stock.unet))
    stock.unload_lora_weights()
    without = stock.unet(z, 500, encoder_hidden_states=words).sample
torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
del stock
print(f"diffusers agrees: {(ours - theirs).abs().max():.1e} apart; without the LoRA it would be {(ours - without).abs().max():.2f}")

# %% [markdown] lang="en"
# ## Without torch: ONNX
#
# A file of operations that other programs run: a phone, a browser, a server without Python. `serving` exports a captioner as two
# files, eyes and tongue. Exporting is a translation, so it has to be checked as one: the same inputs, and the largest
# distance of any two numbers,
#
# $$\max_k|y_k-y'_k|\le 10^{-4} \tag{3}$$

# %%
captioner, tokenizer = models.load("captioner"), models.load("tokenizer")
files = serving.export_captioner(captioner, shelf)
eyes = serving.Exported(files[0])
pictures = scenes.pictures(scenes.samples(8, "validation", seed=4))
with torch.no_grad():
    ways = {"torch": lambda: captioner.encoder(pictures).last_hidden_state, "onnxruntime": lambda: eyes(pictures=pictures)}
    far = (ways["torch"]() - ways["onnxruntime"]()).abs().max().item()
assert far <= 1e-4
print(f"{[file.name for file in files]}, the eyes {far:.1e} apart")

# %% [markdown] lang="en"
# Numbers that close should say the same words. And is it faster? Each way five times, in turn, processor seconds.

# %%
def seconds(way):
    begun = time.process_time()
    way()
    return time.process_time() - begun


with torch.no_grad():
    taken = [{name: seconds(way) for name, way in ways.items()} for _ in range(5)]
said = serving.exported_captions(shelf, tokenizer, pictures)
same = sum(x == y.strip() for x, y in zip(said, sampling.pictures_to_words(captioner, tokenizer, pictures), strict=True))
print(f"captions word for word the same: {same} of {len(said)}")
plotting.show_table([[name, median(one[name] for one in taken)] for name in ways], ["the eyes, 8 pictures", "seconds"])

# %% [markdown] lang="en"
# The denoiser goes the same way, and its export takes too long for a notebook. `scripts/bench_ship.py` measures it; this is what
# it left in `data/bench/ship.md`, read from there.

# %%
bench = (runtime.data_dir() / "bench" / "ship.md").read_text(encoding="utf-8")
tables = [[[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()] for part in re.findall(r"(?:^\|.*\n)+", bench, re.M)]
plotting.show_table(tables[0][2:], tables[0][0])

# %% [markdown] lang="en"
# ## A service
#
# `serving.service` puts the Studio's queue behind HTTP: one worker owns the models, a queue of limited length, a time limit,
# health, and measures. `uvicorn` runs it, here in a thread of this notebook, on a port that the system chooses. The engine gets the
# very pipeline that we trained.

# %%
cast = {"text-to-image": pipe, "captioner": captioner, "tokenizer": tokenizer}
app = serving.service(studio.Engine(load=lambda name: cast.get(name) or models.load(name)))
server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.05)
port = server.servers[0].sockets[0].getsockname()[1]
client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)
print(client.get("/health").json())

# %% [markdown] lang="en"
# Ask it for a picture in our style, then hand it the picture and ask what it shows. The first of these two pictures was drawn with the
# LoRA, the second without, by the same line otherwise.

# %%
line = "a large red house in the city, lacquer style --seed 7 --steps 8 --quality 1"
replies = [client.post("/imagine", json={"prompt": f"{line} --lora style:{strength}"}).json() for strength in (1, 0)]
two = [base64.b64decode(reply["pictures"][0]) for reply in replies]
png = {"content": two[0], "headers": {"content-type": "image/png"}}
print(client.post("/describe", **png).json()["captions"][0])
plotting.show_images([Image.open(io.BytesIO(file)) for file in two], ["with the LoRA", "without"])

# %% [markdown] lang="en"
# The captioner has never seen lacquer; if it names a style, it is another one.
#
# Whoever asks wrongly gets a number that says whose fault it is, a sentence, and a way out. 4xx is the asker's, 5xx the service's.

# %%
wrong = {
    "a wrong parameter": client.post("/imagine", json={"prompt": "a cat --seed seven"}),
    "too much work": client.post("/imagine", json={"prompt": "a cat --steps 500"}),
    "no JSON": client.post("/imagine", content=b"{"),
    "no picture": client.post("/describe", content=b"hello", headers={"content-type": "image/png"}),
    "no such path": client.get("/admin"),
}
assert all(400 <= reply.status_code < 500 for reply in wrong.values())
rows = [[name, reply.status_code, reply.json()["error"][:60], reply.json()["fix"][:50]] for name, reply in wrong.items()]
plotting.show_table(rows, ["asked", "status", "error", "fix"])

# %% [markdown] lang="en"
# ### Under load
#
# Two dozen requests, six at once. The mean of the waiting times tells nobody's wait; **percentiles** do: half of the askers wait
# less than p50, one in a hundred longer than p99. Of so few requests p99 is nearly the slowest.

# %%
def ask(k):
    begun = time.perf_counter()
    small = {"json": {"prompt": f"a red house --seed {k} --steps 2 --quality 1"}}
    kind, how = [("health", ("GET", "/health", {})), ("captions", ("POST", "/describe", png)), ("picture", ("POST", "/imagine", small))][k % 3]
    status = client.request(how[0], how[1], **how[2]).status_code
    return kind, status, time.perf_counter() - begun


with ThreadPoolExecutor(6) as many:
    answers = list(many.map(ask, range(24)))
rows = []
for kind in ("health", "captions", "picture"):
    waits = [wait for each, _, wait in answers if each == kind]
    rows.append([kind, len(waits), median(waits), quantiles(waits, n=100, method="inclusive")[98]])
assert all(status in (200, 429) for _, status, _ in answers)
plotting.show_table(rows, ["request", "answered", "p50, s", "p99, s"])

# %% [markdown] lang="en"
# All were answered. Health comes at once, also while the model works; whoever wants a picture stands in the queue of one worker. The service counts for itself, in
# the text that Prometheus collects. The large test, a thousand good and bad requests, stands in the file of benchmarks.

# %%
told = [row for row in client.get("/metrics").text.splitlines() if row.startswith("answers_total")]
print("\n".join(told))
plotting.show_table(tables[1][2:], tables[1][0])

# %% [markdown] lang="en"
# And it ends when told: no new requests, what is at work is finished, the worker is closed.

# %%
client.close()
server.should_exit = True
thread.join(30)
assert not thread.is_alive()
print("stopped")

# %% [markdown] lang="en"
# ## Past one machine
#
# One worker, one queue. For more askers there are **replicas**: equal processes that share nothing, behind one address. Then it
# does not matter which of them answers, on which machine it runs, or whether one of them falls. `serving.create` is what each runs;
# its limits come from the environment, as a cluster sets them. On this machine `uvicorn --workers 2` starts two and watches over them:

# %%
stack = ExitStack()
running = stack.enter_context(serving.replicas(2, {"AIGC_LIMIT_WAITING": "4", "OMP_NUM_THREADS": "1"}))
first = running.who(wanted=2)
print(f"{len(first)} processes answer at one address; supervised: {running.process.pid not in first}")
plotting.show_table([[f"replica {k}", size / 2**20] for k, size in enumerate(running.memory().values(), 1)], ["", "MiB, no model loaded yet"])

# %% [markdown] lang="en"
# Now we kill one with the signal that cannot be caught, as a machine does that runs out of memory. Look at who answers then.

# %%
victim = min(first)
psutil.Process(victim).kill()
second = running.who(60, wanted=2, without=victim)
survivors, fresh = len(second & first), len(second - first)
print(f"{survivors} of the old ones answers, {fresh} is new")
assert (survivors, fresh) == (1, 1)

# %% [markdown] lang="en"
# The supervisor saw a dead child and made another. While that one started, the other took all requests. What was at work in
# the dead one is lost, and the asker sees a broken connection: a request must be safe to ask again. Ours is, as a line with a
# seed gives the same picture twice.
#
# ### Where it fails
#
# Replicas share *nothing*. Each has a queue of its own, and counts for itself: the same question to `/metrics` has two
# answers, and neither is the sum.

# %%
counts = {}
while len(counts) < 2:
    reply = httpx.get(f"{running.url}/metrics", timeout=30)
    (found,) = re.findall(r'answers_total{path="/health",status="200"} (\S+)', reply.text) or ["0"]
    counts[reply.headers["x-replica"]] = float(found)
plotting.show_table([[f"replica {k}", found] for k, found in enumerate(counts.values(), 1)], ["asked", "answers to /health, it says"])

# %%
stack.close()
print("ended, with status", running.process.poll())

# %% [markdown] lang="en"
# So whoever collects measures must ask each replica by its own address, as Prometheus does, and add up. For the same reason nothing that must last may lie in a
# replica: no gallery, no history.
#
# ### Many machines
#
# On a cluster the supervisor is **Kubernetes**, and what uvicorn did is written down as a wish: so many pods, this is how you see that
# one is well, this much memory. `data/shipping/kubernetes.yaml` has three parts; a test holds them to the service: the port that it listens on,
# the path of its health, settings that it reads, memory not below what was measured. Line by line, with the reason:

# %%
manifest = (runtime.data_dir() / "shipping" / "kubernetes.yaml").read_text(encoding="utf-8")
lines = [line.split("#", 1) for line in manifest.splitlines()[2:] if "#" in line]
plotting.show_table([[field.strip().removeprefix("- "), why.strip()] for field, why in lines], ["field", "why"])

# %% [markdown] lang="en"
# The autoscaler counts pods by one line of arithmetic. With $n$ pods whose mean use is $u$, and a target $\tau$:
#
# $$n' = \Big\lceil n\,\frac{u}{\tau}\Big\rceil\ \text{within the bounds, and } n'=n \text{ while } |u/\tau-1|\le 0.1 \tag{4}$$
#
# **Ray Serve** puts the same application on a cluster of its own, and scales by requests at work instead of by processor. This
# file is a sketch: the course does not install Ray and has not run it.

# %%
sketch = (runtime.data_dir() / "shipping" / "ray_serve.py").read_text(encoding="utf-8")
print(sketch.split("from aigc_course import serving")[1].strip())

# %% [markdown] lang="en"
# Training scales by the same idea, with one difference: its processes must talk after every step. `training.fit` does that
# (4.3), and `accelerate launch` starts them. Here the script that trained our language model takes three steps on two
# processes; on several machines only `--num_machines`, each machine's `--machine_rank`, the total `--num_processes`,
# and an address change. It writes into a temporary folder.

# %%
data = shelf / "data" / "models"
shutil.copytree(models.folder_of("tokenizer"), data / "tokenizer")
launch = "-m accelerate.commands.launch --cpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port 0"
script = Path(runtime.__file__).parents[1] / "scripts" / "train_lm.py"
dials = f"--steps 3 --batch 4 --count 4 --precision fp32 --folder {shelf / 'run'}"
settings = os.environ | {"AIGC_DATA": str(shelf / "data"), "PYTHONPATH": str(script.parents[1]), "OMP_NUM_THREADS": "1"}
ran = subprocess.run([sys.executable, *launch.split(), str(script), *dials.split()], env=settings, capture_output=True, text=True)
assert ran.returncode == 0, ran.stderr
print(re.findall(r"\d+ steps in", ran.stdout), [file.name for file in (data / "lm").glob("*.safetensors")])

# %% [markdown] lang="en"
# One line of progress and one model, from two processes: the first one speaks and writes for both.
#
# ## Contribute a style
#
# What this notebook did by hand, one command does for any such file, longer and with more pictures:
#
#     python scripts/new_style.py data/recipes/lacquer.py
#
# It checks, trains, judges before and after, and leaves a folder to propose; `CONTRIBUTING.md` says how. Not every file is a style that can
# be taught. Three that are not, and what is said to their authors:

# %%
text = recipe.file.read_text(encoding="utf-8")
bad = {
    "no licence": text.replace('"CC BY 4.0"', '"ask me"'),
    "chance of its own": text.replace("board.reduce(styles.OVERSAMPLE)", "board.reduce(styles.OVERSAMPLE).rotate(__import__('random').random() * 9)"),
    "nothing to see": text.replace("board.reduce(styles.OVERSAMPLE)", "Image.new('RGB', (size, size), GROUND)"),
}
for what, changed in bad.items():
    (shelf / "mine.py").write_text(changed, encoding="utf-8")
    try:
        applications.check_recipe(applications.load_recipe(shelf / "mine.py"), judge, count=4)
    except ValueError as error:
        print(f"{what}: {error}")
shutil.rmtree(shelf)

# %% [markdown] lang="en"
# ## Where to go from here
#
# **Books.** Prince, *Understanding Deep Learning* (2023): the best figures; read it beside chapter 2. Goodfellow, Bengio,
# Courville, *Deep Learning* (2016): the mathematics under all of it. Efron, Tibshirani, *An Introduction to the Bootstrap* (1993): why (1)
# works, and when not. Huyen, *Designing Machine Learning Systems* (2022): what happens to a model after it left. Beyer et al., *Site
# Reliability Engineering* (2016): percentiles, limits, and failing well.
#
# **Courses.** *huggingface/diffusion-models-class*: the closest to ours, with large models on a GPU. *rasbt/LLMs-from-scratch*: a
# language model, as patiently built as our denoiser. MIT 6.S184: flows and diffusion with full proofs. *d2l-ai/d2l-en*: breadth, in four
# frameworks. *phlippe/uvadlc_notebooks*: the next architectures, and many devices on one machine. ARENA: exercises with tests, towards interpretability.
#
# **Tools.** *diffusers*, *transformers*, *peft*, *accelerate*: what we used, at any size. *huggingface_hub*: a place for a folder with a card. *ONNX
# Runtime*: the same network where there is no Python. *FastAPI* and *uvicorn*: a typed service in a page. *Prometheus*: measures over time.
# *Kubernetes* and *Ray Serve*: replicas on many machines; the first for anything, the second for Python. *Optuna*: dials (3.5).
#
# **Papers to read first** when you measure: Mitchell et al. on model cards; Gebru et al. on datasheets, the same for data; Ghosh et al. on GenEval,
# whose rules our suite follows; Dean and Barroso on why the slowest answer rules a large service.
#
# ## Exercises
#
# **6.5.1** (5 minutes) Equation (1): `before` and `after` are marks (n,), yes or no; `draws` (R, n) are the places of each redraw. The
# mean difference of each: (R,).

# %% tags=["exercise"]
def redrawn_difference(before, after, draws):
    return (after.double() - before.double())[draws].mean(1)  # solution


checks.check_redrawn_difference(redrawn_difference)

# %% [markdown] lang="en"
# **6.5.2** (5 minutes) Equation (3) as a test that can be trusted: whether two tensors agree to an absolute tolerance
# `near`. Think of shapes, of signs and of NaN.

# %% tags=["exercise"]
def agrees(mine, theirs, near):
    return mine.shape == theirs.shape and bool(((mine - theirs).abs() <= near).all())  # solution


checks.check_agrees(agrees)

# %% [markdown] lang="en"
# **6.5.3** (6 minutes) Equation (4): how many pods an autoscaler wants, of which `now` are there, `used` and `target` in per cent, between
# `least` and `most`. `math.ceil` rounds up (`import math` first).

# %% tags=["exercise"]
def pods(now, used, target, least, most):
    # solution: return ...
    wanted = now if abs(used / target - 1) <= 0.1 else -int(-now * used // target)
    return max(least, min(most, wanted))
    # end solution


checks.check_pods(pods)

# %% [markdown] lang="en"
# ## Recap
#
# 1. Ask the same prompts before and after, and redraw them in pairs (1); (2) says how many it takes.
# 2. Controls examine the examiner: a ceiling by rule, a shuffled row that must fail.
# 3. A card, hashes and the library's layout make a folder that others can use; an export is checked as a translation (3).
# 4. Replicas share nothing, so that one may fall; a manifest says what well means, and (4) how many there are.
#
# **Next:** nothing. Write a style of your own, and propose it.
#
# ### References
#
# - Efron 1979, *Bootstrap methods: another look at the jackknife*, Annals of Statistics 7.
# - Mitchell et al. 2019, *Model cards for model reporting*, arXiv 1810.03993.
# - Gebru et al. 2021, *Datasheets for datasets*, arXiv 1803.09010.
# - Ghosh, Hajishirzi, Schmidt 2023, *GenEval*, arXiv 2310.11513.
# - Dean, Barroso 2013, *The tail at scale*, Communications of the ACM 56(2).
# - Kubernetes documentation, *Horizontal pod autoscaling*: the rule of (4) and its tolerance.
#
# The last cell says what memory all this took on this machine.

# %%
print(f"peak memory of this notebook: {runtime.peak_rss() / 2**30:.1f} GiB")
