"""What is wrong with a data set, collected while it is looked at and told once."""

from collections.abc import Sequence

import pandas as pd

COLUMNS = ("kind", "where", "detail", "kept")


class Problems:
    """The problems of a data set, in the order of their discovery.

    `kept` says whether the row or image stays in the manifest all the same.
    """

    def __init__(self) -> None:
        self._parts: list[pd.DataFrame] = []

    def add(
        self, kind: str, where: Sequence[object], detail: str | Sequence[object], *, kept: bool
    ) -> None:
        """Note problems of one kind: where each is, and what it is (one text, or one each)."""
        if not len(where):
            return
        details = [detail] * len(where) if isinstance(detail, str) else [str(d) for d in detail]
        part = pd.DataFrame({"kind": kind, "where": [str(w) for w in where], "detail": details})
        self._parts.append(part.assign(kept="yes" if kept else "no"))

    def table(self) -> pd.DataFrame:
        """A row a problem: `kind, where, detail, kept`, all text."""
        if not self._parts:
            return pd.DataFrame(columns=list(COLUMNS), dtype=str)
        return pd.concat(self._parts, ignore_index=True)

    def counts(self, *, kept: bool | None = None) -> dict[str, int]:
        """How many problems of each kind there are; with `kept`, only those that (do not) stay."""
        table = self.table()
        if kept is not None:
            table = table[table["kept"] == ("yes" if kept else "no")]
        return {str(kind): len(rows) for kind, rows in table.groupby("kind", sort=False)}
