"""The models room: the cast are stock classes, and a damaged file is found before it is used."""

import json
import os
import random
import re
import shutil
import socket
from functools import partial
from pathlib import Path

import huggingface_hub
import pytest
import torch
from diffusers import AutoPipelineForImage2Image, DiffusionPipeline, StableDiffusionPipeline
from safetensors.torch import load_file
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch.nn import functional as F
from transformers import AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerFast, VisionEncoderDecoderModel

from aigc_course import models, runtime, scenes

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "a", "red", "blue", "circle", "house", "at", "sea"]
WEIGHTS = "unet/weights.safetensors"
COMMIT = "0123456789abcdef" * 2 + "01234567"


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word."""
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    special = dict(pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=models.TEXT[0], **special)


def tiny_pipeline():
    """The cast as it is built, but narrow and untrained."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    vae = models.autoencoder(widths=(8, 8, 8, 8))
    pipe = models.pipeline(vae, models.text_encoder(tokenizer, 1), tokenizer, models.denoiser((16, 16)))
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A data folder with one sealed model in it."""
    monkeypatch.setenv("AIGC_DATA", str(tmp_path))
    folder = models.folder_of("toy")
    (folder / "unet").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "unet" / "weights.safetensors").write_bytes(bytes(range(200)))
    models.seal(folder)
    return folder


# --- the cast -----------------------------------------------------------------------------------------------


def test_the_autoencoder_turns_a_picture_into_a_latent_and_back():
    vae = models.autoencoder(widths=(8, 8, 8, 8))
    pictures = torch.zeros(2, 3, models.PICTURE, models.PICTURE)
    posterior = vae.encode(pictures).latent_dist
    assert posterior.mean.shape == (2, *models.LATENT)
    assert vae.decode(posterior.mean).sample.shape == pictures.shape


def test_the_text_encoder_gives_each_token_the_vector_that_the_denoiser_reads():
    tokens = torch.zeros(2, models.TEXT[0], dtype=torch.long)
    text = models.text_encoder(tiny_tokenizer(), layers=1)(tokens).last_hidden_state
    latents = torch.zeros(2, *models.LATENT)
    unet = models.denoiser((16, 16))
    assert text.shape == (2, *models.TEXT)
    assert unet(latents, 999, encoder_hidden_states=text).sample.shape == latents.shape


def test_the_denoiser_has_four_heads_at_every_resolution():
    attention = [m for m in models.denoiser((16, 32)).modules() if type(m).__name__ == "Attention"]
    assert attention and {m.heads for m in attention} == {4}


def test_clip_compares_pictures_with_words_and_pools_at_the_end_of_a_sentence():
    tokenizer = models.load("tokenizer")
    clip = models.clip(tokenizer, width=32, layers=1).eval()
    ids = tokenizer(["a red cat", "a blue house in a meadow"], padding=True, return_tensors="pt").input_ids
    asked = clip(pixel_values=torch.zeros(2, 3, models.PICTURE, models.PICTURE), input_ids=ids)
    assert asked.logits_per_image.shape == (2, 2)
    last = [row.index(tokenizer.eos_token_id) for row in ids.tolist()]
    states = clip.text_model(input_ids=ids)
    torch.testing.assert_close(states.pooler_output, states.last_hidden_state[range(2), last])


def test_a_captioner_has_the_eyes_of_clip_and_the_tongue_of_the_language_model(tmp_path):
    tokenizer = tiny_tokenizer()
    clip, writer = models.clip(tokenizer, 32, 1), models.language_model(tokenizer, 32, 1)
    captioner = models.captioner(clip, writer)
    eyes, tongue = captioner.encoder.state_dict(), captioner.decoder.state_dict()
    assert all(torch.equal(eyes[name], value) for name, value in clip.vision_model.state_dict().items())
    assert all(torch.equal(tongue[name], value) for name, value in writer.state_dict().items())
    captioner.save_pretrained(tmp_path)
    loaded = VisionEncoderDecoderModel.from_pretrained(tmp_path)
    pictures = torch.zeros(2, 3, models.PICTURE, models.PICTURE)
    begun = torch.ones(2, 1, dtype=torch.long)
    said = loaded.generate(pixel_values=pictures, decoder_input_ids=begun, max_new_tokens=3)
    assert said.shape[0] == 2 and 1 < said.shape[1] <= 4


@pytest.fixture(scope="module")
def drawn():
    return scenes.pictures(scenes.samples(60), models.PICTURE)


def test_the_patch_code_is_that_of_the_principal_components(drawn):
    code = models.PatchCode.fit(drawn, channels=4, patch=4)
    patches = F.unfold(drawn, 4, stride=4).mT.flatten(0, 1).double()  # (B · 16 · 16, 48)
    _, values, axes = torch.linalg.svd(patches - patches.mean(0), full_matrices=False)
    assert code.basis.shape == (48, 4)
    alike = (axes[:4] @ code.basis.double()).abs()
    torch.testing.assert_close(alike, torch.eye(4).double(), rtol=0, atol=1e-4)
    spread = values[:4] / (len(patches) - 1) ** 0.5
    torch.testing.assert_close(code.spread.double() ** 2, spread * spread.mean(), rtol=1e-3, atol=0)


def test_latents_of_the_patch_code_have_mean_0_and_on_average_variance_1(drawn):
    latents = models.PatchCode.fit(drawn).encode(drawn).transpose(0, 1).flatten(1)  # (C, all places)
    covariance = latents.cov()
    variance = covariance.diagonal()
    assert latents.shape[0] == models.LOOK and latents.mean(1).abs().max() < 1e-4
    assert variance.mean() == pytest.approx(1, abs=1e-3) and (variance.diff() <= 0).all()
    assert (covariance - variance.diag()).abs().max() < 1e-3


def test_a_patch_code_as_wide_as_a_patch_loses_nothing(drawn):
    code = models.PatchCode.fit(drawn, channels=12, patch=2)
    latents = code.encode(drawn[:2])
    patches = latents.permute(0, 2, 3, 1) * code.spread @ code.basis.T + code.mean  # (B, 32, 32, 12)
    pictures = F.fold(patches.flatten(1, 2).mT, models.PICTURE, 2, stride=2)
    torch.testing.assert_close(pictures, drawn[:2], rtol=0, atol=1e-4)


def test_a_place_in_the_patch_code_sees_its_own_patch_alone(drawn):
    code = models.PatchCode.fit(drawn)
    picture, side = drawn[:1], models.PICTURE // models.LATENT[1]
    changed = picture.clone()
    changed[:, :, 2 * side : 3 * side, 5 * side : 6 * side] *= -0.5
    moved = (code.encode(changed) - code.encode(picture)).abs().amax((0, 1)) > 1e-6
    assert code.encode(picture).shape == (1, models.LOOK, *models.LATENT[1:])
    assert moved.nonzero().tolist() == [[2, 5]]


def told(**changes):
    """The meaning of one scene: (C, 16, 16)."""
    thing = scenes.Thing(**{"name": "house", "colour": "red", "size": "large", "x": 0.5, "y": 0.5} | changes)
    return models.meaning([scenes.Scene((thing,), "sea", "ink")])[0]


def told_of(place, style):
    """The meaning of a scene in a place and a style."""
    return models.meaning([scenes.Scene((scenes.Thing("cat", "red"),), place, style)])[0]


def test_every_word_has_a_meaning_of_its_own():
    for options, place in (
        ([told(name=name)[9:13, 8, 8] for name in scenes.THINGS], "name"),
        ([told(colour=colour)[13:16, 8, 8] for colour in scenes.COLOURS], "colour"),
        ([told_of("sea", style)[:6, 0, 0] for style in scenes.STYLES], "style"),
        ([told_of(place, "flat")[:6, 0, 0] for place in scenes.BACKGROUNDS], "place"),
    ):
        assert len({tuple(bits.tolist()) for bits in options}) == len(options), place
        assert all((bits.abs() > 0.4).any() for bits in options), place


def test_the_meaning_of_a_thing_fills_its_box_and_nothing_else():
    for size, half in scenes.SIZES.items():
        inside = told(size=size, x=0.25, y=0.5)[6]
        assert inside.sum().item() == pytest.approx((2 * half * 16) ** 2, rel=1e-4)  # its area, in places
        assert inside[:, 9:].abs().max() == 0 and inside[8, 4] == 1
    assert told()[6:, 0].abs().max() == 0 and (told()[:6].flatten(1).std(1) < 1e-6).all()


def test_the_meaning_of_a_thing_runs_from_minus_one_to_one_across_and_down_its_box():
    across, down = told()[7:9]
    row, column = across[8, 5:11], down[5:11, 8]
    assert (row.diff() > 0).all() and row.abs().max() <= 1 and torch.equal(row, column)
    assert row.mean().abs() < 1e-6


def test_a_later_thing_hides_the_meaning_of_an_earlier_one():
    red, blue = scenes.Thing("cat", "red", x=0.4), scenes.Thing("star", "blue", x=0.6)
    both = models.meaning([scenes.Scene((red, blue))])[0]
    alone = models.meaning([scenes.Scene((blue,))])[0]
    assert torch.equal(both[9:, 8, 9], alone[9:, 8, 9]) and not torch.equal(both[9:, 8, 5], alone[9:, 8, 5])


def test_the_pipeline_saves_and_loads_with_the_stock_classes_alone(tmp_path):
    pipe = tiny_pipeline()
    noise = torch.randn(1, *models.LATENT, generator=torch.Generator().manual_seed(0))
    ask = dict(num_inference_steps=2, latents=noise, output_type="pt")
    expected = pipe("a red circle", **ask).images
    pipe.save_pretrained(tmp_path / "pipe")
    assert not [file for file in tmp_path.rglob("*") if file.suffix in (".bin", ".pt", ".pkl")]
    loaded = DiffusionPipeline.from_pretrained(tmp_path / "pipe", local_files_only=True)
    loaded.set_progress_bar_config(disable=True)
    assert type(loaded) is StableDiffusionPipeline
    assert expected.shape == (1, 3, models.PICTURE, models.PICTURE)
    torch.testing.assert_close(loaded("a red circle", **ask).images, expected, rtol=0, atol=1e-5)


def test_the_same_parts_turn_one_picture_into_another():
    pipe = AutoPipelineForImage2Image.from_pipe(tiny_pipeline())
    pipe.set_progress_bar_config(disable=True)
    start = torch.zeros(1, 3, models.PICTURE, models.PICTURE)
    made = pipe("a red circle", image=start, strength=0.5, num_inference_steps=4, output_type="pt").images
    assert made.shape == start.shape and made.isfinite().all()


def tiny_upscaler(blocks=2):
    """An upscaler as it is built, but narrow, and with a last layer that paints something."""
    torch.manual_seed(0)
    model = models.Upscaler(width=8, blocks=blocks)
    torch.nn.init.normal_(model.last.weight, std=0.1)
    return model.eval()


def test_an_untrained_upscaler_is_a_bicubic_enlargement_of_any_size():
    pictures = torch.rand(2, 3, 5, 9) * 2 - 1
    expected = F.interpolate(pictures, scale_factor=4, mode="bicubic")
    assert expected.shape == (2, 3, 20, 36)
    assert torch.equal(models.Upscaler()(pictures), expected)


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_a_pixel_of_an_upscaler_depends_on_what_is_within_its_reach_and_on_no_more(blocks):
    model, middle = tiny_upscaler(blocks), 12
    pictures = torch.zeros(1, 3, 25, 25)
    changed = pictures.clone()
    changed[..., middle, middle] = 1.0
    with torch.no_grad():
        moved = (model(changed) - model(pictures)).abs().amax((0, 1)) > 0
    small = moved.unflatten(0, (25, 4)).unflatten(2, (25, 4)).any(3).any(1).nonzero()
    assert (small - middle).abs().max() == model.reach


def test_an_upscaler_loads_by_its_name_in_full_precision_and_is_at_most_a_megabyte(world):
    model = tiny_upscaler()
    pictures = torch.rand(1, 3, 8, 8)
    folder = models.save(model, "upscaler", "# A card\n", recipe=[{"steps": 1}])
    loaded = models.load("upscaler")
    assert type(loaded) is models.Upscaler and not loaded.training and loaded.settings == {"width": 8, "blocks": 2}
    assert {p.dtype for p in loaded.parameters()} == {runtime.dtype()}
    assert {w.dtype for w in load_file(folder / "model.safetensors").values()} == {torch.float16}
    torch.testing.assert_close(loaded.cpu().float()(pictures), model.float()(pictures))
    assert 2 * sum(p.numel() for p in models.Upscaler().parameters()) < 1e6


# --- save, load ---------------------------------------------------------------------------------------------


def test_a_sealed_folder_is_whole_even_when_it_is_sealed_again(world):
    models.verify(world)
    models.seal(world)
    models.verify(world)
    assert set(json.loads((world / models.MANIFEST).read_text())) == {"config.json", WEIGHTS}


def test_a_folder_takes_the_place_of_the_old_one_whole_or_not_at_all(world):
    def files():
        return {file: file.read_bytes() for file in world.rglob("*") if file.is_file()}

    before = files()

    def broken(folder):
        (folder / "half.txt").write_text("half")
        raise OSError("no room on the disk")

    with pytest.raises(OSError, match="no room"):
        models.put_in_place(world, broken, "# New")
    assert files() == before
    write = partial(shutil.copy, world / "config.json")
    assert models.put_in_place(world, write, "# New", [{"steps": 1}]) == world
    models.verify(world)
    assert {f.name for f in world.iterdir()} == {"config.json", "README.md", models.RECIPE, models.MANIFEST}
    assert [f.name for f in world.parent.iterdir()] == [world.name], "nothing is left beside it"


@pytest.mark.parametrize(
    ("harm", "state"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "damaged"),
        (lambda file: file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:]), "damaged"),
        (lambda file: file.unlink(), "missing"),
    ],
    ids=["truncated", "one bit flipped", "missing"],
)
def test_a_harmed_file_is_named_before_anything_is_loaded(world, harm, state):
    harm(world / WEIGHTS)
    with pytest.raises(ValueError, match=f"toy/{WEIGHTS} is {state}; restore it with: git checkout"):
        models.load("toy")


def test_a_harmed_manifest_is_named_too(world):
    text = (world / models.MANIFEST).read_text()
    (world / models.MANIFEST).write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match="toy/manifest.json is damaged"):
        models.verify(world)


def test_an_unknown_model_is_answered_by_the_names_that_there_are(world):
    with pytest.raises(ValueError, match="no model called 'tox'.*there are: toy"):
        models.load("tox")


def test_the_tokenizer_is_loaded_by_its_name(world):
    folder = models.folder_of("tokenizer")
    tiny_tokenizer().save_pretrained(folder)
    models.seal(folder)
    tokens = models.load("tokenizer")("a red circle")
    assert tokens.input_ids == [WORDS.index(w) for w in ("<s>", "a", "red", "circle", "</s>")]


def test_a_shipped_pipeline_has_its_card_and_loads_in_one_precision(world):
    folder = models.folder_of("toy-pipeline")
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "stale.safetensors").touch()
    assert models.save(tiny_pipeline(), "toy-pipeline", "# A card\n") == folder
    pipe = models.load("toy-pipeline")
    parts = pipe.unet, pipe.vae, pipe.text_encoder
    assert {p.dtype for part in parts for p in part.parameters()} == {runtime.dtype()}
    assert (folder / "README.md").read_text() == "# A card\n"
    stored = [load_file(file) for file in folder.rglob("*.safetensors")]
    assert {w.dtype for weights in stored for w in weights.values() if w.is_floating_point()} == {torch.float16}
    assert not (folder / "unet" / "stale.safetensors").exists()
    assert sorted(f.name for f in folder.parent.iterdir()) == ["toy", "toy-pipeline"]


def test_one_network_serves_few_steps_too(monkeypatch):
    asked = []
    monkeypatch.setattr(models.loading, "_opened", lambda folder, dtype: asked.append((folder, dtype)))
    for name in ("text-to-image", "text-to-image-fast"):
        models.load(name)
    models.load("text-to-image", dtype=torch.float16)
    folder = models.folder_of("text-to-image")
    assert asked == [(folder, torch.float32)] * 2 + [(folder, torch.float16)]


def test_what_was_loaded_is_shipped_again_without_a_word_on_where_it_lay(world):
    models.save(tiny_pipeline(), "toy-pipeline", "# A card\n")
    folder = models.save(models.load("toy-pipeline"), "again", "# A card\n")
    told = [file.read_text() for file in folder.rglob("*.json")]
    assert not [text for text in told if str(world.parent) in text or "_name_or_path" in text or "is_local" in text]


def test_a_shipped_network_loads_by_its_name_and_bare_in_one_precision(world):
    model, tokenizer = models.language_model(tiny_tokenizer(), width=16, layers=1), tiny_tokenizer()
    tokens = tokenizer("a red circle", return_tensors="pt").input_ids
    folder = models.save(model, "writer", "# A card\n", tokenizer)
    loaded, bare = models.load("writer"), GPT2LMHeadModel.from_pretrained(folder)
    assert type(loaded) is GPT2LMHeadModel and not loaded.training
    assert {loaded.dtype, bare.dtype} == {runtime.dtype()}
    expected = model.float().to(runtime.device())(tokens.to(runtime.device())).logits
    torch.testing.assert_close(loaded(tokens.to(runtime.device())).logits, expected)
    assert AutoTokenizer.from_pretrained(folder)("a red circle").input_ids == tokens[0].tolist()


def harmed(data: bytes, rng: random.Random) -> bytes:
    """Cut off somewhere, or with one bit flipped."""
    place = rng.randrange(len(data))
    flipped = bytes([data[place] ^ 1 << rng.randrange(8)])
    return rng.choice([data[:place], data[:place] + flipped + data[place + 1 :]])


def test_a_hundred_harmed_files_give_a_hundred_clear_errors_and_nothing_is_loaded(world, monkeypatch):
    folder, rng = models.save(tiny_pipeline(), "toy-pipeline", "# A card\n"), random.Random(0)
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".safetensors", ".json"))
    files.remove(folder / models.MANIFEST)
    assert {file.suffix for file in files} == {".safetensors", ".json"} and len(files) >= 8
    opened = []
    with monkeypatch.context() as patch:
        patch.setattr(DiffusionPipeline, "from_pretrained", lambda *_, **__: opened.append(1))
        for number in range(100):
            file = files[number % len(files)]
            whole, name = file.read_bytes(), file.relative_to(folder).as_posix()
            file.write_bytes(harmed(whole, rng))
            with pytest.raises(ValueError) as error:
                models.load("toy-pipeline")
            fix = "restore it with: git checkout -- data/models/toy-pipeline"
            assert str(error.value) == f"toy-pipeline/{name} is damaged; {fix}"
            file.write_bytes(whole)
    assert not opened
    assert type(models.load("toy-pipeline")) is StableDiffusionPipeline, "restored, it loads again"


# --- public checkpoints -------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of huggingface_hub, on a machine on which every use of the network is an error."""

    def refuse(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def named(monkeypatch, name: str, folder: Path) -> models.Checkpoint:
    """Name a folder of files as the public checkpoint in a role."""
    files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    checkpoint = models.Checkpoint("owner/toy", COMMIT, tuple(files))
    monkeypatch.setitem(models.CHECKPOINTS, name, checkpoint)
    return checkpoint


def cached(hub: Path, folder: Path) -> Path:
    """Lay a folder out as huggingface_hub does: blobs by hash, and a snapshot of links to them."""
    home = hub / "models--owner--toy"
    snapshot, blobs = home / "snapshots" / COMMIT, home / "blobs"
    blobs.mkdir(parents=True)
    for number, file in enumerate(sorted(file for file in folder.rglob("*") if file.is_file())):
        link, blob = snapshot / file.relative_to(folder), blobs / f"{number:064x}"
        shutil.copy(file, blob)
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to(os.path.relpath(blob, link.parent))
        except OSError:  # Windows without the right to link: huggingface_hub copies there, too
            shutil.copy(blob, link)
    return snapshot


@pytest.fixture
def writer(tmp_path):
    """A tiny language model and its tokenizer, in a folder such as the hub has."""
    folder = tmp_path / "writer"
    for part in (models.language_model(tiny_tokenizer(), width=16, layers=1), tiny_tokenizer()):
        part.save_pretrained(folder)
    return folder


def test_a_public_network_is_loaded_from_the_cache_without_the_network(hub, writer, monkeypatch):
    named(monkeypatch, "lm", writer)
    snapshot = cached(hub, writer)
    loaded, bare = models.load("lm", source="hub"), GPT2LMHeadModel.from_pretrained(writer)
    assert type(loaded) is GPT2LMHeadModel and not loaded.training and loaded.dtype == runtime.dtype()
    weights = loaded.state_dict()
    assert all(torch.equal(weights[n].cpu(), v.to(runtime.dtype())) for n, v in bare.state_dict().items())
    assert models.checkpoint_folder("lm") == snapshot
    words = AutoTokenizer.from_pretrained(models.checkpoint_folder("lm"), local_files_only=True)
    assert words("a red circle").input_ids[1:-1] == [WORDS.index(w) for w in ("a", "red", "circle")]


def test_a_public_pipeline_in_half_precision_files_takes_the_number_format_of_the_machine(hub, tmp_path, monkeypatch):
    pipe = tiny_pipeline()
    pipe.to(dtype=torch.float16).save_pretrained(tmp_path / "pipe", variant="fp16")
    assert (tmp_path / "pipe" / "unet" / "diffusion_pytorch_model.fp16.safetensors").is_file()
    named(monkeypatch, "text-to-image", tmp_path / "pipe")
    cached(hub, tmp_path / "pipe")
    for asked in (torch.float32, torch.bfloat16):  # what `runtime.dtype` answers on a processor, and on a GPU
        monkeypatch.setattr(runtime, "dtype", lambda asked=asked: asked)
        loaded = models.load("text-to-image", source="hub")
        parts = loaded.unet, loaded.vae, loaded.text_encoder
        assert type(loaded) is StableDiffusionPipeline
        assert {p.dtype for part in parts for p in part.parameters()} == {asked}


def test_public_weights_that_are_not_here_are_not_fetched_and_the_sentence_says_how_to(hub):
    for name, checkpoint in models.CHECKPOINTS.items():
        asked = f"models.load('{name}', source='hub', download=True)"
        with pytest.raises(FileNotFoundError, match=re.escape(f"fetch it once with {asked}, or copy")) as error:
            models.load(name, source="hub")
        assert checkpoint.repository in str(error.value) and str(hub) in str(error.value)
    assert not hub.exists()


def test_a_public_checkpoint_that_is_half_there_is_not_loaded_and_the_missing_file_is_named(hub, writer, monkeypatch):
    named(monkeypatch, "lm", writer)
    (cached(hub, writer) / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"not whole.*1 of \d+ files.*first model\.safetensors.*download=True"):
        models.load("lm", source="hub")


def test_asked_by_name_only_the_missing_files_of_the_pinned_commit_are_fetched(hub, writer, monkeypatch):
    checkpoint, asked = named(monkeypatch, "lm", writer), []

    def fetch(repository, *, revision, allow_patterns):
        asked.append((repository, revision, sorted(allow_patterns)))
        return str(cached(hub, writer))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    for _ in range(2):
        assert type(models.load("lm", source="hub", download=True)) is GPT2LMHeadModel
    assert asked == [("owner/toy", COMMIT, list(checkpoint.files))], "once: then everything is there"


@pytest.mark.parametrize("harm", ["switched off", "unreachable"])
def test_a_missing_network_is_said_in_one_sentence(hub, harm, monkeypatch):
    constants = huggingface_hub.constants
    if harm == "switched off":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        problem = OSError("no route to host")
        monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: (_ for _ in ()).throw(problem))
    with pytest.raises(ConnectionError, match="^openai-community/gpt2, the public lm, could not be fetched") as error:
        models.load("lm", source="hub", download=True)
    sentence = str(error.value)
    assert "connect this machine to the network and ask again, or copy the folder" in sentence
    assert "\n" not in sentence and ("no route to host" in sentence or "HF_HUB_OFFLINE" in sentence)


def test_a_file_that_the_hub_does_not_have_is_named(hub, writer, monkeypatch):
    named(monkeypatch, "lm", writer)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: None)
    with pytest.raises(FileNotFoundError, match="first config.json; the hub does not have it"):
        models.load("lm", source="hub", download=True)


def test_a_role_without_a_public_checkpoint_is_answered_by_those_that_have_one(hub):
    with pytest.raises(ValueError, match="no public checkpoint for 'parser'; there are: captioner, clip, lm, text-"):
        models.load("parser", source="hub")
    with pytest.raises(ValueError, match="source='hubb': choose 'tiny'.*or 'hub'"):
        models.load("lm", source="hubb")
    with pytest.raises(ValueError, match="add source='hub'"):
        models.load("lm", download=True)


def test_every_public_checkpoint_is_pinned_to_a_commit_and_free_of_pickles():
    for checkpoint in models.CHECKPOINTS.values():
        assert re.fullmatch("[0-9a-f]{40}", checkpoint.revision)
        assert {Path(file).suffix for file in checkpoint.files} <= {".safetensors", ".json", ".txt"}
        assert any(file.endswith(".safetensors") for file in checkpoint.files)
        assert {"config.json", "model_index.json"} & set(checkpoint.files)
