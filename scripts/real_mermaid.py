"""Asks mermaid's own parser, the one that JupyterLab ships, what it makes of a text: in a browser, offline.

JupyterLab's pages hold mermaid in pieces, as a bundler left them.  A page of Chromium is given these pieces and the
twenty lines that join them; nothing of JupyterLab itself runs.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigc_course.applications.processes import Graph

NAMES = ("chromium", "chromium-browser", "google-chrome")
PLACE = "http://mermaid.invalid/"  # where the page seems to lie; nothing is asked from a network
JOIN = """
shared => {
  const modules = {}, made = {};
  for (const [, some] of self.rspackChunk_jupyterlab_application_top) Object.assign(modules, some);
  const r = id => {
    if (!modules[id]) id = shared[id];
    if (!made[id]) {
      const module = made[id] = {id, exports: {}, loaded: false};
      if (!modules[id]) throw new Error("no module " + id);
      modules[id].call(module.exports, module, module.exports, r);
      module.loaded = true;
    }
    return made[id].exports;
  };
  const has = (o, k) => Object.prototype.hasOwnProperty.call(o, k);
  r.m = modules; r.c = made; r.o = has; r.g = self; r.p = ""; r.e = () => Promise.resolve();
  const offer = (to, k, get) => has(to, k) || Object.defineProperty(to, k, {enumerable: true, get});
  r.d = (to, of) => { for (const k in of) offer(to, k, of[k]); };
  r.r = to => Object.defineProperty(to, "__esModule", {value: true});
  r.n = m => { const get = m && m.__esModule ? () => m.default : () => m; r.d(get, {a: get}); return get; };
  r.t = (id, mode) => mode & 1 ? r(id) : id;
  r.hmd = r.nmd = m => { m.paths = []; if (!m.children) m.children = []; return m; };
  for (const id in modules) {
    const text = modules[id].toString();
    if (!text.includes("getDiagramFromText") || !text.includes("registerIconPacks")) continue;
    self.mermaid = Object.values(r(id)).find(each => each && each.mermaidAPI && each.parse);
  }
  self.mermaid.initialize({startOnLoad: false});
}
"""
SHARED = r"(\d+):\{shareScope:[^{}]*?fallback:.*?\(\)=>\(\)=>__webpack_require__\((\d+)\)"
ASK = """
async text => {
  try {
    const drawn = await self.mermaid.mermaidAPI.getDiagramFromText(text);
    const db = drawn.db, boxes = db.getVertices ? [...db.getVertices().values()] : [];
    const edges = db.getEdges ? db.getEdges() : [];
    return {kind: drawn.type, boxes: boxes.map(b => [b.id, b.text || b.id, b.type || ""]),
            edges: edges.map(e => [e.start, e.end, e.text || ""])};
  } catch (error) { return {fault: String(error.message || error)}; }
}
"""


@dataclass(frozen=True)
class Verdict:
    """What mermaid's parser says of a text: its graph, or None and why not."""

    graph: Graph | None
    fault: str = ""


class Parser:
    """Mermaid's parser in an open page; `opened` makes one."""

    def __init__(self, page: Any):
        self.page = page

    def read(self, text: str) -> Verdict:
        """The graph of a flowchart as mermaid understands it."""
        told = self.page.evaluate(ASK, text)
        if "fault" in told:
            return Verdict(None, told["fault"])
        if not told["kind"].startswith("flowchart"):
            return Verdict(None, f"a diagram of the kind {told['kind']}, no flowchart")
        words = {name: text for name, text, _ in told["boxes"]}
        edges = frozenset((words[tail], words[head], label) for tail, head, label in told["edges"])
        return Verdict(Graph(edges, frozenset(text for _, text, kind in told["boxes"] if kind == "diamond")))

    def read_all(self, texts: Sequence[str]) -> list[Verdict]:
        """One verdict a text."""
        return [self.read(text) for text in texts]


def browser() -> str | None:
    """The browser that would be asked: the one named by CHROMIUM, else the first that is installed, else None."""
    asked = os.environ.get("CHROMIUM")
    return (shutil.which(asked) or asked) if asked else next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def opened() -> Iterator[Parser]:
    """Mermaid's parser while the block runs; ValueError names what is missing."""
    if browser() is None:
        raise ValueError("mermaid's parser needs a browser: install Chromium (Debian: apt install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise ValueError("mermaid's parser needs playwright: pip install playwright") from None
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser(), args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            page = chromium.new_page()
            page.route("**/*", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
            page.goto(PLACE)
            for file in _pieces():
                page.add_script_tag(content=file.read_text(encoding="utf-8"))
            page.evaluate(JOIN, _shared())
            yield Parser(page)
        finally:
            chromium.close()


def _pieces() -> list[Path]:
    """The files of JupyterLab's page that only hold modules, not those that start it."""
    folder = Path(sys.prefix) / "share/jupyter/lab/static"
    found = [file for file in sorted(folder.glob("*.js")) if "rspackChunk" in file.read_text(encoding="utf-8")[:80]]
    if not found:
        raise ValueError("JupyterLab's page is not where this environment keeps it; install jupyterlab 4.6")
    return found


def _shared() -> dict[str, str]:
    """Modules that the page's parts share with one another: under which number each really lies."""
    (start,) = (Path(sys.prefix) / "share/jupyter/lab/static").glob("main.*.js")
    return dict(re.findall(SHARED, start.read_text(encoding="utf-8")))
