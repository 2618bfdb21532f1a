"""A run's graphs for engines other than torch: made once, kept beside the run. No torch.

`graphs/<engine>-<fingerprint>/` holds a graph and, in graph.json, the SHA-256 of its files and what
they were made of.
"""

import atexit
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock

from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import RunError
from cxrtool.core.files import sha256
from cxrtool.core.json_files import read_json, seal_of, write_json
from cxrtool.core.run_cards import RunCard
from cxrtool.core.runs import RunFolder
from cxrtool.inference.engines.graph_files import Graph, read_graph

GRAPH_FORMAT = 2
"""To be raised when what is made of the same network changes."""
FILES = {"openvino": "graph.xml", "onnxruntime": "graph.onnx"}
RECORD = "graph.json"

Make = Callable[[Path], None]
"""Writes a graph to the path that it is given, and other files beside it."""


def fingerprint(card: RunCard, engine: str) -> str:
    """The SHA-256, shortened, of all that shapes a run's graph for an engine."""
    shaping = {
        "format": GRAPH_FORMAT,
        "engine": _version(engine),
        "weights": card.weights_sha256,
        "arch": card.arch,
        "labels": len(card.labels),
        "image_size": card.image_size,
        "pixel_mean": card.pixel_mean,
        "pixel_std": card.pixel_std,
    }
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:16]


def _version(engine: str) -> str:
    try:
        return version(engine)
    except PackageNotFoundError:  # a build under another name, as onnxruntime-gpu
        return ""


def find_graph(run: RunFolder, card: RunCard, engine: str) -> Graph | None:
    """The kept graph, if it is there, as it was written, and of these weights."""
    return _whole(_folder(run, card, engine), card, engine)


def keep_graph(
    run: RunFolder, card: RunCard, engine: str, make: Make, reporter: Reporter = SILENT
) -> Graph:
    """The kept graph; made, where there is none or it was altered.

    Graphs of other weights or versions are removed. A second process that wants the same waits.
    Beside a run that cannot be written to, nothing is kept: the graph goes with the process.
    """
    folder = _folder(run, card, engine)
    try:
        run.graphs.mkdir(exist_ok=True)
        with _alone(run.graphs):
            found = _whole(folder, card, engine)
            if found is None:
                for old in [*run.graphs.glob(f"{engine}-*"), *run.graphs.glob(f".{engine}-*")]:
                    shutil.rmtree(old, ignore_errors=True)
                reporter.note(
                    f"making {run.name}'s graph for {engine}, once: it is kept in {run.graphs}"
                )
                made = Path(tempfile.mkdtemp(dir=run.graphs, prefix=f".{engine}-"))
                _fill(made, card, engine, make)
                made.chmod(run.graphs.stat().st_mode & 0o777)  # mkdtemp's is for the owner alone
                made.rename(folder)
            return found or read_graph(folder / FILES[engine])
    except OSError as error:
        reporter.note(
            f"making {run.name}'s graph for {engine}, for this time alone: {run.graphs} cannot be "
            f"written to ({error.strerror or error})"
        )
    passing = Path(tempfile.mkdtemp(prefix="cxrtool-"))
    atexit.register(shutil.rmtree, passing, ignore_errors=True)
    _fill(passing, card, engine, make)
    return read_graph(passing / FILES[engine])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process makes graphs there.

    Raises:
        OSError: the folder cannot be written to, or its file system has no locks.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire()
    except NotImplementedError as error:
        raise OSError(str(error)) from None
    try:
        yield
    finally:
        lock.release()


def _folder(run: RunFolder, card: RunCard, engine: str) -> Path:
    return run.graphs / f"{engine}-{fingerprint(card, engine)}"


def _fill(folder: Path, card: RunCard, engine: str, make: Make) -> None:
    try:
        make(folder / FILES[engine])
        about = {
            **_bound(card, engine),
            "sha256": {path.name: sha256(path) for path in sorted(folder.iterdir())},
        }
        write_json(folder / RECORD, {**about, "sealed": seal_of(about)})
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _bound(card: RunCard, engine: str) -> dict[str, str]:
    """What a kept graph says that it is of, wherever its folder may have come from."""
    return {"fingerprint": fingerprint(card, engine), "weights_sha256": card.weights_sha256}


def _whole(folder: Path, card: RunCard, engine: str) -> Graph | None:
    """The graph in a folder whose files are all as they were written, of these weights."""
    from cxrtool.core.schemas import GraphFacts, checked

    try:
        values = read_json(folder / RECORD)
        about = checked(values, GraphFacts, folder / RECORD)
        graph = read_graph(folder / FILES[engine])
    except (RunError, OSError, ValueError):
        return None
    bound = {"fingerprint": about.fingerprint, "weights_sha256": about.weights_sha256}
    ours = bound == _bound(card, engine) and about.sealed == seal_of(values)
    return graph if ours and about.sha256 == graph.sums() else None
