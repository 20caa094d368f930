"""Keeps the shipped weights in `data/models`: each folder whole, known by the hashes of its files."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from aigc_course import runtime

MANIFEST, RECIPE = "manifest.json", "recipe.json"
OF_THE_MACHINE = "_name_or_path", "is_local", "local_files_only"  # what a library notes of where a part lay


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _contents(folder: Path) -> list[str]:
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file() and f.name != MANIFEST)


def folder_of(name: str) -> Path:
    """Where the weights of one member of the cast lie."""
    return runtime.data_dir() / "models" / name


def seal(folder: Path) -> None:
    """Write the manifest of a model's folder: the sha256 of each of its files."""
    sums = {file: _digest(folder / file) for file in _contents(folder)}
    (folder / MANIFEST).write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8", newline="\n")


def verify(folder: Path) -> None:
    """Compare a model's files with its manifest; ValueError names the first file that is damaged or missing."""
    try:
        sums = dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except FileNotFoundError:
        known = sorted(f.parent.name for f in folder.parent.glob(f"*/{MANIFEST}"))
        raise ValueError(
            f"no model called {folder.name!r} in {folder.parent.name}/; there are: {', '.join(known) or 'none'}"
        ) from None
    except (TypeError, ValueError):  # not UTF-8, not JSON, not a dictionary
        raise ValueError(
            f"{folder.name}/{MANIFEST} is damaged; restore it with: git checkout -- data/models/{folder.name}"
        ) from None
    for file, expected in sums.items():
        if not (folder / file).is_file() or _digest(folder / file) != expected:
            state = "damaged" if (folder / file).is_file() else "missing"
            raise ValueError(
                f"{folder.name}/{file} is {state}; restore it with: git checkout -- data/models/{folder.name}"
            )


def put_in_place(
    folder: Path, write: Callable[[Path], Any], card: str | None = None, recipe: list[dict] | None = None
) -> Path:
    """Make a model's folder, whole or not at all, and return it: what `write(fresh folder)` leaves, and the manifest.

    With it go the card (Markdown) and the recipe, where they are given.  What was there before is replaced.
    """
    fresh = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    write(fresh)
    if card:
        (fresh / "README.md").write_text(card, encoding="utf-8", newline="\n")
    if recipe:
        (fresh / RECIPE).write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8", newline="\n")
    seal(fresh)
    shutil.rmtree(folder, ignore_errors=True)
    return fresh.rename(folder)


def save(model: Any, name: str, card: str, tokenizer: Any = None, recipe: list[dict] | None = None) -> Path:
    """Ship a pipeline, or a model and its tokenizer, as `data/models/<name>`; the folder is returned.

    With it go the model card (Markdown), the recipe (the settings of each run that trained it, one after the other)
    and the manifest.  All weights are stored in half precision and load in full.
    """
    for part in model.components.values() if hasattr(model, "components") else [model]:
        if isinstance(part, nn.Module):
            part.half()

    def write(folder: Path) -> None:
        with quiet():
            for part in filter(None, [model, tokenizer]):
                part.save_pretrained(folder)
        for file in [*folder.rglob("*config.json"), *folder.glob("model_index.json")]:
            config = _portable(json.loads(file.read_text(encoding="utf-8")))
            file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8", newline="\n")

    return put_in_place(folder_of(name), write, card, recipe)


def _portable(config: Any) -> Any:
    """A config without what is true of this machine alone, in its nested parts as well."""
    if not isinstance(config, dict):
        return config
    kept = {key: _portable(value) for key, value in config.items() if key not in OF_THE_MACHINE}
    return kept | ({"dtype": "float32"} if "dtype" in kept else {})  # else transformers loads weights as they lie


def recipe_of(name: str) -> list[dict]:
    """The settings of the runs that trained a shipped model, in order; none where it does not tell."""
    file = folder_of(name) / RECIPE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []


@contextmanager
def quiet() -> Iterator[None]:
    """No bars for loads of a second, no advice to install what the course does without, nothing but errors."""
    from diffusers.utils import logging as diffusers
    from transformers.utils import logging as transformers

    libraries = diffusers, transformers
    before = [(each, each.get_verbosity(), each.is_progress_bar_enabled()) for each in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level, bars in before:
            library.set_verbosity(level)
            if bars:
                library.enable_progress_bar()
