"""Train the composer: tunes as words, by the loss that taught the language model captions."""

import argparse
import random
from pathlib import Path

import torch
from train_lm import objective

from aigc_course import evaluation, models, music, runtime, training

CARD = """# composer

A small GPT-2 that writes tunes of eight bars: mood, tempo and key first, then pitch and length, note after note.

```python
from aigc_course import models, music
written = music.write(models.load("composer"), music.tokenizer(), [("happy", "fast", "C")])
tune = music.listen(written[0]).tune
music.save(tune, "tune.wav")
```

| | |
|---|---|
| class | `GPT2LMHeadModel`, {layers} layers of {width}, {parameters:,} numbers in half precision |
| data | {scenes:,} tunes by rule (`music.compose`), made here |
| training | {steps:,} steps of {batch}, Muon, {precision}, {minutes:.0f} minutes, last loss {loss:.3f} nats a word |
| remade by | `python scripts/train_composer.py` |
| licence | code Apache-2.0, weights CC BY 4.0; the tunes it writes are yours |

{count} tunes for random prompts, 95 % bootstrap intervals.  *Mood*: read by a judge that was trained on other tunes and
does not see the prompt (`music.trained_judge`).  *New*: a tune, and none of the training tunes, transposed or not.

{rows}

**Fails** as anything but its own little world: one voice, eight bars, seven keys; it repeats two ideas because its
teacher does, and at high temperature it loses count of the bar.
"""


def shape(tune):
    """A tune without its key: what a transposed copy shares."""
    first = next((note.pitch for note in tune.notes if note.pitch is not None), 60)
    return tuple((None if note.pitch is None else note.pitch - first, note.length) for note in tune.notes)


def scrambled(text, rng):
    """The same words in another order behind the prompt: a control that has to fail."""
    head, rest = text.split()[:3], text.split()[3:]
    return " ".join([*head, *rng.sample(rest, len(rest))])


def at_random(text, rng):
    """Words drawn evenly: another control that has to fail."""
    return " ".join([*text.split()[:3], *rng.choices(music.vocabulary(), k=len(text.split()) - 3)])


def measured(name, texts, judge, known):
    """One row: what reading them as tunes says."""
    heard = [music.listen(text) for text in texts]
    right = [h.tune is not None and judge.moods([h.tune])[0] == h.tune.mood for h in heard]
    new = [not h.fault and shape(h.tune) not in known for h in heard]
    cells = [[not h.fault for h in heard], [h.bars for h in heard], [h.in_key for h in heard], [h.home for h in heard]]
    return [name, *(f"{evaluation.interval([float(x) for x in cell])}" for cell in [*cells, right, new])]


def table(model, words, count, lessons):
    """The composer beside its teacher and three controls."""
    rng = random.Random(3)
    judge = music.trained_judge(list(music.tunes(2000, "judge")))
    true = [music.to_words(tune) for tune in music.tunes(count, "test")]
    asked = [tuple(text.split()[:3]) for text in true]
    known = {shape(tune) for tune in lessons}
    copies = [next(t for t in lessons if t.mood == mood and t.tempo == tempo) for mood, tempo, _ in asked]
    rows = [
        measured("composer, temperature 1", music.write(model, words, asked, 1.0), judge, known),
        measured("composer, temperature 0.7", music.write(model, words, asked, 0.7), judge, known),
        measured("composer, temperature 1.5", music.write(model, words, asked, 1.5), judge, known),
        measured("ceiling: by rule, other tunes", true, judge, known),
        measured("control: a training tune copied", [music.to_words(tune) for tune in copies], judge, known),
        measured("control: the words in another order", [scrambled(text, rng) for text in true], judge, known),
        measured("control: words at random", [at_random(text, rng) for text in true], judge, known),
    ]
    head = ["", "a tune", "bars full", "in key", "ends at home", "mood", "new"]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def main():
    """Train, measure, ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--scenes", type=int, default=20_000, help="tunes by rule")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=runtime.training_precision())
    parser.add_argument("--count", type=int, default=200, help="tunes on which it is measured")
    parser.add_argument("--folder", type=Path, default=Path("runs/composer"))
    args = parser.parse_args()
    torch.manual_seed(0)
    words = music.tokenizer()
    model = music.new_composer(words).to(runtime.device())
    lessons = list(music.tunes(args.scenes))
    ids = music.encode(words, [music.to_words(tune) for tune in lessons])
    batches = training.Shuffled(args.scenes, args.batch, lambda indices, turn: ids[indices])
    dials = dict(optimiser=training.muon(model, args.rate), ema=0.995, precision=args.precision)
    history = training.fit(model, batches, objective(words.pad_token_id), args.steps, folder=args.folder, **dials)
    if not training.is_first():
        return
    rows = table(model.eval(), words, args.count, lessons)
    print(rows)
    facts = dict(layers=model.config.n_layer, width=model.config.n_embd, minutes=history.seconds[-1] / 60)
    facts |= dict(parameters=sum(p.numel() for p in model.parameters()), loss=history.smoothed(50)[-1], rows=rows)
    models.save(model, "composer", CARD.format(**facts | vars(args)), words)


if __name__ == "__main__":
    main()
