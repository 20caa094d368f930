"""Cuts a model into blocks."""

from torch import nn


def blocks(model: nn.Module) -> list[nn.Module]:
    """The layers that a model repeats: the members of its outermost lists that have parameters."""
    if isinstance(model, (nn.Sequential, nn.ModuleList)):
        return [part for part in model if next(part.parameters(), None) is not None]
    return [block for child in model.children() for block in blocks(child)]
