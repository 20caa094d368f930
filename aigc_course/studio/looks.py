"""How the Studio looks: one style sheet, pictures and sentences as safe HTML, and controls that all carry words."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets
from PIL import Image

STYLE = """<style>
.aigc-studio { --aigc-line: var(--jp-border-color2, #8886); --aigc-soft: var(--jp-ui-font-color2, GrayText);
  --aigc-ink: var(--jp-ui-font-color1, CanvasText); --aigc-card: var(--jp-layout-color1, Canvas);
  --aigc-sunk: var(--jp-layout-color2, #8881); color: var(--aigc-ink); container-type: inline-size; max-width: 1100px;
  padding: 4px 2px 8px; }
.jp-OutputArea-child:has(.aigc-studio) + .jp-OutputArea-child { display: none; }
.aigc-studio .widget-html-content { line-height: 1.45; }
.aigc-studio .widget-label, .aigc-studio .widget-readout { color: var(--aigc-ink); }
.aigc-studio .jupyter-button { border-radius: 4px; padding: 0 10px; width: auto; flex: 0 0 auto; }
.aigc-studio button:focus-visible, .aigc-studio summary:focus-visible
  { outline: 2px solid var(--jp-brand-color1, Highlight); outline-offset: 1px; }
.aigc-studio textarea { font-size: 14px; line-height: 1.5; border-radius: 4px; }
.aigc-columns { display: grid !important; grid-template-columns: minmax(260px, 10fr) minmax(0, 17fr); gap: 20px;
  align-items: start; padding: 10px 0; }
.aigc-studio .widget-inline-hbox .widget-readout { min-width: 0; width: auto; max-width: none; padding-left: 6px; }
.aigc-studio .widget-html { min-width: 0; max-width: 100%; }
.aigc-studio .widget-html-content { min-width: 0; width: 100%; }
@container (max-width: 760px) { .aigc-columns { grid-template-columns: minmax(0, 1fr); } }
.aigc-studio .aigc-wrap { flex-flow: row wrap; align-items: center; overflow: visible; }
.aigc-grid { display: grid !important; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 12px; }
.aigc-tile, .aigc-bench { border: 1px solid var(--aigc-line); border-radius: 6px; padding: 8px;
  background: var(--aigc-card); }
.aigc-tile .jupyter-button, .aigc-thumb .jupyter-button { font-size: 11.5px; height: 24px; line-height: 24px;
  padding: 0 5px; }
.aigc-thumb .jupyter-button { margin: 2px 0; }
.aigc-studio figure { margin: 0; }
.aigc-studio figure img { display: block; width: 100%; border-radius: 4px; object-fit: contain;
  background: var(--aigc-sunk); }
.aigc-tile figure img, .aigc-thumb figure img { aspect-ratio: 1; }
.aigc-bench { margin-top: 12px; }
.aigc-studio figcaption { font-size: 12px; color: var(--aigc-soft); padding-top: 3px; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; }
.aigc-empty { aspect-ratio: 1; border-radius: 4px; background: var(--aigc-sunk); color: var(--aigc-soft);
  display: grid; place-items: center; font-size: 13px; text-align: center; padding: 8px; box-sizing: border-box; }
.aigc-studio .aigc-now, .aigc-studio .widget-box { overflow: visible; }
.aigc-now { min-height: 72px; border-top: 1px solid var(--aigc-line); border-bottom: 1px solid var(--aigc-line);
  padding: 8px 0; gap: 16px; align-items: flex-start; }
.aigc-rough { display: flex; gap: 4px; }
.aigc-rough img { display: block; height: 64px; border-radius: 4px; }
.aigc-says { font-size: 14px; }
.aigc-says.aigc-wrong { border-left: 3px solid var(--jp-error-color1, #d32f2f); padding-left: 8px; }
.aigc-quiet, .aigc-queue, .aigc-notes, .aigc-hint { font-size: 12px; color: var(--aigc-soft); }
.aigc-studio ul { margin: 2px 0 0; padding-left: 18px; }
.aigc-studio pre { font-family: var(--jp-code-font-family, monospace); font-size: 12px; line-height: 1.35;
  margin: 4px 0 0; padding: 6px 8px; background: var(--aigc-sunk); color: var(--aigc-ink); overflow-x: auto;
  white-space: pre; }
.aigc-studio .aigc-details pre { max-height: 220px; overflow: auto; }
.aigc-studio .widget-hprogress { height: 14px; }
.aigc-history-pictures { display: grid !important; grid-template-columns: repeat(auto-fill, minmax(116px, 1fr));
  gap: 10px; }
.aigc-heading { font-weight: 600; font-size: 13px; }
.aigc-frame { position: relative; }
.aigc-frame .aigc-region { position: absolute; box-sizing: border-box; border: 2px dashed #fff; outline: 1px solid #000;
  mix-blend-mode: normal; pointer-events: none; }
.aigc-studio .lm-TabBar-tab, .aigc-studio .p-TabBar-tab { flex: 0 1 auto !important; min-width: 0; max-width: none;
  color: var(--aigc-ink) !important; }
.aigc-tray { display: flex; gap: 8px; flex-wrap: wrap; }
.aigc-tray figure { width: 96px; }
.aigc-pair { display: flex; gap: 12px; flex-wrap: wrap; }
.aigc-pair figure { width: 180px; }
.aigc-bars { display: grid; grid-template-columns: max-content minmax(60px, 240px) max-content; gap: 2px 10px;
  align-items: center; font-size: 13px; }
.aigc-bars .aigc-bar { height: 9px; border-radius: 3px; background: var(--jp-brand-color1, Highlight); }
</style>"""

LABEL = {"description_width": "84px"}  # of the form's controls: how wide their words are
SOON = "your picture comes here"


# --- HTML: whatever was written by somebody is escaped here --------------------------------------------------


def picture_url(picture: Image.Image | bytes, kind: str = "PNG") -> str:
    """A picture, or the bytes of a PNG, as a URL that holds it."""
    if not isinstance(picture, bytes):
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, kind, **({"quality": 80} if kind == "JPEG" else {}))
        picture = buffer.getvalue()
    return f"data:image/{kind.lower()};base64,{base64.b64encode(picture).decode()}"


def figure(url: str, alt: str, caption: str = "", over: str = "") -> str:
    """A picture with its alt text and caption; over: HTML that is laid over it."""
    shown = f'<img src="{escape(url)}" alt="{escape(alt)}">'
    framed = f'<div class="aigc-frame">{shown}{over}</div>' if over else shown
    return f"<figure>{framed}<figcaption>{escape(caption)}</figcaption></figure>"


def sentence(text: str, kind: str = "") -> str:
    """One sentence, in small print if it is quiet."""
    return f'<div class="aigc-sentence {kind}">{escape(text)}</div>' if text else ""


def status(text: str, pointer: str = "", wrong: bool = False) -> str:
    """A sentence that a screen reader says when it has time; pointer: a line and a caret below it."""
    lines = f"<pre>{escape(pointer)}</pre>" if pointer else ""
    kind = "aigc-says aigc-wrong" if wrong else "aigc-says"
    return f'<div role="status" aria-live="polite" aria-atomic="true" class="{kind}">{escape(text)}{lines}</div>'


def bullets(lines: list[str]) -> str:
    """Several sentences."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def fold(title: str, text: str) -> str:
    """Text that is seen when it is asked for."""
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>" if text else ""


def rough(pictures: Sequence[Image.Image], alts: Sequence[str]) -> str:
    """Previews side by side."""
    shown = [f'<img src="{picture_url(one, "JPEG")}" alt="{escape(alt)}">' for one, alt in zip(pictures, alts)]
    return f'<div class="aigc-rough">{"".join(shown)}</div>'


# --- controls -----------------------------------------------------------------------------------------------


def named(widget: Any, name: str, tip: str = "") -> Any:
    """The widget with its CSS class, by which tests and styles find it, and a tooltip."""
    widget.add_class(f"aigc-{name}")
    if tip:  # version 7 knows tooltips of buttons only, and of descriptions
        setattr(widget, "tooltip" if widget.has_trait("tooltip") else "description_tooltip", tip)
    return widget


def button(words: str, name: str, do: Callable[[], Any], tip: str = "", kind: str = "") -> widgets.Button:
    """A button that says in words what it does."""
    made = named(widgets.Button(description=words, button_style=kind), name, tip or words)
    made.on_click(lambda _: do())
    return made


def html(value: str = "", name: str = "text") -> widgets.HTML:
    """A place for HTML."""
    return named(widgets.HTML(value), name)


def heading(text: str) -> widgets.HTML:
    """The name of a group of controls."""
    return widgets.HTML(sentence(text, "aigc-heading"))


def row(*children: Any) -> widgets.HBox:
    """Controls side by side; they go to a next line where there is no room."""
    return named(widgets.HBox(list(children)), "wrap")


def show_if(widget: Any, shown: bool) -> None:
    """Show or hide a widget."""
    widget.layout.display = None if shown else "none"
