"""What the tests of the Studio share: jobs of every kind, an engine without models, and a cast that is quick."""

import time
from functools import lru_cache

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image

from aigc_course import models, studio
from aigc_course.studio import Event, JobSpec, LoRA, Part
from aigc_course.studio.job import LIMITS

MANY = settings(max_examples=2000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

# --- jobs -------------------------------------------------------------------------------------------------

SIGNS = list("\\{}:-,，、—–<>&\"'`|()[]/.;= ") + [
    "--",
    "::",
    "--ar",
    "--seed 7",
    "000012-0a1b2c3d",
    "house",
    "红色",
    "树",
]
IDS = st.builds("{:06d}-{:08x}".format, st.integers(0, 999999), st.integers(0, 2**32 - 1))


def _clean(text):
    try:
        return studio.Part(text or "x").text
    except ValueError:
        return "x"


TEXTS = st.one_of(
    st.lists(st.one_of(st.sampled_from(SIGNS), st.text(max_size=4)), max_size=8).map("".join),
    st.text(max_size=40),
)
WORDS = TEXTS.map(_clean)


def figures(name):
    least, most, whole = LIMITS[name]
    if whole:
        return st.integers(least, most)
    return st.one_of(st.floats(least, most), st.integers(int(least) + 1, most)).map(float)


def _optional(name):
    return st.one_of(st.none(), figures(name))


PROMPTS = st.lists(st.builds(Part, WORDS, st.one_of(st.just(1.0), st.floats(0.001, 100))), min_size=1, max_size=4)
LORAS = st.lists(
    st.builds(LoRA, st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), st.floats(-2, 2)),
    max_size=3,
    unique_by=lambda one: one.name,
)
LINED = {
    "prompt": PROMPTS.map(tuple),
    "negative": st.one_of(st.just(""), WORDS),
    "seed": _optional("seed"),
    "ar": st.tuples(st.integers(1, 24), st.integers(1, 24)).filter(lambda wh: 1 / 4 <= wh[0] / wh[1] <= 4),
    "steps": _optional("steps"),
    "tile": st.booleans(),
    "fast": st.booleans(),
    "images": st.lists(IDS, max_size=5).map(tuple),
    "sref": st.lists(IDS, max_size=3).map(tuple),
    "loras": LORAS.map(tuple),
    "repeat": figures("repeat"),
} | {name: figures(name) for name in ("chaos", "stylize", "weird", "iw", "sw", "stop", "quality")}
LINE_JOBS = st.fixed_dictionaries(
    {"prompt": LINED["prompt"]}, optional={k: LINED[k] for k in LINED if k != "prompt"}
).map(lambda fields: JobSpec(**fields))
REGIONS = st.tuples(*[st.integers(0, 100)] * 2, *[st.integers(101, 300)] * 2)
OF_ACTIONS = {
    "parent": IDS,
    "region": REGIONS,
    "direction": st.sampled_from(("left", "right", "up", "down")),
    "then": WORDS,
}
SOMETIMES = {name: figures(name) for name in ("zoom", "at", "strength", "count")}


def _acting(spec, action, fields):
    images = ("000001-00000000",) * 2 if action == "blend" else spec.images
    return spec.with_(**fields, images=images, action=action)


ALL_JOBS = st.builds(
    _acting, LINE_JOBS, st.sampled_from(studio.ACTIONS), st.fixed_dictionaries(OF_ACTIONS, optional=SOMETIMES)
)


# --- engines ----------------------------------------------------------------------------------------------


def picture(seed, size=(8, 8)):
    """A small picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    return Image.fromarray(pixels)


class Stub:
    """An engine without models: as many steps as asked for, each of some seconds, then pictures of noise.

    The prompt "fail" raises at the first step.
    """

    def __init__(self, seconds=0.0):
        self.seconds, self.ran = seconds, []

    def run(self, spec, cancel):
        """As `Engine.run`."""
        self.ran.append(spec)
        steps = spec.steps or 3
        for number in range(1, steps + 1):
            if cancel.is_set() and number == 1:
                return
            if spec.words == "fail":
                raise ValueError("this job fails, as it was asked to")
            time.sleep(self.seconds)
            yield Event("step", number=number, total=steps, preview=lambda: [picture(0)])
            if cancel.is_set() or number == steps:
                made = tuple(picture(seed) for seed in spec.seeds)
                facts = {"steps": steps, "reached": number}
                yield Event("made", spec=spec, pictures=made, facts=facts, number=number, total=steps)
                return


@lru_cache
def tiny_pipeline():
    """The stock pipeline at a size that takes milliseconds, untrained."""
    tokenizer = models.load("tokenizer")
    torch.manual_seed(0)
    parts = (
        models.autoencoder((8, 8, 8, 8)),
        models.text_encoder(tokenizer, 1),
        tokenizer,
        models.denoiser((16, 32, 32)),
    )
    pipe = models.pipeline(*parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tiny(name):
    """Instead of `models.load`."""
    return tiny_pipeline() if name == "text-to-image" else models.load(name)
