"""What a new user gets: files that agree about the environment, and one sentence for what is missing."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import time_models
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
MAKE = shutil.which("make")
needs_make = pytest.mark.skipif(not MAKE or os.name == "nt", reason="Windows has no make: README says how")


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def ranges(lines: list[str]) -> dict[str, SpecifierSet]:
    return {canonicalize_name(r.name): r.specifier for r in map(Requirement, lines)}


PROJECT = tomllib.loads(read("pyproject.toml"))
RUNTIME = ranges(PROJECT["project"]["dependencies"])
DEV = ranges(PROJECT["project"]["optional-dependencies"]["dev"])
DECLARED = RUNTIME | DEV
TO_COMPARE = ranges(PROJECT["project"]["optional-dependencies"]["compare"])  # asked for by name only
LOCK = [Requirement(line) for line in read("requirements.lock").splitlines()]
CONDA = yaml.safe_load(read("environment.yml"))["dependencies"]
CONDA_PIP = next(entry["pip"] for entry in CONDA if isinstance(entry, dict))


# ---------------------------------------------------------------- the ranges, the lock and conda's file agree


def test_environment_yml_names_the_ranges_of_pyproject():
    assert ranges([line for line in CONDA_PIP if not line.startswith("-")]) == DECLARED


def test_environment_yml_takes_its_exact_versions_from_the_lock_and_installs_the_course():
    options = [line for line in CONDA_PIP if line.startswith("-")]
    assert options == ["--constraint requirements.lock", "--editable ."]


def test_environment_yml_asks_for_a_python_that_pyproject_allows():
    asked = next(entry.removeprefix("python=") for entry in CONDA if str(entry).startswith("python="))
    assert asked in SpecifierSet(PROJECT["project"]["requires-python"])


def test_every_line_of_the_lock_is_one_exact_public_version():
    for pin in LOCK:
        (only,) = pin.specifier
        assert only.operator == "==", f"{pin} is not exact"
        assert not re.search(r"[+*]", only.version), f"{pin} fits some machines only"


def test_every_range_holds_the_version_in_the_lock():
    pins = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in LOCK}
    for name, allowed in (DECLARED | ranges(PROJECT["build-system"]["requires"])).items():
        assert name in pins, f"{name} is not in requirements.lock: run make lock"
        assert pins[name] in allowed, f"{name} {pins[name]} is locked, but pyproject.toml says {allowed}"


def only_for_cuda(name: str) -> bool:
    return name.startswith(("nvidia-", "cuda-")) or name == "triton"


def needed(system: dict[str, str]) -> set[str]:
    """Every package that the course leads to on a system, by what each package says that it requires."""
    roots = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dev"]
    waiting, seen = [Requirement(line) for line in roots + PROJECT["build-system"]["requires"]], set()
    while waiting:
        one = waiting.pop()
        for extra in {"", *one.extras}:
            if (canonicalize_name(one.name), extra) not in seen:
                seen.add((canonicalize_name(one.name), extra))
                waiting += requirements(one.name, system | {"extra": extra})
    return {name for name, _ in seen if not only_for_cuda(name)}


def requirements(name: str, environment: dict[str, str]) -> list[Requirement]:
    try:
        declared = map(Requirement, importlib.metadata.requires(name) or [])
    except importlib.metadata.PackageNotFoundError:  # it belongs to another system
        return []
    return [r for r in declared if r.marker is None or r.marker.evaluate(environment)]


PYTHON = {"python_version": "3.11", "python_full_version": "3.11.0", "platform_machine": "x86_64"}
LINUX = PYTHON | {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux"}
WINDOWS = PYTHON | {"sys_platform": "win32", "os_name": "nt", "platform_system": "Windows"}


def locked(system: dict[str, str]) -> set[str]:
    return {canonicalize_name(pin.name) for pin in LOCK if pin.marker is None or pin.marker.evaluate(system)}


def test_the_lock_is_what_the_course_leads_to_on_linux_and_nothing_else():
    assert locked(LINUX) == needed(LINUX)


def test_the_lock_asks_windows_for_nothing_that_is_for_linux_only():
    assert locked(WINDOWS) - needed(WINDOWS) == set()


def runs_on(pin: Requirement, python: str) -> bool:
    return python in SpecifierSet(importlib.metadata.metadata(pin.name).get("Requires-Python", ""))


def test_every_version_in_the_lock_runs_on_the_python_of_debian_12():
    installed = [pin for pin in LOCK if pin.marker is None or pin.marker.evaluate()]
    assert [str(pin) for pin in installed if not runs_on(pin, "3.11.2")] == []


def test_contributing_gives_a_reason_for_each_dependency():
    section = read("CONTRIBUTING.md").split("## What we depend on, and why")[1].split("\n## ")[0]
    reasons = re.findall(r"^- `([^`]+)`: .{10,}", section, flags=re.MULTILINE)
    assert sorted(reasons) == sorted(DECLARED)


# ---------------------------------------------------------------- what the code imports


def ours(*suffixes: str) -> list[Path]:
    """The files that people write; executed notebooks are made from them."""
    paths = []
    for folder, below, names in os.walk(ROOT):
        below[:] = [name for name in below if not is_built(name)]
        paths += [Path(folder, name) for name in names if name.endswith(suffixes)]
    return sorted(paths)


def is_built(folder: str) -> bool:
    return folder in {"__pycache__", "build", "runs"} or folder.startswith(".") or ".egg-info" in folder


def imported(path: Path) -> set[str]:
    """The packages that a file imports, also inside its functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


@cache
def providers() -> dict[str, list[str]]:
    return importlib.metadata.packages_distributions()


def package(module: str) -> str:
    """The name under which pip knows a module: skimage comes with scikit-image."""
    return canonicalize_name(providers().get(module, [module])[0])


def undeclared(folders: tuple[str, ...], declared: dict) -> dict[str, set[str]]:
    """File → the packages from elsewhere that it imports and pyproject.toml does not name."""
    files = [path for path in ours(".py") if path.relative_to(ROOT).parts[0] in folders]
    beside = {path.stem for path in files} | {path.parent.name for path in files} | {"aigc_course"}
    found = {}
    for path in files:
        foreign = imported(path) - set(sys.stdlib_module_names) - beside
        if strange := {name for name in foreign if package(name) not in declared}:
            found[str(path.relative_to(ROOT))] = strange
    return found


def test_what_the_package_and_the_notebooks_import_is_declared():
    assert undeclared(("aigc_course", "notebooks"), RUNTIME) == {}


def test_what_the_scripts_and_the_tests_import_is_declared():
    assert undeclared(("scripts", "tests"), DECLARED | TO_COMPARE) == {}


def test_nothing_needs_torchvision():
    assert "torchvision" not in DECLARED
    assert "torchvision" not in locked(LINUX) | locked(WINDOWS)
    assert [path for path in ours(".py") if "torchvision" in imported(path)] == []


def test_importing_the_course_brings_in_nothing_else():
    code = """if True:
        import sys, time
        before, start = set(sys.modules), time.perf_counter()
        import aigc_course
        print(f"{time.perf_counter() - start:.4f}", *sorted(set(sys.modules) - before))
    """
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, *modules = run.stdout.split()
    print(f"import aigc_course takes {seconds} s")
    assert modules == ["aigc_course"]


def test_the_address_of_the_repository_stands_in_one_place():
    address = PROJECT["project"]["urls"]["Repository"].removeprefix("https://")
    owner_and_name = address.partition("/")[2]
    written_by_hand = [p for p in ours(".py", ".toml", ".yml", ".md", ".lock") if p != ROOT / "README.md"]
    holders = [p.name for p in written_by_hand if owner_and_name in p.read_text(encoding="utf-8")]
    assert holders == ["pyproject.toml"]


# ---------------------------------------------------------------- make, on a machine of pretended tools


def tool(path: Path, lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what make reads, and a python3 that writes down what it is asked to do."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "scripts/check_environment.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    log = tmp_path / "log"
    tool(tmp_path / "venv-python", f'echo "$@" >> {log}\n! grep -qsxF -- "$*" {tmp_path}/failing')
    makes_venv = f'mkdir -p .venv/bin && cp {tmp_path}/venv-python .venv/bin/python'
    tool(tmp_path / "tools/python3", f'echo "$@" >> {log}\n[ "$2" != venv ] || {{ {makes_venv}; }}')
    return tmp_path


def make(clone: Path, *arguments: str) -> subprocess.CompletedProcess:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    env = kept | {"PATH": f"{clone / 'tools'}{os.pathsep}{os.defpath}"}
    return subprocess.run([MAKE, *arguments], cwd=clone, env=env, capture_output=True, text=True)


def asked(clone: Path) -> list[str]:
    return (clone / "log").read_text(encoding="utf-8").splitlines()


def trained(clone: Path) -> list[str]:
    """The stages of `make models` that ran, in order."""
    return [line[len("scripts/train_") : -len(".py")] for line in asked(clone) if line.startswith("scripts/train_")]


def complaint(run: subprocess.CompletedProcess) -> str:
    """What a failing make says beside its own closing line."""
    assert run.returncode != 0
    (sentence,) = [line for line in run.stderr.splitlines() if not re.match(r"g?make(\[\d+\])?:", line)]
    return sentence


def pretend(clone: Path, preparation: str) -> None:
    """A python3 that runs the check as it would run on another machine."""
    code = f"import sys, runpy; sys.executable = '/usr/bin/python3'; {preparation}; "
    code += "runpy.run_path(sys.argv[1], run_name='__main__')"
    tool(clone / "tools/python3", f'exec "{sys.executable}" -c "{code}" "$@"')


@needs_make
def test_make_lab_makes_the_environment_and_opens_the_first_notebook(clone: Path):
    assert make(clone, "lab", "ARGS=--no-browser", "PIP_ARGS=--find-links wheels").returncode == 0
    pip = "-m pip --disable-pip-version-check install"
    assert asked(clone) == [
        "scripts/check_environment.py",
        "-m venv .venv",
        f"{pip} --find-links wheels -r requirements.lock",
        f"{pip} --quiet --no-deps --no-build-isolation -e .",
        "-m jupyterlab --no-browser notebooks/01.1_words_to_picture.ipynb",
    ]


@needs_make
def test_make_test_runs_the_style_the_unit_tests_the_stamps_and_every_notebook(clone: Path):
    assert make(clone, "test").returncode == 0
    assert asked(clone)[-4:] == [
        "-m ruff check .",
        "-m pytest -n 2 tests",
        "scripts/build_notebooks.py --check",
        "-m pytest -n 2 --nbmake notebooks",
    ]


def lines_of(clone: Path) -> list[str]:
    """What the stages of `make models` left in their log, without the times."""
    return [line.split("  ")[1] for line in (clone / "runs/made/log").read_text(encoding="utf-8").splitlines()]


@needs_make
def test_make_models_trains_each_model_that_has_a_script_and_adds_up_the_time(clone: Path):
    assert make(clone, "models").returncode == 0
    assert lines_of(clone) == [f"{stage} {what}" for stage in trained(clone) for what in ("begins", "is done")]
    scripts = (ROOT / "scripts").glob("train_*.py")
    assert sorted(trained(clone)) == sorted(path.stem.removeprefix("train_") for path in scripts)
    assert asked(clone)[-1] == "scripts/time_models.py"


@needs_make
def test_make_models_goes_on_at_the_stage_that_broke_off_and_does_none_twice(clone: Path):
    (clone / "failing").write_text("scripts/train_clip.py", encoding="utf-8")
    assert make(clone, "models").returncode != 0
    assert lines_of(clone)[-2:] == ["clip begins", "clip stopped"]
    (clone / "failing").unlink()
    assert make(clone, "models").returncode == 0
    order = trained(clone)
    assert {stage for stage in order if order.count(stage) > 1} == {"clip"}
    assert make(clone, "models").returncode == 0
    assert trained(clone) == order
    (clone / "runs/made/lm").unlink()
    assert make(clone, "models").returncode == 0
    assert trained(clone) == [*order, "lm"]


@needs_make
def test_a_stage_that_is_interrupted_says_so_in_the_log(clone: Path):
    tool(clone / "venv-python", 'case $1 in scripts/train_*) kill -INT $PPID; exit 130;; esac')
    assert make(clone, "models").returncode != 0
    assert lines_of(clone) == ["tokenizer begins", "tokenizer stopped"]


LOG = """2030-01-01 10:00:00  autoencoder begins
2030-01-01 10:00:00  lm begins
2030-01-01 10:20:00  lm is done
2030-01-01 10:30:00  autoencoder stopped
2030-01-01 12:00:00  autoencoder begins
2030-01-01 12:00:00  clip begins
2030-01-01 12:15:00  autoencoder is done
2030-01-01 13:00:00  clip begins
2030-01-01 13:10:00  clip is done
"""


def test_the_time_that_models_took_is_added_up_by_stage_and_by_the_clock():
    found, lost = time_models.stretches(LOG)
    assert lost == 1, "clip was killed once"
    assert time_models.minutes_each(found) == {"autoencoder": 45, "lm": 20, "clip": 10}
    assert time_models.minutes_by_the_clock(found) == 30 + 15 + 10


def test_of_a_model_that_was_trained_anew_only_the_last_time_counts():
    again = "2030-01-02 10:00:00  lm begins\n2030-01-02 10:05:00  lm is done\n"
    assert time_models.minutes_each(time_models.stretches(LOG + again)[0])["lm"] == 5


def test_before_any_model_was_trained_there_is_no_time_to_add_up(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(time_models, "LOG", tmp_path / "log")
    with pytest.raises(SystemExit, match="make models"):
        time_models.main()


@needs_make
@pytest.mark.parametrize("stage, after", [("text_to_image", "autoencoder"), ("captioner", "clip"), ("loras", "parser")])
def test_a_stage_that_is_asked_for_alone_brings_those_that_it_starts_from(clone: Path, stage: str, after: str):
    assert make(clone, f"runs/made/{stage}").returncode == 0
    order = trained(clone)
    assert order[-1] == stage and after in order and "composer" not in order


@needs_make
@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_make_test_stops_at_the_first_step_that_fails(clone: Path, step: int):
    make(clone, "test")
    steps = asked(clone)[-4:]
    (clone / "log").unlink()
    (clone / "failing").write_text(steps[step - 1], encoding="utf-8")
    assert make(clone, "test").returncode != 0
    assert asked(clone) == steps[:step]


@needs_make
def test_the_environment_is_made_once_and_again_when_the_lock_changes(clone: Path):
    make(clone, "lab")
    (clone / "log").unlink()
    make(clone, "lab")
    assert len(asked(clone)) == 1
    os.utime(clone / "requirements.lock")
    make(clone, "lab")
    assert any("requirements.lock" in line for line in asked(clone))


@needs_make
def test_an_environment_made_by_hand_is_kept_and_filled(clone: Path):
    tool(clone / ".venv/bin/python", (clone / "venv-python").read_text(encoding="utf-8"))
    assert make(clone, "lab").returncode == 0
    assert "-m venv .venv" not in asked(clone)
    assert any("requirements.lock" in line for line in asked(clone))


@needs_make
def test_an_installation_that_broke_off_is_taken_up_again(clone: Path):
    install = "-m pip --disable-pip-version-check install -r requirements.lock"
    (clone / "failing").write_text(install, encoding="utf-8")
    assert make(clone, "lab").returncode != 0
    (clone / "failing").unlink()
    assert make(clone, "lab").returncode == 0
    assert asked(clone).count(install) == 2


@needs_make
def test_a_missing_python_is_answered_with_the_package_to_install(clone: Path):
    sentence = complaint(make(clone, "lab", "PYTHON=python3.99"))
    assert sentence == "python3.99 was not found; run: sudo apt install python3.99 python3.99-venv"


@needs_make
@pytest.mark.parametrize("version", ["2, 7", "3, 10"])
def test_an_old_python_is_answered_with_the_version_to_install(clone: Path, version: str):
    pretend(clone, f"sys.version_info = ({version}, 9, 'final', 0)")
    assert complaint(make(clone, "lab")) == (
        f"Python 3.11 or newer is needed, and /usr/bin/python3 is {version.replace(', ', '.')}; "
        "install python3.11 and run: make lab PYTHON=python3.11"
    )
    assert not (clone / ".venv").exists()


@needs_make
@pytest.mark.parametrize("module", ["ensurepip", "venv"])
def test_a_missing_venv_module_is_answered_with_the_package_to_install(clone: Path, module: str):
    pretend(clone, f"sys.modules['{module}'] = None")
    assert complaint(make(clone, "lab")) == (
        "/usr/bin/python3 has no venv module to make .venv with; run: sudo apt install python3-venv"
    )
    assert not (clone / ".venv").exists()


@needs_make
def test_the_continuous_integration_runs_the_readmes_test_command_and_keeps_its_verdict(clone: Path):
    (clone / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", clone / ".ci/run")
    tool(clone / "tools/make", 'echo "make $@"; exit 7')
    tool(clone / "tools/chromium", "")
    env = os.environ | {"PATH": f"{clone / 'tools'}{os.pathsep}{os.defpath}"}
    run = subprocess.run([clone / ".ci/run"], env=env, capture_output=True, text=True)
    assert (run.stdout, run.returncode) == ("make test\n", 7)
