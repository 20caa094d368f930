"""Measure what chapter 6 claims: mock-ups and diagrams, storyboards and films, cards and lessons, what is shipped.

    python scripts/bench_applications.py               all of it
    python scripts/bench_applications.py content       one part

Each part prints its tables; together they are left in data/bench/applications.md, part by part.
"""

import argparse
import re

import apply_content
import apply_design
import apply_shipping
import apply_teaching

from aigc_course import runtime

REPORT = runtime.data_dir() / "bench" / "applications.md"
PARTS = {
    "design": ("Design (6.2)", apply_design.table),
    "content": ("Content (6.3)", apply_content.table),
    "teaching": ("Teaching and entertainment (6.4)", apply_teaching.table),
    "shipping": ("Evaluate, ship, contribute (6.5)", apply_shipping.table),
}
HEAD = """# Applications, measured

Written by `python scripts/bench_applications.py`.  Brackets: 95 % bootstrap intervals.
"""


def kept():
    """The parts that the report holds, by title."""
    text = REPORT.read_text(encoding="utf-8") if REPORT.exists() else ""
    return dict(part.split("\n", 1) for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:])


def main():
    """Measure the parts that are asked for; the others stay as they were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--count", type=int, help="how many of each are made, in place of each part's own number")
    args = parser.parse_args()
    if unknown := [part for part in args.parts if part not in PARTS]:
        parser.error(f"no part called {unknown[0]!r}; choose some of: {', '.join(PARTS)}")
    told = kept()
    for part in args.parts or PARTS:
        title, measured = PARTS[part]
        told[title] = f"\n{runtime.summary()}\n\n{measured(*([args.count] if args.count else []))}\n"
        print(f"## {title}\n{told[title]}", flush=True)
        ordered = [f"## {title}\n{told[title].rstrip()}\n" for title, _ in PARTS.values() if title in told]
        REPORT.write_text("\n".join([HEAD, *ordered]), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
