"""Versions of one model: each a sealed folder with its weights and its card, one of them in use."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from aigc_course import models

WEIGHTS, CARD, IN_USE = "model.safetensors", "README.md", "in-use.txt"


def save_version(model: nn.Module, root: Path | str, about: str, measured: Mapping[str, float]) -> str:
    """Add the next version, v1, v2 …, and put it in use; its name is returned.

    The folder appears whole or not at all.  about: how it was made, for the card;  measured: accuracy by task.
    """
    from safetensors.torch import save_file

    root = Path(root)
    name = f"v{max(map(_number, _names(root)), default=0) + 1}"

    def write(folder: Path) -> None:
        weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
        save_file(weights, folder / WEIGHTS)
        _card(name, about, measured).save(folder / CARD)

    models.put_in_place(root / name, write)
    roll_back(root, name)
    return name


def _card(name: str, about: str, measured: Mapping[str, float]):
    """The card as the Hugging Face hub reads it: facts for machines at the head, a text for people below."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    found = [
        EvalResult(
            "image-classification", "drawn-scenes", task, "accuracy", round(value, 4), dataset_config=task
        )  # results of one data set and configuration are told under one name
        for task, value in measured.items()
    ]
    head = ModelCardData(
        license="cc-by-4.0", library_name="pytorch", tags=["continual-learning"], model_name=name, eval_results=found
    )
    rows = "\n".join(f"| {task} | {value:.1%} |" for task, value in measured.items())
    table = f"| pictures in the style | named right |\n|---|---|\n{rows}\n"
    limits = "It reads pictures of 48 × 48 with one large thing, and has seen no photograph."
    return ModelCard(f"---\n{head.to_yaml()}\n---\n\n# {name}\n\n{about}\n\n{table}\n{limits}\n")


def versions(root: Path | str) -> list[dict[str, str | float]]:
    """A row for each version, oldest first: name, accuracy by task as its card says, sha256, and whether in use."""
    from huggingface_hub import ModelCard

    root, rows = Path(root), []
    used = _used(root)
    for name in _names(root):
        found = ModelCard.load(root / name / CARD).data.eval_results
        measured = {each.dataset_name: each.metric_value for each in found}
        rows.append({"version": name} | measured | {"sha256": _sum(root / name)[:8], "in use": "←" * (name == used)})
    return rows


def load_version(model: nn.Module, root: Path | str, name: str | None = None) -> str:
    """Give a model the weights of a version (None: of that in use), checked against its manifest; its name is returned.

    Nothing is changed in the model unless all fits.
    """
    from safetensors.torch import load_file

    root = Path(root)
    name = _known(root, name or _used(root))
    try:
        models.verify(root / name)
    except ValueError:
        others = ", ".join(other for other in _names(root) if other != name) or "none"
        raise ValueError(f"version {name} is damaged; roll back to another one: {others}") from None
    weights, mine = load_file(root / name / WEIGHTS), model.state_dict()
    if {key: value.shape for key, value in weights.items()} != {key: value.shape for key, value in mine.items()}:
        raise ValueError(f"version {name} is of another model: build one of the same layers and the same head")
    model.load_state_dict(weights)
    return name


def roll_back(root: Path | str, name: str) -> None:
    """Put another version in use; the others stay where they are."""
    root = Path(root)
    partial = root / f"{IN_USE}.partial"
    partial.write_text(_known(root, name), encoding="utf-8")
    partial.replace(root / IN_USE)  # one step: whoever looks finds the old name or the new one


def _known(root: Path, name: str) -> str:
    if name not in _names(root):
        raise ValueError(f"there is no version {name!r} here; there are: {', '.join(_names(root)) or 'none'}")
    return name


def _names(root: Path) -> list[str]:
    return sorted((f.name for f in root.glob("v*") if re.fullmatch(r"v\d+", f.name)), key=_number)


def _number(name: str) -> int:
    return int(name[1:])


def _used(root: Path) -> str:
    file = root / IN_USE
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _sum(folder: Path) -> str:
    return json.loads((folder / models.MANIFEST).read_text(encoding="utf-8"))[WEIGHTS]
