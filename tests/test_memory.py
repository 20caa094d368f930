"""Bytes: counted as by hand, predicted as counted, and fewer with each technique while the gradients stay."""

import gc
from functools import cache, partial

import pytest
import torch
from small_models import error, small_unet
from torch import nn
from torch.nn import functional as F

from aigc_course import diffusion, losses, memory, runtime, training
from aigc_course.memory import Plan, checkpointing, count, counting, measure, predict

B, IN, HIDDEN, OUT = 32, 8, 16, 4
WEIGHTS = IN * HIDDEN + HIDDEN + HIDDEN * OUT + OUT
LOSS = 2 * 4  # the loss, and the 1 that its backward pass starts from
SGD = partial(torch.optim.SGD, lr=0.1)


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(IN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUT))


def pairs(size: int = B) -> tuple:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(size, IN, generator=draw), torch.randn(size, OUT, generator=draw)


@cache
def unet() -> nn.Module:
    return small_unet((8, 16), 8, 2)


def latents() -> tuple:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(8, 4, 8, 8, generator=draw), torch.randn(8, 6, 8, generator=draw)


def denoising(model, batch):
    """The course's own loss: it draws steps, and looks whether they are in range."""
    return losses.denoising(model, *batch, diffusion.Schedule.cosine(1000), torch.Generator().manual_seed(0))


@cache
def gpt() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = dict(vocab_size=64, n_positions=16, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=1)
    return GPT2LMHeadModel(GPT2Config(**config, use_cache=False, loss_type="ForCausalLM"))


def captions(padded: bool = True) -> dict:
    ids, mask = torch.randint(2, 64, (8, 16), generator=torch.Generator().manual_seed(1)), torch.ones(8, 16).long()
    if padded:
        mask[::2, 9:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def own(model, batch):
    return model(**batch).loss


def masked(model, batch):
    """The course's own loss: the mask decides how many logits it reads."""
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return losses.cross_entropy(logits[:, :-1], batch["labels"][:, 1:])


def gradients(model, batch, loss) -> list:
    torch.manual_seed(0)  # of dropout
    model.zero_grad()
    loss(model, batch).backward()
    return [p.grad.clone() for p in model.parameters()]


# --- the count is the one by hand ---------------------------------------------------------------------------


def test_an_mlp_holds_what_we_reckon_by_hand():
    account = count(mlp(), pairs(), Plan(error))
    hidden, out = 4 * B * HIDDEN, 4 * B * OUT
    assert account.highest["parameters"] == account.highest["gradients"] == 4 * WEIGHTS
    assert account.highest["optimiser"] == 2 * 4 * WEIGHTS + 4 * 4  # AdamW: two numbers a weight, a step a tensor
    assert account.highest["activations"] == hidden + out + LOSS  # ReLU keeps its output, the loss its input
    assert account.highest["data"] == 4 * B * (IN + OUT)


def test_the_peak_is_where_relu_is_passed_backwards():
    account = count(mlp(), pairs(), Plan(error))
    assert account.at_peak == {
        "parameters": 4 * WEIGHTS,
        "gradients": 4 * (HIDDEN * OUT + OUT),  # of the last layer only
        "optimiser": 8 * WEIGHTS + 16,
        "activations": 4 * B * HIDDEN + LOSS,
        "temporary": 2 * 4 * B * HIDDEN,  # the gradient on either side of ReLU
        "data": 4 * B * (IN + OUT),
    }
    assert account.peak == sum(account.at_peak.values()) == sum(account.timeline.values()).max()
    assert account.moments[account.peak_at].phase == "backward"
    assert f"{account.peak:,}" in repr(account)


def test_the_first_step_has_no_optimiser_states_while_it_computes_gradients():
    assert count(mlp(), pairs(), Plan(error), steps=1).at_peak["optimiser"] == 0
    assert count(mlp(), pairs(), Plan(error, SGD)).highest["optimiser"] == 0


def test_a_storage_is_counted_once_whatever_looks_at_it():
    with counting(mlp()) as account:
        x = torch.zeros(10, 10)
        views = [x.view(100), x[2:], x.T, x.detach(), x.expand(5, 10, 10)]
        views[0].add_(1)
        x.relu_().mul_(2)
    assert account.highest["temporary"] == 400


def test_what_is_freed_leaves_the_count():
    with counting(mlp()) as account:
        x = torch.zeros(1000)
        view = x[:10]
        del x
        torch.zeros(50)  # nobody keeps it
        kept = torch.zeros(100)
        del view
        kept = kept + 1
    assert account.timeline["temporary"].tolist() == [0, 4000, 4000, 4200, 4400, 800]
    assert account.highest["temporary"] == 4400


def test_a_storage_that_grows_is_counted_at_its_new_size():
    with counting(mlp()) as account:
        x = torch.zeros(10)
        x.resize_(1000)
    assert account.timeline["temporary"][-1] == 4000 and account.highest["temporary"] == 4000


def test_constants_from_outside_are_data_and_literals_are_temporary():
    outside = torch.ones(100)
    with counting(mlp()) as account:
        outside[:50] + outside[50:]
        torch.tensor([1.0, 2.0])
    assert account.highest["data"] == 400
    assert account.timeline["temporary"].max() == 200


def test_a_tensor_made_of_tensors_is_counted_by_its_parts():
    from torch.testing._internal.two_tensor import TwoTensor

    pair = TwoTensor(torch.ones(100), torch.ones(100))
    with counting(mlp()) as account:
        kept = pair * 2
    assert account.highest["data"] == 800 and account.timeline["temporary"][-1] == 800
    assert type(kept) is TwoTensor and len(account.moments) == 1 + 2  # each part's operation by itself


def test_activations_are_listed_by_the_module_that_made_them():
    account = count(mlp(), pairs(), Plan(error))
    start = next(i for i, moment in enumerate(account.moments) if moment.phase == "backward") - 1
    assert account.modules(start) == {"1": 4 * B * HIDDEN, "2": 4 * B * OUT, "": LOSS}
    assert account.modules(kind="parameters") == {"": 4 * WEIGHTS}
    with pytest.raises(ValueError, match="no kind 'weights' of memory; use one of parameters"):
        account.modules(kind="weights")


def test_any_training_can_be_watched():
    model, batches = mlp(), [pairs()] * 3
    with counting(model) as account:
        training.fit(model, batches, error, 3, progress=False, clip=None)
    by_hand = count(mlp(), pairs(), Plan(error))
    assert account.highest["optimiser"] == by_hand.highest["optimiser"]
    assert account.highest["activations"] == pytest.approx(by_hand.highest["activations"], rel=0.01)
    assert account.peak == pytest.approx(by_hand.peak, rel=0.01)


def test_an_optimiser_that_has_stepped_is_counted_from_the_start():
    model = mlp()
    optimiser = torch.optim.AdamW(model.parameters())
    gradients(model, pairs(), error)
    optimiser.step()
    with counting(model, pairs(), optimiser) as account:
        pass
    sizes = {kind: int(values[0]) for kind, values in account.timeline.items() if values[0]}
    assert sizes == {
        "parameters": 4 * WEIGHTS,
        "gradients": 4 * WEIGHTS,
        "optimiser": 8 * WEIGHTS + 16,
        "data": 4 * B * (IN + OUT),
    }


def test_counting_leaves_no_trace():
    model, batch = mlp(), pairs()
    before = [p.clone() for p in model.parameters()]
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    count(nn.Sequential(model, nn.Dropout(0.5)), batch, Plan(error))
    predict(model, batch, Plan(error))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(p, q) and p.grad is None for p, q in zip(model.parameters(), before))
    with pytest.raises(RuntimeError, match="mid-step"), counting(model):
        raise RuntimeError("mid-step")
    assert not model[0].weight._post_accumulate_grad_hooks and gc.isenabled()
    assert not nn.modules.module._global_forward_hooks


# --- each technique -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "batch", "loss"), [(unet, latents, denoising), (gpt, captions, own)], ids=["unet", "gpt"]
)
def test_checkpointing_keeps_less_and_the_same_gradients(make, batch, loss):
    model = make()
    plain, less = (count(model, batch(), Plan(loss, checkpointing=on), 1) for on in (False, True))
    assert less.highest["activations"] < 0.7 * plain.highest["activations"] and less.peak < plain.peak
    assert {moment.phase for moment in less.moments} - {moment.phase for moment in plain.moments} == {"again"}
    expected = gradients(model.train(), batch(), loss)
    with checkpointing(model):
        found = gradients(model, batch(), loss)
    assert all(torch.equal(a, b) for a, b in zip(expected, found))
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def test_blocks_of_a_plain_model_are_checkpointed_by_name():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Sequential(nn.Linear(IN, 64), nn.Tanh(), nn.Linear(64, IN)) for _ in range(6)))
    batch = (pairs()[0], pairs()[0])
    expected, plain = gradients(model, batch, error), count(model, batch, Plan(error))
    with checkpointing(model, list(model)):
        found, less = gradients(model, batch, error), count(model, batch, Plan(error))
    assert all(torch.equal(a, b) for a, b in zip(expected, found))
    inputs, block = 4 * B * IN, 4 * B * 64
    assert plain.highest["activations"] == 6 * block + 6 * inputs + LOSS
    again = less.highest["activations"] - 5 * inputs - LOSS  # beside what enters the blocks (the batch is data)
    assert block <= again <= 2 * block  # what one Tanh makes, and for a moment what it reads
    assert count(model, batch, Plan(error)).peak == plain.peak  # and all is as before


def test_bf16_keeps_half_of_what_the_layers_make():
    narrow = count(mlp(), pairs(), Plan(error, precision="bf16"))
    batch, hidden, weights, out = 2 * B * IN, 2 * B * HIDDEN, 2 * HIDDEN * OUT, 4 * B * OUT
    assert narrow.highest["activations"] == batch + hidden + weights + out + LOSS  # the loss in float32
    assert narrow.highest["parameters"] == narrow.highest["gradients"] == 4 * WEIGHTS


def test_fp16_has_a_scaler_and_otherwise_the_bytes_of_bf16():
    half, brain = (count(mlp(), pairs(), Plan(error, precision=name)) for name in ("fp16", "bf16"))
    assert 0 < half.highest["activations"] - brain.highest["activations"] <= 3 * 4  # scale, scaled loss
    assert half.highest["optimiser"] == brain.highest["optimiser"] > 0


def test_accumulation_keeps_a_part_of_the_activations_and_the_same_gradient():
    whole, kept = [], []
    plain = count(mlp(), pairs(), Plan(error, lambda weights: whole.extend(weights) or SGD(weights)), steps=1)
    parts = count(mlp(), pairs(), Plan(error, lambda weights: kept.extend(weights) or SGD(weights), accumulate=4), 1)
    assert parts.highest["activations"] - LOSS == (plain.highest["activations"] - LOSS) / 4
    assert parts.highest["gradients"] == 4 * WEIGHTS
    for a, b in zip(whole, kept):
        torch.testing.assert_close(a.grad, b.grad)


def test_a_frozen_weight_has_no_gradient_and_no_state():
    model = mlp()
    model[0].requires_grad_(False)
    account = count(model, pairs(), Plan(error))
    free = HIDDEN * OUT + OUT
    assert account.highest["parameters"] == 4 * WEIGHTS
    assert account.highest["gradients"] == 4 * free
    assert account.highest["optimiser"] == 8 * free + 2 * 4


def test_lora_saves_states_and_gradients_but_few_activations():
    from peft import LoraConfig, get_peft_model

    model = gpt()
    adapted = get_peft_model(model.__class__(model.config), LoraConfig(r=2, target_modules=["c_attn"]))
    plain, lora = (count(each, captions(), Plan(own), 1) for each in (model, adapted))
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert lora.highest["gradients"] == 4 * trained
    assert lora.highest["optimiser"] < 0.02 * plain.highest["optimiser"]
    assert lora.highest["activations"] > 0.7 * plain.highest["activations"]


# --- the prediction is the count ----------------------------------------------------------------------------

MODELS = {
    "mlp": (mlp, pairs, error),
    "unet": (unet, latents, denoising),
    "gpt": (gpt, captions, own),
    "gpt, course loss": (gpt, captions, masked),
    "gpt, no padding": (gpt, partial(captions, False), own),
}
PLANS = {
    "plain": dict(),
    "accumulate": dict(accumulate=4),
    "bf16": dict(precision="bf16"),
    "fp16": dict(precision="fp16"),
    "checkpointing": dict(checkpointing=True),
    "all": dict(checkpointing=True, precision="bf16", accumulate=2),
    "SGD": dict(optimiser=SGD),
    "AdamW by loop": dict(optimiser=partial(torch.optim.AdamW, foreach=False)),
    "AdamW by lists": dict(optimiser=partial(torch.optim.AdamW, foreach=True)),
    "Adafactor": dict(optimiser=torch.optim.Adafactor),
}
COMBINED = [
    *(("mlp", plan) for plan in PLANS if not PLANS[plan].get("checkpointing")),
    *(("unet", plan) for plan in ("plain", "fp16", "all")),
    *(("gpt", plan) for plan in ("plain", "Adafactor", "all")),
    ("gpt, course loss", "bf16"),
    ("gpt, no padding", "checkpointing"),
]


@pytest.mark.parametrize(("model", "plan"), COMBINED, ids=map(", ".join, COMBINED))
def test_the_prediction_is_the_count(model, plan):
    make, batch, loss = MODELS[model]
    given = make(), batch(), Plan(loss, **PLANS[plan]), 2 if model == "mlp" or plan == "plain" else 1
    counted, predicted = count(*given), predict(*given)
    assert predicted.peak == pytest.approx(counted.peak, rel=1e-3)
    for kind, size in counted.highest.items():
        assert predicted.highest[kind] == pytest.approx(size, rel=1e-3), kind


def test_a_frozen_and_a_checkpointed_plain_model_are_predicted_too():
    model = mlp()
    model[0].requires_grad_(False)
    with checkpointing(model, [model[1], model[2]]):
        counted, predicted = (each(model, pairs(), Plan(error)) for each in (count, predict))
    assert predicted.highest == counted.highest


def test_a_mean_of_squares_is_known_to_lie_in_the_storage_of_all_squares():
    def eightfold(model, batch):
        answer = model(batch[0])
        return torch.stack([F.mse_loss(answer, batch[1]) for _ in range(8)]).mean()

    counted, predicted = (each(nn.Linear(IN, OUT), pairs(), Plan(eightfold)) for each in (count, predict))
    assert predicted.highest == counted.highest and counted.highest["temporary"] >= 8 * 4 * B * OUT


def test_a_model_too_large_for_any_machine_is_predicted_from_its_recipe():
    n = 2**20  # its weight alone takes 4 TiB
    layer = partial(nn.Linear, n, n, bias=False)
    account = predict(layer, lambda: (torch.zeros(2, n), torch.zeros(2, n)), Plan(error, SGD))
    assert account.highest["parameters"] == account.highest["gradients"] == 4 * n * n


def test_the_mask_of_a_batch_decides_what_is_predicted():
    fewer, more = (predict(gpt(), captions(each), Plan(masked), 1) for each in (True, False))
    assert fewer.highest["activations"] < more.highest["activations"]


def test_a_branch_on_tokens_picked_by_a_list_is_predicted():
    def picky(model, batch):
        return model(batch).sum() if 7 in batch[:, [-1, 0]] else model(batch[:, :1]).sum()

    tokens = torch.tensor([[7, 1, 2], [3, 4, 5]])
    counted, predicted = (each(nn.Embedding(8, 3), tokens, Plan(picky)) for each in (count, predict))
    assert predicted.highest == counted.highest


def test_a_step_that_depends_on_what_weights_say_cannot_be_predicted():
    def choosy(model, batch):
        answer = model(batch[0])
        return F.mse_loss(answer[answer > 0], torch.zeros(()))

    with pytest.raises(ValueError, match="a prediction has no numbers, and aten.*: use a loss"):
        predict(mlp(), pairs(), Plan(choosy))


def test_a_value_that_is_written_over_is_not_taken_for_known():
    def sly(model, batch):
        mask = torch.zeros(B, dtype=torch.bool)
        view = mask[:]
        view.copy_(model(batch[0])[:, 0] > 0)  # from weights: unknown, and so is all that shares it
        return F.mse_loss(model(batch[0])[mask], batch[1][mask])

    with pytest.raises(ValueError, match="a prediction has no numbers"):
        predict(mlp(), pairs(), Plan(sly))


# --- the allocator and the process --------------------------------------------------------------------------


def test_the_allocator_gives_what_is_counted_and_some_scratch():
    model, batch, plan = unet(), latents(), Plan(denoising)
    peak, seen = count(model, batch, plan).peak, measure(model, batch, plan)
    assert peak <= seen.allocator < 1.1 * peak
    assert seen.seconds > 0


def test_growth_under_an_earlier_peak_is_not_told(monkeypatch):
    records = iter([10**12, 10**12])
    monkeypatch.setattr(runtime, "peak_rss", lambda: next(records))
    assert measure(mlp(), pairs(), Plan(error)).process is None
    records = iter([1, 10**12])
    grown = measure(mlp(), pairs(), Plan(error)).process
    assert 0.9 * 10**12 < grown < 10**12


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_on_a_card_the_count_is_that_of_the_processor_and_within_the_allocators():
    model, batch = mlp().cuda(), [each.cuda() for each in pairs()]
    account, here = count(model, batch, Plan(error)), count(mlp(), pairs(), Plan(error))
    assert {kind: account.highest[kind] for kind in ("parameters", "gradients", "activations")} == {
        kind: here.highest[kind] for kind in ("parameters", "gradients", "activations")
    }
    assert predict(model, batch, Plan(error)).peak == pytest.approx(account.peak, rel=1e-3)
    assert measure(model, batch, Plan(error)).allocator >= account.peak - sum(each.nbytes for each in batch)


# --- one clear sentence -------------------------------------------------------------------------------------


def test_a_plan_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="precision='fp8': choose one of fp32, bf16, fp16"):
        Plan(error, precision="fp8")
    with pytest.raises(ValueError, match="accumulate=0: a step needs at least one part"):
        Plan(error, accumulate=0)
    with pytest.raises(ValueError, match="cannot be cut into 5 equal parts"):
        count(mlp(), pairs(), Plan(error, accumulate=5))
    with pytest.raises(ValueError, match="steps=0: take at least one step"):
        predict(mlp(), pairs(), Plan(error), steps=0)
    with pytest.raises(ValueError, match="Sequential has no checkpointing of its own: name its blocks"):
        count(mlp(), pairs(), Plan(error, checkpointing=True))
    with pytest.raises(ValueError, match="no modules of the model"), checkpointing(mlp(), [nn.ReLU()]):
        pass


def test_what_is_no_model_or_no_loss_is_refused():
    with pytest.raises(TypeError, match="str is no model: give an nn.Module"):
        count("captioner", pairs(), Plan(error))
    with pytest.raises(ValueError, match="on the device 'meta': give the function that makes it"):
        predict(nn.Linear(2, 2, device="meta"), pairs(), Plan(error))
    with pytest.raises(ValueError, match="nothing in this model can learn"):
        count(mlp().requires_grad_(False), pairs(), Plan(error))
    with pytest.raises(ValueError, match="the loss must be one number"):
        count(mlp(), pairs(), Plan(lambda model, batch: model(batch[0])))


def test_the_room_names_its_kinds():
    assert set(count(mlp(), pairs(), Plan(error), 1).timeline) == set(memory.KINDS)
