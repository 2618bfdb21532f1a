"""Files of published weights: what each is called, and where on this machine they are looked for.

Nothing is downloaded here. `cxrtool models fetch` puts files into the models folder; what other
tools have downloaded is found in their caches.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.errors import UsageError
from cxrtool.core.start_cards import HUB, OPEN, StartCard, hub_address

FOLDER = "CXRTOOL_MODELS"
"""The environment variable that names the models folder."""
USUAL_FILE = "model.safetensors"
"""What a repository on the Hugging Face Hub calls its weights."""


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A file of published weights."""

    name: str
    """As `cxrtool models fetch` takes it."""
    file: str
    """As it is published."""
    url: str = ""
    hf: str = ""
    """The repository on the Hugging Face Hub that has it."""
    sha256: str = ""
    """All of its 64 digits, or the first few; empty: not known."""
    page: str = ""
    """Where it can be asked for, if it cannot be downloaded."""

    @property
    def link(self) -> str:
        """Where it can be downloaded; empty where it cannot."""
        return hub_address(self.hf, self.file) if self.hf else self.url

    @property
    def stored(self) -> str:
        """Its name in the models folder: there every start has one of its own."""
        return self.name.replace(":", "-").replace("/", "-") + ".safetensors"

    def places(self) -> Iterator[Path]:
        """Where it is looked for, in order: our folder, then the caches of other tools."""
        folder = models_folder()
        yield folder / self.stored
        if self.file != USUAL_FILE:  # the name of many
            yield folder / self.file
            yield torch_cache() / self.file
            yield Path.home() / ".torchxrayvision" / "models_data" / self.file

    def here(self) -> Path | None:
        """The file on this machine, if it is there."""
        found = next((path for path in self.places() if path.is_file()), None)
        return found or (_in_hub_cache(self.hf, self.file) if self.hf else None)

    def how_to_get(self) -> str:
        """What to do where it is not here: with a network, and without."""
        place = models_folder() / (self.stored if self.file == USUAL_FILE else self.file)
        if not self.link:
            return (
                f"  It is not published for download: {self.page} says how it is had.\n"
                f"  Then put {self.file} at {place},\n"
                f"  or give it: `cxrtool models fetch {self.name} --from FILE`"
            )
        return (
            f"  With a network: `cxrtool models fetch {self.name}`\n"
            f"  Without one, download {self.link} elsewhere\n"
            f"  and put it at {place}"
        )


def file_of_start(card: StartCard) -> ModelFile:
    """The file that a start's card describes."""
    is_open = card.access == OPEN
    return ModelFile(
        name=card.name,
        file=card.file,
        url=card.url if is_open else "",
        hf=card.hf if is_open else "",
        sha256=card.sha256,
        page="" if is_open else card.link,
    )


def file_on_hub(name: str) -> ModelFile:
    """The file that `hf:OWNER/REPO[:FILE]` names.

    Raises:
        UsageError: it names no repository.
    """
    repository, _, file = name.removeprefix(HUB).partition(":")
    parts = [*repository.split("/"), *file.split("/")] if file else repository.split("/")
    if repository.count("/") != 1 or any(part in ("", ".", "..") for part in parts):
        raise UsageError(f"{name!r}: expected hf:OWNER/REPOSITORY or hf:OWNER/REPOSITORY:FILE")
    return ModelFile(name=name, file=file or USUAL_FILE, hf=repository)


def models_folder() -> Path:
    """Our folder of weights: that of `CXRTOOL_MODELS`, or one in the user's folder for caches."""
    if given := os.environ.get(FOLDER):
        return Path(given).expanduser()
    return _user_cache() / "cxrtool" / "models"


def torch_cache() -> Path:
    """Where torch keeps what it has downloaded (`torch.hub.get_dir`)."""
    home = os.environ.get("TORCH_HOME")
    if not home:
        home = str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def hub_cache() -> Path:
    """Where the Hugging Face Hub's library keeps what it has downloaded."""
    if given := os.environ.get("HF_HUB_CACHE"):
        return Path(given).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HOME") or cache).expanduser() / "hub"


def _user_cache() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def _in_hub_cache(repository: str, file: str) -> Path | None:
    """A file as the Hub's library keeps it; the library itself takes long to import."""
    folder = hub_cache() / f"models--{repository.replace('/', '--')}"
    try:
        revision = (folder / "refs" / "main").read_text().strip()
    except OSError:
        return None
    path = folder / "snapshots" / revision / file
    return path if revision and path.is_file() else None
