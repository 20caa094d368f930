"""Scenes to the official COCO layout and back: pictures, captions in two languages, boxes and masks."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np

from aigc_course.scenes.captions import caption
from aigc_course.scenes.datasets import Sample
from aigc_course.scenes.drawing import boxes, draw, masks
from aigc_course.scenes.scene import Scene
from aigc_course.scenes.vocabulary import LANGUAGES, THINGS

GEOMETRIC = ("circle", "square", "triangle", "star", "heart", "cross")

INFO = {
    "description": "Drawn scenes with captions in English and Chinese, boxes and masks",
    "url": "",
    "version": "1.0",
    "year": 2026,
    "contributor": "the AIGC course",
    "date_created": "2026/11/22",
}
LICENCES = [{"url": "https://creativecommons.org/licenses/by/4.0/", "id": 1, "name": "CC BY 4.0"}]
CATEGORIES = [
    {"supercategory": "geometric" if name in GEOMETRIC else "real", "id": number, "name": name}
    for number, name in enumerate(THINGS, start=1)
]


def run_lengths(mask: np.ndarray) -> dict:
    """A mask as COCO's uncompressed RLE: lengths of runs down the columns, off and on in turn, off first.

    mask: bool (H, W).  `coco.mask` is the way back.
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff([0, *changes, flat.size]).tolist()
    return {"counts": [0, *counts] if flat[0] else counts, "size": list(mask.shape)}


def _picture_record(number: int, item: Sample, size: int) -> dict:
    official = {
        "license": LICENCES[0]["id"], "file_name": f"{number:06d}.png", "coco_url": "",
        "height": size, "width": size, "date_captured": "", "flickr_url": "", "id": number,
    }
    return official | {"scene": item.scene.to_json(), "seed": item.seed}


def _captions(item: Sample, language: str) -> list[str]:
    """Two to five different captions in any order, one of them brief; fixed by the sample's seed."""
    rng = random.Random(f"{item.seed}/{language}")
    count, found = rng.randint(2, 5), [caption(item.scene, rng, language, "brief")]
    while len(found) < count:
        text = caption(item.scene, rng, language)
        found += [text] if text not in found else []
    rng.shuffle(found)
    return found


def _instances(item: Sample, size: int) -> list[dict]:
    """Category, box and mask of each thing; one that others hide entirely has none of them."""
    truth = item.scene, size, item.seed
    return [
        {
            "category_id": list(THINGS).index(thing.name) + 1, "bbox": list(box),
            "area": int(mask.sum()), "iscrowd": 0, "segmentation": run_lengths(mask),
        }
        for thing, mask, box in zip(item.scene.things, masks(*truth), boxes(*truth), strict=True)
        if mask.any()
    ]


def _numbered(records: list[list[dict]]) -> list[dict]:
    """Annotations of the pictures 1, 2, …, each with its own id and that of its picture."""
    owned = [(number, record) for number, of_one in enumerate(records, start=1) for record in of_one]
    return [{"image_id": number, "id": k} | record for k, (number, record) in enumerate(owned, start=1)]


def _save(file: Path, images: list[dict], annotations: list[list[dict]], **more) -> None:
    content = {"info": INFO, "licenses": LICENCES, "images": images, "annotations": _numbered(annotations)}
    file.write_text(json.dumps(content | more, ensure_ascii=False) + "\n", encoding="utf-8")


def _write(samples: list[Sample], folder: Path, size: int) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    images = [_picture_record(number, item, size) for number, item in enumerate(samples, start=1)]
    for record, item in zip(images, samples, strict=True):
        draw(item.scene, size, item.seed).save(folder / "images" / record["file_name"], optimize=True)
    for language in LANGUAGES:
        told = [[{"caption": text} for text in _captions(item, language)] for item in samples]
        _save(folder / "annotations" / f"captions_{language}.json", images, told)
    found = [_instances(item, size) for item in samples]
    _save(folder / "annotations" / "instances.json", images, found, categories=CATEGORIES)


def export_coco(samples: list[Sample], folder: Path | str, size: int = 128) -> Path:
    """Write samples in the official COCO layout, all of them or nothing; returns the folder.

    images/000001.png, …; annotations/captions_en.json, captions_zh.json (2 to 5 captions a picture) and
    instances.json (boxes, and masks as uncompressed RLE).  Each image record also holds its scene and seed.
    Layout: cocodataset.org, "data format".
    """
    if not samples:
        raise ValueError("no samples to export; make some with scenes.samples(count)")
    folder = Path(folder).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there and not empty; name a new folder, or delete this one first")
    building = folder.with_name(f".{folder.name}-unfinished")
    shutil.rmtree(building, ignore_errors=True)
    try:
        _write(samples, building, size)
        if folder.exists():
            folder.rmdir()
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def import_coco(folder: Path | str) -> list[Sample]:
    """The very samples that `export_coco` wrote into a folder."""
    file = Path(folder) / "annotations" / "captions_en.json"
    if not file.is_file():
        raise FileNotFoundError(f"no scenes at {file}; name a folder that export_coco wrote")
    try:
        images = json.loads(file.read_text(encoding="utf-8"))["images"]
        return [Sample(Scene.from_json(record["scene"]), int(record["seed"])) for record in images]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file} is not as export_coco wrote it ({error}); export again, or use coco.read_captions"
        ) from None
