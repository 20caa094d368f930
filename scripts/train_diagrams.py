"""Fine-tune the language model to write flowcharts: a described process, then mermaid text, by the captions' loss."""

import argparse
import random
from pathlib import Path

import torch

from aigc_course import evaluation, models, runtime, training
from aigc_course.applications import diagrams, processes

CARD = """# diagrams

A small GPT-2 that reads the description of a process, in English or Chinese, and writes its flowchart as mermaid text.

```python
from aigc_course import applications, models
told = ["First open the letter. If the letter is late, sign the form, otherwise send the form. Finally save the file."]
print(applications.write_diagrams(models.load("diagrams"), applications.diagram_words(), told)[0])
```

| | |
|---|---|
| class | `GPT2LMHeadModel`, {layers} layers of {width}, {parameters:,} numbers in half precision |
| begins as | the first {layers} layers of `lm`, which writes captions; words, and places after {known}, are new |
| data | {scenes:,} processes at random (`applications.random_processes`) of 2 to {boxes} boxes, half of them Chinese |
| training | {steps:,} steps of {batch}, Muon, {precision}, {minutes:.0f} minutes, last loss {loss:.3f} nats a token |
| remade by | `python scripts/train_diagrams.py`, after `train_lm.py` |
| licence | code Apache-2.0, weights CC BY 4.0; the diagrams it writes are yours |

{count} processes that were never trained on, each with at least one action that no process of the training has; 95 %
intervals (bootstrap).  *Read*: the course's own reader of flowcharts takes it.  *Right*: the graph that it draws is
the one described: every arrow, every label, no other.  `scripts/apply_design.py` asks mermaid's own parser as well.

{rows}

**Fails** on processes longer than those of the training, on words that are not among its {words} tokens (it refuses
these), and on anything but steps and choices told as the grammar tells them.
"""


def lessons(count, words):
    """Processes as ids, half of them Chinese."""
    rng, drawn = random.Random(1), list(processes.random_processes(count))
    told = [processes.tell_process(one, rng) for one in drawn]
    return diagrams.encode_diagrams(words, told, [processes.to_mermaid(one) for one in drawn])


def row(name, charts, asked):
    """What became of some charts: read, and right."""
    read = [diagrams.readable(chart) for chart in charts]
    right = [processes.same_graph(chart, one) for chart, one in zip(charts, asked, strict=False)]
    return f"| {name} | {evaluation.interval(read)} | {evaluation.interval(right)} |"


def table(model, words, count):
    """On the test in each language, on longer processes, and two controls."""
    rng = random.Random(4)
    asked = list(processes.random_processes(count, "test", seed=4))
    longer = list(processes.random_processes(count // 4, "test", 4, processes.BOXES + 2, processes.BOXES + 3))
    told = [processes.tell_process(one, rng) for one in asked]
    made = diagrams.write_diagrams(model, words, told)
    rows = [row(name, made[k::2], asked[k::2]) for k, name in enumerate(("English", "Chinese"))]
    beyond = diagrams.write_diagrams(model, words, [processes.tell_process(one, rng) for one in longer])
    rows.append(row(f"{longer[0].boxes} boxes or so, more than any of the training", beyond, longer))
    mixed = diagrams.write_diagrams(model, words, [diagrams.shuffled(text, rng) for text in told[: count // 4]])
    rows.append(row("control: the words in another order", mixed, asked))
    fresh = diagrams.new_diagrammer(words).eval()
    rows.append(row("control: untrained", diagrams.write_diagrams(fresh, words, told[:8]), asked))
    return "\n".join(["| | read | right |", "|---|---|---|", *rows])


def main():
    """Train, measure, ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--scenes", type=int, default=20_000, help="processes to learn from")
    parser.add_argument("--start", choices=["lm", "nothing"], default="lm", help="from nothing, it is not shipped")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=runtime.training_precision())
    parser.add_argument("--count", type=int, default=200, help="processes on which it is measured")
    parser.add_argument("--folder", type=Path, default=Path("runs/diagrams"))
    args = parser.parse_args()
    torch.manual_seed(0)
    words, start = diagrams.diagram_words(), models.load("lm", dtype=torch.float32) if args.start == "lm" else None
    model = diagrams.new_diagrammer(words, start).to(runtime.device())
    ids = lessons(args.scenes, words)
    batches = training.Shuffled(args.scenes, args.batch, lambda indices, turn: cut(ids[indices], words.pad_token_id))
    dials = dict(optimiser=training.muon(model, args.rate), ema=0.99, precision=args.precision, save_every=100)
    history = training.fit(model, batches, diagrams.diagram_loss(words), args.steps, folder=args.folder, **dials)
    if not training.is_first() or args.start != "lm":
        return
    model = model.half().float()  # measured as it is shipped
    rows = table(model.eval(), words, args.count)
    print(rows)
    facts = dict(layers=model.config.n_layer, width=model.config.n_embd, minutes=history.seconds[-1] / 60)
    facts |= dict(parameters=sum(p.numel() for p in model.parameters()), loss=history.smoothed(50)[-1], rows=rows)
    facts |= dict(known=start.config.n_positions, boxes=processes.BOXES, words=len(words))
    models.save(model, "diagrams", CARD.format(**facts | vars(args)), words)


def cut(ids, pad):
    """A batch without the padding that none of its texts needs."""
    return ids[:, : int((ids != pad).sum(1).max())]


if __name__ == "__main__":
    main()
