"""One frozen job: everything that makes a picture, as data that can be written down, checked and read again."""

from __future__ import annotations

import json
import math
import re
import secrets
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction
from typing import Any

from aigc_course.studio.claims import LONGEST_TEXT, check_id, number, parse_json, tidy

SCHEMA = 1
DRAWS = ("imagine", "vary", "upscale", "img2img", "inpaint", "pan", "zoom", "blend", "branch")
TELLS = ("describe", "shorten")  # these answer in words, and leave no picture
ACTIONS = DRAWS + TELLS
NEEDS_PICTURE = ("vary", "upscale", "img2img", "inpaint", "pan", "zoom", "describe")  # of a parent
DIRECTIONS = ("left", "right", "up", "down")
LORA_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
LONGEST_JSON, MOST = 20_000, 8  # characters of a job's JSON; parts, LoRAs, pictures
LARGEST_SEED, SIDES, STRIDE = 2**32 - 1, (32, 2048), 8  # a latent's place is 8 × 8 pixels

LIMITS = {  # least, most, whole numbers only
    "seed": (0, LARGEST_SEED, True),
    "count": (1, 4, True),
    "repeat": (1, 40, True),
    "steps": (1, 200, True),
    "chaos": (0, 100, False),
    "stylize": (0, 1000, False),
    "weird": (0, 3000, False),
    "iw": (0, 3, False),
    "sw": (0, 1000, False),
    "stop": (10, 100, False),
    "quality": (0.25, 4, False),
    "strength": (0, 1, False),
    "zoom": (1, 2, False),
    "at": (0, 200, True),
    "width": (*SIDES, True),
    "height": (*SIDES, True),
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Words of a prompt and how much they weigh among the parts; white space is one space."""

    text: str
    weight: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "text", tidy(self.text, "a part of the prompt"))
        if not self.text:
            raise ValueError("a part of the prompt has no words; write some, or leave the part out")
        number("weight of a part", self.weight, -100, 100, False)
        object.__setattr__(self, "weight", float(self.weight))


@dataclass(frozen=True)
class LoRA:
    """A change of the model by name, such as "chalk" for `data/models/lora-chalk`, and how strong it is."""

    name: str
    weight: float = 1.0

    def __post_init__(self):
        if not isinstance(self.name, str) or not LORA_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r:.80} cannot name a LoRA; use small letters, digits and _, such as 'chalk'")
        number(f"weight of {self.name}", self.weight, -2, 2, False)
        object.__setattr__(self, "weight", float(self.weight))


@dataclass(frozen=True)
class JobSpec:
    """What makes a grid of pictures; two equal jobs on one machine make equal pictures.

    prompt: weighted parts;  negative: what to move away from;  seed: of the first picture, the others count up from
        it; None, one is drawn when the job is submitted (`seeded`).
    ar: width to height;  width, height: in pixels, instead of ar;  count: pictures in the grid.
    chaos, stylize, weird, tile, stop, quality, steps, fast: as on the prompt line (`studio.PARAMETERS` says how).
    images, iw: pictures as prompt and how much they weigh;  sref, sw: pictures as style, and how much.
    action: what is done;  parent: the picture it is done to;  strength: how much of the way back to noise
        (None: the action's own);  region: left, top, right, bottom, in pixels of the parent, to be painted anew;
        direction: of a pan;  zoom: how many times wider the view gets;
        then, at: the prompt that takes over after step `at` of a branch.
    Pictures are named by their id in the gallery.
    """

    prompt: tuple[Part, ...] = ()
    negative: str = ""
    seed: int | None = None
    ar: tuple[int, int] = (1, 1)
    width: int | None = None
    height: int | None = None
    count: int = 4
    chaos: float = 0.0
    stylize: float = 100.0
    weird: float = 0.0
    tile: bool = False
    images: tuple[str, ...] = ()
    iw: float = 1.0
    sref: tuple[str, ...] = ()
    sw: float = 100.0
    stop: float = 100.0
    repeat: int = 1
    steps: int | None = None
    fast: bool = False
    quality: float = 1.0
    loras: tuple[LoRA, ...] = ()
    action: str = "imagine"
    parent: str | None = None
    strength: float | None = None
    region: tuple[int, int, int, int] | None = None
    direction: str | None = None
    zoom: float = 1.5
    then: str = ""
    at: int = 0
    schema: int = field(default=SCHEMA, repr=False)

    def __post_init__(self):
        self._refuse_other_schema()
        for name, (least, most, whole) in LIMITS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            number(name, value, least, most, whole)
            object.__setattr__(self, name, int(value) if whole else float(value))
        for name in ("tile", "fast"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r:.40}; it is either True or False")
        for name in ("negative", "then"):
            object.__setattr__(self, name, tidy(getattr(self, name), name))
        self._check_lists()
        self._check_shape()
        self._check_action()

    def _refuse_other_schema(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"this job is of schema {self.schema!r:.40}, and here is {SCHEMA}; use a newer course")

    def _check_lists(self) -> None:
        for name, kind in {"prompt": Part, "loras": LoRA, "images": str, "sref": str}.items():
            items = getattr(self, name)
            if not isinstance(items, (tuple, list)) or len(items) > MOST or any(type(x) is not kind for x in items):
                raise ValueError(f"{name} is a tuple of up to {MOST} items of {kind.__name__}, not {items!r:.80}")
            object.__setattr__(self, name, tuple(items))
        for name in (*self.images, *self.sref, *([] if self.parent is None else [self.parent])):
            check_id(name)
        if sum(len(part.text) for part in self.prompt) > LONGEST_TEXT:
            raise ValueError(f"the prompt has more than {LONGEST_TEXT} characters; shorten it")
        if self.prompt and not sum(part.weight for part in self.prompt) > 0:
            raise ValueError("the weights of the prompt add up to nothing or less; make their sum positive")
        if len({lora.name for lora in self.loras}) < len(self.loras):
            raise ValueError("a LoRA is named twice; name each once")

    def _check_shape(self) -> None:
        ar = self.ar
        if not isinstance(ar, (tuple, list)) or len(ar) != 2 or any(type(n) is not int or not 1 <= n <= 99 for n in ar):
            raise ValueError(f"ar is {ar!r:.60}; give two whole numbers from 1 to 99, such as (3, 2)")
        if not 1 / 4 <= ar[0] / ar[1] <= 4:
            raise ValueError(f"ar {ar[0]}:{ar[1]} is too narrow; stay between 1:4 and 4:1, such as 3:2")
        object.__setattr__(self, "ar", tuple(ar))
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height go together; give both, or neither")
        if self.width is not None and (self.width % STRIDE or self.height % STRIDE):
            raise ValueError(f"{self.width} × {self.height} pixels; give multiples of {STRIDE}, such as 128 and 192")

    def _check_action(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"there is no action {self.action!r:.40}; choose one of: {', '.join(ACTIONS)}")
        if self.action in NEEDS_PICTURE and self.parent is None:
            raise ValueError(f"{self.action} needs a picture; name it: parent='000001-…', as the gallery calls it")
        if self.action == "blend" and not 2 <= len(self.images) <= 5:
            raise ValueError(f"blend takes 2 to 5 pictures, and here are {len(self.images)}; name them in images")
        if self.action in ("imagine", "branch", "shorten") and not (self.prompt or self.images):
            raise ValueError("there is nothing to draw; write a prompt, such as 'a red house'")
        if self.action == "branch" and not self.then:
            raise ValueError("a branch needs the prompt that takes over; give it as then='a blue house'")
        if self.action == "pan" and self.direction not in DIRECTIONS:
            raise ValueError(f"pan needs a direction; choose one of: {', '.join(DIRECTIONS)}")
        if self.direction is not None and self.direction not in DIRECTIONS:
            raise ValueError(f"there is no direction {self.direction!r:.40}; choose one of: {', '.join(DIRECTIONS)}")
        self._check_region()

    def _check_region(self) -> None:
        region = self.region
        if region is None:
            if self.action == "inpaint":
                raise ValueError("inpaint needs a region; give left, top, right, bottom in pixels: (32, 32, 96, 96)")
            return
        whole = isinstance(region, (tuple, list)) and len(region) == 4 and all(type(n) is int for n in region)
        if not whole or not (0 <= region[0] < region[2] <= SIDES[1] and 0 <= region[1] < region[3] <= SIDES[1]):
            raise ValueError(f"region is {region!r:.60}; give (left, top, right, bottom), left < right, top < bottom")
        object.__setattr__(self, "region", tuple(region))

    # --- what follows from it ---

    @property
    def words(self) -> str:
        """The prompt without its weights."""
        return " ".join(part.text for part in self.prompt)

    @property
    def seeds(self) -> list[int]:
        """One for each picture of the grid, counting up from the job's; beyond the largest it starts at 0 again."""
        if self.seed is None:
            raise ValueError("this job has no seed yet; give it one with spec.seeded()")
        return [(self.seed + k) % (LARGEST_SEED + 1) for k in range(self.count)]

    def size(self, side: int = 128) -> tuple[int, int]:
        """Width and height in pixels; the shape asked for has about as many as a square of `side`."""
        return (self.width, self.height) if self.width else shape_of(self.ar, side)

    def seeded(self) -> JobSpec:
        """The same job with a seed: its own, or one drawn by the system."""
        return self if self.seed is not None else replace(self, seed=secrets.randbelow(LARGEST_SEED + 1))

    def with_(self, **changes: Any) -> JobSpec:
        """A copy with some fields changed: `spec.with_(seed=8)`."""
        return replace(self, **changes)

    def to_json(self) -> str:
        """As text, the same for equal jobs; only what differs from the defaults is written."""
        told = asdict(self)
        kept = {name: value for name, value in told.items() if value != _DEFAULT[name] or name == "schema"}
        return json.dumps(kept, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> JobSpec:
        """Read a job that anyone may have written: limited in size, checked field by field, never evaluated."""
        return cls.from_dict(parse_json(text, LONGEST_JSON))

    @classmethod
    def from_dict(cls, told: Any) -> JobSpec:
        """The same from a dictionary; a field that is not known is refused by name."""
        if not isinstance(told, dict) or "schema" not in told:
            raise ValueError("this is no job: a JSON object with a schema is needed; was the text changed?")
        cls._known(told, _DEFAULT, "a job")
        given = dict(told)
        for name, kind in {"prompt": Part, "loras": LoRA}.items():
            if name in given:
                given[name] = tuple(_item(kind, value, name) for value in _list(given[name], name))
        for name in ("images", "sref", "ar", "region"):
            if given.get(name) is not None:
                given[name] = tuple(_list(given[name], name))
        return cls(**given)

    @staticmethod
    def _known(told: dict, known: Any, what: str) -> None:
        strange = [key for key in told if key not in known]
        if strange:
            raise ValueError(f"{what} has no field {strange[0]!r:.60}; was it changed, or is it of a newer course?")


_OPTIONAL = ("seed", "width", "height", "steps", "strength")
_DEFAULT = {one.name: one.default for one in fields(JobSpec)}


def _list(value: Any, name: str) -> list:
    if not isinstance(value, list) or len(value) > 2 * MOST:
        raise ValueError(f"{name} is a list of at most {MOST}, not {value!r:.60}; was the text changed?")
    return value


def _item(kind: type, value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"each item of {name} is an object, not {value!r:.60}; was the text changed?")
    names = [one.name for one in fields(kind)]
    JobSpec._known(value, names, f"an item of {name}")
    if names[0] not in value:
        raise ValueError(f"an item of {name} has no {names[0]!r}; was the text changed?")
    return kind(**value)


def ratio_near(w: int, h: int) -> tuple[int, int]:
    """The nearest ratio that a job may have, in small whole numbers: 1920 × 1080 is 16:9."""
    near = Fraction(min(4.0, max(0.25, w / h))).limit_denominator(24)
    return near.numerator, near.denominator


def shape_of(ar: tuple[int, int], side: int = 128) -> tuple[int, int]:
    """Width and height, multiples of 8, near a ratio and near side² pixels; the ratio counts twice as much."""
    ratio, area = math.log(ar[0] / ar[1]), 2 * math.log(side)
    ideal = side * math.sqrt(ar[0] / ar[1]), side * math.sqrt(ar[1] / ar[0])
    near = [[max(STRIDE, STRIDE * (round(each / STRIDE) + k)) for k in (-2, -1, 0, 1, 2)] for each in ideal]

    def miss(size: tuple[int, int]) -> float:
        w, h = map(math.log, size)
        return 2 * abs(w - h - ratio) + abs(w + h - area)

    return min(((w, h) for w in near[0] for h in near[1]), key=miss)
