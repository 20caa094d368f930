"""The shipped models: they load with the stock library alone, and what they draw follows the words."""

import json
import random
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import evaluate
import eyes
import machine
import pytest
import torch
import train_autoencoder
import train_captioner
import train_clip
import train_text_encoder
import train_text_to_image
from torch import nn

from aigc_course import adaptation, diffusion, evaluation, models, runtime, sampling, scenes, training

FOLDER = models.folder_of("text-to-image")
STOCK = """
import json, sys
from diffusers import AutoPipelineForImage2Image, DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained(sys.argv[1], local_files_only=True)
pipe.set_progress_bar_config(disable=True)
drawn = pipe("a red house in a meadow", num_inference_steps=2).images[0]
redraw = AutoPipelineForImage2Image.from_pipe(pipe)
again = redraw("a blue house", image=drawn, strength=0.5, num_inference_steps=4).images[0]
ours = [name for name in sys.modules if name.startswith("aigc_course")]
dtypes = sorted({str(next(part.parameters()).dtype) for part in (pipe.unet, pipe.vae, pipe.text_encoder)})
print(json.dumps([type(pipe).__name__, drawn.size, again.size, ours, dtypes]))
"""


@pytest.fixture(scope="module")
def pipe():
    return models.load("text-to-image")


def test_the_pipeline_loads_with_nothing_of_ours_and_draws_from_words_and_from_a_picture(tmp_path):
    run = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", STOCK, str(FOLDER)],
        capture_output=True, text=True, encoding="utf-8", cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    name, drawn, again, ours, dtypes = json.loads(run.stdout.splitlines()[-1])
    assert name == "StableDiffusionPipeline" and not ours
    assert drawn == again == [models.PICTURE, models.PICTURE]
    assert dtypes == ["torch.float32"], f"a bare load mixes {dtypes}: parts would not fit together"


def test_the_shipped_files_are_safetensors_and_json_below_25_megabytes():
    files = [file for file in FOLDER.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 25e6
    assert {file.suffix for file in files} <= {".safetensors", ".json", ".md"}


def test_every_shipped_model_has_a_manifest_that_holds():
    shipped = sorted(folder for folder in (runtime.data_dir() / "models").iterdir() if folder.is_dir())
    assert len(shipped) >= 2
    for folder in shipped:
        models.verify(folder)
        listed = set(json.loads((folder / models.MANIFEST).read_text(encoding="utf-8")))
        there = {f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()} - {models.MANIFEST}
        assert listed == there


def test_captions_come_back_from_the_tokenizer_unchanged_and_fit():
    tokenizer = models.load("tokenizer")
    for sample in scenes.samples(100, "test"):
        for language in scenes.LANGUAGES:
            for caption in list(scenes.paraphrases(sample.scene, language))[:8]:
                ids = tokenizer(caption).input_ids
                assert tokenizer.decode(ids, skip_special_tokens=True) == caption
                assert len(ids) <= tokenizer.model_max_length


def colour_of(pictures):
    """The mean colour of the middle of each picture, (B, 3): where a single thing most often stands."""
    side = pictures.shape[-1]
    return pictures[..., side // 4 : -side // 4, side // 4 : -side // 4].mean((2, 3))


def test_the_colour_that_is_asked_for_is_the_colour_that_is_drawn(pipe):
    reds = colour_of(sampling.words_to_pictures(pipe, ["a large red circle in a meadow"] * 6, steps=15))
    blues = colour_of(sampling.words_to_pictures(pipe, ["a large blue circle in a meadow"] * 6, steps=15))
    assert ((reds - blues)[:, 0] > 0.1).all() and ((blues - reds)[:, 2] > 0.1).all()


def test_night_is_darker_than_day_in_both_languages(pipe):
    prompts = [
        "a yellow star at night",
        "a yellow star in a meadow",
        "一颗黄色的星星，在夜空下",
        "一颗黄色的星星，在草地上",
    ]
    night, day, night_zh, day_zh = sampling.words_to_pictures(pipe, prompts, steps=15, seed=[0] * 4).mean((1, 2, 3))
    assert night < day - 0.3 and night_zh < day_zh - 0.3


def test_a_seed_gives_the_same_picture_alone_and_in_company(pipe):
    alone = sampling.words_to_pictures(pipe, ["a green tree"], steps=4, seed=[9])
    company = sampling.words_to_pictures(pipe, ["a red car", "a green tree"], steps=4, seed=[1, 9])
    torch.testing.assert_close(alone[0], company[1], atol=1e-4, rtol=0)


def test_the_upscaler_is_better_than_lanczos_and_leaves_no_seam(pipe):
    model = models.load("upscaler")
    found = evaluation.against_lanczos(model, pipe.vae, evaluation.load_parser(), scenes.samples(8, "test"))
    for given in ("drawn", "autoencoded"):
        ours, theirs = (found[given, way] for way in ("upscaler", "Lanczos"))
        assert (ours["PSNR"] - theirs["PSNR"]).mean() > 0.5, f"no better than Lanczos on {given} pictures"
        assert ours["edges"].mean() > theirs["edges"].mean()
    assert evaluation.seam(model, scenes.pictures(scenes.samples(1, "test"), models.PICTURE)).max() < 1


def test_a_sheet_of_failures_names_the_facts_that_are_wrong(monkeypatch):
    judge, shown = evaluation.load_parser(), {}
    monkeypatch.setattr(evaluate, "sheet", lambda name, pictures, titles: shown.update({name: titles}))
    red = scenes.Scene((scenes.Thing("car", "red"),), "meadow", "flat")
    asked = [red, replace(red, background="sea"), red, replace(red, things=(scenes.Thing("car", "blue"),), style="ink")]
    pictures = scenes.pictures([scenes.Sample(red, 1)] * 4, models.PICTURE)
    report = evaluation.examine(judge, pictures, asked)
    row = SimpleNamespace(pictures=pictures, asked=asked, prompts=list("abcd"), report=report)
    evaluate.painted_sheets(judge, row)
    assert shown == {"successes": ["a", "c"], "failures": ["(background) b", "(colour, style) d"]}


def test_a_captioner_without_fault_leaves_no_sheet_and_another_shows_what_it_said(monkeypatch):
    shown, drawn = {}, train_captioner.asked_of("held-out", 3)
    monkeypatch.setattr(evaluate, "sheet", lambda name, pictures, titles, count: shown.update({name: titles}))
    said = [scenes.caption(one.scene, random.Random(0)) for one in drawn]
    evaluate.failures_of_captioner(said)
    assert not shown
    evaluate.failures_of_captioner([said[0], "nothing", said[2]])
    assert shown == {"captioner": ["“nothing”"]}


CARDS = sorted((runtime.data_dir() / "models").glob("*/README.md"))


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.parent.name)
def test_a_card_tells_how_the_model_is_remade_where_it_fails_and_what_one_may_do_with_it(card):
    told = card.read_text(encoding="utf-8")
    assert re.search("licence", told, re.IGNORECASE)
    for script in re.findall(r"\btrain_\w+\.py", told):
        assert (runtime.data_dir().parent / "scripts" / script).is_file()
    for picture in re.findall(r"!\[.+\]\((.+)\)", told):
        assert (card.parent / picture).is_file()
    if "## Fails" not in told:  # those proposed by new_style.py have their own headings, and their recipe beside them
        assert "**Fails**" in told and "train_" in told


def test_the_text_encoder_is_asked_for_what_a_caption_says_and_not_for_what_it_leaves_out():
    def answered(text):
        answers = train_text_encoder.answers(scenes.read_caption(text))
        asked = zip(train_text_encoder.QUESTIONS.items(), answers, strict=True)
        return {question: options[answer] for (question, options), answer in asked}

    single = answered("two small red cats at sea")
    assert single["name"] == "cat" and single["count"] == 2 and single["background"] == "sea"
    assert single["style"] is None and single["second name"] is None and single["relation"] is None
    pair = answered("neon sign of a blue star to the right of a green boat")
    assert (pair["name"], pair["second name"], pair["second colour"]) == ("boat", "star", "blue")
    assert pair["relation"] == "left of" and pair["size"] is None and pair["style"] == "neon"


def test_what_the_text_encoder_hears_states_true_facts_in_both_languages():
    languages = set()
    for sample in scenes.samples(60):
        text = train_text_encoder.told(sample.scene.facts, random.Random(sample.seed))
        assert evaluation.agrees(text, sample.scene)
        languages.add(text.isascii())
    assert languages == {True, False}


def test_composed_scenes_keep_their_facts_and_stand_where_the_words_say():
    for sample in scenes.samples(300, seed=4):
        scene = adaptation.composed(sample).scene
        assert scene.facts == sample.scene.facts and scene.background == sample.scene.background
        first, *others = scene.things
        if scene.is_pair:
            (second,) = others
            apart = (second.x - first.x, second.y - first.y)
            assert first.kind[1:] == (scene.facts.groups[0].colour, scene.facts.groups[0].name)
            assert apart == {"left of": (0.5, 0), "above": (0, 0.5)}[scene.facts.relation]
        else:
            assert len({(one.x, one.y) for one in scene.things}) == len(scene.things)


def test_the_map_of_the_text_encoder_is_of_the_scene_that_its_caption_tells():
    tokenizer, samples = models.load("tokenizer"), scenes.samples(3, task="pair")
    lesson = train_text_encoder.Lesson(tokenizer)
    batch = lesson(samples)
    torch.testing.assert_close(batch["map"], models.meaning([adaptation.composed(s) for s in samples], 8))
    heads = {"questions": nn.Linear(models.TEXT[1], sum(map(len, train_text_encoder.QUESTIONS.values())))}
    heads |= {"encoder": models.text_encoder(tokenizer), "map": train_text_encoder.Map()}
    heads["ends"] = nn.Linear(models.TEXT[1], 2 + train_text_encoder.OF_A_THING)
    model = nn.ModuleDict(heads)
    train_text_encoder.objective(model, batch).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert 0 <= train_text_encoder.placed(model, lesson, 4) <= 0.5, "an untrained map cannot know"


def test_what_two_things_are_stands_at_the_end_of_the_padded_caption():
    scene = adaptation.composed(scenes.sample(2, task="pair")).scene
    (x, y, *first), (z, w, *second) = train_text_encoder.told_at_the_end(scene)
    assert ((x, y), (z, w)) == {"left of": ((-1, 0), (1, 0)), "above": ((0, -1), (0, 1))}[scene.facts.relation]
    whole = models.meaning([scene], 8)[0, -train_text_encoder.OF_A_THING :]
    for thing, told in zip(scene.things, (first, second), strict=True):
        assert whole[:, int(8 * thing.y), int(8 * thing.x)].tolist() == told
    two = replace(scene.things[0], x=0.25), replace(scene.things[0], x=0.75)
    rows = train_text_encoder.told_at_the_end(replace(scene, things=two))
    assert rows == [[0, 0, *first]] * 2, "copies have no order"


def test_inner_blocks_are_asked_where_they_lie_and_what_is_there_and_the_denoiser_stays_as_it_is():
    unet, tokenizer, lent = models.denoiser(), models.load("tokenizer"), scenes.samples(3)
    drawn = [train_text_to_image.chosen(one, 1) for one in lent]
    names = set(unet.state_dict())
    parts = {"text_encoder": models.text_encoder(tokenizer), "unet": unet, "inner": train_text_to_image.Inner(unet)}
    model = nn.ModuleDict(parts)
    code = models.PatchCode.fit(scenes.pictures(scenes.samples(8)))
    batch = train_text_to_image.Lesson(code, tokenizer, seed=1)(lent)
    torch.testing.assert_close(batch["focus"].mean(), torch.tensor(1.0))
    assert set(unet.state_dict()) == names
    loss = train_text_to_image.objective(diffusion.Schedule.cosine())(model, batch, runtime.generator(0))
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    for head in model["inner"].heads:  # who says nothing errs by the whole truth
        nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    along = torch.linspace(-1, 1, 16).expand(3, 1, 16, 16)
    truth = torch.cat([along, along.mT, models.meaning(drawn)], 1)
    wanted = [nn.functional.adaptive_avg_pool2d(truth, side).square().mean() for side in (8, 4, 4, 4)]
    torch.testing.assert_close(model["inner"](batch["latents"].float()), sum(wanted) / 4)


def code_of_few():
    """A linear code measured on twenty pictures."""
    return models.PatchCode.fit(scenes.pictures(scenes.samples(20), models.PICTURE))


def test_a_model_that_copies_is_found_out_whatever_the_prompts(pipe, monkeypatch):
    pairs, asked = evaluate.taught(60), evaluation.questions(4, "test")
    drawn = [one for one, _ in pairs]
    own = scenes.pictures(drawn, models.PICTURE)
    taught = {text: picture for (_, text), picture in zip(pairs, own, strict=True)}
    monkeypatch.setattr(evaluate, "by_batches", lambda pipe, prompts, *_: torch.stack([taught[p] for p in prompts]))
    args = SimpleNamespace(library=60, count=4, seeds=1, scale=2.0)
    row = SimpleNamespace(asked=asked, pictures=own[: len(asked)])
    rows = evaluate.memorised(pipe, row, args)
    assert [float(reached) for *_, reached in rows] == [0, 0], "its own pictures, given back"
    assert all(0 < float(re.search(r"copies: ([\d.]+)", asked)[1]) < 0.3 for *_, asked, _ in rows)
    row.pictures = scenes.pictures([adaptation.composed(one) for one in asked], models.PICTURE)
    again = [replace(one, seed=one.seed + 1) for one in evaluation.questions(20, "test")]
    monkeypatch.setattr(evaluate, "by_batches", lambda pipe, prompts, *_: scenes.pictures(again, 128)[: len(prompts)])
    nearest, own = (float(reached) for *_, reached in evaluate.memorised(pipe, row, args))
    assert nearest == 1 and own > 0.8, "fresh drawings are no copies"


def test_what_the_generator_was_taught_is_what_its_lesson_dealt():
    *_, run = (run for run in models.recipe_of("text-to-image") if run["part"] == "denoiser")
    dealt = scenes.SceneStream("train", run["scenes"], 64, run["seed"]).batch(0)
    drawn = [train_text_to_image.chosen(one, run["seed"], run["tasks"]) for one in dealt]
    said = [(one, train_text_to_image.heard(one)) for one in drawn]
    assert evaluate.taught(64) == [pair for pair in said if pair[1]] and len(said) > len(evaluate.taught(64)) > 50
    tasks = [len(one.scene.things) > 1 for one in drawn]
    assert 0.6 < sum(tasks) / 64 < 0.9, "a quarter of them are of one thing"


def test_a_run_that_started_elsewhere_is_refused(tmp_path, monkeypatch):
    begun = partial(machine.begun, name="text-to-image", part="unet")
    new, more = SimpleNamespace(go_on=False), SimpleNamespace(go_on=True)
    folder = tmp_path / "runs" / "checkpoint"
    folder.mkdir(parents=True)
    assert begun(new, folder) == begun(more, folder) == begun(new, folder) == folder, "nothing was trained yet"
    (folder / "state.json").touch()
    assert begun(new, folder) == folder, "stopped, it goes on"
    with pytest.raises(SystemExit, match="started from the beginning, not from the shipped text.*another --folder"):
        begun(more, folder)
    folder.with_name("checkpoint.start").unlink()
    with pytest.raises(SystemExit, match="started from an unknown place, not from the beginning"):
        begun(new, folder)
    other = tmp_path / "other"
    begun(more, other)
    saved = other.with_name("other.previous")  # a save that was cut short
    saved.mkdir()
    (saved / "state.json").touch()
    assert begun(more, other) == other
    with pytest.raises(SystemExit, match="started from the shipped text-to-image.*, not from the beginning"):
        begun(new, other)
    with pytest.raises(SystemExit, match=r"not from the shipped text-to-image.* .with late 2\): name another"):
        begun(more, other, late=2.0)
    monkeypatch.setattr(machine, "_weights", lambda name, part: "01234567")  # shipped meanwhile
    with pytest.raises(SystemExit, match="not from the shipped text-to-image, 01234567"):
        begun(more, other)


def test_the_lesson_of_the_denoiser_is_of_training_scenes_each_told_or_not_told_at_all():
    lent, tokenizer = scenes.samples(120, seed=4), models.load("tokenizer")
    drawn = [train_text_to_image.chosen(one, 4) for one in lent]
    assert {scenes.split_of(one.scene) for one in drawn} <= {"train"} and len({one.scene for one in drawn}) > 115
    texts = [train_text_to_image.heard(one) for one in drawn]
    batch = train_text_to_image.Lesson(code_of_few(), tokenizer, seed=4)(lent[:8])
    told = [tokenizer.decode(row, skip_special_tokens=True) for row in batch["tokens"]]
    assert told == [tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) for text in texts[:8]]
    assert 4 < texts.count("") < 25
    for text, one in zip(texts, drawn, strict=True):
        read = scenes.read_caption(text) if text else one.scene.facts
        assert {group.name for group in read.groups} == {group.name for group in one.scene.facts.groups}


def test_pairs_stand_where_the_words_say_from_pure_noise_on(pipe):
    sides = train_text_to_image.sides(pipe.unet, pipe.text_encoder, pipe.tokenizer, 24)
    assert 0.8 < sides < 1.2
    new = models.denoiser()
    assert abs(train_text_to_image.sides(new, pipe.text_encoder, pipe.tokenizer, 24)) < 0.2, "untrained"


def test_families_differ_by_a_fact_or_two_and_stay_in_the_training_split():
    made, changed = [one.scene for one in train_clip.families(400)], set()
    assert {scenes.split_of(scene) for scene in made} == {"train"}
    for start in range(0, 400, train_clip.KIN):
        kin = [scene.facts for scene in made[start : start + train_clip.KIN]]
        assert len(set(kin)) == train_clip.KIN
        for other in kin[1:]:
            fields = [name for name, value in vars(other).items() if value != getattr(kin[0], name)]
            assert len(fields) == 1
            changed.update(fields)
    assert changed == {"groups", "relation", "background", "style"}


def test_a_batch_of_clip_holds_whole_families_and_the_loss_reaches_both_towers():
    samples, tokenizer = train_clip.families(16), models.load("tokenizer")
    made = train_clip.Told(samples, scenes.pictures_as_bytes(samples), tokenizer)
    batch = made(torch.tensor([2, 0]), 0)
    drawn = scenes.pictures_as_bytes(samples[8:12] + samples[:4])
    assert torch.equal(batch["pictures"], eyes.shifted(drawn, 8))  # pass 0, first sample 8
    assert len(batch["tokens"]) == 8 and torch.equal(batch["scene"], made.numbers[[8, 9, 10, 11, 0, 1, 2, 3]])
    model = nn.ModuleDict({"clip": models.clip(tokenizer), "asked": eyes.Asked(128, set())})
    assert train_clip.objective(model, training.share(batch, 1, 2)).isfinite(), "one process of two"
    train_clip.objective(model, batch).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_a_part_of_a_picture_keeps_the_part_of_the_latent_that_belongs_to_it():
    (sample,) = scenes.samples(1)
    pictures, latents = train_autoencoder.pictures_of([sample]), models.meaning([sample])
    code = code_of_few()
    latents = torch.cat([code.encode(pictures), latents], 1)
    pixels, places = train_autoencoder.part(pictures[0], latents[0], sample)
    assert places.shape == (models.LATENT[0], train_autoencoder.WINDOW, train_autoencoder.WINDOW)
    torch.testing.assert_close(code.encode(pixels[None])[0], places[: models.LOOK])
    assert places[models.LOOK + 6].max() == 1, "no thing in the part"


def test_a_lesson_of_the_autoencoder_teaches_the_encoder_both_halves_and_the_decoder():
    model = models.autoencoder(widths=(8, 8, 8, 8))
    code = code_of_few()
    batch = train_autoencoder.lesson(code, scenes.samples(4))
    train_autoencoder.objective(model, batch, runtime.generator(0)).backward()
    assert batch["pictures"].shape[-1] == train_autoencoder.CELL * batch["latents"].shape[-1]
    halves = model.quant_conv.weight.grad[: models.LATENT[0]].flatten(1).norm(dim=1)
    assert (halves > 0).all() and (model.decoder.conv_in.weight.grad.flatten(2).norm(dim=(0, 2)) > 0).all()


def test_a_renewed_pipeline_has_the_new_decoder_and_the_encoder_that_others_were_taught_on(tmp_path, monkeypatch):
    before, new = models.load("text-to-image", dtype=torch.float32), models.autoencoder()
    for name in ("text-to-image", "tokenizer"):
        shutil.copytree(models.folder_of(name), tmp_path / "models" / name)
    monkeypatch.setenv("AIGC_DATA", str(tmp_path))
    monkeypatch.setattr(train_text_to_image, "faithful", lambda vae: "9.99")
    new.save_pretrained(tmp_path / "run" / "model")
    run = dict(part="autoencoder", steps=7, batch=3, rate=0.001, optimiser="Muon", machine="a card", minutes=2)
    (tmp_path / "run" / models.RECIPE).write_text(json.dumps([run]))
    train_text_to_image.renew(tmp_path / "run")
    after, half = models.load("text-to-image", dtype=torch.float32), new.half().float()
    for made, wanted in (
        (after.vae.encoder, before.vae.encoder),
        (after.vae.quant_conv, before.vae.quant_conv),
        (after.vae.decoder, half.decoder),
        (after.vae.post_quant_conv, half.post_quant_conv),
        (after.unet, before.unet),
        (after.text_encoder, before.text_encoder),
    ):
        torch.testing.assert_close(dict(made.named_parameters()), dict(wanted.named_parameters()), rtol=0, atol=0)
    first, *rest = models.recipe_of("text-to-image")
    assert first == run | {"shipped": "decoder"} and all(one["part"] != "autoencoder" for one in rest)
    told = "21 pictures and parts of pictures (7 × 3, Muon 0.001, 2 minutes on a card, the decoder alone shipped"
    assert told in (models.folder_of("text-to-image") / "README.md").read_text(encoding="utf-8")
