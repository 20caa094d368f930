"""A new thing: pictures of any kind, one new word, its lesson, and what it is judged by."""

import json
import random
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from aigc_course import adaptation, diffusion, evaluation, lora, losses, models, runtime, sampling, scenes

THINGS = Path(__file__).parents[1] / "data" / "things"


# --- your own pictures


def save(folder, name, mode="RGB", size=(40, 30), colour=0):
    Image.new(mode, size, colour).save(folder / name)


def test_pictures_of_every_kind_and_size_become_one_batch(tmp_path):
    for k, (mode, size) in enumerate(
        [("RGB", (300, 100)), ("RGBA", (31, 77)), ("L", (128, 128)), ("P", (9, 9)), ("LA", (64, 65))]
    ):
        save(tmp_path, f"{k}.png", mode, size)
    save(tmp_path, "5.JPG", "CMYK", (50, 20), (0, 0, 0, 0))
    (tmp_path / "notes.txt").write_text("no picture")
    found = adaptation.own_pictures(tmp_path)
    assert found.shape == (6, 3, models.PICTURE, models.PICTURE) and found.dtype == torch.float32
    assert found.min() >= -1 and found.max() <= 1


def test_what_is_transparent_becomes_white_and_grey_stays_grey(tmp_path):
    save(tmp_path, "a.png", "RGBA", colour=(255, 0, 0, 0))
    save(tmp_path, "b.png", "L", colour=51)
    clear, grey = adaptation.own_pictures(tmp_path, least=2, side=8)
    assert clear.eq(1).all()
    assert torch.allclose(grey, torch.tensor(51 / 127.5 - 1))


def test_the_middle_square_is_kept(tmp_path):
    wide = Image.new("RGB", (90, 30), "black")
    wide.paste("white", (30, 0, 60, 30))
    wide.save(tmp_path / "wide.png")
    assert adaptation.own_pictures(tmp_path, least=1, side=30).eq(1).all()


def test_pictures_at_their_own_size_are_kept_pixel_for_pixel():
    drawn = adaptation.own_pictures(THINGS / "robot")
    pixels = torch.stack([torch.from_numpy(_array(file)) for file in sorted((THINGS / "robot").glob("*.png"))])
    assert torch.equal(drawn, pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)


def _array(file):
    import numpy as np

    return np.asarray(Image.open(file)).copy()


def test_an_empty_folder_and_one_that_is_not_there_and_too_few_get_a_sentence_each(tmp_path):
    with pytest.raises(ValueError, match=r"^no picture in .*: put 3 or more there"):
        adaptation.own_pictures(tmp_path)
    with pytest.raises(ValueError, match="there is no folder nowhere: make it"):
        adaptation.own_pictures(tmp_path / "nowhere")
    save(tmp_path, "a.png")
    with pytest.raises(ValueError, match=r"^1 picture in .*: put 3 or more there"):
        adaptation.own_pictures(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"0" * 40])
def test_an_unreadable_picture_is_named(tmp_path, content):
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as a picture: save it again as PNG"):
        adaptation.own_pictures(tmp_path, least=1)


def test_a_picture_cut_short_is_named(tmp_path):
    whole = (THINGS / "robot" / "6.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.png cannot be read"):
        adaptation.own_pictures(tmp_path, least=1)


# --- captions


def told(folder, captions):
    (folder / "captions.json").write_text(captions if isinstance(captions, str) else json.dumps(captions))


def test_captions_come_in_the_order_of_the_pictures_with_your_word(tmp_path):
    for name in ("b.png", "a.png"):
        save(tmp_path, name)
    told(tmp_path, {"b.png": ["a {thing} at sea"], "a.png": ["one {thing}", "{thing}!"]})
    assert adaptation.own_captions(tmp_path, "<x>") == [["one <x>", "<x>!"], ["a <x> at sea"]]


@pytest.mark.parametrize(
    ("captions", "said"),
    [
        ({"a.png": ["a {thing}"], "b.png": ["a {thing}"]}, "b.png has a caption, but no picture"),
        ({}, "a.png has a picture, but no caption"),
        ({"a.png": []}, "the captions of a.png must be a list"),
        ({"a.png": "a {thing}"}, "the captions of a.png must be a list"),
        ({"a.png": ["a robot"]}, "the captions of a.png must be a list"),
        ("{", "captions.json is damaged"),
        ("[1, 2]", "captions.json is damaged"),
    ],
)
def test_each_fault_of_a_captions_file_gets_its_sentence(tmp_path, captions, said):
    save(tmp_path, "a.png")
    told(tmp_path, captions)
    with pytest.raises(ValueError, match=said):
        adaptation.own_captions(tmp_path, "<x>")


def test_a_missing_captions_file_is_said(tmp_path):
    with pytest.raises(ValueError, match="there is no captions.json"):
        adaptation.own_captions(tmp_path, "<x>")


@pytest.mark.parametrize("thing", scenes.NEW_THINGS)
def test_the_shipped_things_are_six_pictures_with_captions_that_name_no_thing_of_the_world(thing):
    captions = adaptation.own_captions(THINGS / thing, "thing")
    assert len(adaptation.own_pictures(THINGS / thing)) == len(captions) == 6
    words = set(" ".join(way for ways in captions for way in ways).split())
    assert not words & {noun.one for noun in scenes.THINGS.values()}
    for way in (way for ways in captions for way in ways):
        assert not any(place in way for place in ("night", "stars", "snow", "winter", "夜", "雪"))


# --- a new word


@pytest.fixture(scope="module")
def shipped():
    return models.load("text-to-image")


@pytest.fixture
def pipe(shipped):
    """The shipped pipeline with a small denoiser, and a text encoder and a tokenizer of its own."""
    torch.manual_seed(0)
    encoder = CLIPTextModel(CLIPTextConfig(**{**shipped.text_encoder.config.to_dict(), "num_hidden_layers": 1}))
    parts = shipped.components | {"text_encoder": encoder.eval(), "tokenizer": models.load("tokenizer")}
    return StableDiffusionPipeline(**parts)


def rows(pipe):
    return pipe.text_encoder.get_input_embeddings().weight.detach().clone()


def test_a_new_word_is_one_token_that_starts_at_the_mean_of_its_like(pipe):
    before = rows(pipe)
    row = adaptation.new_word(pipe, "<robot>", like=" cat house")
    assert pipe.tokenizer.tokenize("a <robot>")[-1] == "<robot>" and row == len(before)
    assert torch.equal(rows(pipe)[:-1], before)
    known = pipe.tokenizer(" cat house", add_special_tokens=False).input_ids
    assert torch.equal(rows(pipe)[row], before[known].mean(0))


def test_only_the_row_of_the_new_word_can_learn(pipe):
    row = adaptation.new_word(pipe, "<robot>")
    before, learns = rows(pipe), [p for part in (pipe.unet, pipe.vae, pipe.text_encoder) for p in part.parameters()]
    assert sum(p.requires_grad for p in learns) == 1
    optimiser = torch.optim.AdamW([p for p in learns if p.requires_grad], lr=0.1, weight_decay=0)
    for _ in range(3):
        tokens = pipe.tokenizer("a red <robot> at sea", return_tensors="pt").input_ids
        pipe.text_encoder(tokens).last_hidden_state.square()[..., 0].sum().backward()
        optimiser.step()
    moved = (rows(pipe) != before).any(1)
    assert moved.nonzero().flatten().tolist() == [row]


def test_the_mask_can_be_taken_away(pipe):
    embedding = torch.nn.Embedding(4, 2)
    hook = adaptation.only_row(embedding, 1)
    embedding.weight.sum().backward()
    assert embedding.weight.grad.tolist() == [[0, 0], [1, 1], [0, 0], [0, 0]]
    hook.remove()
    embedding.weight.sum().backward()
    assert embedding.weight.grad.sum() == 10
    with pytest.raises(ValueError, match="there is no row 4"):
        adaptation.only_row(embedding, 4)


@pytest.mark.parametrize(
    ("token", "said"), [("", "cannot be a token"), ("my robot", "without spaces"), ("a", "a token already")]
)
def test_a_word_that_cannot_be_new_is_refused_and_nothing_changes(pipe, token, said):
    size = len(pipe.tokenizer)
    with pytest.raises(ValueError, match=said):
        adaptation.new_word(pipe, token)
    assert len(pipe.tokenizer) == len(rows(pipe)) == size


def test_the_library_reads_a_saved_word(pipe, tmp_path):
    adaptation.new_word(pipe, "<robot>", like=" cat")
    file = adaptation.save_token(pipe, "<robot>", tmp_path / "new")
    assert [each.name for each in (tmp_path / "new").iterdir()] == [file.name] == ["learned_embeds.safetensors"]
    fresh = models.load("text-to-image")
    fresh.load_textual_inversion(tmp_path / "new")
    fresh.text_encoder.load_state_dict(pipe.text_encoder.state_dict(), strict=False)
    assert torch.equal(rows(fresh)[-1], rows(pipe)[-1])
    prompt = "a large <robot> in the snow"
    assert fresh.tokenizer(prompt).input_ids == pipe.tokenizer(prompt).input_ids


def test_a_word_that_is_not_there_cannot_be_saved(pipe, tmp_path):
    with pytest.raises(ValueError, match="has no token '<cat>'"):
        adaptation.save_token(pipe, "<cat>", tmp_path / "new")
    assert not (tmp_path / "new").exists()


# --- the lesson


def test_moved_pictures_keep_what_they_show():
    x = torch.zeros(2, 3, 32, 32)
    x[:, :, 16, 16] = torch.tensor([1.0, 0.5])[:, None]
    many = adaptation.moved(x, copies=5, generator=runtime.generator(0), most=8)
    assert many.shape == (10, 3, 32, 32)
    assert many.amax((1, 2, 3)).tolist() == [1, 0.5] * 5
    assert len({tuple(one[0].nonzero()[0].tolist()) for one in many}) > 5


def test_settled_latents_hold_one_whole_box_and_one_code():
    drawn = [scenes.Sample(scene, 0) for scene in adaptation.elsewhere(["sea", "city"], ["flat"], ["large"])]
    true = models.meaning(drawn)
    look = torch.randn(len(drawn), models.LOOK, *true.shape[-2:], generator=runtime.generator(0))
    told = adaptation.settled(torch.cat([look, 0.6 * true], 1))
    assert torch.equal(told[:, : models.LOOK], look)
    assert torch.equal(told[:, models.LOOK : models.LOOK + 6], true[:, :6])
    inside = told[:, models.LOOK + 6]
    assert set(inside.unique().tolist()) == {0, 1} and (inside - true[:, 6]).abs().max() < 1
    codes = told[:, models.LOOK + 9 :].movedim(1, -1)[inside == 1]
    assert torch.allclose(codes, codes[:1].expand_as(codes)) and torch.equal(codes[0].sign(), true[0, 9:, 8, 8].sign())


def test_latents_in_which_nothing_stands_are_settled_too():
    assert adaptation.settled(torch.zeros(2, *models.LATENT)).isfinite().all()


def test_a_lesson_needs_captions_for_each_picture(shipped):
    with pytest.raises(ValueError, match="2 pictures, but captions for 1"):
        adaptation.lesson(shipped, torch.zeros(2, 3, 128, 128), [["a <x>"]])
    with pytest.raises(ValueError, match="2 latents, but captions for 1"):
        adaptation.Lesson(torch.zeros(2, *models.LATENT), [["a"]])


def test_what_is_remembered_is_what_the_model_draws(shipped):
    prompts = ["a red house at sea", "a blue cat"]
    told = adaptation.remembered(shipped, prompts, steps=1, seed=3)
    assert told.captions == [[prompt] * 3 + [""] for prompt in prompts]
    drawn = sampling.words_to_pictures(shipped, prompts, steps=1, seed=3)
    assert torch.allclose(sampling.decode(shipped, told.latents), drawn, atol=1e-4)


def test_a_lesson_teaches_the_word_and_the_low_rank_change_and_nothing_else():
    pipe = models.load("text-to-image")
    row = adaptation.new_word(pipe, "<robot>")
    lora.add(pipe.unet, 2, ["attn2.to_v"], generator=runtime.generator(0))
    frozen = {name: p.clone() for name, p in pipe.unet.named_parameters() if "low_rank" not in name}
    before, change = rows(pipe), [p.clone() for p in lora.parameters(pipe.unet)]
    own = adaptation.Lesson(torch.randn(2, *models.LATENT), [["a <robot>"], ["a <robot> at sea", "<robot>"]])
    history = adaptation.teach(pipe, own, steps=2, prior=own, batch=2, progress=False)
    assert len(history.losses) == 2
    assert (rows(pipe) != before).any(1).nonzero().flatten().tolist() == [row]
    assert all(not torch.equal(a, b) for a, b in zip(change, lora.parameters(pipe.unet), strict=True))
    now = dict(pipe.unet.named_parameters())
    assert all(torch.equal(now[name], p) for name, p in frozen.items())


def test_a_lesson_that_was_cut_short_goes_on_where_it_stood(tmp_path):
    def learnt(steps, remember=2, **fit):
        pipe = models.load("text-to-image")
        adaptation.new_word(pipe, "<robot>")
        lora.add(pipe.unet, 1, ["attn2.to_v"], generator=runtime.generator(0))
        own = adaptation.Lesson(torch.randn(3, *models.LATENT, generator=runtime.generator(1)), [["a <robot>"]] * 3)
        dials = dict(batch=1, remember=remember, progress=False, schedule="constant", precision="fp32")
        return adaptation.teach(pipe, own, steps, prior=own, **dials, **fit).losses

    class Cut(Exception):
        pass

    def cut(step):
        if step.number == 3:
            raise Cut

    whole, kept = learnt(3), dict(folder=tmp_path / "run", save_every=2)
    with pytest.raises(Cut):
        learnt(3, **kept, on_step=cut)
    with pytest.raises(ValueError, match=r"other batches .*'prior': \[3, 2\].* there, .*'prior': \[3, 1\].* here"):
        learnt(3, remember=1, **kept)
    assert learnt(3, **kept) == whole


# --- the loss


def denoiser(x, t, encoder_hidden_states):
    from types import SimpleNamespace

    return SimpleNamespace(sample=x * encoder_hidden_states.mean((1, 2)).view(-1, 1, 1, 1))


def test_prior_preservation_is_the_sum_of_two_denoising_losses():
    schedule = diffusion.Schedule.from_scheduler(models.scheduler())
    own, prior = ({"z": torch.randn(n, 4, 2, 2), "text": torch.randn(n, 5, 3)} for n in (2, 6))
    how = dict(schedule=schedule, gamma=None)
    generator = runtime.generator(1)
    parts = [losses.denoising(denoiser, **each, **how, generator=generator) for each in (own, prior)]
    for weight in (0, 0.5, 2):
        loss = losses.prior_preservation(denoiser, own, prior, weight, **how, generator=runtime.generator(1))
        assert torch.allclose(loss, parts[0] + weight * parts[1])
    with pytest.raises(ValueError, match="reward forgetting"):
        losses.prior_preservation(denoiser, own, prior, -1, **how, generator=generator)


# --- the judges


def test_drawings_of_the_thing_are_seen_and_drawings_of_others_are_not():
    judge, parser = evaluation.load_newcomers(), evaluation.load_parser()
    asked = adaptation.elsewhere(["night", "snow"], ["ink", "pixel"])
    found = adaptation.portraits(judge, parser, scenes.new_pictures(asked, "robot"), asked, "robot")
    assert len(asked) == 8 and found["thing"].float().mean() > 0.7
    assert torch.equal(found["all"], found["thing"] & found["place"] & found["style"])
    plain = adaptation.portraits(judge, parser, scenes.pictures(asked), asked, "robot")
    assert not plain["thing"].any()
    with pytest.raises(ValueError, match="8 pictures of 1 scenes"):
        adaptation.portraits(judge, parser, scenes.pictures(asked), asked[:1], "robot")


def test_elsewhere_asks_for_every_size_place_and_style_once():
    asked = adaptation.elsewhere(["night", "snow"], ["ink", "neon"])
    assert len({(s.things[0].size, s.background, s.style) for s in asked}) == len(asked) == 8
    assert scenes.new_caption(asked[0], random.Random(0), thing="<robot>").count("<robot>") == 1
