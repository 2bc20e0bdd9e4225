"""What a browser sees of a page, and what is wrong with it as HTML."""

import itertools
import re
from html.parser import HTMLParser

#: Elements of HTML that have no end.
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Seen(HTMLParser):
    """What a browser sees: text, tables, and every tag with its attributes. `problems`: what does not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.problems: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.problems += [f"{tag} is not closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._begin(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._begin(tag, attrs)
        if tag not in VOID and "svg" not in self._open:
            self.problems.append(f"{tag} ends where it begins")

    def _begin(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.problems.append(f"{tag} has an attribute twice")
        self.tags.append((tag, dict(attrs)))
        match tag:
            case "table":
                self.tables.append([])
            case "tr":
                self.tables[-1].append([])
            case "td" | "th":
                self.tables[-1][-1].append("")
            case "div" | "p" | "ul" | "section" | "table" if "p" in self._open:
                self.problems.append(f"{tag} in a paragraph")

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & {*self._open}:
            self.texts.append(data)
        if {"td", "th"} & {*self._open}:
            self.tables[-1][-1][-1] += data.strip()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"{tag} ends out of turn")

    @property
    def text(self) -> str:
        """All text, in one line."""
        return " ".join(" ".join(self.texts).split())

    def values(self, attribute: str) -> list[str]:
        """The values of an attribute."""
        return [value or "" for _, attributes in self.tags for name, value in attributes.items() if name == attribute]


def what_is_wrong(page: str) -> list[str]:
    """The things that are wrong with a page: it is to nest, to point to what is there, and to load nothing."""
    seen = Seen(page)
    told, ids = [*seen.problems], seen.values("id")
    told += [f"the id {each} is there twice" for each in {*ids} if ids.count(each) > 1]
    pointed = [
        each
        for name in ("aria-labelledby", "aria-describedby")
        for value in seen.values(name)
        for each in value.split()
    ]
    pointed += [href[1:] for href in seen.values("href") if href.startswith("#")]
    pointed += re.findall(r"url\(#([\w-]+)\)", page)
    told += [f"{each} is pointed to, and not there" for each in {*pointed} - {*ids}]
    named = [name for _, attributes in seen.tags for name in attributes]
    told += [f"the attribute {name}" for name in named if name.startswith("on") or name in ("style", "src", "srcset")]
    told += [
        f"the element {tag}" for tag, _ in seen.tags if tag in ("img", "iframe", "object", "embed", "form", "base")
    ]
    told += [
        f"the link {value}"
        for value in seen.values("href")
        if re.match(r"\w+:", value) and not value.startswith("data:")
    ]
    told += [f"it loads by {each}" for each in ("@import", "url(h", 'url("', "url('") if each in page]
    headings = [int(tag[1]) for tag, _ in seen.tags if re.fullmatch("h[1-6]", tag)]
    if headings[:1] != [1] or headings.count(1) != 1 or any(b > a + 1 for a, b in itertools.pairwise(headings)):
        told.append(f"the headings {headings}")
    told += [
        f"a picture without words: {attributes}"
        for tag, attributes in seen.tags
        if tag == "svg" and not _is_told(attributes)
    ]
    told += ["a table without caption"] * (len(seen.tables) - page.count("<caption"))
    return told


def _is_told(attributes: dict[str, str | None]) -> bool:
    is_hidden = attributes.get("aria-hidden") == "true"
    return (
        is_hidden
        or (attributes.get("role") == "img" and bool({"aria-label", "aria-labelledby"} & {*attributes}))
        or not attributes.get("class")
    )
