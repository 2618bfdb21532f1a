"""What of a workspace a run is scored on: a part of the split, checked against its training."""

from dataclasses import dataclass, replace

import pandas as pd

from cxrtool.core.config import TruthConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, UsageError, first_few
from cxrtool.core.files import sha256
from cxrtool.core.names import name_of_policy
from cxrtool.core.run_cards import RunCard, read_card, remarks
from cxrtool.core.runs import RunFolder
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
from cxrtool.evaluation.truth import Known, check_seen


@dataclass(frozen=True)
class Part:
    """What of a workspace is scored: a part of the split, for one run."""

    run: RunFolder
    card: RunCard
    rows: pd.DataFrame
    protocol: Protocol
    info: DataInfo
    scores_stem: str
    """The name of the scores' file."""
    stem: str
    """The name of what is made of them: another protocol has another."""
    warnings: tuple[str, ...]


def choose_part(
    run: RunFolder, config: TruthConfig, workspace: Workspace, reporter: Reporter
) -> Part:
    """The rows that a run is scored on, checked against those that it was trained on.

    Raises:
        DataError: no such part, or it holds patients that the run was trained on.
        RunError: the run is incomplete or altered.
        UsageError: options that do not go together, or no such policy.
    """
    if config.unit == "image" and config.aggregate != TruthConfig.aggregate:
        raise UsageError(f"--aggregate {config.aggregate} goes with --unit study")
    card = read_card(run)
    manifest = read_manifest(workspace.need(workspace.manifest, "prepare"))
    unchanged = sha256(workspace.need(workspace.split, "split")) == card.split_sha256
    rows, by_image = _rows(config.split, card, manifest, workspace, unchanged=unchanged)
    reporter.detail(
        f"{run.path}: {card.arch}, trained on {len(card.train_patients):,} patients; "
        f"{len(rows):,} images in {config.split}"
    )
    info, fingerprint = workspace.read_data_info(), sha256(workspace.manifest)
    own = fingerprint == card.manifest_sha256
    itself, before = rows_seen_by(
        *(run, card, rows, config.split, workspace),
        own=own,
        workers=config.workers,
        reporter=reporter,
    )
    warnings = _check_published(card, info, config)
    known = Known(
        itself=itself, before=before, own_split=unchanged and own, by_image=by_image, own_data=own
    )
    warnings = [*remarks(run, card), *warnings, *check_seen(known, card, config)]
    warnings += [] if card.published else _check_starts(run, card, info)
    if trained_on_drawings(run) and not info.origin.drawn:
        warnings.append(TRAINED_ON_DRAWINGS)
    for text in warnings:
        reporter.warn(text)
    # Another data set's scores are kept beside those of the run's own, under another name.
    scores_stem = config.split if own else f"{config.split}-{fingerprint[:8]}"
    return Part(
        run=run,
        card=card,
        rows=rows,
        protocol=_protocol(
            protocol_of_rows(
                rows,
                info,
                policy=config.uncertainty or card.uncertainty,
                blank=config.blank or card.blank,
                by_image=by_image,
                trained_on=config.split == "train" or known.spoils or saw(card, info),
            ),
            card,
        ),
        info=info,
        scores_stem=scores_stem,
        stem="-".join([scores_stem, *_differing(config, card)]),
        warnings=tuple(warnings),
    )


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


def _protocol(protocol: Protocol, card: RunCard) -> Protocol:
    """Nobody's hold-out is that of a network whose training others chose."""
    return protocol if card.published is None else replace(protocol, name=OTHER)


def _check_published(card: RunCard, info: DataInfo, config: TruthConfig) -> list[str]:
    """Refuse, or warn of, patients that a published network may have seen.

    Raises:
        DataError: it was trained on this collection, and `config.force` is not given.
    """
    if card.published is None:
        return []
    name, words = card.published.name, card.published.words
    if saw(card, info):
        told = f"{name} was trained on {words}, and these images are of {info.origin.description}"
        if not config.force:
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


def _differing(config: TruthConfig, card: RunCard) -> list[str]:
    """What of the protocol is not as usual, for the names of files."""
    policy, blank = config.uncertainty or card.uncertainty, config.blank or card.blank
    found = [f"study-{config.aggregate}"] if config.unit == "study" else []
    found += [name_of_policy(policy, card.labels)] if policy != card.uncertainty else []
    return found + ([f"blank-{blank}"] if blank != card.blank else [])
