"""Processes that train together: here two or three on gloo, which share the CPU."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models import ResNet

from cxrtool.core import processes as distributed
from cxrtool.core.config import TrainConfig
from cxrtool.core.errors import CxrToolError, DataError, StoppedError, UsageError
from cxrtool.core.processes import ALONE, Processes, joined, launched, one_voice
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.manifest import read_manifest, read_split
from cxrtool.evaluation.metrics import auroc_per_label, mean_defined
from cxrtool.networks import architectures as networks
from cxrtool.training import augmentation as augmentation
from cxrtool.training import control as control
from cxrtool.training import learner as learner
from cxrtool.training import setup as train_setup
from cxrtool.training.block import block_of
from cxrtool.training.data import read_training_data
from cxrtool.training.dataloaders import SampledLoader
from cxrtool.workflows.train import train_model
from tests.conftest import TINY, Listening
from tests.support.copies import copy_folder

# Everything that could tell processes apart: targets that are masked here and there, an average of
# the weights, a phase with frozen blocks, rates that fall with the training loss.
CONFIG = replace(
    TINY,
    uncertainty="ignore",
    blank="ignore",
    freeze_epochs=1,
    unfreeze="all",
    validations=2,
    ema=0.9,
    epochs=3,
    plateau_patience=0,
    keep_checkpoint=True,
    name="run",
)
TIMES = ["train_seconds", "seconds", "images_per_second"]
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
NOISES = ("augmentation", "cpu")
PATIENCE = 300
"""Seconds that processes may take which end by themselves."""


class Plain(nn.Module):
    """A network without noise and without statistics of a batch: only gradients are shared.

    Its blocks are made in another order than they compute in.
    """

    def __init__(self, labels):
        super().__init__()
        self.fc = nn.Linear(8, labels)
        self.layer4 = nn.Sequential(nn.Conv2d(8, 8, 3, 2), nn.ReLU())
        self.layer1 = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU())

    def forward(self, images):
        return self.fc(self.layer4(self.layer1(images)).mean((2, 3)))


class Noisy(Plain):
    """One with both."""

    def __init__(self, labels):
        super().__init__(labels)
        self.layer4.append(nn.BatchNorm2d(8))
        self.layer1.append(nn.BatchNorm2d(8))
        self.layer4.append(nn.Dropout(0.2))


def use_network(kind):
    """Let training build a small network, whatever its options say."""
    networks.PLANS[Plain] = networks.PLANS[ResNet]  # its blocks have a ResNet's names
    train_setup.build_network = lambda _, labels, **__: kind(labels)


def still(self, n, shape, device):
    """No augmentation."""
    return torch.eye(3).repeat(n, 1, 1)


def happen(event, network):
    """What befalls this process now."""
    if event == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif event == "ask":
        os.kill(os.getpid(), signal.SIGTERM)
    elif event == "break":
        with torch.no_grad():
            next(network.parameters()).fill_(float("nan"))


def let_happen(event, rank, step, *, validating=False):
    """Have something befall the process of this rank, after a step or in the validation then."""
    original = control.Control.after_batch

    def after_batch(self):
        here = self.processes.rank == rank and self.state.step == step - self.training
        if here and self.training != validating:
            happen(event, self.learn.network)
        original(self)

    control.Control.after_batch = after_batch


def fingerprint(parts):
    weights = [weight.detach() for part in parts for weight in part.parameters()]
    return hashlib.sha256(b"".join(w.numpy(force=True).tobytes() for w in weights)).hexdigest()


def train_here(folder, kind, config, given=(), event=None, every=None, **of_rank):
    """Train in this process, one of several, and tell what it came to."""
    use_network(kind)
    if kind is Plain:
        augmentation.Affine.draw = still
    if event:
        let_happen(*event[:3], validating="validating" in event)
    if every:
        control.MEET_EVERY = every
    config = replace(config, **of_rank.get(f"rank_{os.environ['RANK']}", {}))
    weights, reporter = [], Listening()
    step = learner.CXRLearner._step

    def traced(self):
        step(self)
        blocks = networks.blocks_of(self.network)
        weights.append([fingerprint(part) for part in (blocks.body, blocks.top, blocks.head)])

    learner.CXRLearner._step = traced
    error, result = None, None
    try:
        result = train_model(config, Workspace(folder), seed=5, given=given, reporter=reporter)
    except CxrToolError as raised:
        error = (type(raised).__name__, str(raised))
    writes = None if result is None else result.writes
    return {"error": error, "writes": writes, "weights": weights, "warned": reporter.warnings}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def in_process(rank, world, port, connection, task, arguments, options):
    place = (rank, world, rank, world, "127.0.0.1", port)
    os.environ.update({name: str(value) for name, value in zip(VARIABLES, place, strict=True)})
    torch.set_num_threads(1)
    connection.send(task(*arguments, **options))


def together(world, task, *arguments, **options):
    """Run a task in several new processes at once; what each returned, None of one that died."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["cxrtool.workflows.train"])  # then each starts at once
    port, ends, started = free_port(), [], []
    for rank in range(world):
        mine, its = context.Pipe(duplex=False)
        process = context.Process(
            target=in_process, args=(rank, world, port, its, task, arguments, options)
        )
        process.start()
        its.close()
        ends.append(mine)
        started.append(process)
    told = []
    try:
        for end in ends:
            assert end.poll(60), "the processes wait for each other"
            try:
                told.append(end.recv())
            except EOFError:
                told.append(None)
        for process in started:
            process.join(30)
    finally:
        for process in started:
            process.kill()
    return told


def new_workspace(prepared_once, folder):
    copy_folder(prepared_once.folder, folder / "cxr")
    return Workspace(folder / "cxr")


def left_alone(prepared_once, folder, world):
    workspace = new_workspace(prepared_once, folder)
    told = together(world, train_here, workspace.folder, Noisy, CONFIG)
    assert [each["error"] for each in told] == [None] * world
    return workspace, told


@pytest.fixture(scope="module")
def pair(prepared_once, tmp_path_factory):
    """What two processes trained, undisturbed."""
    return left_alone(prepared_once, tmp_path_factory.mktemp("pair"), 2)


@pytest.fixture(scope="module")
def three(prepared_once, tmp_path_factory):
    """What three processes trained, undisturbed."""
    folder = tmp_path_factory.mktemp("three")
    workspace = new_workspace(prepared_once, folder)
    config = replace(CONFIG, batch_size=18)
    told = together(3, train_here, workspace.folder, Noisy, config)
    assert [each["error"] for each in told] == [None] * 3
    return workspace


def run_in(workspace):
    return RunFolder(workspace.runs / "run")


def history_of(run):
    return pd.read_csv(run.history).drop(columns=TIMES)


def assert_equal_runs(run, other):
    for name in ("model.safetensors", "thresholds.json", "predictions/valid.csv"):
        assert (run.path / name).read_bytes() == (other.path / name).read_bytes(), name
    pd.testing.assert_frame_equal(history_of(run), history_of(other), check_exact=True)
    one, two = (load_file(path.checkpoint) for path in (run, other))
    assert one.keys() == two.keys()
    assert [key for key in one if not torch.equal(one[key], two[key])] == []


RESUME = TrainConfig(resume="run", device="cpu", workers=0)


def resume(world, workspace):
    return together(
        world, train_here, workspace.folder, Noisy, RESUME, given=("resume", "device", "workers")
    )


# --- who a process is ---


def set_environment(monkeypatch, text):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for pair in text.split():
        monkeypatch.setenv(*pair.split("="))


TOLD = "MASTER_ADDR=localhost MASTER_PORT=29500"


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ("", ALONE),
        ("RANK=1", ALONE),
        ("RANK=3 LOCAL_RANK=3 WORLD_SIZE=1", ALONE),
        (f"RANK=0 LOCAL_RANK=0 WORLD_SIZE=1 {TOLD}", ALONE),
        (f"RANK=3 LOCAL_RANK=1 WORLD_SIZE=4 {TOLD}", Processes(3, 4, 1)),
    ],
)
def test_a_process_knows_its_place(environment, place, monkeypatch):
    set_environment(monkeypatch, environment)
    assert launched() == place


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ("WORLD_SIZE=2", "not RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT: start with `torchrun"),
        (f"WORLD_SIZE=2 RANK=1 {TOLD}", "not LOCAL_RANK: start with `torchrun"),
        ("WORLD_SIZE=two", "WORLD_SIZE=two"),
        ("WORLD_SIZE=0", "WORLD_SIZE=0"),
        (f"WORLD_SIZE=2 RANK=-1 LOCAL_RANK=0 {TOLD}", "RANK=-1"),
        (f"WORLD_SIZE=2 RANK=2 LOCAL_RANK=0 {TOLD}", "RANK=2 is not below WORLD_SIZE=2"),
    ],
)
def test_half_an_announcement_is_refused(environment, told, monkeypatch):
    set_environment(monkeypatch, environment)
    with pytest.raises(UsageError, match=told):
        launched()


# --- what they tell each other ---


def meet():
    processes = launched()
    rank, world = processes.rank, processes.world
    told = {}
    with joined(processes, torch.device("cpu")):
        for total in range(8):
            rows = torch.arange(total * 2.0).reshape(total, 2)
            told[total] = processes.gather_rows(rows[rank::world], total).numpy()
        told["any"] = processes.any([rank == 1, False, rank < 2])
        told["mean"] = float(processes.mean(torch.tensor(float(rank))))
        told["sum"] = processes.sum(torch.tensor([1.0, rank])).tolist()
        told["gather"] = [float(value) for value in processes.gather(torch.tensor(rank / 2))]
        told["text"] = processes.text(f"of {rank}")
        told["differing"] = processes.differing({"same": [1], "rank": rank, "last": rank == 2})
        processes.wait()
    return told


def test_all_processes_hear_the_same():
    told = together(3, meet)
    for each in told:
        for total in range(8):
            expected = np.arange(total * 2.0).reshape(total, 2)
            np.testing.assert_array_equal(each.pop(total), expected)
        assert each == {
            "any": [True, False, True],
            "mean": 1.0,
            "sum": [3.0, 3.0],
            "gather": [0.0, 0.5, 1.0],
            "text": "of 0",
            "differing": ["rank", "last"],
        }


def test_one_process_meets_nobody():
    rows = torch.ones(3, 2)
    assert torch.equal(ALONE.gather_rows(rows, 3), rows)
    assert ALONE.any([True, False]) == [True, False]
    assert [float(value) for value in ALONE.gather(torch.tensor(2.0))] == [2.0]
    assert float(ALONE.mean(torch.tensor(2.0))) == float(ALONE.sum(torch.tensor(2.0))) == 2.0
    assert ALONE.text("mine") == "mine"
    assert ALONE.differing({"a": 1}) == []
    ALONE.wait()


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_each_batch_of_one_draw(world):
    weights = np.arange(43.0)

    def batches(rank, of):
        place = Processes(rank, of)
        loader = SampledLoader(
            range(43), bs=12, weights=weights, seed=3, processes=place, shuffle=True, num_workers=0
        )
        drawn = []
        for _ in range(200):
            loader.begin_epoch()
            drawn.append(loader.batches)
        return drawn

    alone, shared = batches(0, 1), [batches(rank, world) for rank in range(world)]
    drawn = np.zeros(43)
    for epoch, whole in enumerate(alone):
        left = 43
        for number, parts in enumerate(zip(*(of[epoch] for of in shared), strict=True)):
            assert len({len(part) for part in parts}) == 1
            rows = sorted(row for part in parts for row in part)
            assert rows == sorted(whole[number][: len(rows)])
            np.add.at(drawn, rows, 1)
            left -= len(rows)
        assert left < 2 * world
    np.testing.assert_allclose(drawn / drawn.sum(), weights / weights.sum(), atol=0.006)


# --- what they train ---


def test_two_processes_train_what_one_does(prepared_once, tmp_path):
    # A phase of a network without noise; each batch of 16 or 12 can be shared evenly.
    config = replace(CONFIG, limit=44, epochs=4)
    runs = []
    for world in (1, 2):
        workspace = new_workspace(prepared_once, tmp_path / str(world))
        told = together(world, train_here, workspace.folder, Plain, config)
        assert [each["error"] for each in told] == [None] * world
        runs.append(run_in(workspace))
    one, two = (history_of(run) for run in runs)
    pd.testing.assert_frame_equal(one, two, rtol=1e-5)
    one, two = (load_file(run.weights) for run in runs)
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-4, atol=1e-5)


def test_all_processes_have_the_same_weights_after_each_step(pair):
    _, (first, second) = pair
    assert first["weights"] == second["weights"]
    body, top, head = zip(*first["weights"], strict=True)
    steps = len(body)
    frozen = steps // CONFIG.epochs
    assert len(set(head)) == steps
    for block in (body, top):
        assert len(set(block[:frozen])) == 1
        assert len(set(block[frozen:])) == steps - frozen


def test_one_process_writes(pair):
    workspace, told = pair
    assert [each["writes"] for each in told] == [True, False]
    assert [path.name for path in workspace.runs.iterdir()] == ["run"]
    run = run_in(workspace)
    assert len(history_of(run)) == CONFIG.epochs * CONFIG.validations
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["last.safetensors"]
    assert json.loads(run.environment.read_text())["processes"] == 2


def test_scores_are_of_the_whole_valid_part(pair):
    workspace, _ = pair
    run = run_in(workspace)
    data = read_training_data(CONFIG, workspace, 5, Listening())
    labels = list(data.labels)
    manifest = read_manifest(workspace.manifest)
    valid = manifest[read_split(workspace.split, manifest) == "valid"]
    assert len(valid) % 2  # one process has a row more than the other
    scores = pd.read_csv(run.predictions("valid"))
    assert scores["path"].tolist() == valid["path"].tolist()

    network = Noisy(len(labels))
    network.load_state_dict(load_file(run.weights))
    network.eval()
    block = block_of(data, CONFIG.image_size, seed=0)
    dls = block.dataloaders(bs=CONFIG.batch_size, num_workers=0, device=torch.device("cpu"))
    with torch.no_grad():
        logits = torch.cat([network(images) for images, _ in dls.valid])
    expected = torch.sigmoid(logits).numpy()
    np.testing.assert_allclose(scores[labels].to_numpy(), expected, atol=1e-5)

    targets = data.targets(valid=True)
    aurocs = auroc_per_label(targets > 0.5, logits.numpy(), ~np.isnan(targets))
    history = history_of(run)
    best = history.loc[history["valid_mean_auroc"].idxmax()]
    np.testing.assert_allclose(best[labels].to_numpy(float), aurocs, rtol=1e-6)
    assert best["valid_mean_auroc"] == pytest.approx(mean_defined(list(aurocs))[0])


# --- how they stop, and go on ---


def test_a_stop_that_one_is_asked_for_stops_all_and_goes_on_to_the_same_end(
    three, prepared_once, tmp_path
):
    workspace = new_workspace(prepared_once, tmp_path)
    config = replace(CONFIG, batch_size=18)
    told = together(3, train_here, workspace.folder, Noisy, config, event=("ask", 1, 5))
    assert [each["error"][0] for each in told] == ["StoppedError"] * 3
    texts = [each["error"][1] for each in told]
    assert texts[0].startswith("stopped in epoch 2, after ")
    command = f"torchrun --nproc-per-node 3 -m cxrtool train --resume run -w {workspace.folder}"
    assert command in texts[0]
    assert texts[1:] == ["", ""]
    assert 0 < len(history_of(run_in(workspace))) < len(history_of(run_in(three)))
    assert [each["error"] for each in resume(3, workspace)] == [None] * 3
    assert_equal_runs(run_in(workspace), run_in(three))


@pytest.mark.parametrize("event", [None, ("ask", 0, 6, "validating")])
def test_processes_meet_while_they_validate_unequal_parts(event, prepared):
    # 25 images in batches of 2: the first process has a batch more than the second.
    config = replace(CONFIG, limit=25, batch_size=4, validations=1, epochs=2)
    told = together(2, train_here, prepared.folder, Noisy, config, event=event, every=1)
    ended = [each["error"] and each["error"][0] for each in told]
    if event is None:
        assert ended == [None, None]
        return
    assert ended == ["StoppedError"] * 2
    assert [each["error"] for each in resume(2, prepared)] == [None] * 2
    assert len(history_of(run_in(prepared))) == 2  # the validation was not lost, nor made twice


@pytest.mark.parametrize("world", [1, 3])
def test_another_number_of_processes_goes_on_with_a_warning(world, prepared, capfd):
    config = replace(CONFIG, batch_size=18, limit=54)  # an epoch is too short to meet in each
    told = together(2, train_here, prepared.folder, Noisy, config, event=("ask", 0, 5))
    assert told[0]["error"][0] == "StoppedError"
    before = pd.read_csv(run_in(prepared).history)
    told = resume(world, prepared)
    assert [each["error"] for each in told] == [None] * world
    warned = [text for text in told[0]["warned"] if "processes" in text]
    assert len(warned) == 1
    assert "2 processes" in warned[0]
    assert "warning" not in capfd.readouterr().err  # of the others, which nobody listens to
    after = pd.read_csv(run_in(prepared).history)
    pd.testing.assert_frame_equal(after[: len(before)], before)
    assert len(after) == CONFIG.epochs * CONFIG.validations


def test_a_checkpoint_holds_what_is_each_processs_own(prepared):
    config = replace(CONFIG, freeze_epochs=0, validations=1, epochs=1)
    told = together(2, train_here, prepared.folder, Plain, config, event=("ask", 0, 4))
    assert told[0]["error"][0] == "StoppedError"
    held = load_file(run_in(prepared).checkpoint)
    assert held["losses"].shape == (2, 4)
    pairs = [held["losses"]]
    pairs += [[held[f"generator.{rank}.{name}"] for rank in range(2)] for name in NOISES]
    for first, second in pairs:
        assert not torch.equal(first, second)


def test_a_process_that_fails_tells_why_and_the_others_how_to_go_on(pair, prepared):
    told = together(2, train_here, prepared.folder, Noisy, CONFIG, event=("break", 1, 1))
    first, second = (each["error"] for each in told)
    assert first[0] == second[0] == "RunError"
    assert "no longer finite" in second[1]
    assert "one of the 2 processes ended" in first[1]
    assert "train --resume run" in first[1]
    assert [each["error"] for each in resume(2, prepared)] == [None] * 2
    assert_equal_runs(run_in(prepared), run_in(pair[0]))


def test_processes_that_would_train_different_things_are_refused(prepared):
    told = together(
        2, train_here, prepared.folder, Noisy, CONFIG, rank_1={"lr": 0.5, "patience": 9}
    )
    for each in told:
        assert each["error"][0] == "UsageError"
        assert "differ in --lr, --patience:" in each["error"][1]
    assert not list(prepared.runs.glob("*"))


# --- what is told ---


@pytest.fixture
def store(monkeypatch, tmp_path):
    """A store like torchrun's own, which outlives the processes."""
    held = torch.distributed.TCPStore(
        "127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=10)
    )
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(held.port))
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    before = signal.getsignal(signal.SIGTERM)
    yield held
    signal.signal(signal.SIGTERM, before)


def say(error, processes):
    with pytest.raises(type(error)) as raised, one_voice(processes):
        raise error
    return str(raised.value)


def test_what_several_processes_find_is_told_once(store, tmp_path):
    first, second = Processes(0, 2, 0), Processes(1, 2, 1)
    assert say(DataError("no manifest"), second) == "no manifest"
    assert say(DataError("no manifest"), first) == ""
    assert say(DataError("another thing"), first) == "another thing"
    told = json.loads((tmp_path / "error.json").read_text())
    assert told["message"]["extraInfo"]["py_callstack"] == "another thing"


def test_what_has_a_message_is_not_ended_before_it_told_it(store):
    say(DataError("no manifest"), Processes(1, 2, 1))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_one_process_and_one_that_stops_keep_their_words(store, tmp_path):
    for _ in range(2):
        assert say(DataError("no manifest"), ALONE) == "no manifest"
        assert say(StoppedError("stopped"), Processes(0, 2, 0)) == "stopped"
    assert not (tmp_path / "error.json").exists()


def test_without_torchruns_store_each_process_tells(store, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE")
    for rank in range(2):
        assert say(DataError("no manifest"), Processes(rank, 2, rank)) == "no manifest"


def test_a_store_that_is_gone_silences_nobody(store, monkeypatch):
    monkeypatch.setattr(distributed, "_TALK_SECONDS", 0.2)
    monkeypatch.setenv("MASTER_PORT", free_port())
    assert say(DataError("no manifest"), Processes(1, 2, 1)) == "no manifest"


# --- torchrun itself ---


def command_line():
    """The command line with a small network; `EVENT` in the environment is what befalls it."""
    from cxrtool.cli.app import main

    torch.set_num_threads(1)
    use_network(Noisy)
    if "EVENT" in os.environ:
        event, rank, step = os.environ["EVENT"].split()
        let_happen(event, int(rank), int(step))
    main()


def options(workspace):
    given = {
        "arch": CONFIG.arch,
        "weights": CONFIG.weights,
        "image-size": CONFIG.image_size,
        "batch-size": CONFIG.batch_size,
        "precision": CONFIG.precision,
        "device": CONFIG.device,
        "workers": CONFIG.workers,
        "uncertainty": CONFIG.uncertainty,
        "blank": CONFIG.blank,
        "freeze-epochs": CONFIG.freeze_epochs,
        "unfreeze": CONFIG.unfreeze,
        "validations": CONFIG.validations,
        "ema": CONFIG.ema,
        "epochs": CONFIG.epochs,
        "plateau-patience": CONFIG.plateau_patience,
        "name": CONFIG.name,
        "seed": 5,
        "workspace": workspace.folder,
    }
    words = [part for name in given for part in (f"--{name}", str(given[name]))]
    return ["train", *words, "--keep-checkpoint"]


COMMAND_LINE = "from tests.core.test_processes import command_line; command_line()"


def torchrun(warm, world, arguments, tmp_path, event=None, program=COMMAND_LINE):
    """Its processes start at once; see warm.py."""
    file = tmp_path / "program.py"
    file.write_text(program)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name in VARIABLES:
        environment.pop(name, None)
    if event:
        environment["EVENT"] = event
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    return subprocess.Popen(
        [*launcher, "--nproc-per-node", str(world), warm, str(file), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


@pytest.mark.slow
def test_a_rank_that_is_killed_ends_the_run_and_it_goes_on_to_the_same_end(
    pair, prepared, warm, tmp_path
):
    started = torchrun(warm, 2, options(prepared), tmp_path, event="kill 1 7")
    told = started.communicate(timeout=PATIENCE)[0]
    assert started.returncode != 0
    command = f"torchrun --nproc-per-node 2 -m cxrtool train --resume run -w {prepared.folder}`"
    told_by_us = [line for line in told.splitlines() if line.startswith("error: ")]
    assert len(told_by_us) == 1, told
    assert "one of the 2 processes ended early" in told_by_us[0]
    assert command in told_by_us[0]
    assert "Signal 9 (SIGKILL)" in told
    assert "traceback : one of the 2 processes ended" in told  # in torchrun's own report
    assert 0 < len(history_of(run_in(prepared))) < CONFIG.epochs * CONFIG.validations
    assert [each["error"] for each in resume(2, prepared)] == [None] * 2
    assert_equal_runs(run_in(prepared), run_in(pair[0]))


@pytest.mark.slow
def test_a_stop_of_all_processes_at_once_is_told_once(prepared, warm, tmp_path):
    more = [*options(prepared), "--epochs", "500", "--patience", "500"]
    started = torchrun(warm, 2, more, tmp_path)
    run, deadline = run_in(prepared), time.monotonic() + PATIENCE
    while not run.history.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    # SLURM tells all, and torchrun passes it on to its own: they hear it twice.
    children = subprocess.run(
        ["pgrep", "-P", str(started.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    for number in (started.pid, *map(int, children)):
        os.kill(number, signal.SIGTERM)
    told = started.communicate(timeout=PATIENCE)[0]
    assert started.returncode != 0
    lines = [line for line in told.splitlines() if "--resume" in line]
    assert len(lines) == 1, told
    assert lines[0].startswith("stopped in epoch ")
    assert "interrupted" not in told
    assert [each["error"] for each in together_longer(prepared)] == [None] * 2


def together_longer(workspace):
    """Go on for a moment, and stop again in order."""
    config = replace(RESUME, patience=1)
    return together(
        2,
        train_here,
        workspace.folder,
        Noisy,
        config,
        given=("resume", "device", "workers", "patience"),
    )


BAD_OPTION = """
from cxrtool.core.config import CommonConfig
from cxrtool.core.processes import launched, one_voice
from cxrtool.core.errors import UsageError
from cxrtool.cli.command import boundary

with boundary(CommonConfig()), one_voice(launched()):
    raise UsageError("--batch-size 15: 2 cannot share it evenly")
"""


@pytest.mark.slow
def test_a_bad_option_is_told_once(warm, tmp_path):
    started = torchrun(warm, 2, [], tmp_path, program=BAD_OPTION)
    told = started.communicate(timeout=PATIENCE)[0]
    assert started.returncode != 0
    lines = [line for line in told.splitlines() if "error: " in line]
    assert len(lines) == 1, told
    assert lines[0].endswith("--batch-size 15: 2 cannot share it evenly")
    assert "traceback : --batch-size 15: 2 cannot" in told  # torchrun's own report ends with it
