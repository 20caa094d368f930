"""The engine against the stock pipelines, and each parameter and action against what it promises."""

import threading

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from studio_jobs import picture, tiny, tiny_pipeline

from aigc_course import models, runtime, sampling, scenes, studio, style
from aigc_course.studio import Engine, JobSpec, Recipe, StudioError, canvas, png, walk
from aigc_course.studio.spelling import heard, split_words, tokens_of
from aigc_course.studio.why import recording

PARENT, OTHER = "000001-00000000", "000002-00000000"


def drawing(number=3, size=(128, 128)):
    """A picture of the world."""
    pixels = scenes.pictures([scenes.sample(number)], 128)
    return canvas.fitted(canvas.to_pictures(pixels)[0], size)


@pytest.fixture(scope="module")
def engine():
    given = {PARENT: drawing(3), OTHER: drawing(5), "000003-00000000": drawing(3, (40, 56))}
    return Engine(tiny, given.__getitem__, style=lambda content, look, strength: content.rotate(90 * (strength > 0)))


def job(line="a red house", **fields):
    (spec,) = studio.parse(line, **{"count": 2, "steps": 2, "seed": 5} | fields)
    return spec


def made(engine, spec, cancel=None):
    (event,) = [event for event in engine.run(spec, cancel) if event.kind == "made"]
    return event


def arrays(event):
    return np.stack([np.asarray(one, np.float32) for one in event.pictures])


def stock(pipe, prompt, seeds, **more):
    how = {"guidance_scale": 2.0, "generator": [runtime.generator(seed) for seed in seeds]} | more
    images = pipe([prompt] * len(seeds), **how).images
    return np.stack([np.asarray(image, np.float32) for image in images])


# --- the stock pipelines say the same -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("a red house", {}),
        ("a red house --ar 3:2", {"width": 160, "height": 104}),
        ("a red house --no a tree", {"negative_prompt": ["a tree"] * 2}),
        ("一座红色的房子", {}),
    ],
)
def test_the_same_prompt_and_seeds_give_the_pictures_of_the_stock_pipeline(engine, line, more):
    spec = job(line)
    theirs = stock(tiny_pipeline(), spec.words, spec.seeds, num_inference_steps=2, **more)
    assert np.abs(arrays(made(engine, spec)) - theirs).max() <= 1


def test_without_guidance_too(engine):
    spec = job("a red house --stylize 0")
    theirs = stock(tiny_pipeline(), "a red house", spec.seeds, num_inference_steps=2, guidance_scale=1.0)
    assert np.abs(arrays(made(engine, spec)) - theirs).max() <= 1


def test_the_shipped_model_too_through_the_plain_function():
    desk = studio.Studio(engine=Engine())
    try:
        mine = studio.imagine("a red house in a meadow --seed 7 --steps 2", desk)
        pipe = desk.engine.models["text-to-image"]
        theirs = stock(pipe, "a red house in a meadow", [7, 8, 9, 10], num_inference_steps=2)
        assert np.abs(np.stack([np.asarray(p, np.float32) for p in mine.pictures]) - theirs).max() <= 1
        assert desk.replay(desk.gallery.path(mine.ids[2])).verdict == "identical"
        plain, chalk, faint, again = (
            arrays(desk.make(f"a red house --seed 7 --steps 2{lora}", count=1))
            for lora in ("", " --lora chalk:1", " --lora chalk:0.2", "")
        )
        assert np.array_equal(plain, again)
        assert np.abs(chalk - plain).mean() > 2 * np.abs(faint - plain).mean() > 0
    finally:
        desk.close()


@pytest.mark.parametrize("strength", [0.5, 0.8])
def test_a_picture_is_redrawn_as_the_stock_img2img_does(engine, strength):
    pipe = StableDiffusionImg2ImgPipeline(**tiny_pipeline().components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    spec = job(action="img2img", parent=PARENT, strength=strength, steps=4)
    given = canvas.to_tensor(engine.picture(PARENT))[None].expand(2, -1, -1, -1) / 2 + 0.5
    theirs = stock(pipe, "a red house", spec.seeds, image=given, strength=strength, num_inference_steps=4)
    assert np.abs(arrays(made(engine, spec)) - theirs).max() <= 1


# --- parameters ---------------------------------------------------------------------------------------------


def test_each_picture_has_a_seed_of_its_own(engine):
    grid = arrays(made(engine, job(count=3)))
    alone = arrays(made(engine, job(count=1, seed=7)))
    assert np.abs(grid[2] - alone[0]).max() <= 1 and np.abs(grid[0] - grid[1]).max() > 3


def test_weights_compose_predictions(engine):
    pipe = tiny_pipeline()
    x_t = torch.randn(2, 32, 16, 16, generator=runtime.generator())
    t = torch.tensor(500)

    def asked(prompts, weights, scale=3.0):
        return walk.ask(pipe, x_t, t, walk.words(pipe, prompts, weights, [0, 1], scale))

    both, uncond, cond = asked(["a house", "a tree"], [3.0, 1.0])
    house, tree = (asked([text], [1.0])[2] for text in ("a house", "a tree"))
    torch.testing.assert_close(cond, 0.75 * house + 0.25 * tree)
    torch.testing.assert_close(both, uncond + 3 * (cond - uncond))
    torch.testing.assert_close(asked(["a house", "a house"], [1.0, 1.0])[0], asked(["a house"], [1.0])[0])
    assert asked(["a house"], [1.0], scale=1.0)[1] is None


def test_chaos_parts_the_words_at_the_start_and_leaves_them_at_the_end(engine):
    pipe = tiny_pipeline()
    told = walk.words(pipe, ["a house"], [1.0], [0, 1], chaos=0.8)
    start, end = walk._conditions(told, 1.0), walk._conditions(told, 0.5)
    assert torch.equal(end, told.conditions) and not torch.allclose(start[0, 0], start[0, 1])
    torch.testing.assert_close(start.norm(dim=-1), told.conditions.norm(dim=-1), rtol=1e-4, atol=0)
    plain = walk.words(pipe, ["a house"], [1.0], [0, 1])
    assert torch.equal(walk._conditions(plain, 1.0), told.conditions)


def test_weird_turns_the_words_and_keeps_their_length(engine):
    pipe = tiny_pipeline()
    plain, odd = (walk.words(pipe, ["a house"], [1.0], [0, 1], weird=w).conditions for w in (0.0, 0.5))
    torch.testing.assert_close(odd.norm(dim=-1), plain.norm(dim=-1))
    assert not torch.allclose(odd, plain) and torch.equal(odd[0, 0], odd[0, 1])


def test_a_tile_has_no_edge_and_the_padding_comes_back(engine):
    pipe = tiny_pipeline()
    z = torch.randn(1, 32, 16, 16, generator=runtime.generator())
    with walk.circular(pipe), torch.no_grad():
        here, there = (pipe.vae.decode(one).sample for one in (z, z.roll(5, -1)))
        torch.testing.assert_close(here.roll(40, -1), there)
    modes = {m.padding_mode for m in [*pipe.unet.modules(), *pipe.vae.modules()] if hasattr(m, "padding_mode")}
    assert modes == {"zeros"}
    assert np.abs(arrays(made(engine, job("a red house --tile"))) - arrays(made(engine, job()))).max() > 1


def test_stop_ends_the_walk_with_what_was_expected_there(engine):
    events = list(engine.run(job("a red house --stop 50", steps=4, count=1)))
    last = events[-1]
    kinds = [event.kind for event in events if event.kind != "loading"]  # said by whichever test comes first
    assert kinds == ["step", "step", "made"]
    assert (last.number, last.total, last.facts["reached"], last.facts["steps"]) == (2, 4, 2, 4)


def test_iw_says_how_much_of_a_picture_stays(engine):
    assert studio.strength_of(job(f"{PARENT} a house --iw 3")) == pytest.approx(0.1)
    near, far = (arrays(made(engine, job(f"{PARENT} a house --iw {iw}", steps=10, count=1))) for iw in (3, 0.5))
    coded = walk.encode(tiny_pipeline(), canvas.to_tensor(engine.picture(PARENT))[None])
    whole = np.asarray(canvas.to_pictures(sampling.decode(tiny_pipeline(), coded))[0], np.float32)
    assert np.abs(near - whole).mean() < np.abs(far - whole).mean()
    assert np.array_equal(arrays(made(engine, job(f"{PARENT} a house --iw 0"))), arrays(made(engine, job("a house"))))


def test_a_style_is_carried_over_by_the_function_passed_in(engine):
    plain, turned = (made(engine, job(f"a house --sref {OTHER} --sw {sw}", count=1)) for sw in (0, 100))
    assert turned.pictures[0].tobytes() == plain.pictures[0].rotate(90).tobytes()


def test_steps_and_scale_follow_from_the_line():
    assert [studio.steps_of(studio.parse(f"a cat {p}")[0]) for p in ("", "--quality 2", "--fast", "--steps 9")] == [
        25, 50, 4, 9,
    ]  # fmt: skip
    assert [studio.scale_of(studio.parse(f"a cat {p}")[0]) for p in ("", "--stylize 0", "--s 250", "--fast")] == [
        2.0, 1.0, 3.5, 2.0,
    ]  # fmt: skip


# --- actions ------------------------------------------------------------------------------------------------


def test_a_job_made_twice_is_the_same_and_a_variation_is_not_its_parent(engine):
    for spec in (job(action="vary", parent=PARENT, strength=s) for s in (studio.SUBTLE, studio.STRONG)):
        first, again = (arrays(made(engine, spec)) for _ in range(2))
        assert np.array_equal(first, again) and np.abs(first[0] - first[1]).max() > 1


def test_inpaint_keeps_what_is_outside_to_the_pixel(engine):
    spec = job(action="inpaint", parent=PARENT, region=(40, 40, 88, 96))
    after, before = arrays(made(engine, spec)), np.asarray(engine.picture(PARENT), np.float32)
    changed = np.abs(after - before).max((0, 3)) > 0
    assert changed[48:88, 48:80].any()
    changed[32:104, 32:96] = False  # the region, and a seam of 8 pixels around it
    assert not changed.any()
    with pytest.raises(ValueError, match="beyond the picture"):
        made(engine, spec.with_(region=(500, 500, 600, 600)))


@pytest.mark.parametrize("direction", ["left", "right", "up", "down"])
def test_pan_makes_the_picture_longer_and_keeps_what_was_there(engine, direction):
    after = arrays(made(engine, job(action="pan", parent=PARENT, direction=direction)))
    before = np.asarray(engine.picture(PARENT), np.float32)
    upright, backward = direction in ("up", "down"), direction in ("left", "up")
    assert after.shape[1:3] == ((192, 128) if upright else (128, 192))
    long = np.moveaxis(after, 1 if upright else 2, 1)
    old = long[:, 64 + 8 :] if backward else long[:, : 128 - 8]  # but for the seam
    kept = before if upright else before.swapaxes(0, 1)
    assert np.array_equal(old[0], kept[8:] if backward else kept[: 128 - 8])


def test_pan_goes_on_from_what_was_panned_and_reduces_what_is_too_large():
    for size, longer in [
        ((128, 128), (192, 128)),
        ((512, 128), (576, 128)),
        ((512, 512), (192, 128)),
        ((131, 128), (192, 128)),
    ]:
        laid = canvas.for_pan(drawing(3, size), "right", 128, 128)
        assert laid.whole.shape[1:] == longer[::-1] and laid.picture.shape == (3, 128, 128)
        assert laid.mask[:, 8:].all() and not laid.mask[:, :8].any()


def test_zoom_keeps_the_size_and_has_the_picture_in_its_middle(engine):
    after = arrays(made(engine, job(action="zoom", parent=PARENT, zoom=2.0)))
    small = np.asarray(engine.picture(PARENT).resize((64, 64), 1), np.float32)
    assert after.shape[1:3] == (128, 128) and np.array_equal(after[0, 40:88, 40:88], small[8:56, 8:56])


def test_blend_reads_its_pictures_and_slerp_keeps_their_length(engine):
    events = list(engine.run(JobSpec(action="blend", images=(PARENT, OTHER), seed=1, count=1, steps=2)))
    assert any("read as" in event.sentence for event in events)
    assert len(events[-1].spec.prompt) == 2 and events[-1].pictures
    a, b = torch.randn(2, 4, 8, 8, generator=runtime.generator())
    assert walk.slerp(a, b, 0.5).norm() == pytest.approx(((a.norm() + b.norm()) / 2).item(), rel=0.1)
    assert torch.allclose(walk.slerp(a, b, 0.0), a, atol=1e-5) and torch.allclose(walk.slerp(a, b, 1.0), b, atol=1e-5)


def test_upscale_in_tiles_is_the_upscaler_at_once_and_can_be_stopped(engine):
    spec = job(action="upscale", parent="000003-00000000")
    small = canvas.to_tensor(engine.picture(spec.parent))[None]
    whole = canvas.to_pictures(sampling.upscale(engine.model("upscaler"), small))[0]
    assert np.abs(arrays(made(engine, spec))[0] - np.asarray(whole, np.float32)).max() <= 1
    cancel, events = threading.Event(), []
    for event in engine.run(spec, cancel):
        events.append(event)
        cancel.set()
    assert events[-1].kind == "made" and events[-1].number == 1 < events[-1].total
    assert events[-1].pictures[0].size == (160, 224)


def test_a_branch_changes_the_words_on_the_way(engine):
    line = dict(steps=4, count=1)
    red, blue = (arrays(made(engine, job(text, **line))) for text in ("a red house", "a blue car"))

    def at(k):
        return arrays(made(engine, job("a red house", action="branch", then="a blue car", at=k, **line)))

    assert np.array_equal(at(0), blue) and np.array_equal(at(4), red)
    assert np.abs(at(2) - red).max() > 0 and np.abs(at(2) - blue).max() > 0


def test_describe_draws_captions_with_a_seed_each(engine):
    spec = JobSpec(action="describe", parent=PARENT, seed=0, count=3)
    first, again = ([event.answer for event in engine.run(spec)][-1] for _ in range(2))
    assert first == again and len(first) == 3 and all(scenes.read_caption(text) for text in first)
    cancel = threading.Event()
    some = [event for event in engine.run(spec, cancel) if event.kind != "step" or cancel.set()]
    assert [event.answer for event in some] == [first[:1]]
    assert not list(engine.run(spec, cancel))  # no answer without a caption


def test_shorten_weighs_every_word(engine):
    weighed = studio.importance(tiny_pipeline(), "a red house", 0, steps=2)
    assert weighed.words == ("a", "red", "house") and sum(weighed.shares) == pytest.approx(1)
    assert studio.importance(tiny_pipeline(), "草地上一座红色的房子", 0, steps=1).words[0] == "草地上"
    with pytest.raises(ValueError, match="no words to weigh"):
        studio.importance(tiny_pipeline(), "--", 0)


# --- why, previews, cancel ----------------------------------------------------------------------------------


def test_why_shows_what_made_the_picture(engine):
    spec = job("a red house:: a tree::2", steps=3, count=2)
    pictures = made(engine, spec).pictures
    answer = [event.answer for event in engine.explain(spec, tile=1)][-1]
    assert answer.words == ("a", "red", "house", "a", "tree") and answer.heat.shape == (5, 16, 16)
    assert answer.shares.sum() == pytest.approx(1) and (answer.heat >= 0).all() and answer.heat.sum(0).max() <= 2.001
    assert answer.x_t.shape == answer.x0.shape == answer.moved.shape == (3, 32, 16, 16)
    assert len(answer.pictures) == 3 and answer.difference.shape == (3, 16, 16)
    assert np.abs(np.asarray(answer.pictures[-1], int) - np.asarray(pictures[1], int)).max() <= 1
    torch.testing.assert_close(answer.noise, torch.randn(1, 32, 16, 16, generator=runtime.generator(6))[0])


def test_recording_changes_no_prediction_and_is_taken_off_again():
    unet = tiny_pipeline().unet
    x_t, text = torch.randn(2, 32, 16, 16), torch.randn(2, 32, 128)
    before = {name: type(one) for name, one in unet.attn_processors.items()}
    with torch.no_grad():
        plain = unet(x_t, 500, encoder_hidden_states=text).sample
        with recording(unet) as maps:
            watched = unet(x_t, 500, encoder_hidden_states=text).sample
    torch.testing.assert_close(watched, plain)
    assert {name: type(one) for name, one in unet.attn_processors.items()} == before
    assert maps and all(torch.allclose(one.sum(-1), torch.ones(())) for one in maps)


def test_words_know_their_tokens():
    tokenizer = tiny_pipeline().tokenizer
    for text in ("a red house", "一座红色的房子"):
        found = dict(tokens_of(tokenizer, text))
        read = range(1, len(tokenizer(text).input_ids) - 1)  # without the marks of beginning and end
        assert all(found.values()) and {i for tokens in found.values() for i in tokens} == set(read)


LONG = "a red house and a blue tree " * 6 + "in a meadow"


@pytest.mark.parametrize("text", [LONG, "草地上一座红色的房子" * 6, "a" * 900, "!" * 900])
def test_what_is_heard_fits_and_one_word_more_would_not(text):
    tokenizer = tiny_pipeline().tokenizer
    start, rest = heard(tokenizer, text)
    room = tokenizer.model_max_length
    assert text.startswith(start) and text.endswith(rest) and rest
    assert len(tokenizer(start).input_ids) <= room
    more = [text[:stop] for _, _, stop in split_words(text) if stop > len(start)]
    assert not more or len(tokenizer(more[0], verbose=False).input_ids) > room
    assert heard(tokenizer, start) == (start, "")
    assert all(max(tokens) < room - 1 for _, tokens in tokens_of(tokenizer, text))


def test_words_that_are_not_heard_are_named_and_nothing_goes_to_stderr(engine, monkeypatch, capfd):
    tokenizer = tiny_pipeline().tokenizer
    monkeypatch.setattr(tokenizer, "deprecation_warnings", {})  # it warns once; another test may have been before
    spec = job(LONG, count=1, negative="a cat " * 30)
    events = list(engine.run(spec))
    said = [event.sentence for event in events if event.kind == "note"]
    (start, rest), room = heard(tokenizer, LONG), tokenizer.model_max_length
    assert len(said) == 2 and f"“{rest}” is not heard: the model reads {room} tokens" in said[0] and "meadow" in rest
    assert "cat" in said[1]
    short = job(start, count=1, negative=heard(tokenizer, "a cat " * 30)[0])
    assert np.array_equal(arrays(events[-1]), arrays(made(engine, short)))
    told = [event.answer for event in engine.explain(spec)][-1]
    assert told.words == tuple(word for word, _, _ in split_words(start))
    weighed = list(engine.run(spec.with_(action="shorten")))
    assert weighed[-1].answer.words == told.words and sum(event.kind == "note" for event in weighed) == 1
    assert capfd.readouterr().err == "" and not tokenizer.deprecation_warnings


def test_a_preview_is_close_to_the_decoded_picture():
    pipe = models.load("text-to-image")
    preview = studio.Preview.fit(pipe, drawings=8)
    drawn = scenes.pictures(scenes.samples(2, "validation"), 128)
    (rough, _) = preview(walk.encode(pipe, drawn))
    assert rough.size == (64, 64)
    true = np.asarray(canvas.to_pictures(drawn)[0].resize((64, 64), 4), np.float32)
    flat = np.abs(true - true.mean((0, 1))).mean()
    assert np.abs(np.asarray(rough, np.float32) - true).mean() < 0.6 * flat


def test_previews_change_no_picture(engine):
    spec = job(steps=3, count=1)
    shown = [event.preview() for event in engine.run(spec) if event.kind == "step"]
    assert len(shown) == 3 and shown[0][0].size == (64, 64)
    assert np.array_equal(arrays(made(engine, spec)), arrays(made(engine, spec)))


@pytest.mark.parametrize("after", [0, 1, 2])
def test_cancel_ends_at_the_next_step_with_the_picture_reached(engine, after):
    cancel, events = threading.Event(), []
    if not after:
        cancel.set()
    for event in engine.run(job(steps=5, count=1), cancel):
        events.append(event)
        if event.number == after:
            cancel.set()
    steps = [event for event in events if event.kind == "step"]
    assert len(steps) == after
    assert [event.number for event in events if event.kind == "made"] == [after] * bool(after)


# --- replay -------------------------------------------------------------------------------------------------


def kept(engine, spec, number=0, **facts):
    event = made(engine, spec)
    one = event.pictures[number]
    told = Recipe(event.spec, number, event.facts | {"pixels": png.pixels_hash(one)} | facts)
    return one, png.write(one, told), told


def test_replay_makes_the_same_picture_and_says_why_it_does_not(engine):
    from aigc_course.studio.replaying import replay

    spec = job("a red house --chaos 40 --no tree")
    before, data, told = kept(engine, spec, 1)
    again = replay(data, engine)
    assert again.verdict == "identical" and again.sentence == "identical, to the last bit" and again.distance == 0
    brighter = before.point(lambda v: min(255, v + 2))
    close = replay(png.write(brighter, told), engine)
    assert close.verdict == "close" and "not those that were saved" in close.sentence
    other = replay(png.write(picture(0, (128, 128)), told), engine)
    assert other.verdict == "different" and "e+" not in other.sentence
    lied = replay(kept(engine, spec, models={"text-to-image": "ffffffffffff"}, threads=99)[1], engine)
    assert lied.verdict == "identical" and "is another one" in lied.sentence and "99 then" in lied.sentence
    moved = replay(png.write(before, Recipe(told.spec.with_(seed=1), 1, told.facts)), engine)
    assert moved.verdict == "different" and "was the text changed?" in moved.sentence
    stop = threading.Event()
    stop.set()
    with pytest.raises(StudioError, match="cancelled"):
        replay(data, engine, stop)
    with pytest.raises(StudioError, match="does not say"):
        replay(png.write(before, Recipe(None)), engine)


def test_a_picture_that_was_cancelled_is_replayed_to_the_same_step(engine):
    from aigc_course.studio.replaying import replay

    cancel, spec = threading.Event(), job(steps=7, count=1)
    for event in engine.run(spec, cancel):
        if event.kind == "step" and event.number == 1:
            cancel.set()
    data = png.write(event.pictures[0], Recipe(spec, 0, event.facts))
    assert event.number == 1 and replay(data, engine).verdict == "identical"


# --- what cannot be done is said ----------------------------------------------------------------------------


def test_what_is_missing_is_said_with_a_next_step(engine):
    with pytest.raises(StudioError, match="there is no LoRA 'nobody'; use one of: chalk, mockup, robot"):
        made(engine, job("a house --lora nobody"))
    with pytest.raises(StudioError, match="there is no gallery"):
        made(Engine(tiny), job(action="vary", parent=PARENT))
    with pytest.raises(StudioError, match="too many for this model; stay below 256 × 256"):
        made(engine, job("a house", width=1024, height=1024))
    empty = Engine(lambda name: models.load("no such model"))
    with pytest.raises(StudioError, match="restore data/models as it was cloned"):
        made(empty, job("a house"))


def test_an_error_is_told_in_its_two_halves():
    both, one = (StudioError.of(ValueError(text), "ask again") for text in ("it is  gone; copy it", "it is gone"))
    assert (both.sentence, both.fix, one.sentence, one.fix) == ("it is gone", "copy it", "it is gone", "ask again")
    assert StudioError.of(KeyError(), "ask again").sentence == "KeyError"


def test_the_room_style_carries_a_style_over_and_what_it_refuses_is_said(monkeypatch):
    def transfer(content, look, strength):
        if strength > 1:
            raise ValueError("too strong")
        return look

    monkeypatch.setattr(style, "transfer", transfer)
    assert studio.engine._style_room(picture(0), picture(1), 0.5).tobytes() == picture(1).tobytes()
    with pytest.raises(StudioError, match="cannot be carried over: too strong; leave out --sref"):
        studio.engine._style_room(picture(0), picture(1), 2)


def test_what_will_not_help_is_noted(engine):
    said = [
        event.sentence for event in engine.run(job("a red fox --no tree --stylize 0 --sw 300")) if event.kind == "note"
    ]
    assert len(said) == 3 and "fox" in said[0] and "--stylize" in said[1] and "--sref" in said[2]
