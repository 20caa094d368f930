"""Tasks one after the other, versions of a model, and a search that survives a kill."""

import json
import random
import sqlite3

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aigc_course import adaptation, losses, runtime, scenes
from aigc_course.adaptation import EWC, Distillation, Naive, Replay, Reservoir, Task


def tiny(seed=0, names=3):
    """A linear namer of pictures of 2 × 2."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, names))


def task(name, turn, n=60):
    """Three clouds; each task calls them by other names."""
    generator = runtime.generator(5)
    labels = torch.arange(n) % 3
    centres = 3 * torch.randn(3, 3, 2, 2, generator=generator)
    pictures = centres[labels] + 0.3 * torch.randn(n, 3, 2, 2, generator=generator)
    return Task(name, pictures, (labels + turn) % 3, pictures[:30], (labels[:30] + turn) % 3)


@pytest.fixture
def stream():
    return [task("one", 0), task("two", 1)]


def learnt(stream):
    model = tiny()
    adaptation.jointly(model, [stream[0]] * 2, 40, progress=False)
    return model


# --- the stream and its losses ------------------------------------------------------------------------------


def test_a_stream_shows_one_large_thing_in_each_style_and_is_drawn_again_alike():
    drawn, again = adaptation.draw_stream(4, 3), adaptation.draw_stream(4, 3)
    assert [each.name for each in drawn] == list(scenes.NEW_STYLES)
    for one, other in zip(drawn, again, strict=True):
        assert one.pictures.shape == (4, 3, 48, 48) and one.unseen.shape == (3, 3, 48, 48)
        assert torch.equal(one.pictures, other.pictures) and torch.equal(one.truth, other.truth)


def test_the_namer_treats_each_picture_alone():
    model, pictures = adaptation.namer(), torch.rand(4, 3, 48, 48)
    torch.testing.assert_close(model(pictures)[:1], model(pictures[:1]), rtol=1e-4, atol=1e-5)


def test_distillation_is_torchs_divergence_and_zero_for_a_perfect_student():
    student, teacher = torch.randn(2, 6, 5, dtype=torch.float64)
    theirs = 9 * F.kl_div((student / 3).log_softmax(1), (teacher / 3).softmax(1), reduction="batchmean")
    torch.testing.assert_close(losses.distillation(student, teacher, 3.0), theirs)
    assert losses.distillation(teacher + 7, teacher).abs() < 1e-12


def test_distillation_leaves_the_teacher_alone_and_refuses_a_temperature_of_zero():
    student, teacher = torch.randn(2, 6, 5).requires_grad_().unbind()
    losses.distillation(student, teacher)
    assert not losses.distillation(student.detach(), teacher).requires_grad
    with pytest.raises(ValueError, match="choose a number above 0"):
        losses.distillation(student, teacher, 0)


def test_anchored_is_half_the_weighted_square_and_wants_the_same_names():
    weights, anchors = {"a": torch.tensor([3.0, 1.0])}, {"a": torch.tensor([1.0, 1.0])}
    assert losses.anchored(weights, anchors, {"a": torch.tensor([5.0, 9.0])}) == 10
    with pytest.raises(ValueError, match="the same parameters"):
        losses.anchored(weights, anchors, {})


def test_the_fisher_diagonal_is_the_mean_squared_gradient_of_one_picture_at_a_time():
    model, pictures = tiny(), torch.randn(7, 3, 2, 2)
    found = adaptation.fisher(model, pictures, runtime.generator(0))
    drawn = torch.multinomial(model(pictures).softmax(1), 1, generator=runtime.generator(0))
    squares = torch.zeros_like(model[1].weight)
    for picture, label in zip(pictures, drawn, strict=True):
        model.zero_grad()
        model(picture[None]).log_softmax(1)[0, label].sum().backward()
        squares += model[1].weight.grad.square() / len(pictures)
    torch.testing.assert_close(found["1.weight"], squares)


def test_a_reservoir_keeps_each_picture_as_likely_as_any_other():
    share, generator = torch.zeros(12), runtime.generator(0)
    for _ in range(1500):
        kept = Reservoir(4, generator)
        kept.add(torch.zeros(12, 1), torch.arange(12))
        share[torch.stack([label for _, label in kept.items])] += 1 / 1500
    assert (share - 4 / 12).abs().max() < 0.06


# --- learning -----------------------------------------------------------------------------------------------


def test_what_contradicts_is_forgotten_and_the_matrix_says_so(stream):
    matrix = adaptation.follow(learnt(stream), stream, Naive(), 60, learning_rate=3e-2, progress=False)
    assert matrix[0, 0] == 1 and matrix[1, 1] == 1 and matrix[1, 0] < 0.2
    assert adaptation.backward_transfer(matrix) == pytest.approx((matrix[1, 0] - 1).item())


@pytest.mark.parametrize(
    "method", [Replay(30, 0.75), Distillation(3.0), EWC(1e4, 30)], ids=["replay", "distillation", "EWC"]
)
def test_each_method_forgets_less_than_naive(stream, method):
    matrix = adaptation.follow(learnt(stream), stream, method, 60, learning_rate=3e-2, progress=False)
    assert matrix[1, 0] > 0.25


def test_a_run_repeats_and_shows_each_stage(stream):
    seen = []
    for _ in range(2):
        shown = lambda stage, model, row: seen.append((stage, row.tolist()))  # noqa: E731
        adaptation.follow(learnt(stream), stream, Replay(10), 5, on_stage=shown, progress=False)
    assert [stage for stage, _ in seen] == [0, 1, 0, 1] and seen[:2] == seen[2:]


def test_the_three_numbers_of_a_matrix_belong_together():
    matrix = torch.tensor([[0.9, 0.1, 0.2], [0.5, 0.8, 0.3], [0.6, 0.4, 0.7]], dtype=torch.float64)
    assert adaptation.average_accuracy(matrix) == pytest.approx(1.7 / 3)
    assert adaptation.backward_transfer(matrix) == pytest.approx((-0.3 - 0.4) / 2)
    whole = adaptation.learning_accuracy(matrix) + 2 / 3 * adaptation.backward_transfer(matrix)
    assert adaptation.average_accuracy(matrix) == pytest.approx(whole)


def test_bad_streams_are_refused_with_one_sentence(stream):
    with pytest.raises(ValueError, match="nothing to forget"):
        adaptation.follow(tiny(), stream[:1], Naive())
    two_names = Task("one", *[stream[0].pictures, stream[0].labels % 2] * 2)
    with pytest.raises(ValueError, match="'two' has label 2, but the head knows 0 to 1: build .* names=3"):
        adaptation.follow(tiny(names=2), [two_names, stream[1]], Naive())
    with pytest.raises(ValueError, match="buffer is empty"):
        Reservoir(3, runtime.generator(0)).draw(2)
    with pytest.raises(ValueError, match="at least one picture"):
        Replay(0)
    with pytest.raises(ValueError, match="both old and new"):
        Replay(5, share=1)
    with pytest.raises(ValueError, match="one row a stage"):
        adaptation.backward_transfer(torch.ones(1, 1))


# --- versions -----------------------------------------------------------------------------------------------


@pytest.fixture
def two_versions(tmp_path):
    for seed in (0, 1):
        adaptation.save_version(tiny(seed), tmp_path, "A test.", {"chalk": 0.5 + seed / 4, "sepia": 0.25})
    return tmp_path


def test_a_version_comes_back_bit_for_bit_and_can_be_rolled_back_to(two_versions):
    model = tiny(9)
    assert adaptation.load_version(model, two_versions) == "v2"
    assert torch.equal(model[1].weight, tiny(1)[1].weight)
    adaptation.roll_back(two_versions, "v1")
    assert adaptation.load_version(model, two_versions) == "v1"
    assert torch.equal(model[1].weight, tiny(0)[1].weight)
    rows = adaptation.versions(two_versions)
    assert [(row["version"], row["chalk"], row["sepia"], row["in use"]) for row in rows] == [
        ("v1", 0.5, 0.25, "←"),
        ("v2", 0.75, 0.25, ""),
    ]
    assert adaptation.save_version(tiny(2), two_versions, "", {"chalk": 1.0}) == "v3"


def test_a_card_is_read_by_the_hubs_library(two_versions):
    from huggingface_hub import ModelCard

    card = ModelCard.load(two_versions / "v2" / "README.md")
    found = {each.dataset_name: each.metric_value for each in card.data.eval_results}
    assert found == {"chalk": 0.75, "sepia": 0.25} and card.data.license == "cc-by-4.0"
    assert "model.safetensors" in json.loads((two_versions / "v2" / "manifest.json").read_text())


def test_a_damaged_or_strange_version_changes_nothing_in_the_model(two_versions):
    model = tiny(9)
    with pytest.raises(ValueError, match="there is no version 'v7' here; there are: v1, v2"):
        adaptation.load_version(model, two_versions, "v7")
    with pytest.raises(ValueError, match="of another model"):
        adaptation.load_version(tiny(names=4), two_versions)
    file = two_versions / "v2" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + bytes([random.Random(0).randrange(256)]))
    with pytest.raises(ValueError, match="v2 is damaged; roll back to another one: v1"):
        adaptation.load_version(model, two_versions)
    assert torch.equal(model[1].weight, tiny(9)[1].weight)


# --- the search ---------------------------------------------------------------------------------------------

SMALL = dict(pictures=40, kept=10)


def test_a_killed_search_goes_on_and_keeps_what_was_finished(tmp_path):
    file = tmp_path / "study.db"
    status = adaptation.search_and_kill(file, 6, after=1, **SMALL)
    assert status != 0
    before = adaptation.load_study(file)
    kept = {trial.number: (trial.params, trial.value) for trial in adaptation.finished(before)}
    (stale,) = [trial for trial in before.trials if trial.state.name == "RUNNING"]
    after = adaptation.search(file, 3, **SMALL)
    assert len(adaptation.finished(after)) == 3
    assert {n: (after.trials[n].params, after.trials[n].value) for n in kept} == kept
    assert after.trials[stale.number].state.name == "FAIL"
    (again,) = [trial for trial in after.trials if trial.user_attrs.get("again") == stale.number]
    assert again.params == stale.params
    assert len(adaptation.search(file, 2, **SMALL).trials) == len(after.trials)  # enough are finished


def test_a_study_that_does_not_fit_is_refused_with_one_sentence(tmp_path):
    file = tmp_path / "study.db"
    with pytest.raises(ValueError, match="there is no file study.db"):
        adaptation.load_study(file)
    adaptation.search(file, 0, **SMALL)
    with pytest.raises(ValueError, match="holds no study 'other'; it has: replay"):
        adaptation.load_study(file, "other")
    with pytest.raises(ValueError, match="was begun with"):
        adaptation.search(file, 0, pictures=41, kept=10)
    (tmp_path / "notes.txt").write_text("not a database at all")
    with pytest.raises(ValueError, match="notes.txt is no study"):
        adaptation.search(tmp_path / "notes.txt", 0)
    assert sqlite3.connect(file).execute("select count(*) from studies").fetchone() == (1,)
