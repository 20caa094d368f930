"""The tabs below the Studio's grid: history and tools, and panels that are made when they are first opened."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from aigc_course.studio import looks

PANELS = {
    "why": ("Why this picture?", "WhyPanel"),
    "plot": ("X/Y/Z plot", "PlotPanel"),
    "memory": ("Memory and model", "MemoryPanel"),
}


class Tabs:
    """board: what they belong to (`desk`, `attempt`, `say`, `form`, and what the first two tabs hold)."""

    def __init__(self, board: Any):
        self.board, self._panels = board, {}
        tools = looks.named(widgets.VBox([board.blend.box, board.shorten.box, board.files.box]), "tools")
        self.names = ["history", "tools", *PANELS]
        self._empty = {name: looks.named(widgets.VBox(), f"tab-{name}") for name in PANELS}
        self.box = looks.named(widgets.Tab([board.history.box, tools, *self._empty.values()]), "tabs")
        for number, title in enumerate(["History", "Words and files", *(title for title, _ in PANELS.values())]):
            self.box.set_title(number, title)
        self.box.observe(lambda change: board.attempt(lambda: self._opened(change["new"])), "selected_index")

    def _opened(self, number: int | None) -> None:
        if number is not None and self.names[number] in PANELS:
            self._panel(self.names[number])

    def open(self, name: str) -> Any:
        """Bring a tab to the front; its panel, if it is one."""
        panel = self._panel(name) if name in PANELS else None
        self.box.selected_index = self.names.index(name)
        return panel

    def _panel(self, name: str) -> Any:
        if name not in self._panels:
            from aigc_course.studio import panels

            made = getattr(panels, PANELS[name][1])(self.board.desk, self.board.say)
            if name == "plot":
                made.line.value = self.board.form.line
            self._panels[name] = made
            self._empty[name].children = (made.box,)
        return self._panels[name]

    def close(self) -> None:
        """Let the panels hear nothing more."""
        for panel in self._panels.values():
            panel.close()
