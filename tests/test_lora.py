"""The LoRA room: by hand equal to peft's, and a file that stock libraries read."""

import json
import re
from copy import deepcopy

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, PeftModel, get_peft_model, inject_adapter_in_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from test_models import tiny_pipeline
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from aigc_course import lora, models, runtime, training

LINEAR, CONV = ("to_q", "to_v", "to_out.0"), ("conv1", "conv", "proj_in")  # 3 × 3, 3 × 3 with stride 2, 1 × 1
CONV1D = ("c_attn", "mlp.c_proj")


def writer(width: int = 16) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    shape = dict(vocab_size=11, n_positions=8, n_embd=width, n_layer=2, n_head=2)
    return GPT2LMHeadModel(GPT2Config(**shape, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)).eval()


def painter() -> nn.Module:
    torch.manual_seed(0)
    return models.denoiser((16, 32)).eval()


WORLDS = [(painter, LINEAR), (painter, CONV), (writer, CONV1D)]
each_layer = pytest.mark.parametrize(("build", "targets"), WORLDS, ids=["Linear", "Conv2d", "Conv1D"])
each_model = pytest.mark.parametrize(("build", "targets"), WORLDS[1:], ids=["painter", "writer"])


@torch.no_grad()
def answer(model: nn.Module) -> torch.Tensor:
    """What a model says to the same question each time."""
    generator = torch.Generator().manual_seed(0)
    if "unet" in type(model).__name__.lower():
        z, text = (torch.randn(2, *shape, generator=generator) for shape in (models.LATENT, models.TEXT))
        return model(z.to(model.dtype), 500, encoder_hidden_states=text.to(model.dtype)).sample
    return model(torch.randint(11, (2, 8), generator=generator)).logits


def changed(model: nn.Module, targets, name: str = "default", rank: int = 3, alpha: float | None = 6, seed: int = 1):
    """A model with a LoRA that has learnt something, which is to say noise."""
    generator = torch.Generator().manual_seed(seed)
    lora.add(model, rank, targets, alpha, name, generator)
    for p in lora.parameters(model, name):
        p.data.normal_(0, 0.2, generator=generator)
    return model


def same(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def differ(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() > 1e-3)


def values(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def batches() -> list[torch.Tensor]:
    return [torch.randint(11, (4, 8), generator=torch.Generator().manual_seed(i)) for i in range(4)]


def surprise(model, batch):
    return F.cross_entropy(model(batch).logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten())


# --- one LoRA -----------------------------------------------------------------------------------------------


@each_layer
def test_before_the_first_step_nothing_has_changed(build, targets):
    model = build()
    before = answer(model)
    paths = lora.add(model, 3, targets)
    assert len(paths) >= 3 and all(path.endswith(targets) for path in paths)
    assert torch.equal(answer(model), before)
    for path in paths:
        change = model.get_submodule(path).low_rank["default"]
        assert not change.B.weight.any() and change.A.weight.std() > 0, "A must not be zero, or nothing ever learns"


def test_the_same_generator_gives_the_same_start_and_nothing_else_is_drawn():
    model = nn.Sequential(nn.Linear(8, 8), nn.Conv2d(8, 8, 3))
    state = torch.get_rng_state()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        lora.add(model, 2, ["0", "1"], name=name, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(torch.get_rng_state(), state)
    a, b, c = (lora.parameters(model, name)[0] for name in "abc")
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.abs().max() <= 8**-0.5, "drawn as nn.Linear draws: within 1 / √inputs"


def test_a_lora_starts_alike_in_every_number_format_and_on_every_device():
    starts = [lora.LowRank(nn.Linear(8, 6, dtype=kind), 2, 2, runtime.generator(0)) for kind in (None, torch.bfloat16)]
    assert torch.equal(starts[0].A.weight.bfloat16(), starts[1].A.weight)
    elsewhere = lora.LowRank(nn.Linear(8, 6, device="meta"), 2, 2, runtime.generator(0))
    assert elsewhere.A.weight.device.type == "meta", "drawn on the generator's device, put where the layer is"


@each_layer
def test_by_hand_is_equal_to_peft_with_the_same_a_and_b(build, targets):
    plain = build()
    ours = changed(deepcopy(plain), targets)
    config = LoraConfig(r=3, lora_alpha=6, target_modules=list(targets), fan_in_fan_out=build is writer)
    theirs = inject_adapter_in_model(config, deepcopy(plain))
    assert get_peft_model_state_dict(theirs).keys() == lora.state(ours).keys(), "the same layers, by the same names"
    set_peft_model_state_dict(theirs, lora.state(ours))
    assert differ(answer(ours), answer(plain))
    same(answer(ours), answer(theirs))


@each_layer
def test_merged_is_equal_to_beside_and_unmerge_brings_back_every_bit(build, targets):
    model = changed(build().double(), targets)  # in float32 a deep network multiplies what rounding leaves
    before, beside = values(model), answer(model)
    lora.merge(model)
    layers = [layer for layer in model.modules() if hasattr(layer, "low_rank")]
    for change in (change for layer in layers for change in layer.low_rank.values()):
        change.forward = None  # calls to it would now fail: what is merged is not computed again
    same(answer(model), beside)
    for layer in layers:
        for change in layer.low_rank.values():
            del change.forward
    lora.unmerge(model)
    after = values(model)
    assert after.keys() == before.keys() and all(torch.equal(after[key], before[key]) for key in before)
    assert torch.equal(answer(model), beside)


def test_beside_a_padded_dilated_convolution_and_over_further_axes_the_matrix_is_the_change():
    torch.manual_seed(0)
    for layer, x in (
        (nn.Conv2d(4, 6, 3, padding=2, dilation=2, padding_mode="reflect"), torch.randn(2, 4, 9, 9)),
        (nn.Linear(4, 6, bias=False), torch.randn(2, 3, 5, 4)),
    ):
        model = changed(nn.Sequential(layer), ["0"])
        beside = model(x)
        lora.merge(model)
        same(model(x), beside)


def test_a_shared_weight_is_changed_only_where_the_lora_is():
    model = changed(writer(), ["lm_head"])
    words, beside = model.transformer.wte.weight, answer(model)
    lora.merge(model)
    same(answer(model), beside)
    lora.unmerge(model)
    assert model.lm_head.weight is model.transformer.wte.weight is words


def test_beside_a_quantised_layer_the_change_is_in_float_and_cannot_be_merged():
    class Rounded(nn.Linear):
        def forward(self, x):
            return F.linear(x, self.weight / 100)

    model, x = nn.Sequential(Rounded(4, 4, bias=False)), torch.randn(2, 4)
    model[0].weight = nn.Parameter((100 * model[0].weight.detach()).to(torch.int8), requires_grad=False)
    before = model(x)
    changed(model, ["0"])
    assert {p.dtype for p in lora.parameters(model)} == {torch.float32} and differ(model(x), before)
    with pytest.raises(ValueError, match="0 is quantised, and rounding would lose the change: leave the LoRA"):
        lora.merge(model)


def test_training_moves_the_lora_and_no_bit_of_the_frozen_model():
    model = writer()
    before = values(model)
    lora.add(model, 2, CONV1D)
    losses = sum(surprise(model, batch).item() for batch in batches())
    training.fit(model, batches(), surprise, steps=20, learning_rate=0.02, progress=False)
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert all(p.any() for p in lora.parameters(model)), "every B has left zero"
    assert sum(surprise(model, batch).item() for batch in batches()) < losses
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in lora.parameters(model)}


def test_a_second_lora_trains_alone_and_the_first_stays_at_work():
    model = changed(writer(), CONV1D, "first")
    first, before = [p.clone() for p in lora.parameters(model, "first")], answer(model)
    lora.add(model, 2, ["c_attn"], name="second")
    assert torch.equal(answer(model), before)
    training.fit(model, batches(), surprise, steps=3, progress=False)
    assert all(torch.equal(p, was) for p, was in zip(lora.parameters(model, "first"), first))
    assert differ(answer(model), before) and lora.names(model) == ["first", "second"]


@each_model
def test_the_model_keeps_the_names_of_its_weights_and_without_loras_it_is_as_it_was(build, targets):
    model = build()
    names, before = set(model.state_dict()), answer(model)
    changed(model, targets, "style")
    changed(model, targets[:1], "thing")
    assert names < set(model.state_dict())
    lora.remove(model, "style")
    assert lora.names(model) == ["thing"] and differ(answer(model), before)
    lora.remove(model)
    assert set(model.state_dict()) == names and lora.names(model) == []
    assert torch.equal(answer(model), before)
    assert not any(layer._forward_hooks for layer in model.modules())


def test_merged_and_removed_it_is_a_plain_model_with_the_change_in_its_weights(tmp_path):
    model = changed(writer(), CONV1D)
    names, beside = set(writer().state_dict()), answer(model)
    lora.merge(model)
    lora.remove(model)
    assert set(model.state_dict()) == names
    model.save_pretrained(tmp_path)
    same(answer(GPT2LMHeadModel.from_pretrained(tmp_path).eval()), beside)


def test_a_copy_of_a_model_has_loras_of_its_own():
    model = changed(writer(), CONV1D)
    copy, before = deepcopy(model), answer(model)
    assert torch.equal(answer(copy), before)
    for p in lora.parameters(copy):
        p.data.zero_()
    assert torch.equal(answer(model), before) and torch.equal(answer(copy), answer(writer()))
    lora.remove(copy)
    assert torch.equal(answer(model), before) and not any(layer._forward_hooks for layer in copy.modules())


# --- several ------------------------------------------------------------------------------------------------


def test_loras_combine_with_weights_as_in_a_stock_pipeline(tmp_path):
    unet, pipe = tiny_pipeline().unet.double().eval(), tiny_pipeline()
    pipe.unet.double()
    plain = answer(unet)
    for name, targets, seed in (("style", LINEAR, 1), ("thing", ("to_k", *CONV), 2)):
        changed(unet, targets, name, seed=seed)
        lora.save(unet, tmp_path / name, name)
        pipe.load_lora_weights(tmp_path / name, adapter_name=name)
    seen = [plain]
    for scales in ({"style": 0.7, "thing": -0.4}, {"thing": 1.0}, {"style": 2.0}):
        lora.combine(unet, scales)
        pipe.set_adapters(list(scales), list(scales.values()))
        same(answer(unet), answer(pipe.unet.eval()))
        assert all(differ(answer(unet), before) for before in seen)
        seen.append(answer(unet))
    lora.merge(unet)
    same(answer(unet), seen[-1])
    lora.unmerge(unet)
    lora.combine(unet, {})
    assert torch.equal(answer(unet), plain)


# --- files --------------------------------------------------------------------------------------------------


@each_model
def test_saved_and_loaded_into_a_fresh_model_it_answers_the_same_and_can_learn_on(build, targets, tmp_path):
    model, fresh = changed(build(), targets), build()
    file = lora.save(model, tmp_path / "new" / "folder")
    assert not [path for path in file.parent.iterdir() if path.suffix not in (".safetensors", ".json")]
    state = torch.get_rng_state()
    paths = lora.load(fresh, file.parent, "again")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(answer(fresh), answer(model))
    assert 2 * len(paths) == len(lora.state(model)) == len([p for p in fresh.parameters() if p.requires_grad])


def test_a_stock_pipeline_loads_our_file_and_its_denoiser_answers_as_ours(tmp_path):
    ours = changed(tiny_pipeline().unet.eval(), LINEAR + CONV)
    lora.save(ours, tmp_path)
    pipe = tiny_pipeline()
    pipe.load_lora_weights(tmp_path)
    same(answer(pipe.unet.eval()), answer(ours))


def test_we_load_what_a_stock_pipeline_has_saved_with_and_without_a_note_of_alpha(tmp_path):
    plain = tiny_pipeline().unet.eval()
    for alpha, noted in ((6, True), (3, False)):  # without a note, diffusers takes alpha to be the rank
        ours = changed(deepcopy(plain), LINEAR, alpha=alpha)
        note = dict(r=3, lora_alpha=alpha, target_modules=list(LINEAR)) if noted else None
        StableDiffusionPipeline.save_lora_weights(tmp_path, lora.state(ours), unet_lora_adapter_metadata=note)
        fresh = deepcopy(plain)
        lora.load(fresh, tmp_path)
        assert torch.equal(answer(fresh), answer(ours))


def test_peft_loads_our_file_and_we_load_its(tmp_path):
    ours = changed(writer(), CONV1D)
    lora.save(ours, tmp_path / "ours")
    theirs = PeftModel.from_pretrained(writer(), tmp_path / "ours").eval()
    same(answer(theirs), answer(ours))

    config = LoraConfig(r=2, lora_alpha=5, target_modules=list(CONV1D), fan_in_fan_out=True, init_lora_weights=False)
    theirs, fresh = get_peft_model(writer(), config).eval(), writer()
    theirs.save_pretrained(tmp_path / "theirs")
    lora.load(fresh, tmp_path / "theirs")
    assert differ(answer(fresh), answer(writer()))
    same(answer(fresh), answer(theirs))


# --- bytes --------------------------------------------------------------------------------------------------


def test_the_counted_bytes_are_those_of_a_real_step():
    costs = []
    for with_lora in (False, True):
        model = writer()
        if with_lora:
            lora.add(model, 2, ["c_attn"])
        trained = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(trained)
        surprise(model, batches()[0]).backward()
        optimiser.step()
        cost = lora.cost(model)
        assert cost.weights == sum(p.nbytes for p in model.parameters())
        assert cost.gradients == sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
        assert cost.optimiser == sum(x.nbytes for state in optimiser.state.values() for x in state.values())
        assert cost.trained == sum(p.numel() for p in trained)
        costs.append(cost)
    whole, low = costs
    assert whole.share == 1 and low.trained == 2 * 2 * (16 + 48), "2 layers of rank 2, 16 in and 48 out"
    assert low.share == low.trained / (whole.parameters + low.trained)
    assert low.weights - whole.weights == 4 * low.trained


def test_a_lora_can_be_planned_without_its_numbers():
    with FakeTensorMode():
        model = writer()
        lora.add(model, 2, ["c_attn"])
        assert lora.cost(model).trained == 2 * 2 * (16 + 48)


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (dict(targets=["to_q"]), "no layer's name ends in 'to_q'; choose targets from: c_attn, c_fc, c_proj, lm_head"),
        (dict(targets=["c_attn", "attn"]), r"transformer.h.0.attn is a GPT2Attention: choose targets that are nn.Lin"),
        (dict(targets=["c_atn", "c_proj"]), "no layer's name ends in 'c_atn'"),
        (dict(targets=[]), "ends in nothing; choose targets from"),
        (dict(rank=0), "rank=0: a change has at least rank=1"),
        (dict(rank=17), r"rank=17 is larger than transformer.h.0.attn.c_attn, a matrix of 48 × 16: use rank <= 16"),
        (dict(name="old"), "already has a LoRA 'old': lora.remove it first, or give another name"),
        (dict(name="my.style"), "cannot be called 'my.style': choose one word"),
        (dict(name="keys"), "cannot be called 'keys'"),
        (dict(name="hook"), "cannot be called 'hook'"),
    ],
)
def test_a_lora_that_cannot_be_added_gets_one_sentence_and_leaves_the_model_alone(ask, sentence):
    model = changed(writer(), ["c_proj"], "old")
    names, learning = set(model.state_dict()), [p.requires_grad for p in model.parameters()]
    with pytest.raises(ValueError, match=sentence):
        lora.add(model, **dict(rank=2, targets=["c_attn"]) | ask)
    assert set(model.state_dict()) == names and [p.requires_grad for p in model.parameters()] == learning


def test_one_target_may_be_given_as_a_word_and_a_name_ends_at_a_dot():
    assert lora.add(writer(), 2, "c_attn") == ["transformer.h.0.attn.c_attn", "transformer.h.1.attn.c_attn"]
    with pytest.raises(ValueError, match="ends in 'attn2'"):
        lora.add(nn.ModuleDict({"cattn2": nn.Linear(4, 4)}), 2, "attn2")


def test_a_grouped_convolution_is_refused():
    with pytest.raises(ValueError, match="0 is a Conv2d: .* ungrouped nn.Conv2d"):
        lora.add(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), 2, ["0"])


@pytest.mark.parametrize(
    "use",
    [
        lambda model, folder: lora.add(model, 2, ["c_proj"], name="other"),
        lambda model, folder: lora.load(model, folder, "other"),
        lambda model, folder: lora.combine(model, {"default": 0.5}),
        lambda model, folder: lora.remove(model, "default"),
        lambda model, folder: lora.merge(model),
    ],
)
def test_what_is_merged_must_be_unmerged_first(use, tmp_path):
    model = changed(writer(), CONV1D)
    lora.save(model, tmp_path)
    lora.merge(model)
    before = values(model)
    with pytest.raises(ValueError, match=r"are merged into the weights: call lora.unmerge\(model\) first"):
        use(model, tmp_path)
    assert values(model).keys() == before.keys()
    lora.unmerge(model)
    use(model, tmp_path)


@pytest.mark.parametrize(
    "use",
    [
        lambda model, folder: lora.parameters(model, "thing"),
        lambda model, folder: lora.state(model, "thing"),
        lambda model, folder: lora.save(model, folder / "new", "thing"),
        lambda model, folder: lora.remove(model, "thing"),
        lambda model, folder: lora.combine(model, {"style": 1.0, "thing": 1.0}),
    ],
)
def test_a_lora_that_is_not_there_is_named_beside_those_that_are(use, tmp_path):
    with pytest.raises(ValueError, match=r"no LoRA 'thing' \(it has: style\); lora.add or lora.load gives it one"):
        use(changed(writer(), CONV1D, "style"), tmp_path)
    assert not any(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"\(it has: none\)"):
        lora.merge(writer())


def edited(change):
    """A way to spoil a file: its tensors, by a function."""

    def spoil(file):
        tensors = load_file(file)
        change(tensors, min(tensors))
        save_file(tensors, file)

    return spoil


def set_alphas(file):
    config = file.with_name("adapter_config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"alpha_pattern": {"c_attn": 1}}))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda file: file.unlink(), "there is no adapter_model.safetensors in .*: give a folder that lora.save"),
        (lambda file: file.write_bytes(file.read_bytes()[:100]), "is damaged: save or copy it again"),
        (lambda file: file.with_name("adapter_config.json").write_text("{"), "is damaged"),
        (edited(lambda tensors, key: tensors.pop(key)), "is not a plain LoRA: see transformer.h.0.attn.c_attn.lora_A"),
        (edited(lambda tensors, key: tensors.update({"a.bias": torch.ones(2)})), "is not a plain LoRA: see a.bias"),
        (edited(lambda tensors, key: tensors.clear()), "is not a plain LoRA"),
        (edited(lambda tensors, key: tensors.update({key: torch.ones(2, 16)})), "train it with one rank"),
        (set_alphas, "one alpha"),
    ],
)
def test_a_bad_file_gets_one_sentence_and_leaves_the_model_alone(spoil, sentence, tmp_path):
    file = lora.save(changed(writer(), CONV1D), tmp_path)
    spoil(file)
    model = writer()
    names = set(model.state_dict())
    with pytest.raises(ValueError, match=sentence):
        lora.load(model, tmp_path)
    assert set(model.state_dict()) == names and all(p.requires_grad for p in model.parameters())


def test_a_lora_of_another_model_is_refused(tmp_path):
    lora.save(changed(writer(), CONV1D), tmp_path)
    wide, short = writer(32), writer()
    del short.transformer.h[1]
    lacks, end = "this GPT2LMHeadModel does not have", "; load the LoRA into the model that it was trained on"
    shapes = "this LoRA's A at transformer.h.0.attn.c_attn is (3, 16) and not (3, 32), so"
    for model, sentence in (
        (wide, f"{shapes} {lacks} the layer that it was trained beside"),
        (short, f"this LoRA changes transformer.h.1.attn.c_attn: {lacks} that layer"),
    ):
        names = set(model.state_dict())
        with pytest.raises(ValueError, match=f"^{re.escape(sentence + end)}$"):
            lora.load(model, tmp_path)
        assert set(model.state_dict()) == names
    taken = changed(writer(), CONV1D)
    with pytest.raises(ValueError, match="already has a LoRA 'default'"):
        lora.load(taken, tmp_path)
