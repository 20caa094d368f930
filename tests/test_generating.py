"""Pictures in less: calls counted, windows equal to the whole, seams found, a device that keeps its word."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aigc_course import memory, models, runtime
from aigc_course.memory import SmallDevice, count_call, in_windows, predict_call, seam

SIDE, OUT = 16, 4


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, OUT, 3, padding=1))


def pictures(count: int = 2, side: int = SIDE, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=runtime.generator(seed)) * 2 - 1


def bytes_of(module: nn.Module) -> int:
    return sum(p.nbytes for p in module.parameters())


# --- calls --------------------------------------------------------------------------------------------------


def test_a_call_holds_weights_input_and_neighbouring_layers():
    model, x = network(), pictures()
    hidden, out = (2 * channels * SIDE * SIDE * 4 for channels in (8, OUT))
    account = count_call(model, (x,))
    assert 2 * hidden <= account.peak - bytes_of(model) - x.nbytes <= 2 * hidden + out  # before and after the SiLU
    assert not any(account.highest[kind] for kind in ("gradients", "optimiser", "activations"))


@pytest.mark.parametrize("batch", [1, 5])
def test_a_predicted_call_is_the_counted_call(batch):
    model, x = network(), pictures(batch)
    assert predict_call(model, (x,)).peak == count_call(model, (x,)).peak


def test_a_call_can_be_any_function_of_the_model():
    model, x = network(), pictures(8)
    one_by_one = count_call(model, (x,), lambda model, x: torch.cat([model(row) for row in x.split(1)]))
    assert one_by_one.peak < count_call(model, (x,)).peak


# --- windows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "step"), [(4, 4), (6, 3), (5, 2), (16, 1), (7, 7)])
def test_windows_of_a_map_that_sees_single_places_are_the_whole(side, step):
    x = torch.randn(2, 3, 16, 18, generator=runtime.generator(0))
    torch.testing.assert_close(in_windows(lambda x, t: x.sin() * t, side, step)(x, 3), x.sin() * 3)


def test_a_window_counts_most_in_its_middle():
    asked = []

    def place(x, t):
        asked.append(x)
        return torch.full_like(x, len(asked) - 1.0)

    mixed = in_windows(place, 8, 4)(torch.zeros(1, 1, 8, 12), 0)[0, 0, 0]
    assert len(asked) == 2 and mixed[0] == 0 and mixed[-1] == 1
    assert (mixed.diff() >= 0).all() and mixed.diff().max() < 0.3


@pytest.mark.parametrize("step", [0, 9])
def test_windows_that_leave_gaps_are_refused(step):
    with pytest.raises(ValueError, match="use one from 1 to 8"):
        in_windows(lambda x, t: x, 8, step)


def test_a_window_larger_than_the_latent_is_refused():
    with pytest.raises(ValueError, match="use a smaller side"):
        in_windows(lambda x, t: x, 20, 8)(torch.zeros(1, 1, 16, 16), 0)


# --- seams --------------------------------------------------------------------------------------------------


def test_no_seam_in_an_untiled_picture_however_many_edges_it_has():
    x = pictures(side=32)
    assert (seam(x, x, 8) == 0).all()
    assert (seam(x + 0.1, x, 8) < 1e-3).all()  # another brightness all over has no border


@pytest.mark.parametrize("step", [0.01, 0.1])
def test_a_planted_seam_is_found_and_grows_with_its_step(step):
    x = pictures(side=32) / 2
    planted = x.clone()
    planted[..., 8:16] += step
    found, twice = seam(planted, x, 8), seam(x + 2 * (planted - x), x, 8)
    assert (found > 0).all()
    torch.testing.assert_close(twice, 2 * found, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found, torch.full((2,), step * 127.5 * 2 / 6), rtol=1e-3, atol=1e-3)  # 2 of 6 borders


def test_the_same_step_elsewhere_is_no_seam():
    x = pictures(side=32) / 2
    moved = x.clone()
    moved[..., 11:19] += 0.1
    assert (seam(moved, x, 8) == 0).all()


@pytest.mark.parametrize("every", [1, 32, 40])
def test_borders_outside_the_picture_are_refused(every):
    with pytest.raises(ValueError, match="smaller `every`|no borders"):
        seam(pictures(side=32), pictures(side=32), every)


def test_a_tiled_decoder_without_overlap_has_a_seam_and_with_overlap_less():
    torch.manual_seed(0)
    vae = models.autoencoder(widths=(8, 8, 16), channels=4).eval()
    z = F.interpolate(torch.randn(1, 4, 4, 4, generator=runtime.generator(2)), scale_factor=4, mode="bilinear")
    with torch.no_grad():
        whole = vae.decode(z).sample
        vae.enable_tiling()
        vae.tile_latent_min_size, vae.tile_sample_min_size, found = 8, 32, []
        for vae.tile_overlap_factor in (0.0, 0.5):
            every = int(32 * (1 - vae.tile_overlap_factor))
            found.append(seam(vae.decode(z).sample, whole, every).item())
    assert found[0] > 2 * found[1] >= 0


# --- a small device -----------------------------------------------------------------------------------------


def largest(model: nn.Module) -> int:
    return max(bytes_of(layer) for layer in model)


def test_a_model_runs_on_a_device_that_holds_its_largest_layer_alone():
    model, x = network(), pictures()
    with torch.no_grad():
        wanted, device = model(x), SmallDevice(largest(model))
        with device.running(model):
            assert all(p.is_meta for p in model.parameters())
            torch.testing.assert_close(model(x), wanted, rtol=0, atol=0)
            model(x)
        torch.testing.assert_close(model(x), wanted, rtol=0, atol=0)
    assert device.peak == largest(model) and device.resident == 0
    assert device.moved == 2 * bytes_of(model)


def test_what_is_kept_moves_once():
    model, x, device = network(), pictures(), SmallDevice(10**6)
    with torch.no_grad(), device.running(model, keep=["2"]):
        model(x)
        model(x)
        assert device.resident == bytes_of(model[2])
    assert device.moved == bytes_of(model[2]) + 2 * bytes_of(model[0])


def test_a_device_that_keeps_all_moves_nothing_more():
    model, device = network(), SmallDevice(10**6)
    with torch.no_grad(), device.running(model, keep=[""]):
        assert device.moved == device.resident == bytes_of(model)
        model(pictures())
    assert device.moved == bytes_of(model) and device.resident == 0


def test_the_counter_sees_no_more_weights_than_the_device_says():
    model, x, device = network(), pictures(), SmallDevice(10**6)
    whole = count_call(model, (x,)).peak
    stored = model.state_dict()
    with device.running(model):
        small = count_call(model, (x,)).peak
    assert small <= whole - bytes_of(model) + device.peak
    torch.testing.assert_close(dict(model.state_dict()), dict(stored), rtol=0, atol=0)


def test_weights_come_from_a_file(tmp_path):
    from safetensors.torch import save_file

    model, x = network(), pictures()
    save_file(network().half().state_dict(), tmp_path / "model.safetensors")
    bare = network().to("meta")
    with torch.no_grad(), SmallDevice(largest(model)).running(bare, tmp_path / "model.safetensors"):
        torch.testing.assert_close(bare(x), model(x), rtol=1e-2, atol=1e-2)
    assert all(p.is_meta for p in bare.parameters())


def test_accelerate_agrees():
    from accelerate import cpu_offload

    model, theirs, x = network(), network(), pictures()
    with torch.no_grad(), SmallDevice(largest(model)).running(model):
        mine = model(x)
    cpu_offload(theirs, execution_device=torch.device("cpu"))
    with torch.no_grad():
        torch.testing.assert_close(mine, theirs(x), rtol=0, atol=0)


def test_a_budget_below_the_largest_layer_is_refused_in_a_sentence_and_all_comes_home():
    model, x = network(), pictures()
    device = SmallDevice(largest(model) - 1)
    with pytest.raises(MemoryError, match=r"bytes of weights, but .* give it"):
        with torch.no_grad(), device.running(model):
            model(x)
    assert device.resident == 0
    with torch.no_grad():
        model(x)


def test_to_keep_a_stranger_is_refused():
    with pytest.raises(ValueError, match="no module of this model"):
        with SmallDevice(10).running(network(), keep=["attic"]):
            pass


# --- a large picture ----------------------------------------------------------------------------------------


def test_enlarging_in_strips_is_enlarging_at_once():
    torch.manual_seed(0)
    model = models.Upscaler(width=4, blocks=1)
    nn.init.normal_(model.last.weight, std=0.1)
    x = pictures(1, 12)
    from aigc_course import sampling

    whole = F.avg_pool2d(sampling.upscale(model, sampling.upscale(model, x)), 2)
    torch.testing.assert_close(memory.enlarged_twice(model, x, strip=10), whole, rtol=0, atol=1e-5)


def test_an_unknown_way_is_refused():
    with pytest.raises(ValueError, match="enlarged or windows"):
        memory.large_picture("a red house", way="by hand")


def test_a_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match="enlarged or windows"):
        memory.large_in_fresh_process(prompt="a red house", way="by hand")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["enlarged", "windows"])
def test_a_large_picture_takes_less_than_300_megabytes(way):
    large = memory.large_in_fresh_process(prompt="a yellow star at night", way=way, steps=1)
    assert large.picture.size == (1024, 1024)
    assert large.above <= 300e6


@pytest.mark.slow
def test_halves_of_guidance_in_turn_are_both_at_once():
    from aigc_course import sampling

    pipe, prompts = models.load("text-to-image"), ["a red house in a meadow", "a blue boat at sea"]
    x = sampling.start_noise(pipe, [1, 2])
    at_once, in_turn = (way(pipe, prompts, 3.0)(x, 900) for way in (sampling.guided, memory.guided_in_turn))
    torch.testing.assert_close(in_turn, at_once, rtol=1e-3, atol=1e-4)
