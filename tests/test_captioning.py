"""Captioners: what they learn from, and the figures that the grammar sets beside theirs."""

import random
from types import SimpleNamespace

import pytest
import torch

from aigc_course import adaptation, evaluation, models, scenes


@pytest.fixture(scope="module")
def tokenizer():
    return models.load("tokenizer")


class Oracle:
    """A captioner that knows the scenes and speaks as the grammar does: its logits are the exact log chances."""

    device = torch.device("cpu")

    def __init__(self, drawn, tokenizer, language):
        self.size, self.at, self.ways = len(tokenizer), 0, []
        for one in drawn:
            told = scenes.paraphrases(one.scene, language)
            ids = tokenizer([f"<{language}>{text}" for text in told]).input_ids
            self.ways.append([(tuple(row), p) for row, p in zip(ids, told.values(), strict=True)])

    def __call__(self, pixel_values, decoder_input_ids, decoder_attention_mask):
        ways = self.ways[self.at : self.at + len(decoder_input_ids)]
        self.at += len(decoder_input_ids)
        chances = torch.zeros(*decoder_input_ids.shape, self.size, dtype=torch.float64)
        for row, (tokens, told) in enumerate(zip(decoder_input_ids.tolist(), ways, strict=True)):
            for ids, p in told:
                for place in range(min(len(ids) - 1, len(tokens))):
                    if ids[: place + 1] == tuple(tokens[: place + 1]):
                        chances[row, place, ids[place + 1]] += p
        return SimpleNamespace(logits=(chances / chances.sum(2, keepdim=True).clamp(min=1e-9)).log().clamp(min=-50))


@pytest.mark.parametrize("language", scenes.LANGUAGES)
def test_a_captioner_without_fault_stands_on_the_floor_and_under_the_ceiling(tokenizer, language):
    drawn, rng = scenes.samples(150, "test", seed=3), random.Random(1)
    said = [scenes.caption(one.scene, rng, language) for one in drawn]
    found = evaluation.captioning(Oracle(drawn, tokenizer, language), tokenizer, drawn, language, said)
    assert found.above.low - 1e-6 < 0 < found.above.high + 1e-6  # in Chinese all ways are alike likely
    assert found.nats == pytest.approx(found.floor + found.above.mean, rel=1e-5)
    assert found.accuracy == pytest.approx(found.ceiling, abs=0.02) and found.ceiling < 1
    assert found.exact.mean == 1 and found.bleu == pytest.approx(found.grammar_bleu, rel=0.1)


def test_captions_of_other_scenes_are_not_exact(tokenizer):
    drawn = scenes.samples(60, "test", seed=3)
    said = [scenes.caption(one.scene, random.Random(1)) for one in drawn[1:] + drawn[:1]]
    found = evaluation.captioning(Oracle(drawn, tokenizer, "en"), tokenizer, drawn, "en", said)
    assert found.exact.mean < 0.1 and found.bleu < 0.8 * found.grammar_bleu and found.cider < found.grammar_cider


def test_the_ceiling_of_one_way_is_one_and_of_two_even_words_lies_below(tokenizer, monkeypatch):
    drawn = scenes.samples(1)
    for ways, wanted in (({"a red cat": 1.0}, 1.0), ({"<en>": 0.5, "<zh>": 0.5}, 0.75)):  # a token each, and the end
        monkeypatch.setattr(scenes, "paraphrases", lambda *_, told=ways: told)
        assert evaluation.accuracy_ceiling(drawn, tokenizer) == pytest.approx(wanted)


def test_a_batch_takes_another_caption_in_another_pass_and_leaves_pictures_alone(tokenizer):
    pictures = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 8, 8)
    labelled = adaptation.Labelled(tokenizer, pictures, [["<en>a red cat", "<en>a blue cat"]] * 4)
    passes = [labelled(torch.tensor([2, 0]), turn) for turn in range(8)]
    assert len({tuple(one["tokens"][0].tolist()) for one in passes}) == 2
    assert all(torch.equal(one["pictures"], pictures[[2, 0]]) for one in passes)
    assert torch.equal(labelled(torch.tensor([2]), 3)["tokens"], labelled(torch.tensor([2]), 3)["tokens"])


def test_frozen_eyes_that_looked_once_give_the_same_loss(tokenizer):
    model, pad = models.load("captioner"), tokenizer.pad_token_id
    pictures = scenes.pictures_as_bytes(scenes.samples(2))
    looked = adaptation.Labelled(tokenizer, adaptation.seen(model, pictures), [["<en>a red cat"]] * 2)
    plain = adaptation.Labelled(tokenizer, pictures, [["<en>a red cat"]] * 2)
    with torch.no_grad():
        found = [adaptation.caption_loss(pad)(model, one(torch.arange(2), 0)) for one in (looked, plain)]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_loss_is_that_of_transformers_however_long_the_captions(tokenizer, count):
    model, pad = models.load("captioner"), tokenizer.pad_token_id
    drawn = scenes.samples(count, seed=4)
    labelled = adaptation.Labelled(tokenizer, scenes.pictures_as_bytes(drawn), adaptation.told(drawn))
    batch = labelled(torch.arange(count), 0)
    labels = batch["tokens"][:, 1:].clone()
    labels[:, 0], labels[labels == pad] = -100, -100
    looks = scenes.pictures(drawn, models.PICTURE)
    with torch.no_grad():
        answer = model(pixel_values=looks, decoder_input_ids=batch["tokens"][:, :-1], labels=labels)
        for loss in (adaptation.caption_loss(pad), *(adaptation.by_length(pad, parts) for parts in (1, 2, 3))):
            torch.testing.assert_close(loss(model, batch), answer.loss, atol=1e-4, rtol=0)


def test_attention_is_awoken_by_what_it_asks_and_reads_alone():
    model = models.captioner(models.load("clip"), models.load("lm"))
    before = {name: p.clone() for name, p in model.named_parameters()}
    adaptation.awaken(model)
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    layers = range(model.decoder.config.n_layer)
    asking = ("q_attn", "c_attn")
    assert changed == {f"decoder.transformer.h.{k}.crossattention.{one}.weight" for k in layers for one in asking}
    after = dict(model.named_parameters())
    assert all(after[name].std().item() == pytest.approx(after[name].shape[0] ** -0.5, rel=0.05) for name in changed)


@pytest.mark.parametrize(
    ("count", "captions", "said"),
    [(3, [["<en>a cat"]] * 2, "give each picture its own"), (2, [["<en>a cat"], []], "picture 1 has no caption")],
)
def test_pictures_without_captions_are_refused(tokenizer, count, captions, said):
    with pytest.raises(ValueError, match=said):
        adaptation.Labelled(tokenizer, torch.zeros(count, 3, 8, 8, dtype=torch.uint8), captions)
