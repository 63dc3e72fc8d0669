"""A real browser for tests: Debian's Chromium, spoken to over its debugging pipe (DevTools protocol).

The pipe is two file descriptors and JSON messages that end in a zero byte, so no driver package and no port
is needed. One page at a time is enough here.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE_S = 30
LOWEST_SPARE_FD = 10  # the browser reads from descriptor 3 and writes to 4, so ours must be none of these


def installed_browser() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """Chromium with one page at a time, whose profile knows nothing of the pages before it.

    `complaints` collects console errors, exceptions and refusals of the CSP.
    """

    def __init__(self, program: str, profile: Path) -> None:
        reads, self._to = _spare_pipe()
        self._from, writes = _spare_pipe()
        self.pid = os.posix_spawn(
            program,
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            os.environ | {"HOME": str(profile)},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, reads, 3),
                (os.POSIX_SPAWN_DUP2, writes, 4),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            setpgroup=0,
        )
        os.close(reads)
        os.close(writes)
        self._rest = b""
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self._context = ""
        self._session: str | None = None
        self.complaints: list[str] = []

    def open_page(self) -> None:
        """A page with cookies, storage and cache of its own; starting a browser takes far longer."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        page = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self._context = context
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.bringToFront")

    def close_page(self) -> None:
        self._session = None
        self.call("Target.disposeBrowserContext", browserContextId=self._context)
        self._events.clear()
        self.complaints = []

    def close(self) -> None:
        os.close(self._to)  # the browser ends when its pipe does
        os.close(self._from)
        for name in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, name)
            for _ in range(50):
                if os.waitpid(self.pid, os.WNOHANG) != (0, 0):
                    return
                time.sleep(0.05)

    # --- what tests do
    def open(self, url: str) -> None:
        self._events.clear()
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, f"{url}: {answer['errorText']}"
        self._wait_for("Page.loadEventFired")

    def run(self, script: str) -> Any:
        """Value of an expression in the page, as JSON carries it."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def follow(self, script: str) -> None:
        """Run what leads to another page, and wait for it."""
        self._events.clear()
        self.call("Runtime.evaluate", expression=script, userGesture=True)
        self._wait_for("Page.loadEventFired")

    def press(self, key: str, *, leads_on: bool = False) -> None:
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        self._events.clear()
        code = {"Tab": 9, "Enter": 13, "Escape": 27}.get(key, 0)
        members: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **members)
        self.call("Input.dispatchKeyEvent", type="keyUp", **members)
        if leads_on:
            self._wait_for("Page.loadEventFired")

    def focus(self, selector: str) -> None:
        """Put the focus on the first element of a selector, without any script of the page."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        self.call(
            "DOM.focus", nodeId=self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        )

    def write(self, text: str) -> None:
        """Type into whatever has the focus."""
        self.call("Input.insertText", text=text)

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def prefer(self, **features: str) -> None:
        """Media features, such as `prefers_color_scheme="dark"`."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=named)

    def scripts(self, *, on: bool) -> None:
        self.call("Emulation.setScriptExecutionDisabled", value=not on)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    # --- the protocol
    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)

    def _wait_for(self, event: str) -> None:
        while not any(seen.get("method") == event for seen in self._events):
            self._events.append(self._next())

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], PATIENCE_S)
            assert ready, f"the browser said nothing for {PATIENCE_S} s"
            piece = os.read(self._from, 1 << 20)
            assert piece, "the browser went away"
            self._rest += piece
        line, self._rest = self._rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        self._listen(message.get("method", ""), message.get("params", {}))
        return message

    def _listen(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning", "assert"}:
            self.complaints.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")


def _spare_pipe() -> tuple[int, int]:
    """A pipe with descriptors that the browser's own 3 and 4 cannot collide with."""
    moved = []
    for end in os.pipe():
        moved.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, LOWEST_SPARE_FD))
        os.close(end)
    return moved[0], moved[1]
