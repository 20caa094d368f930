"""Low-rank changes to a frozen model: by hand, and equal to peft's.

A LoRA has a name, so that several can be added to one model and combined.  The model keeps its classes and the names
of its weights: each change stands in its layer, as `layer.low_rank[name]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

# --- one layer ----------------------------------------------------------------------------------------------


class LowRank(nn.Module):
    """A change of rank r beside a frozen layer:  W x + scale · α/r · B A x.  Hu et al. 2021, section 4.1.

    A: (r, in) is random, as in `nn.Linear`, and B: (out, r) is zero: nothing changes before the first step.
    At a convolution A has the layer's kernel, (r, in, k, k), and B one of 1 × 1.
    """

    def __init__(self, layer: nn.Module, rank: int, alpha: float, generator: torch.Generator | None = None):
        super().__init__()
        self.rank, self.alpha, self.scale = rank, alpha, 1.0
        self.A, self.B = _pair(layer, rank)
        start = torch.empty(self.A.weight.shape, device=generator.device if generator else self.A.weight.device)
        self.A.weight.data.copy_(nn.init.kaiming_uniform_(start, a=5**0.5, generator=generator))
        nn.init.zeros_(self.B.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.alpha / self.rank * self.B(self.A(x))

    def matrix(self) -> Tensor:
        """The same change written out, to be added to W: (out, in), or (out, in · k · k)."""
        return self.scale * self.alpha / self.rank * self.B.weight.flatten(1) @ self.A.weight.flatten(1)


def _pair(layer: nn.Module, rank: int) -> tuple[nn.Module, nn.Module]:
    """A, which reads what the layer reads, and B, which writes what it writes; both not yet filled."""
    inputs, outputs = _sides(layer)
    if isinstance(layer, nn.Conv2d):
        look = {key: getattr(layer, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
        reads = nn.Conv2d(layer.in_channels, rank, **look, bias=False, device="meta")
        pair = reads, nn.Conv2d(rank, outputs, 1, bias=False, device="meta")
    else:
        pair = tuple(nn.Linear(*sides, bias=False, device="meta") for sides in ((inputs, rank), (rank, outputs)))
    dtype = layer.weight.dtype if layer.weight.is_floating_point() else torch.float32  # beside a quantised layer
    for each in pair:
        each.weight = nn.Parameter(torch.empty(each.weight.shape, device=layer.weight.device, dtype=dtype))
    return pair


def _sides(layer: nn.Module | None) -> tuple[int, int] | None:
    """Inputs and outputs of a layer's matrix; None for a layer that no LoRA can change."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    if isinstance(layer, nn.Conv2d) and layer.groups == 1:
        return layer.weight[0].numel(), layer.out_channels
    return tuple(layer.weight.shape) if _transposed(layer) else None


def _transposed(layer: nn.Module | None) -> bool:
    """Whether this is a linear layer as GPT-2 has it, whose weight is (in, out)."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(layer, Conv1D)


def _beside(layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    """After the layer's own forward: add each change that is not yet in its weight."""
    if layer.low_rank.frozen is None:
        for change in layer.low_rank.values():
            output = output + change(inputs[0]) if change.scale else output
    return output


# --- a model ------------------------------------------------------------------------------------------------


def add(
    model: nn.Module,
    rank: int,
    targets: Sequence[str],
    alpha: float | None = None,
    name: str = "default",
    generator: torch.Generator | None = None,
) -> list[str]:
    """Freeze the model and put a trainable change of some rank beside each target; the paths of these are returned.

    targets: endings of layers' names, such as "to_q" or "attn.c_attn": `nn.Linear`, `nn.Conv2d` or GPT-2's `Conv1D`.
    alpha: α, the strength at scale 1 is α/r (None: α = r).  Earlier LoRAs are frozen too, and stay at work.
    """
    _refuse(model, name)
    if rank < 1:
        raise ValueError(f"rank={rank}: a change has at least rank=1")
    layers = _targets(model, targets)
    for path, layer in layers.items():
        if rank > min(_sides(layer)):
            inputs, outputs = _sides(layer)
            raise ValueError(
                f"rank={rank} is larger than {path}, a matrix of {outputs} × {inputs}: use rank <= {min(_sides(layer))}"
            )
    alpha = rank if alpha is None else alpha
    _attach(model, name, {path: LowRank(layer, rank, alpha, generator) for path, layer in layers.items()})
    return list(layers)


def names(model: nn.Module) -> list[str]:
    """The LoRAs that a model has, in the order in which they came."""
    return list(dict.fromkeys(name for layer in _changed(model).values() for name in layer.low_rank))


def parameters(model: nn.Module, name: str = "default") -> list[nn.Parameter]:
    """The A and B of one LoRA, layer by layer."""
    return [p for change in _changes(model, name).values() for p in change.parameters()]


def combine(model: nn.Module, scales: dict[str, float]) -> None:
    """Use several LoRAs at once, each as strong as its scale; those not named are off (peft's `set_adapters`)."""
    _refuse(model)
    for name in scales:
        _changes(model, name)
    for layer in _changed(model).values():
        for name, change in layer.low_rank.items():
            change.scale = scales.get(name, 0.0)


@torch.no_grad()
def merge(model: nn.Module) -> None:
    """Add the changes to the weights, W + scale · α/r · B A: the same output, and nothing to compute beside it.

    The weights as they were are kept until `unmerge`, which brings them back bit for bit, or `remove`.
    """
    _refuse(model)
    if not names(model):
        _missing(model, "default")
    for path, layer in _changed(model).items():
        if not layer.weight.is_floating_point():
            raise ValueError(f"{path} is quantised, and rounding would lose the change: leave the LoRA beside it")
    for layer in _changed(model).values():
        weight, change = layer.weight, sum(change.matrix() for change in layer.low_rank.values())
        change = (change.T if _transposed(layer) else change).view_as(weight).to(weight.dtype)
        layer.low_rank.frozen = weight
        layer.weight = nn.Parameter(weight + change, requires_grad=False)


def unmerge(model: nn.Module) -> None:
    """Put the changes beside the weights again."""
    for layer in _changed(model).values():
        if layer.low_rank.frozen is not None:
            layer.weight, layer.low_rank.frozen = layer.low_rank.frozen, None


def remove(model: nn.Module, name: str | None = None) -> None:
    """Take one LoRA off the model, or all (None); what is merged stays in the weights.  The model stays frozen."""
    if name is not None:
        _refuse(model)
    for going in names(model) if name is None else [name]:
        for path in _changes(model, going):
            layer = model.get_submodule(path)
            del layer.low_rank[going]
            if not layer.low_rank:
                layer.low_rank.hook.remove()
                del layer.low_rank


def _attach(model: nn.Module, name: str, changes: dict[str, LowRank]) -> None:
    model.requires_grad_(False)
    for path, change in changes.items():
        layer = model.get_submodule(path)
        if not hasattr(layer, "low_rank"):
            layer.low_rank = nn.ModuleDict()
            layer.low_rank.register_parameter("frozen", None)  # the weight without changes, while they are merged
            layer.low_rank.hook = layer.register_forward_hook(_beside)
        layer.low_rank[name] = change


def _targets(model: nn.Module, targets: Sequence[str]) -> dict[str, nn.Module]:
    """The layers whose names end as asked, by path."""
    targets = [targets] if isinstance(targets, str) else list(targets)
    modules = {path: module for path, module in model.named_modules() if "low_rank" not in path}
    ends = {end: [path for path in modules if f".{path}".endswith(f".{end}")] for end in targets}
    unmet = [end for end, paths in ends.items() if not paths]
    if unmet or not targets:
        known = {re.search(r"[^.]*(\.\d+)*$", path)[0] for path, module in modules.items() if _sides(module)}
        asked = repr(unmet[0]) if unmet else "nothing"
        raise ValueError(f"no layer's name ends in {asked}; choose targets from: {', '.join(sorted(known))}")
    found = {path: modules[path] for path in modules if any(path in paths for paths in ends.values())}
    for path, module in found.items():
        if not _sides(module):
            raise ValueError(
                f"{path} is a {type(module).__name__}: choose targets that are nn.Linear, Conv1D or ungrouped nn.Conv2d"
            )
    return found


def _changed(model: nn.Module) -> dict[str, nn.Module]:
    return {path: layer for path, layer in model.named_modules() if hasattr(layer, "low_rank")}


def _changes(model: nn.Module, name: str) -> dict[str, LowRank]:
    """One LoRA, by the path of the layer it changes."""
    layers = _changed(model).items()
    return {path: layer.low_rank[name] for path, layer in layers if name in layer.low_rank} or _missing(model, name)


def _missing(model: nn.Module, name: str) -> None:
    known = ", ".join(names(model)) or "none"
    raise ValueError(f"this model has no LoRA {name!r} (it has: {known}); lora.add or lora.load gives it one")


def _refuse(model: nn.Module, new: str | None = None) -> None:
    """Say why a model's LoRAs cannot be changed now, or why none can be called so."""
    if any(layer.low_rank.frozen is not None for layer in _changed(model).values()):
        raise ValueError("the LoRAs are merged into the weights: call lora.unmerge(model) first")
    if new in names(model):
        raise ValueError(f"this model already has a LoRA {new!r}: lora.remove it first, or give another name")
    if new is not None and (not new.isidentifier() or hasattr(nn.ModuleDict(), new) or new in ("frozen", "hook")):
        raise ValueError(f"a LoRA cannot be called {new!r}: choose one word of letters, digits and _, such as 'style'")


# --- files --------------------------------------------------------------------------------------------------

UNET = "pytorch_lora_weights.safetensors", "unet."  # as `pipe.load_lora_weights(folder)` looks for it
PEFT = "adapter_model.safetensors", "base_model.model."  # as `PeftModel.from_pretrained(model, folder)` does
NOTED, CONFIG = "lora_adapter_metadata", "adapter_config.json"  # where the two keep α


def state(model: nn.Module, name: str = "default") -> dict[str, Tensor]:
    """One LoRA as tensors, under peft's names: `<path>.lora_A.weight` and `<path>.lora_B.weight`."""
    changes = _changes(model, name).items()
    return {f"{path}.lora_{part}.weight": getattr(c, part).weight.detach() for path, c in changes for part in "AB"}


def save(model: nn.Module, folder: Path | str, name: str = "default") -> Path:
    """Write one LoRA of a denoiser as diffusers does, of any other model as peft does; the file is returned."""
    from safetensors.torch import save_file

    file, prefix = _place(model, folder)
    changes = _changes(model, name)
    first = next(iter(changes.values()))
    transposed = any(_transposed(model.get_submodule(path)) for path in changes)
    settings = dict(r=first.rank, lora_alpha=first.alpha, target_modules=list(changes), fan_in_fan_out=transposed)
    file.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "pt"}
    if prefix == UNET[1]:
        metadata[NOTED] = json.dumps({prefix + key: value for key, value in settings.items()})
    else:
        text = json.dumps({"peft_type": "LORA"} | settings, indent=1) + "\n"
        file.with_name(CONFIG).write_text(text, encoding="utf-8", newline="\n")
    tensors = {prefix + key: value.contiguous() for key, value in state(model, name).items()}
    save_file(tensors, file.with_suffix(".partial"), metadata)
    return file.with_suffix(".partial").replace(file)


def load(model: nn.Module, folder: Path | str, name: str = "default") -> list[str]:
    """Add a LoRA as `save`, peft or diffusers wrote it; it is ready to be used, or trained on, as after `add`."""
    _refuse(model, name)
    file, prefix = _place(model, folder)
    tensors, settings = _read(file, prefix)
    paths = sorted({key.rpartition(".lora_")[0] for key in tensors if ".lora_" in key})
    odd = tensors.keys() ^ {f"{path}.lora_{part}.weight" for path in paths for part in "AB"}
    ranks = {len(value) for key, value in tensors.items() if key.endswith("A.weight")}
    if odd or len(ranks) != 1 or settings.get("use_rslora") or settings.get("alpha_pattern"):
        raise ValueError(
            f"{file.name} is not a plain LoRA{f': see {min(odd)}' if odd else ''}; "
            "train it with one rank and one alpha for all layers, an A and a B for each, and nothing else"
        )
    rank = ranks.pop()
    alpha = settings.get("lora_alpha", rank)
    _attach(model, name, {path: _filled(model, path, rank, alpha, tensors) for path in paths})
    return paths


def _place(model: nn.Module, folder: Path | str) -> tuple[Path, str]:
    """The file of a LoRA of this model, and what its keys start with."""
    file, prefix = UNET if hasattr(model, "load_lora_adapter") else PEFT  # diffusers' models have this method
    return Path(folder) / file, prefix


def _read(file: Path, prefix: str) -> tuple[dict[str, Tensor], dict]:
    """Tensors by peft's names, and the settings that were written with them."""
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise ValueError(f"there is no {file.name} in {file.parent}: give a folder that lora.save has written")
    try:
        with safe_open(file, "pt") as opened:
            tensors = {key.removeprefix(prefix): opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            noted = json.loads((opened.metadata() or {}).get(NOTED, "{}"))
        if file.with_name(CONFIG).is_file() and prefix == PEFT[1]:
            noted = json.loads(file.with_name(CONFIG).read_text(encoding="utf-8"))
        return tensors, {key.removeprefix(prefix): value for key, value in noted.items()}
    except (SafetensorError, ValueError):  # not safetensors, not UTF-8, not JSON
        raise ValueError(f"the LoRA in {file.parent} is damaged: save or copy it again") from None


def _filled(model: nn.Module, path: str, rank: int, alpha: float, tensors: dict[str, Tensor]) -> LowRank:
    """A change with the A and B of a file, if they fit its layer."""
    layer = dict(model.named_modules()).get(path)
    if not _sides(layer):
        raise ValueError(f"this LoRA changes {path}: {_stranger(model, 'that layer')}")
    change = LowRank(layer, rank, alpha, torch.Generator(layer.weight.device))
    for part in "AB":
        weight, given = getattr(change, part).weight, tensors[f"{path}.lora_{part}.weight"]
        if weight.shape != given.shape:
            raise ValueError(
                f"this LoRA's {part} at {path} is {tuple(given.shape)} and not {tuple(weight.shape)}, "
                f"so {_stranger(model, 'the layer that it was trained beside')}"
            )
        weight.data.copy_(given)
    return change


def _stranger(model: nn.Module, what: str) -> str:
    return f"this {type(model).__name__} does not have {what}; load the LoRA into the model that it was trained on"


# --- bytes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What a model holds while AdamW trains it: how many numbers there are and learn, and bytes.

    Activations are not here: LoRA alone does not cut them, as gradients still pass through the frozen layers.
    """

    parameters: int
    trained: int
    weights: int
    gradients: int
    optimiser: int

    @property
    def share(self) -> float:
        """Of the numbers, the part that learns."""
        return self.trained / self.parameters


def cost(model: nn.Module) -> Cost:
    """Count a model as it is now, before or after `add`: a gradient for each number that learns, two for AdamW.

    Each trained tensor has a step counter of 4 bytes besides.
    """
    held = list(model.parameters())
    learns = [p for p in held if p.requires_grad]
    weights, gradients = (sum(p.numel() * p.element_size() for p in some) for some in (held, learns))
    numbers, trained = (sum(p.numel() for p in some) for some in (held, learns))
    return Cost(numbers, trained, weights, gradients, 2 * gradients + 4 * len(learns))
