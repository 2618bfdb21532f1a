"""`train`: a manifest and its split to a run folder. The test part is never read."""

import errno
import shlex
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from cxrtool.core.config import PROBE_FIRST, PROBE_ONLY, TrainConfig
from cxrtool.core.console import SILENT, Mute, Reporter
from cxrtool.core.errors import NotWrittenError, RunError, StoppedError, UsageError
from cxrtool.core.files import sha256
from cxrtool.core.names import name_of_training
from cxrtool.core.new_runs import OpenRun, check_new_name, new_run, resumed_run
from cxrtool.core.processes import Processes, joined, launched, lost_others, one_voice
from cxrtool.core.runs import RunFolder
from cxrtool.core.signals import stop_requests
from cxrtool.core.start_cards import name_of_start
from cxrtool.core.workspace import Workspace, workspace_option
from cxrtool.networks.devices import compute_threads
from cxrtool.reports.packing import write_pack
from cxrtool.training.advice import say_plan, say_sampling, say_shifted
from cxrtool.training.averaging import WeightAverage
from cxrtool.training.checkpoints import capture
from cxrtool.training.choices import resolve, use_free_cores
from cxrtool.training.continuation import continue_run
from cxrtool.training.control import Control
from cxrtool.training.failures import explained
from cxrtool.training.phases import run_phases
from cxrtool.training.probing import fit_head, record_probe
from cxrtool.training.recorder import RunRecorder, settings_of
from cxrtool.training.resume import Resumed, read_resumed
from cxrtool.training.setup import Setup, set_up
from cxrtool.training.tracking import told_settings, track


@dataclass(frozen=True)
class TrainResult:
    """What a training came to."""

    run: RunFolder
    epochs: int
    best_epoch: int
    valid_mean_auroc: float
    images_per_second: float
    seconds: float
    writes: bool = True
    """Whether this process, of several, is the one that speaks."""
    fitted: bool = False
    """Whether its epochs are fits of the last layer to features."""

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        told = {key: value for key, value in vars(self).items() if key not in ("writes", "fitted")}
        return {**told, "run": self.run.name}


def train_model(
    config: TrainConfig,
    workspace: Workspace,
    *,
    seed: int,
    given: Collection[str] = (),
    study: str | None = None,
    reporter: Reporter = SILENT,
) -> TrainResult:
    """Train a network as `config` says and write its run folder; or go on with a run.

    Started by torchrun or accelerate, it is one of several processes that train together; the
    first of them writes.

    Args:
        config: what to train; with `resume`, which run to go on with.
        workspace: with a manifest and a split.
        seed: of every generator.
        given: with `resume`, the fields of `config` that must not contradict the run.
        study: the search that it is a trial of, which the run then says of itself.
        reporter: told how it goes.

    Raises:
        DataError: no manifest or split, or too little data to train or to score.
        UsageError: an unknown architecture or device, or options that contradict each other.
        WeightsError: the pretrained weights cannot be had or do not fit.
        RunError: the loss became something that is not a number, memory or disk ran out, or
            another process ended.
        StoppedError: Ctrl-C or SIGTERM asked for it; the run can be resumed.
    """
    started = time.perf_counter()
    processes = launched()
    with one_voice(processes):
        job = _resolved(config, workspace, seed, given, study, processes, reporter)
        with stop_requests() as stop_asked, joined(processes, job.device), ExitStack() as stack:
            stack.enter_context(compute_threads(job.config.threads))
            opened, control = _train_run(job, stop_asked, stack)
            processes.wait()
    return TrainResult(
        run=opened.run,
        epochs=control.state.epoch,
        best_epoch=int(control.state.best_epoch or 0),
        valid_mean_auroc=float(control.state.best_auroc or 0),
        images_per_second=control.images_per_second,
        seconds=time.perf_counter() - started,
        writes=processes.first,
        fitted=job.config.probe == PROBE_ONLY,
    )


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What this process trains, with every choice made that needs no data."""

    config: TrainConfig
    seed: int
    device: torch.device
    workspace: Workspace
    processes: Processes
    study: str | None
    resumed: Resumed | None
    """The run that `--resume` names."""
    reporter: Reporter

    @property
    def continued(self) -> Resumed | None:
        """The run whose checkpoint it continues: one that was killed before its first has none."""
        if self.resumed is None or self.config.probe == PROBE_ONLY:  # a fit is repeated
            return None
        return self.resumed if self.resumed.environment is not None else None


def _resolved(
    config: TrainConfig,
    workspace: Workspace,
    seed: int,
    given: Collection[str],
    study: str | None,
    processes: Processes,
    reporter: Reporter,
) -> _Job:
    """Make the choices: those of a run that is resumed, or those of the options."""
    resumed = None
    if config.resume is not None:
        resumed = read_resumed(config, workspace, seed, given)
        config, seed = resumed.config, resumed.seed
        if config.probe == PROBE_ONLY and resumed.run.finished:
            raise UsageError(
                f"run {resumed.run.name} is finished: a last layer that was fitted is not trained "
                "for longer; `cxrtool train --weights RUN` starts from it"
            )
    config, device = resolve(config, processes)
    if not processes.first:
        reporter = Mute()
    begun = (resumed.environment or {}).get("threads") if resumed else None
    return _Job(
        config=use_free_cores(config, device, processes, begun=begun, reporter=reporter),
        seed=seed,
        device=device,
        workspace=workspace,
        processes=processes,
        study=study,
        resumed=resumed,
        reporter=reporter,
    )


def _train_run(
    job: _Job, stop_asked: Callable[[], bool], stack: ExitStack
) -> tuple[OpenRun, Control]:
    """Train a run to its end."""
    setup = _set_up(job)
    _refuse_differences(setup, job.resumed, job.workspace)
    opened = _open(setup, job.resumed, job.workspace, stack)
    if job.continued is None:
        _say_what_begins(job, setup, opened)
    fitted, probe = None, setup.config.probe
    if probe == PROBE_ONLY or (probe == PROBE_FIRST and job.continued is None):
        fitted = fit_head(setup, job.workspace, job.reporter)
    first = job.processes.first
    recorder = RunRecorder(opened, setup, job.workspace, job.reporter, job.study) if first else None
    control = _control(setup, recorder, stop_asked)
    if job.continued is not None:
        continue_run(job.continued, setup, control, recorder, job.reporter)
    go_on = _resume_command(opened.run, job.workspace, job.processes, job.study)
    with _told_apart(setup, opened, go_on):
        if recorder is not None:
            _begin(recorder, job.resumed, control, stack)
        if fitted is not None and probe == PROBE_ONLY:
            control.write_state()  # that a kill leaves something to resume: the fit is repeated
            record_probe(control, fitted)
            opened.settle()
        else:
            _train(setup, control, job.reporter)
        if control.interrupted:
            # Of several processes one speaks.
            raise StoppedError(_how_to_go_on(control, go_on) if recorder else "")
        if recorder is not None:
            recorder.finish(control.state)
            if job.study is None:
                _log_pack(recorder)
                say_shifted(setup, opened.run, job.reporter)
    return opened, control


def _log_pack(recorder: RunRecorder) -> None:
    """Give Weights & Biases the run as it may leave the house, where that is online.

    Offline its library would keep the files elsewhere, and its folder would name that place.
    """
    run = recorder.run
    if recorder.config.wandb == "online":
        recorder.tracker.log_pack(run.name, lambda folder: write_pack(run, folder))
    elif recorder.config.wandb == "offline":
        recorder.reporter.note(
            "Weights & Biases: the weights are not in its offline folder; `cxrtool runs pack "
            f"{run.name}` writes what may go there"
        )


def _set_up(job: _Job) -> Setup:
    if job.resumed is None and job.processes.first:
        # What can be refused is refused before anything is read.
        check_new_name(job.workspace.runs, job.config.name, force=job.config.force)
    return set_up(
        job.config,
        job.device,
        job.workspace,
        seed=job.seed,
        processes=job.processes,
        fresh=job.continued is None,
        reporter=job.reporter,
    )


def _say_what_begins(job: _Job, setup: Setup, opened: OpenRun) -> None:
    if opened.again:
        job.reporter.note(
            f"run {opened.run.name} was killed before its first checkpoint: it starts again"
        )
    say_plan(setup, job.reporter)
    if job.study is None:  # of a search, each trial would say the same
        say_sampling(setup, job.reporter)


def _refuse_differences(setup: Setup, resumed: Resumed | None, workspace: Workspace) -> None:
    """Raise UsageError where processes, of other machines too, would not train the same."""
    if setup.processes.world == 1:
        return
    options = {
        f"--{key.replace('_', '-')}": value
        for key, value in settings_of(setup.config, setup.seed).items()
    }
    differing = setup.processes.differing(
        {
            **options,
            "--resume": resumed.run.name if resumed else None,
            "the kind of device": setup.device.type,
            workspace.manifest.name: sha256(workspace.manifest),
            workspace.split.name: sha256(workspace.split),
            "the image cache": setup.data.image_sizes(setup.config.image_size),
        }
    )
    if differing:
        raise UsageError(
            f"the {setup.processes.world} processes differ in {', '.join(differing)}: start all "
            "of them with the same options, on the same workspace or a copy of it"
        )


def _open(setup: Setup, resumed: Resumed | None, workspace: Workspace, stack: ExitStack) -> OpenRun:
    """The run's folder, which the first process makes or locks."""
    config, processes = setup.config, setup.processes
    default = name_of_training(name_of_start(config.arch, config.weights), config.uncertainty)
    if config.fold is not None:
        default += f"-fold{config.fold}"
    opened = None
    if processes.first:
        where = (
            new_run(workspace.runs, config.name, default, force=config.force)
            if resumed is None
            else resumed_run(resumed.run)
        )
        opened = stack.enter_context(where)
    name = processes.text(opened.run.name if opened else "")
    return opened or OpenRun(RunFolder(workspace.runs / name))


def _begin(
    recorder: RunRecorder, resumed: Resumed | None, control: Control, stack: ExitStack
) -> None:
    """Write what is known of the run, and begin to log it where that is asked for."""
    setup = recorder.setup
    settings = settings_of(setup.config, setup.seed)
    recorder.begin(settings, resumed.environment if resumed else None)
    tracker = stack.enter_context(
        track(
            setup.config.wandb,
            recorder.run.name,
            told_settings(settings),
            recorder.workspace.folder,
            recorder.reporter,
            recorder.identity,
        )
    )
    recorder.track(tracker, control.state.history)


def _control(setup: Setup, recorder: RunRecorder | None, stop_asked: Callable[[], bool]) -> Control:
    config, learner = setup.config, setup.learner

    def write_state() -> None:
        checkpoint = capture(learner, control, setup.processes)
        if recorder is not None:
            recorder.keep(checkpoint, control.state)

    def on_validated(row: dict[str, Any], better: bool, logits: Any) -> None:
        if recorder is not None:
            kept = control.average.network if control.average else setup.network
            recorder.validated(row, better, logits, kept, control.state)

    control = Control(
        setup.data.labels,
        setup.plan,
        on_validated=on_validated,
        write_state=write_state,
        stop_asked=stop_asked,
        average=WeightAverage(setup.network, config.ema) if config.ema else None,
        later_loss=setup.later_loss(),
        processes=setup.processes,
    )
    return control


def _train(setup: Setup, control: Control, reporter: Reporter) -> None:
    # Before the first step, so that a kill at any instant leaves something to go on from.
    control.write_state()
    run_phases(setup.learner, control, compiled=setup.config.compile, reporter=reporter)
    if control.stopped:
        reporter.note(
            f"stopped: {setup.config.patience} epochs without a better mean AUROC on valid"
        )


@contextmanager
def _told_apart(setup: Setup, opened: OpenRun, go_on: str) -> Iterator[None]:
    """Turn what a device, a worker or a library says into what a user can mend, and the command
    to `go_on` with."""
    world = setup.processes.world
    try:
        with explained(setup.config, setup.device, world, " in a new run"):
            yield
    except ConnectionError:
        raise  # a reader or a process that left, and no disk
    except (NotWrittenError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            raise
        raise _not_written(error, opened, go_on) from None
    except RuntimeError as error:
        if not lost_others(error, setup.processes):
            raise
        opened.settle()
        raise RunError(
            f"one of the {world} processes ended early; if it left a message, that says why. "
            f"Resume from the last checkpoint with `{go_on}`"
        ) from None


def _not_written(error: Exception, opened: OpenRun, go_on: str) -> RunError:
    """What became of a run that a full or failing disk ended. One with a checkpoint stays."""
    if isinstance(error, OSError):
        what = f"{error.filename or opened.run.path} could not be written ({error.strerror})"
    else:
        what = str(error)
    if not opened.settled and (opened.older is not None or not opened.run.checkpoint.is_file()):
        replaced = opened.older and f"; the older run {opened.run.name} is there again"
        told = f"no step of it was saved, so nothing is kept of it{replaced or ''}"
        return NotWrittenError(f"{what}: {told}. Free disk space, and repeat the command")
    opened.settle()
    return NotWrittenError(
        f"{what}; the last checkpoint is intact: free disk space, and resume with `{go_on}`"
    )


def _how_to_go_on(control: Control, go_on: str) -> str:
    state = control.state
    where = f"epoch {state.epoch + 1}, after {state.batch} of its batches"
    return f"stopped in {where}; resume with `{go_on}`"


def _resume_command(
    run: RunFolder, workspace: Workspace, processes: Processes, study: str | None
) -> str:
    """The command that goes on with a run, or with the search that it is a trial of."""
    option = workspace_option(workspace.folder)
    if study is not None:
        return f"{processes.program} tune --resume {shlex.quote(study)}{option}"
    return f"{processes.program} train --resume {shlex.quote(run.name)}{option}"
