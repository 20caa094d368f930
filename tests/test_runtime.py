"""The runtime room: one dial, honest defaults, errors that name the fix."""

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest
import torch

from aigc_course import runtime

REPOSITORY = Path(runtime.__file__).parents[1]


def test_importing_the_room_does_not_import_torch():
    code = "import sys, aigc_course.runtime; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_numbers_are_float32_on_a_processor_and_bfloat16_on_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (runtime.device().type, runtime.dtype()) == ("cpu", torch.float32)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (runtime.device().type, runtime.dtype()) == ("cuda", torch.bfloat16)


@pytest.mark.parametrize(
    ("capabilities", "times_faster", "expected"),
    [({"avx512_bf16": True}, 2.0, "bf16"), ({"amx_bf16": True}, 2.0, "bf16"), ({"avx512_bf16": True}, 0.6, "fp32"),
     ({"avx512_bf16": True}, 1.1, "fp32"), ({"avx512_f": True}, 2.0, "fp32")],
)  # fmt: skip
def test_a_processor_trains_in_bfloat16_only_where_it_knows_it_and_is_faster_at_it(
    monkeypatch, capabilities, times_faster, expected
):
    seconds = {torch.float32: 1.0, torch.bfloat16: 1 / times_faster}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(runtime, "_multiplying", seconds.get)
    assert runtime.training_precision.__wrapped__() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_multiplying_tells_seconds_in_either_format(dtype):
    assert runtime._multiplying(dtype, side=8) > 0


def test_equal_seeds_give_equal_noise_and_other_seeds_do_not():
    first, again, other = (torch.randn(8, generator=runtime.generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_seed_everything_repeats_all_three_global_generators():
    def draws():
        runtime.seed_everything(7)
        return random.random(), numpy.random.rand(), torch.rand(1).item()  # noqa: NPY002

    assert draws() == draws()


def test_threads_are_set_and_told():
    before = runtime.threads()
    try:
        assert runtime.threads(1) == 1
        assert torch.get_num_threads() == 1
    finally:
        runtime.threads(before)


def test_no_threads_at_all_is_refused():
    with pytest.raises(ValueError, match="use 1 or more"):
        runtime.threads(0)


@pytest.mark.parametrize(("cuda", "expected"), [(False, "laptop"), (True, "gpu")])
def test_the_budget_follows_the_machine(monkeypatch, cuda, expected):
    monkeypatch.delenv("AIGC_BUDGET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert runtime.budget() == expected


def test_the_environment_overrules_the_machine(monkeypatch):
    monkeypatch.setenv("AIGC_BUDGET", "GPU")
    assert runtime.budget() == "gpu"


def test_a_misspelt_budget_is_answered_with_the_two_choices(monkeypatch):
    monkeypatch.setenv("AIGC_BUDGET", "huge")
    with pytest.raises(ValueError, match="'laptop' or 'gpu'"):
        runtime.budget()


def test_aigc_data_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("AIGC_DATA", str(tmp_path))
    assert runtime.data_dir() == tmp_path


def test_a_wrong_aigc_data_is_named_in_the_error(monkeypatch, tmp_path):
    monkeypatch.setenv("AIGC_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere.*unset AIGC_DATA"):
        runtime.data_dir()


@pytest.fixture
def a_clone(monkeypatch, tmp_path):
    """A fake clone, and a working folder elsewhere."""
    clone, elsewhere = tmp_path / "clone", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.delenv("AIGC_DATA", raising=False)
    monkeypatch.setattr(runtime, "__file__", str(clone / "aigc_course" / "runtime.py"))
    monkeypatch.chdir(elsewhere)
    return clone, elsewhere


def test_data_is_found_beside_the_package_from_any_working_folder(a_clone):
    clone, elsewhere = a_clone
    (elsewhere / "data").mkdir()
    (clone / "data").mkdir(parents=True)
    assert runtime.data_dir() == clone / "data"


def test_an_installed_package_finds_data_in_the_working_folder(a_clone):
    _, elsewhere = a_clone
    (elsewhere / "data").mkdir()
    assert runtime.data_dir() == elsewhere / "data"


def test_no_data_at_all_is_answered_with_the_fix(a_clone):
    with pytest.raises(FileNotFoundError, match="set AIGC_DATA"):
        runtime.data_dir()


def test_the_network_is_used_only_when_asked_by_name(monkeypatch):
    monkeypatch.delenv("AIGC_ONLINE", raising=False)
    assert runtime.offline()
    monkeypatch.setenv("AIGC_ONLINE", "0")
    assert runtime.offline()
    monkeypatch.setenv("AIGC_ONLINE", "1")
    assert not runtime.offline()


def test_peak_memory_rises_by_the_bytes_of_a_block_and_stays_when_the_block_is_gone():
    code = """
import numpy
from aigc_course import runtime
before = runtime.peak_rss()
block = numpy.ones(8_000_000)
during = runtime.peak_rss()
del block
print(during - before, runtime.peak_rss() - before)
"""
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, check=True
    ).stdout
    for rise in map(int, output.split()):
        assert rise == pytest.approx(64e6, abs=4e6)  # the kernel counts in batches


def test_the_summary_is_one_line_that_names_budget_device_and_version(monkeypatch):
    monkeypatch.setenv("AIGC_BUDGET", "laptop")
    monkeypatch.delenv("AIGC_ONLINE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    version = torch.__version__.split("+")[0]
    for count, told in ((1, "1 thread"), (2, "2 threads")):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        assert runtime.summary() == f"laptop budget · cpu, {told} · float32 · torch {version} · offline"


def test_the_stopwatch_runs_inside_its_block_and_stands_still_after():
    with runtime.stopwatch() as watch:
        time.sleep(0.01)
        inside = watch.seconds
    total = watch.seconds
    time.sleep(0.01)
    assert 0.01 <= inside <= total == watch.seconds
