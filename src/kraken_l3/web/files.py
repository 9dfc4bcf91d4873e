"""The page's own files, out of the package into memory: no path of a request ever reaches the file system."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import NamedTuple

from aiohttp import web

__all__ = ["StaticFile", "page_files"]

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class StaticFile(NamedTuple):
    """One file as it is sent.

    Attributes:
        body: its bytes.
        content_type: of HTTP.
        tag: changes with the bytes.
    """

    body: bytes
    content_type: str
    tag: str

    async def answer(self, request: web.Request) -> web.Response:
        """The file, or 304 where the browser has it."""
        headers = {"ETag": self.tag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == self.tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=self.body, content_type=self.content_type, charset="utf-8", headers=headers)


def page_files() -> dict[str, StaticFile]:
    """All of them by their paths in URLs; the page itself is `/`."""
    found = {}
    for entry in files(__package__).joinpath("static").iterdir():
        kind = _TYPES.get(entry.name.rpartition(".")[2])
        if kind is not None:
            body = entry.read_bytes()
            path = "/" if entry.name == "index.html" else f"/{entry.name}"
            found[path] = StaticFile(body, kind, f'"{hashlib.sha256(body).hexdigest()[:24]}"')
    return found
