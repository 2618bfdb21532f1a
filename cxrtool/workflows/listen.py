"""`listen`: studies come in, and results go out, beside a PACS, from a queue on disk."""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrtool.core.config import ListenConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import UsageError, counted
from cxrtool.core.signals import stop_requests
from cxrtool.core.workspace import Workspace
from cxrtool.images.decoder_warnings import QUIET

if TYPE_CHECKING:
    from cxrtool.pacs.destinations import Destination
    from cxrtool.pacs.listen_counts import ListenCounts
    from cxrtool.pacs.outbox import Outbox
    from cxrtool.pacs.receiver import Door
    from cxrtool.pacs.spool import Spool
    from cxrtool.pacs.study_worker import StudyWorker

LIBRARIES = ("highdicom", "pynetdicom", "prometheus_client")
"""Of the extra."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MIB = 2**20
DAY = 86_400
GRACE = 8.0
"""Seconds that the study at work has to end in: containers are killed after ten."""
LOOKS = 0.2
"""Seconds between looks for a signal."""
CLEANING = 3600.0
"""Seconds between clean-ups."""


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A listener at work."""

    config: ListenConfig
    source: str
    """Where images come from: `AE@ADDRESS:PORT`, or a folder."""
    model: str
    engine: str
    """With device and precision, in words."""
    folder: Path
    """Of the spool."""
    destinations: tuple[str, ...]
    monitor: str
    """The address of the pages; empty without."""
    spool: "Spool"

    def as_json(self) -> dict[str, Any]:
        """The listener as `--json` prints it."""
        return {
            "source": self.source,
            "model": self.model,
            "engine": self.engine,
            "spool": str(self.folder),
            "destinations": list(self.destinations),
            "monitor": self.monitor,
        }

    def serve(self) -> None:
        """Work until Ctrl-C or SIGTERM."""
        next_cleaning = time.monotonic()
        with stop_requests() as asked:
            while not asked():
                if time.monotonic() >= next_cleaning:
                    self.spool.clean(self.config.keep_days * DAY)
                    next_cleaning = time.monotonic() + CLEANING
                time.sleep(LOOKS)


@contextmanager
def open_listener(
    config: ListenConfig, workspace: Workspace, reporter: Reporter = SILENT
) -> Iterator[Listener]:
    """A listener that has loaded its model; at the block's end nothing that it took is lost.

    Raises:
        DataError: the port or the spool is in use, or a folder cannot be used.
        RunError: no such run, or it is incomplete or altered.
        UsageError: the extra is not installed, or options that do not go together.
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise UsageError(f"listen needs {', '.join(missing)}: pip install 'cxrtool[dicom]'")
    from cxrtool.pacs.listen_counts import ListenCounts
    from cxrtool.pacs.monitor import LOOPBACK as MONITOR_HOST
    from cxrtool.pacs.monitor import monitor
    from cxrtool.pacs.outbox import Outbox
    from cxrtool.pacs.spool import open_spool
    from cxrtool.pacs.study_worker import StudyWorker

    destinations, door = _destinations(config), _door(config)
    counts, folder = ListenCounts(), config.spool or workspace.spool
    with ExitStack() as stack:
        stack.enter_context(QUIET)
        spool = stack.enter_context(open_spool(folder, config.spool_reserve_mb * MIB))
        counts.queues(spool.counts)
        if config.retry_refused:
            reporter.note(f"{counted(spool.retry_refused(), 'study')} put aside, scored again")
        outbox = Outbox(destinations, spool, counts, reporter)
        stack.callback(outbox.stop, GRACE)
        worker = StudyWorker(
            _model(config, workspace), spool, counts, reporter, quiet=config.quiet_seconds
        )
        stack.callback(worker.stop, GRACE)
        opened = stack.enter_context(_source(config, door, spool, counts, reporter))
        with reporter.busy("loading the model"):
            ready = worker.wait_until_ready()
        address = ""
        if config.monitor:
            health = _Health(config, spool, worker, outbox)
            port = stack.enter_context(monitor(config.monitor_port, health, counts.text))
            address = f"http://{MONITOR_HOST}:{port}"
        _warn(config, reporter)
        yield Listener(
            config=config,
            source=opened,
            model=ready["model"],
            engine=ready["engine"],
            folder=folder,
            destinations=tuple(one.name for one in destinations),
            monitor=address,
            spool=spool,
        )


@dataclass(frozen=True)
class _Health:
    """What `/health` says."""

    config: ListenConfig
    spool: "Spool"
    worker: "StudyWorker"
    outbox: "Outbox"

    def __call__(self) -> dict[str, Any]:
        lines = self.outbox.lines
        why = [] if self.worker.ready else ["the scoring process is not ready"]
        if shutil.disk_usage(self.spool.folder).free < self.spool.reserve:
            why.append("the spool's disk is as good as full (--spool-reserve-mb)")
        why += [line.why for line in lines if line.why]
        return {
            "ok": not why,
            "why": why,
            "model": self.worker.ready.get("model", ""),
            "studies": self.spool.counts(),
            "destinations": {
                line.destination.name: {"failures": line.failures, "last_success": line.last}
                for line in lines
            },
        }


def _model(config: ListenConfig, workspace: Workspace) -> Any:
    from cxrtool.pacs.scoring_process import Model

    return Model(
        runs=str(workspace.runs),
        models=tuple(dict.fromkeys(config.run)) if config.run else (None,),
        engine=config.engine,
        device=config.device,
        precision=config.precision,
        tta=config.tta,
        heat_maps=config.captures or config.presentation_states,
        sr_class=config.sr_class,
        captures=config.captures,
        presentation=config.presentation_states,
    )


def _destinations(config: ListenConfig) -> "tuple[Destination, ...]":
    """Where results go: archives, a folder, or both.

    Raises:
        UsageError: nowhere, or to what is no destination.
    """
    from cxrtool.pacs.destinations import destinations_of
    from cxrtool.pacs.results_folder import ResultsFolder

    found = destinations_of(config)
    if config.output is not None:
        if config.folder is not None and _inside(config.output, config.folder):
            raise UsageError("--output lies in --folder: results would be taken for images")
        folder = ResultsFolder(folder=config.output)
        folder.echo()
        folder.sweep()
        found = (*found, folder)
    if not found:
        raise UsageError(
            "name where results go: --to AE@HOST:PORT, --to https://HOST/dicom-web, or --output DIR"
        )
    return found


def _inside(one: Path, other: Path) -> bool:
    return one.resolve().is_relative_to(other.resolve())


def _door(config: ListenConfig) -> "Door":
    from cxrtool.pacs.destinations import checked_ae
    from cxrtool.pacs.receiver import Door
    from cxrtool.pacs.server_tls import server_tls

    return Door(
        bind=config.bind,
        port=config.port,
        title=checked_ae(config.ae),
        allowed=tuple(checked_ae(one) for one in config.allow_ae or ()),
        most_associations=config.max_associations,
        most_bytes=config.max_mb * MIB,
        timeout=config.peer_timeout,
        tls=server_tls(config.tls_cert, config.tls_key, config.tls_ca),
    )


@contextmanager
def _source(
    config: ListenConfig, door: "Door", spool: "Spool", counts: "ListenCounts", reporter: Reporter
) -> Iterator[str]:
    """Let images in while the block runs; where they come from."""
    from cxrtool.pacs.receiver import Receiver
    from cxrtool.pacs.watch_folder import WatchFolder

    if config.folder is not None:
        watch = WatchFolder(
            config.folder,
            spool,
            counts,
            reporter,
            settle=config.settle_seconds,
            most_bytes=door.most_bytes,
        )
        with watch.open():
            yield str(config.folder)
        return
    with Receiver(door, spool, counts, reporter).open() as receiver:
        yield f"{door.title}@{door.bind}:{receiver.port}"


def _warn(config: ListenConfig, reporter: Reporter) -> None:
    """Say who can send, where others than this machine can."""
    if config.folder is not None or config.bind in LOOPBACK:
        return
    if not config.allow_ae and config.tls_ca is None:
        reporter.warn(
            f"--bind {config.bind}: everybody who reaches this machine can send images "
            "(--allow-ae, --tls-ca)"
        )
    if config.tls_cert is None:
        reporter.warn(
            f"--bind {config.bind} without --tls-cert and --tls-key: images cross the network "
            "unencrypted"
        )
