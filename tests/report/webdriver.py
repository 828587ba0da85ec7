# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A headless Chromium, driven through ChromeDriver's own HTTP interface (W3C WebDriver), so that nothing has to be installed
but the two programs."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import time
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

# Generous: ten other programs may want this machine's two processors.
START = 120.0  # seconds until ChromeDriver listens, and until a browser is there
CALL = 120.0  # seconds for one command

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars"),
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the standard's name for an element's id


class Refused(Exception):
    """ChromeDriver answered with an error."""


class Browser:
    """One browser window. Everything that the page says on its console, or that goes wrong in it, is in `console()`."""

    def __init__(self, base: str, session: str) -> None:
        self._base = f"{base}/session/{session}"

    def _ask(self, method: str, path: str, body: dict[str, t.Any] | None = None) -> t.Any:
        return ask(method, self._base + path, body)

    def open(self, path: Path) -> None:
        """Load a file and wait for its load event."""
        self._ask("POST", "/url", {"url": path.as_uri()})

    def run(self, script: str, *arguments: t.Any) -> t.Any:
        """What a script's `return` gives."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def element(self, selector: str) -> str:
        """The id of the first element that a CSS selector finds."""
        return str(self._ask("POST", "/element", {"using": "css selector", "value": selector})[_ELEMENT])

    def click(self, selector: str) -> None:
        """Click as a person does: the element has to be visible, and nothing may lie over it."""
        self._ask("POST", f"/element/{self.element(selector)}/click", {})

    def write(self, selector: str, text: str) -> None:
        """Type into a field that is emptied before."""
        element = self.element(selector)
        self._ask("POST", f"/element/{element}/clear", {})
        if text:
            self._ask("POST", f"/element/{element}/value", {"text": text})

    def press(self, keys: str) -> None:
        """Press and release keys, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def console(self) -> list[str]:
        """Messages since the last call."""
        return [f"{line['level']}: {line['message']}" for line in self._ask("POST", "/se/log", {"type": "browser"})]

    def resize(self, width: int, height: int, *, phone: bool = False, dark: bool = False) -> None:
        """Take the screen of a phone, or a window of that size; and light or dark."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self._tell("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._tell("Emulation.setEmulatedMedia", {"features": [scheme]})

    def _tell(self, command: str, parameters: dict[str, t.Any]) -> t.Any:
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def picture(self, path: Path) -> None:
        """Save what is visible as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))


def ask(method: str, url: str, body: dict[str, t.Any] | None = None) -> t.Any:
    """One command of the protocol; its `value`."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    # Not through a proxy of the environment: it is this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=CALL) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as exc:
        raise Refused(f"{method} {url}: {exc.read().decode(errors='replace')[:2000]}") from exc


def find(*names: str) -> str:
    """A program by one of its names. AssertionError with what to do."""
    found = next(filter(None, map(shutil.which, names)), None)
    assert found, (
        f"none of {', '.join(names)} is here: run tests/report/run.sh, which installs them, or apt-get install chromium-driver"
    )
    return found


@contextlib.contextmanager
def browser() -> t.Iterator[Browser]:
    """A new browser with an empty profile, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="nixmac-chromium-", ignore_cleanup_errors=True) as scratch:
        log = Path(scratch) / "chromedriver.log"
        with log.open("w") as stream:
            driver = subprocess.Popen([find("chromedriver"), "--port=0"], stdout=stream, stderr=stream)
        try:
            base = f"http://127.0.0.1:{_port(driver, log)}"
            binary = find("chromium", "chromium-browser", "google-chrome")
            options = {"binary": binary, "args": [*_FLAGS, f"--user-data-dir={scratch}/profile"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = ask("POST", f"{base}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            try:
                yield Browser(base, session)
            finally:
                ask("DELETE", f"{base}/session/{session}")
        finally:
            driver.terminate()
            driver.wait()


def _port(driver: subprocess.Popen[bytes], log: Path) -> int:
    """The free port that ChromeDriver chose and tells."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and driver.poll() is None:
        match = re.search(r"started successfully on port (\d+)", log.read_text())
        if match:
            return int(match[1])
        time.sleep(0.05)
    raise AssertionError(f"ChromeDriver does not start: {log.read_text()}")
