"""A table of predictions that is written as it is made, and can be resumed."""

import hashlib
import json
import time
from pathlib import Path

from cxrtool.core.errors import CxrToolError, DataError, StoppedError
from cxrtool.data.prediction_rows import OF_STUDY, Row, decide, read_rows, write_rows
from cxrtool.inference.ensemble import Ensemble
from cxrtool.inference.journal import Journal
from cxrtool.inference.work import PredictResult, Work

SAMPLE = 8
"""Rows of a finished table that are scored again, to see that the model is the same."""
TOLERANCE = 0.03
"""How far apart the same model's probabilities may lie: bf16 has 8 bits."""


def write_table(work: Work, output: Path) -> PredictResult:
    """Score what is not done, keeping a journal, and write the table.

    Raises:
        DataError: the table to resume is another model's, or the disk is full.
        StoppedError: Ctrl-C; the journal stays.
    """
    journal = Journal(output, _made_with(work), work.ensemble.labels)
    rank, world = work.place
    heatmaps = work.heatmaps()
    if rank == 0:
        if not work.config.resume:
            journal.remove()
        elif output.exists() and not journal.files:
            _take_over(work, journal, output)
    work.wait()
    journal.read()
    left, retried = work.left(journal, heatmaps), work.failed(journal)
    work.wait()  # until all have read it: they share what is left by its order
    if work.config.resume:
        done = len(work.images) - len(left) - len(retried)
        work.reporter.note(f"{done:,} of {len(work.images):,} images are done")
    started = time.perf_counter()
    try:
        with journal.writing(rank) as write:
            # In the batches of an undisturbed run: in others a network's last digits differ.
            batches = work.batches(left)
            mine = [place for batch in batches[rank::world] for place in batch]
            for row in work.rows(mine, heatmaps):
                if not journal.done(row.path):
                    write(row)
            for row in work.rows(retried[rank::world], heatmaps):
                write(row)
    except KeyboardInterrupt:
        raise StoppedError(
            f"stopped after {len(journal):,} of {len(work.images):,} images; the same command "
            "with --resume goes on"
        ) from None
    work.wait()
    seconds = time.perf_counter() - started
    work.tell_collapses()
    if rank == 0:
        _finish(work, journal, output)
    return work.result(
        scored=len(left) + len(retried),
        seconds=seconds,
        drawn=0 if heatmaps is None else heatmaps.drawn,
    )


def _finish(work: Work, journal: Journal, output: Path) -> None:
    """Make the journal of all processes a table, in the images' order."""
    journal.read()
    names, ensemble = work.images.names, work.ensemble
    try:
        write_rows(
            work.told_rows(journal.rows(names)),
            output,
            ensemble.labels,
            verdicts=ensemble.judges,
            more=work.columns,
        )
    except OSError as error:
        raise DataError(
            f"{output}: {error.strerror}; all rows are kept, and --resume writes them"
        ) from None
    journal.remove()


def _made_with(work: Work) -> dict[str, str]:
    """What rows must have been made with to stand in one table."""
    ensemble = work.ensemble
    limits = [ensemble.thresholds, *([ensemble.limits] if ensemble.judges else [])]
    # Without verdicts it is what version 0.1 wrote.
    thresholds = json.dumps(limits if ensemble.judges else limits[0], sort_keys=True)
    more = {"added columns": ", ".join(work.more.names)} if work.more.names else {}
    return {
        "model": " + ".join(member.fingerprint for member in ensemble.members),
        "engine": ", ".join(member.description for member in ensemble.members),
        "set of thresholds": hashlib.sha256(thresholds.encode()).hexdigest(),
        "--tta": "on" if ensemble.tta else "off",
    } | more


def _take_over(work: Work, journal: Journal, output: Path) -> None:
    """Put a finished table's rows into the journal, if this model made them.

    Nothing is in it before that is known: what a kill left there would be taken for this model's.

    Raises:
        DataError: it did not, or it is another table.
    """
    ensemble = work.ensemble
    places = {name: place for place, name in enumerate(work.images.names)}
    sample: list[Row] = []
    for row in read_rows(output, ensemble.labels):
        _check_columns(work, output, row)
        if not _same_decision(row, ensemble):
            raise DataError(
                f"{output}: {row.path} was decided by other thresholds: --resume needs "
                "the same ones, --force begins anew"
            )
        sample += [row] * (row.path in places and row.scores is not None and len(sample) < SAMPLE)
    names = [row.path for row in sample]
    for window in work.images.windows([places[name] for name in names], SAMPLE):
        again = ensemble.score(names, window.files, workers=0)
        for row, one in zip(sample, again, strict=True):
            _compare(output, row, one.row)
    try:
        with journal.writing("before") as write:
            for row in read_rows(output, ensemble.labels):
                if row.path in places:
                    write(row)
    except CxrToolError:
        journal.remove()
        raise


def _check_columns(work: Work, output: Path, row: Row) -> None:
    """Refuse a table of studies, whose images' rows are gone, and one with other columns."""
    if work.studies is not None or OF_STUDY[0] in row.more:
        raise DataError(
            f"{output} is finished, and a table of studies cannot be added to: name another, or "
            "--force begins anew"
        )
    if tuple(row.more) != work.columns:
        raise DataError(
            f"{output} was made with other columns: --resume needs the same --ids and "
            "--provenance, --force begins anew"
        )


def _same_decision(row: Row, ensemble: Ensemble) -> bool:
    """Whether this model's thresholds call a row what it was called; without scores, nothing."""
    if row.scores is None:
        return True
    positive = decide(row.scores, ensemble.labels, ensemble.thresholds, row.warning)
    return (row.positive, row.verdicts) == (positive, ensemble.judged(row.scores, row.warning))


def _compare(output: Path, row: Row, again: Row) -> None:
    if again.scores is None or row.scores is None:  # the image is gone; its row stays
        return
    apart = max(abs(a - b) for a, b in zip(again.scores, row.scores, strict=True))
    if apart > TOLERANCE:
        raise DataError(
            f"{output}: this model gives {row.path} other probabilities (up to {apart:.2f} apart): "
            "--resume needs the same model, --force begins anew"
        )
