"""The coco room: anyone's caption files in the official layout, whole or not at all."""

import copy
import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aigc_course import coco, scenes

OFFICIAL = {
    "info": {"description": "a hand-made set", "url": "", "version": "1.0", "year": 2026},
    "licenses": [{"url": "", "id": 1, "name": ""}],
    "images": [
        {"license": 1, "file_name": "b.png", "coco_url": "", "height": 6, "width": 8, "id": 20},
        {"license": 1, "file_name": "sub/a.png", "height": 0, "width": 0, "id": 10, "mood": ["calm"]},
        {"license": 1, "file_name": "c.png", "id": 30},
    ],
    "annotations": [
        {"image_id": 10, "id": 1, "caption": "Eine grüne Wiese.", "attributes": {}},
        {"image_id": 20, "id": 2, "caption": " two boats \n"},
        {"image_id": 10, "id": 3, "caption": "一棵树", "author": None},
    ],
}
KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "filepath": "val2014", "filename": "1.jpg", "imgid": 0, "cocoid": 391895, "split": "test",
            "sentences": [{"raw": "A man.", "tokens": ["a", "man"]}, {"raw": "He rides.", "sentid": 1}],
        },
        {"filename": "2.jpg", "imgid": 7, "split": "train", "sentences": [{"raw": "A dog.", "imgid": 7}]},
        {"filename": "3.jpg", "imgid": 8, "split": "restval", "sentences": []},
    ],
}  # the second record is as in the files for Flickr8k and Flickr30k: no filepath, no cocoid
BOXES = {
    "images": [{"file_name": "a.png", "id": 5, "width": 10, "height": 5}],
    "categories": [{"supercategory": "animal", "id": 1, "name": "cat"}, {"id": 4, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 5, "category_id": 4, "bbox": [2.0, 1, 3, 2], "iscrowd": 0,
         "segmentation": [[2, 1, 4, 1, 4, 2, 2, 2]]},
        {"id": 2, "image_id": 5, "category_id": 1, "bbox": [0, 0, 2, 5], "iscrowd": 1,
         "segmentation": {"counts": [0, 7, 43], "size": [5, 10]}},
        {"id": 3, "image_id": 5, "category_id": 1, "bbox": [0, 0, 2, 5], "segmentation": []},
    ],
}


@pytest.fixture
def saved(tmp_path):
    """Writes anything as a file, JSON unless it is text or bytes already."""

    def save(content, name="captions.json"):
        text = content if isinstance(content, str | bytes) else json.dumps(content, ensure_ascii=False)
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / name

    return save


def changed(content, *path, to):
    """A copy with the value at a path exchanged; `del` as the new value takes it out."""
    content = copy.deepcopy(content)
    *way, last = path
    place = content
    for key in way:
        place = place[key]
    if to is del_:
        del place[last]
    else:
        place[last] = to
    return content


def having(*path, to):
    return changed(OFFICIAL, *path, to=to)


del_ = object()

READERS = [
    (OFFICIAL, coco.read_captions),
    (BOXES, coco.read_instances),
    (KARPATHY, lambda file: coco.read_karpathy(file, "test")),
]


def is_one_sentence(error, file):
    told = str(error)
    return str(file) in told and "; " in told and "\n" not in told and len(told) < len(str(file)) + 250


# ---------------------------------------------------------------------------------------- captions
def test_captions_stand_with_their_picture_in_the_order_of_the_file(saved):
    first, second, third = coco.read_captions(saved(OFFICIAL))
    assert first == coco.Captioned(Path("b.png"), ("two boats",), 8, 6, 20)
    assert second.captions == ("Eine grüne Wiese.", "一棵树")
    assert (third.image_id, third.path) == (30, Path("c.png"))


def test_the_order_of_the_annotations_changes_nothing_but_the_order_of_captions(saved):
    turned = OFFICIAL | {"annotations": OFFICIAL["annotations"][::-1]}
    one, other = coco.read_captions(saved(OFFICIAL)), coco.read_captions(saved(turned))
    assert [set(c.captions) for c in one] == [set(c.captions) for c in other]


def test_a_width_of_zero_or_none_at_all_means_unknown(saved):
    sides = [(c.width, c.height) for c in coco.read_captions(saved(OFFICIAL))]
    assert sides == [(8, 6), (None, None), (None, None)]


def test_a_picture_without_captions_stays(saved):
    assert coco.read_captions(saved(OFFICIAL))[2].captions == ()


def test_empty_lists_are_an_empty_set(saved):
    assert coco.read_captions(saved({"images": [], "annotations": []})) == []


def test_a_byte_order_mark_is_no_obstacle(saved):
    file = saved(b"\xef\xbb\xbf" + json.dumps(OFFICIAL).encode())
    assert len(coco.read_captions(file)) == 3


def test_pictures_are_looked_up_in_their_folder(saved, tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "sub/a.png", "c.png"):
        (tmp_path / name).touch()
    found = coco.read_captions(saved(OFFICIAL), tmp_path)
    assert [c.path for c in found] == [tmp_path / "b.png", tmp_path / "sub/a.png", tmp_path / "c.png"]


def test_missing_pictures_are_counted_and_the_first_is_named(saved, tmp_path):
    (tmp_path / "b.png").touch()
    with pytest.raises(FileNotFoundError, match=r"2 of 3 pictures of .*a\.png.*missing='skip'") as caught:
        coco.read_captions(saved(OFFICIAL), tmp_path)
    assert is_one_sentence(caught.value, tmp_path)


def test_missing_pictures_are_left_out_when_asked(saved, tmp_path):
    (tmp_path / "b.png").touch()
    assert [c.image_id for c in coco.read_captions(saved(OFFICIAL), tmp_path, missing="skip")] == [20]


def test_a_folder_that_is_not_there_is_refused_even_when_skipping(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        coco.read_captions(saved(OFFICIAL), tmp_path / "pictures", missing="skip")


def test_captions_of_unknown_pictures_are_refused_or_left_out_when_asked(saved):
    file = saved(having("annotations", 1, "image_id", to=99))
    with pytest.raises(ValueError, match=r"1 annotations belong .*annotations\[1\].*missing='skip'"):
        coco.read_captions(file)
    assert [len(c.captions) for c in coco.read_captions(file, missing="skip")] == [0, 2, 0]


def test_an_unknown_way_to_treat_what_is_missing_is_refused(saved):
    with pytest.raises(ValueError, match="use one of: refuse, skip"):
        coco.read_captions(saved(OFFICIAL), missing="ignore")


# ---------------------------------------------------------------------------------------- broken files
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "broken or cut off"),
        ("{'images': []}", "broken or cut off"),
        ("[" * 100_000, "broken or cut off"),
        (b'{"images": ["\xe9"]}', "not UTF-8 text from byte 13 on"),
        ([{"image_id": 1, "caption": "a cat"}], "holds a list.*not a list of results"),
        ("null", "holds a NoneType"),
        ({"annotations": []}, "no list 'images'"),
        ({"images": []}, "no list 'annotations'"),
        ({"images": {}, "annotations": []}, "no list 'images'"),
        (having("images", 1, to=7), r"images\[1\] is 7, not an object"),
        (having("images", 1, "id", to=20), r"images\[1\] has the id of an earlier picture"),
        (having("images", 1, "id", to=[2]), r"images\[1\] has \[2\] as 'id'"),
        (having("images", 1, "id", to=True), r"has True as 'id'"),
        (having("images", 0, "width", to=-3), r"images\[0\] has -3 as 'width'"),
        (having("images", 0, "height", to="6"), r"images\[0\] has '6' as 'height'"),
        (having("images", 0, "width", to=float("nan")), r"images\[0\] has nan as 'width'"),
        (having("images", 0, "file_name", to=del_), r"images\[0\] has nothing as 'file_name'"),
        (having("images", 0, "file_name", to="../b.png"), r"images\[0\] names '../b.png', outside"),
        (having("images", 0, "file_name", to="/b.png"), r"images\[0\] names '/b.png', outside"),
        (having("annotations", 2, "caption", to=5), r"annotations\[2\] has 5 as 'caption'"),
        (having("annotations", 2, "caption", to=["a"]), r"annotations\[2\] has \['a'\] as 'caption'"),
        (having("annotations", 2, "caption", to=" "), r"annotations\[2\] has ' ' as 'caption'"),
        (having("annotations", 2, "caption", to=del_), r"annotations\[2\] has nothing as 'caption'"),
        (having("annotations", 2, "image_id", to=None), r"annotations\[2\] has None as 'image_id'"),
    ],
)
def test_a_broken_file_is_refused_with_one_sentence_that_names_it(saved, content, sentence):
    file = saved(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        coco.read_captions(file)
    assert is_one_sentence(caught.value, file)


@pytest.mark.parametrize("read", [read for _, read in READERS])
def test_a_file_that_is_not_there_is_answered_by_a_sentence(read, tmp_path):
    for file in (tmp_path / "none.json", tmp_path):
        with pytest.raises(FileNotFoundError, match="name a COCO JSON file") as caught:
            read(file)
        assert is_one_sentence(caught.value, file)


def test_a_file_cut_off_anywhere_is_refused_whole(saved):
    whole, rng = json.dumps(OFFICIAL, ensure_ascii=False).encode(), random.Random(0)
    for length in rng.sample(range(len(whole)), 50):
        file = saved(whole[:length])
        with pytest.raises(ValueError, match="cut off|UTF-8") as caught:
            coco.read_captions(file)
        assert is_one_sentence(caught.value, file)


@pytest.mark.parametrize(("content", "read"), READERS)
def test_a_file_with_any_value_exchanged_is_read_or_refused_with_a_sentence(saved, content, read):
    junk = [None, True, -1, 10**400, 0.5, float("inf"), "", "x", [], [[]], {}, {"id": 1}, del_]
    rng = random.Random(1)
    for _ in range(400):
        path, place = [], content
        while isinstance(place, dict | list) and place and (not path or rng.random() < 0.8):
            path.append(rng.choice(list(place) if isinstance(place, dict) else range(len(place))))
            place = place[path[-1]]
        file = saved(changed(content, *path, to=rng.choice(junk)))
        try:
            read(file)
        except ValueError as error:
            assert is_one_sentence(error, file), error


# ---------------------------------------------------------------------------------------- Karpathy's splits
def test_a_split_of_karpathys_layout_is_read_with_its_captions(saved):
    assert coco.read_karpathy(saved(KARPATHY), "test") == [
        coco.Captioned(Path("val2014/1.jpg"), ("A man.", "He rides."), None, None, 391895)
    ]


def test_the_layout_of_flickr_names_pictures_by_imgid(saved, tmp_path):
    (tmp_path / "2.jpg").touch()
    found = coco.read_karpathy(saved(KARPATHY), "train", tmp_path)
    assert found == [coco.Captioned(tmp_path / "2.jpg", ("A dog.",), None, None, 7)]


def test_pictures_of_a_split_that_are_missing_are_refused_or_left_out(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="1 of 1 pictures"):
        coco.read_karpathy(saved(KARPATHY), "test", tmp_path)
    assert coco.read_karpathy(saved(KARPATHY), "test", tmp_path, missing="skip") == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (changed(KARPATHY, "images", 0, "split", to="dev"), "use one of: dev, restval, train"),
        (changed(KARPATHY, "images", 0, "split", to=3), r"images\[0\] has 3 as 'split'"),
        (changed(KARPATHY, "images", 1, "sentences", to="A dog."), r"images\[1\] has no list 'sentences'"),
        (changed(KARPATHY, "images", 0, "sentences", 1, "raw", to=None), r"images\[0\].*\[1\] has None"),
        (changed(KARPATHY, "images", 1, "filename", to="/2.jpg"), "outside the folder"),
    ],
)
def test_a_broken_split_file_is_refused_with_one_sentence(saved, content, sentence):
    file = saved(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        coco.read_karpathy(file, "test")
    assert is_one_sentence(caught.value, file)


# ---------------------------------------------------------------------------------------- instances
def test_instances_carry_the_name_of_their_category_and_their_box(saved):
    (found,) = coco.read_instances(saved(BOXES))
    assert (found.path, found.width, found.height, found.image_id) == (Path("a.png"), 10, 5, 5)
    assert [(i.name, i.box, i.crowd) for i in found.instances] == [
        ("dog", (2, 1, 3, 2), False), ("cat", (0, 0, 2, 5), True), ("cat", (0, 0, 2, 5), False),
    ]
    assert found.instances[2].segmentation is None


def test_run_lengths_become_pixels_column_by_column(saved):
    crowd = coco.read_instances(saved(BOXES))[0].instances[1]
    by_hand = np.zeros((5, 10), dtype=bool)
    by_hand[:, 0], by_hand[:2, 1] = True, True
    assert np.array_equal(coco.mask(crowd.segmentation, 5, 10), by_hand)


def test_polygons_become_pixels(saved):
    dog = coco.read_instances(saved(BOXES))[0].instances[0]
    by_hand = np.zeros((5, 10), dtype=bool)
    by_hand[1:3, 2:5] = True
    assert np.array_equal(coco.mask(dog.segmentation, 5, 10), by_hand)


def test_run_lengths_of_any_mask_come_back_as_that_mask():
    rng = np.random.default_rng(0)
    for share in (0, 0.1, 0.5, 0.9, 1):
        mask = rng.random((7, 5)) < share
        assert np.array_equal(coco.mask(scenes.run_lengths(mask), 7, 5), mask)


@pytest.mark.parametrize(
    ("segmentation", "sentence"),
    [({"counts": "a0b1", "size": [5, 10]}, "pycocotools"), ({"counts": [3, 4]}, "7 pixels do not fill")],
)
def test_run_lengths_that_we_cannot_expand_are_refused(segmentation, sentence):
    with pytest.raises(ValueError, match=sentence):
        coco.mask(segmentation, 5, 10)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (changed(BOXES, "categories", to=del_), "no list 'categories'"),
        (changed(BOXES, "categories", 0, "name", to=1), r"categories\[0\] has 1 as 'name'"),
        (changed(BOXES, "annotations", 0, "category_id", to=2), "needs the id of one of the file's"),
        (changed(BOXES, "annotations", 0, "bbox", to=[1, 2, 3]), r"needs \[left, top, width, height\]"),
        (changed(BOXES, "annotations", 0, "bbox", to=[1, 2, -3, 1]), r"needs \[left, top, width, height\]"),
        (changed(BOXES, "annotations", 0, "segmentation", to=[[1, 2]]), "needs polygons or run lengths"),
        (changed(BOXES, "annotations", 1, "segmentation", "counts", to=[-1]), "needs polygons or run"),
        (changed(BOXES, "annotations", 1, "image_id", to=6), "belong to no picture"),
    ],
)
def test_a_broken_instances_file_is_refused_with_one_sentence(saved, content, sentence):
    file = saved(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        coco.read_instances(file)
    assert is_one_sentence(caught.value, file)


# ---------------------------------------------------------------------------------------- our own files
@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return scenes.export_coco(scenes.samples(5), tmp_path_factory.mktemp("coco") / "scenes", 40)


@pytest.mark.parametrize("language", scenes.LANGUAGES)
def test_our_own_captions_are_read_like_anyones(exported, language):
    found = coco.read_captions(exported / "annotations" / f"captions_{language}.json", exported / "images")
    for captioned, item in zip(found, scenes.samples(5), strict=True):
        assert (captioned.width, captioned.height) == (40, 40)
        assert len(captioned.captions) >= 2
        named = scenes.read_caption(captioned.captions[0]).groups[0].name
        assert named in {thing.name for thing in item.scene.things}


def test_our_own_masks_come_back_pixel_for_pixel(exported):
    found = coco.read_instances(exported / "annotations" / "instances.json", exported / "images")
    for located, item in zip(found, scenes.samples(5), strict=True):
        for instance, mask in zip(located.instances, scenes.masks(item.scene, 40, item.seed), strict=True):
            assert np.array_equal(coco.mask(instance.segmentation, located.height, located.width), mask)


# ---------------------------------------------------------------------------------------- pictures and words
@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_a_picture_is_rgb_whatever_it_was(tmp_path, mode):
    Image.new(mode, (3, 2)).save(tmp_path / "a.tiff")
    assert (coco.picture(tmp_path / "a.tiff").mode, coco.picture(tmp_path / "a.tiff").size) == ("RGB", (3, 2))


def test_a_picture_cut_off_anywhere_is_refused_with_a_sentence(exported, tmp_path):
    whole = (exported / "images" / "000001.png").read_bytes()
    for length in (0, 5, 30, 60, len(whole) // 2):
        (tmp_path / "cut.png").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="no picture that can be read") as caught:
            coco.picture(tmp_path / "cut.png")
        assert is_one_sentence(caught.value, tmp_path)


def test_a_picture_that_is_not_there_is_answered_by_the_fix(tmp_path):
    with pytest.raises(FileNotFoundError, match="images="):
        coco.picture(tmp_path / "none.png")


def test_statistics_count_words_of_latin_script_and_chinese_signs():
    set_ = [
        coco.Captioned(Path("a"), ("A red cat.", "a cat, 8-bit style"), None, None, 1),
        coco.Captioned(Path("b"), ("红色的cat",), None, None, 2),
    ]
    assert coco.statistics(set_) == {
        "pictures": 2, "captions": 3, "captions per picture": 1.5,
        "words per caption": 11 / 3, "vocabulary": 8,
    }


def test_statistics_of_nothing_are_zeros():
    assert set(coco.statistics([]).values()) == {0}
