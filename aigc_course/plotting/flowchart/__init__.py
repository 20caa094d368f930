"""Flowcharts from mermaid source, drawn as pictures: not every page that shows notebooks draws mermaid.

The source is read (`mermaid`), boxes and arrows get slots in ranks (`slots`), ranks an order (`order`), the
slots their places (`places`, `springs`), the arrows their ways (`arrows`), and all is drawn (`drawing`).
The steps are those of Sugiyama, Tagawa & Toda 1981.
"""

from aigc_course.plotting.flowchart.drawing import show_diagram

__all__ = ["show_diagram"]
