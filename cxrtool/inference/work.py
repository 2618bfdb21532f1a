"""What `predict` has to do: images, the models that score them, and what comes of it."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cxrtool.core.config import PredictConfig
from cxrtool.core.console import Reporter
from cxrtool.core.runs import RunFolder
from cxrtool.data.prediction_rows import OF_STUDY, Row, cells, csv_line, header, read_rows
from cxrtool.evaluation.saturation import Collapses, collapse_warnings
from cxrtool.inference.ensemble import Ensemble
from cxrtool.inference.inputs import Inputs
from cxrtool.inference.journal import Journal
from cxrtool.inference.more_columns import MoreColumns
from cxrtool.inference.sources import Window
from cxrtool.inference.studies import Studies
from cxrtool.inference.study_sink import StudyCounts, StudySink

if TYPE_CHECKING:
    import pandas as pd

    from cxrtool.core.processes import Processes
    from cxrtool.inference.heatmaps import Heatmaps

MOST_FAILURES = 100
"""That are named one by one."""
LEAST_IMAGES = 10
"""Fewer may well have the same scores."""
LEAST_IN_A_WINDOW = 32
"""Images that are fetched from an archive at once, where a batch has not more."""
FEW = 64
"""Images whose number and speed are worth no line of their own."""


class Listener(Protocol):
    """Is told of rows as they are made."""

    def begin(self, ensemble: Ensemble, rows: int, more: Sequence[str]) -> None:
        """So many rows are about to be made, with these columns of `MORE`."""

    def row(self, row: Row) -> None:
        """The next one, in order."""


@dataclass(frozen=True)
class PredictResult:
    """Predictions, and how the making went."""

    model: str
    labels: tuple[str, ...]
    thresholds: dict[str, float | None]
    """On the scale of the probabilities."""
    without: dict[str, str]
    """Why labels have no threshold, or one that says little."""
    judges: bool
    """Whether rows have verdicts."""
    more: tuple[str, ...]
    """The columns of `MORE` that rows have."""
    rows: list[Row] = field(repr=False)
    """Empty where they went to a file or a listener."""
    images: int
    """That were to be scored."""
    studies: int | None
    """How many rows there are, where they are studies."""
    laterals: int
    """Images that were left out of these."""
    failures: "Failures"
    seconds: float
    images_per_second: float
    output: Path | None
    engine: dict[str, str]
    """Its name, device and precision."""
    heatmaps: Path | None = None
    drawn: int = 0
    """How many heat maps."""
    dicom: StudyCounts | None = None
    """DICOM results, where they are asked for."""
    writes: bool = True
    """Whether this process is the one that tells the result."""

    @property
    def table(self) -> "pd.DataFrame":
        """The rows as a table, also those that were written to a file."""
        from cxrtool.data.prediction_tables import frame_of_rows

        rows = self.rows if self.output is None else read_rows(self.output, self.labels)
        return frame_of_rows(rows, self.labels)

    def csv(self) -> str:
        """The rows as CSV text."""
        lines = [cells(row, self.labels) for row in self.rows]
        columns = header(self.labels, verdicts=self.judges, more=self.more)
        return "".join(csv_line(line) for line in [columns, *lines])

    @property
    def failed(self) -> int:
        """The rows without probabilities."""
        return self.failures.count

    @property
    def status(self) -> str:
        """How it went, in a word for scripts: `done`, `some failed` or `all failed`."""
        if not self.failed:
            return "some failed" if self.dicom and self.dicom.incomplete else "done"
        return "all failed" if self.failed == (self.studies or self.images) else "some failed"

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it; with the rows, where no file holds them."""
        values: dict[str, Any] = {
            "status": self.status,
            "run": self.model,
            "engine": self.engine,
            "images": self.images,
            "failed": self.failed,
            "failures": [{"path": path, "error": why} for path, why in self.failures.first],
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "output": str(self.output) if self.output else None,
        }
        if self.studies is not None:
            values |= {"studies": self.studies, "laterals_left_out": self.laterals}
        if self.heatmaps is not None:
            values |= {"heatmaps": str(self.heatmaps), "drawn": self.drawn}
        if self.dicom is not None:
            values["dicom"] = self.dicom.as_json()
        if self.output is None:
            values["predictions"] = [row.as_json(self.labels) for row in self.rows]
        return values


@dataclass
class Failures:
    """Rows without probabilities: how many, and the first ones."""

    count: int = 0
    first: list[tuple[str, str]] = field(default_factory=list)
    """Their names and reasons, of `MOST_FAILURES` at most: the table has them all."""

    def add(self, row: Row) -> Row:
        """Note a row, if it is such a one; the row itself."""
        if row.scores is None:
            self.count += 1
            if len(self.first) < MOST_FAILURES:
                self.first.append((row.path, row.error))
        return row


@dataclass(frozen=True, kw_only=True)
class Work:
    """Images to score, with what, and for whom."""

    config: PredictConfig
    images: Inputs
    ensemble: Ensemble
    run: RunFolder | None
    """Of which heat maps are drawn."""
    reporter: Reporter
    listener: Listener | None
    processes: "Processes | None"
    more: MoreColumns = field(default_factory=MoreColumns)
    """What images' rows have on request."""
    studies: Studies | None = None
    """Those that the images are of, where rows are studies."""
    sink: StudySink | None = None
    """What makes DICOM results of studies."""
    failures: Failures = field(default_factory=Failures)
    """Of the rows that were made."""
    _collapses: list[Collapses] = field(default_factory=list, init=False)

    @property
    def place(self) -> tuple[int, int]:
        """This process's number, and how many there are."""
        return (0, 1) if self.processes is None else (self.processes.rank, self.processes.world)

    def wait(self) -> None:
        """Wait for the other processes."""
        if self.processes is not None:
            self.processes.wait()

    def failed(self, journal: Journal) -> list[int]:
        """The places of the images that could not be read: they are tried again."""
        return [at for at, name in enumerate(self.images.names) if journal.failed(name)]

    def batches(self, places: Sequence[int]) -> list[range]:
        """The batches of all images, in their order, that some images (by their places) are in."""
        size = self.ensemble.batch_of(self.config.batch_size)
        numbers = sorted({place // size for place in places})
        ends = [min((number + 1) * size, len(self.images)) for number in numbers]
        return [range(number * size, end) for number, end in zip(numbers, ends, strict=True)]

    def left(self, journal: Journal, heatmaps: "Heatmaps | None") -> list[int]:
        """The places of the images that were not tried, or lack what is asked for beside a row.

        That is a heat map, or the results of their study.
        """
        names = self.images.names
        left = [
            at for at, name in enumerate(names) if not (journal.done(name) or journal.failed(name))
        ]
        if heatmaps is None and self.sink is None:
            return left
        done = [at for at, name in enumerate(names) if journal.done(name)]
        rows = journal.rows(names[at] for at in done)
        lacking = [
            at
            for at, row in zip(done, rows, strict=True)
            if self.lacks_results(at) or (heatmaps is not None and heatmaps.lacks(at, row))
        ]
        return sorted(left + lacking)

    def lacks_results(self, place: int) -> bool:
        """Whether an image is of a study whose results are still to be made."""
        return self.sink is not None and self.sink.lacks(self.images.names[place])

    def rows(self, places: Sequence[int], heatmaps: "Heatmaps | None") -> Iterator[Row]:
        """The rows of images, by their places in the list; heat maps are drawn on the way."""
        many = len(places) > FEW
        windows = self.images.windows(places, self._in_a_window())
        # What was fetched goes at once, also where somebody stops in the middle.
        with (
            self.reporter.steps("scoring", len(places), summary=many) as advance,
            closing(windows),
        ):
            for window in windows:
                for row in self._rows_of(window, heatmaps):
                    yield row
                    advance(1)

    def _in_a_window(self) -> int:
        """Images whose files are fetched at once: whole batches, so that they stay the same."""
        size = self.ensemble.batch_of(self.config.batch_size)
        return size * max(1, LEAST_IN_A_WINDOW // size)

    def _rows_of(self, window: Window, heatmaps: "Heatmaps | None") -> Iterator[Row]:
        repeated, collapses = self.images.repeated(), self._seen()
        names = [self.images.names[place] for place in window.places]
        scored = self.ensemble.score(
            names, window.files, batch_size=self.config.batch_size, workers=self.config.workers
        )
        for one in scored:
            row, place, file = one.row, window.places[one.index], window.files[one.index]
            if place in window.errors:
                row = replace(row, error=window.errors[place])
            if row.logits is not None:
                collapses.add(row.logits)
            if row.path in repeated:
                told = f"given {repeated[row.path]} times"
                row = replace(row, warning="; ".join(filter(None, (row.warning, told))))
            if self.more.names:
                row = replace(row, more=self.more.of(file))
            if heatmaps is not None and one.pixels is not None and heatmaps.lacks(place, row):
                heatmaps.draw(place, file, one.pixels, row)
            if self.sink is not None:
                self.sink.take(row.path, file, one, window.errors.get(place, ""))
            yield row

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `MORE` that a table of the rows has."""
        return (*(OF_STUDY if self.studies is not None else ()), *self.more.names)

    def told_rows(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows that are told: of images as they are, or of the studies that they make up."""
        if self.studies is not None:
            rows = self.studies.rows(rows, self.ensemble, self.config.aggregate)
        return map(self.failures.add, rows)

    def _seen(self) -> Collapses:
        if not self._collapses:
            self._collapses.append(Collapses(len(self.ensemble.labels)))
        return self._collapses[0]

    def tell_collapses(self) -> None:
        """Warn of labels whose scores were no scale on the images that were scored."""
        found = zip(self.ensemble.labels, self._seen().found(LEAST_IMAGES), strict=True)
        for text in collapse_warnings(dict(found)):
            self.reporter.warn(text)

    def heatmaps(self) -> "Heatmaps | None":
        """What draws the heat maps, where they are asked for."""
        if self.config.heatmaps is None or self.run is None:
            return None
        from cxrtool.inference.heatmaps import open_heatmaps

        first = self.place[0] == 0
        return open_heatmaps(self.config, self.run, self.ensemble, self.reporter, first=first)

    def result(
        self, *, scored: int, seconds: float, drawn: int, rows: Sequence[Row] = ()
    ) -> PredictResult:
        """What came of it, after so many images were scored (all, but for a resumed table)."""
        engine = self.ensemble.members[0].engine
        return PredictResult(
            model=self.ensemble.name,
            labels=self.ensemble.labels,
            thresholds=self.ensemble.thresholds,
            without=self.ensemble.without,
            judges=self.ensemble.judges,
            more=self.columns,
            rows=list(rows),
            images=len(self.images),
            studies=None if self.studies is None else len(self.studies.studies),
            laterals=0 if self.studies is None else self.studies.laterals,
            failures=self.failures,
            seconds=seconds,
            images_per_second=scored / seconds,
            output=self.config.output,
            engine={
                "name": engine.name,
                "device": engine.device,
                "precision": engine.precision,
            },
            heatmaps=self.config.heatmaps,
            drawn=drawn,
            dicom=None if self.sink is None else self.sink.finish(),
            writes=self.place[0] == 0,
        )
