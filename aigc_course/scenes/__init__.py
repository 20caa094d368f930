"""Draws captioned pictures whose truth we know."""

from aigc_course.scenes.captions import caption, entropy, marked_caption, paraphrases, read_caption, unknown_words
from aigc_course.scenes.datasets import Sample, SceneStream, pictures, pictures_as_bytes, sample, samples
from aigc_course.scenes.drawing import boxes, draw, masks
from aigc_course.scenes.export import export_coco, import_coco, run_lengths
from aigc_course.scenes.families import Family
from aigc_course.scenes.likelihood import probability, surprise
from aigc_course.scenes.mockups import MOCKUPS, Mockup
from aigc_course.scenes.newcomers import NEW_STYLES, NEW_THINGS, draw_new, new_caption, new_pictures
from aigc_course.scenes.scene import (
    SPLITS,
    Facts,
    Group,
    Scene,
    Thing,
    arrange,
    held_out,
    random_scene,
    split_of,
    unseen,
)
from aigc_course.scenes.vocabulary import BACKGROUNDS, COLOURS, LANGUAGES, RELATIONS, SIZES, STYLES, THINGS

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "LANGUAGES",
    "MOCKUPS",
    "NEW_STYLES",
    "NEW_THINGS",
    "RELATIONS",
    "SIZES",
    "SPLITS",
    "STYLES",
    "THINGS",
    "Facts",
    "Family",
    "Group",
    "Mockup",
    "Sample",
    "Scene",
    "SceneStream",
    "Thing",
    "arrange",
    "boxes",
    "caption",
    "draw",
    "draw_new",
    "entropy",
    "export_coco",
    "held_out",
    "import_coco",
    "marked_caption",
    "masks",
    "new_caption",
    "new_pictures",
    "paraphrases",
    "pictures",
    "pictures_as_bytes",
    "probability",
    "random_scene",
    "read_caption",
    "run_lengths",
    "sample",
    "samples",
    "split_of",
    "surprise",
    "unknown_words",
    "unseen",
]
