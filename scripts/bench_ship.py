"""Measure what leaves the notebook: ONNX files beside torch, a service under load; writes data/bench/ship.md."""

import argparse
import asyncio
import io
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median, quantiles

import httpx
import psutil
import torch

from aigc_course import models, runtime, sampling, scenes, serving, style

HEAD = """# What leaves the notebook, measured

Written by `python scripts/bench_ship.py`.  {machine}.

## ONNX files beside torch

*Apart*: the largest difference of any number of the answer, on {pairs} inputs of the test split.  *Seconds* of one
processor core for one call, the median of {calls}, the two taken in turn.

{onnx}

## The service under load

`uvicorn` on loopback, one process; {count:,} requests, {at_once} at once, in random order: {mix}.
*Answered* counts every request that got a status; a request whose connection broke would be lost.

{load}

| | |
| --- | --- |
| lost | {lost} |
| answers with a status that was not to be expected | {wrong} |
| requests a second | {rate:.1f} |
| memory of the service, after the first tenth and at the end | {first:.0f} MB, {last:.0f} MB |
"""
SERVER = """
import uvicorn
from aigc_course import serving
uvicorn.run(serving.service(), port={port}, log_level="error")
"""
LINES = ("a red house in a meadow", "two blue cats on the beach", "一只绿色的猫", "a yellow tree in the city")
FEW = "--steps 4 --quality 1"


# --- ONNX ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def onnx_rows(folder, count, calls):
    """One row for each exported network."""
    pipe, captioner, tokenizer = (models.load(name) for name in ("text-to-image", "captioner", "tokenizer"))
    serving.export_denoiser(pipe, folder)
    serving.export_captioner(captioner, folder)
    samples = scenes.samples(count, "test", seed=71)
    pictures = scenes.pictures(samples)
    captions = [scenes.caption(one.scene.facts, random.Random(k)) for k, one in enumerate(samples)]
    words = sampling.encode_words(pipe, captions)
    x_t, t = torch.randn(count, pipe.unet.config.in_channels, 16, 16), torch.full((count,), 500.0)
    marked = [scenes.marked_caption(one.scene, random.Random(1)) for one in samples]
    said = tokenizer(marked, padding=True, return_tensors="pt").input_ids
    eyes, tongue = (serving.Exported(folder / f"{name}.onnx", threads=1) for name in ("eyes", "tongue"))
    seen = eyes(pictures=pictures)
    denoiser = serving.Exported(folder / "denoiser.onnx", threads=1)
    pairs = {
        "denoiser": (
            lambda: pipe.unet(x_t, t, encoder_hidden_states=words).sample,
            lambda: denoiser(x_t=x_t, t=t, words=words),
        ),
        "captioner's eyes": (lambda: captioner.encoder(pictures).last_hidden_state, lambda: eyes(pictures=pictures)),
        "captioner's tongue": (
            lambda: captioner.decoder(said, encoder_hidden_states=seen).logits,
            lambda: tongue(tokens=said, seen=seen),
        ),
    }
    rows = []
    for name, (torch_way, onnx_way) in pairs.items():
        apart = (torch_way() - onnx_way()).abs().max().item()
        slow, fast = timed(torch_way, onnx_way, calls)
        rows.append([name, f"{apart:.1e}", f"{slow:.4f}", f"{fast:.4f}", f"{slow / fast:.2f}"])
    theirs = sampling.pictures_to_words(captioner, tokenizer, pictures)
    mine = serving.exported_captions(folder, tokenizer, pictures)
    same = sum(a.strip() == b for a, b in zip(theirs, mine, strict=True))
    rows.append(["captions", f"{same} of {count} word for word the same", "–", "–", "–"])
    return table(["network", "apart", "torch", "onnxruntime", "times faster"], rows)


def timed(first, second, calls):
    """Median processor seconds of each, taken in turn."""
    taken = [], []
    for _ in range(calls):
        for way, times in zip((first, second), taken, strict=True):
            began = time.process_time()
            way()
            times.append(time.process_time() - began)
    return median(taken[0]), median(taken[1])


# --- load ---------------------------------------------------------------------------------------------------


def requests(count, seed=0):
    """Mixed requests: what is sent, and which statuses are right for it.  429 is right for whatever needs the model."""
    file = io.BytesIO()
    style.to_pil(scenes.pictures(scenes.samples(1, "test", seed=72))).save(file, "PNG")
    png = {"content": file.getvalue(), "headers": {"content-type": "image/png"}}
    busy = {200, 429}

    def wish(rng):
        return {"json": {"prompt": f"{rng.choice(LINES)} --seed {rng.randrange(99)} {FEW}"}}

    kinds = {
        "a picture": (4, "/imagine", wish, busy),
        "captions": (2, "/describe", lambda rng: png, busy),
        "health": (1, "/health", None, {200}),
        "a wrong prompt": (1, "/imagine", lambda rng: {"json": {"prompt": "a red house --seed seven"}}, {400}),
        "a body that is no JSON": (1, "/imagine", lambda rng: {"content": b"{" * rng.randrange(99)}, {422}),
        "a file that is no picture": (1, "/describe", lambda rng: png | {"content": rng.randbytes(500)}, {400}),
        "too large a file": (1, "/describe", lambda rng: png | {"content": bytes(5 * 2**20)}, {413}),
        "a path that is not there": (1, "/admin", None, {404}),
    }
    rng = random.Random(seed)
    drawn = rng.choices(list(kinds), [kind[0] for kind in kinds.values()], k=count)
    for name in drawn:
        _, path, body, right = kinds[name]
        yield name, path, body and body(rng), right


async def load(port, count, at_once, memory):
    """Send them all; (kind, status, seconds, right?) of each, and the memory after a tenth and at the end."""
    gate, answers, held = asyncio.Semaphore(at_once), [], []

    async def send(client, kind, path, body, right):
        async with gate:
            began = time.perf_counter()
            try:
                how = ("GET", path) if body is None else ("POST", path)
                status = (await client.request(*how, **(body or {}))).status_code
            except httpx.HTTPError:
                status = 0
            answers.append((kind, status, time.perf_counter() - began, status in right))
            if len(answers) in (count // 10, count):
                held.append(memory())
            if len(answers) % 50 == 0:
                print(f"{len(answers)} of {count} answered", flush=True)

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
        await asyncio.gather(*(send(client, *one) for one in requests(count)))
    return answers, held


def served(count, at_once):
    """Start the service, load it, end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", SERVER.format(port=port)])
    try:
        wait_for(port, server)
        process = psutil.Process(server.pid)
        began = time.perf_counter()
        answers, held = asyncio.run(load(port, count, at_once, lambda: process.memory_info().rss / 1e6))
        return answers, held, count / (time.perf_counter() - began)
    finally:
        server.terminate()
        server.wait(20)


def wait_for(port, server, seconds=120):
    """Until it answers."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if server.poll() is not None:
            raise SystemExit("the service ended before it answered; run it alone: uvicorn.run(serving.service())")
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5)
        except httpx.HTTPError:
            time.sleep(0.2)
    raise SystemExit(f"the service did not answer within {seconds} s")


def load_rows(answers):
    """One row for each kind of request."""
    rows = []
    for kind in dict.fromkeys(answer[0] for answer in sorted(answers)):
        own = [answer for answer in answers if answer[0] == kind]
        seconds = sorted(answer[2] for answer in own if answer[1] == min(a[1] for a in own))
        p99 = quantiles(seconds, n=100)[98] if len(seconds) > 1 else seconds[0]
        statuses = ", ".join(f"{status} × {n}" for status, n in sorted(Counter(answer[1] for answer in own).items()))
        rows.append([kind, len(own), statuses, f"{median(seconds):.3f}", f"{p99:.3f}"])
    return table(["request", "answered", "status", "p50, s", "p99, s"], rows)


def table(head, rows):
    """Markdown."""
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [head, ["---"] * len(head), *rows])


def main():
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="requests")
    parser.add_argument("--at-once", type=int, default=12)
    parser.add_argument("--pictures", type=int, default=8, help="inputs of the ONNX files")
    parser.add_argument("--calls", type=int, default=9, help="timed calls of each")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        onnx = onnx_rows(Path(folder), args.pictures, args.calls)
    print(onnx)
    answers, held, rate = served(args.count, args.at_once)
    mix = ", ".join(f"{n} × {kind}" for kind, n in sorted(Counter(answer[0] for answer in answers).items()))
    facts = dict(count=args.count, at_once=args.at_once, rate=rate, first=held[0], last=held[-1], mix=mix)
    facts |= dict(lost=sum(a[1] == 0 for a in answers), wrong=sum(not a[3] for a in answers), load=load_rows(answers))
    text = HEAD.format(machine=runtime.summary(), pairs=args.pictures, calls=args.calls, onnx=onnx, **facts)
    print(text)
    (runtime.data_dir() / "bench" / "ship.md").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
