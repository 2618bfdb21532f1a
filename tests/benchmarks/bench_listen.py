"""How fast `listen` takes images, and how soon a result is back.

python tests/benchmarks/bench_listen.py [--films 40] [--pairs 3] [--studies 6]

Reception: films of 10 MB sent by storescu, four associations at once, to `listen`, and in turn to a
plain pynetdicom server that writes the same bytes without waiting for the disk; medians of the
pairs. Then 50 associations at once. Results: a study of a frontal and a lateral film, each of
10 MB, to a DenseNet-121 at 224 pixels with untrained weights, with OpenVINO: from the answer to the
last image until the report is at its destination, less the quiet time; once as an exported file,
which has no heat maps, and once as a run, with heat maps and pictures of its positive findings.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from pydicom.uid import generate_uid
from pynetdicom import AE, AllStoragePresentationContexts, evt

from cxrtool.core.config import ExportConfig, PrepareConfig, SplitConfig, TrainConfig
from cxrtool.core.workspace import Workspace
from cxrtool.data.phantoms import draw_dataset
from cxrtool.workflows.export import export_run
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workflows.split import split_manifest
from cxrtool.workflows.train import train_model
from tests.support.dcmtk import STORESCU
from tests.support.dicoms import saved
from tests.support.listening import listening
from tests.support.studies import dx

SENDERS, AT_ONCE, QUIET = 4, 50, 1.0
PLAIN = """
import sys
from pathlib import Path
from pynetdicom import AE, AllStoragePresentationContexts, evt
folder, count = Path(sys.argv[1]), [0]
def keep(event):
    count[0] += 1
    (folder / f"{count[0]}.dcm").write_bytes(event.encoded_dataset())
    return 0
ae = AE("CXRTOOL")
ae.supported_contexts = AllStoragePresentationContexts
ae.maximum_pdu_size = 0
server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
print(server.server_address[1], flush=True)
sys.stdin.read()
"""


def make_workspace(folder):
    """A workspace with a DenseNet-121 that has seen next to nothing, and the same exported."""
    drawn = draw_dataset(folder / "data", patients=60, seed=1, valid_patients=6)
    workspace = Workspace(folder / "cxr")
    prepare_manifest(PrepareConfig(data=drawn.folder, cache_size=224), workspace)
    split_manifest(SplitConfig(sizes="60,20,20"), workspace, seed=1)
    small = {"weights": "none", "epochs": 1, "limit": 16, "batch_size": 16, "device": "cpu"}
    config = TrainConfig(arch="densenet121", image_size=224, name="run", **small)
    train_model(config, workspace, seed=1)
    exported = folder / "model.onnx"
    export_run(ExportConfig(run="run", output=exported), workspace)
    return workspace, exported


def film(path, **elements):
    """A film of 2,000 by 2,500 pixels in 16 bits: 10 MB."""
    rng = np.random.default_rng(0)
    slope = np.linspace(200, 3500, 2500)[:, None] + rng.normal(0, 40, (2500, 2000))
    made = dx(Rows=2500, Columns=2000, **elements)
    made.PixelData = slope.clip(0, 4095).astype("<u2").tobytes()
    return saved(path, made)


def films(folder, number):
    """Films that differ in their instance alone."""
    folder.mkdir()
    first = film(folder / "0.dcm")
    made = [first]
    content, known = first.read_bytes(), instance_of(first)
    for place in range(1, number):
        path = folder / f"{place}.dcm"
        path.write_bytes(content.replace(known, generate_uid().ljust(64)[: len(known)].encode()))
        made.append(path)
    return made


def instance_of(path):
    from pydicom import dcmread

    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID).encode()


def send(port, files):
    done = subprocess.run(
        [STORESCU, "-aec", "CXRTOOL", "-to", "60", "127.0.0.1", str(port), *files],
        capture_output=True,
    )
    return done.returncode == 0


def rate(port, files, senders=SENDERS):
    """Objects a second that a listener takes, and how many associations went well."""
    shares = [files[start::senders] for start in range(senders)]
    began = time.perf_counter()
    with ThreadPoolExecutor(senders) as pool:
        went = sum(pool.map(lambda share: send(port, share), shares))
    return len(files) / (time.perf_counter() - began), went


@contextmanager
def plain(folder):
    """A server that writes what comes, and does nothing else."""
    folder.mkdir()
    command = [sys.executable, "-c", PLAIN, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.communicate()


def show_reception(workspace, exported, folder, number, pairs):
    """Lines on how fast films are taken."""
    options = ("--run", exported, "--output", folder / "none", "--quiet-seconds", 3600)
    both = []
    for pair in range(pairs):
        files = films(folder / f"films{pair}", number)
        spool = ("--spool", folder / f"spool{pair}")
        with listening(workspace, folder / "log.txt", *options, *spool) as one:
            ours, went = rate(one.port, files)
            assert went == SENDERS
        with plain(folder / f"plain{pair}") as port:
            theirs, went = rate(port, files)
            assert went == SENDERS
        both.append((ours, theirs))
    ours, theirs = (statistics.median(side) for side in zip(*both, strict=True))
    print(
        f"films of 10 MB, {SENDERS} associations at once: listen takes {ours:.1f} a second, a "
        f"plain server {theirs:.1f}: {ours / theirs:.2f} of that",
        flush=True,
    )
    files = films(folder / "many", AT_ONCE)
    with listening(workspace, folder / "log.txt", *options, "--spool", folder / "spool") as one:
        speed, went = rate(one.port, files, AT_ONCE)
    print(f"{AT_ONCE} associations at once: {went} went well, {speed:.1f} films a second")


class Archive:
    """A destination that knows when something came."""

    def __init__(self):
        self.came, self.kinds = threading.Event(), []
        ae = AE("ARCHIVE")
        ae.supported_contexts = AllStoragePresentationContexts
        self.server = ae.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self.keep)]
        )
        self.node = f"ARCHIVE@127.0.0.1:{self.server.server_address[1]}"

    def keep(self, event):
        self.kinds.append(event.request.AffectedSOPClassUID.name)
        if "SR" in self.kinds[-1]:
            self.came.set()
        return 0


def show_results(workspace, run, folder, studies, what):
    """A line on how soon results are back."""
    archive = Archive()
    options = ("--run", run, "--to", archive.node, "--quiet-seconds", QUIET)
    options += ("--engine", "openvino", "--spool", folder / f"results-{what[:3]}")
    seconds = []
    with listening(workspace, folder / "log.txt", *options) as one:
        for place in range(studies):
            uid = generate_uid()
            files = [
                film(folder / f"{place}a.dcm", StudyInstanceUID=uid),
                film(folder / f"{place}b.dcm", StudyInstanceUID=uid, ViewPosition="LL"),
            ]
            archive.came.clear()
            assert send(one.port, files)
            began = time.perf_counter()
            assert archive.came.wait(300)
            seconds.append(time.perf_counter() - began - QUIET)
    archive.server.shutdown()
    print(
        f"{what}: report back {statistics.median(seconds):.2f} s after the last image, quiet time "
        f"apart (first {seconds[0]:.2f} s, longest {max(seconds):.2f} s; "
        f"{len(archive.kinds) / studies:.1f} objects a study)",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--films", type=int, default=40)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--studies", type=int, default=6)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace, exported = make_workspace(folder)
        print(f"{os.cpu_count()} cores", flush=True)
        show_results(workspace, exported, folder, given.studies, "exported")
        show_results(workspace, "run", folder, given.studies, "run, with heat maps")
        show_reception(workspace, exported, folder, given.films, given.pairs)


if __name__ == "__main__":
    main()
