"""The answer to a request, event by event: its turn, each image's film and row, then the maps."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from anyio.to_thread import run_sync

from cxrtool import __version__
from cxrtool.core.errors import CxrToolError
from cxrtool.data.prediction_rows import Row as TableRow
from cxrtool.data.prediction_rows import cells, csv_line, header
from cxrtool.evaluation.decisions import POSITIVE, YES
from cxrtool.gui.answers import (
    Answered,
    MapsShown,
    ModelNamed,
    Prediction,
    Queued,
    Row,
    failed_row,
    film_shown,
    maps_shown,
    scored_row,
    shown_name,
)
from cxrtool.gui.desk import Desk, Looked, Model, NotScoredError
from cxrtool.gui.intake import Line, Question, RefusedError, Sent, refused_by
from cxrtool.images.film import Film

NOTICE = "Research only: not a medical device."
Event = tuple[str, Answered]
"""Its name, and what it holds."""


def model_of(desk: Desk, name: str) -> Model:
    """A model that a request names.

    Raises:
        RefusedError: there is none of this name.
    """
    try:
        return desk.model(name)
    except CxrToolError as error:
        raise refused_by(error) from None


async def answer(desk: Desk, line: Line, question: Question) -> AsyncIterator[Event]:
    """All that is said of a question's images.

    Raises:
        RefusedError: too many wait, or there is no such model.
    """
    model = model_of(desk, question.model)
    names = [shown_name(one.name) for one in question.images]
    looked: dict[int, Looked] = {}
    with line.place() as ahead:
        async for before in ahead():
            images: list[dict[str, int | str]] = [
                {"index": index, "name": name} for index, name in enumerate(names)
            ]
            yield "queued", Queued(images=images, ahead=before)
        for index, image in enumerate(question.images):
            async for name, part in _of_image(desk, model, question, index, image, looked):
                yield name, part
        for index, one in looked.items():
            yield "maps", await run_sync(_maps, desk, model, index, one)


async def _of_image(
    desk: Desk,
    model: Model,
    question: Question,
    index: int,
    image: Sent,
    looked: dict[int, Looked],
) -> AsyncIterator[Event]:
    """An image's film, if it is asked for, and its row."""
    name = shown_name(image.name)
    try:
        film = await run_sync(_read, desk, image)
        if question.film:
            yield "film", await run_sync(film_shown, index, film)
        found = await run_sync(desk.score, model, film)
    except NotScoredError as error:
        row = failed_row(index, name, str(error))
    else:
        study = desk.study(film)
        row = scored_row(index, name, film, found.findings, study, thumb=question.thumb)
        if question.maps:
            looked[index] = found
    desk.counters.answered(row.state)
    yield "row", row


def _read(desk: Desk, image: Sent) -> Film:
    try:
        content = image.read()
    except OSError as error:
        raise NotScoredError(f"cannot be read ({error.strerror or error})") from None
    return desk.read(image.name, content)


def _maps(desk: Desk, model: Model, index: int, looked: Looked) -> MapsShown:
    labels = [one.label for one in looked.findings]
    return maps_shown(index, desk.maps(model, looked, labels))


async def prediction(desk: Desk, line: Line, question: Question) -> Prediction:
    """The whole answer at once.

    Raises:
        RefusedError: as `answer`.
    """
    rows, maps = [], []
    async for _, part in answer(desk, line, question):
        if isinstance(part, Row):
            rows.append(part)
        elif isinstance(part, MapsShown):
            maps.append(part)
    return Prediction(
        model=named(model_of(desk, question.model)),
        version=__version__,
        notice=NOTICE,
        images=rows,
        maps=maps,
    )


async def documented(
    desk: Desk, line: Line, question: Question, write: Callable[[Model], bytes]
) -> bytes:
    """A document about a question's images, written in its turn.

    Raises:
        RefusedError: an image cannot be scored, the document cannot be written, or as `answer`.
    """
    model = model_of(desk, question.model)
    with line.place() as ahead:
        async for _ in ahead():
            continue
        try:
            return await run_sync(write, model)
        except CxrToolError as error:
            raise RefusedError(422, str(error)) from None


def look(desk: Desk, model: Model, image: Sent) -> tuple[Film, Looked]:
    """An image, scored.

    Raises:
        RefusedError: it cannot be.
    """
    try:
        film = _read(desk, image)
        return film, desk.score(model, film)
    except NotScoredError as error:
        raise RefusedError(422, f"{shown_name(image.name)}: {error}") from None


def named(model: Model) -> ModelNamed:
    """A model as an answer names it."""
    scorer = model.scorer
    return ModelNamed(name=scorer.name, fingerprint=scorer.fingerprint, engine=scorer.description)


def as_csv(rows: Iterable[Row], labels: Sequence[str], *, verdicts: bool = False) -> str:
    """Rows as the table that `predict` writes; with verdicts where the model gives any."""
    lines = [csv_line(header(labels, verdicts=verdicts))]
    for row in rows:
        found = {one.label: one for one in row.findings}
        judged = [f"{one}:{found[one].verdict}" for one in labels if found and found[one].verdict]
        line = TableRow(
            path=row.name,
            scores=tuple(found[label].probability for label in labels) if found else None,
            positive=tuple(
                label for label in labels if found and found[label].decision in (POSITIVE, YES)
            ),
            warning="; ".join(filter(None, (row.warning, *row.contradictions))),
            error=row.error,
            verdicts=tuple(judged) if verdicts else None,
        )
        lines.append(csv_line(cells(line, labels)))
    return "".join(lines)
