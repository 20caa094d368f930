"""The Studio's queue behind HTTP: words to pictures, pictures to words, health, measures, and clear refusals."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psutil
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException

from aigc_course import studio
from aigc_course.studio import png, telling

PICTURES = ("image/png", "image/jpeg")


@dataclass(frozen=True)
class Limits:
    """What one service takes on.

    waiting: requests at once, the one at work included; seconds: for one of them, waiting included; upload: bytes of a
    body; steps, pictures: of one job.
    """

    waiting: int = 16
    seconds: float = 60.0
    upload: int = 4 * 2**20
    steps: int = 50
    pictures: int = 4


class Refused(Exception):
    """An answer that is no: status, one sentence, and what to do instead."""

    def __init__(self, status: int, error: str, fix: str, **more: Any):
        self.status, self.told = status, {"error": error, "fix": fix, **more}
        super().__init__(error)


class Wish(BaseModel):
    """The body of /imagine: a prompt line, as in the Studio, with its parameters."""

    model_config = ConfigDict(extra="forbid", strict=True)
    prompt: str = Field(min_length=1, max_length=1000, examples=["a red house in a meadow --seed 7 --steps 12"])


class Desk:
    """One queue, one worker thread that owns the models; answers are waited for without holding a thread."""

    def __init__(self, engine: Any, limits: Limits):
        self.engine, self.limits = engine, limits
        self.queue = studio.Queue(engine)
        self._futures: dict[str, asyncio.Future] = {}

    def open(self) -> None:
        """Begin to hear when jobs end, in the event loop that is running."""
        loop = asyncio.get_running_loop()
        self.queue.listen(lambda event: loop.call_soon_threadsafe(self._settle, event.job) if event.ends else None)

    def _settle(self, job: str) -> None:
        if (future := self._futures.pop(job, None)) is not None and not future.done():
            future.set_result(None)

    async def answer(self, request: Request, spec: Any, run: Any = None) -> list[studio.Event]:
        """All that a job says; it is cancelled when time is up, or whoever asked has gone."""
        if len(self.queue.pending) >= self.limits.waiting:
            raise Refused(429, f"{self.limits.waiting} requests are waiting already", "ask again in a few seconds")
        job, future = self.queue.submit(spec, run), asyncio.get_running_loop().create_future()
        self._futures[job] = future
        ends = time.monotonic() + self.limits.seconds
        while not (await asyncio.wait({future}, timeout=0.25))[0]:
            if time.monotonic() > ends or await request.is_disconnected():
                self.queue.cancel(job)
                self._futures.pop(job, None)
                fix = "ask for fewer steps or pictures, or again later"
                raise Refused(504, f"it was not ready within {self.limits.seconds:g} s", fix)
        events = self.queue.wait(job, 0)
        if events[-1].kind == "failed":
            blame = 500 if events[-1].fix == "see the details below" else 400
            fix = "look into the server's log" if blame == 500 else events[-1].fix
            raise Refused(blame, events[-1].sentence if blame == 400 else "the model failed", fix)
        return events

    # --- what can be asked ---

    async def imagine(self, request: Request) -> dict[str, Any]:
        """Pictures of one prompt line."""
        spec = _read_wish(await _body(request, self.limits.upload), self.limits)
        events = await self.answer(request, spec)
        made = next(event for event in events if event.kind == "made")
        recipes = [png.Recipe(made.spec, k, made.facts) for k in range(len(made.pictures))]
        files = [png.write(picture, one) for picture, one in zip(made.pictures, recipes, strict=True)]
        notes = [event.sentence for event in events if event.kind == "note"]
        pictures = [base64.b64encode(file).decode() for file in files]
        return {"pictures": pictures, "seeds": made.spec.seeds, "line": studio.to_line(made.spec), "notes": notes}

    async def describe(self, request: Request) -> dict[str, list[str]]:
        """Four captions of one picture."""
        picture = _read_picture(request, await _body(request, self.limits.upload))
        events = await self.answer(request, None, lambda spec, cancel: _captions(self.engine, picture, cancel))
        return {"captions": next(event.answer for event in events if event.kind == "told")}

    def health(self) -> dict[str, Any]:
        """Whether it answers, how many wait, what is loaded."""
        return {"status": "ready", "waiting": len(self.queue.pending), "models": sorted(self.engine.models)}


def service(engine: Any = None, limits: Limits | None = None) -> FastAPI:
    """An application for any ASGI server: `uvicorn.run(serving.service())`.

    POST /imagine, JSON {"prompt": line} → {"pictures": [PNG in base64], "seeds", "line", "notes"};  POST /describe, a
    PNG or JPEG → {"captions": [4]};  GET /health;  GET /metrics, in the text format of Prometheus.  Whatever is refused
    is answered by {"error": sentence, "fix": sentence}: 400 a wrong prompt, 413 too large, 415 no picture, 422 no such
    body, 429 too many waiting, 504 too slow.
    engine: what makes the pictures, `studio.Engine()` by default.
    """
    desk = Desk(engine or studio.Engine(), limits or Limits())
    measures = _Measures(desk)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        desk.open()
        yield
        desk.queue.close()

    app = FastAPI(title="aigc-course", lifespan=lifespan, description="Words to pictures, pictures to words.")
    app.add_exception_handler(Refused, _refusal)
    app.add_exception_handler(HTTPException, _refusal)
    app.middleware("http")(measures.count)

    takes = {"application/json": {"schema": Wish.model_json_schema()}}
    app.post("/imagine", openapi_extra=_body_of(takes))(desk.imagine)
    app.post("/describe", openapi_extra=_body_of({kind: {} for kind in PICTURES}))(desk.describe)
    app.get("/health")(desk.health)
    app.get("/metrics")(measures.told)
    return app


# --- what comes in ------------------------------------------------------------------------------------------


async def _body(request: Request, most: int) -> bytes:
    """At most so many bytes; more are not even read."""
    held = bytearray()
    async for part in request.stream():
        held += part
        if len(held) > most:
            raise Refused(413, f"the body is larger than {most:,} bytes", "send a smaller one")
    return bytes(held)


def _read_wish(body: bytes, limits: Limits) -> Any:
    """One job of a JSON body, within the limits."""
    try:
        line = Wish.model_validate_json(body).prompt
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise Refused(422, f"{where}: {first['msg']}", 'send JSON such as {"prompt": "a red house"}') from None
    try:
        specs = studio.expand(studio.parse(line))
    except studio.PromptError as error:
        raise Refused(400, error.sentence, "change the prompt there", at=error.at) from None
    except (ValueError, studio.StudioError) as error:
        raise Refused(400, str(error), "change the prompt") from None
    if len(specs) != 1:
        raise Refused(400, f"the line asks for {len(specs)} jobs", "ask for one job in each request")
    if studio.steps_of(specs[0]) > limits.steps or specs[0].count > limits.pictures:
        raise Refused(400, "that is more work than this service takes on", f"use --steps {limits.steps} or fewer")
    return specs[0]


def _read_picture(request: Request, body: bytes) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in PICTURES:
        raise Refused(415, f"{kind[:60] or 'a body without a type'} is no picture", "send image/png or image/jpeg")
    try:
        return png.opened(body)
    except (ValueError, OSError):
        raise Refused(400, "the picture cannot be read", "send a whole PNG or JPEG") from None


def _captions(engine: Any, picture: Any, cancel: Any) -> Any:
    """Four captions, in the worker."""
    return telling.captions(engine, picture, range(4), cancel)


# --- what goes out ------------------------------------------------------------------------------------------


def _body_of(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"content": content, "required": True}}


async def _refusal(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Refused):
        headers = {"Retry-After": "5"} if error.status in (429, 504) else None
        return JSONResponse(error.told, error.status, headers)
    told = {"error": f"{request.method} {request.url.path[:80]}: {error.detail}", "fix": "see /docs for what there is"}
    return JSONResponse(told, error.status_code, error.headers)


class _Measures:
    """Counts of answers, seconds to them, how many wait, bytes held."""

    def __init__(self, desk: Desk):
        self.registry = CollectorRegistry()
        self.answers = Counter("answers", "Requests answered", ["path", "status"], registry=self.registry)
        bounds = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
        self.seconds = Histogram("seconds", "Seconds to an answer", ["path"], buckets=bounds, registry=self.registry)
        Gauge("waiting", "Requests waiting or at work", registry=self.registry).set_function(
            lambda: len(desk.queue.pending)
        )
        Gauge("memory_bytes", "Resident memory", registry=self.registry).set_function(
            lambda: psutil.Process().memory_info().rss
        )

    def told(self) -> Response:
        """All of them, as Prometheus reads them."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

    async def count(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Time one request; unknown paths share one label, so that nobody can fill the memory with names."""
        began = time.perf_counter()
        try:
            response = await call_next(request)
        except Exception:
            response = JSONResponse({"error": "the service failed", "fix": "look into the server's log"}, 500)
        known = {"/imagine", "/describe", "/health", "/metrics"}
        path = request.url.path if request.url.path in known else "other"
        self.answers.labels(path, str(response.status_code)).inc()
        self.seconds.labels(path).observe(time.perf_counter() - began)
        return response
