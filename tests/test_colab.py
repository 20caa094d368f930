"""What Colab lacks is installed, what a running notebook stands on stays; machines and pip are pretended."""

import subprocess
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import complete_colab
import pytest

NEEDED = ["av>=18.1,<19", "ipywidgets>=8.1", "matplotlib>=3.11", "numpy>=2.4", "scikit-image>=0.26", "torch>=2.13"]
HERE = {"ipywidgets": "7.7.1", "matplotlib": "3.11.0", "numpy": "2.0.2", "scikit-image": "0.25.2", "torch": "2.9+cu126"}
LOCK = ["av==18.1.0", "numpy==2.4.6", "scikit-image==0.26.0", "lazy-loader==0.6", "ipywidgets==8.1.9", "six==1.17.0"]
STOOD_ON = {"ipykernel", "ipython", "ipywidgets", "jupyterlab", "numpy", "torch"}


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """A course and a machine to change; `asked` holds what pip was told, `limits` its constraints."""

    it = SimpleNamespace(here=HERE | {"six": "1.16.0"}, imported=set(), asked=None, limits=None, answer=(0, ""))

    def pip(command, **_):
        option = command.index("--constraint")
        it.limits = Path(command[option + 1]).read_text(encoding="utf-8").split("\n")
        it.asked = [complete_colab.Requirement(one).name for one in command[option + 2 :]]
        return subprocess.CompletedProcess(command, it.answer[0], "", it.answer[1])

    (tmp_path / "pyproject.toml").write_text(f"[project]\ndependencies = {NEEDED}\n", encoding="utf-8")
    (tmp_path / "requirements.lock").write_text("\n".join(LOCK), encoding="utf-8")
    monkeypatch.setattr(complete_colab, "COURSE", tmp_path)
    monkeypatch.setattr(complete_colab, "version_of", lambda name: it.here.get(name))
    monkeypatch.setattr(complete_colab, "imported", lambda: it.imported)
    monkeypatch.setattr(subprocess, "run", pip)
    return it


def test_what_is_absent_or_too_old_is_installed_in_the_version_of_the_lock_and_the_line_says_so(colab, capsys):
    complete_colab.main()
    assert colab.asked == ["av", "scikit-image"]
    assert {"av==18.1.0", "scikit-image==0.26.0", "lazy-loader==0.6"} <= set(colab.limits)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Installing what Colab lacks: av, scikit-image; in use, so left as they are: ")
    assert line.endswith("ipywidgets 7.7.1, numpy 2.0.2, torch 2.9+cu126.")


@pytest.mark.parametrize("machine", [HERE, {}])
def test_what_a_running_notebook_stands_on_is_never_asked_for_old_or_absent(colab, machine):
    colab.here = machine
    complete_colab.main()
    assert colab.asked and not STOOD_ON & set(colab.asked)


def test_what_others_might_pull_along_is_held_where_it_is(colab):
    complete_colab.main()
    held = [one for one in colab.limits if one.startswith(("ipywidgets", "numpy", "torch"))]
    assert held == ["ipywidgets==7.7.1", "numpy==2.0.2", "torch==2.9+cu126"]
    assert not any(one.startswith("six") for one in colab.limits), "nobody asked for it, so its version is pip's affair"


def test_what_the_notebook_has_imported_stays_even_if_it_is_old(colab):
    colab.imported = {"scikit-image"}
    complete_colab.main()
    assert colab.asked == ["av"] and "scikit-image==0.25.2" in colab.limits
    assert "scikit-image==0.26.0" not in colab.limits


def test_where_nothing_is_lacking_pip_is_not_called_and_the_line_says_so(colab, capsys):
    versions = {"av": "18.1.0", "scikit-image": "0.26", "ipywidgets": "8.1.9", "numpy": "2.4.6", "torch": "2.13.0+cpu"}
    colab.here |= versions
    complete_colab.main()
    assert colab.asked is None
    assert capsys.readouterr().out == "Colab lacks nothing.\n"


@pytest.mark.parametrize(
    "said, reason",
    [
        ("WARNING: x\nERROR: No matching distribution found for av\n", "No matching distribution found for av"),
        ("ERROR: Could not find av (from versions: 1, 2)\nERROR: No match for av\n", "Could not find av"),
        ("Killed\n", "it ended with 2"),
    ],
)
def test_a_pip_that_fails_is_told_in_one_sentence_that_names_the_fix(colab, said, reason):
    colab.answer = (2, said)
    with pytest.raises(SystemExit) as end:
        complete_colab.main()
    assert end.value.code == f"pip could not install av, scikit-image ({reason}); {complete_colab.FIX}"
    assert "run this cell again" in complete_colab.FIX


def test_versions_and_imports_are_those_of_this_very_process():
    assert complete_colab.version_of("pytest") == metadata.version("pytest")
    assert complete_colab.version_of("no-such-package") is None
    assert "pytest" in complete_colab.imported() and "jupyterlab" not in complete_colab.imported()


def test_the_course_itself_is_never_told_to_change_the_notebook_it_runs_in(colab, monkeypatch):
    monkeypatch.setattr(complete_colab, "COURSE", Path(__file__).parents[1])
    colab.here = {}
    complete_colab.main()
    assert {"av", "onnxscript", "scikit-image"} <= set(colab.asked)
    assert not STOOD_ON & set(colab.asked)
