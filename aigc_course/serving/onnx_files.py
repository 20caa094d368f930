"""The denoiser and the captioner as ONNX files, and what runs them without torch's layers: onnxruntime."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn

DENOISER, EYES, TONGUE = "denoiser.onnx", "eyes.onnx", "tongue.onnx"
MOST = 64  # pictures in one batch of an exported network


class _Denoiser(nn.Module):
    def __init__(self, unet: nn.Module):
        super().__init__()
        self.unet = unet

    def forward(self, x_t: Tensor, t: Tensor, words: Tensor) -> Tensor:
        return self.unet(x_t, t, encoder_hidden_states=words, return_dict=False)[0]


class _Eyes(nn.Module):
    def __init__(self, captioner: nn.Module):
        super().__init__()
        self.encoder, self.widen = captioner.encoder, getattr(captioner, "enc_to_dec_proj", None)

    def forward(self, pictures: Tensor) -> Tensor:
        seen = self.encoder(pictures).last_hidden_state
        return seen if self.widen is None else self.widen(seen)


class _Tongue(nn.Module):
    def __init__(self, captioner: nn.Module):
        super().__init__()
        self.decoder = captioner.decoder

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        return self.decoder(tokens, encoder_hidden_states=seen, use_cache=False, return_dict=False)[0]


def export_denoiser(pipe: Any, folder: Path | str) -> Path:
    """The U-Net of a pipeline as `denoiser.onnx`: x_t (B, C, h, w), t (B,), words (B, L, D) → (B, C, h, w)."""
    unet, side = pipe.unet.float().eval(), pipe.unet.config.sample_size
    words = torch.zeros(2, pipe.tokenizer.model_max_length, unet.config.cross_attention_dim)
    example = torch.zeros(2, unet.config.in_channels, side, side), torch.zeros(2), words
    return _export(_Denoiser(unet), example, ("x_t", "t", "words"), Path(folder) / DENOISER)


def export_captioner(captioner: Any, folder: Path | str, longest: int = 32) -> tuple[Path, Path]:
    """A captioner as two files: pictures (B, 3, H, W) → what was seen; tokens (B, T) and that → logits (B, T, V)."""
    captioner = captioner.float().eval()
    side = captioner.encoder.config.image_size
    pictures, tokens = torch.zeros(2, 3, side, side), torch.ones(2, longest, dtype=torch.long)
    eyes = _Eyes(captioner)
    with torch.no_grad():
        seen = eyes(pictures)
    first = _export(eyes, (pictures,), ("pictures",), Path(folder) / EYES)
    return first, _export(_Tongue(captioner), (tokens, seen), ("tokens", "seen"), Path(folder) / TONGUE, longer=True)


def _export(
    model: nn.Module, example: tuple[Tensor, ...], names: Sequence[str], file: Path, longer: bool = False
) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    batch = torch.export.Dim("batch", min=1, max=MOST)
    shapes = [{0: batch} for _ in names]
    if longer:
        shapes[0] |= {1: torch.export.Dim("length", min=2, max=example[0].shape[1])}
    with _silence(), torch.no_grad():
        program = torch.onnx.export(
            model, example, dynamo=True, input_names=list(names), output_names=["answer"], dynamic_shapes=tuple(shapes)
        )
        program.save(file)
    return file


@contextmanager
def _silence() -> Iterator[None]:
    """The exporter tells its own developers a lot."""
    loud = logging.getLogger("torch.onnx")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        loud.setLevel(level)


class Exported:
    """An ONNX file that can be called with tensors by name."""

    def __init__(self, file: Path | str, threads: int | None = None):
        if not Path(file).is_file():
            raise FileNotFoundError(f"there is no {Path(file).name}; write it with serving.export_…")
        how = onnxruntime.SessionOptions()
        how.intra_op_num_threads = threads or torch.get_num_threads()
        how.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(file), how, providers=["CPUExecutionProvider"])
        self.inputs = tuple(one.name for one in self.session.get_inputs())

    def __call__(self, **given: Tensor) -> Tensor:
        if set(given) != set(self.inputs):
            raise ValueError(f"this network reads {', '.join(self.inputs)}, not {', '.join(given)}")
        fed = {name: value.detach().cpu().contiguous().numpy() for name, value in given.items()}
        return torch.from_numpy(self.session.run(None, fed)[0])


class ExportedUNet(nn.Module):
    """Stands in a diffusers pipeline where its U-Net stood; only its inference is there."""

    def __init__(self, unet: nn.Module, file: Path | str):
        super().__init__()
        self.config, self.network = unet.config, Exported(file)
        self.dtype, self.device = torch.float32, torch.device("cpu")

    def forward(
        self, sample: Tensor, timestep: Any, encoder_hidden_states: Tensor, return_dict: bool = True, **_: Any
    ) -> Any:
        """As `UNet2DConditionModel.forward`; what else the pipeline hands over is None for it."""
        t = torch.as_tensor(timestep, dtype=torch.float32).expand(len(sample))
        made = self.network(x_t=sample.float(), t=t, words=encoder_hidden_states.float())
        return SimpleNamespace(sample=made) if return_dict else (made,)


def exported_pipeline(pipe: Any, folder: Path | str) -> Any:
    """The same pipeline with the denoiser from `folder`; the one given stays as it is."""
    other = copy(pipe)
    other.unet = ExportedUNet(pipe.unet, Path(folder) / DENOISER)
    return other


def exported_captions(folder: Path | str, tokenizer: Any, pictures: Tensor, language: str = "en") -> list[str]:
    """What the exported captioner says of pictures (B, 3, H, W), the likeliest token each time."""
    seen = Exported(Path(folder) / EYES)(pictures=pictures.float())
    tongue = Exported(Path(folder) / TONGUE)
    start = [tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids(f"<{language}>")]
    tokens = torch.tensor([start] * len(pictures))
    ended = torch.zeros(len(pictures), dtype=torch.bool)
    while tokens.shape[1] < tokenizer.model_max_length and not ended.all():
        said = tongue(tokens=tokens, seen=seen)[:, -1].argmax(1).masked_fill(ended, tokenizer.pad_token_id)
        ended |= said == tokenizer.eos_token_id
        tokens = torch.cat([tokens, said[:, None]], 1)
    return [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]
