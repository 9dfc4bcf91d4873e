"""A real browser, driven over the Chrome DevTools protocol: https://chromedevtools.github.io/devtools-protocol/."""

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import aiohttp

#: As Debian and others call it.
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATH = next((found for found in map(shutil.which, NAMES) if found), None)
WAIT_S = 60.0


class Browser:
    """One tab of a headless browser; an async context manager."""

    def __init__(self, width: int = 1400, height: int = 900) -> None:
        self._size = width, height
        self._answers: dict[int, asyncio.Future] = {}
        #: What the page complained of: exceptions, errors on the console, files that were refused.
        self.complaints: list[str] = []
        #: Every address that was asked for.
        self.asked_for: list[str] = []

    async def __aenter__(self) -> "Browser":
        self._directory = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [
                *(PATH, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--mute-audio"),
                *("--no-first-run", "--disable-extensions", f"--user-data-dir={self._directory.name}", "about:blank"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port_file = Path(self._directory.name) / "DevToolsActivePort"
        while not port_file.exists() or not port_file.read_text().strip():
            assert self._process.poll() is None, "the browser has ended"
            await asyncio.sleep(0.05)
        port = port_file.read_text().splitlines()[0]
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json") as answer:
            tab = next(each for each in await answer.json() if each["type"] == "page")
        self._socket = await self._session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)
        self._reading = asyncio.create_task(self._read())
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.resize(*self._size)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        await self._session.close()
        self._process.kill()
        self._process.wait()
        self._directory.cleanup()

    async def call(self, method: str, **parameters):
        """One command of the protocol."""
        number = len(self._answers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        return await asyncio.wait_for(self._answers[number], WAIT_S)

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._answers[told["id"]].set_result(told.get("result", told))
                continue
            method, what = told["method"], told["params"]
            if method == "Runtime.exceptionThrown":
                self.complaints.append(what["exceptionDetails"].get("exception", {}).get("description", str(what)))
            elif method == "Log.entryAdded" and what["entry"]["level"] == "error":
                self.complaints.append(f"{what['entry']['text']} {what['entry'].get('url', '')}")
            elif method == "Network.requestWillBeSent":
                self.asked_for.append(what["request"]["url"])

    async def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )

    async def prefer(self, scheme: str) -> None:
        """light or dark, as the operating system would say it."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def run(self, script: str):
        """The value of an expression in the page."""
        told = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def until(self, script: str):
        """Wait until an expression is true; its value."""
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while not (value := await self.run(script)):
            assert asyncio.get_running_loop().time() < deadline, (script, self.complaints)
            await asyncio.sleep(0.05)
        return value

    async def press(self, key: str, *, text: str = "", shift: bool = False) -> None:
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, "Enter": 13, "Escape": 27}
        code = codes.get(key, ord(key.upper()) if len(key) == 1 else 0)
        common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        text = text or (key if len(key) == 1 else "")
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def picture(self, path: Path, *, whole: bool = False) -> None:
        """What is in sight, or the whole page, as a .png or .webp file."""
        kind = {"format": "webp", "quality": 85} if path.suffix == ".webp" else {"format": "png"}
        told = await self.call("Page.captureScreenshot", captureBeyondViewport=whole, **kind)
        path.write_bytes(base64.b64decode(told["data"]))
