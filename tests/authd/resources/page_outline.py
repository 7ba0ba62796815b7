"""Reads a page as an HTML parser does, so that tests judge elements and text instead of bytes."""

from __future__ import annotations

from html.parser import HTMLParser

Attributes = dict[str, str | None]


class PageOutline(HTMLParser):
    """The elements of a page in their order, and the text that each carries."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, Attributes]] = []
        self.text_of: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input", "wbr"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.text_of[tag] = self.text_of.get(tag, "") + data

    def all(self, tag: str) -> list[Attributes]:
        return [attributes for name, attributes in self.elements if name == tag]

    def get(self, tag: str) -> Attributes:
        (attributes,) = self.all(tag)
        return attributes

    def get_text(self, tag: str) -> str:
        return " ".join(self.text_of[tag].split())

    def get_meta(self, name: str) -> str | None:
        (content,) = [meta["content"] for meta in self.all("meta") if meta.get("name") == name]
        return content

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """Elements and the names of their attributes; the groups of a reference count as none."""
        return [(tag, tuple(attributes)) for tag, attributes in self.elements if tag not in ("span", "wbr")]
