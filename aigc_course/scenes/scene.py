"""What a picture shows, as facts: `Thing`, `Scene`, the rule that splits the world, and scenes at random."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass
from itertools import pairwise

from aigc_course.scenes.vocabulary import BACKGROUNDS, COLOURS, SIZES, STYLES, THINGS

SPLITS = ("train", "validation", "test", "held-out")
MIXTURE = {"single": 0.4, "pair": 0.35, "count": 0.25}  # how often a random scene is of each task


def _known(value: str, allowed, what: str) -> None:
    if value not in allowed:
        raise ValueError(f"no {what} called {value!r} in this world; use one of: {', '.join(allowed)}")


@dataclass(frozen=True)
class Thing:
    """One drawn object: what, which colour, which size, and its centre in the unit square (x right, y down)."""

    name: str
    colour: str
    size: str = "large"
    x: float = 0.5
    y: float = 0.5

    def __post_init__(self):
        _known(self.name, THINGS, "thing")
        _known(self.colour, COLOURS, "colour")
        _known(self.size, SIZES, "size")
        if not (0 <= self.x <= 1 and 0 <= self.y <= 1):
            raise ValueError(
                f"a thing at ({self.x}, {self.y}) is outside the picture; keep x and y in [0, 1]"
            )

    @property
    def kind(self) -> tuple[str, str, str]:
        """What a caption can say of it alone: (size, colour, name)."""
        return self.size, self.colour, self.name


@dataclass(frozen=True)
class Group:
    """So many things of one kind; size is None where a caption does not say it."""

    count: int
    size: str | None
    colour: str
    name: str


@dataclass(frozen=True)
class Facts:
    """Everything a full caption states.  Of a pair, the first thing is the one left of or above the other.

    Where a caption leaves something out, the field is None.
    """

    groups: tuple[Group, ...]
    relation: str | None
    background: str | None
    style: str | None


@dataclass(frozen=True)
class Scene:
    """One to four things on a background, drawn in a style.

    Either copies of one thing (counting) or two different things (a relation, told by their centres).
    """

    things: tuple[Thing, ...]
    background: str = "meadow"
    style: str = "flat"

    def __post_init__(self):
        _known(self.background, BACKGROUNDS, "background")
        _known(self.style, STYLES, "style")
        if not 1 <= len(self.things) <= 4:
            raise ValueError(f"a scene holds 1 to 4 things, not {len(self.things)}")
        if len({t.kind for t in self.things}) > 1 and len(self.things) != 2:
            raise ValueError("things that differ come in pairs; use two of them, or 1 to 4 copies of one")

    @property
    def is_pair(self) -> bool:
        """Two things of different kinds, so that a relation tells them apart."""
        return len({t.kind for t in self.things}) == 2

    @property
    def facts(self) -> Facts:
        """What a full caption says of this scene."""
        if not self.is_pair:
            groups, relation = (Group(len(self.things), *self.things[0].kind),), None
        else:
            first, second, relation = _ordered(*self.things)
            groups = (Group(1, *first.kind), Group(1, *second.kind))
        return Facts(groups, relation, self.background, self.style)

    def to_json(self) -> dict:
        """A plain dictionary that `json.dumps` takes; `Scene.from_json` reads it back."""
        return asdict(self) | {"things": [asdict(t) for t in self.things]}

    @classmethod
    def from_json(cls, record: dict) -> Scene:
        """The scene that `to_json` wrote; a missing or unknown field is answered by its name."""
        try:
            things = tuple(Thing(**t) for t in record["things"])
            return cls(things, record["background"], record["style"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a scene record ({error}); expected things, background and style") from None


def _ordered(a: Thing, b: Thing) -> tuple[Thing, Thing, str]:
    """Two things in canonical order, and their relation along the axis on which they are further apart."""
    if abs(a.x - b.x) >= abs(a.y - b.y):
        return (a, b, "left of") if a.x < b.x else (b, a, "left of")
    return (a, b, "above") if a.y < b.y else (b, a, "above")


# --- splits -------------------------------------------------------------------------------------------------
def unseen(scene: Scene) -> list[tuple[str, str]]:
    """The compositions in this scene that training never sees: (thing, colour), (thing, style) or (thing, thing).

    By rule: each thing misses one colour, every second thing misses one style, and one in sixteen pairs of
    things never meets.  Every word still occurs in training, only not together.
    """
    things, colours = list(THINGS), list(COLOURS)
    found = []
    for name, colour in dict.fromkeys((t.name, t.colour) for t in scene.things):
        i = things.index(name)
        if colours.index(colour) == (3 * i + 1) % len(COLOURS):
            found.append((name, colour))
        if i % 2 == 0 and STYLES.index(scene.style) == (5 * (i // 2) + 2) % len(STYLES):
            found.append((name, scene.style))
    found += [
        (a.name, b.name)
        for a, b in pairwise(scene.things)
        if a.name != b.name and (things.index(a.name) + things.index(b.name)) % 16 == 5
    ]
    return list(dict.fromkeys(found))


def held_out(scene: Scene) -> bool:
    """Whether the scene holds a composition that training never sees."""
    return bool(unseen(scene))


def split_of(scene: Scene) -> str:
    """The split that a scene belongs to: a function of its facts alone, so no caption is in two splits."""
    if held_out(scene):
        return "held-out"
    digest = hashlib.sha256(json.dumps(asdict(scene.facts), sort_keys=True).encode()).digest()
    bucket = digest[0] * 256 + digest[1]
    return "train" if bucket < 58982 else "validation" if bucket < 62259 else "test"  # 90 %, 5 %, 5 %


# --- at random ----------------------------------------------------------------------------------------------
_PLACES = {  # centres for counting scenes, as fractions of the free room around the middle
    1: [[(0.0, 0.0)]],
    2: [[(-1, 0), (1, 0)], [(0, -1), (0, 1)], [(-1, -1), (1, 1)], [(1, -1), (-1, 1)]],
    3: [
        [(-1, -0.9), (1, -0.9), (0, 1)],
        [(-1, 0.9), (1, 0.9), (0, -1)],
        [(-0.9, -1), (-0.9, 1), (1, 0)],
        [(0.9, -1), (0.9, 1), (-1, 0)],
    ],
    4: [[(-1, -1), (1, -1), (-1, 1), (1, 1)]],
}


def _layout(sizes: list[str], relation: str | None, rng: random.Random) -> list[tuple[float, float]]:
    """Centres for one to four things: inside the picture, apart, and in the relation asked for."""
    half = max(SIZES[s] for s in sizes)
    reach = 0.5 - half - 0.03  # how far from the middle a centre may lie
    if len(sizes) == 1:
        return [(0.5 + rng.uniform(-reach, reach), 0.5 + rng.uniform(-reach, reach))]
    if relation:
        near, far = rng.uniform(0.235, reach if reach > 0.235 else 0.24), rng.uniform(-0.12, 0.12)
        slip = far + rng.uniform(-0.08, 0.08)
        first, second = (0.5 - near, 0.5 + far), (0.5 + near, 0.5 + slip)
        return [first, second] if relation == "left of" else [first[::-1], second[::-1]]
    spread = rng.uniform(half + 0.03, max(reach, half + 0.04))
    jitter = 0.25 * max(0.0, spread - half - 0.01)
    places = rng.choice(_PLACES[len(sizes)])
    return [
        (0.5 + spread * px + rng.uniform(-jitter, jitter), 0.5 + spread * py + rng.uniform(-jitter, jitter))
        for px, py in places
    ]


def _compose(
    kinds: list[tuple[str, str, str]], relation: str | None, background: str, style: str, rng: random.Random
) -> Scene:
    centres = _layout([size for size, _, _ in kinds], relation, rng)
    things = tuple(
        Thing(name, colour, size, round(x, 4), round(y, 4))
        for (size, colour, name), (x, y) in zip(kinds, centres, strict=True)
    )
    return Scene(things, background, style)


def arrange(facts: Facts, rng: random.Random) -> Scene:
    """A scene that shows these facts, laid out at random; what the facts leave open is chosen at random."""
    kinds = [
        (g.size or rng.choice(list(SIZES)), g.colour, g.name) for g in facts.groups for _ in range(g.count)
    ]
    relation = (facts.relation or rng.choice(["left of", "above"])) if len(facts.groups) == 2 else None
    return _compose(
        kinds, relation, facts.background or rng.choice(BACKGROUNDS), facts.style or rng.choice(STYLES), rng
    )


def _kind(rng: random.Random) -> tuple[str, str, str]:
    return rng.choice(list(SIZES)), rng.choice(list(COLOURS)), rng.choice(list(THINGS))


def random_scene(rng: random.Random, split: str = "train", task: str | None = None) -> Scene:
    """A scene of one split.  task: "single", "pair", "count" (2 to 4 copies), or None for the `MIXTURE`."""
    _known(split, SPLITS, "split")
    while True:
        chosen = task or rng.choices(list(MIXTURE), list(MIXTURE.values()))[0]
        background, style = rng.choice(BACKGROUNDS), rng.choice(STYLES)
        if chosen == "pair":
            kinds = [_kind(rng), _kind(rng)]
            if kinds[0][1:] == kinds[1][1:]:
                continue  # a pair differs in more than size, so that a caption need not name the size
            scene = _compose(kinds, rng.choice(["left of", "above"]), background, style, rng)
        else:
            scene = _compose(
                [_kind(rng)] * (1 if chosen == "single" else rng.randint(2, 4)), None, background, style, rng
            )
        if split_of(scene) == split:
            return scene
