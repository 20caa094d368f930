"""Build the course's notebooks: from one source each, the editions that people open, executed and stamped.

    python scripts/build_notebooks.py             build what is not fresh (01.1: one notebook, 01: a chapter)
    python scripts/build_notebooks.py --force     build what is fresh, too
    python scripts/build_notebooks.py --check     execute nothing; name each stale notebook and why
    python scripts/build_notebooks.py --report    print the figures: seconds, memory, cell lengths, pictures

`notebooks/source/NN.M_topic.py` (jupytext percent) is the source:

    # %% [markdown] lang="en"               prose; a cell without lang is English too
    # %% [markdown] lang="zh"               its Chinese twin, right after it; without one, the English stays
    # %% tags=["exercise"]                  code whose solution is cut out for the student:
    x_t = abar.sqrt() * x0  # solution          one line: becomes `x_t = ...`
    # solution: return ...                      several lines: from here
    # end solution                              to here becomes the `return ...` named above

Written: `notebooks/NN.M_topic.ipynb` (English, exercises open), `solutions/` (exercises filled in, and only their
outputs kept) and `zh/` (Chinese prose; code and outputs of the English edition). A notebook's stamp holds hashes of
its source, of the package's modules that it uses, directly or through one another, and of the models that these
texts name literally: `models.load("name")`, `data/models/name` or `"models" / "name"`. A name in a variable is not
seen, and the text of the room `models` is left out because it names them all.
"""

import argparse
import ast
import base64
import functools
import hashlib
import importlib.util
import io
import json
import math
import os
import re
import statistics
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbclient.util import run_sync
from nbformat import NotebookNode, v4
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "aigc_course"
FOLDERS = {"english": "", "solutions": "solutions", "chinese": "zh"}
SIZE_LIMIT = 300_000  # bytes
CELL_TIMEOUT = 300  # seconds
MODEL_NAME = r"""(?:models\.load\(\s*["']|data/models/|["']models(?:/|["'] / ["']))([\w-]+)"""
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SOLUTION_SYNTAX = "write `name = value  # solution`, or `# solution: stub` above and `# end solution` below"
COLAB_BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](PAGE)"
COLAB_SETUP = """\
# On Google Colab this cell fetches the course and what Colab lacks for it; anywhere else it does nothing.
import os
import runpy
import subprocess
import sys
from pathlib import Path

if "google.colab" in sys.modules:
    url, course = "REPOSITORY", Path("/content/NAME")
    if not course.exists():
        subprocess.run(["git", "clone", "--depth=1", url, course], check=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--editable", course], check=True)
    runpy.run_path(str(course / "scripts" / "complete_colab.py"), run_name="__main__")
    sys.path.insert(0, str(course))  # an editable install alone is seen only after a restart
    os.chdir(course / "notebooks")"""


class BuildError(Exception):
    """A notebook cannot be built; the message names it and the fix."""


def sources(root: Path, names: list[str] | None = None) -> list[Path]:
    """The source files in reading order: all, or those named ("01" is a chapter, "01.1" a notebook)."""
    found = sorted((root / "notebooks" / "source").glob("*.py"))
    stems = ", ".join(path.stem for path in found) or "none yet: write notebooks/source/01.1_topic.py"
    chosen = {name: [path for path in found if _is_named(path, name)] for name in names or [""]}
    for name, paths in chosen.items():
        if not paths:
            raise BuildError(f"no notebook is called {name!r}; there are: {stems}")
    return sorted({path for paths in chosen.values() for path in paths})


def _is_named(path: Path, name: str) -> bool:
    return not name or f"{path.stem}_".startswith((f"{name}_", f"{name}."))


def written(source: Path, edition: str) -> Path:
    """Where an edition of a source is written."""
    return source.parents[1] / FOLDERS[edition] / f"{source.stem}.ipynb"


# From source cells to editions --------------------------------------------------------------------


def editions(source: Path) -> dict[str, NotebookNode]:
    """The unexecuted editions that a source asks for: English, and the others where cells ask for them."""
    cells = jupytext.reads(_text(source), fmt="py:percent").cells
    english = [cell for cell in cells if not _is_chinese(cell)]
    chosen = {"english": english}
    if any(_has_tag(cell, "exercise") for cell in cells):
        chosen["solutions"] = english
    try:
        if len(english) < len(cells):
            chosen["chinese"] = in_chinese(cells)
        return {edition: _edition(source, edition, cells) for edition, cells in chosen.items()}
    except BuildError as error:
        raise BuildError(f"{_name(source)}: {error}") from None


def in_chinese(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Each Chinese cell takes the place of the English one before it; everything else stays."""
    kept: list[NotebookNode] = []
    for cell in cells:
        if not _is_chinese(cell):
            kept.append(cell)
        elif kept and kept[-1].cell_type == "markdown" and not _is_chinese(kept[-1]):
            kept[-1] = cell
        else:
            raise BuildError(f"a Chinese cell must follow its English twin: {_headline(cell)}")
    return kept


def _edition(source: Path, edition: str, source_cells: list[NotebookNode]) -> NotebookNode:
    cells = [_cell(cell, solved=edition == "solutions") for cell in source_cells]
    if not cells or cells[0].cell_type != "markdown":
        raise BuildError("the first cell must be markdown with the title; the Colab badge goes below it")
    badge, setup = for_colab(source.parents[2], written(source, edition))
    title, *rest = cells[0].source.split("\n", 1)
    cells[0].source = "\n".join([title, "", badge, *rest])
    first_code = next((index for index, cell in enumerate(cells) if cell.cell_type == "code"), len(cells))
    cells.insert(max(1, first_code - 1), setup)  # before the prose that leads to the first code cell
    return v4.new_notebook(cells=_with_ids(cells), metadata=METADATA)


def _cell(cell: NotebookNode, solved: bool) -> NotebookNode:
    """A fresh cell that keeps nothing of the source's metadata but the tags."""
    metadata = {"tags": cell.metadata.tags} if "tags" in cell.metadata else {}
    if cell.cell_type != "code":
        return v4.new_markdown_cell(cell.source, metadata=metadata)
    code = write_exercise(cell.source, solved)
    if (code != cell.source) != _has_tag(cell, "exercise"):
        raise BuildError(f'tags=["exercise"] and a "# solution" go together, never alone: {_headline(cell)}')
    return v4.new_code_cell(code, metadata=metadata)


def _with_ids(cells: list[NotebookNode]) -> list[NotebookNode]:
    """An id made of the cell's own text: an edit changes the ids of the cells edited and of no other."""
    seen: Counter[str] = Counter()
    for cell in cells:
        seen[cell.source] += 1
        cell.id = _sha256(f"{cell.cell_type} {seen[cell.source]} {cell.source}")[:12]
    return cells


def for_colab(root: Path, notebook: Path) -> tuple[str, NotebookNode]:
    """The badge that opens this notebook in Colab, and the cell that fetches the course there.

    Both come from the repository's URL in pyproject.toml. The package is installed without its dependencies:
    `complete_colab.py` adds those that Colab lacks, and changes none under which a running notebook would break.
    """
    project = tomllib.loads(_text(root / "pyproject.toml"))["project"]
    url = project.get("urls", {}).get("Repository", "").removesuffix("/").removesuffix(".git")
    if not url.startswith("https://github.com/"):
        raise BuildError("pyproject.toml: set Repository in [project.urls] to https://github.com/owner/name")
    page = url.replace("github.com", "colab.research.google.com/github", 1)
    badge = COLAB_BADGE.replace("PAGE", f"{page}/blob/main/{notebook.relative_to(root).as_posix()}")
    code = COLAB_SETUP.replace("NAME", url.rpartition("/")[2]).replace("REPOSITORY", url)
    return badge, v4.new_code_cell(code, metadata={"tags": ["setup"]})


def write_exercise(code: str, solved: bool) -> str:
    """The code with its marked lines left in (and the marks taken out), or replaced by their stubs."""
    lines: list[str] = []
    inside = False
    for line in code.split("\n"):
        if block := re.fullmatch(r"(\s*)# solution: (.+)", line):
            inside = True
            lines += [] if solved else [block[1] + block[2]]
        elif inside and line.strip() == "# end solution":
            inside = False
        elif inside:
            lines += [line] if solved else []
        elif marked := re.fullmatch(r"(\s*(?:return|[^=(]+ =)) (.*\S)\s+# solution", line):
            lines.append(f"{marked[1]} {marked[2] if solved else '...'}")
        else:
            lines.append(line)
    if inside or re.search(r"# (end )?solution\b", "\n".join(lines)):
        raise BuildError(f"cannot cut the solution out of this cell: {SOLUTION_SYNTAX}\n{code}")
    return "\n".join(lines)


def _is_chinese(cell: NotebookNode) -> bool:
    return cell.metadata.get("lang") == "zh"


def _has_tag(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def _has_picture(cell: NotebookNode) -> bool:
    return any(_picture_kinds(output) for output in cell.get("outputs", []))


def _picture_kinds(output: NotebookNode) -> list[str]:
    return [kind for kind in output.get("data", {}) if kind.startswith("image/")]


def _headline(cell: NotebookNode) -> str:
    first_line = cell.source.strip().partition("\n")[0]
    return f"“{first_line[:60]}”"


def _label(cell: NotebookNode, index: int) -> str:
    return f"cell {index + 1} {_headline(cell)}"


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


# The stamp: what a notebook was run from ----------------------------------------------------------


def fingerprint(source: Path) -> dict:
    """Hashes of all that this notebook's outputs depend on, read without running anything."""
    root, text = source.parents[2], _text(source)
    rooms = {name: _text(path) for name, path in sorted(imported_modules(root, source).items())}
    searched = [text, *(code for name, code in rooms.items() if not f"{name}.".startswith(f"{PACKAGE}.models."))]
    models = set(re.findall(MODEL_NAME, "\n".join(searched)))
    return {
        "source": _sha256(text),
        "package": _sha256("".join(f"{name} {_sha256(code)}\n" for name, code in rooms.items())),
        "models": {name: _model_hash(root, name) for name in sorted(models)},
    }


def imported_modules(root: Path, source: Path) -> dict[str, Path]:
    """The package's modules that a file needs, and those that they need, by dotted name.

    A room's door, an `__init__.py` that only hands names on, is seen through: `room.name` needs the module that makes
    this name, and another module of the room may change.
    """
    door_of = functools.cache(functools.partial(_door, root))
    found: dict[str, Path] = {}
    waiting = list(_imports(source, "", door_of))
    while waiting:
        name = waiting.pop()
        home, _, held = name.rpartition(".")
        path, door = _module_file(root, name), door_of(name)
        if name in found or name.split(".")[0] != PACKAGE:
            continue
        if door is not None:
            waiting += door.values()
        elif path is None:  # something that a module holds
            waiting.append((door_of(home) or {}).get(held, home))
        else:
            found[name] = path
            waiting.append(home if door_of(home) is None else home.rpartition(".")[0])  # a.b runs a/__init__.py
            waiting += _imports(path, name if path.name == "__init__.py" else home, door_of)
    return found


def _imports(path: Path, here: str, door_of: Callable) -> Iterator[str]:
    """Dotted names that a file imports, of a room with a door those that it uses."""
    tree = _tree(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), here)
            for alias in node.names:
                name = f"{base}.{alias.name}"
                used = _used(tree, alias.asname or alias.name) if door_of(name) else None
                yield from [name] if used is None else [f"{name}.{part}" for part in used]


def _used(tree: ast.Module, room: str) -> set[str] | None:
    """What is taken out of a room; None if the room itself is handed on, so that anything may be."""
    taken = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)]
    taken = [n.attr for n in taken if n.value.id == room]
    named = sum(isinstance(n, ast.Name) and n.id == room for n in ast.walk(tree))
    return set(taken) if named == len(taken) else None


def _door(root: Path, name: str) -> dict[str, str] | None:
    """Name → where it comes from, for an `__init__.py` that has imports, `__all__` and a docstring, nothing else."""
    path = _module_file(root, name)
    if path is None or path.name != "__init__.py":
        return None
    first, *rest = _tree(path).body or [None]
    imports = [node for node in (first, *rest) if isinstance(node, ast.ImportFrom)]
    others = [ast.unparse(node) for node in rest if node not in imports]
    if not imports or any(not code.startswith("__all__ =") for code in others):
        return None
    bases = [importlib.util.resolve_name("." * node.level + (node.module or ""), name) for node in imports]
    pairs = zip(bases, imports, strict=True)
    return {alias.asname or alias.name: f"{base}.{alias.name}" for base, node in pairs for alias in node.names}


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(_text(path))
    except SyntaxError as error:
        raise BuildError(f"{_name(path)}: line {error.lineno} is not Python: {error.msg}") from None


def _module_file(root: Path, name: str) -> Path | None:
    path = root.joinpath(*name.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py") if name.split(".")[0] == PACKAGE else ()
    return next((file for file in files if file.is_file()), None)


def _model_hash(root: Path, name: str) -> str:
    manifest = root / "data" / "models" / name / "manifest.json"
    return _sha256(_text(manifest)) if manifest.is_file() else "not shipped"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")  # makes line ends equal, and so the hashes, on every system


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# Execution ----------------------------------------------------------------------------------------


def execute(notebook: NotebookNode, path: Path, root: Path) -> dict:
    """Run every cell in a fresh kernel, in the folder where the notebook will lie; return what it cost.

    The clock starts with the kernel; a picture counts when its cell is done. The package is imported from
    `root`, so that what runs is what the stamp describes.
    """
    client = NotebookClient(
        notebook, kernel_name="python3", timeout=CELL_TIMEOUT, store_widget_state=False, record_timing=False
    )
    search = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    path.parent.mkdir(parents=True, exist_ok=True)
    start, first_picture = time.perf_counter(), None
    quiet = {"TORCH_CPP_LOG_LEVEL": "ERROR"}  # else torch's profiler tells now and then of what it cannot know
    with client.setup_kernel(cwd=str(path.parent), env=os.environ | {"PYTHONPATH": search} | quiet):
        for index, cell in enumerate(notebook.cells):
            try:
                client.execute_cell(cell, index)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                raise BuildError(f"{_name(path)}: {_label(cell, index)} failed\n{error}") from None
            if first_picture is None and _has_picture(cell):
                first_picture = round(time.perf_counter() - start, 1)
        seconds = round(time.perf_counter() - start, 1)
        peak = round(run_sync(_peak_rss)(client) / 1e6)
    return {"seconds": seconds, "first_picture_seconds": first_picture, "peak_rss_mb": peak}


async def _peak_rss(client: NotebookClient) -> int:
    """Ask the kernel for its high-water mark, in bytes, without leaving a trace in the notebook."""
    question = {"peak": f"__import__('{PACKAGE}.runtime').runtime.peak_rss()"}
    reply = await client.kc.execute("", silent=True, user_expressions=question, reply=True)
    answer = reply["content"]["user_expressions"]["peak"]
    if answer["status"] != "ok":
        raise BuildError(f"runtime.peak_rss() failed in the kernel: {answer['ename']}: {answer['evalue']}")
    return int(answer["data"]["text/plain"])


def clean_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Prints joined, progress lines at their last state, no live widgets, pictures packed without loss."""
    cleaned: list[NotebookNode] = []
    for output in outputs:
        if "data" in output:
            output.data = _static(output.data)
        if cleaned and "name" in output and output.name == cleaned[-1].get("name"):
            cleaned[-1].text += output.text
        else:
            cleaned.append(output)
    for stream in (output for output in cleaned if "text" in output):
        stream.text = "\n".join(_last_state(line) for line in stream.text.split("\n"))
    return [output for output in cleaned if output.get("text", "data").strip()]


def _last_state(line: str) -> str:
    """What a terminal shows of a line that was written over with carriage returns."""
    states = [state for state in line.split("\r") if state]
    return states[-1].rstrip() if states else ""


def _static(data: NotebookNode) -> NotebookNode:
    """The forms of one output that can be shown without a kernel."""
    kept = NotebookNode({kind: value for kind, value in data.items() if kind != WIDGET_VIEW})
    if len(kept) < len(data) and set(kept) <= {"text/plain"}:
        kept["text/plain"] = "(an interactive control: run this cell to use it)"
    if "image/png" in kept:
        kept["image/png"] = _smaller_png(kept["image/png"])
    return kept


def _smaller_png(encoded: str) -> str:
    original, packed = base64.b64decode(encoded), io.BytesIO()
    Image.open(io.BytesIO(original)).save(packed, "PNG", optimize=True)
    return base64.b64encode(min(original, packed.getvalue(), key=len)).decode()


# What a finished notebook must not hold -----------------------------------------------------------


def faults(text: str) -> list[str]:
    """All that makes a written notebook unfit for a reader, in words; nothing when it is fit."""
    notebook = nbformat.reads(text, as_version=4)
    found = ["holds widget state, which GitHub refuses to draw"] if "widgets" in notebook.metadata else []
    if (size := len(text.encode())) > SIZE_LIMIT:
        found.append(f"oversize: {_kb(size)}, allowed {_kb(SIZE_LIMIT)}; its heaviest: {_heaviest(notebook)}")
    for index, cell in enumerate(notebook.cells):
        found += [f"{fault} in {_label(cell, index)}" for fault in _cell_faults(cell)]
    return found


def _cell_faults(cell: NotebookNode) -> Iterator[str]:
    outputs = cell.get("outputs", [])
    if re.search(r"!\[\s*\]\(|<img (?![^>]*\balt=)", cell.source) or any(map(_lacks_alt, outputs)):
        yield "figure without alt text"
    if any(output.output_type == "error" for output in outputs):
        yield "error output"
    if any(json.dumps(folder).strip('"') in json.dumps(outputs) for folder in (str(ROOT), sys.prefix)):
        yield "a folder of this machine is named"


def _lacks_alt(output: NotebookNode) -> bool:
    return any(not output.metadata.get(kind, {}).get("alt", "").strip() for kind in _picture_kinds(output))


def _heaviest(notebook: NotebookNode) -> str:
    weights = {_label(cell, index): len(json.dumps(cell)) for index, cell in enumerate(notebook.cells)}
    return ", ".join(f"{label} {_kb(weight)}" for label, weight in Counter(weights).most_common(3))


def _kb(size: int) -> str:
    return f"{size / 1000:.0f} kB"


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


# Build, check, report -----------------------------------------------------------------------------


def build(source: Path) -> dict:
    """Write every edition of a source, or none if one is unfit; return the stamp."""
    notebooks, stamp = editions(source), fingerprint(source)
    for edition, notebook in notebooks.items():
        if edition == "chinese":
            _copy_run(notebooks["english"], notebook)
            continue
        notebook.metadata[PACKAGE] = stamp | execute(notebook, written(source, edition), source.parents[2])
        for cell in _code(notebook):
            cell.outputs = clean_outputs(cell.outputs)
        if edition == "solutions":
            drop_repeated(notebook)
    texts = {written(source, edition): nbformat.writes(done) + "\n" for edition, done in notebooks.items()}
    if found := [f"{_name(path)}: {fault}" for path, text in texts.items() for fault in faults(text)]:
        raise BuildError("\n".join(found))
    for path, text in texts.items():
        _replace(path, text)
    return notebooks["english"].metadata[PACKAGE]


def drop_repeated(solutions: NotebookNode) -> None:
    """Keep the outputs of exercises alone: all others stand in the English edition, and would double the repository."""
    for cell in _code(solutions):
        if not _has_tag(cell, "exercise"):
            cell.outputs = []


def _copy_run(english: NotebookNode, chinese: NotebookNode) -> None:
    """The code cells are the same, and so is their run."""
    chinese.metadata[PACKAGE] = english.metadata[PACKAGE]
    for done, cell in zip(_code(english), _code(chinese), strict=True):
        cell.outputs, cell.execution_count = done.outputs, done.execution_count


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8", newline="\n")
    draft.replace(path)


def problems(source: Path) -> list[str]:
    """Why a source's written notebooks are not what it, the package and the models would give now."""
    expected = fingerprint(source)
    wanted = {written(source, edition): notebook for edition, notebook in editions(source).items()}
    found = {path: _reasons(path, notebook, expected) for path, notebook in wanted.items()}
    return [f"{_name(path)}: {reason}" for path, reasons in found.items() for reason in reasons]


def _reasons(path: Path, wanted: NotebookNode, expected: dict) -> list[str]:
    if not path.is_file():
        return ["built file missing"]
    text = _text(path)
    try:
        built = nbformat.reads(text, as_version=4)
    except (ValueError, nbformat.ValidationError):
        return ["built file is not a notebook"]
    stamp = {"models": {}} | built.metadata.get(PACKAGE, {})
    reasons = [f"{part} changed" for part in ("source", "package") if stamp.get(part) != expected[part]]
    if moved := dict(stamp["models"].items() ^ expected["models"].items()):
        reasons.append(f"models changed: {', '.join(sorted(moved))}")
    if stamp.get("source") == expected["source"] and _content(built) != _content(wanted):
        reasons.append("cells differ from the source (edited by hand, or builder or repository URL changed)")
    return reasons + faults(text)


def _content(notebook: NotebookNode) -> list[tuple]:
    return [(cell.cell_type, cell.source, cell.metadata.get("tags")) for cell in notebook.cells]


def orphans(root: Path) -> list[str]:
    """Written notebooks that no source asks for any more."""
    wanted = {written(source, edition) for source in sources(root) for edition in editions(source)}
    folders = [root / "notebooks" / folder for folder in FOLDERS.values()]
    found = sorted(path for folder in folders for path in folder.glob("[0-9][0-9].*.ipynb"))
    return [f"{_name(path)}: no source asks for it; delete it" for path in found if path not in wanted]


def report(paths: list[Path]) -> str:
    """A Markdown table with one row for each written notebook."""
    heads = ["notebook", "seconds", "first picture", "peak RSS MB", "code cells", "median lines", "p90 lines"]
    heads += ["after prose", "with picture", "kB"]
    rows = [heads, ["---"] * len(heads), *map(report_row, paths)]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def report_row(path: Path) -> list:
    """The figures of one notebook; empty lines and the builder's set-up cell do not count."""
    notebook = nbformat.reads(_text(path), as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not _has_tag(cell, "setup")]
    code = _code(notebook)
    lines = sorted(len(re.findall(r"(?m)^.*\S", cell.source)) for cell in code) or [0]
    kinds = [cell.cell_type for cell in notebook.cells]
    after_prose = sum(pair == ("markdown", "code") for pair in pairwise(kinds))
    shares = [f"{count / max(1, len(code)):.0%}" for count in (after_prose, sum(map(_has_picture, code)))]
    stamp = notebook.metadata.get(PACKAGE, {})
    cost = [stamp.get(key) or "–" for key in ("seconds", "first_picture_seconds", "peak_rss_mb")]
    lengths = [len(code), statistics.median(lines), lines[math.ceil(0.9 * len(lines)) - 1]]
    return [_name(path), *cost, *lengths, *shares, round(path.stat().st_size / 1000)]


def build_stale(chosen: list[Path], force: bool = False) -> list[str]:
    """Build what is not fresh; a source that fails does not stop the next one. Returns the failures."""
    failures = []
    for source in chosen:
        try:
            if not force and not problems(source):
                print(f"{source.stem}: fresh")
                continue
            print(f"{source.stem}: running …", flush=True)
            stamp = build(source)
            print(f"{source.stem}: written; {stamp['seconds']} s, {stamp['peak_rss_mb']} MB")
        except BuildError as error:
            failures.append(str(error))
    return failures


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    """The command line; returns the exit status: 0 when nothing is wrong."""
    parser = argparse.ArgumentParser(description="Build, check or measure the course's notebooks.")
    parser.add_argument("names", nargs="*", help="01.1 for one notebook, 01 for a chapter; all when left out")
    parser.add_argument("--check", action="store_true", help="execute nothing; name every stale notebook")
    parser.add_argument("--report", action="store_true", help="print seconds, memory, cell lengths, pictures")
    parser.add_argument("--force", action="store_true", help="build fresh notebooks, too")
    options = parser.parse_args(argv)
    try:
        wrong = run(options, root)
    except BuildError as error:
        wrong = [str(error)]
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


def run(options: argparse.Namespace, root: Path) -> list[str]:
    """Do what the command line asks; return what is wrong."""
    chosen = sources(root, options.names)
    paths = [written(source, edition) for source in chosen for edition in editions(source)]
    if options.report:
        print(report([path for path in paths if path.is_file()]))
        return []
    if not options.check:
        return build_stale(chosen, options.force)
    wrong = [problem for source in chosen for problem in problems(source)] + orphans(root)
    if not wrong:
        print(f"all {len(paths)} notebooks are fresh")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
