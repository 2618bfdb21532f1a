"""200 studies through `listen` into a real archive, with kills and a full disk: none lost or twice.

python tests/benchmarks/soak_listen.py [--studies 200] [--kills 3] [--seed 1]

Each study has two images: a frontal one, and a second that is frontal, lateral, or of a CT.
DCMTK's storescu sends them, several studies at once, again until each image is accepted. Meanwhile
the listener and all that it has started are killed at random moments, and its spool, a small file
system in memory where that can be mounted, is filled up once. Then Orthanc's store is looked
through: each study has one report that refers to all its images, no instance is there twice, and
dciodvfy finds no error.
"""

import argparse
import collections
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from pydicom import dcmread
from pydicom.uid import CTImageStorage, generate_uid

from cxrtool.core.config import PrepareConfig, SplitConfig, TrainConfig
from cxrtool.core.workspace import Workspace
from cxrtool.data.phantoms import draw_dataset
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workflows.split import split_manifest
from cxrtool.workflows.train import train_model
from tests.support.dcmtk import STORESCU
from tests.support.dicoms import saved
from tests.support.listening import ENDS, children
from tests.support.orthanc import Orthanc, free_port
from tests.support.studies import dx, errors_of_the_standard

SECONDS = (
    {"ViewPosition": "AP"},
    {"ViewPosition": "LL"},
    {"SOPClassUID": CTImageStorage, "Modality": "CT"},
)
"""What the second image of a study is."""
SENDERS = 4
SPOOL_MB = 64
PACE = 1.5
"""Seconds that a sender waits before a study, in the mean."""
PATIENCE = 3600


def make_workspace(folder):
    """A workspace with a small network."""
    drawn = draw_dataset(folder / "data", patients=60, seed=1, valid_patients=6)
    workspace = Workspace(folder / "cxr")
    prepare_manifest(PrepareConfig(data=drawn.folder, cache_size=64), workspace)
    split_manifest(SplitConfig(sizes="60,20,20"), workspace, seed=1)
    small = {"weights": "none", "epochs": 1, "limit": 16, "batch_size": 16, "device": "cpu"}
    train_model(TrainConfig(arch="resnet18", image_size=64, **small), workspace, seed=1)
    return workspace


def make_studies(folder, number):
    """The files of each study, by its UID."""
    made = {}
    for place in range(number):
        uid, patient = generate_uid(), {"PatientID": f"P{place}", "AccessionNumber": f"A{place}"}
        folder.mkdir(exist_ok=True)
        images = (
            dx(StudyInstanceUID=uid, InstanceNumber=1, **patient),
            dx(StudyInstanceUID=uid, InstanceNumber=2, **patient, **SECONDS[place % 3]),
        )
        made[uid] = [
            saved(folder / f"{place}-{number}.dcm", one) for number, one in enumerate(images)
        ]
    return made


@contextmanager
def small_disk(folder):
    """A file system that can be filled up; where it cannot be mounted, the folder itself."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SPOOL_MB}m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


class Listener:
    """A listener that is killed and started again, at the same port."""

    def __init__(self, workspace, spool, archive, log):
        self.port, self.process, self.log = free_port(), None, log
        self.command = [
            *(sys.executable, "-m", "cxrtool", "listen", "-w", str(workspace.folder), "--json"),
            *("--spool", str(spool), "--to", archive.node, "--port", str(self.port)),
            *("--monitor-port", "0", "--spool-reserve-mb", "2", "--quiet-seconds", "3"),
            *("--engine", "torch", "--device", "cpu", "--archive-timeout", "10"),
        ]

    def start(self):
        with self.log.open("ab") as said:
            self.process = subprocess.Popen(
                self.command, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
            )

    def wait(self):
        """Until it takes images."""
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)

    def kill(self):
        for child in children(self.process.pid):
            os.kill(child, 9)
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        return self.process.wait(ENDS)


def send(files, port, pause):
    """Send the images of a study until each is accepted; how often that was tried."""
    time.sleep(pause)
    for attempt in range(1, 10_000):
        done = subprocess.run(
            [STORESCU, "-aec", "CXRTOOL", "-to", "10", "127.0.0.1", str(port), *files],
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            return attempt
        time.sleep(0.3)
    raise AssertionError("an image is never accepted")


def states(spool):
    return {
        state: len(list((spool / state).iterdir()))
        for state in ("incoming", "outbox", "done", "refused")
    }


def fill(spool, seconds):
    """Leave no room on the spool's disk for a while."""
    ballast = spool / "ballast"
    with ballast.open("wb") as file:
        try:
            while True:
                file.write(bytes(2**20))
                file.flush()
        except OSError:
            pass
    time.sleep(seconds)
    ballast.unlink()


def disturb(listener, spool, stop, *, kills, mounted, seed):
    """Kill the listener at random moments, and fill the disk once; what was done."""
    dice, done = random.Random(seed), collections.Counter()
    events = ["kill"] * kills + (["full"] if mounted else [])
    dice.shuffle(events)
    for event in events:
        if stop.wait(dice.uniform(8, 25)):
            break
        print(f"  {event}: {states(spool)}", flush=True)
        if event == "kill":
            listener.kill()
            listener.start()
        else:
            fill(spool, 6)
        done[event] += 1
    return done


def check(studies, archive, folder):
    """What is wrong with the archive's store, in words; and how many instances are there."""
    wrong, found = [], archive.instances()
    twice = [
        uid
        for uid, n in collections.Counter(one["SOPInstanceUID"] for one in found).items()
        if n > 1
    ]
    if twice:
        wrong.append(f"{len(twice)} instances twice")
    reports = collections.defaultdict(list)
    for one in json.loads(archive.ask("/instances?expand")):
        content = archive.ask(f"/instances/{one['ID']}/file")
        errors = errors_of_the_standard(content, folder)
        if errors:
            wrong.append(f"dciodvfy: {errors[0]}")
        (folder / "result.dcm").write_bytes(content)
        made = dcmread(folder / "result.dcm")
        if made.Modality == "SR":
            reports[str(made.StudyInstanceUID)].append(content)
    for uid, files in studies.items():
        images = [dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in files]
        whole = [one for one in reports[uid] if all(i.encode() in one for i in images)]
        if len(whole) != 1:
            wrong.append(f"a study with {len(whole)} whole reports")
    partial = sum(len(found) for found in reports.values()) - len(studies)
    if set(reports) - set(studies):
        wrong.append("reports of unknown studies")
    return wrong, len(found), partial


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name) / "spool") as mounted:
        folder, spool = Path(name), Path(name) / "spool"
        workspace = make_workspace(folder)
        studies = make_studies(folder / "sent", given.studies)
        archive = Orthanc(folder / "orthanc").start()
        listener = Listener(workspace, spool, archive, folder / "log.txt")
        listener.start()
        listener.wait()
        stop, began = threading.Event(), time.monotonic()
        dice = random.Random(given.seed)
        with ThreadPoolExecutor(SENDERS + 1) as pool:
            disturbed = pool.submit(
                disturb, listener, spool, stop, kills=given.kills, mounted=mounted, seed=given.seed
            )
            sent = [
                pool.submit(send, files, listener.port, dice.uniform(0, 2 * PACE))
                for files in studies.values()
            ]
            attempts = sum(one.result() for one in sent)
            print(f"all accepted after {time.monotonic() - began:.0f} s", flush=True)
            done = disturbed.result()
        while states(spool)["done"] < given.studies:
            assert time.monotonic() - began < PATIENCE, states(spool)
            time.sleep(1)
        seconds = time.monotonic() - began
        assert listener.stop() == 0
        wrong, instances, partial = check(studies, archive, folder)
        archive.stop()
        print(
            f"{given.studies} studies of two images, {attempts} attempts to send them, "
            f"{done['kill']} kills, disk full {done['full']} times, {seconds:.0f} s: "
            f"{instances} results in the archive, {partial} of them reports of studies of which "
            f"an image was not there yet; wrong: {wrong or 'nothing'}"
        )
        if wrong:
            print((folder / "log.txt").read_text()[-3000:])
        sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
