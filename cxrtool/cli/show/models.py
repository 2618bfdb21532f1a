"""What `models` prints: starts in two lines each, all of one, and what was fetched."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from cxrtool.core.config import CommonConfig
from cxrtool.core.console import PLAIN_WIDTH, next_command, print_json, print_line, without_tables
from cxrtool.core.model_files import models_folder
from cxrtool.core.numbers import megabytes
from cxrtool.core.start_cards import OPEN

if TYPE_CHECKING:  # for the annotations alone: show must stay light to import
    from cxrtool.workflows.models import FetchedFile, ListedStart, ShownStart

NOT_KNOWN = "not known"


def listed(starts: list[ListedStart], common: CommonConfig) -> None:
    """Two lines a start: whether it is here and how it is had, and what it is."""
    if common.json:
        print_json(
            {"models": [start.as_json() for start in starts], "folder": str(models_folder())}
        )
        return
    print_line(_line("start", "px", "here"))
    print_line("  architecture, licence, what it was trained on")
    for start in starts:
        how = {"open": "no: fetch it"}.get(start.access, f"no: {start.access}")
        print_line(_line(start.name, str(start.image_size), "yes" if start.here else how))
        seen = ", ".join(start.trained_on)
        seen = seen or ("chest X-rays" if start.chest else "photographs")
        _wrapped(f"{start.arch}, {start.licence or 'licence ' + NOT_KNOWN}, {seen}", "  ")
    print_line()
    print_line(f"px: image size of their training. Files are kept in {models_folder()}")
    print_line("`imagenet` is the own weights of any architecture: models fetch ARCHITECTURE")
    next_command("models fetch START", common)


def _line(name: str, size: str, here: str) -> str:
    return f"{name:34}  {size:>4}  {here}"


def _wrapped(text: str, indent: str) -> None:
    print_line(
        textwrap.fill(
            text,
            PLAIN_WIDTH,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def shown(start: ShownStart, common: CommonConfig) -> None:
    """All that is known of one start."""
    if without_tables(start, common):
        return
    card = start.card
    facts = {
        "architecture": card.arch,
        "licence": card.licence or NOT_KNOWN,
        "image size": f"{card.image_size} px"
        + (f", a multiple of {card.patch}" if card.patch else ""),
        "channels": str(card.channels),
        "mean": ", ".join(map(str, card.mean)),
        "std": ", ".join(map(str, card.std)),
        "interpolation": card.interpolation or NOT_KNOWN,
        "trained on": card.trained_words,
        "patients of": ", ".join(card.trained_on) or NOT_KNOWN,
        "labels": ", ".join(label for label in card.labels if label) or "none",
        "reference": card.reference,
        "access": card.access,
        "file": card.file,
        "from": start.link,
        "SHA-256": card.sha256 or NOT_KNOWN,
        "note": card.note,
        "here": str(start.here or "no"),
    }
    facts |= {f"its {name}": value for name, value in start.provenance.items()}
    print_line(card.name)
    for name, value in facts.items():
        if value:
            print_line(
                textwrap.fill(
                    f"{name:13} {value}",
                    PLAIN_WIDTH,
                    initial_indent="  ",
                    subsequent_indent=" " * 16,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
    if start.here is None:
        taken = "" if card.access == OPEN else " --from FILE"
        next_command(f"models fetch {card.name}{taken}", common)
    else:
        next_command(f"train --arch {card.arch} --weights {card.name}", common)


def fetched(files: list[FetchedFile], common: CommonConfig) -> None:
    """Where the files are now."""
    if common.json:
        print_json({"fetched": [file.as_json() for file in files]})
        return
    for file in files:
        state = "was here" if file.was_here else "is here now"
        checked = ", as published" if file.checked else ""
        print_line(f"{file.name} {state}: {file.path} ({megabytes(file.bytes)})")
        if not file.was_here:
            print_line(f"  SHA-256 of what was fetched: {file.sha256}{checked}")
        if file.tensors is not None:
            print_line(f"  {file.tensors} tensors of a pickle are kept as safetensors")
