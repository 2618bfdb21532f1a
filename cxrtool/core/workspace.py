"""The folder that the commands hand on to one another: where each file of it is."""

import glob
import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrtool.core.config import CommonConfig
from cxrtool.core.errors import DataError, RunError
from cxrtool.core.origin import Origin, labellers, older_origin
from cxrtool.core.terminal import PLACE

if TYPE_CHECKING:
    from cxrtool.core.schemas import DataFacts


class Inside:
    """A file or folder in the folder that an object is: `split = Inside("split.csv")`."""

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    def __get__(self, owner: os.PathLike[str], _: type) -> Path:
        """Its path."""
        return Path(owner, *self.parts)


@dataclass(frozen=True)
class NamedFolder:
    """The folder of a run or a study, whose files are declared with `Inside`."""

    path: Path

    def __fspath__(self) -> str:
        """The folder's path."""
        return str(self.path)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def put_aside(self) -> list[Path]:
        """Hidden folders of this name that another one was to replace; oldest first."""
        return sorted(self.path.parent.glob(f".{glob.escape(self.name)}-replaced-*"))

    def hide(self) -> Path:
        """Put the folder aside, which another replaces; where it is now."""
        hidden = self.path.with_name(f".{self.name}-replaced-{time.time_ns()}")
        self.path.rename(hidden)
        return hidden


def is_folder_name(name: str) -> bool:
    """Whether a run or a study may have this name, on any system."""
    plain = name.isprintable() and not set(name) & set("/\\:")
    return plain and bool(name.strip()) and not name.startswith((".", "-"))


def workspace_option(folder: Path) -> str:
    """The -w option that a command about a workspace needs, if any."""
    usual = folder == CommonConfig.workspace
    return "" if usual else f"{PLACE}{shlex.quote(str(folder))}"


@dataclass(frozen=True)
class DataInfo:
    """What the commands after `prepare` need to know of the data set."""

    dataset: str
    folder: Path
    """Where the manifest's paths start."""
    labels_by: dict[str, str]
    """Who made the labels of each of the manifest's sources."""
    origin: Origin
    """Where the images are from."""
    asked: dict[str, str]
    """What `prepare` was given: the data's place, format and columns."""
    blank: str
    """What a label that the tables leave open means: `not mentioned` or `absent`."""

    @property
    def readers(self) -> str | None:
        """The rule by which several readers' rows became one (`READERS`); None: there was none."""
        return self.asked.get("readers")


@dataclass(frozen=True)
class Workspace:
    """Every path in a workspace, and which command makes what is missing."""

    folder: Path

    def __fspath__(self) -> str:
        """The folder's path."""
        return str(self.folder)

    manifest = Inside("manifest.csv")
    """The table of images and raw labels."""
    data_info = Inside("data.json")
    """What `prepare` found, and where the images are."""
    croissant = Inside("croissant.json")
    """What the manifest is, for other programs, without a row of it."""
    pixels = Inside("pixels.csv")
    """Each image's size and pixel sums."""
    pictures = Inside("pictures.csv")
    """Each image's fingerprints: of its exact pixels, and of how it looks."""
    boxes = Inside("boxes.csv")
    """Where findings are in the images, of data sets that say so."""
    problems = Inside("problems.csv")
    """The rows and files that `prepare` left out, and why."""
    cache = Inside("cache")
    """The images, decoded and squished."""
    official = Inside("official.csv")
    """The parts that the data set itself names, in split.csv's form; only some data sets do."""
    figures = Inside("figures")
    """Pictures of the data."""
    split = Inside("split.csv")
    """Which image is in which part."""
    features = Inside("features")
    """Features of frozen networks, a folder for each network and kind of images."""
    external = Inside("external")
    """Other data sets that runs are scored on, prepared: a workspace each."""
    patients_key = Inside("patients.key")
    """What patients' ids in `runs/` are hashed with (`patient_keys`): it is for nobody else."""
    runs = Inside("runs")
    """The trained models, a folder each."""
    studies = Inside("studies")
    """The searches, a folder each."""
    spool = Inside("spool")
    """The queue of `listen`: images of patients, as they came."""

    def read_data_info(self) -> DataInfo:
        """Read data.json.

        Raises:
            DataError: it is missing, altered, or of another version.
        """
        from cxrtool.core.schemas import DataFacts, read_as

        path = self.need(self.data_info, "prepare")
        try:
            values = read_as(path, DataFacts)
            origin, labels_by = _origin(values)
        except RunError as error:
            raise DataError(str(error)) from None
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is not as written ({error}): {DataFacts.INSTEAD}") from None
        return DataInfo(
            dataset=values.dataset,
            folder=Path(values.folder),
            labels_by=labels_by,
            origin=origin,
            asked={"format": "", "data": "", **values.asked},
            # Version 0.1 did not say; of its formats only NIH's lists what is there.
            blank=values.blank or ("absent" if values.dataset == "nih" else "not mentioned"),
        )

    def need(self, path: Path, command: str) -> Path:
        """The path, if it is there; otherwise an error that names the command that makes it."""
        if not path.exists():
            raise DataError(self.lacks(f"{path} is missing", command))
        return path

    def lacks(self, what: str, command: str) -> str:
        """The message where something is missing, if only the folder itself, and how to make it."""
        advice = f"run `cxrtool {command}{workspace_option(self.folder)}` first"
        if self.folder.exists():
            return f"{what}: {advice}"
        return (
            f"{self.missing()}: {advice}, or name the workspace that you have: -w PATH/TO/WORKSPACE"
        )

    def missing(self) -> str:
        """The message where there is no such folder, as for somebody who is in another one."""
        if self.folder.exists():
            return ""
        here = "" if self.folder.is_absolute() else f" here: {self.folder.absolute()} is missing"
        return f"there is no workspace {self.folder}{here}"


def _origin(values: "DataFacts") -> tuple[Origin, dict[str, str]]:
    """Where data.json says that the images are from, and who made the labels of each source."""
    if values.origin is not None:
        return Origin(**values.origin.model_dump()), values.labels_by
    # Version 0.1 took the layout for the data set.
    facts = values.model_dump()
    origin, names = older_origin(facts), [str(name) for name in facts["tables"]]
    if values.dataset == "csv" and not origin.drawn:
        return origin, values.labels_by
    tables = {source: f"{source}.csv" for source in values.labels_by}
    known = {source: name if name in names else names[0] for source, name in tables.items()}
    return origin, labellers(origin, values.labels_by, known)
