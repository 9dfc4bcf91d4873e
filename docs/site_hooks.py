"""What mkdocs does beyond docs/: the documents of the repository's root become pages, and the commands a reference.

Links are written for a reader of the repository ("../CHANGELOG.md"); on the site they lead to the pages.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Optional
from urllib.parse import unquote, urlsplit

import click
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

#: Characters of a line that a page has room for.
WIDTH = 80
ROOT = Path(__file__).resolve().parent.parent
#: Documents outside docs/, and the page that each becomes.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "RELEASING.md": "releasing.md",
    "native/README.md": "native.md",
    "bench/HISTORY.md": "bench-history.md",
    "deploy/README.md": "deploy.md",
}
#: What documents link to that is no document: served as it is.
FILES = {"LICENSE": "LICENSE.txt", "config.yaml.example": "config.yaml.example.txt"}
#: A heading with all its arguments, too long for the table of contents.
_SIGNATURE = re.compile(r"^(###) `([\w.]+)(\(.*)`$", re.MULTILINE)
_LINK = re.compile(r"(\]\()([^)#\s]+)")


def on_config(config: Any) -> None:
    """Name headings as GitHub does, where links to them lead as well."""
    config.mdx_configs["toc"]["slugify"] = _slug


def _slug(text: str, separator: str) -> str:
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", separator)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for source, page in PAGES.items():
        text = _relinked((ROOT / source).read_text(encoding="utf-8"), source)
        files.append(File.generated(config, page, content=text))
    for source, name in FILES.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "commands.md", content=_commands()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead a page of docs/ to the pages that are made of documents outside it."""
    if page.file.generated_by is not None:
        return markdown
    if page.file.src_uri == "api.md":
        markdown = _SIGNATURE.sub(r"\1 `\2`\n\n```python\n\2\3\n```", markdown)
    return _relinked(markdown, f"docs/{page.file.src_uri}")


def on_post_build(config: Any) -> None:
    """Every link and anchor of the site leads somewhere, and no page loads anything from another host."""
    site = Path(config.site_dir)
    pages = {path: _read(path) for path in site.rglob("*.html")}
    wrong = [line for path, page in pages.items() for line in _wrong_in(path, page, site, pages)]
    if wrong:
        raise PluginError("\n".join(["links that lead nowhere:", *wrong[:50]]))


def _relinked(text: str, source: str) -> str:
    """The links of a document as links between pages; `source` is its path in the repository."""
    here = posixpath.dirname(source)
    from_page = posixpath.dirname(PAGES.get(source, source[len("docs/") :]))

    def lead(match: re.Match[str]) -> str:
        target = match[2]
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(here, target))
        page = PAGES.get(path) or FILES.get(path) or (path[len("docs/") :] if path.startswith("docs/") else None)
        return match[1] + posixpath.relpath(page, from_page or ".") if page else match[0]

    return _LINK.sub(lead, text)


def _commands() -> str:
    """Every command with its help, as the program itself tells it."""
    from kraken_l3.cli.commands import APP

    parts = ["# Commands", "What `kraken-l3 COMMAND --help` prints. [Exit codes and `--json`](cli.md)."]
    for words, command in _visible(APP, ("kraken-l3",)):
        context = click.Context(
            command, info_name=" ".join(words), color=False, max_content_width=WIDTH, terminal_width=WIDTH
        )
        parts += [f"## {' '.join(words[1:])}", f"```text\n{click.unstyle(command.get_help(context))}\n```"]
    return "\n\n".join(parts) + "\n"


def _visible(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield words, command
        return
    for name in command.list_commands(click.Context(command)):
        yield from _visible(command.commands[name], (*words, name))


class _Links(HTMLParser):
    """The links of a page, what it loads, and its anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe") and "src" in given:
            self.loaded.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.append(given.get("href", ""))


def _read(path: Path) -> _Links:
    parser = _Links()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def _wrong_in(path: Path, page: _Links, site: Path, pages: dict[Path, _Links]) -> Iterator[str]:
    here = path.relative_to(site)
    for target in page.loaded:
        if urlsplit(target).netloc:
            yield f"{here}: loads {target[:100]}"
    for target in {*page.links, *page.loaded}:
        parts = urlsplit(target)
        if parts.scheme or parts.netloc or (here.name == "404.html" and parts.path.startswith("/")):
            continue
        found = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if found.is_dir():
            found /= "index.html"
        anchors = pages[found].anchors if found in pages else None
        is_there = found.exists() and (not parts.fragment or anchors is None or unquote(parts.fragment) in anchors)
        if not is_there:
            yield f"{here}: {target}"
