"""The page's document and its files."""

import re

from cxrtool.gui.site import KINDS, page, static_file
from tests.support.gui import MARKUP


def test_the_document_asks_for_nothing_from_elsewhere():
    text = page(MARKUP)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert {one.removeprefix("static/") for one in addresses} <= set(KINDS)
    assert "<img src=x" not in text
    assert not re.search(r"<script(?![^>]*src=)|<style|\\son\\w+=|\\sstyle=", text)
    for name in KINDS:
        content = static_file(name).decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|[\"'(]//|@import", content), name
