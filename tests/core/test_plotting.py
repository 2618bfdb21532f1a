"""Words in pictures: names told apart whatever the fonts know, lines that fit, no mathematics."""

import pytest

from cxrtool.core import plotting
from cxrtool.core.plotting import canvas, fitted, readable, readable_names, text_style, width_of


def test_names_that_no_font_can_write_are_told_apart(monkeypatch):
    monkeypatch.setattr(plotting, "_fonts", lambda: (["DejaVu Sans"], frozenset(range(32, 127))))
    assert readable_names(["Edema", "心脏", "肥大"]) == ["Edema", "no. 2: □□", "no. 3: □□"]
    assert readable("a\u200b\n b\x07") == "a b"


@pytest.mark.parametrize("room", [0.5, 1.0, 4.0])
def test_text_is_broken_into_lines_that_fit_and_the_last_one_says_if_it_was_cut(room):
    figure, _ = canvas(6, 4)
    text = "Enlarged Cardiomediastinum of a patient with $x_1$ and more"
    lines = fitted(figure, text, room, 20, 8.0)
    assert all(width_of(figure, line, 8.0) <= room for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    [cut] = fitted(figure, text, 0.5, 1, 8.0)
    assert cut.endswith("…")
    assert not text_style(8.0)["parse_math"]
    assert fitted(figure, "", room, 2, 8.0) == [""]
