"""The page and its HTTP interface: which address answers what."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from anyio import create_task_group
from anyio.to_thread import run_sync
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from cxrtool import __version__
from cxrtool.gui import answering, documents
from cxrtool.gui.about import About, about
from cxrtool.gui.answering import Event
from cxrtool.gui.answers import Answered, Failed, Prediction
from cxrtool.gui.desk import Desk
from cxrtool.gui.gate import Message, Receive, Scope, Send
from cxrtool.gui.intake import Intake, Line, Question, RefusedError
from cxrtool.gui.site import KINDS, docs_page, page, static_file

EVENTS, CSV = "text/event-stream", "text/csv"
FORM: dict[str, Any] = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "files": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "JPEG, PNG, TIFF or DICOM.",
        },
        "model": {"type": "string", "description": "One of /api/model; without it the first."},
    },
}
OPTIONS = {
    "maps": "Whether to add where the network looked.",
    "film": "Whether to add the pixels at their full depth, as an event before each row.",
    "thumb": "Whether to add a small picture to each row.",
}
FOLDER = {
    "type": "object",
    "required": ["folder"],
    "properties": {
        "folder": {"type": "string", "description": "In the folder that --root names."},
        "model": {"type": "string"},
        "maps": {"type": "boolean"},
    },
}
Answer = Callable[[Question], Awaitable[Response]]


def make_app(desk: Desk, intake: Intake, *, most_mb: int) -> FastAPI:
    """The application, to be served behind a `Gate`.

    Args:
        desk: what looks at images.
        intake: what takes them in.
        most_mb: how much can be sent at once, as the page says.
    """
    app = FastAPI(
        title="cxrtool",
        version=__version__,
        description="Probabilities of findings in chest X-rays. " + answering.NOTICE,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        exception_handlers={HTTPException: _not_found},
    )
    line = Line(desk.counters.in_line)
    known = about(desk, intake, most_mb=most_mb)
    _serve_page(app, desk)
    _serve_facts(app, desk, known)

    _serve_predictions(app, desk, intake, line)
    _serve_documents(app, desk, intake, line)
    return app


def _serve_predictions(app: FastAPI, desk: Desk, intake: Intake, line: Line) -> None:
    @app.post(
        "/api/predict",
        response_model=Prediction,
        summary="Score images",
        responses=_responses(
            "Rows, and maps where they were asked for. With Accept: text/event-stream the events "
            "queued, film, row, maps and done, each as soon as it is known; with Accept: text/csv "
            "the table that `cxrtool predict` writes.",
            EVENTS,
            CSV,
        ),
        openapi_extra=_body(FORM, OPTIONS, folder=True),
    )
    async def predict(request: Request) -> Response:
        async def answer(question: Question) -> Response:
            accepted = request.headers.get("accept", "")
            if EVENTS in accepted:
                answering.model_of(desk, question.model)
                return EventStream(answering.answer(desk, line, question))
            found = await answering.prediction(desk, line, question)
            if CSV in accepted:
                scorer = desk.model(question.model).scorer
                table = answering.as_csv(found.images, scorer.labels, verdicts=bool(scorer.limits))
                return Response(table, media_type=CSV)
            return Response(found.model_dump_json(), media_type="application/json")

        return Held(intake, request, answer)


def _serve_documents(app: FastAPI, desk: Desk, intake: Intake, line: Line) -> None:
    @app.post(
        "/api/pdf",
        summary="One image's findings as a page",
        responses=_responses("One A4 page.", "application/pdf"),
        openapi_extra=_body(FORM, {"label": "The finding whose map is shown."}),
    )
    async def pdf(request: Request) -> Response:
        return Held(intake, request, lambda asked: documents.pdf(desk, line, asked))

    @app.post(
        "/api/dicom",
        summary="A DICOM study's findings as DICOM",
        responses=_responses(
            "A structured report, and a secondary capture a positive finding.", "application/zip"
        ),
        openapi_extra=_body(FORM),
    )
    async def dicom(request: Request) -> Response:
        return Held(intake, request, lambda asked: documents.dicom(desk, line, asked))


def _serve_page(app: FastAPI, desk: Desk) -> None:
    text = page(desk.models[0].facts.name)

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return HTMLResponse(text)

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in KINDS:
            raise HTTPException(404)
        return Response(static_file(name), media_type=KINDS[name])

    @app.get("/api/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(docs_page(app.openapi()))


def _serve_facts(app: FastAPI, desk: Desk, known: About) -> None:
    @app.get("/api/model", summary="The models, their labels, thresholds and scores")
    async def model() -> About:
        return known

    @app.get("/health", summary="Whether the server answers")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", summary="Counts for Prometheus", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(desk.counters.text())


class EventStream(StreamingResponse):
    """Events as they come; closed, with all that belongs to them, when the reader leaves."""

    def __init__(self, events: AsyncIterator[Event]) -> None:
        self.closing = _encoded(events)
        super().__init__(self.closing, media_type=EVENTS)

    async def stream_response(self, send: Send) -> None:
        """Send the events."""
        async with aclosing(self.closing):
            await super().stream_response(send)


async def _encoded(events: AsyncIterator[Event]) -> Any:
    """Events in the form of server-sent events (HTML standard, 9.2)."""
    try:
        async for name, part in events:
            yield await run_sync(_event, name, part)
    except RefusedError as error:
        yield _event("error", Failed(detail=str(error)))
    else:
        yield _event("done", Answered())


def _event(name: str, part: Answered) -> bytes:
    return f"event: {name}\ndata: {part.model_dump_json()}\n\n".encode()


class Held(Response):
    """An answer whose files are there until it is sent, and no longer."""

    def __init__(self, intake: Intake, request: Request, answer: Answer) -> None:
        super().__init__()
        self.intake, self.request, self.answer = intake, request, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the files in, and answer."""
        try:
            async with self.intake.question(self.request) as question:
                response = await _while_listened(self.request, self.answer, question)
                if response is not None:
                    await response(scope, receive, send)
        except RefusedError as error:
            refused = JSONResponse({"detail": str(error)}, error.status)
            await refused(scope, receive, send)


async def _while_listened(request: Request, answer: Answer, question: Question) -> Response | None:
    """An answer; None if whoever asked left before it was there."""
    found: Response | None = None
    refused: RefusedError | None = None
    async with create_task_group() as group:

        async def leave() -> None:
            while True:
                message: Message = await request.receive()
                if message["type"] == "http.disconnect":
                    group.cancel_scope.cancel()
                    return

        group.start_soon(leave)
        try:
            found = await answer(question)
        except RefusedError as error:  # not in a group of exceptions
            refused = error
        group.cancel_scope.cancel()
    if refused is not None:
        raise refused
    return found


async def _not_found(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    words = {404: "there is nothing at this address", 405: "this address has no such action"}
    return JSONResponse({"detail": words.get(status, str(error))}, status)


def _body(
    form: dict[str, Any], more: dict[str, str] | None = None, *, folder: bool = False
) -> dict[str, Any]:
    """What a request holds, for the OpenAPI."""
    added = {
        name: {"type": "string" if name == "label" else "boolean", "description": text}
        for name, text in (more or {}).items()
    }
    whole = {**form, "properties": {**form["properties"], **added}}
    content = {"multipart/form-data": {"schema": whole}}
    if folder:
        content["application/json"] = {"schema": FOLDER}
    return {"requestBody": {"required": True, "content": content}}


def _responses(description: str, *kinds: str) -> dict[int | str, dict[str, Any]]:
    """What an answer holds, for the OpenAPI."""
    errors = {400: "no form", 413: "too large", 422: "not as described", 503: "too much at once"}
    return {
        200: {"description": description, "content": {kind: {} for kind in kinds}},
        **{status: {"model": Failed, "description": text} for status, text in errors.items()},
    }
