"""The options of `train` and `tune`."""

from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from cxrtool.core.config.common import ComputeConfig
from cxrtool.core.config.option import (
    COMPUTING,
    DATA,
    MODEL,
    OPTIMISATION,
    OUTPUT,
    RUN,
    SEARCH,
    like,
    option,
)
from cxrtool.core.config.values import (
    ARCHS,
    BALANCED,
    BLANKS,
    IMAGENET,
    LOSSES,
    MOST_EPOCHS,
    MOST_IN_A_BATCH,
    MOST_MINUTES,
    MOST_PIXELS,
    MOST_POSITIVE_WEIGHT,
    MOST_RATE,
    NO_PROBE,
    NO_WEIGHTS,
    POLICIES,
    PROBE_FIRST,
    PROBE_ONLY,
    RECIPES,
    SCHEDULES,
    TIMM,
    USUAL_FROZEN,
)
from cxrtool.core.errors import unknown_name
from cxrtool.core.start_cards import find_start, of_start


def policy_problem(text: str) -> str:
    """What is wrong with `POLICY,LABEL=POLICY,...`; which labels there are is not known here."""
    names = [part.rpartition("=")[2].strip() for part in text.split(",")]
    unknown = [name for name in names if name not in POLICIES]
    return unknown_name("uncertainty policy", unknown[0], POLICIES) if unknown else ""


def is_start(name: str) -> bool:
    """Whether published weights have this name."""
    return find_start(name) is not None


def pos_weight_problem(text: str) -> str:
    """What is wrong with a weight of the positives."""
    with suppress(ValueError):
        if text in ("none", BALANCED) or 0 < float(text) <= MOST_POSITIVE_WEIGHT:
            return ""
    return f"{text!r} is not none, balanced or a number up to {MOST_POSITIVE_WEIGHT:,}"


@dataclass(frozen=True, kw_only=True)
class TrainConfig(ComputeConfig):
    """`train`: the defaults are the recipe of the report (Hanoi University of Science, 2024)."""

    recipe: str = option("report", RUN, metavar="NAME|FILE").help(
        f"Named set of defaults: {', '.join(RECIPES)}, or a YAML file of your own, which may start "
        "from one of them (recipe: strong). `--recipe strong --help` shows its values."
    )
    arch: str = option(
        "densenet121",
        MODEL,
        choices=ARCHS,
        besides=TIMM,
        named=is_start,
        noun="architecture",
        metavar="NAME",
    ).help(
        f"Architecture of the network: {', '.join(ARCHS)}, or {TIMM}NAME for any of timm's that "
        "ends in a linear layer; or a start's name (see `cxrtool models`): its architecture, with "
        "its weights."
    )
    uncertainty: str = option("ones", DATA, check=policy_problem, metavar="POLICY").help(
        f"What an uncertain label (-1) becomes: {', '.join(POLICIES)}; after it LABEL=POLICY for "
        "single labels, as in ones,Edema=zeros."
    )
    blank: str = option("zeros", DATA, choices=BLANKS).help(
        "What a label that is not mentioned becomes: 0, or not counted."
    )
    labels: str | None = option(None, DATA, metavar="A,B,...", shown="all").help(
        "Labels to train on, separated by commas."
    )
    weights: str = option(IMAGENET, MODEL, metavar="WHAT").help(
        "Weights to start from: imagenet, none, a start's name (see `cxrtool models`), "
        "hf:OWNER/REPOSITORY[:FILE], a file, or a run. Nothing is downloaded."
    )
    allow_missing: bool = option(False, MODEL).help(
        "Load of --weights what fits, and say what does not, where not all of the network is there."
    )
    normalise: str = option("auto", MODEL, choices=("auto", "data", "start")).help(
        "Mean and deviation that pixels are scaled by: those of the training images, or the "
        "start's own; auto: the start's own where it was trained on chest X-rays."
    )
    epochs: int = option(10, OPTIMISATION, within=(1, MOST_EPOCHS)).help("Epochs to train at most.")
    batch_size: int = option(32, OPTIMISATION, within=(1, MOST_IN_A_BATCH)).help(
        "Images in a batch, over all processes."
    )
    image_size: int = option(224, MODEL, within=(32, MOST_PIXELS)).help(
        "Side of the network's input in pixels."
    )
    lr: float = option(1e-3, OPTIMISATION, within=(0, MOST_RATE)).help("Learning rate of AdamW.")
    body_lr: float | None = option(
        None, OPTIMISATION, within=(0, MOST_RATE), shown="that of --lr"
    ).help("Learning rate of all but the last layer.")
    weight_decay: float = option(1e-2, OPTIMISATION, within=(0, MOST_RATE)).help(
        "Weight decay of AdamW."
    )
    schedule: str = option("plateau", OPTIMISATION, choices=SCHEDULES).help(
        "Course of the learning rate: lower on a plateau of the training loss, half a cosine down "
        "to 0, up and down in one cycle, or constant."
    )
    warmup: float = option(0.0, OPTIMISATION, within=(0, MOST_EPOCHS), metavar="EPOCHS").help(
        "Epochs in which the learning rate rises from near 0; one-cycle has a rise of its own."
    )
    freeze_epochs: int | None = option(
        None, OPTIMISATION, within=(0, MOST_EPOCHS), shown=f"{USUAL_FROZEN}; 0 with --weights none"
    ).help("Epochs in which only the new last layer is trained.")
    unfreeze: str | None = option(
        None, OPTIMISATION, choices=("top", "all"), shown="top; all with --weights none"
    ).help("Blocks to train after these epochs: the top one, or all.")
    plateau_patience: int = option(2, OPTIMISATION, within=(0, MOST_EPOCHS)).help(
        "With --schedule plateau: epochs to wait for a lower training loss before the learning "
        "rate falls."
    )
    patience: int = option(5, OPTIMISATION, within=(1, MOST_EPOCHS)).help(
        "Stop after this many epochs without a better mean AUROC on valid."
    )
    validations: int = option(1, OPTIMISATION, within=(1, 1_000)).help(
        "Validations per epoch, evenly spread, the last at its end."
    )
    ema: float = option(0.0, OPTIMISATION, within=(0, 0.999999)).help(
        "Decay of the moving average of the weights, such as 0.999; 0: no average."
    )
    drop_rate: float = option(0.0, MODEL, within=(0, 0.99)).help(
        "Dropout: after each layer of a DenseNet, before the last layer of most timm networks."
    )
    drop_path: float | None = option(None, MODEL, within=(0, 0.99), shown="the network's own").help(
        "Stochastic depth of the deepest layer, growing from 0 in the first, where the network "
        "has it."
    )
    loss: str = option("bce", OPTIMISATION, choices=LOSSES).help(
        "Loss: binary cross-entropy, asymmetric (Ridnik 2021), or AUC margin (Yuan 2021) after "
        "--auc-after epochs of cross-entropy."
    )
    auc_after: int = option(1, OPTIMISATION, within=(0, MOST_EPOCHS)).help(
        "With --loss auc: epochs of cross-entropy before it."
    )
    pos_weight: str = option("none", OPTIMISATION, check=pos_weight_problem, metavar="WHAT").help(
        "With --loss bce: weight of the positives: none, balanced (negatives / positives of each "
        "label), or a number."
    )
    probe: str = option(NO_PROBE, OPTIMISATION, choices=(NO_PROBE, PROBE_ONLY, PROBE_FIRST)).help(
        "Fit the last layer to features of the frozen network, which are computed once: that alone "
        "(the recipe probe), or before the network is trained (the recipe lp-ft)."
    )
    l2: float | None = option(
        None, OPTIMISATION, within=(0, 1e6), shown="the best of eight on valid"
    ).help("With --probe: strength of the penalty on the squared weights.")
    views: int = option(0, OPTIMISATION, within=(0, 64)).help(
        "With --probe: augmented views of each image to fit to, in place of the plain one."
    )
    half_features: bool = option(False, OPTIMISATION).help(
        "With --probe: keep features as float16, in half the space."
    )
    features: Path | None = option(
        None, OPTIMISATION, metavar="DIR", shown="those of the workspace"
    ).help("With --probe: folder with the features, as `cxrtool features` wrote it.")
    sampling: str = option("weighted", DATA, choices=("weighted", "uniform")).help(
        "Draw images with rare labels more often, or each image once per epoch."
    )
    sampling_cap: float | None = option(
        None, DATA, within=(1, 1_000_000), metavar="X", shown="no cap"
    ).help("With --sampling weighted: expect no image more than X times per epoch.")
    limit: int | None = option(None, DATA, within=(2, 100_000_000), metavar="N").help(
        "Train on N images and validate on at most N, drawn by --seed."
    )
    fold: int | None = option(None, DATA, within=(0, 999), metavar="K").help(
        "Validate on fold K and train on the others (after split --folds)."
    )
    compile: bool = option(False, COMPUTING).help(
        "Compile the network for training (torch.compile): takes minutes, then steps are faster; "
        "needs a C++ compiler."
    )
    threads: int | None = option(None, COMPUTING, within=(1, 1024), shown="one per free core").help(
        "Threads that compute on the CPU, in each process; more than there are free cores are "
        "slower."
    )
    name: str | None = option(None, RUN, metavar="NAME", shown="ARCH-UNCERTAINTY").help(
        "Name of the run."
    )
    resume: str | None = option(None, RUN, metavar="RUN").help(
        "Resume a run that was stopped, or extend one with more --epochs; last: the newest. The "
        "settings come from the run."
    )
    checkpoint_every: float = option(
        10.0, OUTPUT, within=(0, MOST_MINUTES), metavar="MINUTES"
    ).help("Write a checkpoint at least this often; one is also written at each validation.")
    keep_checkpoint: bool = option(False, OUTPUT).help(
        "Keep the checkpoint of the finished run (three times the size of the weights), so that "
        "--resume with more --epochs can extend it."
    )
    dry_run: bool = option(False, RUN).help(
        "Train a few batches, report what the whole training would do, take and need, and write "
        "nothing."
    )
    lr_find: bool = option(False, RUN).help(
        "Try rising learning rates on up to 100 batches, draw the curve and suggest a value; "
        "creates no run."
    )
    wandb: str = option("off", OUTPUT, choices=("off", "offline", "online")).help(
        "Log metrics to Weights & Biases; online, also a pack of the run (never images or paths)."
    )
    force: bool = option(False, RUN).help("Replace the run of this name.")

    def __post_init__(self) -> None:
        """Check all values; of a start's name as architecture, take what it stands for."""
        super().__post_init__()
        arch, weights = of_start(self.arch, self.weights, IMAGENET)
        object.__setattr__(self, "arch", arch)
        object.__setattr__(self, "weights", weights)

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
class FeaturesConfig(ComputeConfig):
    """`features`: what of `train` they depend on."""

    arch: str = like(TrainConfig, "arch", TrainConfig.arch)
    weights: str = like(TrainConfig, "weights", TrainConfig.weights)
    allow_missing: bool = like(TrainConfig, "allow_missing", False)
    normalise: str = like(TrainConfig, "normalise", TrainConfig.normalise)
    image_size: int = like(TrainConfig, "image_size", TrainConfig.image_size)
    views: int = like(
        TrainConfig,
        "views",
        0,
        help="Augmented views of each image, besides the plain one, which is always there.",
        panel=DATA,
    )
    half_features: bool = like(
        TrainConfig,
        "half_features",
        False,
        help="Keep them as float16, in half the space.",
        panel=OUTPUT,
    )
    fold: int | None = like(TrainConfig, "fold", None)
    limit: int | None = like(TrainConfig, "limit", None)
    threads: int | None = like(TrainConfig, "threads", None)

    def training(self) -> TrainConfig:
        """A training that is to use them."""
        values = {one.name: getattr(self, one.name) for one in fields(FeaturesConfig)}
        return TrainConfig(**values, probe=PROBE_ONLY, sampling="uniform", batch_size=2)


@dataclass(frozen=True, kw_only=True)
class TuneConfig(TrainConfig):
    """`tune`: what is not searched is as `train` has it. The defaults are the report's search."""

    recipe: str = like(TrainConfig, "recipe", "report", panel=OPTIMISATION)
    name: str | None = like(TrainConfig, "name", None, panel=SEARCH, help="Name of the study.")
    resume: str | None = like(
        TrainConfig,
        "resume",
        None,
        panel=SEARCH,
        help="Resume a study that was stopped or killed, or extend one with more --trials. The "
        "settings come from the study.",
        metavar="STUDY",
    )
    force: bool = like(
        TrainConfig,
        "force",
        False,
        panel=SEARCH,
        help="Replace the study of this name; its runs stay.",
    )
    trials: int = option(5, SEARCH, within=(1, 100_000)).help(
        "Number of trials, including those before --resume; a resumed study keeps its number "
        "unless told otherwise."
    )
    space: Path | None = option(
        None,
        SEARCH,
        metavar="FILE",
        shown="learning rate, weight decay, plateau patience, drop rate",
    ).help(
        "Search space, a YAML file: OPTION: {low: 1e-5, high: 1e-2, log: true}, or OPTION: "
        "[A, B], for any option of train."
    )
    timeout: float | None = option(
        None, SEARCH, within=(0, MOST_MINUTES), metavar="MINUTES", shown="no limit"
    ).help("Start no trial after this time, and stop the running one, which --resume continues.")
    prune: bool = option(False, SEARCH, flags=("--prune/--no-prune",)).help(
        "Stop a trial whose mean AUROC on valid is below the median of the others at its epoch, "
        "once three are complete."
    )
    backend: str = option("optuna", SEARCH, choices=("optuna", "wandb")).help(
        "Search by Optuna's TPE, without a network, or by a sweep at Weights & Biases (needs an "
        "account)."
    )
    storage: str | None = option(
        None, SEARCH, metavar="URL", shown="SQLite in the study's folder"
    ).help(
        "Database that several processes and machines share, such as "
        "postgresql://user@host/database; start each of them by the same command."
    )
    sweep: str | None = option(None, SEARCH, metavar="ID", shown="a new one").help(
        "With --backend wandb: sweep to join."
    )

    def training(self) -> TrainConfig:
        """What each trial is but for the options that are searched."""
        names = [field.name for field in fields(TrainConfig)]
        values = {name: getattr(self, name) for name in names}
        return TrainConfig(**{**values, "name": None, "resume": None, "force": False})
