"""Copies of workspaces whose weights are the very files of the first one."""

import os
import shutil
from pathlib import Path

SHARED = ".safetensors"


def copy_folder(folder: Path, to: Path) -> Path:
    """Copy a folder, with hard links in place of copies of weights and checkpoints.

    cxrtool never changes such a file, it replaces it. A test that damages one in its place has to
    take it out of the share first: `own(file)`.
    """
    return shutil.copytree(folder, to, copy_function=_link_or_copy)


def own(file: Path) -> Path:
    """The same file, alone: what is written into it changes no other workspace."""
    kept = file.with_name(f"{file.name}.own")
    shutil.copy2(file, kept)
    kept.replace(file)
    return file


def _link_or_copy(file: str, to: str) -> None:
    if file.endswith(SHARED):
        os.link(file, to)
    else:
        shutil.copy2(file, to)
