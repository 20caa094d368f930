"""What people make with the models: mock-ups, diagrams, storyboards, tiles, films, cards, lessons."""

from aigc_course.applications.card_page import to_html
from aigc_course.applications.card_sheet import to_pdf
from aigc_course.applications.cards import LETTERS, Card, Deck, how_said, make_deck, vocabulary, words_of
from aigc_course.applications.colours import colour_error, recolour
from aigc_course.applications.cutting import cut_out, sprite_sheet
from aigc_course.applications.diagrams import (
    diagram_loss,
    diagram_words,
    encode_diagrams,
    new_diagrammer,
    readable,
    shuffled,
    write_diagrams,
)
from aigc_course.applications.exam import Answers, Exam
from aigc_course.applications.film import Shot, make_film
from aigc_course.applications.mockups import POINTS, Page, family_lesson, judge_pages, overlap, plan, read_pages
from aigc_course.applications.model_card import (
    Figure,
    compare,
    paired,
    pairs_needed,
    read_model_card,
    rows_of,
    write_model_card,
)
from aigc_course.applications.motion import draw_between, flicker, redraw_frames
from aigc_course.applications.processes import (
    Choice,
    Graph,
    Process,
    graph_of,
    random_processes,
    read_graph,
    same_graph,
    tell_process,
    to_mermaid,
)
from aigc_course.applications.proposal import learn_recipe, propose, recipe_lesson
from aigc_course.applications.recipe import Checked, Recipe, StyleJudge, check_recipe, load_recipe, things_read
from aigc_course.applications.storyboard import Hero, draw_frames, identity
from aigc_course.applications.tiles import draw_tiles, seam
from aigc_course.applications.video import to_gif, to_mp4

__all__ = [
    "LETTERS",
    "POINTS",
    "Answers",
    "Card",
    "Checked",
    "Choice",
    "Deck",
    "Exam",
    "Figure",
    "Graph",
    "Hero",
    "Page",
    "Process",
    "Recipe",
    "Shot",
    "StyleJudge",
    "check_recipe",
    "colour_error",
    "compare",
    "cut_out",
    "diagram_loss",
    "diagram_words",
    "draw_between",
    "draw_frames",
    "draw_tiles",
    "encode_diagrams",
    "family_lesson",
    "flicker",
    "graph_of",
    "how_said",
    "identity",
    "judge_pages",
    "learn_recipe",
    "load_recipe",
    "make_deck",
    "make_film",
    "new_diagrammer",
    "overlap",
    "paired",
    "pairs_needed",
    "plan",
    "propose",
    "random_processes",
    "read_graph",
    "read_model_card",
    "read_pages",
    "readable",
    "recipe_lesson",
    "recolour",
    "redraw_frames",
    "rows_of",
    "same_graph",
    "seam",
    "shuffled",
    "sprite_sheet",
    "tell_process",
    "things_read",
    "to_gif",
    "to_html",
    "to_mermaid",
    "to_mp4",
    "to_pdf",
    "vocabulary",
    "words_of",
    "write_diagrams",
    "write_model_card",
]
