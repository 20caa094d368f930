"""Few labels and prompts: formulas by hand, agreement with libraries, and a sentence for each bad input."""

import math
from copy import deepcopy

import pytest
import torch
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from aigc_course import adaptation, models, runtime, scenes

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def rows(count: int, seed: int = 0, wide: int = 8) -> torch.Tensor:
    return F.normalize(torch.randn(count, wide, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.fixture(scope="module")
def tokenizer():
    return models.load("tokenizer")


@pytest.fixture(scope="module")
def clip(tokenizer):
    torch.manual_seed(0)
    return models.clip(tokenizer, width=32, layers=1).eval()


@pytest.fixture(scope="module")
def lm(tokenizer):
    torch.manual_seed(0)
    shape = dict(vocab_size=len(tokenizer), n_positions=32, n_embd=32, n_layer=2, n_head=2)
    return GPT2LMHeadModel(GPT2Config(**shape, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)).eval()


# --- pictures and words ---------------------------------------------------------------------------------------


def test_embeddings_have_length_one_and_do_not_depend_on_the_batch(clip, tokenizer):
    pictures = torch.rand(3, 3, 128, 128, generator=runtime.generator(0)) * 2 - 1
    found = adaptation.embed_pictures(clip, pictures)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(found[1:2], adaptation.embed_pictures(clip, pictures[1:2]), atol=1e-5, rtol=1e-5)
    words = adaptation.embed_words(clip, tokenizer, ["a cat", "a large red house at night"])
    torch.testing.assert_close(words[:1], adaptation.embed_words(clip, tokenizer, ["a cat"]), atol=1e-5, rtol=1e-5)


def test_classes_are_told_in_every_template(clip, tokenizer):
    found = adaptation.embed_classes(clip, tokenizer, ["cat", "house"], ["a {}", "a red {}", "{} at sea"])
    alone = adaptation.embed_words(clip, tokenizer, ["a red house"])
    torch.testing.assert_close(found[1, 1:2], alone, atol=1e-5, rtol=0)
    assert found.shape[:2] == (2, 3)


def test_zero_shot_with_one_sentence_is_clips_own_answer(clip, tokenizer):
    pictures = torch.rand(2, 3, 128, 128, generator=runtime.generator(0)) * 2 - 1
    tokens = tokenizer(["a cat", "a house"], padding=True, return_tensors="pt").input_ids
    with torch.no_grad():
        theirs = clip(input_ids=tokens, pixel_values=pictures).logits_per_image
    words = adaptation.embed_words(clip, tokenizer, ["a cat", "a house"])[:, None]
    mine = adaptation.zero_shot(adaptation.embed_pictures(clip, pictures), words, clip.logit_scale.exp().item())
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_zero_shot_over_templates_is_the_total_probability():
    pictures, words = rows(4), rows(6, 1).view(3, 2, 8)
    each = (5 * pictures @ words.flatten(0, 1).T).softmax(1)  # of every sentence
    torch.testing.assert_close(adaptation.zero_shot(pictures, words, 5.0).softmax(1), each.view(4, 3, 2).sum(2))


def test_averaged_words_are_one_direction_each():
    words = rows(6, 1).view(3, 2, 8)
    torch.testing.assert_close(adaptation.averaged(words)[1, 0], F.normalize(words[1].sum(0), dim=0))


# --- examples -------------------------------------------------------------------------------------------------


def test_drawn_examples_are_as_many_of_each_class_and_none_twice():
    labels = torch.arange(4).repeat(10)
    chosen = adaptation.draw_examples(labels, 3, runtime.generator(0))
    assert labels[chosen].bincount().tolist() == [3] * 4 and len(chosen.unique()) == 12


def test_prototypes_of_one_example_are_the_examples():
    torch.testing.assert_close(adaptation.prototypes(rows(3), torch.tensor([2, 0, 1]), 3), rows(3)[[1, 2, 0]])


def test_a_probe_is_the_optimum_of_its_loss():
    features = rows(6)
    probe = adaptation.linear_probe(features, LABELS, 3, decay=0.1)
    weights = [(p / 10).clone().requires_grad_() for p in probe.parameters()]
    loss = F.cross_entropy(10 * (features @ weights[0].T + weights[1]), LABELS)
    loss = loss + 0.05 * sum(w.square().sum() for w in weights)
    assert all(g.abs().max() < 2e-3 for g in torch.autograd.grad(loss, weights))


def test_an_example_that_is_asked_again_votes_with_one():
    keys = torch.eye(3)
    votes = adaptation.cached(keys, keys, torch.tensor([0, 1, 2]), 3, beta=2.0)
    torch.testing.assert_close(votes, torch.eye(3) + (1 - torch.eye(3)) * math.exp(-2))


def test_a_sharp_cache_is_the_nearest_neighbour_and_a_large_alpha_the_words():
    queries, keys, words = rows(20, 1), rows(6), torch.randn(20, 3, generator=torch.Generator().manual_seed(2))
    nearest = LABELS[(queries @ keys.T).argmax(1)]
    assert (adaptation.cached(queries.double(), keys.double(), LABELS, 3, beta=300.0).argmax(1) == nearest).all()
    assert (adaptation.cached(queries, keys, LABELS, 3, words, alpha=1e4).argmax(1) == words.argmax(1)).all()


@pytest.mark.parametrize("teach", [adaptation.prototypes, adaptation.linear_probe])
@pytest.mark.parametrize(
    ("features", "labels", "said"),
    [
        (rows(0), LABELS[:0], "no examples to learn from"),
        (rows(3), torch.zeros(3, dtype=torch.long), "all examples are of class 0"),
        (rows(3), torch.tensor([0, 1, 0]), "class 2 has no example"),
        (rows(2), LABELS, "one label for each example"),
        (rows(6), LABELS + 1, "whole numbers from 0 to 2"),
        (rows(6), LABELS.float(), "whole numbers"),
        (rows(6) * float("nan"), LABELS, "not finite"),
    ],
)
def test_examples_that_cannot_teach_get_one_sentence(teach, features, labels, said):
    with pytest.raises(ValueError, match=said):
        teach(features, labels, 3)


def test_a_cache_and_words_of_another_width_are_refused():
    with pytest.raises(ValueError, match="queries have 5 numbers each, the examples 8"):
        adaptation.cached(rows(2, wide=5), rows(6), LABELS, 3)
    with pytest.raises(ValueError, match="from the same model"):
        adaptation.zero_shot(rows(2, wide=5), rows(6).view(3, 2, 8), 1.0)


def test_too_few_examples_are_refused_by_class():
    with pytest.raises(ValueError, match="class 1 has 2 examples, fewer than 3"):
        adaptation.draw_examples(torch.tensor([0, 0, 0, 1, 1]), 3, runtime.generator(0))
    with pytest.raises(ValueError, match="use zero_shot"):
        adaptation.draw_examples(LABELS, 0, runtime.generator(0))


def test_texts_that_are_too_long_and_templates_without_a_place_are_refused(clip, tokenizer):
    with pytest.raises(ValueError, match="spelt byte by byte"):
        adaptation.embed_words(clip, tokenizer, ["рыжий кот на лугу"])
    with pytest.raises(ValueError, match="a list of at least one"):
        adaptation.embed_words(clip, tokenizer, [])
    with pytest.raises(ValueError, match="no place for a name"):
        adaptation.embed_classes(clip, tokenizer, ["cat"], ["a picture"])
    with pytest.raises(ValueError, match="give a list of classes"):
        adaptation.embed_classes(clip, tokenizer, "cat", ["a {}"])
    with pytest.raises(ValueError, match="at least one picture"):
        adaptation.embed_pictures(clip, torch.zeros(0, 3, 128, 128))


# --- what is learnt -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
def test_learnt_words_learn_and_leave_the_clip_alone(clip, tokenizer, shared):
    before = deepcopy(clip.state_dict())
    words = adaptation.LearntWords(clip, tokenizer, ["cat", "house", "star"], 4, shared)
    history = adaptation.learn_words(words, rows(6, wide=32), LABELS, 10.0, steps=15, progress=False)
    assert history.last < history.losses[0]
    assert words.vectors.shape == (1 if shared else 3, 4, 32)
    assert all(torch.equal(value, before[name]) for name, value in clip.state_dict().items())
    assert not clip.text_model.embeddings.token_embedding._forward_hooks


def test_learnt_words_that_are_words_say_what_these_say(clip, tokenizer):
    words = adaptation.LearntWords(clip, tokenizer, ["cat"], 1)
    (token,) = tokenizer(" red", add_special_tokens=False).input_ids
    words.vectors.data[:] = clip.text_model.embeddings.token_embedding.weight[token]
    row = words.tokens.clone()
    row[:, 1] = token
    with torch.no_grad():
        theirs = clip.get_text_features(input_ids=row)
        torch.testing.assert_close(words()[:, 0], F.normalize(getattr(theirs, "pooler_output", theirs), dim=1))


def test_fine_tuning_trains_a_copy(clip):
    pictures = torch.rand(6, 3, 128, 128, generator=runtime.generator(0)) * 2 - 1
    before = deepcopy(clip.state_dict())
    probe = adaptation.linear_probe(adaptation.embed_pictures(clip, pictures), LABELS, 3)
    model = adaptation.fine_tune(clip, pictures, LABELS, probe, steps=3, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in clip.state_dict().items())
    assert not torch.equal(model.projection.weight, clip.visual_projection.weight)
    assert model(pictures).shape == (6, 3)


# --- prompts --------------------------------------------------------------------------------------------------


def test_soft_prompts_train_as_many_numbers_as_they_hold(lm):
    assert adaptation.trained_numbers(adaptation.soft_prompt(lm, 4)) == 4 * 32
    assert adaptation.trained_numbers(adaptation.soft_prompt(lm, 4, "prefix")) == 4 * 2 * 2 * 32
    assert adaptation.trained_numbers(lm) == sum(p.numel() for p in lm.parameters())


def test_a_soft_prompt_is_the_same_for_the_same_seed(lm):
    models = [adaptation.soft_prompt(lm, 3, seed=seed) for seed in (0, 0, 1)]
    one, two, other = (model.prompt_encoder.default.embedding.weight for model in models)
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_the_loss_of_a_prompt_made_of_words_is_that_of_the_words(lm):
    model = adaptation.soft_prompt(lm, 2)
    words = torch.tensor([5, 9])
    model.prompt_encoder.default.embedding.weight.data[:] = lm.transformer.wte.weight[words]
    tokens = torch.randint(3, 50, (3, 7), generator=runtime.generator(0))
    told = torch.cat([words.expand(3, 2), tokens], 1)
    theirs = adaptation.next_token_loss(lm, told, 0, given=4)
    torch.testing.assert_close(adaptation.next_token_loss(model, tokens, 0), theirs)


def test_in_context_is_what_a_tokenizer_would_say(tokenizer):
    assert adaptation.in_context(tokenizer, []) == tokenizer("<en>").input_ids[:-1]
    one = adaptation.in_context(tokenizer, ["a red cat"])
    assert one[:-1] == tokenizer("<en>a red cat").input_ids


def test_writing_starts_as_told_and_repeats_with_its_seed(lm, tokenizer):
    begun = [adaptation.in_context(tokenizer, []), adaptation.in_context(tokenizer, ["a red cat"])]
    first, again = (adaptation.write(lm, tokenizer, begun, runtime.generator(3), 6) for _ in range(2))
    assert first == again and len(first) == 2
    alone = adaptation.write(lm, tokenizer, begun[:1], runtime.generator(3), 1)
    assert len(alone) == 1


def test_writing_stops_at_the_window(lm, tokenizer):
    model = adaptation.soft_prompt(lm, 20)
    begun = [adaptation.in_context(tokenizer, [])]  # two tokens: ten more fit behind the prompt's twenty
    full, ten = (adaptation.write(model, tokenizer, begun, runtime.generator(0), most) for most in (100, 10))
    assert full == ten


def test_prompts_and_examples_beyond_the_window_are_refused(lm, tokenizer):
    with pytest.raises(ValueError, match="use 1 to 31"):
        adaptation.soft_prompt(lm, 40)
    with pytest.raises(ValueError, match="no soft prompt of kind 'hard'"):
        adaptation.soft_prompt(lm, 4, "hard")
    with pytest.raises(ValueError, match="40 places, 20 of them the soft prompt's: the model reads 32"):
        adaptation.next_token_loss(adaptation.soft_prompt(lm, 20), torch.ones(2, 20, dtype=torch.long), 0)
    with pytest.raises(ValueError, match="5 examples fill"):
        adaptation.in_context(tokenizer, ["a small red cat at night"] * 5)


# --- questions ------------------------------------------------------------------------------------------------


def test_captions_and_their_reading_agree():
    def is_neon(facts):
        return facts.style == "neon"

    texts = adaptation.captions_where(is_neon, 5)
    read = adaptation.fitting([*texts, "no caption", "a red cat, ink style"], is_neon)
    assert read.tolist() == [True] * 5 + [False] * 2
    with pytest.raises(ValueError, match="ask for something less rare"):
        adaptation.captions_where(lambda facts: False, 1, most=10)


def test_asked_pictures_are_of_their_classes_and_all_different():
    names = adaptation.name_pictures(2)
    assert names.pictures.shape == (2 * len(adaptation.NAMES), 3, 128, 128)
    assert names.labels.bincount().tolist() == [2] * len(adaptation.NAMES)
    styles = adaptation.style_pictures(2)
    assert styles.names == tuple(scenes.NEW_STYLES) and styles.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len({picture.sum().item() for picture in styles.pictures}) == 8


def test_shown_things_fit_before_a_question(tokenizer):
    wanted, begun = adaptation.shown_things(tokenizer, list(scenes.THINGS), 2, 32)
    assert all(f" {name}" in tokenizer.decode(row).replace("<en>", " ") for name, row in zip(wanted, begun))
    assert max(map(len, begun)) < 28


def test_all_ways_answer_each_query_and_the_words_have_their_say():
    words = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    found = adaptation.few_shot_logits(rows(4, 1), rows(6), LABELS, 3, words, alpha=1e4)
    assert all(logits.shape == (4, 3) for logits in found.values()) and len(found) == 4
    assert (found["cache and words"].argmax(1) == words.argmax(1)).all()


def test_ways_to_steer_are_copies_that_train_less_and_less_of_the_model(lm):
    before = deepcopy(lm.state_dict())
    numbers = [adaptation.trained_numbers(model) for model, _ in adaptation.ways_to_steer(lm).values()]
    assert numbers[-1] == sum(p.numel() for p in lm.parameters()) > max(numbers[:-1])
    assert all(torch.equal(value, before[name]) for name, value in lm.state_dict().items())


def test_going_on_is_read_by_the_grammar(lm, tokenizer):
    wanted, begun = adaptation.shown_things(tokenizer, ["cat"], 1, 3)
    found = adaptation.goes_on(lm, tokenizer, wanted, begun)
    assert len(found.texts) == 3
    assert (found.same <= found.readable).all()
