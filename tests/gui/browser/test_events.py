"""api.js: server-sent events are the same, however the stream is cut."""

import random

from tests.support.watched_page import work_of

STREAM = "".join(
    (
        'event: queued\ndata: {"ahead": 1}\n\n',
        ": a comment to keep the connection\n\n",
        'event: row\r\ndata: {"name": "ä: 1\\n",\r\ndata: "x": 2}\r\n\r\n',
        'data:{"a": 0}\n\n',
        "event: nothing\n\n",
        'event: film\ndata: {"pixels": "' + "A" * 5000 + '"}\n\n',
        'event: broken\ndata: {"never": ',
    )
)
EVENTS = [
    ["queued", {"ahead": 1}],
    ["row", {"name": "ä: 1\n", "x": 2}],
    ["message", {"a": 0}],
    ["film", {"pixels": "A" * 5000}],
]
PARSE = """async (pieces) => {
    const { EventParser } = await import("/static/api.js");
    const parser = new EventParser();
    return pieces.flatMap((piece) => [...parser.push(piece)]);
}"""


def test_events_do_not_hang_on_the_pieces(functions):
    chance = random.Random(5)
    cuts = [[STREAM], list(STREAM)]
    for _ in range(20):
        places = sorted(chance.sample(range(1, len(STREAM)), 12))
        cuts.append([STREAM[a:b] for a, b in zip([0, *places], [*places, None], strict=True)])
    for pieces in cuts:
        assert functions.evaluate(PARSE, pieces) == EVENTS


def test_a_large_film_takes_no_square_of_its_size(functions):
    """20 MB in pieces of a network's size: looked at once each, this takes well under a second."""
    parse = """async () => {
        const { EventParser } = await import("/static/api.js");
        const parser = new EventParser();
        const piece = "A".repeat(65536);
        const found = [...parser.push('event: film\\ndata: "')];
        for (let index = 0; index < 320; index += 1) found.push(...parser.push(piece));
        found.push(...parser.push('"\\n\\n'));
        if (found.length !== 1 || found[0][1].length !== 320 * 65536) throw new Error("lost");
    }"""
    assert work_of(functions, lambda: functions.evaluate(parse)) < 3
