"""Measure every way to transfer style on content × style pairs that none has seen; writes data/bench/style.md."""

import argparse
import hashlib
import statistics
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from aigc_course import evaluation, losses, models, plotting, runtime, scenes, style

PAINTED = [name for name in scenes.STYLES if name != "flat"]  # the contents are flat already
SEEDS = dict(contents=290, styles=291)  # of the test split; no method was trained or tuned on these
STRENGTHS = (0.25, 0.5, 0.75, 1.0)
MARKS = (25, 50, 100, 200, 400)  # evaluations of Gatys' loss at which the picture is looked at
FAIR = 100  # of these: later ones change its loss by less than half a percent, as the table of marks shows
SHOWN = 64  # pictures that tell a style to the networks, and to Gatys beside them
TAUGHT = dict(split="train", seed=52)  # those of the lessons in `train_style.py`
TIMED = 5  # how often the quick ones paint each picture of Gatys, for their seconds
READERS = ("text-to-image", "captioner", "clip", "tokenizer")  # what the denoiser's methods are made of
HEAD = """# Style transfer, measured

Written by `python scripts/bench_style.py`: {contents} scenes of the test split in plain style × {styles} drawing styles,
each shown by another test scene: {pairs} pairs that no method saw.  Slow methods were given a part of them, as *pairs*
says.  {machine}.

*Style*: the judge reads the style of the style picture.  *Content*: it reads the names of all things in the content, as
often as they are there, and no others; *and colours*: their colours too.  The judge is `evaluation.load_parser()` (for
styles that the world lacks `load_newcomers()`, which reads no colours); its features are in no loss.  *Content loss* and *style
loss* are measured in one random-weight network that no method used (`style.random_features(seed=1)`: maps of its last
layer; Gram matrices of all, against those of the one style picture that was shown).  *Seconds* of one processor core for
one picture of 128 pixels, models loaded.  Brackets: 95 % bootstrap intervals.

SDEdit and shared attention draw a picture again, up to {tries} times in all, where the captioner, which is not the
judge, does not find in it what was told.  AdaIN's and the networks' seconds are medians of {timed} pictures, timed by turns
between Gatys' pictures; his are medians too.

"""  # noqa: E501


MARKED = """

## How long Gatys takes

His loss falls fast and then hardly at all; where L-BFGS finds no lower one, it ends by itself, and later marks repeat
the last.  Means over {pairs} pairs.  The table above has him at {fair} evaluations; the last column: how often
AdaIN's seconds go into his.

"""
TOLD = """

## One style: a network beside Gatys

Both are told by the same {shown} pictures of training scenes: their mean Gram matrices.  *Style loss* here is against
the mean Gram matrices of {shown} other pictures in that style, of test scenes.  Gatys' seconds are those above, with
one style picture: he would need no more for the mean of many.

"""


@dataclass
class Row:
    """What one method made of some pairs."""

    name: str
    made: torch.Tensor
    seconds: float
    pairs: "Pairs"
    found: dict = field(default_factory=dict)


@dataclass
class Pairs:
    """Contents and style pictures, (N, 3, H, W) each, the scenes of the contents and the names of the styles."""

    contents: torch.Tensor
    styles: torch.Tensor
    samples: list
    names: list
    aim: dict | None = None  # Gram matrices that stand for the style in place of each picture's own

    def part(self, indices):
        """Some of them."""
        indices = list(indices)
        own = [[of[k] for k in indices] for of in (self.samples, self.names)]
        return Pairs(self.contents[indices], self.styles[indices], *own, self.aim)

    def every(self, count):
        """So many, spread over all styles and contents."""
        chosen = range(count) if count < len(self.names) else ()
        return self.part([k * len(self.names) // count for k in chosen]) if chosen else self


def drawn(samples, names):
    """Scenes in styles of the world, or in new ones: (N, 3, 128, 128)."""
    known = [replace(one, scene=replace(one.scene, style=n if n in scenes.STYLES else "flat")) for one, n in
             zip(samples, names, strict=True)]  # fmt: skip
    parts = [scenes.pictures([one]) if n in scenes.STYLES else scenes.new_pictures([one], style=n) for one, n in
             zip(known, names, strict=True)]  # fmt: skip
    return torch.cat(parts)


def pairs_of(contents, names):
    """Each content with each style, shown by a scene of its own."""
    samples = scenes.samples(contents, "test", SEEDS["contents"])
    crossed = [(one, name) for one in samples for name in names]
    shown, painted = [one for one, _ in crossed], [name for _, name in crossed]
    others = scenes.samples(len(crossed), "test", SEEDS["styles"])
    return Pairs(drawn(shown, ["flat"] * len(shown)), drawn(others, painted), shown, painted)


class Judges:
    """Reads what was made: the parser, or the judge of newcomers where the style is new; and the fixed network."""

    def __init__(self):
        self.parser, self.newcomers = evaluation.load_parser(), evaluation.load_newcomers()
        self.fixed = style.random_features(seed=1)

    def look(self, row):
        """Style and content as yes and no for each pair; the two losses as numbers."""
        pairs, known = row.pairs, row.pairs.names[0] in scenes.STYLES
        seen = (self.parser if known else self.newcomers).read(row.made)
        row.found["style"] = [one.style == name for one, name in zip(seen, pairs.names, strict=True)]
        named = [sorted(t.name for t in one.things) if known else sorted(one.names) for one in seen]
        asked = [sorted(t.name for t in one.scene.things) for one in pairs.samples]
        row.found["content"] = [a == b for a, b in zip(named, asked, strict=True)]
        if known:
            kinds = [sorted((t.name, t.colour) for t in one.things) for one in seen]
            wanted = [sorted((t.name, t.colour) for t in one.scene.things) for one in pairs.samples]
            row.found["and colours"] = [a == b for a, b in zip(kinds, wanted, strict=True)]
        row.found |= dict(zip(("content loss", "style loss"), self.losses(row.made, pairs), strict=True))
        print(f"{row.name}: {told(row)}", flush=True)
        return row

    @torch.no_grad()
    def losses(self, made, pairs):
        """Content and style loss in the fixed network, as means over the pairs."""
        last, sums = self.fixed.names[-1], torch.zeros(2)
        for some in range(0, len(made), 16):
            part = slice(some, some + 16)
            maps, shown, painted = (self.fixed(x[part]) for x in (made, pairs.contents, pairs.styles))
            shows = losses.content({last: maps[last]}, {last: shown[last]})
            paints = losses.style(style.grams(maps), pairs.aim or style.grams(painted))
            sums += len(made[part]) * torch.stack([shows, paints])
        return (sums / len(made)).tolist()


COLUMNS = ("style", "content", "and colours", "content loss", "style loss")


def told(row):
    """The cells of a row."""
    cells = [str(len(row.made))]
    for name in COLUMNS:
        value = row.found.get(name)
        shares = isinstance(value, list)
        cells.append("–" if value is None else f"{evaluation.interval(value)}" if shares else f"{value:.3f}")
    return [*cells, "–" if row.seconds is None else f"{row.seconds:.3g}"]


def run(name, pairs, batch, **how):
    """One method on all pairs, timed after a first picture."""
    def call(p):
        manner = how["style"] if "style" in how else p.styles
        return style.transfer(p.contents, manner, **{k: v for k, v in how.items() if k != "style"})

    if how.get("method") != "gatys":
        call(pairs.part([0]))
    began, made = time.process_time(), []
    for k in range(0, len(pairs.names), batch):
        made.append(call(pairs.part(range(k, min(k + batch, len(pairs.names))))))
    return Row(name, torch.cat(made), (time.process_time() - began) / len(pairs.names), pairs)


def controls(pairs, adain):
    """What has to fail, and the ceiling."""
    every = range(len(pairs.names))  # each pair judged by the style of the next
    nexts = [(k // len(PAINTED)) * len(PAINTED) + (k + 1) % len(PAINTED) for k in every]
    other = replace(pairs, names=[pairs.names[k] for k in nexts], styles=pairs.styles[nexts])
    return [
        Row("control: identity, the content as it is", pairs.contents, None, pairs),
        Row("control: the style picture, pasted", pairs.styles, None, pairs),
        Row("control: AdaIN, judged by another style", adain.made, None, other),
        Row("ceiling: drawn in the style by rule", drawn(pairs.samples, pairs.names), None, pairs),
    ]


def kept(args, name, pairs, *parts, **how):
    """`run` for the slow, whose pictures stand in a file as long as nothing that made them changes."""
    sums = [(models.folder_of(part) / models.MANIFEST).read_text(encoding="utf-8") for part in (*READERS, *parts)]
    told = repr((name, pairs.names, sorted(how.items()), style.NOISE, style.TRIES, sums))
    file = args.folder / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.safetensors"
    if file.is_file():
        found = load_file(file)
        return Row(name, found["made"].float() / 127.5 - 1, found["seconds"].item(), pairs)
    row = run(name, pairs, 14, **how)
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = ((row.made + 1) * 127.5).round().clamp(0, 255).byte()
    save_file(dict(made=pixels, seconds=torch.tensor(row.seconds, dtype=torch.float64)), file)
    return row


def quick():
    """The methods of one pass, by the keys of their rows."""
    return {"adain": dict(method="adain")} | {
        f"network {name}": dict(method="network", style=name) for name in style.trained("network-")
    }


def clocked(pair, times):
    """The quick methods by turns on one pair; their seconds go into `times`."""
    for _ in range(TIMED):
        for key, how in quick().items():
            began = time.process_time()
            style.transfer(pair.contents, **{"style": pair.styles} | how)
            times.setdefault(key, []).append(time.process_time() - began)


def painting(pairs, shown=None, times=None, marks=MARKS):
    """Gatys to the last mark: a row for each, with the mean of the loss he had there and the median of his seconds.

    times: where to put the seconds of the quick methods, which paint the same pictures between his.
    """
    strokes = {mark: [] for mark in marks}
    for k in range(len(pairs.names)):
        one, began, seen = pairs.part([k]), time.process_time(), []

        def note(stroke, began=began, seen=seen):
            seen.append((stroke, time.process_time() - began))

        manner = one.styles if shown is None else shown
        style.gatys(style.features(), one.contents, manner, steps=marks[-1], on_step=note)
        if times is not None:
            clocked(one, times)
        for mark in marks:  # it ends by itself where no step makes the loss less
            strokes[mark].append(seen[min(mark, len(seen)) - 1])
    rows = {}
    for mark, some in strokes.items():
        made, seconds = torch.cat([one.picture for one, _ in some]), statistics.median(took for _, took in some)
        rows[mark] = Row(f"Gatys, {mark} evaluations", made, seconds, pairs)
        rows[mark].found["loss"] = sum(one.loss for one, _ in some) / len(some)
    return rows


def rows_of(args, judges):
    """Every row of the table, by a short key; and Gatys' at each mark."""
    pairs = pairs_of(args.contents, PAINTED)
    slow, some = pairs.every(args.slow), pairs.every(args.redrawn)
    found, marks, times = {}, {}, {}

    def add(key, row):
        found[key] = judges.look(row)

    add("adain", run("AdaIN", pairs, 1, method="adain"))
    for row in controls(pairs, found["adain"]):
        add(row.name, row)
    for name in style.trained("network-"):
        own = own_pairs(args.contents, name)
        add(f"network {name}", run(f"transformation network, {name}", own, 1, method="network", style=name))
        add(f"adain {name}", run(f"AdaIN, {name} alone", own, 1, method="adain"))
    if args.slow:
        marks = {mark: judges.look(row) for mark, row in painting(slow, times=times).items()}
        add("gatys", marks[FAIR])
        add("adain on gatys", run("AdaIN, the pairs of Gatys", slow, 1, method="adain"))
    if args.redrawn:
        add("sdedit", kept(args, "SDEdit, style told by CLIP's word for it", some, method="sdedit"))
        add("shared", kept(args, "shared attention, style told too", some, method="shared"))
        few = some.every(max(7, args.redrawn // 7))
        add("shared only", kept(args, "shared attention alone", few, method="shared", tell=False))
        for name in [n for n in style.trained("lora-") if n in scenes.NEW_STYLES]:
            own = own_pairs(max(1, args.redrawn // 7), name)
            add(f"lora {name}", kept(args, f"LoRA, {name}", own, f"lora-{name}", method="lora", style=name))
        if style.trained("adapter"):
            add("adapter", kept(args, "image-prompt adapter", some, "adapter", method="adapter"))
    add("new", run("AdaIN, a style never seen (sepia)", own_pairs(args.contents, "sepia"), 1, method="adain"))
    for key in found if times else ():
        if found[key].name.startswith(("AdaIN", "transformation network")):
            found[key].seconds = statistics.median(times[key if key in times else "adain"])
    return found, marks


def own_pairs(contents, name):
    """So many contents, each with one and the same style, shown by as many scenes."""
    if name not in PAINTED:
        return pairs_of(contents, [name])
    pairs = pairs_of(contents, PAINTED)
    return pairs.part([k for k, n in enumerate(pairs.names) if n == name])


def one_style(args, judges, name, seconds):
    """A network beside Gatys, both told by the same pictures; style loss against the mean of unseen ones.

    seconds: of both, as the large table has them; many style pictures cost Gatys more than their mean would, which
    he is not told.
    """
    own = own_pairs(max(1, args.slow // 2), name)
    shown = drawn(scenes.samples(SHOWN, **TAUGHT), [name] * SHOWN)
    unseen = drawn(scenes.samples(SHOWN, "test", SEEDS["styles"] + 1), [name] * SHOWN)
    with torch.no_grad():
        aim = {layer: each.mean(0, keepdim=True) for layer, each in style.grams(judges.fixed(unseen)).items()}
    own = replace(own, aim=aim)
    rows = [run(f"network, {name}", own, 1, method="network", style=name)]
    rows = [judges.look(row) for row in (*rows, *painting(own, shown, marks=(FAIR,)).values())]
    rows[0].seconds, rows[1].seconds = seconds
    rows += [judges.look(Row("control: identity", own.contents, None, own))]
    return [(name, row.name, *told(row)[1:], len(own.names)) for row in rows], ratios(rows[0], rows[1])


def ratios(quick, slow):
    """How much faster, and how many times the style loss."""
    return slow.seconds / quick.seconds, quick.found["style loss"] / slow.found["style loss"]


def asked(rows, networks):
    """What the project set out to reach, and what was reached."""
    lines, each = [], {}
    if "gatys" in rows:
        each = {"AdaIN, any style": ratios(rows["adain on gatys"], rows["gatys"])}
    each |= {f"network, {name}": found for name, found in networks.items()}
    for name, (faster, loss) in each.items():
        lines.append((f"{name}: Gatys' seconds ÷ its own", "≥ 200", f"{faster:.0f}"))
        lines.append((f"{name}: its style loss ÷ Gatys', same pairs", "≤ 1.2", f"{loss:.2f}"))
    count = len(rows["adain"].made)  # a few pairs choose no best
    full = [row for row in rows.values() if row.seconds is not None and len(row.made) == count]
    full = [row for row in full if len(set(row.pairs.names)) > 1]
    best = max(full, key=lambda row: min(evaluation.interval(row.found[k]).mean for k in ("style", "content")))
    for what, least in (("style", "≥ 0.95"), ("content", "≥ 0.90")):
        reached = f"{evaluation.interval(best.found[what])}"
        lines.append((f"best method over all styles ({best.name}): {what}", least, reached))
    return lines


def dial(args, judges):
    """Style loss and style as read, by strength, on some pairs."""
    pairs, lines = pairs_of(args.contents, PAINTED).every(args.dialled), []
    for method in ["adain"] + ["sdedit", "shared"] * bool(args.redrawn):
        cells, losses_ = [], []
        for strength in STRENGTHS:
            how = dict(method=method, strength=strength)
            name = f"{method} {strength}"
            row = judges.look(run(name, pairs, 14, **how) if method == "adain" else kept(args, name, pairs, **how))
            losses_.append(row.found["style loss"])
            cells.append(f"{losses_[-1]:.3f} / {sum(row.found['style']) / len(pairs.names):.2f}")
        falls = all(a > b for a, b in zip(losses_, losses_[1:], strict=False))
        lines.append((method, *cells, "yes" if falls else "no"))
    return lines, len(pairs.names)


def table(head, rows):
    """Markdown."""
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [head, ["---"] * len(head), *rows])


def sheet(args):
    """Methods × styles × contents, to be looked at: contents in the first row, style pictures in the second."""
    pairs = pairs_of(8, PAINTED)
    picked = pairs.part([7 * k + k % 7 for k in range(8)])
    ways = {"AdaIN": dict(method="adain")}
    ways |= {f"network, {name}": dict(method="network", style=name) for name in style.trained("network-")}
    if args.redrawn:
        ways |= {"SDEdit": dict(method="sdedit"), "shared": dict(method="shared")}
        new = [name for name in style.trained("lora-") if name in scenes.NEW_STYLES]
        ways |= {f"LoRA, {name}": dict(method="lora", style=name) for name in new}
    if args.redrawn and style.trained("adapter"):
        ways["adapter"] = dict(method="adapter")
    if args.slow:
        ways["Gatys"] = dict(method="gatys", steps=FAIR)
    shown, titles = [picked.contents, picked.styles], ["content"] * 8 + picked.names
    for name, how in ways.items():
        shown.append(run(name, picked, 8 if name not in ("AdaIN", "Gatys") else 1, **how).made)
        titles += [name] * 8
    return plotting.show_images(torch.cat(shown), titles, columns=8)


def main():
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=210, help="content × style pairs; multiples of 7")
    parser.add_argument("--slow", type=int, default=14, help="pairs for Gatys; 0 leaves it out")
    parser.add_argument("--redrawn", type=int, default=210, help="pairs for the denoiser's methods; 0 leaves them out")
    parser.add_argument("--dialled", type=int, default=14, help="pairs for the dial")
    parser.add_argument("--folder", type=Path, default=Path("runs/style-bench"), help="where slow rows are kept")
    parser.add_argument("--sheet", help="where to save the contact sheet; it is not made without this")
    args = parser.parse_args()
    args.contents = max(1, args.pairs // len(PAINTED))
    runtime.seed_everything(0)
    judges = Judges()
    if args.sheet:
        sheet(args).save(args.sheet)
    rows, marks = rows_of(args, judges)
    text = written(args, judges, rows, marks)
    print(text)
    file = runtime.data_dir() / "bench" / "style.md"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="\n")
    print(f"peak memory: {runtime.peak_rss() / 2**30:.2f} GiB")


def written(args, judges, rows, marks):
    """The page."""
    machine = f"{runtime.summary()}; seconds are those of the processor, not of the clock"
    facts = dict(contents=args.contents, styles=len(PAINTED), pairs=len(rows["adain"].made))
    facts |= dict(timed=TIMED * args.slow, tries=style.TRIES)
    text = HEAD.format(machine=machine, **facts)
    text += table(["method", "pairs", *COLUMNS, "seconds"], [[row.name, *told(row)] for row in rows.values()])
    lines, reached = [], {}
    for name in style.trained("network-") if args.slow else ():
        more, reached[name] = one_style(args, judges, name, (rows[f"network {name}"].seconds, marks[FAIR].seconds))
        lines += more
    text += "\n\n## Asked and reached\n\n" + table(["figure", "asked", "reached"], asked(rows, reached))
    if marks:
        text += MARKED.format(pairs=len(rows["gatys"].made), fair=FAIR)
        head = ["evaluations", "its own loss", "style", "content", "content loss", "style loss", "seconds", "÷ AdaIN's"]
        text += table(head, [marked(mark, row, rows["adain on gatys"]) for mark, row in marks.items()])
        text += TOLD.format(shown=SHOWN)
        text += table(["style", "method", *COLUMNS, "seconds", "contents"], lines)
    lines, count = dial(args, judges)
    text += f"\n\n## The dial\n\nStyle loss / share of styles read as asked, by `strength`, on {count} pairs.\n\n"
    return text + table(["method", *map(str, STRENGTHS), "falls all the way"], lines) + "\n"


def marked(mark, row, quick):
    """A line of the table of marks."""
    cells = told(row)
    return [mark, f"{row.found['loss']:.4f}", *cells[1:3], *cells[4:], f"{row.seconds / quick.seconds:.0f}"]


if __name__ == "__main__":
    main()
