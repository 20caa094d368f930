"""Every exercise: its stub, its solutions, and each likely slip with a sentence of its own."""

import importlib
import pkgutil
import re
from pathlib import Path

import exercises
import pytest

ALL = [
    exercise
    for module in pkgutil.iter_modules(exercises.__path__)
    for exercise in importlib.import_module(f"exercises.{module.name}").EXERCISES
]
SLIPS = [pytest.param(e.check, *slip, id=f"{e.number} {name}") for e in ALL for name, slip in e.slips.items()]
SOLVED = [pytest.param(e, answer, id=f"{e.number} {i}") for e in ALL for i, answer in enumerate(e.solved, 1)]
NOTEBOOKS = Path(__file__).parents[1] / "notebooks" / "source"
each = pytest.mark.parametrize("exercise", ALL, ids=[e.number for e in ALL])


def test_each_exercise_of_the_notebooks_is_here_once():
    prose = "".join(path.read_text(encoding="utf-8") for path in NOTEBOOKS.glob("*.py"))
    asked = re.findall(r"\*\*(\d+\.\d+\.\d+)\*\*", prose)
    assert sorted(asked) == sorted(e.number for e in ALL)


@pytest.mark.parametrize(("check", "answer", "said"), SLIPS)
def test_each_slip_gets_its_own_sentence(check, answer, said, capsys):
    with pytest.raises(AssertionError) as caught:
        check(answer)
    assert said in str(caught.value)
    assert "correct" not in capsys.readouterr().out


@each
def test_an_exercise_knows_four_slips_or_more_and_no_two_share_a_sentence(exercise):
    assert len({said for _, said in exercise.slips.values()}) == len(exercise.slips) >= 4


@each
def test_an_open_exercise_says_that_it_was_not_tried(exercise, capsys):
    exercise.check(exercise.stub)
    assert f"{exercise.number} not tried yet: " in capsys.readouterr().out


@pytest.mark.parametrize(("exercise", "answer"), SOLVED)
def test_a_right_answer_passes_however_it_is_written(exercise, answer, capsys):
    exercise.check(answer)
    assert f"● {exercise.number} correct" in capsys.readouterr().out


def kills(exercise):
    """How many of the slips of an exercise its check turns away."""
    rejected = 0
    for answer, _ in exercise.slips.values():
        try:
            exercise.check(answer)
        except AssertionError:
            rejected += 1
    return rejected


def test_every_slip_is_turned_away(capsys):
    rows = [(e.number, len(e.slips), kills(e)) for e in ALL]
    with capsys.disabled():
        print("\nexercise  slips  turned away")
        print("\n".join(f"{number:8}  {slips:5}  {killed / slips:11.0%}" for number, slips, killed in rows))
        print(f"all       {sum(r[1] for r in rows):5}  {sum(r[2] for r in rows) / sum(r[1] for r in rows):11.0%}")
    assert all(slips == killed for _, slips, killed in rows)
