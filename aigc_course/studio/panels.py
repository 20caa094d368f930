"""The Studio's deeper panels: why a picture came out so, plots over dials, and memory."""

from aigc_course.studio.memory_panel import MemoryPanel
from aigc_course.studio.panel import STYLE, Panel
from aigc_course.studio.plot_panel import PlotPanel
from aigc_course.studio.why_panel import WhyPanel

__all__ = ["STYLE", "MemoryPanel", "Panel", "PlotPanel", "WhyPanel"]
