"""What travels between processes: plain data and names as JSON, tensors as safetensors."""

import importlib
import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

PLAIN = (bool, int, float, str, type(None))


def write(path: Path, value: Any) -> None:
    """Write a value as `path`.json and `path`.safetensors; the JSON appears last, and whole."""
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(_plain(value, tensors))
    save_file(tensors, path.with_suffix(".safetensors"))
    partial_file = path.with_suffix(".partial")
    partial_file.write_text(text, encoding="utf-8")
    partial_file.replace(path.with_suffix(".json"))


def read(path: Path) -> Any:
    """What `write` wrote; the functions and classes in it are imported by name."""
    tensors = load_file(path.with_suffix(".safetensors"))
    return _value(json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), tensors)


def address(thing: Callable) -> str:
    """The name under which another process can import a function or a class: "module:name"."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if isinstance(module, str) and isinstance(name, str) and module != "__main__" and "<" not in name:
        try:
            if called(f"{module}:{name}") is thing:
                return f"{module}:{name}"
        except (ImportError, AttributeError):
            pass
    what = "a lambda" if str(name).endswith("<lambda>") else name or repr(thing)
    raise ValueError(
        f"other processes cannot import {what}: write it at the top of a module, a .py file beside the "
        "notebook say, and import it from there"
    )


def called(address: str) -> Callable:
    """Import what an address names."""
    module, _, name = address.partition(":")
    return reduce(getattr, name.split("."), importlib.import_module(module))


def _plain(value: Any, tensors: dict) -> Any:
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, torch.Tensor):
        tensors[str(len(tensors))] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(value, (list, tuple)):
        return {"list" if isinstance(value, list) else "tuple": [_plain(each, tensors) for each in value]}
    if isinstance(value, dict):
        return {"dict": [[_plain(key, tensors), _plain(each, tensors)] for key, each in value.items()]}
    if isinstance(value, partial):
        return {"partial": _plain([value.func, value.args, value.keywords], tensors)}
    if is_dataclass(value) and not isinstance(value, type):
        filled = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"made": address(type(value)), "fields": _plain(filled, tensors)}
    if callable(value) and hasattr(value, "__qualname__"):
        return {"name": address(value)}
    raise TypeError(
        f"a {type(value).__name__} cannot travel between processes: send numbers, words, tensors, lists, dicts, "
        "dataclasses and functions of a module (for a model, the function that makes it)"
    )


def _value(plain: Any, tensors: dict) -> Any:
    if not isinstance(plain, dict):
        return plain
    kind, content = next(iter(plain.items()))
    if kind == "tensor":
        return tensors[content]
    if kind in ("list", "tuple"):
        return (list if kind == "list" else tuple)(_value(each, tensors) for each in content)
    if kind == "dict":
        return {_value(key, tensors): _value(each, tensors) for key, each in content}
    if kind == "partial":
        function, args, keywords = _value(content, tensors)
        return partial(function, *args, **keywords)
    return called(content)(**_value(plain["fields"], tensors)) if kind == "made" else called(content)
