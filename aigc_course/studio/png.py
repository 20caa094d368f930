"""Pictures that say how they were made: the widely read `parameters` text, and our own JSON, in one PNG."""

from __future__ import annotations

import hashlib
import io
import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from aigc_course.studio.claims import parse_json, tidy
from aigc_course.studio.job import LARGEST_SEED, JobSpec, Part, ratio_near, shape_of

KEY, COMMON = "studio", "parameters"  # of our text, and of the one that other programs write
LARGEST_FILE, LARGEST_SIDE, LONGEST = 32 * 2**20, 4096, 60_000  # bytes, pixels, characters


@dataclass(frozen=True)
class Recipe:
    """What a PNG says of itself: the job, which picture of its grid, and the facts of the day (models, versions).

    spec is None in a picture that only others' programs, or nobody, wrote about; text is their `parameters`.
    """

    spec: JobSpec | None
    number: int = 0
    facts: dict[str, Any] | None = None
    text: str = ""

    @property
    def seed(self) -> int | None:
        """Of this very picture."""
        return None if self.spec is None or self.spec.seed is None else self.spec.seeds[self.number]

    @property
    def model(self) -> str:
        """The name of the model that made it; "" where nothing says so."""
        return next(iter((self.facts or {}).get("models") or {}), "")


# --- writing ------------------------------------------------------------------------------------------------


def pixels_hash(picture: Image.Image) -> str:
    """Of the size and the pixels: the same for the same picture, whatever its file says."""
    rgb = picture.convert("RGB")
    return hashlib.sha256(repr(rgb.size).encode() + rgb.tobytes()).hexdigest()


def write(picture: Image.Image, recipe: Recipe) -> bytes:
    """The bytes of a PNG with both texts."""
    told = PngImagePlugin.PngInfo()
    if recipe.spec is not None:
        ours = {"spec": json.loads(recipe.spec.to_json()), "number": recipe.number, "facts": recipe.facts or {}}
        told.add_itxt(COMMON, parameters(recipe, picture.size))
        told.add_itxt(KEY, json.dumps(ours, ensure_ascii=False, sort_keys=True))
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "PNG", pnginfo=told)
    return buffer.getvalue()


def parameters(recipe: Recipe, size: tuple[int, int]) -> str:
    """The job as AUTOMATIC1111's interface writes it, and many programs read it: prompt, negative prompt, settings."""
    spec, facts = recipe.spec, recipe.facts or {}
    prompt = " AND ".join(p.text + (f" :{p.weight:g}" if p.weight != 1 else "") for p in spec.prompt)
    prompt += "".join(f" <lora:{one.name}:{one.weight:g}>" for one in spec.loras)
    settings = {
        "Steps": facts.get("steps", spec.steps),
        "Sampler": facts.get("sampler"),
        "CFG scale": facts.get("scale"),
        "Seed": recipe.seed,
        "Size": f"{size[0]}x{size[1]}",
        "Model hash": (facts.get("models") or {}).get(recipe.model) or None,
        "Model": recipe.model or None,
        "Denoising strength": spec.strength,
        "Tiling": True if spec.tile else None,
        "Version": f"aigc-course {(facts.get('versions') or {}).get('course', '')}".strip(),
    }
    last = ", ".join(f"{name}: {_quoted(value)}" for name, value in settings.items() if value is not None)
    lines = [prompt, *([f"Negative prompt: {spec.negative}"] if spec.negative else []), last]
    return "\n".join(lines)


def _quoted(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r"[,:\n]", text) else text


# --- reading: everything in a file is somebody's claim ------------------------------------------------------


def opened(source: Path | str | bytes) -> Image.Image:
    """The picture of a PNG, whole and of sane size; whatever is wrong with it is said in one sentence."""
    data, name = _bytes(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=["PNG"])
            if max(picture.size) > LARGEST_SIDE:
                raise ValueError(f"it is {picture.size[0]} × {picture.size[1]} pixels, and {LARGEST_SIDE} are the most")
            picture.load()
    except Exception as error:  # Pillow raises many kinds on damaged files; each means the same here
        raise ValueError(f"{name} is no PNG that can be read ({_short(error)}); take another copy") from None
    return picture


def read(source: Path | str | bytes) -> Recipe:
    """What a PNG says of how it was made.  Text is data: limited, checked against the schema, never evaluated."""
    picture = opened(source)
    texts = {key: value for key, value in picture.info.items() if isinstance(value, str)}
    common = str(texts.get(COMMON, ""))[:LONGEST]
    if KEY not in texts:
        return Recipe(from_parameters(common), 0, None, common)
    told = parse_json(str(texts[KEY]), LONGEST)
    if not isinstance(told, dict) or set(told) != {"spec", "number", "facts"} or not isinstance(told["facts"], dict):
        raise ValueError("the picture's own text is not as the Studio writes it; was it changed?")
    spec, number = JobSpec.from_dict(told["spec"]), told["number"]
    if type(number) is not int or not 0 <= number < spec.count:
        raise ValueError(f"the picture calls itself number {number!r:.20} of a grid of {spec.count}; was it changed?")
    return Recipe(spec, number, checked_facts(told["facts"]), common)


FACTS = {
    "models": dict, "versions": dict, "device": str, "dtype": str, "threads": int, "steps": int, "reached": int,
    "scale": (int, float), "sampler": str, "savings": str, "pixels": str,
}  # fmt: skip


def checked_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts of the known names and kinds, each of limited length."""
    for name, value in facts.items():
        good = name in FACTS and isinstance(value, FACTS[name]) and len(str(value)) <= 2000
        texts = [*value, *value.values()] if good and isinstance(value, dict) else [value]
        good = good and all(tidy(one, name[:40]) == one for one in texts if isinstance(one, str) or len(texts) > 1)
        if not good:
            raise ValueError(f"the picture's facts hold {name!r:.40}, not in the Studio's form; was it changed?")
    return facts


def from_parameters(text: str) -> JobSpec | None:
    """What other programs' text says, as far as it fits a job; None where it says nothing that can be drawn."""
    head, _, last = text[:LONGEST].rpartition("\n")
    found = dict(re.findall(r"([A-Z][A-Za-z ]{1,30}): ([^,\n]{1,40})", last))
    if "Steps" not in found:
        return None
    prompt, _, negative = head.partition("\nNegative prompt: ")
    prompt = re.sub(r"<[^<>]{1,80}>", "", prompt)
    try:
        size = re.fullmatch(r"(\d{1,5})x(\d{1,5})", found.get("Size", ""), re.ASCII)
        ratio = (int(size[1]), int(size[2])) if size else (1, 1)
        return JobSpec(
            prompt=(Part(prompt),),
            negative=tidy(negative),
            steps=_within(found["Steps"], 200),
            seed=_within(found.get("Seed", ""), LARGEST_SEED, least=0),
            ar=_as_ar(ratio),
            count=1,
        )
    except ValueError:
        return None


def _within(text: str, most: int, least: int = 1) -> int | None:
    number = int(text) if re.fullmatch(r"\d{1,12}", text, re.ASCII) else None
    return number if number is not None and least <= number <= most else None


def _as_ar(size: tuple[int, int]) -> tuple[int, int]:
    if not all(size):
        return 1, 1
    exact = next((r for r in ((1, 1), (3, 2), (2, 3), (4, 3), (3, 4), (16, 9), (9, 16)) if shape_of(r) == size), None)
    return exact or ratio_near(*size)


def _bytes(source: Path | str | bytes) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        if len(source) > LARGEST_FILE:
            raise ValueError(f"the file has {len(source)} bytes, and {LARGEST_FILE} are the most; take a smaller one")
        return source, "this"
    path = Path(source)
    if not path.is_file():
        raise ValueError(f"there is no file {path.name!r:.80}; check its name and folder")
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path.name:.80} is larger than {LARGEST_FILE} bytes; take a smaller one")
    return path.read_bytes(), f"{path.name:.80}"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
