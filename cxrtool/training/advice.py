"""What `train` says of a training before and after it: what it is, and what of it is unusual."""

import numpy as np

from cxrtool.core.config import NO_WEIGHTS, PROBE_ONLY, SOFT, TrainConfig, worker_count
from cxrtool.core.console import Reporter
from cxrtool.core.errors import counted, first_few
from cxrtool.core.run_cards import shift_remark, shifted_labels
from cxrtool.core.runs import RunFolder
from cxrtool.core.start_cards import find_start, start_that_saw
from cxrtool.data.labels import NEGATIVE, POSITIVE, divided, majority
from cxrtool.data.seen import began_from_packs
from cxrtool.training.block import WEIGHTED
from cxrtool.training.setup import Setup


def say_plan(setup: Setup, reporter: Reporter) -> None:
    """Tell what will be trained, and what of it is unusual."""
    config, data = setup.config, setup.data
    train, valid = (len(data.part(valid=valid)) for valid in (False, True))
    cached = f" (from a cache at {data.cache.image_size})" if data.cache else ""
    shared = f" in {setup.processes.world} processes" if setup.processes.world > 1 else ""
    blank = ", blank ignored" if config.blank == "ignore" else ""
    reporter.note(
        f"{config.arch}, {setup.loaded.source}; {train:,} training and {valid:,} valid images of "
        f"{config.image_size} px{cached}; {setup.device}{shared}, {config.precision}; "
        f"uncertain as {config.uncertainty}{blank}, {config.sampling} sampling"
    )
    if config.weights != NO_WEIGHTS:
        reporter.note(setup.loaded.detail)
        reporter.note(
            f"pixels are scaled by the mean {data.mean:.4g} and deviation {data.std:.4g} of "
            f"{data.pixels_of} (--normalise {config.normalise})"
        )
    if data.info.readers == SOFT:
        _say_shares(setup, reporter)
    _say_unusual(setup, reporter)


def _say_shares(setup: Setup, reporter: Reporter) -> None:
    """Tell how many of the targets are shares of readers who disagree."""
    targets = setup.data.targets(valid=False)
    raw = setup.data.part(valid=False)[list(setup.data.labels)].to_numpy(dtype=float)
    between = int(((raw > NEGATIVE) & (raw < POSITIVE)).sum())
    reporter.note(
        f"targets are shares of readers: {between:,} of {np.isfinite(targets).sum():,} lie between "
        f"0 and 1; AUROC is against what most readers say, without {divided(raw):,} of them on "
        "which they are evenly divided"
    )


def _say_random(config: TrainConfig, reporter: Reporter) -> None:
    if config.unfreeze == "all" and not config.freeze_epochs:
        reporter.note(
            "--weights none: nothing is worth freezing, so all blocks are trained from the start"
        )
    elif config.unfreeze == "top":
        reporter.warn("--weights none --unfreeze top: the body keeps its random weights")


def _say_unusual(setup: Setup, reporter: Reporter) -> None:
    config = setup.config
    if setup.seen_in_valid:
        whose = f"the weights that it starts from ({setup.ancestry.names}) were trained on"
        for text in setup.seen_in_valid.describe("valid", whose):
            reporter.warn(
                f"{text}: scores on valid, and the epoch and thresholds chosen by them, will be "
                "too good. Start from weights that have not seen valid, or make a split with new "
                "patients in it"
            )
    _say_unusual_start(setup, reporter)
    if config.probe != PROBE_ONLY and config.weights == NO_WEIGHTS:
        _say_random(config, reporter)
    cores = worker_count(None, most=None)
    if config.threads is not None and setup.device.type != "cpu":
        reporter.note(
            f"--threads {config.threads} counts only for what is not computed on {setup.device}"
        )
    elif config.threads is not None and config.threads > cores:
        reporter.warn(
            f"--threads {config.threads} on {cores} cores is slower than one thread per core"
        )
    _say_unusual_sampling(setup, reporter)
    if config.sampling == WEIGHTED and config.pos_weight != "none":
        reporter.warn(
            "--sampling weighted together with --pos-weight counts rare findings twice: one of "
            "them is enough (--sampling uniform, or --pos-weight none)"
        )
    if (config.freeze_epochs or 0) >= config.epochs:
        reporter.note(
            f"--freeze-epochs {config.freeze_epochs}, --epochs {config.epochs}: the last layer "
            "alone is trained"
        )
    if config.warmup >= config.epochs:
        reporter.warn(
            f"--warmup {config.warmup:g} is at least --epochs {config.epochs}: the rates "
            "rise to the end and never reach --lr"
        )
    if config.loss == "auc" and config.auc_after >= config.epochs:
        reporter.warn(
            f"--auc-after {config.auc_after} is at least --epochs {config.epochs}: the whole "
            "training uses bce, and --loss auc never takes over"
        )
    labels, (positive, decided) = setup.data.labels, majority(setup.data.targets(valid=False))
    for what, there in (
        ("positive", positive),
        ("negative", decided & ~positive),
    ):
        names = [label for label, is_so in zip(labels, there.T, strict=True) if not is_so.any()]
        if names:
            reporter.warn(
                f"{len(names)} label{'s have' if len(names) > 1 else ' has'} no {what} training "
                "image and cannot be learned: "
                f"{first_few(names, 14)} (--labels chooses others)"
            )


def _say_unusual_start(setup: Setup, reporter: Reporter) -> None:
    """What of a published start does not go with these images."""
    config, origin = setup.config, setup.data.info.origin
    for text in began_from_packs("it", setup.ancestry.ancestors):
        reporter.warn(text)
    names = dict.fromkeys(one.name for one in setup.ancestry.ancestors)
    for saw in (start_that_saw(name, origin.registers) for name in names):
        if saw is None:
            continue
        reporter.warn(
            f"{saw.name} was trained on {saw.trained_words}, and these images are of "
            f"{origin.description}: it may have seen patients of valid and test, whose scores are "
            "too good then. Only other data show how good it is"
        )
    card = find_start(config.weights)
    if card is not None and card.image_size != config.image_size:
        reporter.note(
            f"{card.name} was trained at {card.image_size} px, and --image-size is "
            f"{config.image_size}"
        )


def _say_unusual_sampling(setup: Setup, reporter: Reporter) -> None:
    """Warn where weighted sampling does nothing, or lives on one image."""
    sampling = setup.sampling
    if sampling.weights is None:
        return
    path = setup.data.part(valid=False)["path"].iloc[sampling.most]
    cap = f"--sampling-cap {sampling.cap:g}" if sampling.cap is not None else ""
    if not sampling.changes:
        why = "images without a positive weigh as much as those of the commonest label"
        reporter.warn(
            f"--sampling weighted draws all images alike here ({cap or why}), so it changes "
            "nothing: --pos-weight balanced makes rare positives count more"
        )
    elif sampling.dominant:
        reporter.warn(
            f"{path} alone is {sampling.times / sampling.images:.0%} of every epoch (about "
            f"{sampling.times:.0f} draws), because its labels are so rare: --sampling-cap N limits "
            "how often one image is drawn"
        )
    elif cap and not sampling.at_cap:
        reporter.note(
            f"{cap} has no effect: no image is expected more than {sampling.times:.1f} times"
        )


def say_sampling(setup: Setup, reporter: Reporter) -> None:
    """Tell each label's share of the images and of what is drawn, where the two differ."""
    sampling = setup.sampling
    if not sampling.changes:
        return
    path = setup.data.part(valid=False)["path"].iloc[sampling.most]
    held = f" ({counted(sampling.at_cap, 'image')} at the cap)" if sampling.cap else ""
    width = max(map(len, sampling.labels))
    reporter.note(f"{'positive in':{width}}  images   drawn")
    for label, share, drawn in zip(sampling.labels, sampling.shares, sampling.drawn, strict=True):
        reporter.note(f"{label:{width}}  {share:6.1%}  {drawn:6.1%}")
    reporter.note(f"drawn most often: {path}, {sampling.times:.1f} times an epoch{held}")


def say_shifted(setup: Setup, run: RunFolder, reporter: Reporter) -> None:
    """Tell what weighted sampling did to the probabilities of a run, once it is done."""
    sampling = setup.sampling
    shares = {
        label: (float(share), float(drawn))
        for label, share, drawn in zip(
            sampling.labels, sampling.shares, sampling.drawn, strict=True
        )
    }
    labels = shifted_labels(shares)
    if labels:
        reporter.note(shift_remark(run.name, labels))
