"""What calibrates a run's probabilities: what it stores, its training, or a fit on valid."""

from collections.abc import Callable, Mapping

from cxrtool.core.config import EvaluateConfig
from cxrtool.core.errors import UsageError
from cxrtool.core.run_cards import RunCard
from cxrtool.core.runs import RunFolder
from cxrtool.core.schemas import Counts
from cxrtool.core.yaml_files import read_yaml
from cxrtool.evaluation.calibration import PRIOR
from cxrtool.evaluation.operating_points import (
    TRAIN,
    VALID,
    Calibration,
    fit_calibration,
    stored_calibration,
)
from cxrtool.evaluation.prior_shift import PriorShift, parse_prevalences, training_shifts
from cxrtool.evaluation.sample import Sample

NONE = "none"
"""As `--calibrate`: the network's own probabilities; as `--prevalence`: not moved."""


def chosen_calibration(
    run: RunFolder, card: RunCard, config: EvaluateConfig, valid: Callable[[], Sample]
) -> Calibration | None:
    """The calibration that a run is scored with; None: the network's own probabilities.

    What is not asked for is as the run has it stored. `--prevalence` moves what is calibrated:
    where nothing is, the training's own priors are corrected first.

    Args:
        run: a finished one.
        card: its own.
        config: what is asked for.
        valid: gives the run's scores on its valid part, and is called only where they are needed.

    Raises:
        UsageError: a prevalence that cannot be, or nothing that it could move.
        DataError: a label that is to be moved could not be calibrated.
        RunError: what the training did to the priors is not known, or valid is not there.
    """
    stored, method = stored_calibration(card.calibration), config.calibrate
    asked = wanted_prevalences(config.prevalence, card.labels)
    if method == NONE:
        if asked:
            raise UsageError(
                "--prevalence moves calibrated probabilities: leave --calibrate none out, or name "
                "a calibration (prior, platt)"
            )
        return None
    wanted = asked if asked is not None else stored.moved_to if stored else {}
    # What is stored was fitted on images, and may not say of which prevalence it is.
    anew = config.unit != "image" or bool(wanted and not (stored and stored.prevalence))
    if method is None and anew:
        method = stored.method if stored else PRIOR if wanted else None
    if method == PRIOR:
        stored = prior_calibration(run.name, card.train, read_yaml(run.config))
    elif method is not None:
        stored = fit_calibration(method, valid(), VALID)
    return stored and stored.move(wanted)


def wanted_prevalences(text: str | None, labels: tuple[str, ...]) -> dict[str, float] | None:
    """What `--prevalence` asks for: nothing to be moved of `none`; None where it is not given."""
    if text is None:
        return None
    return {} if text == NONE else parse_prevalences(text, labels)


def prior_calibration(
    name: str, train: Mapping[str, Counts] | None, settings: Mapping[str, object]
) -> Calibration:
    """The correction of what a training did to the priors; see `prior_shift.training_shifts`."""
    shifts = training_shifts(name, train, settings)
    known = {label: one for label, one in shifts.items() if isinstance(one, PriorShift)}
    return Calibration(
        method=PRIOR,
        chosen_on=TRAIN,
        labels={label: one.calibrator for label, one in known.items()},
        left_out={label: one for label, one in shifts.items() if isinstance(one, str)},
        prevalence={label: one.after for label, one in known.items()},
    )
