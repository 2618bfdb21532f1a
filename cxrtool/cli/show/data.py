"""What `prepare` and `split` print: the data set's counts, and the parts of its split."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from cxrtool.core.config import CommonConfig
from cxrtool.core.console import (
    PLAIN_WIDTH,
    next_command,
    print_line,
    print_table,
    table,
    without_tables,
)
from cxrtool.core.errors import counted

if TYPE_CHECKING:  # for the annotations alone: show must stay light to import
    from cxrtool.core.workspace import Workspace
    from cxrtool.data.reader_labels import ReaderSummary
    from cxrtool.data.summary import PrepareResult
    from cxrtool.workflows.split import SplitResult


def prepared(result: PrepareResult, workspace: Workspace, common: CommonConfig) -> None:
    """The data set's counts."""
    if without_tables(result, common):
        return
    readers = result.readers
    read = f"{result.rows:,} rows" if readers is None else f"{readers.rows:,} rows of readers"
    print_line(f"{read} read; {result.images:,} images of {result.patients:,} patients kept")
    print_line(textwrap.fill(f"images: {result.origin.description}", PLAIN_WIDTH))
    labels_by = " and ".join(result.labels_by.values())
    blank = f"labels: by {labels_by}; what they leave open is {result.blank}"
    print_line(textwrap.fill(blank, PLAIN_WIDTH))
    columns = {"sex": result.sex, "age": result.age, "view": result.view}
    counts = [
        [name, value, f"{count:,}"]
        for name, values in (columns | {"AP/PA": result.orientation}).items()
        for value, count in values.items()
    ]
    sides = {"column": "left", "value": "left", "rows": "right"}
    print_table(table("All rows read" if readers is None else "All images read", sides, counts))
    if readers is not None:
        _show_readers(readers)
    kinds = list(next(iter(result.labels.values()), {}))
    rows = [
        [label, *(f"{values[kind]:,}" for kind in kinds)] for label, values in result.labels.items()
    ]
    headings = {"label": "left", **dict.fromkeys(kinds, "right")}
    print_table(table("Images kept", headings, rows))
    if result.mean is None:
        print_line("pixels: not decoded, so training is not possible yet (--check-images full)")
    else:
        print_line(f"pixels: mean {result.mean:.4f}, standard deviation {result.std:.4f} (0 to 1)")
    if result.problems:
        found = [
            [kind, f"{count:,}", "kept" if kind in result.kept_problems else "left out"]
            for kind, count in result.problems.items()
        ]
        sides = {"problem": "left", "how many": "right", "rows or images": "left"}
        print_table(table(f"Problems, each in {workspace.problems}", sides, found))
    cache = f", cache at {result.cache_size} px" if result.cache_size else ""
    print_line(f"written: {workspace.manifest}, figures in {workspace.figures}{cache}")
    next_command("split", common)


def _show_readers(found: ReaderSummary) -> None:
    """How many readers images have, and on what they disagree."""
    images = [
        f"{counted(number, 'image')} with {counted(int(readers), 'reader')}"
        for readers, number in found.images.items()
    ]
    text = f"readers, combined by {found.rule}: {', '.join(images)}"
    print_line(textwrap.fill(text, PLAIN_WIDTH))
    rows = [
        [label, *(f"{number:,}" for number in (of.several, of.disagree, of.undecided))]
        for label, of in found.labels.items()
        if of.several
    ]
    headings = {
        "label": "left",
        **dict.fromkeys(("several answers", "disagree", "undecided"), "right"),
    }
    if rows:
        print_table(table("Images on which several readers said something", headings, rows))
    else:
        print_line(f"--readers {found.rule} changed nothing: no label has several readers' answers")


def was_split(result: SplitResult, workspace: Workspace, common: CommonConfig) -> None:
    """Sizes, prevalences and how well they are balanced."""
    if without_tables(result, common):
        return
    sizes = [
        [
            part,
            f"{images:,}",
            f"{100 * result.fractions[part]:.2f} %" if part in result.fractions else "apart",
            f"{result.patients[part]:,}",
        ]
        for part, images in result.sizes.items()
    ]
    columns = {"part": "left", "images": "right", "share": "right", "patients": "right"}
    print_table(table("Parts", columns, sizes))
    rows = [
        [label, *(f"{100 * share:.2f}" for share in shares.values())]
        for label, shares in result.prevalences.items()
    ]
    columns = {"label": "left", **dict.fromkeys(result.sizes, "right")}
    print_table(table("Positives in each part, % (U-Ones)", columns, rows))
    balance = [
        [name, f"{result.ld[policy]:.1e}", f"{result.lpd[policy]:.1e}"]
        for policy, name in (("zeros", "U-Zeros"), ("ones", "U-Ones"))
    ]
    columns = {"policy": "left", "LD (labels)": "right", "LPD (pairs)": "right"}
    print_table(table("Imbalance, 0 is perfect", columns, balance))
    print_line(f"patients in more than one part: {result.patients_in_two_splits:,}")
    shared = result.shared_pictures
    if shared and shared.groups:
        groups, kept = counted(shared.groups, "group"), "" if shared.in_two_parts else "kept in "
        print_line(f"patients who share pictures: {shared.patients:,}, {kept}{groups}")
    if result.folds:
        sizes = result.folds["sizes"]
        ld, lpd = (result.folds[name]["ones"] for name in ("ld", "lpd"))
        print_line(
            f"{len(sizes)} folds of train and valid: {min(sizes):,} to {max(sizes):,} images, "
            f"LD {ld:.1e}, LPD {lpd:.1e} (U-Ones), "
            f"patients in more than one: {result.folds['patients_in_two_folds']:,}"
        )
    print_line(f"written: {workspace.split}")
    fold = " --fold 0" if result.folds else ""
    next_command(f"train{fold}", common)
