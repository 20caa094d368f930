"""Networks of our own that are kept as the stock ones are: weights in safetensors beside a config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from aigc_course import runtime
from aigc_course.models.storage import folder_of, verify


class Stored(nn.Module):
    """A network that `settings`, a dictionary of plain values, build anew."""

    def __init__(self, **settings: Any):
        super().__init__()
        self.settings = settings

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the weights, and in config.json what builds the network around them."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({n: v.cpu().contiguous() for n, v in self.state_dict().items()}, folder / "model.safetensors")
        config = json.dumps({"architectures": [type(self).__name__]} | self.settings, indent=2)
        (folder / "config.json").write_text(config + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def from_pretrained(cls, folder: Path | str, dtype: torch.dtype = torch.float32) -> Self:
        """The network that `save_pretrained` wrote."""
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        if config.pop("architectures", None) != [cls.__name__]:
            raise ValueError(f"{Path(folder).name} holds no {cls.__name__}: name the folder of one")
        model = cls(**config)
        model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
        return model.to(dtype).eval()

    @classmethod
    def shipped(cls, name: str) -> Self:
        """The one in `data/models/<name>`, its files checked, on this machine's device."""
        folder = folder_of(name)
        verify(folder)
        return cls.from_pretrained(folder).to(runtime.device())
