"""`models`: which published weights there are, which are here, and `fetch`, the one download."""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cxrtool.core.config import ARCHS, TIMM, ModelsConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.downloads import download
from cxrtool.core.errors import UsageError, WeightsError, did_you_mean
from cxrtool.core.files import sha256, whole_file
from cxrtool.core.json_files import JsonResult
from cxrtool.core.locks import locked
from cxrtool.core.model_files import (
    ModelFile,
    file_of_start,
    file_on_hub,
    hub_cache,
    models_folder,
)
from cxrtool.core.numbers import megabytes
from cxrtool.core.start_cards import HUB, StartCard, find_start, near_starts, start_cards

FETCH, SHOW = "fetch", "show"
SAFE = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class ListedStart(JsonResult):
    """A start in the table."""

    name: str
    arch: str
    image_size: int
    licence: str
    access: str
    chest: bool
    trained_on: tuple[str, ...]
    here: Path | None
    """Its file on this machine."""
    bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class ShownStart(JsonResult):
    """All that is known of a start."""

    card: StartCard
    link: str
    here: Path | None
    looked_in: tuple[Path, ...]
    provenance: dict[str, str]
    """What the file itself says of where it is from."""

    def as_json(self) -> dict[str, object]:
        """The card's fields beside its own."""
        own = super().as_json()
        return {**vars(self.card), **{key: one for key, one in own.items() if key != "card"}}


@dataclass(frozen=True, kw_only=True)
class FetchedFile(JsonResult):
    """A file that is here now."""

    name: str
    path: Path
    bytes: int
    sha256: str
    checked: bool
    """Whether the SHA-256 is one that its publisher gives."""
    was_here: bool = False
    tensors: int | None = None
    """How many were converted from a pickle."""


def list_starts() -> list[ListedStart]:
    """All starts of the table, and whether their files are here."""
    return [_listed(card) for card in start_cards().values()]


def _listed(card: StartCard) -> ListedStart:
    here = file_of_start(card).here()
    return ListedStart(
        name=card.name,
        arch=card.arch,
        image_size=card.image_size,
        licence=card.licence,
        access=card.access,
        chest=card.chest,
        trained_on=card.trained_on,
        here=here,
        bytes=here.stat().st_size if here else None,
    )


def show_start(name: str) -> ShownStart:
    """All that is known of one start.

    Raises:
        UsageError: there is none of the name.
    """
    card = find_start(name)
    if card is None:
        raise UsageError(_unknown(name))
    file = file_of_start(card)
    here, said = file.here(), {}
    if here is not None and here.suffix == ".safetensors":
        from cxrtool.networks.converted_files import provenance

        said = provenance(here)
    return ShownStart(
        card=card, link=card.link, here=here, looked_in=tuple(file.places()), provenance=said
    )


def fetch_models(config: ModelsConfig, reporter: Reporter = SILENT) -> list[FetchedFile]:
    """Download files, or take one from elsewhere; all names are looked at before the first.

    Raises:
        UsageError: no name, an unknown one, or a file for several.
        WeightsError: a file cannot be downloaded, is not as published, or is no weights.
    """
    names: Sequence[str] = config.names or ()
    if not names:
        raise UsageError("models fetch: name what to fetch; `cxrtool models` lists the starts")
    if config.from_file is not None and len(names) > 1:
        raise UsageError("--from is one file: name one start")
    files = [file_named(name) for name in names]
    with locked(models_folder(), "models fetch", "name another folder with CXRTOOL_MODELS"):
        return [_fetch(file, config, reporter) for file in files]


def file_named(name: str) -> ModelFile:
    """The file of a start, of an architecture's ImageNet weights, or on the Hub.

    Raises:
        UsageError: nothing has the name.
    """
    if name.startswith(HUB):
        return file_on_hub(name)
    card = find_start(name)
    if card is not None:
        return file_of_start(card)
    if name in ARCHS or name.startswith(TIMM):
        from cxrtool.networks.imagenet_files import imagenet_file

        return imagenet_file(name)
    raise UsageError(_unknown(name))


def _unknown(name: str) -> str:
    near = did_you_mean(near_starts(name))
    return f"no start {name!r}{near}: `cxrtool models` lists them"


def _fetch(file: ModelFile, config: ModelsConfig, reporter: Reporter) -> FetchedFile:
    here = file.here()
    if here is not None and not config.force and config.from_file is None:
        return _fetched(file, here, was_here=True)
    if config.from_file is not None:
        if not config.from_file.is_file():
            raise WeightsError(f"--from {config.from_file}: no such file")
        return _taken(file, config.from_file, reporter)
    if not file.link:
        raise WeightsError(f"{file.name} is not here.\n{file.how_to_get()}")
    if file.hf:
        return _taken(file, _from_hub(file, config, reporter), reporter)
    raw = models_folder() / f".{file.stored}-{file.file}"
    try:
        download(file.link, raw, lambda there, total: _progress(file, there, total, reporter))
        return _taken(file, raw, reporter)
    except WeightsError as error:
        raise WeightsError(f"{error}.\n{file.how_to_get()}") from None
    finally:
        raw.unlink(missing_ok=True)  # its tensors are in the other


@contextmanager
def _progress(
    file: ModelFile, there: int, total: int, reporter: Reporter
) -> Iterator[Callable[[int], None]]:
    if there:
        reporter.note(f"{file.name}: {megabytes(there)} of {megabytes(total)} are here already")
    with reporter.steps(f"downloading {file.name}", total, unit="bytes") as advance:
        advance(there)
        yield advance


def _from_hub(file: ModelFile, config: ModelsConfig, reporter: Reporter) -> Path:
    """A file from the Hugging Face Hub, by its own library: it knows tokens, and resumes.

    Raises:
        WeightsError: it cannot be had.
    """
    import huggingface_hub
    from huggingface_hub.utils.tqdm import disable_progress_bars

    # Each of its retries would be a line.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if not reporter.bars:
        disable_progress_bars()
    try:
        path = huggingface_hub.hf_hub_download(
            file.hf, file.file, cache_dir=hub_cache(), force_download=config.force
        )
    # Its own errors, its HTTP library's and the system's have no common class.
    except Exception as error:
        raise WeightsError(
            f"{file.link} cannot be downloaded ({_first_cause(error)}). Where its page asks for an "
            f"account, log in first: hf auth login.\n{file.how_to_get()}"
        ) from None
    return Path(path)


def _first_cause(error: BaseException) -> str:
    """What the library met first: what it raises speaks of its cache."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def _taken(file: ModelFile, path: Path, reporter: Reporter) -> FetchedFile:
    """A file that is whole, checked and in its place: pickles as safetensors.

    Raises:
        WeightsError: it is not the one that was published, or no weights.
    """
    found = sha256(path)
    # The Hub's cache has large files under their SHA-256.
    known = file.sha256 or (path.resolve().name if len(path.resolve().name) == 64 else "")
    if not found.startswith(known):
        raise WeightsError(
            f"{path}: its SHA-256 is {found}, and that of the published {file.file} begins with "
            f"{known}: it was altered, or another was published since. Nothing of it was kept"
        )
    if not known:
        reporter.note(f"{file.name}: SHA-256 {found} (its publisher gives none to check it by)")
    target = models_folder() / file.stored
    if path.suffix == SAFE:
        if hub_cache() in path.parents:
            return _fetched(file, path, checked=bool(known), digest=found)
        with whole_file(target) as temporary:
            shutil.copyfile(path, temporary)
        return _fetched(file, target, checked=bool(known), digest=found)
    from cxrtool.networks.converted_files import convert

    card = find_start(file.name)
    facts = {"start": file.name, "file": file.file, "from": file.link or file.page}
    with reporter.busy(f"reading {file.file} and writing {target.name}"):
        tensors = convert(path, target, facts, key=card.key if card else "")
    made = _fetched(file, target, checked=bool(known), digest=found)
    return replace(made, tensors=tensors)


def _fetched(
    file: ModelFile, path: Path, *, checked: bool = False, digest: str = "", was_here: bool = False
) -> FetchedFile:
    return FetchedFile(
        name=file.name,
        path=path,
        bytes=path.stat().st_size,
        sha256=digest or sha256(path),
        checked=checked,
        was_here=was_here,
    )
