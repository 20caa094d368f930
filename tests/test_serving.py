"""What leaves the notebook: ONNX files that agree with torch, and a service that answers everyone."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from small_models import small_unet
from starlette.testclient import TestClient
from studio_jobs import Stub
from torch import nn

from aigc_course import models, serving, studio

JSON = {"content-type": "application/json"}


class Cast(Stub):
    """The stub with the captioner that ships."""

    def __init__(self, seconds=0.0):
        super().__init__(seconds)
        self.models = {}

    def loading(self, name):
        """Nothing to say."""
        return iter(())

    def model(self, name):
        """Of the cast, kept."""
        return self.models.setdefault(name, models.load(name))


@pytest.fixture
def ask():
    """Opens a service with an engine and limits, and gives its client."""
    opened = []

    def ask(engine=None, **limits):
        client = TestClient(serving.service(engine or Cast(), serving.Limits(**limits)), raise_server_exceptions=False)
        opened.append(client)
        return client.__enter__()

    yield ask
    for client in opened:
        client.__exit__(None, None, None)


def png(size=(16, 16)):
    """The bytes of a small picture."""
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, "PNG")
    return file.getvalue()


# --- the service ---------------------------------------------------------------------------------------------


def test_a_prompt_is_answered_by_pictures_that_carry_their_recipe(ask):
    answer = ask().post("/imagine", json={"prompt": "a red house --seed 7 --steps 2"})
    assert answer.status_code == 200
    files = [base64.b64decode(text) for text in answer.json()["pictures"]]
    assert answer.json()["seeds"] == [7, 8, 9, 10]
    assert [studio.read(file).seed for file in files] == [7, 8, 9, 10]
    assert studio.parse(answer.json()["line"])[0].words == "a red house"


def test_a_picture_is_answered_by_four_captions(ask):
    answer = ask().post("/describe", content=png(), headers={"content-type": "image/png"})
    assert answer.status_code == 200
    assert len(answer.json()["captions"]) == 4
    assert all(answer.json()["captions"])


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 422, "send JSON"),
        (b"{", 422, "send JSON"),
        (b"[]", 422, "send JSON"),
        (b'{"prompt": 3}', 422, "prompt"),
        (b'{"prompt": ""}', 422, "prompt"),
        (b'{"prompt": "a cat", "path": "/etc/passwd"}', 422, "path"),
        (b'{"prompt": "' + b"a" * 1001 + b'"}', 422, "prompt"),
        (b'{"prompt": "a cat --seed x"}', 400, "seed"),
        (b'{"prompt": "a {red, blue} cat"}', 400, "asks for 2 jobs"),
        (b'{"prompt": "a cat --steps 51"}', 400, "--steps 50"),
        (b'{"prompt": "fail"}', 400, "as it was asked to"),
        (b'"' + b"a" * 5000 + b'"', 413, "larger than 4,000 bytes"),
    ],
)
def test_a_wish_that_cannot_be_granted_gets_a_status_and_a_sentence(ask, body, status, said):
    answer = ask(upload=4000).post("/imagine", content=body, headers=JSON)
    assert answer.status_code == status
    assert set(answer.json()) >= {"error", "fix"}
    assert said in answer.json()["error"] + answer.json()["fix"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (png(), "text/plain", 415),
        (png(), "", 415),
        (b"no picture", "image/png", 400),
        (png()[:40], "image/png", 400),
        (b"x" * 5000, "image/png", 413),
    ],
)
def test_what_is_no_picture_gets_a_status_and_a_sentence(ask, body, kind, status):
    answer = ask(upload=4000).post("/describe", content=body, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.json()["fix"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/imagine", 405)])
def test_unknown_paths_and_methods_are_told_where_to_look(ask, method, path, status):
    answer = ask().request(method, path)
    assert (answer.status_code, answer.json()["fix"]) == (status, "see /docs for what there is")


def test_a_full_queue_refuses_and_says_when_to_come_back(ask):
    client = ask(Cast(0.05), waiting=2)
    with ThreadPoolExecutor(8) as many:
        line = {"prompt": "a cat --steps 8"}
        answers = list(many.map(lambda _: client.post("/imagine", json=line), range(8)))
    codes = {answer.status_code for answer in answers}
    assert codes == {200, 429}
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 429)


def test_what_takes_too_long_is_cancelled_and_said(ask):
    client = ask(Cast(0.2), seconds=0.3)
    answer = client.post("/imagine", json={"prompt": "a cat --steps 50"})
    assert (answer.status_code, answer.headers["retry-after"]) == (504, "5")
    assert client.post("/imagine", json={"prompt": "a cat --steps 1"}).status_code == 200  # the worker is free again


def test_a_fault_of_the_engine_shows_nothing_of_the_inside(ask):
    class Broken(Cast):
        def run(self, spec, cancel):
            raise RuntimeError("secret path")
            yield

    answer = ask(Broken()).post("/imagine", json={"prompt": "a cat"})
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_every_one_of_many_mixed_requests_is_answered(ask):
    client = ask(waiting=64)
    good, bad = {"prompt": "a cat --steps 1"}, {"prompt": "a cat --seed x"}
    with ThreadPoolExecutor(16) as many:
        wishes = [good, bad] * 60
        codes = [a.status_code for a in many.map(lambda wish: client.post("/imagine", json=wish), wishes)]
    assert codes == [200, 400] * 60


def test_health_and_measures_are_there(ask):
    client = ask()
    client.post("/imagine", json={"prompt": "a cat --steps 1"})
    client.get("/some/random/path")
    assert client.get("/health").json()["status"] == "ready"
    told = client.get("/metrics").text
    assert 'answers_total{path="/imagine",status="200"} 1.0' in told
    assert 'answers_total{path="other",status="404"} 1.0' in told
    assert "memory_bytes" in told


# --- ONNX files ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small U-Net and its file."""
    unet = small_unet((8, 16), words=16, heads=8)
    pipe = SimpleNamespace(unet=unet, tokenizer=SimpleNamespace(model_max_length=5))
    return pipe, serving.export_denoiser(pipe, tmp_path_factory.mktemp("onnx")).parent


@pytest.mark.parametrize("count", [1, 2, 5])
def test_an_exported_denoiser_agrees_with_torch_for_any_batch(exported, count):
    pipe, folder = exported
    x_t, t, words = torch.randn(count, 4, 8, 8), torch.full((count,), 300.0), torch.randn(count, 5, 16)
    with torch.no_grad():
        theirs = pipe.unet(x_t, t, encoder_hidden_states=words).sample
    other = serving.exported_pipeline(pipe, folder)
    mine = other.unet(x_t, torch.tensor(300), encoder_hidden_states=words)
    torch.testing.assert_close(mine.sample, theirs, atol=1e-4, rtol=0)
    assert isinstance(pipe.unet, nn.Module) and pipe.unet is not other.unet


def test_a_network_that_is_asked_wrongly_says_what_it_reads(exported):
    network = serving.Exported(exported[1] / "denoiser.onnx")
    with pytest.raises(ValueError, match="reads x_t, t, words"):
        network(pictures=torch.zeros(1))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no eyes.onnx; write it with serving"):
        serving.exported_captions(tmp_path, None, torch.zeros(1, 3, 8, 8))
