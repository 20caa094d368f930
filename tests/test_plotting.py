"""The plotting room: right pixels, alt text always, small files, no missing letters, no crossed boxes."""

import ast
import io
import itertools
import random
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from IPython.core.pylabtools import select_figure_formats
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties, findfont, get_font
from PIL import Image, ImageDraw

from aigc_course import plotting
from aigc_course.plotting import curves, figure, letters, pictures, png
from aigc_course.plotting.flowchart import drawing, mermaid, order, slots, springs

ROOM = Path(plotting.__file__).parent
CARD = tuple(round(255 * part) for part in to_rgb(figure.CARD))


@pytest.fixture(autouse=True)
def no_warnings():
    """A warning from a font or an axis is a blemish in every notebook."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def flat():
    """Six pictures of one colour each."""
    colours = torch.tensor([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1], [0.2, 0.2, 0.2], [1, 1, 1]])
    return colours.view(6, 3, 1, 1).expand(6, 3, 120, 120)


# --- conversion -------------------------------------------------------------------------------------------


def test_minus_one_is_black_and_one_is_white():
    x = torch.tensor([-1.0, 0.0, 1.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    assert plotting.to_array(x)[0, 0, :, 0].tolist() == [0, 128, 255]


def test_channels_come_last_and_rows_stay_rows():
    x = torch.linspace(-1, 1, 2 * 3 * 4 * 5).view(2, 3, 4, 5)
    pixels = plotting.to_array(x)
    assert pixels.shape == (2, 4, 5, 3) and pixels.dtype == np.uint8
    assert pixels[1, 2, 3, 0] == round((x[1, 0, 2, 3].item() + 1) * 127.5)


@pytest.mark.parametrize(
    "same",
    [
        lambda x: x.bfloat16(),
        lambda x: x.double().numpy(),
        lambda x: x.clone().requires_grad_(),
        lambda x: plotting.to_array(x),
        lambda x: plotting.to_array(x)[0],
        lambda x: plotting.to_pil(x),
        lambda x: [plotting.to_pil(x)],
        lambda x: (x[0],),
        lambda x: x[:, :1],
    ],
    ids=["bfloat16", "float64 array", "with gradient", "bytes", "(H, W, 3)", "PIL", "list", "tuple", "grey"],
)
def test_every_kind_of_picture_gives_the_same_pixels(same):
    x = torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2).expand(1, 3, 4, 2)
    assert np.array_equal(plotting.to_array(same(x)), plotting.to_array(x))


def test_noise_is_clipped_and_not_refused():
    x = torch.tensor([-4.5, 4.5]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    assert plotting.to_array(x)[0, 0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (torch.rand(1, 3, 4, 4) * 255, r"x / 127.5 - 1"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.int64), r"int64"),
        (torch.zeros(1, 4, 8, 8), r"latent"),
        (torch.zeros(4, 4), r"\(4, 4\)"),
        (torch.full((1, 3, 2, 2), float("nan")), r"NaN"),
        (np.zeros((1, 3, 4, 4), np.uint8), r"\(B, H, W, 3\)"),
        ([torch.zeros(3, 4, 4), torch.zeros(3, 8, 8)], r"resize"),
        ([], r"one size"),
    ],
)
def test_what_is_no_picture_is_answered_with_one_sentence(wrong, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        plotting.to_array(wrong)
    assert "\n" not in str(error.value)


def test_to_pil_is_the_way_back_of_to_array():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(plotting.to_pil(pixels)), pixels)


def test_to_pil_takes_only_one_picture():
    with pytest.raises(ValueError, match=r"images\[0\]"):
        plotting.to_pil(torch.zeros(2, 3, 4, 4))


# --- picture grids ----------------------------------------------------------------------------------------


def test_pictures_stand_in_the_grid_at_their_own_pixels(flat):
    sheet = np.asarray(plotting.show_images(flat, columns=3).image)
    expected = plotting.to_array(flat)[:, 0, 0]
    for i, colour in enumerate(expected):
        row, column = divmod(i, 3)
        y, x = pictures.PAD + row * (120 + pictures.GAP + 3), pictures.PAD + column * (120 + pictures.GAP)
        assert (sheet[y : y + 120, x : x + 120] == colour).all(), f"picture {i} is not where it should be"


def test_the_card_is_opaque_and_of_one_colour(flat):
    image = plotting.show_images(flat).image
    corners = itertools.product((0, image.width - 1), (0, image.height - 1))
    assert {image.getpixel(corner) for corner in corners} == {CARD}


def test_the_card_keeps_its_colour_beside_pictures_almost_like_it():
    generator = torch.Generator().manual_seed(0)
    pale = torch.cat([torch.randn(1, 3, 128, 128, generator=generator) * spread + 0.9 for spread in (0.05, 1.0)])
    assert plotting.show_strip(pale).image.getpixel((2, 2)) == CARD


def test_titles_stand_under_their_pictures_and_not_on_them(flat):
    sheet = np.asarray(plotting.show_images(flat[:2], ["left", "right"]).image).astype(int)
    under = sheet[pictures.PAD + 120 :]
    for i, colour in enumerate(plotting.to_array(flat)[:2, 0, 0]):
        columns = slice(pictures.PAD + i * (120 + pictures.GAP), pictures.PAD + i * (120 + pictures.GAP) + 120)
        assert (sheet[pictures.PAD : pictures.PAD + 120, columns] == colour).all()
        assert under[:, columns].min() < 100, "no ink under the picture"


def test_tiny_pictures_are_drawn_with_whole_larger_pixels():
    large = pictures.enlarge(np.arange(2 * 2 * 3, dtype=np.uint8).reshape(1, 2, 2, 3), 1)
    assert large.shape == (1, 112, 112, 3)
    assert (large[0, :56, :56] == large[0, 0, 0]).all()


def test_scale_changes_the_size_on_the_page(flat):
    half = pictures.enlarge(plotting.to_array(flat), 0.5)
    assert half.shape == (6, 60, 60, 3)
    assert pictures.enlarge(plotting.to_array(flat), 2).shape == (6, 240, 240, 3)


@pytest.mark.parametrize(
    ("count", "most", "columns"), [(4, 8, 4), (32, 8, 8), (12, 8, 6), (9, 6, 3), (7, 6, 4), (5, 1, 1)]
)
def test_a_sheet_has_few_empty_places_and_is_no_higher_than_wide(count, most, columns):
    assert pictures._columns(count, most) == columns


def test_a_strip_is_one_row_with_room_for_arrows(flat):
    strip, grid = (
        plotting.show_strip(flat, list("abcdef")).image,
        plotting.show_images(flat, list("abcdef"), 6).image,
    )
    assert strip.width == grid.width + 5 * (pictures.ARROW - pictures.GAP)
    assert strip.height == grid.height


@pytest.mark.parametrize("titles", [["only one"], "abcdef", list("abcdefg")])
def test_titles_that_do_not_match_the_pictures_are_refused(titles, flat):
    with pytest.raises(ValueError, match="6 titles"):
        plotting.show_images(flat, titles)


# --- alt text ---------------------------------------------------------------------------------------------


def test_alt_text_is_made_of_the_titles(flat):
    assert plotting.show_images(flat[:2], ["a cat", "a car"]).alt == "Grid of 2 pictures: a cat, a car"
    assert plotting.show_strip(flat[:2], ["t=1", "t=0"]).alt == "Strip of 2 pictures: t=1, t=0"
    assert plotting.show_images(flat[:1], ["a cat"]).alt == "Picture: a cat"


def test_alt_text_is_never_empty_and_the_authors_comes_first(flat):
    assert plotting.show_images(flat).alt == "Grid of 6 pictures, without titles"
    assert plotting.show_images(flat, alt="Six plain colours.").alt == "Six plain colours."


def test_a_drawing_without_alt_text_is_refused():
    with pytest.raises(ValueError, match="alt text"):
        figure.finish(figure.page(10, 10), "  ")


def test_curves_and_heat_maps_tell_their_numbers():
    chart = plotting.show_curves({"loss": [3, 2, 1]}, xlabel="step", ylabel="nats")
    assert chart.alt == "Line chart of nats over step: loss from 3 to 1 between 0 and 2"
    heat = plotting.show_heatmap([[0, 1], [2, 9]], ["cat", "car"], ["red", "blue"])
    assert "4" not in heat.alt and "2 by 2" in heat.alt and "largest at car, blue" in heat.alt


# --- what a notebook receives -----------------------------------------------------------------------------


def test_a_notebook_gets_one_png_with_alt_text_even_when_matplotlib_is_inline(flat):
    shown, formatter = plotting.show_images(flat[:2], ["left", "right"]), DisplayFormatter()
    select_figure_formats(SimpleNamespace(display_formatter=formatter), {"png"})  # what %matplotlib inline does
    data, metadata = formatter.format(shown)
    assert set(data) == {"image/png", "text/plain"}
    assert data["image/png"] == shown.png and data["text/plain"] == shown.alt
    assert metadata["image/png"]["alt"] == "Grid of 2 pictures: left, right"


def test_a_fine_drawing_is_shown_at_half_its_pixels():
    chart = plotting.show_curves({"loss": [3, 2, 1]})
    metadata = chart._repr_mimebundle_()[1]["image/png"]
    assert (2 * metadata["width"], 2 * metadata["height"]) == chart.image.size


def test_a_saved_figure_is_the_shown_one(flat, tmp_path):
    shown = plotting.show_images(flat)
    shown.save(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes() == shown.png


def test_the_room_never_touches_the_global_figures_of_pyplot():
    for path in ROOM.rglob("*.py"):
        names = [
            ast.dump(node)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, (ast.Import, ast.ImportFrom))
        ]
        assert not any("pyplot" in name for name in names), (
            f"{path.name} imports pyplot; use figure.page and figure.finish"
        )


# --- few bytes --------------------------------------------------------------------------------------------


def decoded(image: Image.Image) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png.encode(image))).convert("RGB")).astype(int)


SKIES = [(168, 214, 240), (40, 44, 84), (244, 214, 160), (214, 224, 238), (120, 190, 220)]
PAINTS = [(214, 52, 48), (44, 98, 200), (48, 150, 74), (246, 200, 50), (240, 140, 40), (128, 70, 168), (20, 20, 30)]


def drawn(rng: random.Random) -> np.ndarray:
    """An antialiased picture of 128 pixels in the manner of the course: a shaded sky, a hill, three things."""
    big = Image.new("RGB", (256, 256))
    pen, sky = ImageDraw.Draw(big), rng.choice(SKIES)
    for y in range(256):
        pen.line([(0, y), (256, y)], tuple(channel + (255 - channel) * y // 512 for channel in sky))
    pen.ellipse((-60, rng.randrange(140, 200), 330, 400), tuple(channel * 3 // 4 for channel in rng.choice(SKIES)))
    for _ in range(3):
        x, y, r = rng.randrange(256), rng.randrange(256), rng.randrange(15, 60)
        pen.ellipse((x - r, y - r, x + r, y + r), rng.choice(PAINTS), outline=(52, 46, 58), width=5)
    return np.asarray(big.resize((128, 128), Image.Resampling.LANCZOS))


def test_few_colours_are_kept_exactly():
    colours = np.random.default_rng(0).integers(0, 64, (8, 3)) * 4
    pixels = colours[np.add.outer(np.arange(64) // 16, np.arange(64) // 32)].astype(np.uint8)
    assert np.array_equal(decoded(Image.fromarray(pixels)), pixels)


def test_a_contact_sheet_of_32_pictures_is_small_and_looks_the_same():
    rng = random.Random(0)
    sheet = np.concatenate([np.concatenate([drawn(rng) for _ in range(8)], 1) for _ in range(4)])
    image = Image.fromarray(sheet)
    assert len(png.encode(image)) < 45_000
    assert np.abs(decoded(image) - sheet).mean() < 3


def test_one_rare_colour_survives_in_a_sheet_of_others():
    sheet = np.tile(drawn(random.Random(1)), (4, 8, 1))
    sheet[40:52, 40:52] = (230, 20, 30)
    assert np.abs(decoded(Image.fromarray(sheet))[44:48, 44:48] - (230, 20, 30)).max() <= 12


def test_what_no_palette_can_show_is_kept_in_full_colour():
    y, x = np.mgrid[0:128, 0:128]
    tiles = np.stack([x % 64 * 4, y % 64 * 4, x // 64 * 128 + y // 64 * 64], -1).astype(np.uint8)
    assert np.array_equal(decoded(Image.fromarray(tiles)), tiles)


# --- letters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["a red circle left of a small blue house", "Donaudampfschifffahrtsgesellschaft!", "a"]
)
def test_wrapped_lines_fit_and_lose_no_letter(text):
    lines = letters.wrap(text, 80, 11, most=9)
    assert all(letters.width(line, 11) <= 80 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_what_does_not_fit_ends_in_an_ellipsis():
    lines = letters.wrap("word " * 40, 80, 11, most=2)
    assert len(lines) == 2 and lines[-1].endswith("…")
    assert letters.width(lines[-1], 11) <= 80


def test_without_a_chinese_font_a_title_becomes_its_number_and_the_alt_text_tells_it(flat, monkeypatch):
    monkeypatch.setattr(letters, "families", lambda: [letters.LATIN])
    shown = plotting.show_images(flat[:3], ["一只猫", "a cat", "红色"])
    assert shown.alt == "Grid of 3 pictures: 1: 一只猫, a cat, 3: 红色"
    assert shown.png == plotting.show_images(flat[:3], ["1", "a cat", "3"]).png


def test_a_letter_of_a_second_font_is_drawn(monkeypatch):
    monkeypatch.setattr(letters, "families", lambda: [letters.LATIN, "STIXGeneral"])
    fonts = (get_font(findfont(FontProperties(family=family))) for family in letters.families())
    latin, other = (set(font.get_charmap()) for font in fonts)
    letter = chr(min(code for code in other - latin if code > 0x2E80))
    assert letters.drawable(letter) and letters.label(letter, 1) == letter
    plotting.show_images(np.zeros((1, 8, 8, 3), np.uint8), [letter])  # a missing letter would warn


def test_bold_is_asked_only_of_the_font_that_has_it():
    assert letters.font("cat", 12, bold=True).get_weight() == "bold"
    assert letters.font("cat 猫", 12, bold=True).get_weight() == "normal"


def test_chinese_everywhere_is_drawn_without_a_warning(monkeypatch):
    monkeypatch.setattr(letters, "families", lambda: [letters.LATIN])
    plotting.show_curves({"损失": [2, 1], "b": [1, 1]}, xlabel="步", ylabel="纳特")
    plotting.show_heatmap(np.eye(2), ["猫", "b"], ["红", "蓝"])
    source = "flowchart TD\n subgraph 训练\n a([文字]) -->|编码| b{好?}\n end"
    diagram = plotting.show_diagram(source, "From words")
    assert diagram.alt == "From words. 1: 训练. 2: 文字. 3: 好?. 4: 编码"


def test_dollar_signs_are_letters_and_not_formulas(flat):
    plotting.show_images(flat[:1], ["$5 and $x_"])
    plotting.show_diagram("flowchart LR\n a[$x_ costs] -->|$| b[$5]", "Prices")


# --- curves, heat maps, tables ----------------------------------------------------------------------------


def test_curves_with_gaps_zeros_and_tensors_are_drawn():
    values = {"a": torch.tensor([1.0, 0.1, 0.0]), "b": [1, float("nan"), 0.5], "c": [0.3]}
    assert "a from 1 to 0.1 between 0 and 1" in plotting.show_curves(values, logy=True).alt
    assert plotting.show_curves({"a": [1, 2]}, x=[10, 20]).alt.endswith("between 10 and 20")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (({},), "no curve"),
        (({"loss": []},), "one number or more"),
        (({"loss": [[1, 2]]},), "flat list"),
        (({"loss": [float("nan")]},), "diverge"),
        (({"loss": [0, -1]}, None, "", "", True), "logy"),
        (({"loss": [1, 2]}, [1, 2, 3]), "2 values for 3 places"),
    ],
)
def test_what_is_no_curve_is_answered_with_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        plotting.show_curves(*arguments)


def test_names_of_curves_keep_apart_in_order_and_move_no_further_than_needed():
    heights = [50, 0, 51, 52, 200]
    placed = curves.spread(heights, 10)
    assert (placed[1], placed[4]) == (0, 200)
    assert [placed[i] for i in (0, 2, 3)] == [41, 51, 61]
    assert curves.spread([0, 5, 12], 10) == pytest.approx([-4.33, 5.67, 15.67], abs=0.01)
    assert curves.spread([0, 11, 12], 10) == pytest.approx([-2.33, 7.67, 17.67], abs=0.01)  # a block moves down


def axes_of(monkeypatch, *arguments, **named):
    """The axes of a chart, before they become a picture."""
    monkeypatch.setattr(curves, "finish", lambda canvas, alt: canvas)
    return plotting.show_curves(*arguments, **named).axes[0]


@pytest.mark.parametrize(
    ("x", "ticks"),
    [
        ([1, 2, 4, 8], [1, 2, 4, 8]),
        ([0.1, 0.5, 0.25], [0.1, 0.25, 0.5]),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [0, 2, 4, 6, 8, 10]),
        ([1, 2, 64], [0, 15, 30, 45, 60]),
    ],
)
def test_a_chart_is_ticked_where_it_was_measured_or_at_whole_numbers(monkeypatch, x, ticks):
    axes = axes_of(monkeypatch, {"a": x}, x)
    low, high = min(x), max(x)
    assert [tick for tick in axes.get_xticks() if low - 1 <= tick <= high] == ticks


def test_places_are_written_in_few_digits_and_whole_ones_in_full(monkeypatch):
    labels = axes_of(monkeypatch, {"a": [1, 2, 3, 4]}, [0, 5.6439, 8, 12]).get_xticklabels()
    assert [label.get_text() for label in labels] == ["0", "5.64", "8", "12"]
    labels = axes_of(monkeypatch, {"a": [1, 2, 3]}, [0, 5643.9, 12345]).get_xticklabels()
    assert [label.get_text() for label in labels] == ["0", "5,644", "12,345"]


@pytest.mark.parametrize(("values", "plain"), [([8, 0.14], True), ([1.5, 3.5], True), ([1e-6, 1], False)])
def test_a_logarithmic_axis_of_few_decades_tells_plain_numbers(monkeypatch, values, plain):
    axes = axes_of(monkeypatch, {"a": values}, logy=True)
    low, high = axes.get_ylim()
    told = [text.get_text() for text in axes.get_yticklabels() if low <= text.get_position()[1] <= high]
    assert len(told) >= 3 and all(("10^" not in text) == plain for text in told)


def test_a_curve_that_later_ones_cover_is_seen_beneath_them():
    def seen(**values):
        chart = np.asarray(plotting.show_curves(values).image)[:, :700]  # without the names on the right
        colours = [np.round(255 * np.array(to_rgb(figure.SERIES[i]))) for i in range(len(values))]
        return [(chart == colour).all(-1).sum() for colour in colours]

    assert min(seen(a=[1, 2, 3, 4], b=[1, 2, 3, 4], c=[1, 2, 3.001, 1])) > 500
    apart, close = seen(a=[1, 2, 3, 4], b=[4, 3, 2, 1])
    assert apart == pytest.approx(close, rel=0.1)


def test_the_palest_shade_of_signed_values_is_zero():
    heat = np.asarray(plotting.show_heatmap([[-0.1, 0.0, 0.9]], ["a"], ["minus", "zero", "plus"]).image).astype(int)
    minus, zero, plus = (tuple(heat[-36, -68 - 92 * k].tolist()) for k in (2, 1, 0))
    assert zero == pytest.approx((244, 241, 234), abs=2) and minus[0] > minus[2] and plus[2] > plus[0]
    assert sum(zero) > sum(minus) > sum(plus)


def test_a_matrix_that_does_not_fit_its_names_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\).*3 row names"):
        plotting.show_heatmap(np.eye(2), list("abc"), list("ab"))


def test_a_flat_matrix_is_drawn():
    assert "from 0 to 0" in plotting.show_heatmap(np.zeros((2, 2)), list("ab"), list("cd")).alt


# The plane


def test_a_panel_shows_its_points_where_they_are():
    figure = plotting.show_plane({"corner": [[-1.0, -1.0], [-0.9, -0.9]], "empty corner": [[1.0, 1.0], [0.9, 0.9]]})
    ink = np.asarray(figure.image.convert("L")) < 200
    left, right = np.array_split(ink[60:, :], 2, axis=1)  # below the names
    lower = slice(ink.shape[0] // 2, None)
    assert left[lower, : left.shape[1] // 2].sum() > right[lower, : right.shape[1] // 2].sum()
    assert figure.alt == "2 panels of points in the plane: corner; empty corner"


def test_arrows_and_paths_go_to_the_panel_of_their_name():
    cloud, start = np.zeros((4, 2)), np.zeros((1, 2))
    bare = plotting.show_plane({"a": cloud, "b": cloud + 1})
    drawn = plotting.show_plane(
        {"a": cloud, "b": cloud + 1}, {"a": (start, start + 1)}, {"b": np.array([[[0.0, 0.0], [1.0, 1.0]]])}
    )
    changed = np.asarray(bare.image) != np.asarray(drawn.image)
    assert all(half.any() for half in np.array_split(changed, 2, axis=1))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (({},), "no cloud to draw"),
        (({"a": np.zeros((3, 3))},), r"shape \(3, 3\)"),
        (({"a": np.array([[0, np.nan]])},), "not finite"),
        (({"a": np.zeros((3, 2))}, {"b": (np.zeros((1, 2)), np.zeros((1, 2)))}), "'b' have no panel"),
        (({"a": np.zeros((3, 2))}, None, {"a": np.zeros((3, 2))}), r"\(K, S, 2\)"),
    ],
)
def test_what_is_not_in_the_plane_is_answered_with_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        plotting.show_plane(*arguments)


def test_a_table_is_markdown_with_numbers_on_the_right():
    table = plotting.show_table([{"model": "a|b", "loss": 0.123456, "bytes": 1234567, "good": True}])
    assert table._repr_markdown_().splitlines() == [
        "| model | loss | bytes | good |",
        "| :--- | ---: | ---: | :--- |",
        r"| a\|b | 0.1235 | 1,234,567 | True |",
    ]


def test_a_table_in_a_terminal_is_aligned():
    table = plotting.show_table([["long name", 1], ["b", 10.25]], ["name", "x"])
    assert repr(table).splitlines() == ["name           x", "long name      1", "b          10.25"]


@pytest.mark.parametrize(
    ("rows", "columns", "sentence"),
    [
        ([], ["a"], "at least one row"),
        ([[1]], None, "name the columns"),
        ([[1, 2], [3]], ["a", "b"], r"\[3\] has 1"),
    ],
)
def test_what_is_no_table_is_answered_with_one_sentence(rows, columns, sentence):
    with pytest.raises(ValueError, match=sentence):
        plotting.show_table(rows, columns)


# --- timelines --------------------------------------------------------------------------------------------


def test_a_timeline_draws_each_box_where_its_work_was_and_leaves_idle_time_empty():
    drawn = plotting.show_timeline({"a": [("forward", "", 0, 1)], "b": [("backward", "", 1, 2)]})
    pixels = np.asarray(drawn.image)[2 * 34 :]  # below the names of the kinds
    first, second = (
        np.nonzero((pixels == [round(255 * part) for part in to_rgb(colour)]).all(-1).sum(0) > 30)[0]
        for colour in figure.SERIES[:2]
    )
    assert len(first) == pytest.approx(len(second), abs=4) and len(first) > 500
    assert 0 < second.min() - first.max() < 5


def test_a_timeline_tells_what_was_done_and_how_long_nothing_was():
    rows = {"rank 0": [("forward", "0", 5, 6), ("forward", "1", 6, 7)], "rank 1": [("backward", "$", 6, 9)]}
    told = "Timeline of 2 rows over 4 seconds. rank 0: 2 × forward, idle 50%; rank 1: 1 × backward, idle 25%"
    assert plotting.show_timeline(rows).alt == told
    assert plotting.show_timeline(rows, alt="mine").alt == "mine"
    assert plotting.show_timeline({"at once": [("stop", "", 1, 1)]}).alt.endswith("1 × stop, idle 100%")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({}, "there is nothing to draw"),
        ({"a": []}, "there is nothing to draw"),
        ({"a": [("forward", "", 2, 1)]}, "is no piece of work: .* with start <= end"),
        ({"a": [("forward", "", 0, float("nan"))]}, "is no piece of work"),
    ],
)
def test_what_is_no_timeline_is_answered_with_one_sentence(rows, sentence):
    with pytest.raises(ValueError, match=sentence):
        plotting.show_timeline(rows)


# --- flowcharts: reading ----------------------------------------------------------------------------------

STUDIO = """
flowchart LR
  %% the studio
  you([You]) -->|prompt| studio[Studio<br/>reads the line] --> queue[Queue]
  queue --> worker[Worker]
  worker --> history("History (pictures)")
  worker -.->|preview| you
  history -->|vary, upscale| studio
"""


def test_the_subset_of_mermaid_is_read():
    chart = mermaid.parse(STUDIO)
    assert chart.direction == "LR"
    assert list(chart.nodes) == ["you", "studio", "queue", "worker", "history"]
    assert chart.nodes["studio"].lines == ("Studio", "reads the line")
    assert [chart.nodes[name].shape for name in ("you", "studio", "history")] == ["stadium", "box", "round"]
    assert chart.nodes["history"].lines == ("History (pictures)",)
    assert chart.edges[0] == mermaid.Edge("you", "studio", "prompt")
    assert chart.edges[4] == mermaid.Edge("worker", "you", "preview", dashed=True)


def test_nodes_belong_to_the_subgraph_in_which_they_stand():
    chart = mermaid.parse(
        'flowchart TD\na --> b\nsubgraph Train once\nb --> c{ok?}\nend\nsubgraph s ["Use it"]\nd\nend'
    )
    assert {name: node.group for name, node in chart.nodes.items()} == {
        "a": None, "b": "Train once", "c": "Train once", "d": "Use it",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("", "begins with the line"),
        ("sequenceDiagram\n a", "begins with the line"),
        ("flowchart LR", "no nodes"),
        ("flowchart LR\na -> b", "line 2.*'-> b'"),
        ("flowchart LR\na[f(x)] --> b", 'line 2.*"quotes"'),
        ("flowchart LR\na -->", "needs a node"),
        ("flowchart LR\na --> a", "itself"),
        ("flowchart LR\nstyle a fill:red", "line 2"),
        ("flowchart LR\nsubgraph x\na", "never closed"),
        ("flowchart LR\nsubgraph x\nsubgraph y\na\nend\nend", "inside a subgraph"),
        ("flowchart LR\nsubgraph x\na\nend\nsubgraph x\nb\nend", "already"),
    ],
)
def test_what_is_not_drawn_is_named_with_its_line(source, sentence):
    with pytest.raises(ValueError, match=sentence):
        mermaid.parse(source)


def test_the_source_travels_with_the_picture():
    shown = plotting.show_diagram(STUDIO, "The studio")
    assert shown._repr_mimebundle_()[0]["text/plain"] == f"The studio\n\n{STUDIO.strip()}"


# --- flowcharts: laying out -------------------------------------------------------------------------------


def sketch(source: str):
    return drawing._Sketch(mermaid.parse(source))


def test_boxes_stand_one_rank_below_their_lowest_parent():
    links = [slots.Link(*pair) for pair in ("ab", "bc", "ac", "xc")]
    assert slots.rank(dict.fromkeys("abcx"), links, set()) == {"a": 0, "b": 1, "c": 2, "x": 1}


def test_a_cycle_is_opened_at_the_arrow_that_returns():
    links = [slots.Link(*pair) for pair in ("ab", "bc", "ca")]
    assert slots.turn_back(dict.fromkeys("abc"), links) == {2}


def test_a_chain_runs_straight():
    boxes = sketch("flowchart LR\n a[one] --> b[two<br/>lines] --> c(three) -->|label| d{four} --> e").layout.boxes
    middles = [box.v for box in boxes.values()]
    assert max(middles) - min(middles) < 0.5
    assert [box.u for box in boxes.values()] == sorted(box.u for box in boxes.values())


def test_a_chain_runs_straight_past_a_lone_input_and_within_a_branch():
    boxes = sketch("flowchart TD\n a --> b --> c --> d\n extra[one more input] --> c").layout.boxes
    assert max(abs(boxes[name].v - boxes["a"].v) for name in "bcd") < 2
    source = "flowchart TD\n a --> b[a wide box of words] --> c --> d\n a --> e --> f --> d"
    boxes = sketch(source).layout.boxes
    assert abs(boxes["b"].v - boxes["c"].v) < 3 and abs(boxes["e"].v - boxes["f"].v) < 3


def test_a_parent_stands_over_the_middle_of_its_children():
    boxes = sketch("flowchart TD\n a --> b\n a --> c\n b --> d\n c --> d").layout.boxes
    assert boxes["a"].v == pytest.approx((boxes["b"].v + boxes["c"].v) / 2, abs=0.5)
    assert boxes["d"].v == pytest.approx(boxes["a"].v, abs=0.5)


def test_crossings_that_can_be_avoided_are_avoided():
    layout = sketch("flowchart TD\n a --> z\n b --> y\n c --> x\n d --> w\n y\n z").layout
    assert order.crossings(layout.rows, layout.routes) == 0


def test_two_arrows_back_run_on_two_sides():
    layout = sketch(STUDIO).layout
    assert order.crossings(layout.rows, layout.routes) == 0
    assert sorted(route.lane for route in layout.routes) == [-1, 0, 0, 0, 0, 1]


def test_springs_rest_where_rods_allow():
    places = springs.rest(3, [(0, 1, 1.0), (1, 2, 1.0)], [(0, 1, 30.0), (1, 2, 50.0)])
    assert np.diff(places) == pytest.approx([30, 50], abs=1e-3)


def a_chart(rng: random.Random) -> str:
    """A flowchart that nobody would write, to try the layout with."""
    names = [f"n{i}" for i in range(rng.randint(2, 12))]
    lines = [f"flowchart {rng.choice(['LR', 'TD'])}"]
    for group in range(rng.choice([0, 1, 2])):
        inside, names_left = names[group * 3 : group * 3 + 3], names[group * 3 + 3 :]
        lines += [f"subgraph Group {group}", *inside, "end"] if inside and names_left else []
    for name in names:
        words = " ".join(rng.choice(["word", "latent", "encode pictures"]) for _ in range(rng.randint(1, 3)))
        lines.append(name + rng.choice(["[%s]", "(%s)", "([%s])", "{%s}", "[%s<br/>and a note]"]) % words)
    for _ in range(len(names) + 2):
        tail, head = rng.sample(names, 2)
        lines.append(f"{tail} {rng.choice(['-->', '-.->', '-->|yes|', '-->|a longer label|'])} {head}")
    return "\n".join(lines)


def corners(plan, box, margin: float = 0.0):
    (x0, y0), (x1, y1) = (plan.at(box.u + side * box.along / 2, box.v + side * box.across / 2) for side in (-1, 1))
    return x0 - margin, y0 - margin, x1 + margin, y1 + margin


def touch(one, other) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


CHARTS = [STUDIO, *(a_chart(random.Random(seed)) for seed in range(24))]


@pytest.mark.parametrize("source", CHARTS, ids=range(len(CHARTS)))
def test_no_box_touches_another_no_arrow_runs_over_a_box_and_frames_hold_their_own(source):
    plan = sketch(source)
    boxes = plan.layout.boxes
    for one, other in itertools.combinations(boxes.values(), 2):
        assert not touch(corners(plan, one, 5), corners(plan, other, 5)), f"{one.name} touches {other.name}"
    for edge, route in zip(plan.chart.edges, plan.layout.routes, strict=True):
        path = plan.ways.course(route).path(plan.at)
        points = np.concatenate([piece(np.linspace(0, 1, 30)) for piece, _ in path.iter_bezier()])
        for name in boxes.keys() - {edge.tail, edge.head}:
            x0, y0, x1, y1 = corners(plan, boxes[name], 2)
            over = (points > (x0, y0)).all(1) & (points < (x1, y1)).all(1)
            assert not over.any(), f"{edge} runs over {name}"
    for group, (u0, v0, u1, v1) in plan.layout.frames.items():
        frame = (*plan.at(u0, v0), *plan.at(u1, v1))
        for name, box in boxes.items():
            x0, y0, x1, y1 = corners(plan, box)
            inside = frame[0] < x0 and x1 < frame[2] and frame[1] < y0 and y1 < frame[3]
            mine = plan.chart.nodes[name].group == group
            assert inside if mine else not touch(frame, (x0, y0, x1, y1)), f"{name} and the frame of {group}"


def test_an_arrow_begins_and_ends_at_the_borders_of_its_boxes():
    plan = sketch("flowchart TD\n a([start]) -->|go| b{choice}\n b -->|yes| c(thing)\n b -->|no| d[step]\n d --> a")
    for edge, route in zip(plan.chart.edges, plan.layout.routes, strict=True):
        ends = plan.ways.course(route).path(plan.at).vertices[[0, -1]]
        for (x, y), name in zip(ends, (edge.tail, edge.head), strict=True):
            x0, y0, x1, y1 = corners(plan, plan.layout.boxes[name], 0.1)
            assert x0 <= x <= x1 and y0 <= y <= y1, f"{edge} misses {name}"


def test_a_diagram_is_small_and_keeps_its_colours():
    shown = plotting.show_diagram(STUDIO, "The studio")
    assert len(shown.png) < 25_000
    colours = {colour for _, colour in shown.image.getcolors(1 << 24)}
    wanted = [tuple(round(255 * part) for part in to_rgb(fill)) for fill, _ in drawing.PAINT.values()]
    near = [min(np.abs(np.subtract(colour, want)).max() for colour in colours) for want in wanted[:3]]
    assert max(near) <= 3
