"""Public checkpoints in the roles of the cast: which, at which commit, and whether this machine has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Checkpoint:
    """A public checkpoint: its repository on the hub, the commit that is meant, and the files of it that are used."""

    repository: str
    revision: str
    files: tuple[str, ...]


def _diffusers(*more: str) -> tuple[str, ...]:
    """The files of a Stable Diffusion pipeline, its weights in half precision."""
    words = ("merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json")
    network = ("config.json", "diffusion_pytorch_model.fp16.safetensors")
    folders = {
        "scheduler": ("scheduler_config.json",),
        "text_encoder": ("config.json", "model.fp16.safetensors"),
        "tokenizer": words,
        "unet": network,
        "vae": network,
    }
    return ("model_index.json", *(f"{folder}/{file}" for folder, files in folders.items() for file in files), *more)


_NETWORK = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
CHECKPOINTS = {
    "captioner": Checkpoint(
        "Salesforce/blip-image-captioning-large",
        "353689b859fcf0523410b1806dace5fb46ecdf41",
        (*_NETWORK, "preprocessor_config.json", "special_tokens_map.json", "vocab.txt"),
    ),
    "clip": Checkpoint(
        "openai/clip-vit-large-patch14",
        "32bd64288804d66eefd0ccbe215aa642df71cc41",
        (*_NETWORK, "preprocessor_config.json"),
    ),
    "lm": Checkpoint(
        "openai-community/gpt2",
        "607a30d783dfa663caf39e06633721c8d4cfcd7e",
        _NETWORK,
    ),
    "text-to-image": Checkpoint(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        _diffusers(),
    ),
    "text-to-image-fast": Checkpoint(
        "stabilityai/sd-turbo",
        "b261bac6fd2cf515557d5d0707481eafa0485ec2",
        _diffusers(),
    ),
    "upscaler": Checkpoint(
        "stabilityai/stable-diffusion-x4-upscaler",
        "572c99286543a273bfd17fac263db5a77be12c4c",
        _diffusers("low_res_scheduler/scheduler_config.json"),
    ),
    "vgg-19": Checkpoint(  # no role in the cast, but the features of `style.vgg_features`
        "timm/vgg19.tv_in1k",
        "128d4708565b3a414bcbb9bbad440b2fe37b9f18",
        ("config.json", "model.safetensors"),
    ),
}


def checkpoint_folder(name: str, download: bool = False) -> Path:
    """The folder, in the cache of `huggingface_hub`, of the public checkpoint in a role of the cast.

    A network's tokenizer and processor lie there too: `AutoTokenizer.from_pretrained(models.checkpoint_folder("lm"))`.
    Nothing is fetched unless `download` asks for it, and then only what is missing.
    """
    if name not in CHECKPOINTS:
        known = ", ".join(sorted(CHECKPOINTS))
        raise ValueError(f"no public checkpoint for {name!r}; there are: {known}; or leave out source='hub'")
    chosen = CHECKPOINTS[name]
    folder = _place(chosen)
    if download and _missing(folder, chosen):
        _fetch(name, chosen, folder)
    if missing := _missing(folder, chosen):
        fix = f"fetch it once with models.load({name!r}, source='hub', download=True)"
        raise FileNotFoundError(
            f"{chosen.repository}, the public {name}, is not whole on this machine: {len(missing)} of "
            f"{len(chosen.files)} files are missing from {folder}, first {missing[0]}; "
            + ("the hub does not have it: choose another revision" if download else f"{fix}, or {_by_hand(folder)}")
        )
    return folder


def _place(chosen: Checkpoint) -> Path:
    """Where `huggingface_hub` keeps the files of one commit: hub/models--owner--name/snapshots/commit."""
    from huggingface_hub import constants

    repository = f"models--{chosen.repository.replace('/', '--')}"
    return Path(constants.HF_HUB_CACHE) / repository / "snapshots" / chosen.revision


def _missing(folder: Path, chosen: Checkpoint) -> list[str]:
    return [file for file in chosen.files if not (folder / file).is_file()]


def _fetch(name: str, chosen: Checkpoint, folder: Path) -> None:
    """Ask the hub for the files; whatever is in the way is said in one sentence."""
    import huggingface_hub

    try:
        huggingface_hub.snapshot_download(
            chosen.repository, revision=chosen.revision, allow_patterns=list(chosen.files)
        )
    except Exception as error:  # no network, a full disk, a repository that is gone: each has its own class
        reason = str(error.__cause__ or error).strip().partition("\n")[0] or type(error).__name__
        raise ConnectionError(
            f"{chosen.repository}, the public {name}, could not be fetched ({reason}); connect this machine to the "
            f"network and ask again, or {_by_hand(folder)}"
        ) from error


def _by_hand(folder: Path) -> str:
    repository = folder.parents[1]
    return f"copy the folder {repository.name} into {repository.parent} from a machine that has it"
