"""The Studio's controls without a browser: each is driven by its traits, and what is shown is read as HTML."""

import contextlib
import importlib.util
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser
from pathlib import Path

import ipywidgets as widgets
import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbformat import v4
from studio_jobs import LINE_JOBS, WORDS, Stub, picture, tiny

from aigc_course import studio
from aigc_course.studio import Event, Importance, JobSpec, Savings, StudioError
from aigc_course.studio.form import Form
from aigc_course.studio.job import TELLS
from aigc_course.studio.looks import escape
from aigc_course.studio.rewriting import with_field, with_images, with_words
from aigc_course.studio.stage import Pace
from aigc_course.studio.workshop import uploaded

REPOSITORY = Path(__file__).parents[1]
TURBO = "stabilityai/sd-turbo"
BAD = "<img src=x onerror=alert(1)> </textarea><script>alert(2)</script> & \" ' \\u003cb\\u003e"
SOME = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


class Talker(Stub):
    """The engine without models also describes, shortens and switches; whatever it says is hostile."""

    drawing, savings = "text-to-image", Savings()

    def run(self, spec, cancel):
        if spec.action not in TELLS:
            yield Event("note", sentence=f"a note {BAD}")
            yield from super().run(spec, cancel)
            return
        self.ran.append(spec)
        told = (f"a caption {BAD}", "a tree", "a house", "a cat")
        if spec.action == "shorten":
            told = Importance(("a", BAD), (0.25, 0.75), "a shorter one")
        yield Event("told", spec=spec, answer=told)

    def switch(self, model, savings, download, cancel):
        if model == TURBO:
            raise StudioError("there is no fast model", "choose another one")
        self.drawing, self.savings = model or self.drawing, savings or self.savings
        yield Event("told", answer="switched")


@pytest.fixture
def desk(tmp_path):
    one = studio.Studio(tmp_path / "gallery", Talker())
    yield one
    one.close()


@pytest.fixture
def board(desk):
    one = studio.show(desk)
    yield one
    assert not desk.queue.complaints, list(desk.queue.complaints)
    one.close()


# --- reading what is on the screen ------------------------------------------------------------------------


def whole(widget):
    """A widget and all that is in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from whole(child)


def find(board, name):
    """The one widget of a CSS class, as a browser test finds it."""
    (found,) = [one for one in whole(board.box) if f"aigc-{name}" in one._dom_classes]
    return found


def click(board, name, within=None):
    """Press a button that can be seen and pressed."""
    (button,) = [
        one for one in whole(find(board, within) if within else board.box)
        if isinstance(one, widgets.Button) and f"aigc-{name}" in one._dom_classes
    ]  # fmt: skip
    assert not button.disabled and button.layout.display != "none"
    button.click()


def idle(board):
    """Until all has been done and shown."""
    board.wait(60)
    assert not board._asked


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def generate(board, line):
    board.form.line = line
    click(board, "generate")
    idle(board)


def ran(board):
    """The last job that the engine saw."""
    return board.desk.engine.ran[-1]


class Tags(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def shown(board):
    """Everything that is shown as HTML."""
    return [one.value for one in whole(board.box) if isinstance(one, widgets.HTML)]


def said(board):
    """What the live region says."""
    read = Tags(board.now.status.value)
    assert read.tags[0][1]["role"] == "status" and read.tags[0][1]["aria-live"] == "polite"
    return read.text


# --- prompt and form ----------------------------------------------------------------------------------------


def refuse(error):
    raise error


@SOME
@given(LINE_JOBS, LINE_JOBS, st.sampled_from(sorted({one.field for one in studio.PARAMETERS.values()})))
def test_one_field_of_a_line_is_set_and_the_others_stay(spec, other, field):
    value = getattr(other, field)
    line = with_field(studio.to_line(spec), field, value)
    assert studio.parse(line) == [spec.with_(**{field: value})]


@SOME
@given(LINE_JOBS, WORDS, LINE_JOBS)
def test_words_and_pictures_of_a_line_are_set_and_the_others_stay(spec, words, other):
    line = studio.to_line(spec)
    if words:
        assert studio.parse(with_words(line, words)) == [spec.with_(prompt=(studio.Part(words),))]
    assert studio.parse(with_images(line, other.images)) == [spec.with_(images=other.images)]


def test_what_was_typed_stays_as_it_was_typed():
    line = "a {red, blue}  cat\\, old --s {50, 200} --no tree"
    assert with_field(line, "ar", (3, 2)) == line + " --ar 3:2"
    assert with_field(line, "negative", "") == "a {red, blue}  cat\\, old --s {50, 200}"
    assert with_field("a cat --seed 1 --ar 2:1", "seed", "x") == "a cat --seed x --ar 2:1"
    with pytest.raises(studio.PromptError, match="in the line itself"):
        with_field("a cat {--ar 1:2, --ar 2:1}", "seed", 7)


@settings(SOME, max_examples=25)
@given(LINE_JOBS)
def test_the_controls_show_what_the_line_says(spec):
    form.line = studio.to_line(spec)
    assert form.spec == spec.with_(count=4)
    for control in form.controls:
        assert control.widget.value == control.shown(getattr(spec, control.field)), control.field
    weights = {one.name: one.weight for one in spec.loras}
    assert all(slider.value == weights.get(name, 0) for name, slider in form.loras.items())


form = Form(refuse)
SET = {
    "ar": ("16:9", (16, 9)), "seed": ("77", 77), "steps": ("9", 9), "stylize": (250.0, 250.0), "chaos": (40.0, 40.0),
    "negative": ("a tree --ar 2:1 :: x", "a tree --ar 2:1 :: x"), "fast": (True, True), "quality": (2.0, 2.0),
    "weird": (500.0, 500.0), "stop": (60.0, 60.0), "repeat": (3, 3), "tile": (True, True),
    "images": ("000001-00000000 000002-00000000", ("000001-00000000", "000002-00000000")), "iw": (1.5, 1.5),
    "sref": ("000003-00000000", ("000003-00000000",)), "sw": (300.0, 300.0),
}  # fmt: skip


def test_every_control_of_the_form_writes_its_parameter_and_takes_it_back():
    form.line = "a {red, blue} cat"
    assert set(SET) == {control.field for control in form.controls}
    for control in form.controls:
        before, (value, meant) = control.widget.value, SET[control.field]
        control.widget.value = value
        assert getattr(form.spec, control.field) == meant, control.field
        assert form.line.count("{red, blue}") == 1
        control.widget.value = before
        assert form.line == "a {red, blue} cat", control.field
    for name, slider in form.loras.items():
        slider.value = 0.7
        assert form.spec.loras == (studio.LoRA(name, 0.7),)
        slider.value = 0
    form.count.value = 2
    assert form.spec.count == 2 and form.line == "a {red, blue} cat"
    form.count.value = 4


def test_a_control_that_the_line_does_not_let_change_goes_back():
    errors = []
    mine = Form(errors.append, "a cat {--ar 3:2, --ar 2:1}")
    shape = mine.basic[0].widget
    shape.value = "1:1"
    assert shape.value == "3:2" and mine.line == "a cat {--ar 3:2, --ar 2:1}" and len(errors) == 1


def test_the_hint_names_unknown_words_choices_and_the_place_of_an_error():
    form.line = "a {red, blue} zebra"
    assert "2 jobs" in form.hint.value and "“zebra” is no word" in form.hint.value
    form.line = "a cat --sed 7"
    assert "did you mean --seed?" in form.hint.value and "<pre>a cat --sed 7\n      ^</pre>" in form.hint.value
    form.line = "  "
    assert form.hint.value == ""


# --- generate and cancel ------------------------------------------------------------------------------------


def test_a_prompt_becomes_four_pictures_each_with_its_seed_and_alt_text(board):
    generate(board, "a red zebra --seed 7 --steps 5")
    assert said(board).startswith("Done: “a red zebra”, in ")
    assert [tile.id for tile in board.grid.tiles] == [one.id for one in board.desk.gallery.entries]
    for k, tile in enumerate(board.grid.tiles):
        (image,) = [attrs for tag, attrs in Tags(tile.picture.value).tags if tag == "img"]
        assert image["alt"] == f"“a red zebra”, picture {k + 1} of 4, seed {7 + k}"
        assert f"{k + 1} · seed {7 + k}" in Tags(tile.picture.value).text
    assert board.now.bar.value == board.now.bar.max == 5
    assert "a note &lt;img" in board.now.notes.value and "zebra" not in board.now.notes.value


def test_progress_is_told_in_words_and_shown_in_pictures_but_not_too_often(board):
    board.desk.engine.seconds = 0.004
    spoken, seen = [], []
    board.now.status.observe(lambda change: spoken.append(change["new"]), "value")
    board.now.preview.observe(lambda change: seen.append(change["new"]), "value")
    began = time.monotonic()
    generate(board, "a cat --steps 100")
    seconds = time.monotonic() - began
    steps = [text for text in spoken if "step" in text.lower()]
    assert 1 <= len(steps) <= 2 + seconds and "Step 1 of 100." in Tags(steps[0]).text
    pictures = [Tags(text) for text in seen if text]
    assert 2 <= len(pictures) <= 2 + 8 * seconds
    assert pictures[0].tags[1][1]["alt"] == "preview 1, as expected at step 1 of 100"


def test_a_pace_lets_through_what_is_due():
    pace = Pace()
    assert pace.due("a", 1) and not pace.due("a", 1) and pace.due("b", 1) and pace.due("a", 1e9)


def test_generate_is_never_blocked_and_the_queue_is_shown(board):
    board.desk.engine.seconds = 0.02
    for words in ("one", "two", "three"):
        board.form.line = f"a {words} --steps 60"
        click(board, "generate")
    until(lambda: "2 waiting: “a two”, “a three”" in Tags(board.now.queue.value).text)
    click(board, "cancel")
    until(lambda: "1 waiting: “a three”" in board.now.queue.value)
    assert board.cancel_all.layout.display != "none"
    click(board, "cancel-all")
    idle(board)
    assert board.now.queue.value == "" and board.cancel_all.layout.display == "none"
    click(board, "cancel")
    assert said(board) == "There is nothing to cancel."


def test_cancel_keeps_the_picture_reached(board):
    board.desk.engine.seconds = 0.01
    board.form.line = "a cat --steps 200"
    click(board, "generate")
    until(lambda: "Step" in said(board))
    began = time.monotonic()
    click(board, "cancel")
    idle(board)
    assert time.monotonic() - began < 1 and "of 200; the picture reached is kept." in said(board)
    assert len(board.desk.gallery) == 4 and board.grid.tiles[0].id


def test_choices_and_repeats_are_jobs_of_their_own(board):
    board.form.count.value = 1
    generate(board, "a {red, blue} cat --repeat 2")
    assert [spec.words for spec in board.desk.engine.ran] == ["a red cat"] * 2 + ["a blue cat"] * 2
    assert [tile.box.layout.display for tile in board.grid.tiles] == [None, "none", "none", "none"]


# --- what goes wrong ----------------------------------------------------------------------------------------


def test_an_error_in_the_line_is_pointed_at(board):
    generate(board, "a cat --seed seven")
    assert "--seed takes a whole number" in said(board) and "\n             ^" in said(board)
    generate(board, "")
    assert "nothing to draw" in said(board)
    with pytest.raises(TimeoutError, match="wait longer"):
        board._unheard.add("x")
        board.wait(0.01)
    board._unheard.clear()


def test_a_job_that_fails_says_so_with_a_next_step_and_details(board):
    generate(board, "fail")
    assert said(board) == "This job fails, as it was asked to. Next: change the job and submit it again."
    assert "Traceback" in board.now.details.value and "<details>" in board.now.details.value
    generate(board, "a cat")
    assert board.now.details.value == ""


def test_an_error_that_nobody_expected_is_shown_and_harms_nothing(board, monkeypatch):
    monkeypatch.setattr(board.desk, "submit", lambda *_, **__: 1 / 0)
    generate(board, "a cat")
    assert said(board) == "That did not work. Next: see the details." and "ZeroDivision" in board.now.details.value


# --- a tile -------------------------------------------------------------------------------------------------


def test_the_buttons_of_a_tile(board):
    board.form.count.value = 3
    generate(board, "a cat --seed 3 --ar 3:2")
    first = [tile.id for tile in board.grid.tiles]
    for name, strength in (("vary-subtle", studio.SUBTLE), ("vary-strong", studio.STRONG)):
        parent = board.grid.tiles[1].id
        click(board, name, "tile-2")
        idle(board)
        spec = ran(board)
        assert (spec.action, spec.parent, spec.strength) == ("vary", parent, strength)
        assert (spec.words, spec.ar, spec.count) == ("a cat", (3, 2), 3)
    click(board, "upscale", "tile-1")
    idle(board)
    assert ran(board).action == "upscale" and first[0] not in [tile.id for tile in board.grid.tiles]
    click(board, "choose", "tile-1")
    assert board.bench.entry.id == board.grid.tiles[0].id and board.bench.box.layout.display is None


def test_a_tile_without_a_picture_has_no_buttons_to_press(board):
    assert all(button.disabled for tile in board.grid.tiles for button in tile.buttons)
    board._do_to_tile("upscale", None)
    assert "no picture in this place" in said(board)


# --- the chosen picture -------------------------------------------------------------------------------------


@pytest.fixture
def chosen(board):
    """A board with a picture of 64 × 48 pixels on its bench."""
    entry = board.desk.gallery.add([picture(5, (64, 48))], JobSpec((studio.Part("a cat"),), seed=4, steps=6), {})[0]
    board.history.show()
    click(board, "pick-1")
    assert board.bench.entry.id == entry.id and "is chosen" in said(board)
    return entry.id


def test_use_as_image_prompt_as_style_as_prompt(board, chosen):
    board.form.line = "a dog --ar 3:2"
    click(board, "use-image")
    click(board, "use-style")
    assert board.form.line == f"{chosen} a dog --ar 3:2 --sref {chosen}"
    click(board, "use-prompt")
    assert board.form.line == "a cat --seed 4 --steps 6"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bench-upscale", {"action": "upscale"})]
    + [(f"pan-{way}", {"action": "pan", "direction": way}) for way in ("left", "right", "up", "down")],
)
def test_upscale_and_pan(board, chosen, name, expected):
    click(board, name)
    idle(board)
    assert all(getattr(ran(board), field) == value for field, value in expected.items())
    assert ran(board).parent == chosen


def test_zoom_redraw_and_remix_take_their_values_from_the_controls_beside_them(board, chosen):
    find(board, "zoom").value = 1.8
    click(board, "zoom-out")
    find(board, "redraw-strength").value = 0.35
    click(board, "redraw")
    find(board, "remix-words").value = "a dog::2 a tree"
    click(board, "remix")
    idle(board)
    zoom, redraw, remix = board.desk.engine.ran
    assert (zoom.action, zoom.zoom) == ("zoom", 1.8) and (redraw.action, redraw.strength) == ("img2img", 0.35)
    assert (remix.action, remix.prompt) == ("vary", (studio.Part("a dog", 2.0), studio.Part("a tree")))
    find(board, "remix-words").value = "a dog::x --"
    click(board, "remix")
    assert "two hyphens begin a parameter" in said(board)


def test_a_rectangle_is_drawn_over_the_picture_and_painted_anew(board, chosen):
    across, down = find(board, "inpaint-across"), find(board, "inpaint-down")
    assert (across.max, down.max) == (64, 48)
    click(board, "inpaint")
    assert "he rectangle is the whole picture" in said(board)
    across.value, down.value = (16, 48), (0, 24)
    assert "left:25.00%;top:0.00%;width:50.00%;height:50.00%" in find(board, "bench-picture").value
    click(board, "inpaint")
    find(board, "inpaint-words").value = "a dog"
    click(board, "inpaint")
    idle(board)
    first, second = board.desk.engine.ran
    assert first.region == second.region == (16, 0, 48, 24) and (first.words, second.words) == ("a cat", "a dog")


def test_describe_gives_four_captions_each_of_which_can_be_the_prompt(board, chosen):
    board.form.line = "a dog --ar 3:2"
    click(board, "describe")
    idle(board)
    assert [find(board, f"caption-{k}").description for k in (2, 3, 4)] == ["a tree", "a house", "a cat"]
    assert 'alt="“a cat”, picture 1 of 4, seed 4; the captioner sees: a caption' in board.bench.picture.value
    click(board, "caption-2")
    assert board.form.line == "a tree --ar 3:2"
    click(board, "bench-close")
    assert board.bench.box.layout.display == "none" and board.bench.entry is None


def test_captions_that_come_late_do_not_stand_beside_another_picture(board, chosen):
    board.bench._described(board.desk.gallery.entry(chosen), ("wrong",) * 4)
    other = board.desk.gallery.take_in(picture(6)).id
    entry = board.bench.entry
    board.choose(other)
    board.bench._described(entry, ("wrong",) * 4)
    assert find(board, "caption-1").layout.display == "none"
    click(board, "use-prompt")
    assert "has no prompt here" in said(board)


# --- words and files ----------------------------------------------------------------------------------------


def test_two_to_five_pictures_are_blended(board):
    click(board, "blend")
    assert "in the tray are 0" in said(board)
    names = [board.desk.gallery.take_in(picture(seed)).id for seed in range(6)]
    for name in [*names[:5], names[0]]:
        board.choose(name)
        click(board, "add-to-blend")
    assert find(board, "blend-tray").value.count("<img ") == 5
    board.choose(names[5])
    click(board, "add-to-blend")
    assert "which is the most" in said(board)
    click(board, "blend")
    idle(board)
    assert (ran(board).action, ran(board).images) == ("blend", tuple(names[:5]))
    click(board, "blend-clear")
    assert "Choose 2 to 5" in find(board, "blend-tray").value


def test_words_are_weighed_and_the_shorter_prompt_is_used(board):
    board.form.line = "a very red cat --ar 3:2"
    click(board, "shorten")
    idle(board)
    assert ran(board).action == "shorten" and "75%" in find(board, "shorten-result").value
    click(board, "use-shorter")
    assert board.form.line == "a shorter one --ar 3:2"


class Given:
    """A FileUpload of either version of ipywidgets: its value, without a browser."""

    def __init__(self, value):
        self.value = value


@pytest.mark.parametrize("version", [7, 8])
def test_a_file_is_replayed_or_taken_in(board, version):
    click(board, "replay")
    assert "no file yet" in said(board)
    generate(board, "a cat --seed 1")
    data = board.desk.gallery.path(board.grid.tiles[2].id).read_bytes()
    name = f"{BAD}.png"
    value = {name: {"content": data}} if version == 7 else ({"name": name, "content": memoryview(data)},)
    assert uploaded(value) == [(name, data)]
    board.files.upload = Given(value)
    click(board, "replay")
    idle(board)
    result = find(board, "replay-result").value
    assert said(board).startswith("The picture made again is identical") and result.count("<img ") == 2
    click(board, "take-in")
    assert len(board.desk.gallery) == 5 and board.bench.entry.spec is None and "chosen" in said(board)
    board.files.upload = Given(({"name": "x", "content": memoryview(b"no picture")},))
    for button in ("take-in", "replay"):
        click(board, button)
        idle(board)
        assert "no PNG that can be read" in said(board)


def test_the_model_and_low_memory_follow_the_engine(board):
    model, lean = find(board, "model"), find(board, "low-memory")
    lean.value = True
    idle(board)
    assert board.desk.engine.savings == Savings(True, True) and said(board) == "switched"
    model.value = TURBO
    idle(board)
    assert "no fast model" in said(board) and model.value == "text-to-image" and lean.value
    lean.value = False
    idle(board)
    assert board.desk.engine.savings == Savings()


# --- history ------------------------------------------------------------------------------------------------


def test_history_is_newest_first_page_by_page_and_survives_a_restart(board, tmp_path):
    board.form.count.value = 4
    for seed in range(4):
        generate(board, f"a cat --seed {seed} --ar 3:2")
    assert "page 1 of 2, 16 pictures" in find(board, "page").value
    assert find(board, "pick-1").description == "Choose 16"
    click(board, "older")
    assert find(board, "pick-1").description == "Choose 4"
    assert [place.layout.display for place in board.history.places].count("none") == 8
    click(board, "newer")
    board.desk.gallery.path(board.desk.gallery.entries[-1].id).unlink()
    click(board, "refresh")
    assert find(board, "pick-1").description == "Choose 15"
    again = studio.Studio(tmp_path / "gallery", Talker())
    reborn = studio.show(again)
    assert reborn.form.line == "a cat --ar 3:2"
    assert [tile.id for tile in reborn.grid.tiles][:3] == [tile.id for tile in board.grid.tiles][:3]
    assert "15 pictures" in find(reborn, "page").value
    reborn.close()
    again.close()


def test_the_same_studio_is_shown_with_the_same_controls(board, desk, tmp_path):
    assert studio.show(desk) is board
    here = studio.show(tmp_path / "another")
    assert studio.show(str(tmp_path / "another")) is here
    here.close()
    here.desk.close()


# --- panels -------------------------------------------------------------------------------------------------


def test_panels_are_made_when_they_are_first_seen(board):
    assert not board.tabs._panels
    generate(board, "a cat --seed 2")
    shown_to = []
    for number, name in enumerate(board.tabs.names):
        board.tabs.box.selected_index = number
        assert number < 2 or board.tabs._panels[name].box in board.tabs._empty[name].children
    assert board.tabs._panels["plot"].line.value == "a cat --seed 2"
    board.tabs._panels["why"].show = shown_to.append
    click(board, "tile-why", "tile-3")
    board.choose(board.grid.tiles[0].id)
    click(board, "bench-why")
    assert shown_to == [board.grid.tiles[2].id, board.grid.tiles[0].id]
    assert board.tabs.names[board.tabs.box.selected_index] == "why"


# --- words, alt texts, safety -------------------------------------------------------------------------------


def test_every_control_carries_words_and_a_name_for_tests_and_styles(board):
    generate(board, "a cat")
    skip = (widgets.Box, widgets.HTML, widgets.IntProgress, widgets.Tab)
    controls = [one for one in whole(board.box) if not isinstance(one, skip)]
    assert len(controls) > 60
    for one in controls:
        names = [name for name in one._dom_classes if name.startswith("aigc-")]
        assert names, one
        late = names[0].startswith(("aigc-caption-", "aigc-pick-"))  # these get their words with their picture
        assert one.description.strip() or late, names
        assert one.tooltip if one.has_trait("tooltip") else one.description_tooltip, names


ALLOWED = {"div", "span", "pre", "ul", "li", "figure", "figcaption", "img", "details", "summary", "style"}


@pytest.mark.parametrize("line", [BAD, f"a cat --no {BAD}", f"a cat --lora {BAD}", f"{{{BAD}, a}} cat", f"{BAD} --sed"])
def test_what_people_write_stays_text(board, line):
    board.form.count.value = 1
    generate(board, line)
    generate(board, studio.to_line(JobSpec((studio.Part(BAD),), negative=BAD)))
    click(board, "choose", "tile-1")
    for name in ("describe", "shorten", "add-to-blend"):
        click(board, name)
    board.say(BAD)
    idle(board)
    click(board, "caption-1")
    board.files.upload = Given({BAD: {"content": b"x" + BAD.encode()}})
    click(board, "replay")
    idle(board)
    for html in shown(board):
        for tag, attrs in Tags(html).tags:
            assert tag in ALLOWED, html[:200]
            assert not any(name.startswith("on") for name in attrs), html[:200]
            assert tag != "img" or (attrs["alt"].strip() and attrs["src"].startswith("data:image/")), html[:200]
    assert any(escape(BAD)[:20] in html for html in shown(board))


def test_without_the_screen_the_studio_needs_no_widgets():
    code = "import sys; from aigc_course import studio; studio.parse('a cat'); print('ipywidgets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
    with pytest.raises(AttributeError, match="no attribute"):
        _ = studio.nothing


# --- its life in a saved notebook ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def build():
    """The builder of notebooks."""
    spec = importlib.util.spec_from_file_location("build_notebooks", REPOSITORY / "scripts" / "build_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CELL = """
import sys
sys.path.insert(0, {tests!r})
from studio_jobs import Stub
from aigc_course import studio
desk = studio.Studio({folder!r}, Stub(0.02))
board = studio.show(desk)
board
"""


def test_a_saved_notebook_holds_the_newest_pictures_with_alt_text_and_no_widget(tmp_path, build):
    from nbclient import NotebookClient

    here = CELL.format(tests=str(REPOSITORY / "tests"), folder=str(tmp_path / "gallery"))
    later = "made = desk.make('a cat --seed 3')\nboard.wait()"
    notebook = v4.new_notebook(cells=[v4.new_code_cell(here), v4.new_code_cell(later)])
    where = {"metadata": {"path": tmp_path}}
    NotebookClient(notebook, timeout=300, store_widget_state=False, resources=where).execute()
    live, sheet = notebook.cells[0].outputs
    assert "application/vnd.jupyter.widget-view+json" in live.data and "image/png" not in live.data
    assert sheet.metadata["image/png"]["alt"] == "The Studio's newest pictures: 4 × “a cat”"
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        cell.outputs = build.clean_outputs(cell.outputs)
    kinds = [set(output.data) for output in notebook.cells[0].outputs]
    assert kinds == [{"text/plain"}, {"image/png", "text/plain"}]
    assert build.faults(nbformat.writes(notebook)) == []


def test_one_bundle_has_the_controls_and_the_sheet(board):
    data, metadata = board._repr_mimebundle_()
    assert "image/png" not in data and "without pictures yet" in data["text/plain"]
    generate(board, "a cat --seed 3")
    data, metadata = board._repr_mimebundle_()
    assert {"image/png", "application/vnd.jupyter.widget-view+json"} < set(data) and metadata["image/png"]["alt"]


# --- with models --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    desk = studio.Studio(tmp_path_factory.mktemp("real"), studio.Engine(tiny))
    board = studio.show(desk)
    board.form.count.value = 2
    yield board
    board.close()
    desk.close()


def test_the_engine_behind_the_controls_draws_previews_varies_and_replays(real):
    seen = []
    real.now.preview.observe(lambda change: seen.append(change["new"]), "value")
    generate(real, "a red house --seed 7 --steps 2")
    assert any(text.count("<img ") == 2 for text in seen)
    real.files.upload = Given(({"name": "x", "content": real.desk.gallery.path(real.grid.tiles[1].id).read_bytes()},))
    click(real, "replay")
    click(real, "choose", "tile-1")
    for name in ("pan-left", "zoom-out", "describe", "shorten"):
        click(real, name)
    find(real, "inpaint-across").value = (32, 96)
    click(real, "inpaint")
    click(real, "vary-strong", "tile-2")
    idle(real)
    assert "identical" in find(real, "replay-result").value and find(real, "caption-1").layout.display is None
    assert {one.spec.action for one in real.desk.gallery.entries} == {"imagine", "pan", "zoom", "inpaint", "vary"}
    assert not real.desk.queue.complaints


def test_many_clicks_from_many_threads_end_in_peace(board):
    board.desk.engine.seconds = 0.001

    def press(number):
        for k in range(6):
            with contextlib.suppress(AssertionError):
                click(board, ("generate", "cancel", "older", "newer", "cancel-all", "generate")[(number + k) % 6])

    board.form.line = "a cat"
    threads = [threading.Thread(target=press, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    idle(board)
    ids = [one.id for one in board.desk.gallery.entries]
    assert len(ids) == len(set(ids)) and said(board)
