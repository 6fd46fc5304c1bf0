"""What a person does on the site, and what their browser notices meanwhile."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

#: Where the pages' pictures go; git ignores it.
SCREENSHOTS = Path(__file__).parent.parent.parent / "var" / "screenshots"
WIDE, NARROW = 1280, 360
#: What a browser says of any page that is an error, as some here shall be.
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d ")

#: The controls, bars and frames that a screen reader has no name for.
NAMELESS = """() => [...document.querySelectorAll("input:not([type=hidden]), select, button, a, progress, iframe")]
    .filter(it => !it.labels?.length && !it.ariaLabel && !it.getAttribute("aria-labelledby"))
    .filter(it => !it.title && !it.textContent.trim())
    .map(it => it.outerHTML)"""
#: Text that is hard to see before its background: a contrast below 4.5 (WCAG 2.2, 1.4.3).
PALE = """() => {
    const parts = text => text.match(/[\\d.]+/g).map(Number);
    const linear = c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => [r, g, b].map(c => linear(c / 255))
        .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
    const back = it => { for (; it; it = it.parentElement) {
        const colour = parts(getComputedStyle(it).backgroundColor);
        if (colour.length === 3 || colour[3] > 0) return colour; } return [255, 255, 255]; };
    return [...document.querySelectorAll("body *")]
        .filter(it => [...it.childNodes].some(node => node.nodeType === 3 && node.data.trim()) && it.checkVisibility())
        .filter(it => it.tagName !== "SCRIPT" && it.tagName !== "STYLE").map(it => {
            const [a, b] = [light(parts(getComputedStyle(it).color)), light(back(it))].sort((a, b) => b - a);
            return [(a + .05) / (b + .05), it.outerHTML.slice(0, 90)]; })
        .filter(([ratio]) => ratio < 4.5); }"""


class Watch:
    """Collects what must not happen: errors and violations in the console, and requests to other places."""

    def __init__(self, address: str) -> None:
        self.complaints: list[str] = []
        self._address = address

    def over(self, page: Any) -> Any:
        """The same page, watched."""
        page.on("console", lambda said: self._heard(said.type, said.text))
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("request", lambda asked: self._asked(asked.url))
        return page

    def _heard(self, kind: str, text: str) -> None:
        if not REFUSED.match(text):
            self.complaints.append(f"{kind}: {text}")

    def _asked(self, url: str) -> None:
        if not url.startswith(self._address + "/"):
            self.complaints.append(f"request to {url}")


class Person:
    """Somebody with a browser."""

    def __init__(self, site: Any, page: Any) -> None:
        self.site, self.page = site, page

    def log_in(self, name: str) -> None:
        """By the form, from wherever they are."""
        self.page.goto("/login")
        self.page.get_by_label("Name").fill(name)
        self.page.locator("main button").click()

    def fill(self, **fields: str) -> None:
        """Type into the form's fields, by their names."""
        for name, text in fields.items():
            field = self.page.locator(f"main [name={name}]")
            if field.evaluate("it => it.tagName") == "SELECT":
                field.select_option(text)
            else:
                field.fill(text)

    def ask(self, file_type: str, **fields: str) -> None:
        """Fill the form of a file type and send it."""
        self.page.goto(f"/ask/{file_type}")
        self.fill(**fields)
        self.send()

    def send(self) -> None:
        """Press the button."""
        self.page.get_by_role("button", name="Get the file").click()

    def download(self, act: Any) -> tuple[str, bytes]:
        """The name and the bytes of the file that an act makes the browser save."""
        with self.page.expect_download() as downloading:
            act()
        return downloading.value.suggested_filename, Path(downloading.value.path()).read_bytes()

    def photograph(self, name: str) -> None:
        """A picture of the page in light and dark, wide and narrow, and what every page must be.

        One heading of the first rank, a title, a language; each control has a name, each text can be read, and
        nothing is wider than a phone.
        """
        assert [self.page.locator(tag).count() for tag in ("h1", "main")] == [1, 1]
        assert self.page.title()
        assert self.page.locator("html").get_attribute("lang")
        assert self.page.evaluate(NAMELESS) == []
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            assert self.page.evaluate(PALE) == [], scheme
            for width in (WIDE, NARROW):
                self.page.set_viewport_size({"width": width, "height": 800})
                self.page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}-{width}.png", full_page=True)
                assert self.page.evaluate("document.documentElement.scrollWidth") <= width
        self.page.set_viewport_size({"width": WIDE, "height": 800})
