"""A run's folder: every path in it, and which of a workspace's runs is meant.

None of a search's trials is meant where no run is named.
"""

import csv
import io
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cxrtool.core.errors import RunError, counted, did_you_mean, first_few, near_names
from cxrtool.core.files import read_text
from cxrtool.core.json_files import read_json
from cxrtool.core.unicode_forms import on_disk
from cxrtool.core.workspace import Inside, NamedFolder, Workspace

LATEST = 10**11
"""Seconds since 1970: no run finishes after the year 5138, where dates have their end, too."""
STUDY = "study"
"""The key of a run's environment.json that names the search whose trial it is; null: none."""


@dataclass(frozen=True)
class ScoresFolder(NamedFolder):
    """What scores leave: in a run's folder, and in those of other data sets inside it."""

    def predictions(self, split: str) -> Path:
        """The probabilities on a split."""
        return self.path / "predictions" / f"{split}.csv"

    def predictions_facts(self, split: str) -> Path:
        """Of which weights the probabilities on a split are."""
        return self.path / "predictions" / f"{split}.json"

    def metrics(self, split: str) -> Path:
        """The scores on a split."""
        return self.path / "metrics" / f"{split}.json"

    def score_figures(self, split: str) -> Path:
        """The folder of pictures of the scores on a split."""
        return self.path / "figures" / split

    def report(self, split: str) -> Path:
        """The page about the scores on a split: of test, the run's own."""
        return self.path / ("report.html" if split == "test" else f"report-{split}.html")


@dataclass(frozen=True)
class RunFolder(ScoresFolder):
    """The paths in `runs/<name>/`. `model.json` is written last: with it the run is finished."""

    config = Inside("config.yaml")
    """All options of the training, as a file for `train --config`."""
    environment = Inside("environment.json")
    """Versions, device, and fingerprints of manifest and split."""
    labels = Inside("labels.json")
    """The labels in the order of the logits, and the policies."""
    history = Inside("history.csv")
    """A row an epoch."""
    weights = Inside("model.safetensors")
    """The best epoch's weights."""
    model = Inside("model.json")
    """What the weights are weights of, and the other files' SHA-256."""
    thresholds = Inside("thresholds.json")
    """Each label's operating point."""
    patients = Inside("patients.json")
    """Whom it was trained and chosen on, so that nobody is tested on them by mistake."""
    cohort = Inside("cohort.json")
    """In place of the two around it, of a run that was a pack: how many patients, and no more."""
    pictures = Inside("pictures.safetensors")
    """The fingerprints of the images that it, or what it began from, has seen."""
    curves = Inside("figures", "curves.png")
    """Losses, scores and learning rate over the training."""
    checkpoints = Inside("checkpoint")
    """What `train --resume` continues from."""
    checkpoint = Inside("checkpoint", "last.safetensors")
    """The last state of the training."""
    graphs = Inside("graphs")
    """The network's graphs for engines other than torch."""

    def external(self, name: str) -> ScoresFolder:
        """Where the scores on another data set are."""
        return ScoresFolder(self.path / "external" / name)

    def best(self, step: int) -> Path:
        """The weights that were the best so far, after so many steps, during the training."""
        return self.checkpoints / f"best-{step}.safetensors"

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return self.model.is_file()

    @property
    def never_began(self) -> bool:
        """Whether nothing is in it but settings and what it was to see.

        Training was killed before its first checkpoint then. `train --resume` begins it from the
        settings, and a new run may take its name.
        """
        folders = (self.path, self.checkpoints)
        inside = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
        settings = (self.config, self.environment, self.checkpoints, self.patients, self.pictures)
        return self.path.is_dir() and all(
            path in settings or path.name.startswith(".") for path in inside
        )


def run_folders(runs: Path) -> list[RunFolder]:
    """The folders in `runs/` by name, finished or not; hidden ones are not looked at."""
    return [RunFolder(path) for path in sorted(runs.glob("*/")) if not path.name.startswith(".")]


def find_run(runs: Path, given: str | None) -> RunFolder:
    """The run that a user means: a name, a path, or (`None`, `last`) the last finished run.

    Raises:
        RunError: there is none such; the message names those there are.
    """
    there = run_folders(runs)
    if given not in (None, "last"):
        named = named_run(runs, str(given))
        if named is not None:
            return named
        if given and (path := Path(given).resolve()).is_dir():
            return RunFolder(path)
        raise RunError(_no_such_run(runs, str(given), [run.name for run in there]))
    finished = [run for run in there if run.finished]
    trials = trials_among(run.path for run in finished)
    if trials and len(trials) == len(finished):
        raise RunError(_only_trials(runs, trials))
    finished = [run for run in finished if run.name not in trials]
    if not finished:
        began = f" ({len(there)} did not finish)" if there else ""
        raise RunError(Workspace(runs.parent).lacks(f"no finished run in {runs}{began}", "train"))
    return max(finished, key=lambda run: (finished_at(run), run.name))


def named_run(runs: Path, given: str) -> RunFolder | None:
    """The run that has a name, if one has: it comes before what is so called where the user is."""
    folder = on_disk(runs / given) if given and given == Path(given).name else None
    return RunFolder(folder) if folder is not None and folder.is_dir() else None


def finished_at(run: RunFolder) -> float:
    """When a finished run came to its end, in seconds since 1970.

    As its model.json says, which a copy of the folder does not change; else by the file's time.
    """
    try:
        finished = datetime.fromisoformat(read_json(run.model)["finished"]).timestamp()
        return finished if 0 < finished < LATEST else run.model.stat().st_mtime
    except (RunError, KeyError, TypeError, ValueError, OverflowError, OSError):
        return run.model.stat().st_mtime


def _no_such_run(runs: Path, given: str, names: list[str]) -> str:
    """The message for a name that no run has: near ones, all that there are, or none at all."""
    if names:
        near = did_you_mean(near_names(given, names))
        return f"no run {given!r} in {runs}{near}; there are: {first_few(names, 8)}"
    workspace = Workspace(runs.parent)
    if workspace.folder.exists():
        return workspace.lacks(f"no run {given!r} in {runs}", "train")
    return f"no run {given!r}: {workspace.lacks('', 'train')}"


def _only_trials(runs: Path, trials: dict[str, str]) -> str:
    """The message where a search left all finished runs, the worst ones too."""
    studies = runs.parent / "studies"
    named = {study: best_trial(studies / study, trials) for study in sorted({*trials.values()})}
    best = [f"{run} is the best of study {study}" for study, run in named.items() if run]
    return (
        f"all that is finished in {runs} ({counted(len(trials), 'run')}) is a search's trials, "
        f"good and bad ones: name a run{f' ({first_few(best)})' if best else ''}"
    )


def find_resumable(runs: Path, given: str) -> RunFolder:
    """The run to resume: a name, a path, or `last`, the one that was last at work.

    Raises:
        RunError: there is none such, or it has no checkpoint.
    """
    if given == "last":
        dated = {run: _last_at_work(run) for run in run_folders(runs)}
        begun = [run for run, when in dated.items() if when is not None]
        trials = trials_among(run.path for run in begun)
        begun = [run for run in begun if run.name not in trials]
        if not begun:
            more = " but trials, which `tune --resume` continues" if trials else ""
            raise RunError(
                f"no run in {runs} has a checkpoint to resume from{more}: train without --resume"
            )
        return max(begun, key=lambda run: (dated[run] or 0, run.name))
    run = find_run(runs, given)
    if run.never_began and not run.config.is_file():
        raise RunError(
            f"{run.path} was killed before its settings were written: give the command that began "
            "it again, which takes its name"
        )
    # What is there and no file is named where it is read.
    if run.finished and not run.checkpoint.exists():
        raise RunError(
            f"{run.path} has no checkpoint to resume from: it is finished, and finished runs keep "
            "one only with --keep-checkpoint. Begin a new run from its weights (`cxrtool train "
            f"--weights {run.name}`), and give --keep-checkpoint to one that is to be extended"
        )
    if not (run.checkpoint.exists() or run.never_began):
        raise RunError(
            f"{run.path} has no checkpoint to resume from ({run.checkpoint.name} is missing): "
            "train again, or start from its weights with --weights"
        )
    return run


def _last_at_work(run: RunFolder) -> int | None:
    """When a run that can be resumed was written to; None for another."""
    if run.checkpoint.is_file():
        return run.checkpoint.stat().st_mtime_ns
    return run.config.stat().st_mtime_ns if run.never_began and run.config.is_file() else None


def trials_among(folders: Iterable[Path]) -> dict[str, str]:
    """The runs that a search trained last, by name, each with its study.

    Args:
        folders: of runs of one workspace; one whose files cannot be read is not one.
    """
    found: dict[str, str] = {}
    listed: dict[str, str] | None = None
    for folder in folders:
        known: dict[str, object] = {}
        with suppress(RunError):
            known = read_json(RunFolder(folder).environment)
        if STUDY in known:
            study = known[STUDY]
        else:  # version 0.1 said so in the study's table alone
            if listed is None:
                studies = sorted((folder.parents[1] / "studies").glob("*/"))
                listed = {row.get("run") or "": one.name for one in studies for row in _rows(one)}
            study = listed.get(folder.name)
        if study is not None:
            found[folder.name] = str(study)
    return found


def best_trial(study: Path, names: Iterable[str]) -> str | None:
    """The run of a study's best finished trial, if it is among `names`."""
    there = set(names)
    scored = [
        (float(row["valid_mean_auroc"]), row["run"])
        for row in _rows(study)
        if row.get("state") == "finished" and row.get("run") in there and _is_score(row)
    ]
    # Of equals the first, as the search itself has it.
    return max(scored, key=lambda one: one[0])[1] if scored else None


def _is_score(row: dict[str, str]) -> bool:
    try:
        return 0 <= float(row.get("valid_mean_auroc") or "nan") <= 1
    except ValueError:
        return False


def _rows(study: Path) -> list[dict[str, str]]:
    """The rows of a study's table; none, where it cannot be read."""
    try:
        return list(csv.DictReader(io.StringIO(read_text(study / "trials.csv"), newline="")))
    except (OSError, ValueError, csv.Error):
        return []
