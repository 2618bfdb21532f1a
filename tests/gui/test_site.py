"""The document and its files."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from cxrtool.core.errors import UsageError
from cxrtool.gui.model_card import facts_of_file
from cxrtool.gui.site import site
from tests.support.gui import ABOUT, MARKUP, index
from tests.support.serving import Parts


def test_the_document_asks_for_nothing_from_elsewhere(tmp_path):
    facts = replace(facts_of_file(Path("m.onnx"), ABOUT, ""), name=MARKUP)
    files = site(facts, index(tmp_path), most_mb=7, absent="")
    page = files["/"].content.decode()
    parts = Parts(page)
    asked = [one.get("src") or one.get("href") for one in parts.all("script") + parts.all("link")]
    assert len(asked) == 5
    assert not any("//" in address for address in asked)
    assert [one for one in parts.all("script") if "src" not in one] == []
    assert parts.all("img", src="x") == []
    assert parts.all("body")[0]["data-most-bytes"] == str(7 * 2**20)
    for path in ("/cxrtool/page.css", "/cxrtool/page.js", "/cxrtool/icon.svg"):
        text = files[path].content.decode().replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"(^|\s)// .*", "", text)


def test_another_gradio_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not supported"):
        site(facts_of_file(Path("m.onnx"), ABOUT, ""), index(tmp_path, "x"), most_mb=1, absent="")
