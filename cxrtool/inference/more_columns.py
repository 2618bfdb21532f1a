"""What rows have on request: the image's identifiers, and what its scores were made with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cxrtool import __version__
from cxrtool.core.errors import DataError, first_few
from cxrtool.data.prediction_rows import IDS, PROVENANCE, SEPARATOR, Row
from cxrtool.images.dicom.instance_ids import read_instance_ids
from cxrtool.inference.ensemble import Ensemble

UNKNOWN_RULE = "not known"
BETWEEN_MODELS = " + "


@dataclass(frozen=True, kw_only=True)
class MoreColumns:
    """The columns that are asked for, and their values for an image."""

    ids: bool = False
    """Whether identifiers are read: without this, nothing of the file but its image is."""
    made_with: Mapping[str, str] = field(default_factory=dict)
    """What all rows of the models have in common."""

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of a table."""
        return (*(IDS if self.ids else ()), *(PROVENANCE if self.made_with else ()))

    def of(self, file: Path | str) -> dict[str, str]:
        """The values of an image that was scored just now."""
        found = _ids(file) if self.ids else {}
        if self.made_with:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            found |= {**self.made_with, PROVENANCE[-1]: now}
        return found

    def check(self, labels: Sequence[str], more: Sequence[str] = ()) -> None:
        """Refuse labels that are called like a column.

        Raises:
            DataError: there are such.
        """
        if twice := sorted({*self.names, *more} & set(labels)):
            raise DataError(
                f"labels of the model are called like columns of the table ({first_few(twice)}): "
                "leave out the option that adds these columns"
            )


def columns_asked(ensemble: Ensemble, *, ids: bool, provenance: bool) -> MoreColumns:
    """The columns for the rows of these models."""
    return MoreColumns(ids=ids, made_with=provenance_of(ensemble) if provenance else {})


def provenance_of(ensemble: Ensemble) -> dict[str, str]:
    """What an ensemble's rows are made with; all of `PROVENANCE` but the time."""
    members = ensemble.members
    rules = dict.fromkeys(one.operating_point or UNKNOWN_RULE for one in members)
    name, weights, rule, thresholds, version, _ = PROVENANCE
    return {
        name: ensemble.name,
        weights: BETWEEN_MODELS.join(one.fingerprint for one in members),
        rule: BETWEEN_MODELS.join(rules),
        thresholds: SEPARATOR.join(
            f"{label}={limit!r}"
            for label, limit in ensemble.thresholds.items()
            if limit is not None
        ),
        version: __version__,
    }


def joined(rows: Sequence[Row]) -> dict[str, str]:
    """The values of several images as one's: different ones with `;` between, the last time."""
    names = dict.fromkeys(name for row in rows for name in row.more)
    found = {
        name: SEPARATOR.join(dict.fromkeys(filter(None, (row.more.get(name) for row in rows))))
        for name in names
    }
    if PROVENANCE[-1] in names:
        found[PROVENANCE[-1]] = max(row.more[PROVENANCE[-1]] for row in rows)
    return found


def _ids(file: Path | str) -> dict[str, str]:
    """An image's identifiers; empty where it is no DICOM, or does not say them."""
    known = read_instance_ids(file)
    return dict(zip(IDS, known[: len(IDS)] if known else [""] * len(IDS), strict=True))
