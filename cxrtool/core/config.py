"""Every option's default, in frozen dataclasses: the only place where defaults live."""

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

ARCHS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "convnext_tiny",
    "convnext_small",
    "convnext_base",
    "efficientnet_b0",
    "efficientnet_b2",
    "efficientnet_b4",
    "efficientnet_v2_s",
    "swin_t",
    "swin_s",
    "swin_v2_t",
)
"""torchvision's names. The report uses resnet101 and densenet121."""

IMAGENET, NO_WEIGHTS = "imagenet", "none"
RECIPES: dict[str, dict[str, object]] = {
    "report": {},
    "strong": {
        "uncertainty": "mixed",
        "epochs": 5,
        "image_size": 320,
        "body_lr": 1e-4,
        "schedule": "cosine",
        "warmup": 1.0,
        "freeze_epochs": 0,
        "unfreeze": "all",
        "validations": 4,
        "ema": 0.999,
        "sampling": "uniform",
    },
}
"""Named sets of defaults: what differs from `TrainConfig`'s own, which are the report's.

`strong` is what the codebases behind the best published CheXpert scores agree on: Irvin 2019
(arXiv 1901.07031), Pham 2021 (1911.06475), Ye 2020 (jfhealthcare/Chexpert), Yuan 2021 (2012.03173).
"""
POLICIES = ("zeros", "ones", "ignore", "smooth", "smooth-zeros", "mixed")
REPORT_POLICIES = ("zeros", "ones")
"""The report's two, under both of which a split is balanced."""
BLANKS = ("zeros", "ignore")
SCHEDULES = ("plateau", "cosine", "one-cycle", "constant")
LOSSES = ("bce", "asymmetric", "auc")
FORMATS = ("auto", "chexpert", "nih", "mimic", "csv")
VIEWS = ("frontal", "lateral", "all")
CHECKS = ("full", "header", "none")
ROOM = 8 / 7
"""How much larger than the network's input an image may be that augmentation samples from."""
CACHE_SIZE = 256
"""224 pixels, the report's, with that room."""
SPLITS = ("train", "valid", "test", "expert")
UNITS = ("image", "study")
AGGREGATES = ("mean", "max")
CALIBRATIONS = ("none", "temperature", "platt", "isotonic")
SUBGROUPS = ("sex", "age", "view")
PAPER_TABLES = ("text", "markdown", "latex")
BACKENDS = ("optuna", "wandb")
TRACKING = ("off", "offline", "online")
ENGINES = ("auto", "torch", "openvino", "onnxruntime")
HEATMAPS = ("gradcam", "cam")
RUNS_ACTIONS = ("rm", "slim")
MOST_WORKERS = 8
USUAL_FROZEN = 3
"""Epochs in which the new last layer alone is trained, unless said otherwise."""
LEAST_RATE = 1e-6
"""Neither learning rate nor weight decay falls below this when blocks are unfrozen."""
UNFREEZE_FACTOR = 0.1
"""What learning rate and weight decay are multiplied by when blocks are unfrozen."""
PLATEAU_FACTOR = 0.1
"""What the learning rate is multiplied by on a plateau of the training loss."""


@dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """What every command understands."""

    workspace: Path = Path("cxr")
    seed: int = 42
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    progress: bool = True
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """Where and how a network computes."""

    device: str = "auto"
    precision: str = "auto"
    workers: int | None = None
    """Processes that decode images; None: one a core, at most 8."""


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """`prepare`."""

    data: Path | None = None
    format: str = "auto"
    views: str = "frontal"
    check_images: str = "full"
    strict: bool = False
    cache: bool | None = None
    """None: yes where every image is decoded anyway, no otherwise."""
    cache_size: int = CACHE_SIZE
    label_names: str | None = None
    """None: chexpert, for the data that has names of its own."""
    columns: str | None = None
    label_columns: str | None = None
    images: Path | None = None
    workers: int | None = None


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """`split`."""

    by: str = "patient"
    sizes: str = "80,10,10"
    folds: int | None = None
    merge_valid: bool = False
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainConfig(ComputeConfig):
    """`train`: the defaults are the recipe of the report (Hanoi University of Science, 2024)."""

    recipe: str = "report"
    arch: str = "densenet121"
    uncertainty: str = "ones"
    blank: str = "zeros"
    labels: str | None = None
    """Names, comma between; None: all that the manifest has."""
    weights: str = IMAGENET
    epochs: int = 10
    batch_size: int = 32
    """Over all processes."""
    image_size: int = 224
    lr: float = 1e-3
    body_lr: float | None = None
    """Of all but the last layer; None: `lr`."""
    weight_decay: float = 1e-2
    schedule: str = "plateau"
    warmup: float = 0.0
    """Epochs in which the rates rise from near 0; under one-cycle they have a rise of their own."""
    freeze_epochs: int | None = None
    """None: 3, or 0 where there are no pretrained weights to keep."""
    unfreeze: str | None = None
    """None: `top`, or `all` where there are no pretrained weights to keep."""
    plateau_patience: int = 2
    patience: int = 5
    validations: int = 1
    """In an epoch, evenly spread, the last at its end."""
    ema: float = 0.0
    """How much of the average of the weights a step keeps; 0: no average."""
    drop_rate: float = 0.0
    loss: str = "bce"
    auc_after: int = 1
    """Under the AUC loss: epochs of cross-entropy before it."""
    pos_weight: str = "none"
    sampling: str = "weighted"
    sampling_cap: float | None = None
    """How often an image is drawn in an epoch at most, as it is expected; None: no bound."""
    limit: int | None = None
    fold: int | None = None
    compile: bool = False
    threads: int | None = None
    """That compute on the CPU, in each process; None: one for each core that nothing else uses."""
    name: str | None = None
    resume: str | None = None
    checkpoint_every: float = 10.0
    """Minutes."""
    keep_checkpoint: bool = False
    """Of a run that finished, so that more epochs can extend it."""
    dry_run: bool = False
    lr_find: bool = False
    wandb: str = "off"
    force: bool = False

    def resolved(self) -> "TrainConfig":
        """The same with every None that stands for a choice replaced by that choice."""
        pretrained = self.weights != NO_WEIGHTS
        usual = USUAL_FROZEN if pretrained else 0
        frozen = usual if self.freeze_epochs is None else self.freeze_epochs
        unfreeze = self.unfreeze or ("top" if pretrained else "all")
        return replace(self, freeze_epochs=frozen, unfreeze=unfreeze)

    @classmethod
    def of_recipe(cls, recipe: str, **changes: Any) -> "TrainConfig":
        """A recipe's settings, some of them changed.

        Raises:
            KeyError: there is no such recipe.
        """
        return cls(recipe=recipe, **{**RECIPES[recipe], **changes})


@dataclass(frozen=True, kw_only=True)
class TuneConfig(TrainConfig):
    """`tune`: what is not searched is as `train` has it. The defaults are the report's search."""

    trials: int = 5
    space: Path | None = None
    """None: the report's, of `search_space.default_space`."""
    timeout: float | None = None
    """Minutes."""
    prune: bool = False
    backend: str = "optuna"
    storage: str | None = None
    """A database for many processes; None: SQLite in the study's folder."""
    sweep: str | None = None
    """One that is there, at Weights & Biases; None: a new one."""

    def training(self) -> TrainConfig:
        """What each trial is but for the options that are searched."""
        names = [field.name for field in fields(TrainConfig)]
        values = {name: getattr(self, name) for name in names}
        return TrainConfig(**{**values, "name": None, "resume": None, "force": False})


@dataclass(frozen=True, kw_only=True)
class TruthConfig(ComputeConfig):
    """What scores are held against, and how: the same for `evaluate` and `compare`."""

    split: str = "test"
    truth: Path | None = None
    key: str | None = None
    uncertainty: str | None = None
    """Of the truth; None: the run's, `ones` without a run."""
    blank: str | None = None
    """Of the truth; None: the run's, `zeros` without a run."""
    unit: str = "image"
    aggregate: str = "mean"
    bootstrap: int = 1000
    batch_size: int = 32
    output: Path | None = None
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(TruthConfig):
    """`evaluate`."""

    run: str | None = None
    predictions: list[Path] | None = None
    valid_predictions: list[Path] | None = None
    valid_truth: Path | None = None
    operating_point: str | None = None
    """None: the one that the run has stored."""
    calibrate: str | None = None
    """None: as the run has it stored."""
    keep: bool = False
    by: str | None = None
    """None: of `SUBGROUPS` those that are known."""
    report: bool = True


@dataclass(frozen=True, kw_only=True)
class CompareConfig(TruthConfig):
    """`compare`."""

    table: str = "text"


@dataclass(frozen=True, kw_only=True)
class PredictConfig(ComputeConfig):
    """`predict`."""

    run: list[str] | None = None
    """Runs or exported models; several make an ensemble."""
    output: Path | None = None
    """CSV, or JSON lines or JSON by its ending."""
    json_lines: bool = False
    resume: bool = False
    split: str | None = None
    """With a manifest: the part of its split."""
    tta: bool = False
    heatmaps: Path | None = None
    heatmap_labels: str | None = None
    """Names, comma between; None: the findings over their thresholds."""
    heatmap_method: str = "gradcam"
    engine: str = "auto"
    batch_size: int | None = None
    """None: the engine's own."""
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class GuiConfig:
    """`gui`."""

    run: str | None = None
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    host: str = "127.0.0.1"
    port: int = 7860
    allow_host: list[str] | None = None
    """Names besides its own under which the page may be asked for."""
    max_mb: int = 100
    """Of the files that are dropped at once, in MiB."""
    browser: bool = False
    """Open the page in the user's browser."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """`export`."""

    run: str | None = None
    output: Path | None = None
    """None: `<run>.onnx` where the user is."""
    check: list[Path] | None = None
    """Images to hold the graph against the run on; None: of the run's valid part."""
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class RunsConfig:
    """`runs`."""

    action: str | None = None
    """None: list them."""
    names: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """`demo`: small enough for three minutes on two cores."""

    workspace: Path = Path("cxr-demo")
    only_data: Path | None = None
    patients: int = 1000
    rates: str = "demo"
    force: bool = False


def worker_count(workers: int | None, most: int | None = MOST_WORKERS) -> int:
    """The number of decoding processes: the one asked for, or one a core, up to `most`."""
    if workers is not None:
        return workers
    # A container or a batch system may have lent fewer cores than the machine has.
    lent = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    cores = lent or os.cpu_count() or 1
    return cores if most is None else min(cores, most)
