"""Draw data/scenes anew: 200 pictures of the course's world with captions, boxes and masks.

    python scripts/build_scenes.py
    python scripts/build_scenes.py --folder elsewhere

The same code draws the same pixels.  The folder that was there is replaced once the new one is complete.
"""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

from aigc_course import scenes

FOLDER = Path(__file__).resolve().parents[1] / "data" / "scenes"
SHARES = {"train": 120, "validation": 30, "test": 30, "held-out": 20}

CARD = """\
# 200 drawn scenes

Pictures of the course's own world (`aigc_course.scenes`), 128 × 128 pixels, in the official COCO layout.

```
images/000001.png …              {total} pictures
annotations/captions_en.json     2 to 5 English captions of each picture, one of them brief
annotations/captions_zh.json     the same in Chinese
annotations/instances.json       category, box and mask (run lengths, not compressed) of every thing
```

| split | pictures |
|---|---|
{rows}

The split of a scene is a rule on what it shows: `scenes.split_of(scene)`.

Beyond the official keys, each image record holds its `scene` (every fact that was drawn) and its `seed`, so
that `scenes.import_coco("data/scenes")` brings back the very scenes, at any resolution.
`coco.read_captions("data/scenes/annotations/captions_en.json", "data/scenes/images")` reads them as it
reads anyone's COCO files.

To draw them again, pixel for pixel: `python scripts/build_scenes.py`.

Licence: [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/), the AIGC course.  Drawn by a program; no
photograph, person or brand is shown, and nobody else's data was used.
"""


def _card() -> str:
    rows, last = [], 0
    for split, count in SHARES.items():
        rows.append(f"| {split} | {last + 1} to {last + count} |")
        last += count
    return CARD.format(total=last, rows="\n".join(rows))


def build(folder: Path) -> None:
    """Write the scenes beside the folder, then let them take its place."""
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    chosen = [item for split, count in SHARES.items() for item in scenes.samples(count, split)]
    scenes.export_coco(chosen, fresh)
    (fresh / "README.md").write_text(_card(), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def run(what: str, build: Callable[[Path], None], default: Path) -> None:
    """A command line that takes a folder, builds there, and says how much it wrote."""
    parser = argparse.ArgumentParser(description=what.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=default)
    folder = parser.parse_args().folder.resolve()
    build(folder)
    files = [file for file in folder.rglob("*") if file.is_file()]
    print(f"{len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.2f} MB in {folder}")


if __name__ == "__main__":
    run(__doc__, build, FOLDER)
