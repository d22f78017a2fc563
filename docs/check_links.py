"""Follow every internal link of the built documentation: `python docs/check_links.py FOLDER`."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page refers to, and the places in it that can be referred to."""

    def __init__(self, path):
        super().__init__()
        self.targets, self.places = [], {"", "top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        for key, value in attributes:
            if key in {"id", "name"} and value:
                self.places.add(value)
            elif key in {"href", "src"} and value and tag != "base":
                self.targets.append(value)


def broken(folder):
    """Pairs of a page and a link on it that leads nowhere within the folder."""
    written = (p for p in sorted(Path(folder).rglob("*.html")) if "_static" not in p.parts)
    pages = {path.resolve(): Page(path) for path in written}
    if not pages:
        raise FileNotFoundError(f"{folder} holds no pages; build the documentation first")
    for path, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue  # external links are not fetched
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = pages.get(file)
            lost = there is not None and unquote(parts.fragment) not in there.places
            if lost or not file.exists():
                yield path.name, target


if __name__ == "__main__":
    found = list(broken(sys.argv[1]))
    for page, target in found:
        print(f"{page}: {target} leads nowhere")
    sys.exit(bool(found))
