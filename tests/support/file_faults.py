"""Kill a command at one of its file operations, or let the disk be full from there on; and repeat.

Everything is imported once; each command is a fork of this process. As a script, it goes through
every operation of the commands that are named, and prints what it found:

    python -m tests.support.file_faults prepare split train

An operation is one that changes the disk: a file opened to write, a name given, taken or changed,
a folder made or removed. A kill is `os._exit` before it: as after SIGKILL, nothing is cleaned up.
A full disk is /dev/full in place of the file that is opened, so that it is the write that fails.
What libraries write is not filled so; a small file system of its own is, as root:

    unshare -m sh -c 'mount -t tmpfs -o size=2g none /mnt;
        python -m tests.support.file_faults --disk=/mnt'
"""

import builtins
import ctypes
import errno
import gc
import hashlib
import io
import json
import os
import re
import shutil
import sqlite3.dbapi2
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

KILLED = 137
TIMES = {
    *("train_seconds", "seconds", "images_per_second", "date", "finished", "began", "identity"),
    "images_modified",
}
TIMES |= {"sealed", "resumed", "sha256", "workers", "modified", "index_sha256"}
"""What differs between two runs of one command that nothing disturbed."""
CHANGES = {
    "os.link",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "cxrtool.write",
}
NAMED = r"error: (\S+: |.*?([\w-]\.(csv|db|json|jpg|key|onnx|png|txt|yaml|safetensors)\b|/))"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Cursor(sqlite3.Cursor):
    """Lets what changes a database be heard of."""

    def execute(self, statement, *given):
        if statement.split(None, 1)[0].upper() not in ("SELECT", "PRAGMA", "BEGIN"):
            self.connection.heard()
        return super().execute(statement, *given)


class Connection(sqlite3.Connection):
    """The same of what is kept for good."""

    place = ""

    def heard(self):
        sys.audit("cxrtool.write", self.place)

    def cursor(self, factory=Cursor):
        return super().cursor(factory)

    def commit(self):
        if self.in_transaction:
            self.heard()
        super().commit()


def _connect(database, *given, connect=sqlite3.dbapi2.connect, **named):
    made = connect(database, *given, factory=Connection, **named)
    made.place = str(Path(database).absolute())
    return made


class Faults:
    """Counts the operations below a folder, and does something at the one that is asked for."""

    def __init__(self, folder: Path, at: int, kind: str, disk: Path | None = None) -> None:
        self.folder, self.at, self.kind, self.disk = str(folder), at, kind, disk
        self.count = 0
        self.full = False
        self.open = io.open

    def install(self) -> None:
        """From now on; there is no way back, and the process is to end."""
        from cxrtool.training import checkpoints as checkpoints

        original = checkpoints.save_file

        def save_file(tensors, path, metadata=None):
            sys.audit("cxrtool.write", str(path))  # written in Rust, where nothing is heard of it
            original(tensors, path, metadata)

        checkpoints.save_file = save_file
        sqlite3.dbapi2.connect = _connect
        if self.kind == "full":
            io.open = builtins.open = self._open
        sys.addaudithook(self._hear)

    def _inside(self, path: object) -> bool:
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        # What is removed by its name in an open folder is removed by rmtree.
        return text.startswith(self.folder) or (bool(text) and text[0] != "/")

    def _reached(self) -> bool:
        self.count += 1
        return self.count == self.at

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if self.kind == "full" or not isinstance(flags, int) or not flags & WRITES:
                return
            if self._inside(path) and self._reached():
                self._strike()
        elif event in CHANGES and self._inside(arguments[0]):
            if self.kind != "full":
                if self._reached():
                    self._strike()
            elif event in ("os.mkdir", "cxrtool.write"):
                self.full = self._reached() or self.full
                if self.full:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))

    def _strike(self) -> None:
        if self.disk is None:
            os._exit(KILLED)
        used = os.statvfs(self.disk)
        resize(self.disk, (used.f_blocks - used.f_bfree) * used.f_frsize)

    def _open(self, file, mode="r", *given, **named):
        if not set(mode) & set("wax+") or not self._inside(file):
            return self.open(file, mode, *given, **named)
        self.full = self._reached() or self.full
        if self.full:
            return self.open("/dev/full", mode.replace("x", "w").replace("a", "w"), *given, **named)
        return self.open(file, mode, *given, **named)


def resize(disk: Path, size: int) -> None:
    """Give a tmpfs so many bytes."""
    libc = ctypes.CDLL(None, use_errno=True)
    remount = 32
    if libc.mount(None, os.fsencode(disk), None, remount, f"size={size}".encode()):
        raise OSError(ctypes.get_errno(), f"{disk} cannot be given {size} bytes")


@dataclass
class Ended:
    """How a command ended."""

    status: int
    said: str
    operations: int


def run(
    words: list[str], folder: Path, at: int = 0, kind: str = "kill", disk: Path | None = None
) -> Ended:
    """Run a command in a fork, in `folder`, with a fault at its n-th operation (0: none)."""
    with tempfile.TemporaryDirectory() as beside:
        return _run_beside(words, folder, Faults(folder, at, kind, disk), Path(beside))


def _run_beside(words: list[str], folder: Path, faults: Faults, beside: Path) -> Ended:
    said, counted = beside / "said.txt", beside / "counted.txt"
    counted.write_text("0")
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _run_here(words, folder, faults, said, counted)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(status, said.read_text(errors="replace"), int(counted.read_text()))


def _run_here(words, folder, faults, said, counted):
    status = 1
    try:
        number = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(number, 1)
        os.dup2(number, 2)
        os.chdir(folder)
        tempfile.tempdir = str(folder.parent)
        sys.argv = ["cxrtool", *words]
        from cxrtool.cli import app as cli

        faults.install()
        cli.main()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        number = os.open(counted, os.O_WRONLY)
        os.write(number, str(faults.count).encode())
        os._exit(status)


def contents(folder: Path) -> dict[str, str]:
    """What is in a folder, hidden files and times left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not hidden and path.name not in ("environment.json", "study.db"):
            content = b"" if path.name == "patients.key" else _without_times(path)
            if path.name == "patients.json":
                content = _with_ids(content, folder)
            found[str(name)] = hashlib.sha256(content).hexdigest()
    return found


def hidden_in(folder: Path) -> set[str]:
    """The hidden names in a folder, without what is drawn by chance in them."""
    found = (path.relative_to(folder) for path in folder.rglob(".*"))
    return {re.sub(r"[\w]{8}(?=\.\w+$|$)|\d{19}", "*", str(name)) for name in found}


def _without_times(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".json":
        return json.dumps(_pruned(json.loads(content)), sort_keys=True).encode()
    if path.suffix == ".csv":
        import pandas as pd

        frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
        if path.name == "trials.csv":  # what died is told, and was done again under a later number
            frame = frame[~frame["state"].str.startswith("died")].drop(columns=["trial", "run"])
        return frame.drop(columns=TIMES & set(frame.columns)).to_csv(index=False).encode()
    if path.name == "best.yaml":
        return re.sub(rb"(?m)^#.*$", b"", content)
    return b"" if path.name in ("report.html", "last.safetensors") else content


def _with_ids(content: bytes, folder: Path) -> bytes:
    """A run's patients by their ids: each workspace has a key of its own, drawn by chance."""
    import pandas as pd

    from cxrtool.core.patient_keys import read_keys

    for file in folder.rglob("patients.key"):
        everybody = pd.read_csv(file.with_name("manifest.csv"))["patient_id"].unique()
        for key in read_keys(file):
            content = content.replace(key.fingerprint.encode(), b"key")
            for one, hashed in zip(everybody, key.hashed(everybody), strict=True):
                content = content.replace(hashed.encode(), one.encode())
    values = json.loads(content)
    values |= {part: sorted(values[part]) for part in ("train", "valid")}
    return json.dumps(values).encode()


def _pruned(values):
    if isinstance(values, dict):
        return {key: _pruned(value) for key, value in values.items() if key not in TIMES}
    return [_pruned(value) for value in values] if isinstance(values, list) else values


@dataclass
class Case:
    """A command, what it finds, and what goes on after it."""

    words: list[str]
    before: Callable[[Path], None]
    ways_on: list[list[str]] = field(default_factory=list)
    """Tried in turn where the same command ends with a message."""
    patch: Callable[[], None] = lambda: None
    again: bool = True
    """Whether the same command is tried before them; else after."""


@dataclass
class Found:
    """What became of a command after all its faults."""

    operations: dict[str, int] = field(default_factory=dict)
    tried: int = 0
    equal: int = 0
    by_another_way: int = 0
    wrong: list[str] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    """Hidden files that are there after a command that ended well."""
    hidden: set[str] = field(default_factory=set)
    """Those that are there where nothing happened, too."""


def go_through(
    name: str, case: Case, scratch: Path, most: int | None = None, disk: Path | None = None
) -> Found:
    """Try a fault at each operation of a command, or at `most` of them, evenly chosen."""
    found = Found()
    case.patch()
    place = scratch / name
    alone = _fresh(place / "tried" / "here", case)  # where it is may stand in what it writes
    ended = run(case.words, alone)
    assert ended.status == 0, f"{name}: {ended.said}"
    expected, found.hidden = contents(alone), hidden_in(alone)
    for kind in ("kill", "full", *(["disk"] if disk else [])):
        counted = run(case.words, _fresh(place / "tried" / "here", case), 0, kind).operations
        found.operations[kind] = counted
        for at in _chosen(counted, most):
            found.tried += 1
            here = _fresh(place / "tried" / "here", case)
            told = _try(case, here, at, kind, expected, found, disk)
            if told:
                found.wrong.append(f"{name} {kind} at {at} of {counted}: {told}")
    shutil.rmtree(place)
    return found


def _chosen(count: int, most: int | None) -> list[int]:
    if most is None or count <= most:
        return list(range(1, count + 1))
    return sorted({round((i + 0.5) * count / most + 0.5) for i in range(most)})


def _fresh(folder: Path, case: Case) -> Path:
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    case.before(folder)
    return folder


def _try(case, here, at, kind, expected, found, disk) -> str:
    """Fail, then go on; what is wrong with it, if anything is."""
    ended = run(case.words, here, at, kind, disk if kind == "disk" else None)
    if kind == "disk":
        resize(disk, 2**31)
    last = ended.said.strip()[-700:]
    if "Traceback" in ended.said:
        return f"a traceback: {last}"
    if kind != "kill" and ended.status not in (0, 1):
        return f"ended with {ended.status}: {last}"
    named = re.search(NAMED, last)
    if kind != "kill" and ended.status == 1 and ("the system" in last or not named):
        return f"no file is named: {last}"
    told = last if ended.status == 1 else ""
    ways = [case.words, *case.ways_on] if case.again else [*case.ways_on, case.words]
    for number, words in enumerate(ways):
        ended = run(words, here)
        if "Traceback" in ended.said:
            return f"then {words}: a traceback: {ended.said[-700:]}"
        differing = _differing(expected, contents(here))
        if not differing:  # a message may say that there is nothing left to do
            found.equal += 1
            found.by_another_way += bool(number)
            for one in hidden_in(here) - found.hidden if ended.status == 0 else ():
                found.left[one] = found.left.get(one, 0) + 1
            return ""
        told += f"\n   then {' '.join(words)[:60]}: {ended.status}, {ended.said.strip()[-300:]}"
        told += f"\n   differing: {differing[:6]}"
    return told


def _differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


TRAIN = [
    *("train", "--arch", "resnet18", "--weights", "none", "--epochs", "2", "--image-size", "32"),
    *("--batch-size", "16", "--workers", "0", "--precision", "fp32", "--device", "cpu"),
]
TUNE = ["tune", *TRAIN[1:], "--trials", "2", "--name", "search"]


def cases(scratch: Path) -> Iterator[tuple[str, Case]]:
    """The commands, each from the workspace that the one before left."""
    from cxrtool.data.phantoms import draw_dataset

    data = draw_dataset(scratch / "data", patients=40, seed=7, valid_patients=4).folder
    image = str(sorted(data.rglob("*frontal.jpg"))[0].parent)
    kept = scratch / "kept"

    def nothing(folder: Path) -> None:
        pass

    def workspace(folder: Path) -> None:
        shutil.copytree(kept, folder, dirs_exist_ok=True)

    def next_one(words: list[str]) -> None:
        kept.mkdir(exist_ok=True)
        ended = run(words, kept)
        assert ended.status == 0, ended.said

    def two_runs(folder: Path) -> None:
        if not (kept / "cxr" / "runs" / "other").exists():
            next_one([*TRAIN, "--name", "other", "--seed", "7"])
        workspace(folder)

    draw = ["demo", "--only-data", "drawn", "--patients", "3"]
    yield "draw", Case(draw, nothing, [[*draw, "--force"]])
    prepare = ["prepare", str(data), "--cache-size", "32", "--workers", "0"]
    yield "prepare", Case(prepare, nothing)
    next_one(prepare)
    split = ["split", "--sizes", "60,20,20"]
    yield "split", Case(split, workspace, [[*split, "--force"]])
    next_one(split)
    named, resume = [*TRAIN, "--name", "run"], ["train", "--resume", "run", "--workers", "0"]
    # Killed at its very end, it is finished, and what it took beyond that is still there.
    slim = ["runs", "slim", "run"]
    yield "train", Case(named, workspace, [resume, slim])
    resume_last = ["train", "--resume", "last", "--workers", "0"]
    slim_last = ["runs", "slim"]
    yield "train-default-name", Case(TRAIN, workspace, [resume_last, slim_last], again=False)
    next_one(named)
    force = [*named, "--seed", "7", "--force"]
    yield "train-force", Case(force, workspace, [resume, slim])
    yield "evaluate", Case(["evaluate", "run", "--bootstrap", "0"], workspace)
    predict = ["predict", image, "--run", "run", "--engine", "torch", "--output", "out.csv"]
    heat = [*predict, "--heatmaps", "heat"]
    yield "predict", Case(predict, workspace, [[*predict, "--resume"], [*predict, "--force"]])
    yield "heatmaps", Case(heat, workspace, [[*heat, "--resume"], [*heat, "--force"]])
    openvino = [*predict, "--engine", "openvino"]
    yield "openvino", Case(openvino, workspace, [[*openvino, "--resume"], [*openvino, "--force"]])
    yield "export", Case(["export", "run"], workspace, [["export", "run", "--force"]])
    comparing = ["compare", "run", "other", "--output", "table"]
    yield "compare", Case(comparing, two_runs, [[*comparing, "--force"]])
    yield "tune", Case(TUNE, workspace, [["tune", "--resume", "search"]], _no_training)

    demo = ["demo", "--patients", "25", "-w", "demo"]
    yield "demo", Case(demo, nothing, [[*demo, "--force"]], _short_demo)


def _short_demo() -> None:
    from cxrtool.workflows import demo

    demo.NETWORK = replace(demo.NETWORK, image_size=32, epochs=1)


def _no_training() -> None:
    from cxrtool.search import worker as tune_worker
    from cxrtool.workflows import tune
    from tests.support.searching import pretend

    tune_worker.run_trial = pretend
    tune.draw_study = lambda *_: []


def _draw_nothing(*modules) -> None:
    """Drawing is most of the time; that a picture is written whole is what counts here."""

    picture = io.BytesIO()
    Image.new("L", (1, 1)).save(picture, "PNG")

    def written(*given, **_):
        next(one for one in given if isinstance(one, Path)).write_bytes(picture.getvalue())

    for module in modules:
        for name in [name for name in vars(module) if name.startswith("draw_")]:
            setattr(module, name, written)


def main(names: list[str], most: int | None, disk: Path | None = None) -> int:
    """Go through the commands that are named, or all; how many faults were not withstood."""
    import matplotlib.pyplot  # noqa: F401

    from cxrtool.data import figures as data_figures
    from cxrtool.training import recorder
    from cxrtool.workflows import compare, evaluate, export, predict, tune  # noqa: F401

    _draw_nothing(data_figures, recorder)
    gc.freeze()
    wrong = 0
    with tempfile.TemporaryDirectory(dir=disk) as folder:
        for name, case in cases(Path(folder)):
            if names and name not in names:
                continue
            found = go_through(name, case, Path(folder), most, disk)
            wrong += len(found.wrong) + len(found.left)
            print(
                f"{name}: operations {found.operations}, {found.tried} faults, {found.equal} equal "
                f"in the end, {found.by_another_way} of them by another command",
                flush=True,
            )
            for text, times in sorted(found.left.items()):
                print(f"  left {times} times: {text}", flush=True)
            for text in found.wrong:
                print(f"  {text}", flush=True)
    return wrong


if __name__ == "__main__":
    given = sys.argv[1:]
    limits = [int(word.removeprefix("--most=")) for word in given if word.startswith("--most=")]
    disks = [Path(word.removeprefix("--disk=")) for word in given if word.startswith("--disk=")]
    words = [word for word in given if not word.startswith("--")]
    sys.exit(min(main(words, *limits or [None], *disks), 99))
