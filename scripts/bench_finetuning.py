"""Measure what chapter 3 claims, over several seeds: labels and pretraining, LoRA, prompts, new things, forgetting.

    python scripts/bench_finetuning.py                     all of it, an hour on two cores
    python scripts/bench_finetuning.py lora --seeds 2      one part, two seeds

Each part prints its tables and leaves them in data/bench/finetuning-<part>.md.
"""

import argparse
import json

import finetune_captioner
import finetune_lora
import finetune_new_thing
import finetune_prompts
import finetune_stream

from aigc_course import runtime

BENCH = runtime.data_dir() / "bench"
KEPT = runtime.data_dir() / "finetuning.json"  # notebook 3.1 draws from it


def of_captioner(seeds):
    """Measured, kept for the notebook, and as a table."""
    rows = finetune_captioner.measure(seeds)
    KEPT.write_text(json.dumps({"captioner": rows}, indent=1) + "\n", encoding="utf-8", newline="\n")
    return finetune_captioner.table(rows)


PARTS = {
    "captioner": ("A captioner from labelled pictures", of_captioner),
    "lora": ("LoRA on the denoiser: rank and place", finetune_lora.table),
    "prompts": ("Labels and prompts", finetune_prompts.table),
    "new-thing": ("A new thing from six pictures", finetune_new_thing.table),
    "stream": ("A stream of four styles", finetune_stream.table),
}


def main():
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    if unknown := [part for part in args.parts if part not in PARTS]:
        parser.error(f"no part called {unknown[0]!r}; choose some of: {', '.join(PARTS)}")
    for part in args.parts or PARTS:
        title, measured = PARTS[part]
        told = f"# {title}\n\nSeeds: {args.seeds}.  `python scripts/bench_finetuning.py {part} --seeds {args.seeds}`\n"
        told = f"{told}\n{measured(range(args.seeds))}\n"
        print(told, flush=True)
        (BENCH / f"finetuning-{part}.md").write_text(told, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
