"""Measure every way to transfer style on content × style pairs that none has seen; writes data/bench/style.md."""

import argparse
import time
from dataclasses import dataclass, field, replace

import torch

from aigc_course import evaluation, losses, plotting, runtime, scenes, style

PAINTED = [name for name in scenes.STYLES if name != "flat"]  # the contents are flat already
SEEDS = dict(contents=90, styles=91)  # of the test split; no method was trained or tuned on these
STRENGTHS = (0.25, 0.5, 0.75, 1.0)
HEAD = """# Style transfer, measured

Written by `python scripts/bench_style.py`: {contents} scenes of the test split in plain style × {styles} drawing styles,
each shown by another test scene: {pairs} pairs that no method saw.  Slow methods were given a part of them, as *pairs*
says.  {machine}.

*Style*: the judge reads the style of the style picture.  *Content*: it reads the names of all things in the content, as
often as they are there, and no others; *and colours*: their colours too.  The judge is `evaluation.load_parser()` (for
styles that the world lacks `load_newcomers()`, which reads no colours); its features are in no loss.  *Content loss* and *style
loss* are measured in one random-weight network that no method used (`style.random_features(seed=1)`: maps of its last
layer; Gram matrices of all).  *Seconds* of one processor core for one picture of 128 pixels, models loaded.  Brackets:
95 % bootstrap intervals.

"""  # noqa: E501


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

    def part(self, indices):
        """Some of them."""
        indices = list(indices)
        own = [[of[k] for k in indices] for of in (self.samples, self.names)]
        return Pairs(self.contents[indices], self.styles[indices], *own)

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
            paints = losses.style(style.grams(maps), style.grams(painted))
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
    shift = [pairs.names.index(n) for n in pairs.names]  # each pair judged by the style of the next
    nexts = [(k // len(PAINTED)) * len(PAINTED) + (k + 1) % len(PAINTED) for k in range(len(shift))]
    other = replace(pairs, names=[pairs.names[k] for k in nexts], styles=pairs.styles[nexts])
    return [
        Row("control: identity, the content as it is", pairs.contents, None, pairs),
        Row("control: the style picture, pasted", pairs.styles, None, pairs),
        Row("control: AdaIN, judged by another style", adain.made, None, other),
        Row("ceiling: drawn in the style by rule", drawn(pairs.samples, pairs.names), None, pairs),
    ]


def rows_of(args, judges):
    """Every row of the table, by a short key."""
    pairs = pairs_of(args.contents, PAINTED)
    slow, some = pairs.every(args.slow), pairs.every(args.redrawn)
    found = {}

    def add(key, row):
        found[key] = judges.look(row)

    add("adain", run("AdaIN", pairs, 1, method="adain"))
    for row in controls(pairs, found["adain"]):
        add(row.name, row)
    for name in style.trained("network-"):
        own = pairs if name in PAINTED else pairs_of(args.contents, [name])
        own = own.part([k for k, n in enumerate(own.names) if n == name])
        add(f"network {name}", run(f"transformation network, {name}", own, 1, method="network", style=name))
        if name in PAINTED:
            add(f"adain {name}", run(f"AdaIN, {name} alone", own, 1, method="adain"))
    if args.slow:
        add("gatys", run(f"Gatys, {args.steps} evaluations", slow, 1, method="gatys", steps=args.steps))
        add("adain on gatys", run("AdaIN, the pairs of Gatys", slow, 1, method="adain"))
    if args.redrawn:
        add("sdedit", run("SDEdit, style told by CLIP's word for it", some, 16, method="sdedit"))
        few = some.every(max(7, args.redrawn // 4))
        add("shared", run("shared attention, style told too", few, 16, method="shared"))
        add("shared only", run("shared attention alone", few, 16, method="shared", tell=False))
        chalk = pairs_of(max(1, args.redrawn // 7), ["chalk"])
        add("lora", run("LoRA, chalk", chalk, 16, method="lora", style="chalk"))
        if style.trained("adapter"):
            add("adapter", run("image-prompt adapter", some, 16, method="adapter"))
    add("new", run("AdaIN, a style never seen (sepia)", pairs_of(args.contents, ["sepia"]), 1, method="adain"))
    return found


def asked(rows):
    """What the project set out to reach, and what was reached."""
    lines = []
    if "gatys" in rows:
        ratio = rows["gatys"].seconds / rows["adain"].seconds
        loss = rows["adain on gatys"].found["style loss"] / rows["gatys"].found["style loss"]
        lines.append(("Gatys' seconds ÷ AdaIN's", "≥ 200", f"{ratio:.0f}"))
        lines.append(("AdaIN's style loss ÷ Gatys', same pairs", "≤ 1.2", f"{loss:.2f}"))
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
    for method in ["adain"] + ["sdedit"] * bool(args.redrawn):
        cells, losses_ = [], []
        for strength in STRENGTHS:
            row = run(f"{method} {strength}", pairs, 16, method=method, strength=strength)
            judges.look(row)
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
    ways |= {"SDEdit": dict(method="sdedit"), "shared": dict(method="shared")}
    ways["LoRA, chalk"] = dict(method="lora", style="chalk")
    if style.trained("adapter"):
        ways["adapter"] = dict(method="adapter")
    if args.slow:
        ways["Gatys"] = dict(method="gatys", steps=args.steps)
    shown, titles = [picked.contents, picked.styles], ["content"] * 8 + picked.names
    for name, how in ways.items():
        shown.append(run(name, picked, 8 if name not in ("AdaIN", "Gatys") else 1, **how).made)
        titles += [name] * 8
    return plotting.show_images(torch.cat(shown), titles, columns=8)


def main():
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=210, help="content × style pairs; multiples of 7")
    parser.add_argument("--slow", type=int, default=7, help="pairs for Gatys; 0 leaves it out")
    parser.add_argument("--redrawn", type=int, default=210, help="pairs for the denoiser's methods; 0 leaves them out")
    parser.add_argument("--dialled", type=int, default=21, help="pairs for the dial")
    parser.add_argument("--steps", type=int, default=200, help="evaluations of Gatys' loss")
    parser.add_argument("--sheet", help="where to save the contact sheet; it is not made without this")
    args = parser.parse_args()
    args.contents = max(1, args.pairs // len(PAINTED))
    runtime.seed_everything(0)
    judges = Judges()
    rows = rows_of(args, judges)
    machine = f"{runtime.summary()}; seconds are those of the processor, not of the clock"
    text = HEAD.format(contents=args.contents, styles=len(PAINTED), pairs=len(rows["adain"].made), machine=machine)
    text += table(["method", "pairs", *COLUMNS, "seconds"], [[row.name, *told(row)] for row in rows.values()])
    text += "\n\n## Asked and reached\n\n" + table(["figure", "asked", "reached"], asked(rows))
    lines, count = dial(args, judges)
    text += f"\n\n## The dial\n\nStyle loss / share of styles read as asked, by `strength`, on {count} pairs.\n\n"
    text += table(["method", *map(str, STRENGTHS), "falls all the way"], lines) + "\n"
    print(text)
    file = runtime.data_dir() / "bench" / "style.md"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="\n")
    if args.sheet:
        sheet(args).save(args.sheet)
    print(f"peak memory: {runtime.peak_rss() / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
