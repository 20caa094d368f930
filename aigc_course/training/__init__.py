"""One loop that knows nothing of pictures: accumulation, precision, clipping, EMA, progress, exact resume.

`fit(model, batches, loss, steps)` returns a `History`.  A checkpoint is a folder of safetensors and JSON.
"""

from aigc_course.training.batches import Pool, Shuffled
from aigc_course.training.cache import made_once, precomputed
from aigc_course.training.loop import History, Step, fit, rate_at
from aigc_course.training.optimiser import Muon, muon
from aigc_course.training.team import is_first, share

__all__ = [
    "History",
    "Muon",
    "Pool",
    "Shuffled",
    "Step",
    "fit",
    "is_first",
    "made_once",
    "muon",
    "precomputed",
    "rate_at",
    "share",
]
