"""Lacquer: colours under dark red varnish, every edge drawn in gold."""

from PIL import Image

from aigc_course.scenes import styles

ENGLISH, CHINESE, LICENCE = "lacquer", "漆画", "CC BY 4.0"
GROUND, GOLD = (74, 16, 18), (224, 172, 76)


def paint(art, size, rng):
    """A dark red board; the place as a faint gold drawing, the things in their colours with gold edges."""
    n = size * styles.OVERSAMPLE
    board = Image.new("RGB", (n, n), GROUND)
    faint = styles.mix(GROUND, GOLD, 0.45)
    styles.paint(board, art.scenery, 0.008, lambda colour: faint, lambda colour: styles.mix(GROUND, colour, 0.22))
    styles.paint(board, art.things, 0.016, lambda colour: GOLD, lambda colour: styles.mix(GROUND, colour, 0.8))
    return board.reduce(styles.OVERSAMPLE)
