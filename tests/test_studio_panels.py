"""The Studio's panels without a screen: every control, what comes back, and what is refused in a sentence."""

import copy
import re
import threading
import time
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from studio_jobs import Stub, picture, tiny, tiny_pipeline

from aigc_course import memory, models, plotting, runtime, studio
from aigc_course.studio import Engine, JobSpec, LoRA, Savings, StudioError, explaining, png, savings, walk
from aigc_course.studio.memory_panel import meter_html
from aigc_course.studio.panels import MemoryPanel, PlotPanel, WhyPanel
from aigc_course.studio.sheet import Axis, cells, sheet, single

ATTACK = "a red house <img src=x onerror=alert(1)>"


def own(name):
    """Instead of `models.load`; each load is a pipeline of its own, which savings may change."""
    return copy.deepcopy(tiny_pipeline()) if name == "text-to-image" else tiny(name)


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    """Two pictures in one step are enough to count."""
    monkeypatch.setattr(savings, "MEASURED", dict(steps=1, count=2, stop=100.0))


@pytest.fixture(scope="module")
def desk():
    desk = studio.Studio(engine=Engine(own))
    yield desk
    desk.close()


@pytest.fixture
def quick():
    desk = studio.Studio(engine=Stub())
    yield desk
    desk.close()


def settled(desk, seconds=90):
    """Until all jobs have ended and the listeners have heard of it; none of them may have raised."""
    heard, end = threading.Event(), time.monotonic() + seconds
    desk.queue.wait(desk.queue.submit(None, lambda spec, cancel: iter(())), seconds)
    stop = desk.listen(lambda event: heard.set() if event.ends else None)
    desk.queue.submit(None, lambda spec, cancel: iter(()))
    assert heard.wait(max(0, end - time.monotonic()))
    stop()
    assert not desk.queue.complaints


class _Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def read(*places):
    """HTML as a browser would take it; every picture has alt text and nothing runs."""
    found = _Tags("".join(place if isinstance(place, str) else place.value for place in places))
    for tag, attributes in found.tags:
        assert tag != "script" and not any(name.startswith("on") for name in attributes)
        if tag == "img":
            assert attributes["alt"].strip() and attributes["src"].startswith("data:image/")
    return found


# --- why ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def explained(desk):
    made = desk.make(f"{ATTACK}:: 树::2 --seed 5 --steps 3", count=2)
    said = []
    panel = WhyPanel(desk, said.append)
    panel.show(made.ids[1])
    settled(desk)
    yield panel, made, said
    panel.close()


def test_why_shows_words_changes_noise_and_steps_and_names_its_sources(explained):
    panel, made, said = explained
    assert re.match("made once more and watched, it came out (identical|close, less)", said[-1])
    words, change, noise, strip, now = (read(panel._parts[key]) for key in ("words", "change", "noise", "strip", "now"))
    shown = [a for tag, a in words.tags if a.get("class") == "aigc-word"]
    assert (
        len(shown) == len(panel.found.words) and "red" in words.text and "树" in words.text and "<img" not in words.text
    )
    assert "pooled to one vector" in words.text and "notebook 3.1, equation (1)" in words.text
    assert sum(tag == "img" for tag, _ in words.tags) == len(panel.found.words)
    assert sum(tag == "img" for tag, _ in change.tags) == 9 and "Conditional minus unconditional" in change.text
    assert "notebook 1.1, equation (4)" in change.text and "notebook 1.1, equation (1)" in noise.text
    assert sum(tag == "img" for tag, _ in strip.tags) == 3 and sum(tag == "img" for tag, _ in now.tags) == 3
    assert panel._more.layout.display is None and panel._branching.layout.display is None


def test_every_source_that_is_named_has_that_equation():
    folder = runtime.data_dir().parent / "notebooks" / "source"
    for notebook, numbers in [each for sources in explaining.SOURCES.values() for each in sources]:
        (file,) = folder.glob(f"0{notebook}_*.py")
        text = file.read_text(encoding="utf-8")
        assert all(rf"\tag{{{number}}}" in text for number in numbers), notebook


def test_the_slider_scrubs_without_a_job(explained, desk):
    panel, _, _ = explained
    before, jobs = panel._parts["now"].value, len(desk.queue._jobs)
    panel.step.value = 1
    assert panel._parts["now"].value != before and "step 1 of 3" in read(panel._parts["now"]).text
    assert len(desk.queue._jobs) == jobs and panel.step.max == 3
    panel.step.value = 3


def test_a_branch_is_the_same_walk_with_other_words_from_a_step_on(explained, desk):
    panel, made, said = explained
    panel.then.value, panel.at.value = "", 2
    panel.button.click()
    assert "prompt that takes over" in said[-1]
    panel.then.value = "a blue car <b>"
    panel.button.click()
    settled(desk)
    entry = desk.gallery.entries[-1]
    assert (entry.spec.action, entry.spec.then, entry.spec.at, entry.seed) == ("branch", "a blue car <b>", 2, 6)
    assert entry.id in said[-1]
    panel.show(entry.id)
    settled(desk)
    assert re.search("came out (identical|close, less)", said[-1]) and panel._branching.layout.display is None
    panel.at.value = 3
    panel.button.click()
    assert "branch it at step 2 or before" in said[-1]


def test_a_branch_of_a_picture_prompt_begins_from_that_picture(desk):
    image = desk.gallery.take_in(picture(0, (128, 128))).id
    spec = studio.parse(f"{image} a house --seed 3 --steps 4", count=1)[0]
    plain = desk.make(spec)
    late = desk.make(spec.with_(action="branch", then="a car", at=4))
    assert plain.pictures[0].tobytes() == late.pictures[0].tobytes()


def test_why_says_what_it_cannot_explain(desk):
    said = []
    panel = WhyPanel(desk, said.append)
    for name in (desk.gallery.take_in(picture(0)).id, "000999-00000000", "../secret"):
        panel.show(name)
    assert "not drawn from words" in said[0] and "no picture" in said[1] and "names no picture" in said[2]
    plain = desk.make("a house --stylize 0 --steps 2 --seed 1", count=1)
    panel.show(plain.ids[0])
    settled(desk)
    assert panel.found.moved is None and "nothing to compare" in read(panel._parts["change"]).text
    panel.close()


def test_why_can_be_cancelled_and_another_picture_takes_its_place(desk):
    said = []
    one, two = desk.make("a {red, blue} house --steps 6 --seed 1", count=1)
    panel = WhyPanel(desk, said.append)
    panel.show(one.ids[0])
    panel.show(two.ids[0])
    settled(desk)
    assert panel.entry.id == two.ids[0] and "blue" in panel.found.words
    panel.show(one.ids[0])
    desk.cancel()
    settled(desk)
    assert said[-1] == "cancelled before there was an explanation" and panel.found is None
    panel.close()


def test_a_heat_map_is_warm_where_the_heat_is():
    heat = torch.zeros(16, 16)
    heat[12:, :4] = 1
    warm = np.asarray(explaining.heated(picture(0, (64, 64)), heat), float)
    red = (warm[..., 0] - warm[..., 2]) > 60
    assert red[52:, :10].all() and not red[:32].any() and explaining.place_of(heat) == "below left"


# --- plots --------------------------------------------------------------------------------------------------


def test_cells_are_all_combinations_with_one_seed():
    axes = [Axis.of("steps", [2, 4]), Axis.of("word", "red, blue，绿色的"), Axis.of("ar", ["1:1", "3:2"])]
    jobs = cells(single("a red house"), axes)
    assert len(jobs) == 12 and len({job.seed for job in jobs}) == 1 and all(job.count == 1 for job in jobs)
    assert [job.steps for job in jobs[:4]] == [2, 4, 2, 4]
    assert [job.words for job in jobs[:6:2]] == ["a red house", "a blue house", "a 绿色的 house"]
    assert {job.ar for job in jobs[:6]} == {(1, 1)} and {job.ar for job in jobs[6:]} == {(3, 2)}


@pytest.mark.parametrize(
    ("line", "axes", "says"),
    [
        ("a red house", [("steps", "0")], "steps: .* 1 to 200"),
        ("a red house", [("steps", "2, two")], "steps: "),
        ("a red house", [("word", "green, blue")], "no word 'green'"),
        ("a red house", [("word", "hous, blue")], "no word 'hous'"),
        ("a red house", [("steps", "2, 2")], "value twice"),
        ("a red house", [("steps", "")], "no values"),
        ("a red house", [("steps", "2,,4")], "no values"),
        ("a red house", [("flavour", "2")], "no dial"),
        ("a red house", [("steps", "2"), ("steps", "3")], "two axes"),
        ("a red house", [("seed", list(range(10))), ("steps", [1, 2, 3, 4])], "40 pictures; .* at most 36"),
        ("a {red, blue} house", [("steps", "2")], "leave them out"),
        ("a red house", [("no", "tree --seed 3")], "sets more than this dial"),
    ],
)
def test_a_plot_that_makes_no_sense_is_refused(line, axes, says):
    with pytest.raises(ValueError, match=says):
        cells(single(line), [Axis.of(*axis) for axis in axes])


def test_a_sheet_has_its_values_at_its_edges_and_pictures_in_their_places():
    axes = [Axis.of("steps", "1, 2, 3"), Axis.of("stylize", "0, 100"), Axis.of("seed", "5, 6")]
    colours = [(20 * k, 255 - 20 * k, 0) for k in range(12)]
    from PIL import Image

    made = sheet([Image.new("RGB", (128, 96), c) for c in colours[:-1]] + [None], axes, single("a <b>house</b>"))
    assert made.alt.startswith("12 pictures of one seed, a <b>house</b>: columns steps 1, 2, 3; rows stylize 0, 100")
    assert made.alt.endswith("1 missing")
    pixels = np.asarray(made.image, int)
    places = [np.argwhere(np.abs(pixels - colour).max(-1) <= 12).mean(0) for colour in colours[:-1]]
    rows, columns = np.array(places).T
    assert (np.diff(columns[:3]) > 100).all() and np.ptp(rows[:3]) < 4 and rows[3] - rows[0] > 100 and rows[6] > rows[5]
    inked = (pixels.max(-1) < 90).any(1).nonzero()[0]
    assert inked.min() < rows[0] - 64  # something is written above the first row


def test_the_plain_function_waits_and_gives_a_figure(quick):
    made = studio.plot(quick, "a red house --seed 3", x=("steps", [1, 2]), y=("word", ["red", "blue"]))
    assert isinstance(made, plotting.Figure) and "rows word red, blue" in made.alt
    assert [spec.steps for spec in quick.engine.ran] == [1, 2, 1, 2] and len(quick.gallery) == 4
    with pytest.raises(ValueError, match="no dial to turn"):
        studio.plot(quick, "a red house")
    with pytest.raises(StudioError, match="as it was asked to"):
        studio.plot(quick, "good --seed 3", x=("word", ["good", "fail"]))


def test_the_plot_panel_draws_its_sheet(quick):
    said = []
    panel = PlotPanel(quick, said.append)
    draw, cancel = panel.box.children[-3].children
    assert "3 × 3 = 9 pictures" in panel.hint.value
    panel.line.value = ATTACK
    panel.dials[0].value, panel.values[0].value = "word", "red, <script>"
    panel.dials[1].value, panel.values[1].value = "steps", "1"
    assert "2 × 1 = 2 pictures" in panel.hint.value
    cancel.click()
    assert said[-1] == "no plot is being drawn"
    draw.click()
    settled(quick)
    ((tag, shown),) = read(panel.sheet).tags
    assert tag == "img" and "columns word red, <script>" in shown["alt"] and said[-1] == "2 of 2 pictures are drawn"
    panel.values[0].value = "green, blue"
    assert "no word" in panel.hint.value
    draw.click()
    assert "no word" in said[-1]
    panel.dials[0].value = panel.dials[1].value = ""
    assert "no dial is turned" in panel.hint.value
    panel.close()


def test_a_plot_is_cancelled_and_shows_what_there_is(quick):
    quick.engine.seconds, said = 0.02, []
    panel = PlotPanel(quick, said.append)
    panel.dials[1].value, panel.values[0].value = "", "1, 100, 101"
    panel.draw()
    panel.draw()
    assert "is being drawn" in said[-1]
    end = time.monotonic() + 10
    while "1 of 3 pictures are drawn" not in said and time.monotonic() < end:
        time.sleep(0.01)
    panel.cancel()
    settled(quick)
    ((_, shown),) = read(panel.sheet).tags
    assert shown["alt"].endswith("2 missing") and not quick.queue.pending
    panel.close()


# --- savings ------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """The tiny denoiser's weights on the disk."""
    tiny_pipeline().unet.save_pretrained(tmp_path)
    monkeypatch.setattr(savings, "file_of", lambda name: tmp_path / "diffusion_pytorch_model.safetensors")


def made(engine, spec):
    (event,) = [event for event in engine.run(spec) if event.kind == "made"]
    return event


@pytest.mark.parametrize("wanted", [Savings(True), Savings(decode_one=True), Savings(weights="on disk")])
def test_savings_that_change_no_numbers_change_no_picture(stored, wanted):
    spec = JobSpec((studio.Part("a red house"),), seed=1, count=2, steps=2)
    plain, engine = made(Engine(own), spec), Engine(own)
    engine.savings = wanted
    event = made(engine, spec)
    assert savings.distance(plain.pictures, event.pictures) < 0.01
    assert event.facts["savings"] == wanted.sentence and "savings" not in plain.facts


def test_few_bits_keep_the_picture_close_and_the_weights_small():
    pipe, small = own("text-to-image"), savings.fitted(own("text-to-image"), Savings(weights="8 and 4 bits"))
    assert savings.weigh(small) < 0.5 * savings.weigh(pipe)
    assert any(isinstance(m, memory.Quantised) for m in small.vae.modules())


def test_weights_on_the_disk_are_none_in_memory_and_the_same_after_the_job(stored):
    engine = Engine(own)
    engine.savings = Savings(weights="on disk")
    made(engine, JobSpec((studio.Part("a house"),), seed=1, count=1, steps=1))
    pipe = engine.models["text-to-image"]
    assert all(p.device.type == "meta" for p in pipe.unet.parameters())
    assert savings.weigh(pipe) == savings.weigh(tiny_pipeline()) - sum(
        p.nbytes for p in tiny_pipeline().unet.parameters()
    )


def test_what_does_not_go_together_is_said():
    engine, spec = Engine(own), JobSpec((studio.Part("a house"),), seed=1, count=1, steps=1)
    engine.savings = Savings(weights="8 bits")
    with pytest.raises(StudioError, match="--tile needs weights as they come"):
        made(engine, spec.with_(tile=True))
    engine.savings = Savings(weights="on disk")
    with pytest.raises(StudioError, match="a LoRA needs weights in memory"):
        made(engine, spec.with_(loras=(LoRA("chalk"),)))
    with pytest.raises(ValueError, match="choose one of: plain"):
        Savings(weights="2 bits")


def test_a_measurement_counts_each_saving_and_leaves_all_as_it_was(stored):
    engine, wanted = Engine(own), Savings(True, True, "on disk")
    spec = JobSpec((studio.Part("a house"),), seed=1)
    events = list(engine.measure(spec, wanted))
    readings = events[-1].answer
    assert [one.savings for one in readings] == [Savings(), *wanted.each(), wanted] and len(readings) == 5
    none, denoise, decode, disk, together = readings
    assert together.peak < min(denoise.peak, decode.peak, disk.peak) <= none.peak and decode.peak < none.peak
    assert none.weights <= none.peak and disk.weights < none.weights and none.distance == 0
    assert all(one.distance < 0.01 for one in readings)
    assert engine.savings == Savings() and "text-to-image" not in engine.models
    cancel = threading.Event()
    cancel.set()
    assert list(engine.measure(spec, wanted, cancel))[-1].answer == ()


def test_another_model_draws_after_a_switch_and_a_failed_switch_changes_nothing(monkeypatch):
    loaded = []

    def load(name, **how):
        loaded.append((name, how))
        if name == "text-to-image":
            raise FileNotFoundError("12 of 12 files are missing; copy the folder")
        return own("text-to-image")

    engine, spec = Engine(load), JobSpec((studio.Part("a house"),), seed=1, count=1, steps=1)
    turbo, large = "stabilityai/sd-turbo", "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert list(engine.switch(turbo))[-1].answer == f"{turbo} draws now"
    assert list(made(engine, spec).facts["models"]) == [turbo] == list(engine.models)
    with pytest.raises(StudioError, match="12 of 12 files are missing; copy the folder"):
        list(engine.switch(large, Savings(True)))
    assert (engine.drawing, engine.savings) == (turbo, Savings())
    assert loaded == [("text-to-image-fast", {"source": "hub"}), ("text-to-image", {"source": "hub"})]
    with pytest.raises(StudioError, match="choose one of: text-to-image"):
        list(engine.switch("../secret"))


def test_a_public_model_is_fetched_only_when_it_is_asked_for(monkeypatch):
    asked = []

    def folder(role, download=False):
        asked.append((role, download))
        raise ConnectionError("it could not be fetched; connect this machine to the network")

    monkeypatch.setattr(models, "checkpoint_folder", folder)
    engine = Engine(lambda name, **how: own("text-to-image"))
    assert "draws now" in list(engine.switch("stabilityai/sd-turbo"))[-1].answer and not asked
    with pytest.raises(StudioError, match="connect this machine"):
        list(engine.switch("stabilityai/sd-turbo", download=True))
    assert asked == [("text-to-image-fast", True)]


def test_waiting_for_the_hub_can_be_cancelled(monkeypatch):
    monkeypatch.setattr(models, "checkpoint_folder", lambda role, download: time.sleep(3))
    engine, cancel = Engine(own), threading.Event()
    events = engine.switch("stabilityai/sd-turbo", download=True, cancel=cancel)
    assert next(events).sentence == "fetching stabilityai/sd-turbo from the hub"
    cancel.set()
    begun = time.monotonic()
    with pytest.raises(StudioError, match="no longer waited for"):
        next(events)
    assert time.monotonic() - begun < 1 and engine.drawing == "text-to-image"


def test_a_replay_says_that_another_model_or_other_savings_are_on(desk):
    kept = desk.make("a red house --seed 7 --steps 2", count=1)
    desk.queue.wait(desk.switch(savings=Savings(True, weights="8 bits")))
    again = desk.replay(desk.gallery.path(kept.ids[0]))
    assert again.verdict != "identical" and "savings of memory: none then, denoising one by one" in again.sentence
    recipe = png.read(desk.gallery.path(kept.ids[0]))
    facts = recipe.facts | {"models": {"stabilityai/sd-turbo": ""}}
    other = desk.replay(png.write(kept.pictures[0], studio.Recipe(recipe.spec, 0, facts)))
    assert "it was drawn by the model stabilityai/sd-turbo, and now by text-to-image" in other.sentence
    desk.queue.wait(desk.switch(savings=Savings()))
    assert desk.replay(desk.gallery.path(kept.ids[0])).sentence == "identical, to the last bit"


# --- the panel of memory ------------------------------------------------------------------------------------


def test_the_memory_panel_switches_measures_and_says_what_it_gave(desk):
    said = []
    panel = MemoryPanel(desk, said.append)
    panel.measure()
    assert "no saving is chosen" in said[-1]
    panel.denoise.value, panel.decode.value, panel.weights.value = True, True, "8 and 4 bits"
    panel.apply()
    settled(desk)
    assert (
        desk.engine.savings == Savings(True, True, "8 and 4 bits")
        and "draws now, with denoising one by one" in said[-1]
    )
    assert "saving denoising one by one" in panel.state.value
    panel.measure()
    settled(desk)
    table = read(panel.meter)
    rows = [tag for tag, _ in table.tags if tag == "tr"]
    assert (
        len(rows) == 6 and "all together" in table.text and "to compare with" in table.text and said[-1] == "measured"
    )
    assert re.search(r"This process holds \d+ MiB", panel.rss.value)
    desk.queue.wait(desk.switch(savings=Savings()))
    settled(desk)
    assert (panel.denoise.value, panel.decode.value, panel.weights.value) == (False, False, "plain")
    panel.close()


def test_the_memory_panel_fetches_nothing_unasked(desk, monkeypatch):
    asked, said = [], []

    def folder(role, download=False):
        asked.append(download)
        raise (ConnectionError if download else FileNotFoundError)("there is no network; connect this machine")

    monkeypatch.setattr(models, "checkpoint_folder", folder)
    panel = MemoryPanel(desk, said.append)
    panel.download()
    assert "nothing to fetch" in said[-1]
    panel.model.value = "hub"
    panel.use()
    assert "no public model is named; write one of" in said[-1]
    panel.hub.value = "<img src=x onerror=alert(1)>"
    panel.use()
    assert "does not know the files" in said[-1] and "onerror" in said[-1]
    read(panel.status)
    panel.hub.value = " stabilityai/sd-turbo "
    panel.use()
    assert "nothing was fetched; “Download and use” would fetch from the hub" in said[-1] and asked == [False]
    panel.download()
    settled(desk)
    assert said[-1] == "there is no network; connect this machine" and desk.engine.drawing == "text-to-image"
    panel.close()


def test_the_meter_says_identical_close_or_different():
    readings = [studio.Reading(Savings(), 100 * 2**20, 200 * 2**20, 1.0, 0.0)]
    for distance in (0.0, 1.5, 9.0):
        readings.append(studio.Reading(Savings(True), 2**20, 100 * 2**20, 1.0, distance))
    text = read(meter_html(readings)).text
    assert (
        "identical" in text
        and "close, 1.5 of 255 away in the mean" in text
        and "different, 9 of 255 away in" in text
        and "50%" in text
    )
    assert "cancelled" in meter_html([])


def test_every_control_has_words_and_the_status_is_polite(quick):
    for kind in (WhyPanel, PlotPanel, MemoryPanel):
        panel = kind(quick)
        panel.tell("a <b>sentence</b>")
        (status, *_) = read(panel.status).tags
        assert status[1]["aria-live"] == "polite" and "a <b>sentence</b>" in read(panel.status).text
        assert {"aigc-panel", f"aigc-{panel.name}"} <= set(panel.box._dom_classes)

        def walk_through(widget):
            yield widget
            for child in getattr(widget, "children", ()):
                yield from walk_through(child)

        for widget in walk_through(panel.box):
            if hasattr(widget, "description") and type(widget).__name__ != "HTML":
                assert widget.description.strip(), type(widget).__name__
        panel.close()
        assert not quick.queue._ears


# --- what the core promised besides -------------------------------------------------------------------------


def test_the_whole_walk_of_a_tile_moves_with_its_noise():
    pipe = tiny_pipeline()
    noise = torch.randn(1, 32, 16, 16, generator=runtime.generator(1))
    told = walk.words(pipe, ["a house"], [1.0], [0])

    def end(x_t):
        scheduler, times = walk.timetable(pipe, 2)
        *_, last = walk.walk(pipe, x_t, lambda number: told, scheduler, times)
        return pipe.vae.decode(last.x_t).sample

    with walk.circular(pipe), torch.no_grad():
        here, there = end(noise), end(noise.roll((4, 8), (-2, -1)))
    torch.testing.assert_close(here.roll((32, 64), (-2, -1)), there, rtol=1e-3, atol=1e-3)
