"""Installs what the course needs and Google Colab lacks; what a running notebook stands on stays as it is."""

import importlib
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

COURSE = Path(__file__).resolve().parents[1]
KEPT = {"ipykernel", "ipython", "ipywidgets", "jupyterlab", "numpy", "torch"}
FIX = "run this cell again, or begin anew with Runtime > Disconnect and delete runtime"


def by_name(lines: list[str]) -> dict[str, Requirement]:
    """Package → what is asked of it."""
    return {canonicalize_name(one.name): one for one in map(Requirement, lines)}


def version_of(name: str) -> str | None:
    """The version of a package on this machine, if it is here."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def imported() -> set[str]:
    """The packages in use: new files under an old import would make a mixture of both."""
    modules = {name.partition(".")[0] for name in sys.modules}
    providers = metadata.packages_distributions()
    return {canonicalize_name(package) for name in modules for package in providers.get(name, [])}


def fits(one: Requirement) -> bool:
    """Whether a package is here, in a version that the course takes."""
    version = version_of(one.name)
    return bool(version) and one.specifier.contains(version, prereleases=True)


def constraints(kept: set[str], lacking: set[str]) -> list[str]:
    """What stays keeps its version, what is new has the one in the lock, and pip leaves the rest if it can."""
    pins = by_name((COURSE / "requirements.lock").read_text(encoding="utf-8").splitlines())
    new = [name for name in pins if name in lacking or not version_of(name)]
    stay = [f"{name}=={version_of(name)}" for name in sorted(kept) if version_of(name)]
    return stay + [str(pins[name]) for name in new if name not in kept]


def install(lacking: list[Requirement], limits: list[str]) -> None:
    """Let pip install these within the limits; if it cannot, end with one sentence."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "constraints.txt"
        file.write_text("\n".join(limits), encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(file)]
        run = subprocess.run([*pip, *map(str, lacking)], capture_output=True, text=True)
    if run.returncode:
        reasons = re.findall(r"^ERROR: (.+?)\.?(?: \(from .*)?$", run.stderr, re.MULTILINE)
        reason = (reasons or [f"it ended with {run.returncode}"])[0]
        sys.exit(f"pip could not install {', '.join(one.name for one in lacking)} ({reason}); {FIX}")


def report(lacking: dict[str, Requirement], kept: list[Requirement]) -> str:
    """What is installed now, and what stays older than the course asks."""
    news = f"Installing what Colab lacks: {', '.join(lacking)}" if lacking else "Colab lacks nothing"
    old = [f"{one.name} {version_of(one.name)}" for one in kept if version_of(one.name) and not fits(one)]
    return news + (f"; in use, so left as they are: {', '.join(old)}." if old else ".")


def main() -> None:
    """Complete this machine, and say in one line what was done."""
    project = tomllib.loads((COURSE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = by_name(project["dependencies"])
    kept = KEPT | imported() & asked.keys()
    lacking = {name: one for name, one in asked.items() if name not in kept and not fits(one)}
    print(report(lacking, [one for name, one in asked.items() if name in kept]))
    if lacking:
        install(list(lacking.values()), constraints(kept, set(lacking)))
        importlib.invalidate_caches()


if __name__ == "__main__":
    main()
