"""`xray_learner`: a fastai Learner over the blocks of a network, at any precision."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cxrtool.core.config import IMAGENET, NO_WEIGHTS, TIMM, TrainConfig
from cxrtool.core.start_cards import of_start
from cxrtool.core.workspace import Workspace
from cxrtool.data.labels import majority
from cxrtool.evaluation.metrics import auroc_per_label, mean_defined
from cxrtool.networks.architectures import Blocks, blocks_of, build_network
from cxrtool.networks.devices import autocast, choose_precision
from cxrtool.networks.pretrained import load_pretrained
from cxrtool.training.fastai_parts import (
    DataLoaders,
    Learner,
    Metric,
    OptimWrapper,
    TrainEvalCallback,
    defaults,
)
from cxrtool.training.losses import MaskedCrossEntropy

REPORT = TrainConfig()


class CXRLearner(Learner):  # type: ignore[misc]
    """A Learner that computes at a precision of its own, on any kind of device.

    fastai's MixedPrecision knows CUDA alone, and leaves autocast on when a batch fails.
    """

    precision = "fp32"
    scaler: "torch.amp.GradScaler | None" = None
    network: nn.Module
    """The plain network, whatever `model` wraps it in."""

    def _do_one_batch(self) -> None:
        # fastai's own, but for autocast, and for a loss that does not keep its graph.
        with autocast(self.dls.device, self.precision):
            self.pred = self.model(*self.xb)
        self("after_pred")
        if len(self.yb):
            self.loss_grad = self.loss_func(self.pred, *self.yb)
            self.loss = self.loss_grad.detach()
        self("after_loss")
        if self.training and len(self.yb):
            self._do_grad_opt()

    def _backward(self) -> None:
        (self.scaler.scale(self.loss_grad) if self.scaler else self.loss_grad).backward()

    def _step(self) -> None:
        if self.scaler is None:
            self.opt.step()
        else:  # fp16's small gradients would vanish unscaled
            self.scaler.step(self.opt.opt)
            self.scaler.update()


class TrainingMode(TrainEvalCallback):  # type: ignore[misc]
    """Training mode for what is trained, eval mode for frozen blocks: nothing in them moves.

    Otherwise a frozen batch normalisation would still follow the batches' statistics.
    """

    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self.blocks = blocks

    def before_train(self) -> None:
        """Set the modes for a training pass."""
        super().before_train()
        for part in (self.blocks.body, self.blocks.top)[: self.opt.frozen_idx]:
            for module in part:
                module.eval()


class MeanAUROC(Metric):  # type: ignore[misc]
    """The mean over the labels of the AUROC; a label without both classes is left out."""

    name = "mean_auroc"

    def reset(self) -> None:
        """Forget what was seen."""
        self._logits: list[NDArray[np.float32]] = []
        self._targets: list[NDArray[np.float32]] = []

    def accumulate(self, learn: Learner) -> None:
        """Take in a batch."""
        self._logits.append(learn.pred.detach().float().cpu().numpy())
        self._targets.append(learn.yb[0].detach().cpu().numpy())

    @property
    def value(self) -> float | None:
        """NaN where it is defined for no label; None of images without labels."""
        if not self._targets:
            return None
        targets = np.concatenate(self._targets)
        positive, decided = majority(targets)
        aurocs = auroc_per_label(positive, np.concatenate(self._logits), decided)
        return mean_defined(list(aurocs))[0]


def xray_learner(
    dls: DataLoaders,
    arch: str = REPORT.arch,
    weights: str = IMAGENET,
    *,
    workspace: Path | str = "cxr",
    lr: float = REPORT.lr,
    weight_decay: float = REPORT.weight_decay,
    drop_rate: float = 0.0,
    drop_path: float | None = None,
    image_size: int | None = None,
    precision: str = "auto",
    loss: nn.Module | None = None,
    metrics: Sequence[Any] | None = None,
    **options: Any,
) -> CXRLearner:
    """A fastai Learner of the labels in `dls.vocab`: `xray_learner(dls, "resnet18", "none")`.

    Its three groups of parameters are body, top block and head. As after fastai's own
    `vision_learner`, a network with pretrained weights begins with the head alone (`unfreeze()`
    trains all of it).

    Args:
        dls: of `xray_block`.
        arch: one of `config.ARCHS`, `timm/NAME`, or a start's name, which brings its weights.
        weights: what to start from, as `train --weights` has it: imagenet, none, a start, a file
            or a run.
        workspace: where a run that is named is looked for.
        lr: the learning rate of a fit that says no other.
        weight_decay: AdamW's.
        drop_rate: DenseNet's own dropout, or a timm network's.
        drop_path: stochastic depth, where the network has it.
        image_size: of the network's input; None: that of `dls`.
        precision: fp32, bf16, fp16, or auto, which is the fastest that the device is good at.
        loss: of (n, labels) logits and targets, NaN where masked; None: masked cross-entropy.
        metrics: fastai's; None: the mean AUROC.
        options: more of fastai's own, for its `Learner`: `cbs`, `path`, `moms`, ...

    Raises:
        UsageError: an unknown architecture or precision.
        WeightsError: the weights cannot be had or do not fit.
    """
    labels = list(dls.vocab)
    arch, weights = of_start(arch, str(weights), IMAGENET)
    network = build_network(
        arch,
        len(labels),
        image_size=image_size or _image_size(dls, arch),
        drop_rate=drop_rate,
        drop_path=drop_path,
    )
    load_pretrained(network, arch, weights, labels, Workspace(Path(workspace)).runs)
    # TrainingMode is in the place of fastai's own callback for that.
    usual = [one for one in defaults.callbacks if one is not TrainEvalCallback]
    learner = make_learner(
        dls,
        network,
        lr=lr,
        weight_decay=weight_decay,
        precision=choose_precision(precision, dls.device),
        loss=loss,
        metrics=[MeanAUROC()] if metrics is None else metrics,
        **{**options, "cbs": [*usual, *options.get("cbs", [])]},
    )
    if weights != NO_WEIGHTS:
        learner.freeze()
    return learner


def _image_size(dls: DataLoaders, arch: str) -> int:
    """That of a batch, where the network is built for one: torchvision's take any."""
    return int(dls.valid.one_batch()[0].shape[-1]) if arch.startswith(TIMM) else REPORT.image_size


def make_learner(
    dls: DataLoaders,
    network: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    precision: str,
    body_lr: float | None = None,
    loss: nn.Module | None = None,
    cbs: Sequence[Any] = (),
    **options: Any,
) -> CXRLearner:
    """A Learner with AdamW (betas 0.9 and 0.999, eps 1e-8) over the groups body, top and head.

    `body_lr` is the learning rate of body and top; None: `lr`. It neither prints nor records
    anything: callbacks and `options` of fastai's Learner may.
    """
    network = network.to(dls.device).to(memory_format=torch.channels_last)
    optimiser = partial(
        OptimWrapper,
        opt=torch.optim.AdamW,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=weight_decay,
        fused=dls.device.type in ("cpu", "cuda"),
    )
    learner = CXRLearner(
        dls,
        network,
        loss_func=loss or MaskedCrossEntropy(),
        opt_func=optimiser,
        lr=float(lr),
        splitter=parameter_groups,
        train_bn=False,
        default_cbs=False,
        cbs=[TrainingMode(blocks_of(network)), *cbs],
        **options,
    )
    learner.network = network
    learner.precision = precision
    if precision == "fp16":
        learner.scaler = torch.amp.GradScaler(dls.device.type)
    learner.create_opt()
    for group in learner.opt.opt.param_groups[:-1]:
        group["lr"] = float(lr if body_lr is None else body_lr)
    return learner


def parameter_groups(network: nn.Module) -> list[list[nn.Parameter]]:
    """What an optimiser groups: the parameters of body, top and head."""
    return blocks_of(network).groups()
