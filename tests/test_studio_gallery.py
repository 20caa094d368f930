"""Pictures on disk: what a PNG says, what a damaged one does, and a history that no kill and no name can break."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from studio_jobs import ALL_JOBS, MANY, picture

from aigc_course import studio
from aigc_course.studio import Gallery, JobSpec, Part, Recipe, StudioError, png

SPEC = JobSpec((Part("a red house"),), seed=7)
FACTS = {"models": {"text-to-image": "0a1b2c3d4e5f"}, "versions": {"course": "0.1.0"}, "steps": 25, "scale": 2.0}


# --- one PNG ----------------------------------------------------------------------------------------------


@MANY
@given(ALL_JOBS, st.integers(0, 2**31))
def test_a_job_written_into_a_picture_is_read_from_it_and_the_pixels_are_the_same(spec, seed):
    number = seed % spec.count
    before = picture(seed, (4, 3))
    data = png.write(before, Recipe(spec, number, FACTS))
    recipe = studio.read(data)
    assert (recipe.spec, recipe.number, recipe.facts) == (spec, number, FACTS)
    assert png.pixels_hash(png.opened(data)) == png.pixels_hash(before)


WHOLE = png.write(picture(1), Recipe(SPEC, 1, FACTS))


@MANY
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6), st.integers(0, len(WHOLE)))
def test_a_damaged_picture_is_read_whole_or_refused_in_a_sentence(flips, length):
    data = bytearray(WHOLE)
    for at, value in flips:
        data[at] = value
    data = bytes(data[: length if length % 3 == 0 else None])
    try:
        recipe = studio.read(data)
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
        return
    assert recipe.spec is None or isinstance(recipe.spec, JobSpec)


def chunked(ours: str, common: str = "") -> bytes:
    """A PNG with texts that anyone could have put there."""
    import io

    told = PngImagePlugin.PngInfo()
    told.add_itxt("studio", ours)
    told.add_text("parameters", common)
    buffer = io.BytesIO()
    picture(0).save(buffer, "PNG", pnginfo=told)
    return buffer.getvalue()


GOOD = {"spec": json.loads(SPEC.to_json()), "number": 0, "facts": {}}


@pytest.mark.parametrize(
    "ours",
    [
        "", "{", "[]", "7", '"x"', "null", "[" * 50_000, "x" * 100_000, '{"spec": 1}', "{}",
        json.dumps(GOOD | {"more": 1}), json.dumps(GOOD | {"number": 4}), json.dumps(GOOD | {"number": True}),
        json.dumps(GOOD | {"facts": {"path": "/etc"}}), json.dumps(GOOD | {"facts": {"models": {"x": 1}}}),
        json.dumps(GOOD | {"facts": {"device": "\ud800"}}), json.dumps(GOOD | {"facts": {"device": "x" * 3000}}),
        json.dumps(GOOD | {"spec": GOOD["spec"] | {"images": ["../../x"]}}),
        json.dumps(GOOD | {"spec": GOOD["spec"] | {"schema": 99}}),
    ],
)  # fmt: skip
def test_text_that_the_studio_would_not_write_is_refused(ours):
    with pytest.raises(ValueError):
        studio.read(chunked(ours))
    assert studio.read(chunked(json.dumps(GOOD))).spec == SPEC


def test_bombs_are_refused():
    with pytest.raises(ValueError, match="most"):
        studio.read(b"x" * (png.LARGEST_FILE + 1))
    wide = bytearray(WHOLE)
    wide[16:24] = (60_000).to_bytes(4, "big") * 2
    wide[29:33] = zlib.crc32(bytes(wide[12:29])).to_bytes(4, "big")
    with pytest.raises(ValueError, match="no PNG that can be read"):
        studio.read(bytes(wide))
    packed = PngImagePlugin.PngInfo()
    packed.add_text("studio", "[" * 5_000_000, zip=True)
    import io

    buffer = io.BytesIO()
    picture(0).save(buffer, "PNG", pnginfo=packed)
    with pytest.raises(ValueError):
        studio.read(buffer.getvalue())


def test_the_common_text_is_what_other_programs_read():
    spec = SPEC.with_(negative="a tree, or two", tile=True, loras=(studio.LoRA("chalk", 0.8),))
    lines = studio.read(png.write(picture(0, (160, 104)), Recipe(spec, 2, FACTS | {"sampler": "DDIM"}))).text.split(
        "\n"
    )
    assert lines == [
        "a red house <lora:chalk:0.8>",
        "Negative prompt: a tree, or two",
        "Steps: 25, Sampler: DDIM, CFG scale: 2.0, Seed: 9, Size: 160x104, Model hash: 0a1b2c3d4e5f, "
        "Model: text-to-image, Tiling: True, Version: aigc-course 0.1.0",
    ]


def test_other_programs_pictures_are_read_as_far_as_they_fit():
    text = "a red house\nNegative prompt: a tree\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 960x624"
    spec = png.from_parameters(text)
    assert (spec.words, spec.negative, spec.steps, spec.seed, spec.ar) == ("a red house", "a tree", 20, 5, (20, 13))
    assert png.from_parameters("only words") is None and png.from_parameters("\nSteps: 20") is None
    assert studio.read(png.write(picture(0), Recipe(None))).spec is None


@MANY
@given(st.text(max_size=200))
def test_anything_in_the_common_text_is_read_or_left(text):
    spec = png.from_parameters(f"{text}\nSteps: 20, Seed: {text[:12]}, Size: {text[12:20]}")
    assert spec is None or spec.words


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        studio.read(tmp_path / "none.png")
    with pytest.raises(ValueError, match="no PNG"):
        studio.read(b"GIF89a" + b"\0" * 100)


# --- the gallery ------------------------------------------------------------------------------------------


def filled(folder: Path, count: int = 3) -> Gallery:
    gallery = Gallery(folder)
    gallery.add([picture(seed) for seed in range(count)], SPEC, FACTS, "job-1")
    return gallery


def test_a_history_is_there_again_after_a_restart(tmp_path):
    before = filled(tmp_path)
    after = Gallery(tmp_path)
    assert after.entries == before.entries and len(after) == 3 and not after.complaints
    assert [entry.seed for entry in after.entries] == [7, 8, 9] and after.entries[0].spec == SPEC
    assert after.picture(after.entries[2].id).tobytes() == picture(2).tobytes()


def test_nothing_is_ever_written_over(tmp_path):
    gallery = filled(tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.glob("*.png")}
    for again in (gallery, Gallery(tmp_path), Gallery(tmp_path)):  # also two that began from the same state
        again.add([picture(0), picture(0)], SPEC, FACTS)
    assert all(path.read_bytes() == data for path, data in files.items())
    assert len(Gallery(tmp_path)) == 9 == len(list(tmp_path.glob("*.png")))


def test_many_writers_at_once_lose_nothing(tmp_path):
    galleries = [Gallery(tmp_path) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda g=g: [g.add([picture(0)], SPEC, FACTS) for _ in range(10)]) for g in galleries
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = Gallery(tmp_path)
    assert len(after) == 40 and not after.complaints and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "000001-0000000", "x" * 500, "", "000001-00000000/..", "C:\\x", None, 7, "index"]
)
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    gallery = filled(tmp_path)
    for way in (gallery.path, gallery.picture, gallery.entry):
        with pytest.raises(ValueError, match="names no picture"):
            way(name)


def test_a_link_is_not_followed_and_a_missing_picture_is_said(tmp_path):
    gallery = filled(tmp_path / "gallery")
    outside = tmp_path / "secret.png"
    picture(9).save(outside)
    link = gallery.folder / "000009-00000000.png"
    link.symlink_to(outside)
    with pytest.raises(StudioError, match="has no picture"):
        gallery.picture(link.stem)
    with pytest.raises(StudioError, match="has no picture"):
        gallery.entry("000123-00000000")


def test_damaged_entries_are_left_out_with_a_sentence(tmp_path):
    gallery = filled(tmp_path, 4)
    first, second, third, _ = gallery.entries
    index = tmp_path / "index.jsonl"
    lines = index.read_text().splitlines()
    lines[0] = lines[0][:40]  # cut short: the picture tells itself
    lines += ["\0\xff not json", json.dumps(json.loads(lines[2]) | {"id": "../../x"}), "[" * 3000]
    index.write_text("\n".join(lines))
    gallery.path(second.id).unlink()
    (tmp_path / "000077-00000000.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"junk")
    after = Gallery(tmp_path)
    assert [entry.id for entry in after.entries] == [first.id, third.id, gallery.entries[3].id]
    assert after.entries[0].spec == SPEC
    assert len(after.complaints) == 6, after.complaints
    after.add([picture(8)], SPEC, FACTS)  # after a last line without an end
    assert len(Gallery(tmp_path)) == 4


KILLED = """
import sys
sys.path[:0] = {paths!r}
from studio_jobs import picture
from aigc_course.studio import Gallery, JobSpec, Part
gallery = Gallery({folder!r})
print("ready", flush=True)
for k in range(100000):
    gallery.add([picture(k)], JobSpec((Part("a cat"),), seed=k), {{}})
"""


@pytest.mark.skipif(os.name != "posix", reason="kills with a POSIX signal")
def test_a_kill_in_the_middle_leaves_every_picture_whole(tmp_path):
    here = Path(__file__).parent
    code = KILLED.format(paths=[str(here), str(here.parent)], folder=str(tmp_path))
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            while process.poll() is None and not any(tmp_path.glob("*.png")):
                threading.Event().wait(0.01)  # on a busy machine the first picture may be late
            threading.Event().wait(random.uniform(0.05, 0.4))
            process.send_signal(signal.SIGKILL)
    after = Gallery(tmp_path)
    assert len(after) == len(list(tmp_path.glob("*.png"))) > 0
    assert all(entry.spec is not None and after.picture(entry.id).size == (8, 8) for entry in after.entries)


def test_a_picture_from_outside_is_taken_in_without_what_it_says(tmp_path):
    gallery = Gallery(tmp_path)
    entry = gallery.take_in(WHOLE)
    assert entry.spec is None and gallery.picture(entry.id).tobytes() == picture(1).tobytes()
    assert Gallery(tmp_path).entries == [entry]
    with pytest.raises(ValueError, match="no PNG"):
        gallery.take_in(b"junk")
    with pytest.raises(ValueError, match="reduce it"):
        gallery.take_in(Image.new("RGB", (5000, 8)))
