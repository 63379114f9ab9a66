"""HTML as html.parser reads it: tags, attributes and text, and whether every tag is closed in turn."""

from html.parser import HTMLParser

VOID = {"meta", "br"}


class Parsed(HTMLParser):
    """Read once; `tags` are (name, attribute names), `attributes` (tag, name, value), `text` all text between tags."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.raw, self._open = [], [], [], {}, []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self._open and self._open.pop() == tag, f"</{tag}> closes nothing that is open"

    def handle_data(self, data):
        if self._open and self._open[-1] in ("script", "style"):
            self.raw[self._open[-1]] = self.raw.get(self._open[-1], "") + data
        else:
            self.text.append(data)
