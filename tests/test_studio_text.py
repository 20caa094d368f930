"""Jobs and prompt lines: round trips, hostile text, and errors that point at a character."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from studio_jobs import ALL_JOBS, LINE_JOBS, MANY, SIGNS, TEXTS

from aigc_course import studio
from aigc_course.studio import JobSpec, LoRA, Part, PromptError
from aigc_course.studio.claims import LONGEST_TEXT, PICTURE_ID

# --- round trips ------------------------------------------------------------------------------------------


@MANY
@given(LINE_JOBS)
def test_a_job_written_as_a_line_reads_as_the_same_job(spec):
    assert studio.parse(studio.to_line(spec)) == [spec]


@MANY
@given(ALL_JOBS)
def test_a_job_written_as_json_reads_as_the_same_job(spec):
    text = spec.to_json()
    assert JobSpec.from_json(text) == spec
    assert JobSpec.from_json(text).to_json() == text


@MANY
@given(TEXTS)
def test_any_text_is_read_or_refused_with_a_place_and_what_is_read_comes_back(line):
    try:
        specs = studio.parse(line)
    except PromptError as error:
        shown, caret = str(error).splitlines()[-2:]
        assert 0 <= error.at <= len(line) and caret.strip() == "^" and error.sentence.strip()
        assert "\n" not in error.sentence and error.line == line and shown.strip() or not line.strip()
        return
    for spec in specs:
        assert studio.parse(studio.to_line(spec)) == [spec]


BITS = [
    " ",
    " --ar 3:2",
    " --no ",
    " --chaos ",
    "7",
    "{a, b}",
    "{",
    "}",
    "::2 ",
    " --tile",
    "\\",
    "１",
    "\t",
    "\n",
    "\0",
]
GRAMMAR = st.lists(
    st.sampled_from([*SIGNS, *BITS]),
    max_size=14,
).map("".join)


@MANY
@given(GRAMMAR)
def test_hostile_lines_never_do_more_than_be_refused(line):
    try:
        specs = studio.parse(line)
    except PromptError:
        return
    assert 1 <= len(specs) <= 40
    for spec in specs:
        assert not any("\0" in part.text for part in spec.prompt)
        assert studio.parse(studio.to_line(spec)) == [spec]


JSONS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)


@MANY
@given(
    ALL_JOBS, st.sampled_from([*json.loads(json.dumps(list(JobSpec.__dataclass_fields__))), "path", "__class__"]), JSONS
)
def test_a_changed_field_is_read_as_a_whole_job_or_refused(spec, name, value):
    told = json.loads(spec.to_json()) | {name: value}
    try:
        again = JobSpec.from_json(json.dumps(told))
    except ValueError as error:
        assert str(error)
        return
    assert JobSpec.from_json(again.to_json()) == again


# --- what a line says -------------------------------------------------------------------------------------


def test_the_line_of_the_promise():
    (spec,) = studio.parse("a red fox house --ar 3:2 --seed 7 --no tree")
    assert spec == JobSpec((Part("a red fox house"),), negative="tree", seed=7, ar=(3, 2))
    assert spec.seeds == [7, 8, 9, 10]


def test_every_parameter_has_a_field_an_example_that_reads_and_a_sentence():
    for one in studio.PARAMETERS.values():
        (spec,) = studio.parse(f"a house --{one.name} {one.example}".strip())
        assert getattr(spec, one.field) != getattr(JobSpec((Part("x"),)), one.field), one.name
        assert one.says


def test_braces_are_every_combination_nested_and_escaped():
    lines = [spec.words for spec in studio.parse("a {red, {light, dark} blue} {cat, tree}")]
    assert lines == [f"a {c} {t}" for c in ("red", "light blue", "dark blue") for t in ("cat", "tree")]
    assert [s.words for s in studio.parse(r"{red\, very, blue} \{x\}")] == ["red, very {x}", "blue {x}"]
    assert [s.ar for s in studio.parse("a cat --ar {1:1, 2:3}")] == [(1, 1), (2, 3)]
    assert [s.words for s in studio.parse("{红色，蓝色}的房子")] == ["红色的房子", "蓝色的房子"]
    assert len(studio.parse("{a, a} cat")) == 1


def test_weights_stand_after_two_colons():
    (spec,) = studio.parse("a house::2 a tree::-0.5 a cat")
    assert spec.prompt == (Part("a house", 2), Part("a tree", -0.5), Part("a cat", 1))


def test_chinese_lines_read_like_english_ones():
    (spec,) = studio.parse("水彩画：一座红色的房子，在草地上 --ar 3：2 --no 树")
    assert spec.words == "水彩画：一座红色的房子，在草地上" and spec.ar == (3, 2) and spec.negative == "树"


def test_short_names_stand_for_long_ones():
    assert studio.parse("a cat --c 5 --s 50 --w 9 --r 2 --q 2") == studio.parse(
        "a cat --chaos 5 --stylize 50 --weird 9 --repeat 2 --quality 2"
    )


def test_repeats_go_on_with_their_seeds_and_permutations_share_one():
    first, second = studio.expand(studio.parse("a cat --repeat 2 --seed 5"))
    assert (first.seeds, second.seeds) == ([5, 6, 7, 8], [9, 10, 11, 12])
    red, blue = studio.expand(studio.parse("a {red, blue} cat"))
    assert red.seed == blue.seed is not None


@pytest.mark.parametrize(
    ("line", "under", "fix"),
    [
        ("a cat --chaos 150", "150", "nearest is --chaos 100"),
        ("a cat --chaos much", "much", "from 0 to 100"),
        ("a cat --seed -1", "-1", "nearest is --seed 0"),
        ("a cat --stilize 3", "--stilize", "did you mean --stylize?"),
        ("a cat --qqqq", "--qqqq", "there are: --ar"),
        ("a cat -- ar 3:2", "-- ar", "directly after"),
        ("a cat —ar 3:2", "—ar", "write --ar"),
        ("a cat --ar 3", "3", "such as --ar 3:2"),
        ("a cat --ar 9:1", "9:1", "nearest is --ar 4:1"),
        ("a cat --ar 1920:1080", "1920", "nearest is --ar 16:9"),
        ("a cat --ar 0:1", "0:1", "whole numbers"),
        ("a cat --seed", "--seed", "needs a value"),
        ("a cat --seed 7 blue", "blue", "before the first parameter"),
        ("a cat --tile yes", "yes", "takes no value"),
        ("a cat --seed 1 --seed 2", "--seed 2", "given twice"),
        ("a {red, blue cat", "{", "add }"),
        ("a red} cat", "}", "delete it"),
        ("a {} cat", "{", "between these braces"),
        ("a cat::-1", "::-1", "positive"),
        ("::2 a cat", "::2", "no words before"),
        ("--seed 7", "--seed", "write a prompt"),
        ("", "", "write a prompt"),
        ("a cat --lora Chalk/..:1", "Chalk", "such as --lora chalk:0.8"),
        ("a cat --lora chalk:9", "chalk", "from -2 to 2"),
        ("a cat --sref ../../x.png", "../", "by their id"),
        ("a \x07cat", "\x07", "control character"),
        ("一只红色的猫 --stop 5", "5", "nearest is --stop 10"),
        ("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", "{", "at most 40"),
        ("{{{{{{{a}}}}}}}", "{a", "nested"),
    ],
)
def test_an_error_points_at_the_character_and_names_the_fix(line, under, fix):
    with pytest.raises(PromptError) as raised:
        studio.parse(line)
    assert line[raised.value.at :].startswith(under) and fix in raised.value.sentence
    assert raised.value.pointer().splitlines()[-1].strip() == "^"


def test_a_caret_stands_under_its_character_also_after_wide_ones():
    with pytest.raises(PromptError) as raised:
        studio.parse("一只猫 --chaos 150")
    assert raised.value.pointer().splitlines()[1].index("^") == len("一只猫 --chaos ") + 3


@pytest.mark.parametrize("line", ["{" * 4000, "a " * 2001, "{a," * 1300, "a" * 1500, "\\" * 3999, "x::" * 900])
def test_long_lines_are_refused_at_once(line):
    with pytest.raises(PromptError):
        studio.parse(line)


def test_a_number_is_no_line():
    with pytest.raises(TypeError, match="a prompt is text"):
        studio.parse(7)


# --- jobs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "write a prompt"),
        ({"prompt": "a cat"}, "tuple"),
        ({"prompt": (Part("x"),), "seed": 1.5}, "whole number"),
        ({"prompt": (Part("x"),), "seed": True}, "whole number"),
        ({"prompt": (Part("x"),), "chaos": float("nan")}, "from 0 to 100"),
        ({"prompt": (Part("x"),), "tile": 1}, "True or False"),
        ({"prompt": (Part("x"),), "images": ("../secret",)}, "names no picture"),
        ({"prompt": (Part("x"),), "loras": (LoRA("a"), LoRA("a"))}, "twice"),
        ({"prompt": (Part("x"),), "ar": (9, 1)}, "too narrow"),
        ({"prompt": (Part("x"),), "width": 128}, "go together"),
        ({"prompt": (Part("x"),), "width": 100, "height": 128}, "multiples of 8"),
        ({"prompt": (Part("x", -1),)}, "positive"),
        ({"prompt": (Part("x"),), "action": "fly"}, "choose one of"),
        ({"action": "vary"}, "needs a picture"),
        ({"action": "blend", "images": ("000001-00000000",)}, "2 to 5"),
        ({"action": "inpaint", "parent": "000001-00000000"}, "needs a region"),
        ({"action": "inpaint", "parent": "000001-00000000", "region": (9, 9, 3, 12)}, "left < right"),
        ({"action": "pan", "parent": "000001-00000000"}, "direction"),
        ({"prompt": (Part("x"),), "action": "branch"}, "takes over"),
        ({"prompt": (Part("x"),), "schema": 2}, "newer course"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused_in_a_sentence(fields, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        JobSpec(**fields)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "7", '{"schema": 1', '{"schema": 1, "schema": 1}', '{"schema": NaN}', "[" * 5000,
        '{"schema": 1, "prompt": [{"text": "x", "path": "/etc"}]}', '{"schema": 1, "prompt": "x"}',
        '{"schema": 1, "prompt": [{"weight": 1}]}', '{"schema": 1, "eval": "x"}', " " * 30_000,
        '{"schema": 1, "seed": ' + "9" * 5000 + "}", '{"schema": 1, "prompt": [{"text": "\\ud800"}]}',
    ],
)  # fmt: skip
def test_json_that_is_no_job_is_refused(text):
    with pytest.raises(ValueError):
        JobSpec.from_json(text)


def test_a_job_cannot_be_changed_and_is_known_by_its_contents():
    spec = JobSpec((Part("a  red\ncat"),))
    assert spec.words == "a red cat" and spec == JobSpec((Part("a red cat"),)) and len({spec, spec.with_(seed=1)}) == 2
    with pytest.raises(AttributeError):
        spec.seed = 3


def test_no_path_looks_like_the_id_of_a_picture():
    assert not any(
        PICTURE_ID.fullmatch(x) for x in ("../000001-00000000", "000001-00000000.png", "000001-0000000g", "")
    )


def test_text_longer_than_the_limit_is_refused():
    with pytest.raises(ValueError, match="shorten it"):
        Part("x" * (LONGEST_TEXT + 1))


@MANY
@given(st.tuples(st.integers(1, 99), st.integers(1, 99)).filter(lambda wh: 1 / 4 <= wh[0] / wh[1] <= 4))
def test_a_shape_keeps_its_ratio_and_about_its_area(ar):
    w, h = studio.shape_of(ar)
    assert w % 8 == h % 8 == 0
    assert abs(w / h / (ar[0] / ar[1]) - 1) < 0.1 and abs(w * h / 128**2 - 1) < 0.25


# --- unknown words ----------------------------------------------------------------------------------------


def test_unknown_words_are_named_with_the_nearest_known_ones():
    hous, grden = studio.unknown("a red hous in the grden")
    assert (hous.word, hous.at, hous.near[0]) == ("hous", 6, "house") and grden.near[0] == "green"
    assert "house" in hous.sentence
    (castle,) = studio.unknown("一座红色的城堡")
    assert castle.word == "城堡" and castle.at == 5 and any("城" in near for near in castle.near)


def test_known_words_and_those_that_a_lora_taught_are_not_named():
    assert not studio.unknown("a watercolour of two large red houses left of a tree at night")
    assert not studio.unknown("草地上，一座红色的房子")
    assert studio.unknown("a robot") and not studio.unknown("a robot", also=["robot"])
    assert "house" in studio.vocabulary() and "房子" in studio.vocabulary()
