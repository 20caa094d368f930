"""The house: rooms with one-way doors, telling names, docstrings everywhere, and no pickle."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "aigc_course"
ROOMS = (
    "runtime plotting scenes coco models diffusion losses training sampling evaluation "
    "lora adaptation memory parallel style music studio serving applications checks"
).split()
VAGUE = {"utils", "util", "helpers", "misc", "core", "config", "common"}
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "torch.save", "torch.load"}


def name_of(path: Path) -> str:
    """The dotted name of a module, relative to the repository."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
SCRIPTS = {name_of(path): path for path in sorted((REPOSITORY / "scripts").glob("*.py"))}


# --- what a module says -----------------------------------------------------------------------------------


def imports(name: str, text: str, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """The line and the full dotted name of everything that a module imports, also inside its functions."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            parents = name.split(".")[: -(node.level - is_package) or None] if node.level else []
            source = ".".join([*parents, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def room_of(name: str) -> str:
    """The room of a dotted name: its second part."""
    parts = name.split(".")
    return parts[1] if parts[0] == "aigc_course" and len(parts) > 1 else ""


def wrong_doors(name: str, text: str, is_package: bool = False) -> list[str]:
    """A sentence for each import that does not lead to an earlier room."""
    mine = room_of(name)
    sentences = []
    for line, target in imports(name, text, is_package):
        theirs = room_of(target)
        if theirs not in ROOMS or theirs == mine:
            continue
        if not mine:
            sentences.append(
                f"{name}, line {line}: the package itself opens no room, so that importing it costs nothing"
            )
        elif theirs == "checks":
            sentences.append(f"{name}, line {line}: nothing imports checks; they look at a student's work from outside")
        elif ROOMS.index(theirs) > ROOMS.index(mine):
            sentences.append(
                f"{name}, line {line}: {mine} may not import {theirs}, which comes after it; "
                f"move the shared idea to {mine} or earlier, or pass it in as an argument"
            )
    return sentences


def missing_docstrings(name: str, text: str) -> list[str]:
    """A sentence for the module, and each public function or class at its top, that has no docstring."""
    tree = ast.parse(text)
    sentences = [] if ast.get_docstring(tree) else [f"{name} does not open with its sentence; add a docstring"]
    for node in tree.body:
        named = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        if named and not node.name.startswith("_") and not ast.get_docstring(node):
            sentences.append(f"{name}.{node.name} (line {node.lineno}) has no docstring; say its idea and its shapes")
    return sentences


def pickles(name: str, text: str) -> list[str]:
    """A sentence for each use of something that pickles."""
    sentences = []
    for node in ast.walk(ast.parse(text)):
        used = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        if used in PICKLES:
            sentences.append(f"{name}, line {node.lineno}: {used} pickles; use safetensors, JSON or PNG")
    for line, target in imports(name, text):
        if target in PICKLES or target.split(".")[0] in PICKLES:
            sentences.append(f"{name}, line {line}: {target} pickles; use safetensors, JSON or PNG")
    return sentences


def stars(name: str, text: str) -> list[str]:
    """A sentence for each `import *`."""
    found = [(line, target) for line, target in imports(name, text) if target.endswith(".*")]
    return [f"{name}, line {line}: name what you take, not *; calls name the room: room.function" for line, _ in found]


# --- the house as it stands -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_doors_open_only_to_earlier_rooms(name):
    path = MODULES[name]
    sentences = wrong_doors(name, path.read_text(encoding="utf-8"), path.name == "__init__.py")
    assert not sentences, "\n".join(sentences)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_stands_in_a_known_room_with_a_telling_name(name):
    assert room_of(name) in {*ROOMS, ""}, f"{room_of(name)} is no room of the house; put {name} into one of {ROOMS}"
    vague = VAGUE & set(name.split("."))
    assert not vague, f"{name}: {vague.pop()} does not tell what to look for there; name the idea"


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_opens_with_its_sentence(name):
    sentences = missing_docstrings(name, MODULES[name].read_text(encoding="utf-8"))
    assert not sentences, "\n".join(sentences)


@pytest.mark.parametrize("name", MODULES | SCRIPTS)
def test_nothing_pickles_and_nothing_imports_a_star(name):
    text = (MODULES | SCRIPTS)[name].read_text(encoding="utf-8")
    sentences = pickles(name, text) + stars(name, text)
    assert not sentences, "\n".join(sentences)


# --- the test can fail ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "from aigc_course import training",
        "import aigc_course.training as t",
        "from aigc_course.training import fit",
        "from . import training",
        "from .training import fit",
        "def late():\n    from aigc_course.training import fit",
    ],
)
def test_a_door_to_a_later_room_is_seen_in_every_spelling(text):
    (sentence,) = wrong_doors("aigc_course.losses", text)
    assert "losses may not import training" in sentence
    assert not wrong_doors("aigc_course.sampling", text)


def test_the_inner_modules_of_a_room_are_the_room():
    text = "from ..drawing import draw\nfrom ...training import fit\nfrom aigc_course.scenes import Scene"
    (sentence,) = wrong_doors("aigc_course.scenes.styles.ink", text)
    assert "line 2" in sentence and "scenes may not import training" in sentence
    (sentence,) = wrong_doors(
        "aigc_course.scenes", "from .drawing import draw\nfrom ..models import load", is_package=True
    )
    assert "scenes may not import models" in sentence


def test_nobody_may_look_at_the_checks():
    (sentence,) = wrong_doors("aigc_course.studio", "from aigc_course import checks")
    assert "nothing imports checks" in sentence


def test_the_package_itself_opens_no_room():
    assert wrong_doors("aigc_course", "from . import runtime", is_package=True)
    assert not wrong_doors("aigc_course.checks", "from aigc_course import runtime, __version__\nimport torch")


def test_a_missing_docstring_is_seen():
    text = "def shown(): pass\ndef _hidden(): pass\nclass Shown: pass\nx = 1"
    sentences = missing_docstrings("aigc_course.losses", text)
    assert [sentence.split()[0] for sentence in sentences] == [
        "aigc_course.losses", "aigc_course.losses.shown", "aigc_course.losses.Shown",
    ]  # fmt: skip
    assert not missing_docstrings("aigc_course.losses", '"""One."""\ndef shown():\n    """Two."""')


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import dumps",
        "torch.save(x, f)",
        "from torch import save",
        "x = torch.load",
    ],
)
def test_a_pickle_is_seen(text):
    assert pickles("aigc_course.models", text)
    assert not pickles(
        "aigc_course.models", "import safetensors.torch\nsafetensors.torch.save_file(x, f)  # not torch.save"
    )


def test_a_star_is_seen():
    assert stars("aigc_course.models", "from torch import *")
    assert not stars("aigc_course.models", "from torch import nn\ny = 2 * 3")
