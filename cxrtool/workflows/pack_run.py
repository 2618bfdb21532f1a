"""`runs pack`: a folder or a zip of a run that may leave the house, for `predict --run`."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.config import RunsConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.files import check_writable, refuse_existing, sha256, whole_file
from cxrtool.core.json_files import JsonResult
from cxrtool.core.packs import MANIFEST, ZIP
from cxrtool.core.runs import find_run
from cxrtool.core.workspace import Workspace
from cxrtool.reports.packing import write_pack, zip_pack
from cxrtool.workflows.clear_runs import size_of


@dataclass(frozen=True)
class PackResult(JsonResult):
    """A pack that was made."""

    run: str
    output: Path
    files: tuple[str, ...]
    bytes: int
    sha256: str
    """Of the zip; of a folder's pack.json, which has those of all other files."""


def pack_run(config: RunsConfig, workspace: Workspace, reporter: Reporter = SILENT) -> PackResult:
    """Write what of a finished run may leave the house: a zip, or a folder.

    Raises:
        UsageError: more than one run is named.
        RunError: no such run, or it is not finished, incomplete or altered.
        DataError: the output exists, and there is no `force`, or it is a folder that is no pack.
    """
    names = config.names or ()
    if len(names) > 1:
        raise UsageError("runs pack: name one run, such as `cxrtool runs pack NAME`")
    run = find_run(workspace.runs, names[0] if names else None)
    output = config.output or Path(f"{run.name}{ZIP}")
    zipped = output.suffix.lower() == ZIP
    refuse_existing(output, force=config.force, what="it")
    if zipped:
        check_writable(output)
    elif output.exists() and not (output / MANIFEST).is_file():
        raise DataError(f"{output} is no pack, and is not replaced: name another --output")
    with reporter.busy("packing"):
        if zipped:
            with whole_file(output) as temporary, tempfile.TemporaryDirectory() as folder:
                facts = write_pack(run, Path(folder))
                zip_pack(Path(folder), run.name, temporary)
        else:
            with _whole_folder(output) as folder_of_pack:
                facts = write_pack(run, folder_of_pack)
    return PackResult(
        run=run.name,
        output=output,
        files=tuple(facts.sha256),
        bytes=size_of(output),
        sha256=sha256(output if zipped else output / MANIFEST),
    )


@contextmanager
def _whole_folder(output: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `output` when the block ends well, in place of what is
    there; nothing is left of it otherwise."""
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp("", f".{output.name}-", output.parent))
    try:
        made = folder / output.name
        made.mkdir()
        yield made
        if output.exists():
            output.rename(folder / "older")
        made.rename(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
