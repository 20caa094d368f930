"""The words of the picture world: what can be drawn, and what each thing is called in English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Noun:
    """A thing's names: English singular and plural, Chinese noun and its measure word."""

    one: str
    many: str
    zh: str
    measure: str


THINGS = {
    "house": Noun("house", "houses", "房子", "座"),
    "tree": Noun("tree", "trees", "树", "棵"),
    "car": Noun("car", "cars", "汽车", "辆"),
    "boat": Noun("boat", "boats", "船", "艘"),
    "fish": Noun("fish", "fish", "鱼", "条"),
    "cat": Noun("cat", "cats", "猫", "只"),
    "bird": Noun("bird", "birds", "鸟", "只"),
    "flower": Noun("flower", "flowers", "花", "朵"),
    "mushroom": Noun("mushroom", "mushrooms", "蘑菇", "朵"),
    "rocket": Noun("rocket", "rockets", "火箭", "枚"),
    "circle": Noun("circle", "circles", "圆形", "个"),
    "square": Noun("square", "squares", "方块", "个"),
    "triangle": Noun("triangle", "triangles", "三角形", "个"),
    "star": Noun("star", "stars", "星星", "颗"),
    "heart": Noun("heart", "hearts", "心形", "个"),
    "cross": Noun("cross", "crosses", "十字", "个"),
}

COLOURS = {
    "red": (212, 44, 48),
    "orange": (242, 134, 32),
    "yellow": (247, 211, 48),
    "green": (58, 152, 76),
    "blue": (46, 104, 208),
    "purple": (134, 72, 176),
    "pink": (244, 138, 182),
    "white": (246, 246, 244),
}

SIZES = {"small": 0.13, "large": 0.22}  # half the height of a thing, in picture heights
BACKGROUNDS = ("meadow", "sea", "night", "desert", "snow", "city")
STYLES = ("flat", "ink", "watercolour", "pixel", "glass", "points", "neon", "blueprint")
RELATIONS = (
    "left of",
    "above",
)  # the canonical two; "right of" and "below" are the same facts, told from the other side
LANGUAGES = ("en", "zh")

# phrase tables: fact -> the ways to say it, all equally likely; reading accepts the extra spellings below
WORDS = {
    "en": {
        "colour": {name: [name] for name in COLOURS},
        "size": {"small": ["small", "little"], "large": ["large", "big"]},
        "count": {2: ["two"], 3: ["three"], 4: ["four"]},
        "relation": {
            "left of": ["left of", "to the left of"],
            "right of": ["right of", "to the right of"],
            "above": ["above", "over"],
            "below": ["below", "under"],
        },
        "background": {
            "meadow": ["in a meadow", "on the grass"],
            "sea": ["at sea", "on the ocean"],
            "night": ["at night", "beneath the stars"],
            "desert": ["in the desert", "among the dunes"],
            "snow": ["in the snow", "on a winter day"],
            "city": ["in the city", "downtown"],
        },
        "style of": {
            "flat": ["a flat drawing of", "a poster of"],
            "ink": ["an ink drawing of", "a pen sketch of"],
            "watercolour": ["a watercolour of", "a watercolour painting of"],
            "pixel": ["pixel art of", "an 8-bit sprite of"],
            "glass": ["stained glass of", "a stained glass window of"],
            "points": ["a pointillist painting of", "pointillism of"],
            "neon": ["a neon sign of", "neon art of"],
            "blueprint": ["a blueprint of", "a technical drawing of"],
        },
        "style": {
            "flat": ["flat style"],
            "ink": ["ink style"],
            "watercolour": ["watercolour style"],
            "pixel": ["pixel style"],
            "glass": ["stained glass style"],
            "points": ["pointillist style"],
            "neon": ["neon style"],
            "blueprint": ["blueprint style"],
        },
    },
    "zh": {
        "colour": {
            "red": ["红色"],
            "orange": ["橙色"],
            "yellow": ["黄色"],
            "green": ["绿色"],
            "blue": ["蓝色"],
            "purple": ["紫色"],
            "pink": ["粉色"],
            "white": ["白色"],
        },
        "size": {"small": ["小"], "large": ["大"]},
        "count": {1: ["一"], 2: ["两"], 3: ["三"], 4: ["四"]},
        "relation": {
            "left of": ["左边", "左侧"],
            "right of": ["右边", "右侧"],
            "above": ["上面", "上方"],
            "below": ["下面", "下方"],
        },
        "background": {
            "meadow": ["草地上", "草原上"],
            "sea": ["大海上", "海面上"],
            "night": ["夜空下", "星空下"],
            "desert": ["沙漠里", "沙丘间"],
            "snow": ["雪地里", "冬雪中"],
            "city": ["城市里", "街头"],
        },
        "style": {
            "flat": ["扁平画", "海报"],
            "ink": ["墨线画", "钢笔画"],
            "watercolour": ["水彩画", "水彩"],
            "pixel": ["像素画", "像素图"],
            "glass": ["彩窗画", "彩色玻璃"],
            "points": ["点彩画", "点画"],
            "neon": ["霓虹画", "霓虹灯"],
            "blueprint": ["蓝图", "工程图"],
        },
    },
}

# more ways that people write these facts; understood when a caption is read, never used when one is written
ALSO_READ = {
    "size": {"small": ["tiny", "小小的"], "large": ["huge", "大大的"]},
    "count": {1: ["one"], 2: ["2", "二", "两"], 3: ["3"], 4: ["4"]},
    "background": {
        "meadow": ["meadow", "grass", "field", "草地", "草原"],
        "sea": ["sea", "ocean", "大海", "海上", "海边"],
        "night": [
            "under the night sky",
            "under a night sky",
            "under the stars",
            "night sky",
            "night",
            "starry sky",
            "stars above",
            "夜空",
            "星空",
            "夜里",
        ],
        "desert": ["desert", "dunes", "沙漠", "沙丘"],
        "snow": ["snow", "snowy", "winter", "雪地", "雪"],
        "city": ["city", "street", "城市", "街上"],
    },
    "style": {
        "flat": ["flat drawing", "poster", "flat"],
        "ink": ["ink drawing", "pen sketch", "ink"],
        "watercolour": [
            "watercolour painting",
            "watercolour",
            "watercolor painting",
            "watercolor style",
            "watercolor",
        ],
        "pixel": ["pixel art", "8-bit sprite", "8-bit", "pixel"],
        "glass": ["stained glass window", "stained glass"],
        "points": ["pointillist painting", "pointillism", "pointillist", "dots"],
        "neon": ["neon sign", "neon art", "neon"],
        "blueprint": ["blueprint", "technical drawing"],
    },
}
