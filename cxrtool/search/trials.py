"""What a search leaves: trials.csv, best.yaml, its space, and pictures; and what is seen of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from optuna.trial import FrozenTrial, TrialState

from cxrtool.core.config import TrainConfig
from cxrtool.core.console import Reporter
from cxrtool.core.csv_tables import write_table
from cxrtool.core.files import whole_file, write_text
from cxrtool.core.numbers import duration, number, or_none
from cxrtool.search.sampler import AGAIN
from cxrtool.search.setup import Search
from cxrtool.search.space import Value, applied, as_yaml
from cxrtool.search.study import EPOCH, REASON, RUN, Study, has_ended, seconds_of
from cxrtool.training.recorder import settings_of

STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
SHORT = {
    **{"weight_decay": "decay", "plateau_patience": "plateau", "drop_rate": "drop"},
    **{"batch_size": "batch", "image_size": "size", "body_lr": "body lr"},
}
"""Headings that leave room for seven columns in 80."""


class TrialsTable:
    """The trials of a study as rows, and what the one that runs here last said."""

    def __init__(self, study: Study, search: Search) -> None:
        self.study, self.search = study, search
        self.names = list(search.space)
        self.current: int | None = None
        self._epoch, self._share, self._score = "", 0.0, None

    def begin(self, trial: int) -> None:
        """A trial begins here."""
        self.current = trial
        self._epoch, self._share, self._score = "starting", 0.0, None

    def heard(self, kind: str, value: Any) -> None:
        """The running trial said something."""
        if kind == "epoch":
            self._epoch = str(value)
        elif kind == "share":
            self._share = float(value)
        elif kind == "score":
            self._score = value
        elif kind == "ended":
            self.current = None

    def rows(self) -> list[dict[str, Any]]:
        """Each trial, by number."""
        return [self.row(one) for one in self.study.trials]

    def row(self, one: FrozenTrial) -> dict[str, Any]:
        """A trial for people and programs: numbers count from 1."""
        score = one.value if one.state == TrialState.COMPLETE else None
        best = one.intermediate_values.values()
        if one.state == TrialState.PRUNED:
            score = max(best, default=None)
        seconds = seconds_of(one)
        return {
            "trial": one.number + 1,
            "state": self.state(one),
            "valid_mean_auroc": None if score is None else or_none(float(score)),
            "best_epoch": one.user_attrs.get(EPOCH),
            "seconds": None if seconds is None else round(seconds, 1),
            "run": one.user_attrs.get(RUN),
            "reason": one.user_attrs.get(REASON),
            "values": {name: one.params.get(name) for name in self.names},
        }

    def state(self, one: FrozenTrial) -> str:
        """What became of a trial, in a word or two."""
        if one.state != TrialState.FAIL:
            return STATES[one.state]
        if has_ended(one):
            return "failed"
        point = one.user_attrs.get(AGAIN, one.number)
        later = [
            other.number
            for other in self.study.trials
            if other.user_attrs.get(AGAIN) == point and other.number > one.number
        ]
        return f"died, again as {later[0] + 1}" if later else "died"

    def headings(self) -> dict[str, str]:
        """The columns of the table that is seen, and their sides."""
        found = {"trial": "right"}
        found |= {SHORT.get(name, name): "right" for name in self.names}
        return {**found, "AUROC": "right", "epoch": "right", "time": "right", "state": "left"}

    def texts(self) -> list[list[str]]:
        """The rows of the table that is seen; what died and is done again is left out."""
        best = self.study.best()
        return [
            self._texts(one, best)
            for one in self.study.trials
            if not self.state(one).startswith("died")
        ]

    def _texts(self, one: FrozenTrial, best: FrozenTrial | None) -> list[str]:
        row = self.row(one)
        seconds = "" if row["seconds"] is None or not has_ended(one) else duration(row["seconds"])
        state = "best" if best is not None and one.number == best.number else row["state"]
        score = "" if row["valid_mean_auroc"] is None else number(row["valid_mean_auroc"], 4)
        return [
            str(row["trial"]),
            *(self.text(name, value) for name, value in row["values"].items()),
            score,
            "" if row["best_epoch"] is None else str(row["best_epoch"]),
            seconds,
            state,
        ]

    def text(self, name: str, value: Any) -> str:
        """A value, short enough for a table; empty where it has no effect."""
        if value is None:
            return ""
        if isinstance(value, float):
            return f"{value:.1e}" if 0 < abs(value) < 0.01 else f"{value:.3g}"
        return str(value)

    def status(self, wanted: int) -> str:
        """A line about what goes on."""
        told = []
        if self.current is not None:
            score = "" if self._score is None else f", AUROC {number(self._score, 4)}"
            told.append(f"trial {self.current + 1}: {self._epoch}{score}")
        told += self._best_and_left(wanted)
        return "; ".join(told)

    def line(self, trial: int, wanted: int) -> str:
        """A line about a trial that ended."""
        one = self.study.trial(trial)
        row = self.row(one)
        score = row["valid_mean_auroc"]
        told = row["state"] if score is None else f"valid AUROC {number(score, 4)}"
        told += ", pruned" if row["state"] == "pruned" else ""
        took = f" in {duration(row['seconds'])}" if row["seconds"] is not None else ""
        return "; ".join([f"trial {trial + 1}: {told}{took}", *self._best_and_left(wanted)])

    def begun(self, trial: int, values: Mapping[str, Value], training: TrainConfig) -> str:
        """A line about a trial that begins."""
        told = ", ".join(f"{name} {self.text(name, value)}" for name, value in values.items())
        again = f" (resumes run {training.resume})" if training.resume else ""
        return f"trial {trial + 1}: {told}{again}"

    def _best_and_left(self, wanted: int) -> list[str]:
        told = []
        best = self.study.best()
        if best is not None:
            told.append(f"best {number(best.value, 4)} (trial {best.number + 1})")
        ended = self.study.finished()
        left = max(min(wanted, self.search.most) - len(ended), 0)
        took = [seconds for one in ended if (seconds := seconds_of(one)) is not None]
        if left and took:
            share = self._share if self.current is not None else 0.0
            told.append(f"about {duration((left - share) * sum(took) / len(took))} left")
        return told


def write_study(study: Study, search: Search, table: TrialsTable) -> list[Path]:
    """Write trials.csv, the space, and the best trial's options; the best first."""
    folder = search.folder
    folder.path.mkdir(parents=True, exist_ok=True)
    rows = [
        {**{key: value for key, value in row.items() if key != "values"}, **row["values"]}
        for row in table.rows()
    ]
    names = ["trial", "state", "valid_mean_auroc", "best_epoch", "seconds", "run", "reason"]
    # Of several, and with blanks: pandas would make whole numbers with blanks 3.0.
    frame = pd.DataFrame(rows, columns=[*names, *table.names], dtype=object)
    write_table(frame, folder.trials)
    write_text(folder.space, yaml.safe_dump(as_yaml(search.space), sort_keys=False))
    best = study.best()
    if best is None:
        return [folder.trials]
    training = applied(search.training, best.params).resolved()
    settings = yaml.safe_dump(settings_of(training, search.seed), sort_keys=False)
    head = (
        f"# The best of {len(study.finished())} trials of study {folder.name}: trial "
        f"{best.number + 1}, mean AUROC {number(best.value, 4)}\n"
        f"# on {search.selected_on}, by which it was chosen: such a score is too good.\n"
        f"# cxrtool train --config {folder.best.name}\n"
    )
    write_text(folder.best, head + settings)
    return [folder.best, folder.trials]


def draw_study(study: Study, search: Search, reporter: Reporter) -> list[Path]:
    """Draw the history, the importances and the slices, as far as the trials allow."""
    from cxrtool.search.figures import draw_history, draw_importances, draw_slices, importances

    scored = [one for one in study.trials if one.state == TrialState.COMPLETE]
    if not scored:
        return []
    folder = search.folder.figures
    paths = [folder / "history.png", folder / "slices.png"]
    with whole_file(paths[0]) as path:
        draw_history([one for one in study.trials if has_ended(one)], path)
    with whole_file(paths[1]) as path:
        draw_slices(scored, search.space, path)
    shares = importances(study.optuna, search.space, search.seed)
    if shares is None:
        reporter.note("parameter importances need four or more finished trials of different scores")
        return paths
    with whole_file(folder / "importances.png") as path:
        draw_importances(shares, len(scored), path)
    return [*paths, folder / "importances.png"]
