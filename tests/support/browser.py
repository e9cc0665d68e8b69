"""A headless Chromium, driven over a pipe by its own protocol: nothing to install but the browser."""

import base64
import json
import os
import queue
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from support.repository import ROOT

CHROMIUM = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
AXE = ROOT / ".venv" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
PHONE, DESK = {"width": 375, "height": 812, "mobile": True}, {"width": 1440, "height": 900}
REQUIRED = bool(os.environ.get("REQUIRE_BROWSER") or os.environ.get("CI"))


def need_browser():
    """Where there is none a user's test run goes on without; CI does not."""
    for there, remedy in ((CHROMIUM, "apt-get install chromium"), (AXE.exists(), "make axe")):
        if not there:
            reason = f"the page is looked at with Chromium and axe-core: {remedy}"
            pytest.fail(reason) if REQUIRED else pytest.skip(reason)


class Chromium:
    """The browser. One reader thread; answers and events by session."""

    def __init__(self, directory):
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        flags = (
            "headless=new no-sandbox disable-gpu disable-dev-shm-usage no-first-run disable-background-networking "
            f"disable-component-update disable-sync hide-scrollbars remote-debugging-pipe user-data-dir={directory}"
        )
        command = [CHROMIUM, *(f"--{flag}" for flag in flags.split()), "about:blank"]
        # The protocol wants descriptors 3 and 4.
        script = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", *command], pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._lock = threading.Lock()
        self._next = 0
        self._answers = {}
        self._pages = {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        left = b""
        while chunk := os.read(self._in, 2**20):
            *messages, left = (left + chunk).split(b"\0")
            for raw in messages:
                message = json.loads(raw)
                if "id" in message:
                    self._answers.pop(message["id"]).put(message)
                elif (page := self._pages.get(message.get("sessionId"))) is not None:
                    page.event(message["method"], message["params"])

    def call(self, method, session=None, **params):
        """Call a method of the protocol and give its result."""
        box = queue.Queue()
        with self._lock:
            self._next += 1
            self._answers[self._next] = box
            message = {"id": self._next, "method": method, "params": params}
            os.write(self._out, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        answer = box.get(timeout=60)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def open(self, url, **look):
        """A new page."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session, target)
        page.start(url, **look)
        return page

    def close(self):
        self._process.kill()
        self._process.wait(30)
        os.close(self._out)


class Page:
    """One page: what it asks for, what it complains of, what it shows."""

    def __init__(self, browser, session, target):
        self._browser, self._session, self._target = browser, session, target
        self.asked, self.failed, self.complaints = [], [], []
        self._loaded = threading.Event()

    def start(self, url, *, width=1440, height=900, scheme="light", script=True, mobile=False):
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.look(width=width, height=height, scheme=scheme, mobile=mobile)
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.call("Page.navigate", url=url)
        assert self._loaded.wait(60), f"{url} did not load"

    def look(self, *, width, height=900, scheme="light", mobile=False):
        """Be a screen of this many CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def event(self, method, params):
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif method == "Network.loadingFailed" and not params.get("canceled"):
            self.failed.append(params.get("errorText") or params.get("blockedReason"))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning", "assert"}:
            self.complaints.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def call(self, method, **params):
        return self._browser.call(method, self._session, **params)

    def run(self, script):
        """The value of a script, awaited where it is a promise."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(result["exceptionDetails"]["exception"].get("description", "exception"))
        return result["result"].get("value")

    def text(self, selector="body"):
        """What is to be read there."""
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def wait(self, script, seconds=60.0):
        """Wait until a script's value is true; gives it."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, (
                f"{script} did not come true within {seconds} s; the page reads:\n{self.text()}"
            )
            time.sleep(0.05)
        return value

    def wait_for_text(self, text, selector="body", seconds=60.0):
        """Wait until something is to be read."""
        self.wait(f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})", seconds)

    def live(self):
        """Wait until it shows what the daemon told."""
        self.wait("document.getElementById('live')?.hidden === false")

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, text="\r" if key == "Enter" else "",
                      windowsVirtualKeyCode={"Enter": 13, "Tab": 9}[key])  # fmt: skip

    def screenshot(self, path):
        """The whole page as a PNG."""
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(picture["data"]))

    def close(self):
        self._browser.call("Target.closeTarget", targetId=self._target)
        del self._browser._pages[self._session]


def violations(page):
    """What axe-core finds, as lines to read."""
    page.run(AXE.read_text(encoding="utf-8"))
    found = page.run(
        "axe.run().then((r) => JSON.stringify(r.violations.map((v) => [v.id, v.nodes.map((n) => n.target)])))"
    )
    return json.loads(found)
