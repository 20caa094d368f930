"""What the browser test stands on: JupyterLab on a free port, one page of Chromium in it, and eyes for that page."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import psutil

NAMES = ("chromium", "chromium-browser", "google-chrome")
ASKED = os.environ.get("CHROMIUM")  # a name or a path; one that is not there fails rather than skips
CHROMIUM = (shutil.which(ASKED) or ASKED) if ASKED else next(filter(None, map(shutil.which, NAMES)), None)
PATIENCE = 60  # seconds for anything to happen on a busy machine; the fast things are timed apart
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "apputils-extension/themes": {"theme": "JupyterLab Light"},
    "notebook-extension/tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
}


# --- the server ---------------------------------------------------------------------------------------------


def until(true, patience=PATIENCE, what="what was waited for"):
    """The first answer of `true()` that counts as true."""
    end = time.monotonic() + patience
    while not (answer := true()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} has not come within {patience} s")
        time.sleep(0.05)
    return answer


def _home(home):
    """An environment in which Jupyter reads and writes nothing of the user's."""
    for name, settings in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings), encoding="utf-8")
    own = {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython"}
    own |= {f"JUPYTER_{kind}_DIR": kind.lower() for kind in ("CONFIG", "DATA", "RUNTIME")}
    return os.environ | {"HOME": str(home)} | {name: str(home / folder) for name, folder in own.items()}


@contextlib.contextmanager
def lab(folder, home):
    """JupyterLab over a folder; the server and its kernels end with the block, whatever happens in it."""
    token = secrets.token_hex(16)
    options = {
        "ServerApp.root_dir": folder,
        "ServerApp.port": 0,
        "ServerApp.allow_root": True,
        "ServerApp.terminals_enabled": False,
        "ServerApp.shutdown_no_activity_timeout": 300,
        "MappingKernelManager.cull_idle_timeout": 300,
        "IdentityProvider.token": token,
        "LabApp.expose_app_in_browser": True,
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", *(f"--{k}={v}" for k, v in options.items())]
    with open(home / "server.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(command, env=_home(home), stdout=log, stderr=log, cwd=folder)
        try:
            yield Server(_address(server, home), token)
        except TimeoutError as error:
            error.add_note((home / "server.log").read_text(encoding="utf-8")[-3000:])
            raise
        finally:
            _end(server)


def _address(server, home):
    def told():
        if server.poll() is not None:
            raise RuntimeError((home / "server.log").read_text(encoding="utf-8")[-3000:])
        for file in (home / "runtime").glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):
                return json.loads(file.read_text(encoding="utf-8"))["url"]

    return until(told, what="the server's address").rstrip("/")


def _end(server):
    """The server and its kernels, gently and then not."""
    family = [server]
    with contextlib.suppress(psutil.NoSuchProcess):
        family += psutil.Process(server.pid).children(recursive=True)
    for end in ("terminate", "kill"):
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                getattr(one, end)()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10)
        _, family = psutil.wait_procs([one for one in family if isinstance(one, psutil.Process)], timeout=5)


class Server:
    """A running JupyterLab: its address, and its answers."""

    def __init__(self, url, token):
        self.url, self.token = url, token

    def ask(self, path, method="GET"):
        """What the server's own interface says."""
        asked = urllib.request.Request(f"{self.url}/api/{path}", method=method)
        asked.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def kernels(self):
        """The kernels at work, by id."""
        return {one["id"]: one["execution_state"] for one in self.ask("kernels")}


# --- the page -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def browser():
    """A page of headless Chromium; `page.complaints` keeps its errors, and the boxes that popped up.

    JupyterLab lets promises fail without a word while a page is loaded again or a kernel ends, and the browser asks,
    without a word too, before an unsaved notebook is left; these do not count.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            page = chromium.new_page(viewport={"width": 1200, "height": 900})
            page.set_default_timeout(1000 * PATIENCE)
            page.complaints = []
            page.on("pageerror", lambda error: error.message and page.complaints.append(str(error)))
            page.on("dialog", lambda box: box.type == "beforeunload" or page.complaints.append(box.message))
            page.on("dialog", lambda box: box.accept())
            yield page
        finally:
            chromium.close()


class Notebook:
    """A notebook that is open in the page, and worked as a reader works it."""

    def __init__(self, server, page):
        self.server, self.page = server, page

    def open(self, name):
        """Go to a notebook, or to it again; its kernel is ready after that."""
        self.page.goto(f"{self.server.url}/doc/tree/{name}?token={self.server.token}")
        self.page.wait_for_function("() => window.jupyterapp && document.querySelector('.jp-Notebook .jp-Cell')")
        self.idle()
        return self

    def idle(self):
        """Until the kernel waits for something to do."""

        def waits():
            with contextlib.suppress(urllib.error.HTTPError):  # so it answers while a kernel is on its way
                return set(self.server.kernels().values()) == {"idle"}

        until(waits, what="a kernel that is idle")

    def command(self, name, **given):
        """One of JupyterLab's own commands, waited for."""
        self.page.evaluate("async ([name, given]) => { await jupyterapp.commands.execute(name, given) }", [name, given])

    def run(self):
        """All cells."""
        self.command("notebook:run-all-cells")

    def restart(self):
        """The kernel, with nothing left in it; from elsewhere, as after a crash: the page is not asked."""
        (kernel,) = self.server.kernels()
        self.server.ask(f"kernels/{kernel}/restart", "POST")
        self.idle()

    def forget(self):
        """Save, and end the kernel."""
        self.command("docmanager:save")
        for session in self.server.ask("sessions"):
            self.server.ask(f"sessions/{session['id']}", "DELETE")

    def theme(self, name):
        """JupyterLab in other colours, and drawn."""
        self.command("apputils:change-theme", theme=name)
        light = str("Light" in name).lower()
        self.page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")


# --- eyes ---------------------------------------------------------------------------------------------------

PREVIEWS = """name => {  // counts the pictures that come into a place
    window.previews = 0
    const count = nodes => nodes.forEach(node => previews += node.querySelectorAll ?
        node.matches("img") + node.querySelectorAll("img").length : 0)
    new MutationObserver(all => all.forEach(one => one.type == "attributes" ? previews++ : count(one.addedNodes)))
        .observe(document.querySelector(name), {childList: true, subtree: true, attributeFilter: ["src"]})
}"""

LATENCY = """([button, place, words]) => {  // milliseconds from a click to words
    const from = document.querySelector(button), to = document.querySelector(place)
    let clicked
    from.addEventListener("click", () => clicked = performance.now(), {once: true, capture: true})
    window.latency = new Promise(tell => new MutationObserver((_, me) => {
        if (!clicked || !to.textContent.includes(words)) return
        me.disconnect()
        tell(performance.now() - clicked)
    }).observe(to, {childList: true, subtree: true, characterData: true}))
}"""

FAINT = """name => {  // texts with less contrast than WCAG's AA asks for
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true})
    const rgba = colour => {
        canvas.clearRect(0, 0, 1, 1)
        canvas.fillStyle = colour
        canvas.fillRect(0, 0, 1, 1)
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data
        return [r, g, b, a / 255]
    }
    const over = ([r, g, b, a], [x, y, z]) => [a * r + (1 - a) * x, a * g + (1 - a) * y, a * b + (1 - a) * z, 1]
    const ground = node => {
        if (!node) return [255, 255, 255, 1]
        const own = rgba(getComputedStyle(node).backgroundColor)
        return own[3] == 1 ? own : over(own, ground(node.parentElement))
    }
    const light = ([r, g, b]) => [[r, .2126], [g, .7152], [b, .0722]].reduce((sum, [c, share]) =>
        sum + share * (c / 255 <= .04045 ? c / 255 / 12.92 : ((c / 255 + .055) / 1.055) ** 2.4), 0)
    const faint = []
    for (const node of document.querySelector(name).querySelectorAll("*")) {
        const own = [...node.childNodes].filter(one => one.nodeType == 3).map(one => one.data.trim()).join("")
        const said = own || node.value || ""
        if (!said || !node.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue
        if (node.closest("style, :disabled, option, noscript")) continue
        const style = getComputedStyle(node), behind = ground(node)
        const [dark, bright] = [light(over(rgba(style.color), behind)), light(behind)].sort((a, b) => a - b)
        const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700)
        const ratio = (bright + .05) / (dark + .05)
        if (ratio < (large ? 3 : 4.5)) faint.push(`${String(said).slice(0, 40)}: ${ratio.toFixed(2)}`)
    }
    return faint
}"""

TABBABLE = """name => {  // what Tab has to reach, in the document's order, and where that is
    const all = document.querySelector(name).querySelectorAll(
        "button, input, select, textarea, summary, a[href], [tabindex], [contenteditable=true]")
    const stops = one => one.tabIndex >= 0 || one.isContentEditable
    const seen = one => stops(one) && !one.disabled && one.checkVisibility({visibilityProperty: true})
    return [...all].filter(seen).map((one, number) => {
        one.dataset.stop = number
        const {left, right, top, bottom} = one.getBoundingClientRect()
        return {number, what: one.outerHTML.slice(0, 200), left, right, top, bottom}
    })
}"""


FOCUSED = """name => {
    const one = document.activeElement, slider = one.closest(".widget-slider, .widget-hslider, .slider-container")
    const label = slider && slider.closest(".widget-inline-hbox").querySelector(".widget-label").textContent.trim()
    return one.closest(name) && {number: Number(one.dataset.stop ?? -1), what: one.outerHTML.slice(0, 200), label}
}"""


def tab_walk(page, name, start):
    """What the Tab key should reach in a box, and what it does, from one control on: the stops and their names.

    A stop of number -1 is one that no control asked for, such as a box that scrolls.  ipywidgets gives the parts of
    a slider no names; the label beside them has to do.
    """
    wanted, speaks, stops = page.evaluate(TABBABLE, name), page.context.new_cdp_session(page), []
    page.focus(start)
    while (stop := page.evaluate(FOCUSED, name)) and len(stops) < 300:
        one = speaks.send("Runtime.evaluate", {"expression": "document.activeElement"})["result"]["objectId"]
        tree = speaks.send("Accessibility.getPartialAXTree", {"objectId": one, "fetchRelatives": False})["nodes"]
        stops.append(stop | {"name": tree[0].get("name", {}).get("value", "").strip() or stop["label"]})
        page.keyboard.press("Tab")
    return wanted, stops
