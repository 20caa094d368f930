"""The line that says how a run goes: in a terminal, a notebook or a log."""

import sys
import time
from typing import Any


class Line:
    """One line, rewritten four times a second; in a log, which is never rewritten, one each half minute."""

    def __init__(self, wanted: bool):
        self.wanted, self.handle, self.open = wanted, None, False
        self.notebook, self.terminal = hasattr(_shell(), "kernel"), sys.stdout.isatty()
        self.every = 0.25 if self.notebook or self.terminal else 30.0
        self.next = time.perf_counter() + self.every

    def due(self) -> bool:
        return self.wanted and time.perf_counter() >= self.next

    def show(self, text: str, last: bool = False) -> None:
        self.next = time.perf_counter() + self.every
        if self.notebook:
            self.redraw(text)
        elif self.terminal:
            print("\r" + text.ljust(79), end="\n" if last else "", flush=True)
            self.open = not last
        else:
            print(text, flush=True)

    def redraw(self, text: str) -> None:
        from IPython.display import display

        if self.handle is None:
            self.handle = display({"text/plain": text}, raw=True, display_id=True)
        else:
            self.handle.update({"text/plain": text}, raw=True)

    def close(self) -> None:
        """Leave the line for whatever is printed next, an error perhaps."""
        if self.open:
            print(flush=True)


def _shell() -> Any:
    """The notebook's or console's shell, if there is one; None in a script."""
    return sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None


def words(seconds: float) -> str:
    """A length of time as a person says it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def number(value: float) -> str:
    """Two digits of a small number, all of a large one."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
