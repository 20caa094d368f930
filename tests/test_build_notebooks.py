"""The builder, on a course of one small notebook: what it writes, what it refuses, what it finds stale."""

import base64
import importlib.util
import io
import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat import v4
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "build_notebooks.py"
spec = importlib.util.spec_from_file_location("build_notebooks", SCRIPT)
builder = importlib.util.module_from_spec(spec)
spec.loader.exec_module(builder)

SOURCE = """\
# %% [markdown] lang="en"
# # 1.1 Squares
#
# A number becomes a square.

# %% [markdown] lang="zh"
# # 1.1 平方
#
# 一个数变成它的平方。

# %% [markdown]
# $$y = x^2$$

# %% [markdown] lang="en"
# The picture to look at is orange.

# %% [markdown] lang="zh"
# 请看橙色的图。

# %%
from aigc_course import plotting

plotting.show("an orange square")

# %%
model = "data/models/tiny"
for step in range(3):
    print(f"step {step}", end="\\r", flush=True)
print("step 3 done")

# %% [markdown]
# Now you.

# %% tags=["exercise"]
x = 3
answer = x * x  # solution
def cube(x):
    # solution: return ...
    square = x * x
    return square * x
    # end solution
print("answer", answer)
"""

PACKAGE = {
    "__init__": "",
    "runtime": "def peak_rss():\n    return 123_400_000\n",
    "colours": "ORANGE = (255, 140, 0)\n",
    "unused": "",
    "plotting": """
import base64, io
from PIL import Image
from .colours import ORANGE

class show:
    def __init__(self, alt):
        self.alt = alt

    def _repr_mimebundle_(self, include=None, exclude=None):
        file = io.BytesIO()
        Image.new("RGB", (64, 64), ORANGE).save(file, "PNG", compress_level=0)
        data = {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": "a picture"}
        return data, {"image/png": {"alt": self.alt}}
""",
}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def make_course(root: Path, source: str = SOURCE) -> Path:
    """A repository with one notebook, a small package and one model. Returns the notebook's source."""
    write(root / "pyproject.toml", '[project]\nurls = { Repository = "https://github.com/ada/sums" }\n')
    write(root / "data" / "models" / "tiny" / "manifest.json", "{}")
    for name, code in PACKAGE.items():
        write(root / "aigc_course" / f"{name}.py", code)
    return write(root / "notebooks" / "source" / "01.1_squares.py", source)


def picture(alt: str = "an orange square") -> nbformat.NotebookNode:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "orange").save(file, "PNG", compress_level=0)
    data = {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": "a picture"}
    return v4.new_output("display_data", data, metadata={"image/png": {"alt": alt}})


@pytest.fixture
def pretend(monkeypatch):
    """Instead of a kernel: outputs given by hand, put into the first code cell after the set-up cell."""
    outputs: list[nbformat.NotebookNode] = []

    def run(notebook, path, root):
        builder._code(notebook)[1].outputs = [nbformat.from_dict(output) for output in outputs]
        return {"seconds": 2.5, "first_picture_seconds": 1.5, "peak_rss_mb": 123}

    monkeypatch.setattr(builder, "execute", run)
    return outputs


@pytest.fixture
def fresh(tmp_path, pretend):
    """The source of a course whose notebooks have just been built."""
    source = make_course(tmp_path)
    builder.build(source)
    return source


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The source of a course whose notebooks were built with real kernels."""
    source = make_course(tmp_path_factory.mktemp("course"))
    assert builder.main([], root=source.parents[2]) == 0
    return source


def read(source: Path, edition: str) -> nbformat.NotebookNode:
    return nbformat.read(builder.written(source, edition), as_version=4)


def code(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in builder._code(notebook)]


def prose(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


# Editions


def test_the_chinese_edition_changes_the_prose_and_no_byte_of_the_code(tmp_path):
    made = builder.editions(make_course(tmp_path))
    english, chinese = made["english"], made["chinese"]
    assert code(english) == code(chinese)
    assert [c.id for c in builder._code(english)] == [c.id for c in builder._code(chinese)]
    assert "The picture to look at" in prose(english) and "平方" not in prose(english)
    assert "请看橙色的图" in prose(chinese) and "The picture to look at" not in prose(chinese)


def test_a_cell_without_a_chinese_twin_stands_in_both_editions(tmp_path):
    made = builder.editions(make_course(tmp_path))
    assert "$$y = x^2$$" in prose(made["english"]) and "$$y = x^2$$" in prose(made["chinese"])


def test_only_the_english_edition_is_made_of_a_source_without_chinese_or_exercises(tmp_path):
    assert list(builder.editions(make_course(tmp_path, "# %% [markdown]\n# # Title\n"))) == ["english"]


@pytest.mark.parametrize("before", ["# %%\nx = 1\n", '# %% [markdown] lang="zh"\n# 一\n'])
def test_a_chinese_cell_without_its_english_twin_is_refused(tmp_path, before):
    title = '# %% [markdown] lang="en"\n# # Title\n'
    source = make_course(tmp_path, f'{title}{before}# %% [markdown] lang="zh"\n# 二\n')
    with pytest.raises(builder.BuildError, match="01.1_squares.py: a Chinese cell must follow .* “二”"):
        builder.editions(source)


def test_the_student_gets_stubs_and_the_solutions_edition_the_lines_without_marks(tmp_path):
    made = builder.editions(make_course(tmp_path))
    assert code(made["english"])[-1] == (
        'x = 3\nanswer = ...\ndef cube(x):\n    return ...\nprint("answer", answer)'
    )
    assert code(made["solutions"])[-1] == (
        "x = 3\nanswer = x * x\ndef cube(x):\n    square = x * x\n    return square * x\n"
        'print("answer", answer)'
    )


@pytest.mark.parametrize(
    ("line", "stub"),
    [
        ("y = f(a=1)  # solution", "y = ..."),
        ("    return (a + b) / 2 # solution", "    return ..."),
        ("y: int = 3  # solution", "y: int = ..."),
        ("grid[i, 0] = a == b  # solution", "grid[i, 0] = ..."),
    ],
)
def test_the_value_of_a_marked_line_becomes_dots(line, stub):
    assert builder.write_exercise(line, solved=False) == stub
    assert builder.write_exercise(line, solved=True) == line.partition("#")[0].rstrip()


@pytest.mark.parametrize(
    "cell",
    ["f(a=1)  # solution", "y = 1 # Solution: none\nz = 2\n# end solution", "# solution: y = ...\ny = 1"],
)
def test_a_mark_that_cannot_be_cut_is_refused_rather_than_shown_to_the_student(cell):
    with pytest.raises(builder.BuildError, match="write `name = value  # solution`"):
        builder.write_exercise(cell, solved=False)


@pytest.mark.parametrize("cell", ["# %%\ny = 1  # solution\n", '# %% tags=["exercise"]\ny = 1\n'])
def test_a_tag_without_a_solution_and_a_solution_without_a_tag_are_refused(tmp_path, cell):
    with pytest.raises(builder.BuildError, match='tags=\\["exercise"\\] and a "# solution" go together'):
        builder.editions(make_course(tmp_path, f"# %% [markdown]\n# # Title\n\n{cell}"))


def test_each_edition_has_a_colab_badge_that_opens_itself(tmp_path):
    page = "https://colab.research.google.com/github/ada/sums/blob/main/notebooks"
    made = builder.editions(make_course(tmp_path))
    assert made["english"].cells[0].source.split("\n")[0] == "# 1.1 Squares"
    for edition, folder in [("english", ""), ("solutions", "solutions/"), ("chinese", "zh/")]:
        assert f"]({page}/{folder}01.1_squares.ipynb)" in made[edition].cells[0].source


def test_the_first_code_cell_fetches_the_course_on_colab_and_does_nothing_elsewhere(tmp_path, monkeypatch):
    cell = code(builder.editions(make_course(tmp_path))["english"])[0]
    done: list = []
    monkeypatch.setattr("subprocess.run", lambda command, check: done.append(command))
    monkeypatch.setattr("runpy.run_path", lambda path, run_name: done.append((Path(path), run_name)))
    monkeypatch.setattr("os.chdir", done.append)
    monkeypatch.setattr("sys.path", [])
    exec(cell, {})
    assert done == []
    monkeypatch.setitem(builder.sys.modules, "google.colab", builder)
    exec(cell, {})
    clone, install, complete, folder = done
    assert clone == ["git", "clone", "--depth=1", "https://github.com/ada/sums", Path("/content/sums")]
    assert install[-4:] == ["--quiet", "--no-deps", "--editable", Path("/content/sums")]
    assert complete == (Path("/content/sums/scripts/complete_colab.py"), "__main__")
    assert SCRIPT.with_name("complete_colab.py").exists()
    assert folder == Path("/content/sums/notebooks") and Path(builder.sys.path[0]) == Path("/content/sums")


def test_the_set_up_cell_does_not_part_the_first_code_from_its_prose(tmp_path):
    kinds = [cell.cell_type for cell in builder.editions(make_course(tmp_path))["english"].cells]
    assert kinds[:5] == ["markdown", "markdown", "code", "markdown", "code"]


def test_a_missing_repository_url_is_asked_for(tmp_path):
    source = make_course(tmp_path)
    write(tmp_path / "pyproject.toml", "[project]\n")
    with pytest.raises(builder.BuildError, match=r"set Repository in \[project.urls\]"):
        builder.editions(source)


def test_a_new_cell_changes_the_id_of_no_other_and_equal_cells_have_different_ids(tmp_path):
    before = builder.editions(make_course(tmp_path / "a"))["english"].cells
    edited = make_course(
        tmp_path / "b", SOURCE.replace("# %%\nfrom", "# %% [markdown]\n# Now you.\n\n# %%\nfrom")
    )
    after = builder.editions(edited)["english"].cells
    assert [cell.source for cell in after if cell.id not in {old.id for old in before}] == ["Now you."]
    assert len({cell.id for cell in after}) == len(after) == len(before) + 1
    assert [cell.id for cell in after] == [cell.id for cell in builder.editions(edited)["english"].cells]


# A real run


def test_a_run_fills_the_notebooks_and_stamps_what_it_cost(executed):
    stamp = read(executed, "english").metadata.aigc_course
    assert set(stamp) == {
        "source", "package", "models", "seconds", "first_picture_seconds", "peak_rss_mb",
    }  # fmt: skip
    assert 0 < stamp.first_picture_seconds <= stamp.seconds < 60
    assert stamp.peak_rss_mb == 123 and list(stamp.models) == ["tiny"]
    cells = builder._code(read(executed, "english"))
    assert [cell.execution_count for cell in cells] == [1, 2, 3, 4]
    assert cells[1].outputs[0].metadata["image/png"].alt == "an orange square"
    assert cells[2].outputs[0].text == "step 3 done\n"


def test_the_student_sees_dots_and_the_solutions_edition_sees_the_answer(executed):
    assert builder._code(read(executed, "english"))[-1].outputs[0].text == "answer Ellipsis\n"
    assert builder._code(read(executed, "solutions"))[-1].outputs[0].text == "answer 9\n"


def test_the_solutions_edition_keeps_the_outputs_of_exercises_alone(executed):
    *others, exercise = builder._code(read(executed, "solutions"))
    assert [cell.outputs for cell in others] == [[]] * 3 and len(exercise.outputs) == 1
    assert all(cell.execution_count for cell in others)  # they ran all the same


def test_the_chinese_edition_carries_the_english_run(executed):
    english, chinese = read(executed, "english"), read(executed, "chinese")
    assert builder._code(english) == builder._code(chinese) and english.metadata == chinese.metadata


def test_written_notebooks_hold_no_times_no_widgets_and_no_drafts(executed):
    text = builder.written(executed, "english").read_bytes().decode()
    assert text.endswith("}\n") and "\r" not in text and "iopub" not in text
    assert set(json.loads(text)["metadata"]) == {"aigc_course", "kernelspec", "language_info"}
    assert {path.suffix for path in executed.parents[1].rglob("*.*") if path.is_file()} == {".py", ".ipynb"}


def test_a_fresh_notebook_is_not_run_again_unless_forced(executed, capsys, monkeypatch):
    monkeypatch.setattr(builder, "execute", lambda *_: pytest.fail("ran again"))
    assert builder.main(["01.1"], root=executed.parents[2]) == 0
    assert "01.1_squares: fresh" in capsys.readouterr().out
    with pytest.raises(pytest.fail.Exception, match="ran again"):
        builder.main(["--force"], root=executed.parents[2])


def test_a_cell_that_fails_is_named_and_the_old_notebook_stays(executed, tmp_path, capsys):
    root = shutil.copytree(executed.parents[2], tmp_path / "course")
    source = root / "notebooks" / "source" / "01.1_squares.py"
    old = builder.written(source, "english").read_bytes()
    write(source, SOURCE.replace("x = 3", "x = 1 / 0"))
    assert builder.main([], root=root) == 1
    complaint = capsys.readouterr().err
    assert "notebooks/01.1_squares.ipynb: cell 8 “x = 1 / 0” failed" in complaint
    assert "ZeroDivisionError" in complaint
    assert builder.written(source, "english").read_bytes() == old


# Outputs


def test_prints_are_joined_and_progress_lines_keep_their_last_state():
    parts = ["10%\r50%", "\r100%\nnext\r\n", "   \r"]
    (stream,) = builder.clean_outputs([v4.new_output("stream", name="stdout", text=text) for text in parts])
    assert stream.text == "100%\nnext\n"


def test_prints_on_both_sides_of_a_picture_stay_on_their_sides():
    prints = [v4.new_output("stream", name="stdout", text=text) for text in ("before\n", "after\n")]
    cleaned = builder.clean_outputs([prints[0], picture(), prints[1]])
    assert [output.output_type for output in cleaned] == ["stream", "display_data", "stream"]


def test_a_widget_leaves_its_picture_or_a_sentence():
    view = {builder.WIDGET_VIEW: {"model_id": "1"}, "text/plain": "VBox(children=(…))"}
    shown = v4.new_output("display_data", {**picture().data, builder.WIDGET_VIEW: {}})
    bare, pictured = builder.clean_outputs([v4.new_output("display_data", view), shown])
    assert bare.data == {"text/plain": "(an interactive control: run this cell to use it)"}
    assert set(pictured.data) == {"image/png", "text/plain"} and pictured.data["text/plain"] == "a picture"


def test_a_picture_is_packed_smaller_without_changing_a_pixel():
    before = picture().data["image/png"]
    (output,) = builder.clean_outputs([picture()])
    pixels = [Image.open(io.BytesIO(base64.b64decode(text))) for text in (before, output.data["image/png"])]
    assert len(output.data["image/png"]) < len(before) / 10
    assert pixels[0].tobytes() == pixels[1].tobytes() and pixels[0].mode == pixels[1].mode


# Refusals


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        (picture(alt=""), "figure without alt text in cell 5 “from aigc_course import plotting”"),
        (v4.new_output("error", ename="E", evalue="", traceback=[]), "error output in cell 5"),
        (v4.new_output("stream", text=f"{SCRIPT.parents[1]}/x.py:1: warning"), "a folder of this machine"),
        (v4.new_output("stream", text="long " * 70_000), "oversize: .* heaviest: cell 5 .* 350 kB, cell "),
    ],
)
def test_an_unfit_output_is_refused_and_nothing_is_written(tmp_path, pretend, output, complaint):
    source = make_course(tmp_path)
    pretend.append(output)
    with pytest.raises(builder.BuildError, match=f"notebooks/01.1_squares.ipynb: {complaint}"):
        builder.build(source)
    assert not list(source.parents[1].rglob("*.ipynb"))


@pytest.mark.parametrize("figure", ["![](a.svg)", '<img src="a.svg">'])
def test_a_figure_in_prose_needs_alt_text_too(tmp_path, pretend, figure):
    source = make_course(tmp_path, SOURCE.replace("$$y = x^2$$", figure))
    with pytest.raises(builder.BuildError, match="figure without alt text in cell 2"):
        builder.build(source)


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path, capsys):
    root = make_course(tmp_path).parents[2]
    assert builder.main(["01.2", "--check"], root=root) == 1
    assert "no notebook is called '01.2'; there are: 01.1_squares" in capsys.readouterr().err
    assert [path.stem for path in builder.sources(root, ["01"])] == ["01.1_squares"]


# Freshness


def test_a_fresh_course_passes_the_check(fresh, capsys):
    assert builder.main(["--check"], root=fresh.parents[2]) == 0
    assert capsys.readouterr().out == "all 3 notebooks are fresh\n"


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("notebooks/source/01.1_squares.py", "source changed"),
        ("aigc_course/plotting.py", "package changed"),
        ("aigc_course/colours.py", "package changed"),
        ("aigc_course/__init__.py", "package changed"),
        ("data/models/tiny/manifest.json", "models changed: tiny"),
    ],
)
def test_a_change_of_what_a_notebook_was_run_from_makes_it_stale(fresh, file, reason, capsys):
    path = fresh.parents[2] / file
    write(path, path.read_text(encoding="utf-8") + "\n# changed\n")
    assert builder.main(["--check"], root=fresh.parents[2]) == 1
    names = ["notebooks", "solutions", "zh"]
    assert capsys.readouterr().err == "".join(f"{name}/01.1_squares.ipynb: {reason}\n" for name in names)


def test_a_module_that_the_notebook_does_not_import_leaves_it_fresh(fresh):
    write(fresh.parents[2] / "aigc_course" / "unused.py", "changed = True\n")
    assert builder.problems(fresh) == []


def test_line_ends_of_another_system_leave_it_fresh(fresh):
    fresh.write_bytes(fresh.read_bytes().replace(b"\n", b"\r\n"))
    assert builder.problems(fresh) == []


def test_imports_are_followed_into_folders_and_through_relative_names(tmp_path):
    write(tmp_path / "aigc_course" / "__init__.py", "")
    write(tmp_path / "aigc_course" / "scenes" / "__init__.py", "from .draw import line\nSIDE = 128\n")
    write(tmp_path / "aigc_course" / "scenes" / "draw.py", "def line():\n    from .. import runtime, torch\n")
    write(tmp_path / "aigc_course" / "runtime.py", "import os\n")
    source = write(tmp_path / "a.py", "import aigc_course.scenes.draw as d\nimport numpy")
    found = builder.imported_modules(tmp_path, source)
    scenes = ["aigc_course.scenes", "aigc_course.scenes.draw"]
    assert sorted(found) == ["aigc_course", "aigc_course.runtime", *scenes]


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("from aigc_course import scenes\nscenes.line()", ["draw"]),
        ("from aigc_course import scenes as world\nworld.tell", ["tell"]),
        ("from aigc_course.scenes import line", ["draw"]),
        ("from aigc_course.scenes import tell", ["tell"]),
        ("from aigc_course import scenes\nprint(scenes)", ["draw", "tell"]),
        ("import aigc_course.scenes", ["draw", "tell"]),
        ("from aigc_course import scenes\nscenes.line()\nprint(scenes.__all__)", ["draw", "tell"]),
    ],
)
def test_a_room_whose_door_only_hands_names_on_is_seen_through(tmp_path, code, needed):
    room = tmp_path / "aigc_course" / "scenes"
    write(tmp_path / "aigc_course" / "__init__.py", "")
    names = "from .draw import line\nfrom .tell import tell\n__all__ = ['line', 'tell']"
    write(room / "__init__.py", f'"""A room."""\n{names}')
    write(room / "draw.py", "def line(): ...")
    write(room / "tell.py", "def tell(): ...")
    found = builder.imported_modules(tmp_path, write(tmp_path / "a.py", code))
    assert sorted(found) == ["aigc_course", *(f"aigc_course.scenes.{name}" for name in needed)]


def test_models_count_where_the_notebook_or_a_module_that_it_imports_names_them(tmp_path):
    cell = '\n# %%\nfrom aigc_course import models\nmodels.load(\n    "judge")\n'
    source = make_course(tmp_path, SOURCE + cell)
    room = tmp_path / "aigc_course" / "models"
    write(room / "__init__.py", '"""models.load("example") loads data/models/example."""\nfrom . import hub')
    write(room / "hub.py", '"""models.load("another", source="hub") loads a public one."""')
    write(tmp_path / "aigc_course" / "colours.py", "models.load('palette')\nORANGE = 1\n")
    write(tmp_path / "aigc_course" / "unused.py", "models.load('other')\n")
    assert builder.fingerprint(source)["models"] == {
        "judge": "not shipped", "palette": "not shipped", "tiny": builder._sha256("{}"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "code",
    [
        'data_dir() / "models" / "tiny"',
        'data_dir() / "models/tiny"',
        "models.load('tiny', 2)",
        "'../data/models/tiny/a'",
    ],
)
def test_a_model_is_recognised_in_each_way_to_name_it(tmp_path, code):
    source = make_course(tmp_path, f"# %%\n{code}\n")
    assert list(builder.fingerprint(source)["models"]) == ["tiny"]


def test_a_slip_of_syntax_is_named_with_its_file_and_line(fresh, capsys):
    write(fresh.parents[2] / "aigc_course" / "colours.py", "ORANGE = 1\nBLUE = = 2\n")
    assert builder.main(["--check"], root=fresh.parents[2]) == 1
    assert capsys.readouterr().err == "aigc_course/colours.py: line 2 is not Python: invalid syntax\n"


def edit(path: Path, change) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    change(notebook)
    write(path, json.dumps(notebook))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda n: n["cells"][4].update(source="1"), "cells differ from the source"),
        (lambda n: n["metadata"].update(widgets={}), "holds widget state"),
        (lambda n: n["metadata"].pop("aigc_course"), "source changed"),
        (lambda n: n["cells"][4].update(outputs=[picture(alt=" ")]), "figure without alt text in cell 5"),
    ],
)
def test_a_notebook_changed_after_its_build_is_found(fresh, change, reason):
    edit(builder.written(fresh, "english"), change)
    assert builder.problems(fresh)[0].startswith(f"notebooks/01.1_squares.ipynb: {reason}")


def test_a_missing_a_broken_and_a_left_over_notebook_are_found(fresh, capsys):
    root = fresh.parents[2]
    builder.written(fresh, "english").unlink()
    write(builder.written(fresh, "solutions"), "<<<<<<< HEAD")
    write(root / "notebooks" / "01.9_gone.ipynb", "{}")
    write(root / "notebooks" / "my own.ipynb", "{}")
    assert builder.main(["--check"], root=root) == 1
    assert capsys.readouterr().err.splitlines() == [
        "notebooks/01.1_squares.ipynb: built file missing",
        "solutions/01.1_squares.ipynb: built file is not a notebook",
        "notebooks/01.9_gone.ipynb: no source asks for it; delete it",
    ]


# Figures


def test_the_report_counts_what_a_hand_counts(tmp_path, pretend, capsys):
    pretend.append(picture())
    source = make_course(tmp_path)
    builder.build(source)
    assert builder.main(["--report"], root=tmp_path) == 0
    heads, _, english, solutions, chinese = capsys.readouterr().out.splitlines()
    size = round(builder.written(source, "english").stat().st_size / 1000)
    # code cells of 2, 4 and 5 lines; the first and the third follow prose; the first shows a picture
    figures = f"| 2.5 | 1.5 | 123 | 3 | 4 | 5 | 67% | 33% | {size} |"
    assert english == f"| notebooks/01.1_squares.ipynb {figures}"
    assert solutions.startswith("| solutions/") and chinese.startswith("| zh/")
    assert heads.count("|") == english.count("|")
