"""Measures pictures and captions against the scene that made them."""

from aigc_course.evaluation.captioner import Captioning, accuracy_ceiling, captioning
from aigc_course.evaluation.captions import agrees, bleu, cider, facts_told, words
from aigc_course.evaluation.copies import Nearest, nearest
from aigc_course.evaluation.enlarging import against_lanczos, autoencoded, edges_shared, enlarged, seam
from aigc_course.evaluation.measures import Interval, interval, psnr
from aigc_course.evaluation.newcomers import (
    Newcomers,
    Seen,
    load_newcomers,
    new_labels,
    newcomer_loss,
    save_newcomers,
    shows,
)
from aigc_course.evaluation.parser import (
    Parser,
    Reading,
    labels,
    load_parser,
    reading_loss,
    reading_of,
    save_parser,
    weathered,
)
from aigc_course.evaluation.scores import QUESTIONS, own_error, right, score
from aigc_course.evaluation.suite import TASKS, Report, examine, if_independent, passed, questions, retrieved

__all__ = [
    "QUESTIONS",
    "TASKS",
    "Captioning",
    "Interval",
    "Nearest",
    "Newcomers",
    "Parser",
    "Reading",
    "Report",
    "Seen",
    "accuracy_ceiling",
    "against_lanczos",
    "agrees",
    "autoencoded",
    "bleu",
    "captioning",
    "cider",
    "edges_shared",
    "enlarged",
    "examine",
    "facts_told",
    "if_independent",
    "interval",
    "labels",
    "load_newcomers",
    "load_parser",
    "nearest",
    "new_labels",
    "newcomer_loss",
    "own_error",
    "passed",
    "psnr",
    "questions",
    "reading_loss",
    "reading_of",
    "retrieved",
    "right",
    "save_newcomers",
    "save_parser",
    "score",
    "seam",
    "shows",
    "weathered",
    "words",
]
