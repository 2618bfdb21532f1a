"""A training put where a run's checkpoint left it, and what is said of the rest of it."""

import torch

from cxrtool.core.console import Reporter
from cxrtool.core.errors import UsageError
from cxrtool.training.checkpoints import Checkpoint, read_checkpoint, restore
from cxrtool.training.control import Control
from cxrtool.training.recorder import RunRecorder
from cxrtool.training.resume import Resumed, check_checkpoint, refuse_other_pixels
from cxrtool.training.setup import Setup


def continue_run(
    resumed: Resumed,
    setup: Setup,
    control: Control,
    recorder: RunRecorder | None,
    reporter: Reporter,
) -> None:
    """Put the training where the run's checkpoint left it.

    Args:
        resumed: a run with a checkpoint.
        setup: the same training, as it begins.
        control: of this training; it takes the checkpoint's state.
        recorder: of the run; None in all processes but the first.
        reporter: told where it stands, and what will not be as it would have been.

    Raises:
        RunError, DataError: the checkpoint, or the images, are not the run's.
        UsageError: the run is finished.
    """
    refuse_other_pixels(resumed, setup.data)
    checkpoint = read_checkpoint(resumed.run.checkpoint)
    check_checkpoint(checkpoint, resumed, setup.data)
    exact = restore(checkpoint, setup.learner, control, setup.processes)
    _refuse_finished(resumed, setup, control)
    if recorder is not None:
        recorder.take_up(checkpoint)
    state = control.state
    reporter.note(
        f"resuming {resumed.run.name} after {state.epoch} epochs"
        + (f" and {state.batch} batches" if state.batch else "")
    )
    if not exact:
        _warn_of_another_machine(checkpoint, setup, reporter)
    _warn_of_other_threads(resumed, setup, reporter)
    if state.history:
        _warn_of_another_length(resumed, setup, reporter)


def _refuse_finished(resumed: Resumed, setup: Setup, control: Control) -> None:
    epochs = control.state.epoch
    if resumed.run.finished and (epochs >= setup.config.epochs or control.stopped):
        more = "--patience" if control.stopped else "--epochs"
        raise UsageError(
            f"run {resumed.run.name} is finished after {epochs} epochs: {more} N extends it "
            f"(it has {getattr(setup.config, more[2:])})"
        )


def _warn_of_another_machine(checkpoint: Checkpoint, setup: Setup, reporter: Reporter) -> None:
    facts = checkpoint.facts
    reporter.warn(
        f"it was started on {facts['device']} in {facts['world']} processes and is "
        f"resumed on {setup.device.type} in {setup.processes.world}: the result will not be "
        "bit-identical to that of an uninterrupted run"
    )


def _warn_of_other_threads(resumed: Resumed, setup: Setup, reporter: Reporter) -> None:
    began, now = (resumed.environment or {}).get("threads"), torch.get_num_threads()
    if setup.device.type == "cpu" and began != now:
        reporter.warn(
            f"it was started with {began} threads and is resumed with {now}: sums are rounded in "
            f"another order, so the result will not be bit-identical (--threads {began})"
        )


def _warn_of_another_length(resumed: Resumed, setup: Setup, reporter: Reporter) -> None:
    """A schedule that is drawn over all epochs depends on how many there are."""
    schedule, epochs = setup.config.schedule, setup.config.epochs
    before = (resumed.environment or {}).get("epochs", epochs)
    if schedule in ("cosine", "one-cycle") and epochs != before:
        reporter.warn(
            f"--schedule {schedule} is stretched over {epochs} epochs: the learning rate jumps to "
            "where it would be in those"
        )
