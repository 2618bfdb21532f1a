"""What a run is scored on, a part of the split or another data set, and whether it has seen it."""

import hashlib
from dataclasses import dataclass, replace

import pandas as pd

from cxrtool.core.config import TruthConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, first_few
from cxrtool.core.files import sha256
from cxrtool.core.names import name_of_policy, plain_name
from cxrtool.core.run_cards import RunCard, read_card, remarks
from cxrtool.core.runs import RunFolder, ScoresFolder
from cxrtool.core.start_cards import start_that_saw
from cxrtool.core.workspace import DataInfo, Workspace
from cxrtool.data.manifest import (
    label_columns,
    patients_in_two_splits,
    read_manifest,
    read_split,
)
from cxrtool.data.provenance import TRAINED_ON_DRAWINGS, trained_on_drawings
from cxrtool.data.seen import rows_seen_by
from cxrtool.evaluation.protocol import OTHER, Protocol, protocol_of_rows
from cxrtool.evaluation.sample import check_unit
from cxrtool.evaluation.shared_labels import SharedLabels, share_labels
from cxrtool.evaluation.truth import Known, check_part, check_seen

ALL, ANOTHER = "all", "another data set"
"""The names of the files of scores on all of another data set, and of what it is no part of."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is scored of a run: a part of the split of its workspace, or another data set."""

    run: RunFolder
    card: RunCard
    workspace: Workspace
    """Where the data were prepared."""
    place: ScoresFolder
    """Where its scores are kept, and what is made of them."""
    name: str
    """In messages."""
    split: str | None
    """The part of the split; None for another data set."""
    rows: pd.DataFrame
    protocol: Protocol
    info: DataInfo
    scores_stem: str
    """The name of the scores' file."""
    stem: str
    """The name of what is made of them: another protocol has another."""
    warnings: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    """Those of the run's labels that are scored; None: all."""


def choose_part(
    run: RunFolder, config: TruthConfig, workspace: Workspace, reporter: Reporter
) -> Part:
    """The rows that a run is scored on, checked against those that it was trained on.

    Raises:
        DataError: no such part, or it holds patients that the run was trained on.
        RunError: the run is incomplete or altered.
        UsageError: options that do not go together, or no such policy.
    """
    check_unit(config.unit, config.aggregate)
    card = read_card(run)
    manifest = read_manifest(workspace.need(workspace.manifest, "prepare"))
    unchanged = sha256(workspace.need(workspace.split, "split")) == card.split_sha256
    rows, by_image = _rows(config.split, card, manifest, workspace, unchanged=unchanged)
    reporter.detail(
        f"{run.path}: {card.arch}, trained on {card.cohort.train:,} patients; "
        f"{len(rows):,} images in {config.split}"
    )
    info, fingerprint = workspace.read_data_info(), sha256(workspace.manifest)
    own = fingerprint == card.manifest_sha256
    seen = rows_seen_by(
        *(run, card, rows, config.split, workspace),
        own=own,
        workers=config.workers,
        reporter=reporter,
    )
    known = Known(seen=seen, own_split=unchanged and own, by_image=by_image, own_data=own)
    warnings = _check_published(card, info, force=config.force)
    warnings += check_part(known, card, config.split, force=config.force)
    # Another data set's scores are kept beside those of the run's own, under another name.
    scores_stem = config.split if own else f"{config.split}-{fingerprint[:8]}"
    trained_on = config.split == "train" or known.spoils or saw(card, info)
    return Part(
        run=run,
        card=card,
        workspace=workspace,
        place=run,
        name=config.split,
        split=config.split,
        rows=rows,
        protocol=protocol_of_part(
            rows, info, card, config, by_image=by_image, trained_on=trained_on
        ),
        info=info,
        scores_stem=scores_stem,
        stem=stem_of(scores_stem, config, card),
        warnings=told_warnings(run, card, info, warnings, reporter),
    )


def choose_external(
    run: RunFolder,
    card: RunCard,
    data: Workspace,
    name: str,
    config: TruthConfig,
    reporter: Reporter,
) -> tuple[Part, SharedLabels]:
    """All images of another data set, with the labels that a run has too.

    Args:
        run: a finished one.
        card: its own.
        data: the data set, prepared.
        name: what it is called.
        config: how it is scored.
        reporter: told what is to be known of the scores.

    Raises:
        DataError: no label in common, or it holds what the run was trained on.
        UsageError: no such policy.
    """
    check_unit(config.unit, config.aggregate)
    info = data.read_data_info()
    rows, labels = share_labels(card.labels, read_manifest(data.manifest), name)
    seen = rows_seen_by(
        *(run, card, rows, ANOTHER, data), own=False, workers=config.workers, reporter=reporter
    )
    known = Known(seen=seen, own_split=False, by_image=False, own_data=False)
    warnings = _check_published(card, info, force=config.force)
    warnings += check_seen(known, card, name, force=config.force)
    part = Part(
        run=run,
        card=card,
        workspace=data,
        # Known by its rows and, where they were decoded, its pictures: what changed is scored anew.
        place=run.external(f"{plain_name(name)}-{_fingerprint(data)}"),
        name=name,
        split=None,
        rows=rows,
        protocol=protocol_of_part(
            rows, info, card, config, by_image=False, trained_on=known.spoils or saw(card, info)
        ),
        info=info,
        scores_stem=ALL,
        stem=stem_of(ALL, config, card),
        warnings=told_warnings(run, card, info, warnings, reporter),
        labels=labels.common,
    )
    return part, labels


def own_workspace(run: RunFolder, card: RunCard, workspace: Workspace) -> Workspace | None:
    """Where a run was trained: this workspace, or the one that its folder is in; None: neither."""
    for one in (workspace, Workspace(run.path.parent.parent)):
        if one.manifest.is_file() and sha256(one.manifest) == card.manifest_sha256:
            return one
    return None


def _fingerprint(data: Workspace) -> str:
    files = [data.manifest, *([data.pictures] if data.pictures.is_file() else [])]
    return hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()[:8]


def told_warnings(
    run: RunFolder, card: RunCard, info: DataInfo, found: list[str], reporter: Reporter
) -> tuple[str, ...]:
    """What was found of the rows, amid what is to be known of the run; all of it is told."""
    warnings = [*remarks(run, card), *found]
    warnings += [] if card.published else _check_starts(run, card, info)
    if trained_on_drawings(run) and not info.origin.drawn:
        warnings.append(TRAINED_ON_DRAWINGS)
    for text in warnings:
        reporter.warn(text)
    return tuple(warnings)


def _check_starts(run: RunFolder, card: RunCard, info: DataInfo) -> list[str]:
    """Warn of patients that published weights may have seen, from which a run began in the end."""
    names = dict.fromkeys(one.name for one in card.ancestors)
    starts = [start_that_saw(name, info.origin.registers) for name in names]
    return [
        f"{run.name} began from {start.name}, which was trained on {start.trained_words}, and "
        f"these images are of {info.origin.description}: it may have seen these patients, and the "
        "scores are too good then"
        for start in starts
        if start is not None
    ]


def saw(card: RunCard, info: DataInfo) -> bool:
    """Whether a published network was trained on the collection that these images are of."""
    return card.published is not None and not set(card.published.trained_on).isdisjoint(
        info.origin.registers
    )


def protocol_of_part(
    rows: pd.DataFrame,
    info: DataInfo,
    card: RunCard,
    config: TruthConfig,
    *,
    by_image: bool,
    trained_on: bool,
) -> Protocol:
    """What a run's scores on some rows are scores of."""
    protocol = protocol_of_rows(
        rows,
        info,
        policy=config.uncertainty or card.uncertainty,
        blank=config.blank or card.blank,
        by_image=by_image,
        trained_on=trained_on,
    )
    # Nobody's hold-out is that of a network whose training others chose.
    return protocol if card.published is None else replace(protocol, name=OTHER)


def _check_published(card: RunCard, info: DataInfo, *, force: bool) -> list[str]:
    """Refuse, or warn of, patients that a published network may have seen.

    Raises:
        DataError: it was trained on this collection, and `force` is not given.
    """
    if card.published is None:
        return []
    name, words = card.published.name, card.published.words
    if saw(card, info):
        told = f"{name} was trained on {words}, and these images are of {info.origin.description}"
        if not force:
            raise DataError(
                f"{told}: which of the patients it has seen is not published, so its scores would "
                "be too good. Score it on other data, or pass --force to score all the same"
            )
        return [f"{told}: the scores are too good"]
    if info.dataset in card.published.trained_on and not info.origin.drawn:
        return [
            f"{name} was trained on {words}, and these data are laid out as {info.dataset}: where "
            "they are a part of it, the scores are too good"
        ]
    return []


def _rows(
    part: str, card: RunCard, manifest: pd.DataFrame, workspace: Workspace, *, unchanged: bool
) -> tuple[pd.DataFrame, bool]:
    """The rows of a part, and whether the split parts images and not patients."""
    absent = [label for label in card.labels if label not in label_columns(manifest)]
    # A published network has labels of its own; those that the data lack are left undefined.
    if absent and (card.published is None or len(absent) == len(card.labels)):
        raise DataError(f"{workspace.manifest} lacks the run's labels {first_few(absent)}")
    # A run that was trained on folds has its own valid part; another split knows no such fold.
    fold = card.fold if unchanged and part in ("train", "valid") else None
    split = read_split(workspace.split, manifest, fold)
    rows = manifest[split == part].reset_index(drop=True)
    if rows.empty:
        raise DataError(f"{workspace.split}: no image is in {part}")
    parts = pd.DataFrame({"patient_id": manifest["patient_id"], "split": split})
    return rows, patients_in_two_splits(parts) > 0


def stem_of(stem: str, config: TruthConfig, card: RunCard) -> str:
    """The name of files, with what of the protocol is not as usual."""
    policy, blank = config.uncertainty or card.uncertainty, config.blank or card.blank
    found = [f"study-{config.aggregate}"] if config.unit == "study" else []
    found += [name_of_policy(policy, card.labels)] if policy != card.uncertainty else []
    found += [f"blank-{blank}"] if blank != card.blank else []
    return "-".join([stem, *found])
