"""The pictures that were made, on disk: one PNG each, which tells all, and an index that only grows."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from aigc_course.studio import png
from aigc_course.studio.claims import PICTURE_ID, check_id, parse_json
from aigc_course.studio.events import StudioError
from aigc_course.studio.job import JobSpec

INDEX = "index.jsonl"


@dataclass(frozen=True)
class Entry:
    """One picture of the gallery: its id, which also names its file, the job that made it, and when."""

    id: str
    job: str
    spec: JobSpec | None
    number: int
    made: float

    @property
    def seed(self) -> int | None:
        """Of this very picture."""
        return png.Recipe(self.spec, self.number).seed

    @property
    def file(self) -> str:
        """The name of its file in the gallery's folder."""
        return f"{self.id}.png"


class Gallery:
    """A folder of pictures.  Nothing in it is ever written over, and nothing outside it is ever touched.

    A picture is written beside its place and linked there when it is whole; then its line is added to the index.
    A kill between the two loses nothing: a picture without a line is read from its own text.  Damaged lines and files
    are left out, and `complaints` says why.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self.complaints: list[str] = []
        self._entries: dict[str, Entry] = {}
        self.refresh()

    # --- reading ---

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> list[Entry]:
        """All that can be shown, the oldest first."""
        with self._lock:
            return sorted(self._entries.values(), key=lambda entry: entry.id.zfill(18))

    def entry(self, name: str) -> Entry:
        """One entry by the id of its picture."""
        check_id(name)
        if name not in self._entries:
            self.refresh()
        if name not in self._entries:
            raise StudioError(f"the gallery has no picture {name}", "choose one that it shows")
        return self._entries[name]

    def drawn(self, name: str) -> Entry:
        """The entry of a picture that was drawn from words here, and so can be explained; others are refused."""
        entry = self.entry(name)
        if entry.spec is None or entry.spec.action == "upscale":
            raise StudioError(f"{name} was not drawn from words here", "choose a picture that the Studio has drawn")
        return entry

    def picture(self, name: str) -> Image.Image:
        """The pixels of one picture by its id."""
        path = self.path(name)
        if not path.is_file() or path.is_symlink():
            raise StudioError(f"the gallery has no picture {name}", "choose one that it shows")
        return png.opened(path).convert("RGB")

    def path(self, name: str) -> Path:
        """Where a picture lies: always in this folder, for an id cannot be a path."""
        return self.folder / f"{check_id(name)}.png"

    def refresh(self) -> list[Entry]:
        """Read the folder again, as after a restart, or when another notebook writes to it."""
        with self._lock:
            self.complaints = []
            lines = self._lines()
            files = {path.stem: path for path in self.folder.glob("*.png") if PICTURE_ID.fullmatch(path.stem)}
            self._entries = {name: lines[name] for name in files if name in lines}
            for name in sorted(files.keys() - lines.keys()):
                self._recover(name, files[name])
            gone = sorted(lines.keys() - files.keys())
            self.complaints += [f"{name}.png is gone; its line is left out" for name in gone]
            return self.entries

    def _lines(self) -> dict[str, Entry]:
        found, index = {}, self.folder / INDEX
        if not index.is_file():
            return found
        with open(index, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, start=1):
                try:
                    entry = _entry(parse_json(line, png.LONGEST))
                    found[entry.id] = entry
                except (ValueError, TypeError, KeyError) as error:
                    if line.strip():
                        self.complaints.append(f"line {number} of {INDEX} is left out: {str(error)[:120]}")
        return found

    def _recover(self, name: str, path: Path) -> None:
        """A picture that the index does not know, from its own text."""
        try:
            recipe = png.read(path)
            self._entries[name] = Entry(name, "", recipe.spec, recipe.number, path.stat().st_mtime)
        except (ValueError, OSError) as error:
            self.complaints.append(f"{path.name} is left out: {str(error)[:160]}")

    # --- writing ---

    def add(self, pictures: Sequence[Image.Image], spec: JobSpec, facts: dict[str, Any], job: str = "") -> list[Entry]:
        """Keep the pictures of a job."""
        return [self._keep(one, png.Recipe(spec, k, facts), job) for k, one in enumerate(pictures)]

    def take_in(self, picture: Image.Image | Path | str | bytes) -> Entry:
        """Keep a picture from outside, to be used as prompt, style or parent; what its text says is not taken over."""
        image = picture if isinstance(picture, Image.Image) else png.opened(picture)
        if max(image.size) > png.LARGEST_SIDE:
            raise ValueError(f"the picture has a side of {max(image.size)} pixels; reduce it to {png.LARGEST_SIDE}")
        return self._keep(image.convert("RGB"), png.Recipe(None), "")

    def _keep(self, picture: Image.Image, recipe: png.Recipe, job: str) -> Entry:
        digest = png.pixels_hash(picture)
        if recipe.spec is not None:
            recipe = png.Recipe(recipe.spec, recipe.number, (recipe.facts or {}) | {"pixels": digest})
        data = png.write(picture, recipe)
        with self._lock:
            name = self._place(data, digest[:8])
            entry = Entry(name, job, recipe.spec, recipe.number, time.time())
            self._append(entry)
            self._entries[name] = entry
        return entry

    def _place(self, data: bytes, digest: str) -> str:
        """Write the bytes beside their place, then give them their name, which must be free."""
        part = self.folder / f".{os.getpid()}-{threading.get_ident()}-{time.monotonic_ns()}.part"
        try:
            with open(part, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            for number in itertools.count(self._next()):
                name = f"{number:06d}-{digest}"
                try:
                    _link(part, self.folder / f"{name}.png")
                    return name
                except FileExistsError:
                    continue
        finally:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()

    def _next(self) -> int:
        numbers = [int(name.partition("-")[0]) for name in self._entries]
        return max(numbers, default=0) + 1

    def _append(self, entry: Entry) -> None:
        """One line at the end; after a line that was cut short, on a new one."""
        told = {"id": entry.id, "job": entry.job, "number": entry.number, "made": entry.made, "spec": None}
        if entry.spec is not None:
            told["spec"] = json.loads(entry.spec.to_json())
        line = json.dumps(told, ensure_ascii=False) + "\n"
        with open(self.folder / INDEX, "a+b") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())


def _link(part: Path, path: Path) -> None:
    """Give a whole file its name, unless that is taken; where a disk has no hard links, by a copy that must be new."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:
        with open(path, "xb") as file:
            file.write(part.read_bytes())


def _entry(told: Any) -> Entry:
    """A line of the index, checked."""
    if not isinstance(told, dict) or set(told) != {"id", "job", "spec", "number", "made"}:
        raise ValueError("it is not as the gallery writes it")
    spec = None if told["spec"] is None else JobSpec.from_dict(told["spec"])
    job, number, made = told["job"], told["number"], told["made"]
    if not isinstance(job, str) or not re.fullmatch(r"[A-Za-z0-9-]{0,40}", job) or type(number) is not int:
        raise ValueError("its job or number is not as the gallery writes it")
    if not 0 <= number < (spec.count if spec else 1) or type(made) not in (int, float):
        raise ValueError("its number or time is not as the gallery writes it")
    return Entry(check_id(told["id"]), job, spec, number, made)
