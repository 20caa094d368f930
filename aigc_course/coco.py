"""Reads caption data in the official COCO JSON layout, ours or anyone's,
and refuses broken files with a sentence.

The layout: cocodataset.org, "data format".  A file is read whole or not at all.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

MISSING = ("refuse", "skip")


@dataclass(frozen=True)
class Captioned:
    """A picture and what people say of it.  Width and height are None where the file does not tell them."""

    path: Path
    captions: tuple[str, ...]
    width: int | None
    height: int | None
    image_id: int | str


@dataclass(frozen=True)
class Instance:
    """One thing in a picture: its category, and its box (left, top, width, height) in pixels.

    segmentation: as the file has it (polygons, run lengths or None); `mask` makes pixels of it.
    crowd: whether the box holds many things.
    """

    name: str
    box: tuple[float, float, float, float]
    segmentation: list | dict | None = None
    crowd: bool = False


@dataclass(frozen=True)
class Located:
    """A picture and the things in it; the fields as in `Captioned`."""

    path: Path
    instances: tuple[Instance, ...]
    width: int | None
    height: int | None
    image_id: int | str


# --- reading ------------------------------------------------------------------------------------------------
def read_captions(
    file: Path | str, images: Path | str | None = None, missing: str = "refuse"
) -> list[Captioned]:
    """The pictures of a captions file, in its order, each with its captions in their order.

    images: the folder of the pictures; where it is given, all of them must be there.
    missing: "refuse" raises where a picture is not in that folder, or a caption belongs to no picture;
        "skip" leaves such entries out, as one wants for a part of a large set.
    A picture without captions stays, with `captions=()`.  A caption loses only the white space around it.
    """
    file = Path(file)
    found = _read(file, _load(file), images, missing, _caption)
    return [Captioned(captions=captions, **picture) for picture, captions in found]


def read_instances(
    file: Path | str, images: Path | str | None = None, missing: str = "refuse"
) -> list[Located]:
    """The pictures of an instances file, in its order, each with its things; arguments: `read_captions`."""
    file = Path(file)
    content = _load(file)
    records = _records(file, content, "categories")
    names = {_identity(record, "id", where): _text(record, "name", where) for where, record in records}
    found = _read(file, content, images, missing, lambda record, where: _instance(record, where, names))
    return [Located(instances=instances, **picture) for picture, instances in found]


def read_karpathy(
    file: Path | str, split: str, images: Path | str | None = None, missing: str = "refuse"
) -> list[Captioned]:
    """The pictures of one split of a file in Karpathy's layout: "train", "restval", "val" or "test".

    Karpathy & Fei-Fei 2015.  Papers train on "train" and "restval": add the two lists.
    """
    file = Path(file)
    records = list(_records(file, _load(file), "images"))
    splits = [_text(record, "split", where) for where, record in records]
    if split not in splits:
        raise ValueError(f"{file} has no split {split!r}; use one of: {', '.join(sorted(set(splits)))}")
    read = [_karpathy(record, where, images) for where, record in records]
    chosen = [captioned for captioned, its_split in zip(read, splits, strict=True) if its_split == split]
    absent = _absent(file, [captioned.path for captioned in chosen], images, missing)
    return [captioned for captioned in chosen if captioned.path not in absent]


def picture(path: Path | str) -> Image.Image:
    """A picture file as RGB, whether it is grey, has a palette, or is transparent."""
    try:
        with Image.open(path) as opened:
            return opened.convert("RGB")
    except FileNotFoundError:
        raise FileNotFoundError(f"no picture at {path}; name its folder as images=...") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is no picture that can be read ({error}); copy it again") from None


def mask(segmentation: list | dict, height: int, width: int) -> np.ndarray:
    """The pixels of a segmentation: bool (height, width).  Run lengths are exact, polygons are painted."""
    if isinstance(segmentation, list):
        canvas = Image.new("1", (width, height))
        for polygon in segmentation:
            ImageDraw.Draw(canvas).polygon(polygon, fill=1)
        return np.array(canvas)
    counts = segmentation["counts"]
    if not isinstance(counts, list):
        raise ValueError("these run lengths are compressed; expand them with pycocotools.mask.decode")
    if (total := sum(counts)) != height * width:
        raise ValueError(f"runs over {total} pixels do not fill {height} × {width}; give the file's size")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def statistics(pictures: list[Captioned]) -> dict[str, float]:
    """How much is said: pictures, captions, their ratio, words per caption, different words.

    Words are lower-cased runs of letters and digits; each Chinese character counts as one.
    """
    captions = [caption for captioned in pictures for caption in captioned.captions]
    words = [word for caption in captions for word in _words(caption)]
    return {
        "pictures": len(pictures),
        "captions": len(captions),
        "captions per picture": len(captions) / max(1, len(pictures)),
        "words per caption": len(words) / max(1, len(captions)),
        "vocabulary": len(set(words)),
    }


def _words(caption: str) -> list[str]:
    return re.findall(r"[\u4e00-\u9fff]|(?:(?![\u4e00-\u9fff])[\w'-])+", caption.lower())


# --- files --------------------------------------------------------------------------------------------------
def _load(file: Path) -> dict:
    """The object in a JSON file."""
    try:
        content = json.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise FileNotFoundError(f"{file} is not readable ({error.strerror}); name a COCO JSON file") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text from byte {error.start} on; save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is broken or cut off ({error}); copy or download it again") from None
    if not isinstance(content, dict):
        raise ValueError(
            f"{file} holds a {type(content).__name__}, but COCO's layout is an object with 'images' "
            "and 'annotations'; name the annotation file, not a list of results"
        )
    return content


def _read(
    file: Path, content: dict, images, missing: str, read: Callable[[dict, str], object]
) -> list[tuple[dict, tuple]]:
    """(the fields of a picture, its annotations) for each picture that is there."""
    listed, owned = {}, {}
    for where, record in _records(file, content, "images"):
        found = _picture(record, where, images)
        if found["image_id"] in listed:
            raise ValueError(f"{where} has the id of an earlier picture; number the pictures apart")
        listed[found["image_id"]], owned[found["image_id"]] = found, []
    strangers = []
    for where, record in _records(file, content, "annotations"):
        annotation = read(record, where)
        owned.get(_identity(record, "image_id", where), strangers).append((annotation, where))
    if strangers and _checked(missing) == "refuse":
        raise ValueError(
            f"{len(strangers)} annotations belong to no picture of the file, the first is {strangers[0][1]}; "
            "list their pictures, or pass missing='skip'"
        )
    absent = _absent(file, [found["path"] for found in listed.values()], images, missing)
    there = [found for found in listed.values() if found["path"] not in absent]
    return [(found, tuple(annotation for annotation, _ in owned[found["image_id"]])) for found in there]


def _checked(missing: str) -> str:
    if missing not in MISSING:
        raise ValueError(f"missing={missing!r}; use one of: {', '.join(MISSING)}")
    return missing


def _absent(file: Path, paths: list[Path], images, missing: str) -> set[Path]:
    """The pictures that are not in their folder, where one is named."""
    if _checked(missing) and images is None:
        return set()
    if not Path(images).is_dir():
        raise FileNotFoundError(f"no folder {images}; name the folder that holds the pictures of {file}")
    absent = [path for path in paths if not path.is_file()]
    if absent and missing == "refuse":
        raise FileNotFoundError(
            f"{len(absent)} of {len(paths)} pictures of {file} are not there, the first is {absent[0]}; "
            "name the folder that holds them, or pass missing='skip'"
        )
    return set(absent)


# --- records ------------------------------------------------------------------------------------------------
def _records(file: Path, content: dict, key: str) -> Iterator[tuple[str, dict]]:
    """(where it stands, the record) for each entry of a list in the file."""
    records = content.get(key)
    if not isinstance(records, list):
        raise ValueError(f"{file} has no list {key!r}; COCO's layout needs one, even if it is empty")
    for index, record in enumerate(records):
        where = f"{file}: {key}[{index}]"
        if not isinstance(record, dict):
            raise ValueError(f"{where} is {reprlib.repr(record)}, not an object; correct it or take it out")
        yield where, record


def _wrong(record: dict, key: str, where: str, wanted: str) -> ValueError:
    told = reprlib.repr(record[key]) if key in record else "nothing"
    return ValueError(f"{where} has {told} as {key!r} and needs {wanted}; correct it or take the entry out")


def _text(record: dict, key: str, where: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _wrong(record, key, where, "a text")
    return value.strip()


def _identity(record: dict, key: str, where: str) -> int | str:
    value = record.get(key)
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise _wrong(record, key, where, "a number or a name")
    return value


def _side(record: dict, key: str, where: str) -> int | None:
    """A width or height; 0 and nothing both mean that it is not known."""
    value = record.get(key) or 0
    if not _is_number(value) or value < 0:
        raise _wrong(record, key, where, "a number of pixels")
    return int(value) or None


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _path(images: Path | str | None, name: str, where: str) -> Path:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"{where} names {name!r}, outside the folder of pictures; write a path inside it")
    return Path(images or "") / name


def _picture(record: dict, where: str, images) -> dict:
    return {
        "path": _path(images, _text(record, "file_name", where), where),
        "width": _side(record, "width", where),
        "height": _side(record, "height", where),
        "image_id": _identity(record, "id", where),
    }


def _caption(record: dict, where: str) -> str:
    return _text(record, "caption", where)


def _instance(record: dict, where: str, names: dict) -> Instance:
    category, box = _identity(record, "category_id", where), record.get("bbox")
    if category not in names:
        raise _wrong(record, "category_id", where, "the id of one of the file's categories")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)) or min(box[2:]) < 0:
        raise _wrong(record, "bbox", where, "[left, top, width, height]")
    segmentation = record.get("segmentation")
    if segmentation is not None and not _is_segmentation(segmentation):
        raise _wrong(record, "segmentation", where, "polygons or run lengths")
    return Instance(names[category], tuple(box), segmentation or None, record.get("iscrowd") in (1, True))


def _is_polygon(value) -> bool:
    return isinstance(value, list) and len(value) >= 6 and len(value) % 2 == 0 and all(map(_is_number, value))


def _is_segmentation(value) -> bool:
    """Polygons [[x, y, x, y, x, y, …], …], or run lengths {"counts": […], "size": [height, width]}."""
    if isinstance(value, list):
        return all(map(_is_polygon, value))
    counts = value.get("counts") if isinstance(value, dict) else None
    whole = isinstance(counts, list) and all(type(count) is int and count >= 0 for count in counts)
    return whole or isinstance(counts, str)


def _karpathy(record: dict, where: str, images) -> Captioned:
    name = Path(str(record.get("filepath") or "")) / _text(record, "filename", where)
    inner = list(_records(Path(where), record, "sentences"))
    captions = tuple(_text(sentence, "raw", place) for place, sentence in inner)
    identity = _identity(record, "cocoid" if "cocoid" in record else "imgid", where)
    return Captioned(_path(images, name.as_posix(), where), captions, None, None, identity)
