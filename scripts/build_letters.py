"""Cut data/fonts/letters.otf out of Noto Sans CJK SC: the letters that picture-word cards need, and no others.

    python scripts/build_letters.py NotoSansCJK-Regular.ttc

The source is in Debian's package fonts-noto-cjk, or at https://github.com/notofonts/noto-cjk.  The same source and the
same fontTools cut the same bytes.  Needed again only where the world learns a word with a new letter; a test says so.
"""

import argparse
from pathlib import Path

from fontTools import subset

from aigc_course import applications

FILE = Path(__file__).resolve().parents[1] / "data" / "fonts" / "letters.otf"
SIMPLIFIED = 2  # the number of the Simplified Chinese font in the collection
NAMES = {1: "Course Letters", 4: "Course Letters", 6: "CourseLetters-Regular"}  # a changed font has a name of its own
UNUSED = ["BASE", "GPOS", "GSUB", "VORG", "vhea", "vmtx"]  # for columns of text, and for pairs of letters


def build(source: Path, file: Path) -> None:
    """Keep the outlines of `applications.LETTERS`, the copyright and the licence."""
    options = subset.Options(
        font_number=SIMPLIFIED, desubroutinize=True, hinting=False, name_IDs=[0, 1, 2, 4, 6, 13, 14]
    )
    options.drop_tables += UNUSED
    font = subset.load_font(str(source), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=applications.LETTERS)
    subsetter.subset(font)
    font.recalcTimestamp = False
    for number, name in NAMES.items():
        font["name"].setName(name, number, 3, 1, 0x409)
    file.parent.mkdir(parents=True, exist_ok=True)
    subset.save_font(font, str(file), options)


def main() -> None:
    """Cut, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--file", type=Path, default=FILE)
    args = parser.parse_args()
    build(args.source, args.file)
    print(f"{len(applications.LETTERS)} letters, {args.file.stat().st_size:,} bytes in {args.file}")


if __name__ == "__main__":
    main()
