"""Every picture in the course is drawn here; takes arrays, returns one closed figure, with alt text."""

from aigc_course.plotting.curves import show_curves, show_heatmap
from aigc_course.plotting.figure import Figure
from aigc_course.plotting.flowchart import show_diagram
from aigc_course.plotting.pictures import show_images, show_strip, to_array, to_pil
from aigc_course.plotting.plane import show_plane
from aigc_course.plotting.tables import Table, show_table
from aigc_course.plotting.timeline import show_timeline

__all__ = [
    "Figure", "Table", "to_array", "to_pil",
    "show_curves", "show_diagram", "show_heatmap", "show_images", "show_plane",
    "show_strip", "show_table", "show_timeline",
]  # fmt: skip
