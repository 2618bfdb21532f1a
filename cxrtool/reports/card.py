"""What a page says beside the figures of an evaluation: of the model and of the data."""

from dataclasses import dataclass, field

from cxrtool.reports.failures import Failures
from cxrtool.reports.flow import Flow
from cxrtool.reports.table_one import TableOne


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the page says of the model and the data: of what is empty it says "not known"."""

    title: str
    """The run's name, or the file's."""
    data: dict[str, str] = field(default_factory=dict)
    recipe: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    """Versions, device, commit, SHA-256 of weights, manifest and split."""
    compute: dict[str, str] = field(default_factory=dict)
    """What the training took."""
    flow: Flow | None = None
    as_trained: bool = True
    """Whether the flow's parts are those that the run was trained with."""
    table_one: TableOne | None = None
    failures: Failures | None = None
    command: str | None = None
    """The one that made the page."""
