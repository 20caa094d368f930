"""What eyes are asked while they learn, and the captions that are told with them."""

import random
from dataclasses import replace
from itertools import product

import eyes
import pytest
import torch
import train_captioner
from eyes import (
    COLOURS,
    NAMES,
    SHIFT,
    STYLES,
    Asked,
    blocks,
    discoloured,
    disguised,
    never_met,
    outlines,
    scratched,
    shifted,
)
from torch import nn

from aigc_course import models, scenes, training


@pytest.fixture(scope="module")
def samples():
    return scenes.samples(6000, "train", seed=4)


@pytest.fixture(scope="module")
def never(samples):
    return never_met(samples)


@pytest.fixture(scope="module")
def tokenizer():
    return models.load("tokenizer")


def scene(*things, style="flat"):
    return scenes.Scene(tuple(scenes.Thing(*one) for one in things), "meadow", style)


def test_what_never_meets_is_found_by_counting_and_is_what_the_split_holds_out(never):
    for name, colour in product(NAMES, COLOURS):
        alone = scene((name, colour, "large", 0.5, 0.5), style=next(s for s in STYLES if (name, s) not in never))
        assert scenes.held_out(alone) == ((name, colour) in never)
    assert {word for _, word in never} >= set(COLOURS) | set(STYLES)
    assert {(b, a) for a, b in never if b in NAMES} == {(a, b) for a, b in never if b in NAMES} != set()


def test_a_shifted_picture_is_the_same_one_a_few_pixels_on():
    drawn, n = scenes.pictures_as_bytes(scenes.samples(6)), SHIFT
    moved = shifted(drawn, 3)
    places = [(y, x) for y in range(-n, n + 1) for x in range(-n, n + 1)]
    found = [
        [at for at in places if torch.equal(after[:, n:-n, n:-n], before.roll(at, (1, 2))[:, n:-n, n:-n])]
        for before, after in zip(drawn, moved, strict=True)
    ]
    assert all(found) and len({tuple(at) for at in found}) > 1
    assert torch.equal(moved, shifted(drawn, 3))
    assert not torch.equal(moved, shifted(drawn, 4))


def test_other_hues_are_as_bright_and_seldom_the_same():
    pictures = 0.6 * scenes.pictures(scenes.samples(8), 64)  # so that no hue leaves the range
    torch.manual_seed(0)
    other = discoloured(pictures)
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    torch.testing.assert_close((other * weights).sum(1), (pictures * weights).sum(1), atol=2e-3, rtol=0)
    assert (other - pictures).abs().mean() > 0.02
    spread = [(one.amax(1) - one.amin(1)).mean() for one in (other, pictures)]
    assert spread[0] < spread[1], "paled"


def test_disguises_keep_the_range_and_change_the_manner():
    pictures = scenes.pictures(scenes.samples(20), 64)
    torch.manual_seed(0)
    other = disguised(pictures)
    assert other.shape == pictures.shape and other.abs().max() <= 1
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    rows = zip((other * weights).sum(1).flatten(1), (pictures * weights).sum(1).flatten(1), strict=True)
    plain, coarse, _, negative, scored = torch.stack([torch.stack(row).corrcoef()[0, 1] for row in rows]).view(5, 4)
    assert (plain > 0.95).all() and (negative < -0.95).all() and (coarse > 0.5).all() and (scored > 0.2).all()
    flat = blocks(pictures)
    assert (flat[..., 1:] == flat[..., :-1]).all(1).float().mean() > 0.45, "two pixels and more to a block"
    plain = torch.zeros(1, 3, 64, 64)
    plain[..., 32:] = 1
    assert set(outlines(plain)[0, 0, 8].tolist()) == {-1.0, 0.0}, "an edge is told, and nothing else"
    assert (scratched(plain) != plain).any(1).float().mean() < 0.6


def sure(number, count):
    """A sure answer: (count,)."""
    return 20.0 * nn.functional.one_hot(torch.tensor(max(number, 0)), count)


@pytest.fixture
def asked(never):
    """The layers that ask, which here pass on what is said."""
    one = Asked(8, never)
    one.patch, one.whole = nn.Identity(), nn.Identity()
    return one


@pytest.fixture(scope="module")
def single(samples):
    return next(one for one in samples if len(one.scene.things) == 1)


def true_of_patches(sample):
    """The true answers for every patch, (1, 64, 27), and the batch's "where"."""
    where, (thing, *_) = eyes.told([sample])["where"], sample.scene.things
    words = torch.cat([sure(NAMES.index(thing.name), 16), sure(COLOURS.index(thing.colour), 8)])
    return torch.cat([words.expand(64, -1), where[0, 6:9].flatten(1).T], 1)[None], where


def true_of_wholes(samples):
    """The true answers for pictures, (B, N), and the batch's "facts"."""
    facts = eyes.told(samples)["facts"]
    rows = [[sure(n, len(words)) for n, words in zip(row, eyes.WHOLE.values(), strict=True)] for row in facts.tolist()]
    return torch.stack([torch.cat(row) for row in rows]), facts


def test_true_answers_of_patches_cost_nothing_and_each_false_one_something(asked, single):
    said, where = true_of_patches(single)
    true = torch.tensor([True])
    assert asked.of_patches(said, where, true) < 1e-5
    for kind, shift, along in ((slice(0, 16), 3, -1), (slice(16, 24), 3, -1), (slice(24, 27), 1, 1)):
        wrong = said.clone()
        wrong[..., kind] = said[..., kind].roll(shift, along)
        assert asked.of_patches(wrong, where, true) > 0.1, kind


def test_true_answers_of_wholes_cost_nothing_and_each_false_one_something(asked, samples):
    said, facts = true_of_wholes(samples[:30])
    true, first = torch.ones(30, dtype=bool), 0
    assert asked.of_wholes(said, facts, true) < 1e-5
    for what, words in eyes.WHOLE.items():
        wrong = said.clone()
        wrong[:, first : first + len(words)] = said[:, first : first + len(words)].roll(1, 1)
        first += len(words)
        assert asked.of_wholes(wrong, facts, true) > 0.1, what


def test_facts_are_numbered_as_they_are_told(samples):
    for row, one in zip(eyes.told(samples[:30])["facts"].tolist(), samples, strict=False):
        told = {what: words[n] for (what, words), n in zip(eyes.WHOLE.items(), row, strict=True) if n >= 0}
        first, *second = one.scene.facts.groups
        assert (told["first name"], told["count"], told["style"]) == (first.name, first.count, one.scene.style)
        assert [told.get("second colour")] * len(second) == [group.colour for group in second]
        assert ("second name" in told) == bool(second) and told["relation"] == one.scene.facts.relation


def test_a_word_that_never_comes_with_the_others_is_not_counted_as_wrong(asked, never, single):
    (thing,), true = single.scene.things, torch.tensor([True])
    strange = [name for name in NAMES if {(name, thing.colour), (name, single.scene.style)} & never]
    allowed = next(name for name in NAMES if name not in strange and name != thing.name)
    for name, costs in ((strange[0], False), (allowed, True)):
        said, where = true_of_patches(single)
        said[..., NAMES.index(name)] = 40
        assert (asked.of_patches(said, where, true) > 1) == costs
        said, facts = true_of_wholes([single])
        said[:, 21 + NAMES.index(name)] = 40  # 8 styles, 6 backgrounds, 4 counts and 3 relations stand before
        assert (asked.of_wholes(said, facts, true) > 1) == costs


def test_of_pictures_in_other_hues_no_colour_is_asked(asked, single):
    true, hues = torch.tensor([True]), torch.tensor([False])
    said, where = true_of_patches(single)
    said[..., 16:24] = 0
    assert asked.of_patches(said, where, hues) < 1e-5 < asked.of_patches(said, where, true)
    said[..., :16] = 0
    assert asked.of_patches(said, where, hues) > 0.1
    said, facts = true_of_wholes([single])
    said[:, :14] = 0
    said[:, 37:45] = 0
    assert asked.of_wholes(said, facts, hues) < 1e-5 < asked.of_wholes(said, facts, true)
    said[:, 14:18] = 0
    assert asked.of_wholes(said, facts, hues) > 0.1


# --- captions -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch(samples, tokenizer, never):
    pictures = scenes.pictures_as_bytes(samples[:24])
    return train_captioner.Told(samples[:24], pictures, tokenizer, never)(torch.arange(24), 1)


def test_strangers_are_all_the_scenes_one_word_away_that_training_never_shows(samples, never):
    for one in samples[:40]:
        facts = one.scene.facts
        found = [other for other in train_captioner.one_word_away(facts) if train_captioner.is_strange(other, never)]
        by_hand = {replace(facts, style=style) for style in STYLES}
        for index, group in enumerate(facts.groups):
            changed = [replace(group, name=name) for name in NAMES] + [replace(group, colour=c) for c in COLOURS]
            by_hand |= {
                replace(facts, groups=(*facts.groups[:index], new, *facts.groups[index + 1 :])) for new in changed
            }
        strange = {other for other in by_hand if scenes.held_out(scenes.arrange(other, random.Random(0)))}
        assert set(found) == strange


def test_barred_tokens_begin_what_is_never_told_and_never_what_is(batch, tokenizer):
    paled = batch["paled"]
    assert paled.sum() == len(paled) / train_captioner.PALED
    assert (batch["barred"][~paled, :, 0] > 0).any(1).all()
    assert not batch["barred"][paled].any()
    for told, barred in zip(batch["tokens"], batch["barred"].tolist(), strict=True):
        for place, token in barred:
            assert place == 0 or (place > 1 and told[place] != token)


def test_a_token_is_not_barred_with_which_a_scene_of_training_is_told_too(samples, tokenizer, never):
    fill = train_captioner.Told(samples, None, tokenizer, never)
    for one in samples[:60]:
        facts, found = one.scene.facts, []
        others = train_captioner.one_word_away(facts)
        told, *rest = (
            tokenizer(scenes.marked_caption(each, random.Random(one.seed), "zh")).input_ids for each in (facts, *others)
        )
        barred = set(fill.barred(others, told, told, *rest))
        for other, tokens in zip(others, rest, strict=True):
            place = next(k for k, token in enumerate(tokens) if token != told[k])
            strange = scenes.held_out(scenes.arrange(other, random.Random(0)))
            assert strange or (place, tokens[place]) not in barred
            found.append(strange and (place, tokens[place]) in barred)
        assert len(barred) > 1 or not any(found)


def test_some_captions_are_heard_with_another_word_and_all_are_told_right(batch, samples, tokenizer):
    other = (batch["heard"] != batch["tokens"]).any(1)
    assert 0 < other.sum() < len(other) / 2
    for tokens, one in zip(batch["tokens"], samples, strict=False):
        assert scenes.read_caption(tokenizer.decode(tokens, skip_special_tokens=True)) == one.scene.facts


def test_the_captioners_loss_does_not_count_what_is_barred_and_reaches_all_of_it(batch, tokenizer, never):
    model = models.captioner(models.clip(tokenizer), models.language_model(tokenizer))
    both = nn.ModuleDict({"captioner": model, "asked": Asked(128, never)})
    loss = train_captioner.objective(tokenizer.pad_token_id)
    torch.manual_seed(0)
    nats = loss(both, batch)
    nats.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None and "pooler" not in name]
    assert [name for name in silent if "post_layernorm" not in name] == []
    torch.manual_seed(0)
    assert loss(both, batch | {"barred": torch.zeros_like(batch["barred"])}) > nats


def test_each_of_several_processes_pales_the_pictures_of_its_share_that_are_marked_so(batch, tokenizer, never):
    captioner = models.captioner(models.clip(tokenizer), models.language_model(tokenizer))
    both, told = nn.ModuleDict({"captioner": captioner, "asked": Asked(128, never)}), []
    captioner.encoder.register_forward_pre_hook(
        lambda _, given, named: told.append((named or {}).get("pixel_values", *given)), with_kwargs=True
    )
    for rank in range(2):
        mine = training.share(batch, rank, 2)
        train_captioner.objective(tokenizer.pad_token_id)(both, mine)
        shown, pale = mine["pictures"].float() / 127.5 - 1, mine["paled"]
        assert 0 < pale.sum() < len(pale) / 2
        assert torch.equal(told[rank][pale.sum() :], shown[~pale]), "as they are"
        assert not torch.equal(told[rank][: pale.sum()], shown[pale])
