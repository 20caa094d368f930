"""Tensor parallel: each process has some columns of a matrix and some rows of the next, and heads of attention."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

STYLES = {"columns": ColwiseParallel, "rows": RowwiseParallel}
KNOWN = (  # what stands side by side in a GPT-2, a CLIP, a U-Net's attention: columns, and the rows that they meet in
    (("c_attn", "q_attn"), "c_proj"),
    (("c_fc",), "c_proj"),
    (("q_proj", "k_proj", "v_proj"), "out_proj"),
    (("fc1",), "fc2"),
    (("to_q", "to_k", "to_v"), "to_out.0"),
)


def plan_of(model: nn.Module) -> dict[str, str]:
    """Which layers are split by "columns" (outputs) and which by "rows" (inputs): those of GPT-2, CLIP, U-Nets.

    Columns then rows need no word between the processes, only one sum after the rows.  Shoeybi et al. 2019.
    """
    layers = {name: module for name, module in model.named_modules() if _is_matrix(module)}
    plan: dict[str, str] = {}
    for parent, _ in model.named_modules():
        for columns, rows in KNOWN:
            there = [_join(parent, name) for name in columns if _join(parent, name) in layers]
            if there and _join(parent, rows) in layers:
                plan |= dict.fromkeys(there, "columns") | {_join(parent, rows): "rows"}
    if not plan:
        raise ValueError(
            f"{type(model).__name__} has no layer with a name that we know: say how to split it, "
            'plan={"0": "columns", "2": "rows"} for nn.Sequential(Linear, GELU, Linear), say'
        )
    return plan


def divide(model: nn.Module, plan: dict[str, str], mesh: DeviceMesh) -> dict[str, Callable[[Tensor], Tensor]]:
    """Split the layers of a plan over the processes; returns how to undo what was done to a weight, by its name."""
    back: dict[str, Callable[[Tensor], Tensor]] = {}
    for name, style in plan.items():
        layer = _layer(model, name)
        _check(name, layer, style, mesh.size())
        if not isinstance(layer, nn.Linear):
            undo = _to_linear(model, name, mesh.size())
            back |= {f"{name}.weight": undo, f"{name}.bias": undo}
    for parent in {name.rpartition(".")[0] for name, style in plan.items() if style == "columns"}:
        _deal_heads(model.get_submodule(parent), mesh.size())
    styles = {name: STYLES[style]() for name, style in plan.items()}
    parallelize_module(model, mesh, styles, src_data_rank=None)  # all have made the same weights
    return back


def _join(parent: str, name: str) -> str:
    return f"{parent}.{name}" if parent else name


def _layer(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise ValueError(f"the plan names {name!r}, which is no layer here: see model.named_modules()") from None


def _is_matrix(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"  # a Linear of transformers, transposed


def _check(name: str, layer: nn.Module, style: str, processes: int) -> None:
    if style not in STYLES:
        raise ValueError(f"the plan says {style!r} for {name!r}: choose 'columns' or 'rows'")
    if not _is_matrix(layer):
        raise ValueError(f"{name!r} is a {type(layer).__name__}: a plan splits Linear layers")
    rows, columns = layer.weight.shape if isinstance(layer, nn.Linear) else layer.weight.T.shape
    size = rows if style == "columns" else columns
    if size % processes:
        raise ValueError(f"{size} {style} of {name!r} cannot be dealt to {processes} processes: choose a multiple")


def _to_linear(model: nn.Module, name: str, processes: int) -> Callable[[Tensor], Tensor]:
    """Replace GPT-2's Conv1D by the same nn.Linear; where q, k and v share one, each process gets a part of all."""
    old, (parent, _, own) = model.get_submodule(name), name.rpartition(".")
    fused = old.weight.shape[1] // model.get_submodule(parent).split_size if own == "c_attn" else 1
    new = nn.Linear(*old.weight.shape, device=old.weight.device, dtype=old.weight.dtype)
    new.weight.data = _regroup(old.weight.data.T, fused, processes).contiguous()
    new.bias.data = _regroup(old.bias.data, fused, processes).contiguous()
    model.set_submodule(name, new)
    return partial(_as_it_was, fused=fused, processes=processes)


def _regroup(rows: Tensor, outer: int, inner: int) -> Tensor:
    """(outer · inner · n, …) → (inner · outer · n, …): q₀q₁k₀k₁v₀v₁ becomes q₀k₀v₀q₁k₁v₁."""
    return rows.unflatten(0, (outer, inner, -1)).transpose(0, 1).flatten(0, 2) if outer > 1 else rows


def _as_it_was(value: Tensor, fused: int, processes: int) -> Tensor:
    rows = _regroup(value, processes, fused) if fused > 1 else value
    return rows.T if rows.ndim == 2 else rows


def _deal_heads(module: nn.Module, processes: int) -> None:
    """Tell attention how many heads it has now: GPT-2 by `split_size`, a U-Net by `heads`, CLIP looks itself."""
    heads = getattr(module, "num_heads", None) or getattr(module, "heads", None)
    if not isinstance(heads, int):
        return
    if heads % processes:
        raise ValueError(f"{heads} heads of attention cannot be dealt to {processes} processes: choose a multiple")
    for name in ("split_size", "heads"):
        if hasattr(module, name):
            setattr(module, name, getattr(module, name) // processes)
