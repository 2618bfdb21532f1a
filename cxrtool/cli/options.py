"""The options of the commands, declared once each; their defaults stand in `config.py`."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from cxrtool.cli.option_values import (
    enough_replicates,
    known_arch,
    known_policy,
    read_config,
    read_recipe,
)
from cxrtool.cli.prediction_options import MOST_IN_A_BATCH, PREDICTION
from cxrtool.core import config as config
from cxrtool.search.space import KINDS, Allowed

# Beyond these a value is a slip of the keyboard, or asks for what no machine has.
MOST_EPOCHS = 10_000
MOST_FOLDS = 1_000
MOST_IMAGES = 100_000_000
MOST_MINUTES = 1_000_000
MOST_PATIENTS = 1_000_000
MOST_PIXELS = 4_096
MOST_PROCESSES = 256
MOST_RATE = 100.0
MOST_TRIALS = 100_000
MOST_VALIDATIONS = 1_000

COMMON: dict[str, Any] = {
    "config": Annotated[
        Path | None,
        typer.Option(
            is_eager=True,
            callback=read_config,
            help="YAML file of option values; flags win over it.",
        ),
    ],
    "workspace": Annotated[
        Path,
        typer.Option("-w", "--workspace", envvar="CXRTOOL_WORKSPACE", help="Folder of all files."),
    ],
    "seed": Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of every random choice.")],
    "json": Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")],
    "quiet": Annotated[bool, typer.Option("-q", "--quiet", help="Warnings and errors only.")],
    "verbose": Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")],
    "progress": Annotated[bool, typer.Option("--progress/--no-progress", help="Show bars.")],
    "debug": Annotated[bool, typer.Option("--debug", help="Show an error's traceback.")],
}

OPTIONS: dict[str, Any] = {
    "action": Annotated[
        Literal[config.RUNS_ACTIONS] | None,
        typer.Argument(
            help="rm: remove the runs that are named. slim: remove checkpoints and graphs of "
            "finished runs, of all or of those named; neither scores nor weights. Without "
            "either: list the runs.",
            metavar="ACTION",
            show_default=False,
        ),
    ],
    "aggregate": Annotated[
        Literal[config.AGGREGATES],
        typer.Option(help="With --unit study: how its images' scores become one."),
    ],
    "arch": Annotated[
        str, typer.Option(callback=known_arch, help=f"Network: {', '.join(config.ARCHS)}.")
    ],
    "auc_after": Annotated[
        int, typer.Option(min=0, max=MOST_EPOCHS, help="With --loss auc: epochs of bce before it.")
    ],
    "backend": Annotated[
        Literal[config.BACKENDS],
        typer.Option(
            help="Optuna's TPE, on this machine alone; or a sweep at Weights & Biases (an account "
            "and a network)."
        ),
    ],
    "batch_size": Annotated[
        int, typer.Option(min=1, max=MOST_IN_A_BATCH, help="Images in a batch.")
    ],
    "blank": Annotated[
        Literal[config.BLANKS],
        typer.Option(help="What a label becomes that is not mentioned: 0, or not counted."),
    ],
    "body_lr": Annotated[
        float | None,
        typer.Option(
            min=0,
            max=MOST_RATE,
            help="Learning rate of all but the last layer.",
            show_default="that of --lr",
        ),
    ],
    "bootstrap": Annotated[
        int,
        typer.Option(
            min=0,
            max=100_000,
            callback=enough_replicates,
            help="Draws of patients for the intervals, 100 or more; 0: none.",
        ),
    ],
    "by": Annotated[
        Literal["patient", "image", "official"],
        typer.Option(
            help="Keep patients whole, split image by image as the report did, or take the parts "
            "that the data set itself names (MIMIC, NIH)."
        ),
    ],
    "cache": Annotated[
        bool | None,
        typer.Option(
            "--cache/--no-cache",
            help="Store every image decoded, for training.",
            show_default="cache with --check-images full",
        ),
    ],
    "cache_size": Annotated[
        int,
        typer.Option(
            min=32,
            max=MOST_PIXELS,
            help="Side of the cached images, pixels: at least --image-size of train; 8/7 of it "
            "gives augmentation room. 256 takes 66 KB an image, 320 takes 102 KB.",
        ),
    ],
    "calibrate": Annotated[
        Literal[config.CALIBRATIONS] | None,
        typer.Option(
            help="Fit the probabilities of each label on valid; isotonic needs 100 positives. "
            "Ranks stay as they are.",
            show_default="as the run has it stored",
        ),
    ],
    "check_images": Annotated[
        Literal[config.CHECKS],
        typer.Option(
            help="Decode each image, read its header alone, or look at none (no training then)."
        ),
    ],
    "checkpoint_every": Annotated[
        float,
        typer.Option(
            min=0,
            max=MOST_MINUTES,
            help="At most so many minutes are lost by a kill; one is written at each validation "
            "too.",
            metavar="MINUTES",
        ),
    ],
    "columns": Annotated[
        str | None,
        typer.Option(
            help="With --format csv: which columns are path, patient_id, study_id, view, "
            "orientation, sex, age; those of these names need no word.",
            metavar="path=COLUMN,...",
        ),
    ],
    "compile": Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the network for training (torch.compile): minutes, then "
            "faster steps; needs a C++ compiler.",
        ),
    ],
    "data": Annotated[
        Path | None,
        typer.Argument(
            envvar="CXRTOOL_DATA",
            help="Folder of the data set, or a CSV; default: CheXpert-v1.0-small or "
            "CheXpert-v1.0, here or in data/.",
            show_default=False,
        ),
    ],
    "device": Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")],
    "drop_rate": Annotated[
        float, typer.Option(min=0, max=0.99, help="DenseNet's dropout after each layer.")
    ],
    "dry_run": Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Train a few batches, say what all of it would be, take and need, and write "
            "nothing.",
        ),
    ],
    "ema": Annotated[
        float,
        typer.Option(
            min=0,
            max=0.999999,
            help="Keep an average of the weights, of which a step keeps this share; 0: none.",
        ),
    ],
    "epochs": Annotated[int, typer.Option(min=1, max=MOST_EPOCHS, help="At most so many.")],
    "fold": Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST_FOLDS - 1,
            help="Fold that is valid; the others are train (split --folds).",
            metavar="K",
        ),
    ],
    "folds": Annotated[
        int | None,
        typer.Option(
            min=2,
            max=MOST_FOLDS,
            help="Deal train and valid to K folds too, for train --fold; test stays apart.",
            metavar="K",
        ),
    ],
    "force": Annotated[bool, typer.Option("--force", help="Replace what is there.")],
    "format": Annotated[
        Literal[config.FORMATS],
        typer.Option(
            help="CheXpert, NIH ChestX-ray14, MIMIC-CXR-JPG, or a table of your own; auto tells "
            "them by their files."
        ),
    ],
    "freeze_epochs": Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST_EPOCHS,
            help="Epochs in which the new last layer alone is trained.",
            show_default="3; 0 with --weights none",
        ),
    ],
    "image_size": Annotated[
        int, typer.Option(min=32, max=MOST_PIXELS, help="Side of the network's input, pixels.")
    ],
    "images": Annotated[
        Path | None,
        typer.Option(
            help="With --format csv: where its paths start.",
            metavar="DIR",
            show_default="its own folder",
        ),
    ],
    "keep": Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Let `predict` use the --operating-point and --calibrate given here from now on.",
        ),
    ],
    "key": Annotated[
        str | None,
        typer.Option(
            help="With --predictions: the column that names the rows; where the two tables call "
            "it differently, THEIRS=TRUTHS.",
            metavar="COLUMN",
            show_default="found by itself",
        ),
    ],
    "keep_checkpoint": Annotated[
        bool,
        typer.Option(
            "--keep-checkpoint",
            help="Keep the optimiser's state of the finished run too, three times the weights, so "
            "that --resume with more --epochs can extend it.",
        ),
    ],
    "label_columns": Annotated[
        str | None,
        typer.Option(
            help="With --format csv: the labels, COLUMN or LABEL=COLUMN.",
            metavar="A,B=COLUMN,...",
            show_default="CheXpert's names",
        ),
    ],
    "label_names": Annotated[
        Literal["chexpert", "own"] | None,
        typer.Option(
            help="With NIH's data: findings as CheXpert's labels, or under their own names.",
            show_default="chexpert",
        ),
    ],
    "limit": Annotated[
        int | None,
        typer.Option(
            min=2, max=MOST_IMAGES, help="Train on N images, score on at most N.", metavar="N"
        ),
    ],
    "labels": Annotated[
        str | None,
        typer.Option(help="Those to train on.", metavar="A,B,...", show_default="all"),
    ],
    "loss": Annotated[
        Literal[config.LOSSES],
        typer.Option(
            help="Cross-entropy, asymmetric (Ridnik 2021), or AUC margin (Yuan 2021) after "
            "--auc-after epochs."
        ),
    ],
    "lr": Annotated[float, typer.Option(min=0, max=MOST_RATE, help="AdamW's learning rate.")],
    "lr_find": Annotated[
        bool,
        typer.Option(
            "--lr-find",
            help="Try rising learning rates on up to 100 batches, draw the curve, name a value; "
            "no run is made.",
        ),
    ],
    "merge_valid": Annotated[
        bool,
        typer.Option(
            "--merge-valid/--no-merge-valid",
            help="Split valid.csv's rows, which radiologists labelled, with the others; "
            "otherwise they stay apart as `expert`.",
        ),
    ],
    "name": Annotated[
        str | None, typer.Option(help="Of the run.", show_default="ARCH-UNCERTAINTY")
    ],
    "names": Annotated[
        list[str] | None,
        typer.Argument(help="Runs to remove or to slim.", metavar="NAME", show_default=False),
    ],
    "operating_point": Annotated[
        str | None,
        typer.Option(
            help="How thresholds are chosen on valid: youden, f1, sensitivity=0.9, "
            "specificity=0.9.",
            metavar="RULE",
            show_default="the run's own: youden",
        ),
    ],
    "only_data": Annotated[
        Path | None, typer.Option(help="Only draw the data set, into this folder.", metavar="DIR")
    ],
    "output": Annotated[Path | None, typer.Option(help="CSV to write.", metavar="CSV")],
    "patience": Annotated[
        int,
        typer.Option(
            min=1, max=MOST_EPOCHS, help="Stop after N epochs without a better valid mean AUROC."
        ),
    ],
    "patients": Annotated[int, typer.Option(min=1, max=MOST_PATIENTS, help="How many to draw.")],
    "plateau_patience": Annotated[
        int,
        typer.Option(
            min=0, max=MOST_EPOCHS, help="Epochs without a lower training loss that are borne."
        ),
    ],
    "pos_weight": Annotated[
        str,
        typer.Option(
            help="With --loss bce, how much more a positive counts: none, balanced (negatives / "
            "positives of each label), or a number.",
            metavar="WHAT",
        ),
    ],
    "precision": Annotated[
        Literal["auto", "fp32", "bf16", "fp16"], typer.Option(help="Number format.")
    ],
    "predictions": Annotated[
        list[Path] | None,
        typer.Option(
            help="Score a table of anybody's predictions against --truth, without a run; given "
            "several times: each of them, and their mean.",
            metavar="CSV",
        ),
    ],
    "prune": Annotated[
        bool,
        typer.Option(
            "--prune/--no-prune",
            help="Stop a trial whose valid mean AUROC is below the median of the others at its "
            "epoch, once three are trained to their end.",
        ),
    ],
    "rates": Annotated[
        Literal["demo", "chexpert"],
        typer.Option(help="How often findings are drawn: rare ones more often, or as in life."),
    ],
    "recipe": Annotated[
        str,
        typer.Option(
            is_eager=True,
            callback=read_recipe,
            help=f"Named set of defaults: {', '.join(config.RECIPES)}, or a YAML file of one's "
            "own, which may begin from one of them (recipe: strong). `--recipe strong --help` "
            "shows them.",
            metavar="NAME|FILE",
        ),
    ],
    "report": Annotated[
        bool,
        typer.Option("--report/--no-report", help="Draw the figures and write the page."),
    ],
    "resume": Annotated[
        str | None,
        typer.Option(
            help="Go on with a run that was stopped, or with more --epochs; last: the newest. "
            "Settings come from the run.",
            metavar="RUN",
        ),
    ],
    "run": Annotated[
        str | None,
        typer.Option(help="Run's name or path.", show_default="the last finished one"),
    ],
    "sampling": Annotated[
        Literal["weighted", "uniform"],
        typer.Option(help="Rare classes drawn more often, or each image once an epoch."),
    ],
    "sampling_cap": Annotated[
        float | None,
        typer.Option(
            min=1,
            max=1_000_000,
            help="With --sampling weighted: no image is expected more than X times an epoch.",
            metavar="X",
            show_default="no cap",
        ),
    ],
    "schedule": Annotated[
        Literal[config.SCHEDULES],
        typer.Option(
            help="Of the learning rates: down on a plateau of the training loss, half a cosine "
            "to 0, up and down, or none."
        ),
    ],
    "sizes": Annotated[str, typer.Option(help="Shares of train, valid and test.")],
    "storage": Annotated[
        str | None,
        typer.Option(
            help="A database that several processes and machines share, as in "
            "postgresql://user@host/database: each is started by the same command.",
            metavar="URL",
            show_default="SQLite in the study's folder",
        ),
    ],
    "strict": Annotated[
        bool, typer.Option("--strict", help="Any problem is an error; nothing is written then.")
    ],
    "space": Annotated[
        Path | None,
        typer.Option(
            help="What is searched: YAML of OPTION: {low: 1e-5, high: 1e-2, log: true}, or "
            "OPTION: [A, B], for any option of train.",
            show_default="rate, decay, patience, drop rate",
        ),
    ],
    "split": Annotated[Literal[config.SPLITS], typer.Option(help="The part to score on.")],
    "unit": Annotated[
        Literal[config.UNITS],
        typer.Option(help="Score images, or studies: a study's images as one."),
    ],
    "valid_predictions": Annotated[
        list[Path] | None,
        typer.Option(
            help="With --predictions: the same model's scores on other images, to choose "
            "thresholds on; once for each --predictions.",
            metavar="CSV",
        ),
    ],
    "valid_truth": Annotated[
        Path | None,
        typer.Option(
            help="With --valid-predictions: their truth.", metavar="CSV", show_default="--truth"
        ),
    ],
    "uncertainty": Annotated[
        str,
        typer.Option(
            callback=known_policy,
            help=f"What -1 becomes: {', '.join(config.POLICIES)}; for single labels LABEL=POLICY "
            "after it, as in ones,Edema=zeros.",
            metavar="POLICY",
        ),
    ],
    "sweep": Annotated[
        str | None,
        typer.Option(
            help="With --backend wandb: join this sweep.", metavar="ID", show_default="a new one"
        ),
    ],
    "table": Annotated[
        Literal[config.PAPER_TABLES],
        typer.Option(help="How the tables are printed: for reading, or for a paper."),
    ],
    "threads": Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Threads that compute on the CPU: more than there are free cores are slower.",
            show_default="one a free core",
        ),
    ],
    "timeout": Annotated[
        float | None,
        typer.Option(
            min=0,
            max=MOST_MINUTES,
            help="Begin no trial after so long, and stop the one at work, to go on with --resume.",
            metavar="MINUTES",
        ),
    ],
    "trials": Annotated[
        int,
        typer.Option(
            min=1,
            max=MOST_TRIALS,
            help="How many in all, those before --resume among them; a study that is resumed "
            "without it has the number that was asked for before.",
        ),
    ],
    "truth": Annotated[
        Path | None,
        typer.Option(
            help="A table of labels: 1, 0, -1 and blanks, a row an image or a study.",
            metavar="CSV",
        ),
    ],
    "unfreeze": Annotated[
        Literal["top", "all"] | None,
        typer.Option(
            help="What is trained after the frozen epochs.",
            show_default="top; all with --weights none",
        ),
    ],
    "validations": Annotated[
        int, typer.Option(min=1, max=MOST_VALIDATIONS, help="In an epoch, evenly spread.")
    ],
    "views": Annotated[Literal[config.VIEWS], typer.Option(help="Images to keep.")],
    "warmup": Annotated[
        float,
        typer.Option(
            min=0, max=MOST_EPOCHS, help="Epochs in which the rates rise.", metavar="EPOCHS"
        ),
    ],
    "wandb": Annotated[
        Literal[config.TRACKING],
        typer.Option(help="Log figures (never images or paths) to Weights & Biases."),
    ],
    "weight_decay": Annotated[
        float, typer.Option(min=0, max=MOST_RATE, help="AdamW's weight decay.")
    ],
    "weights": Annotated[
        str,
        typer.Option(
            help="imagenet, none, a state dict's file, or a run to start from.", metavar="WHAT"
        ),
    ],
    "workers": Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST_PROCESSES,
            help="Processes that decode images.",
            show_default="one a core",
        ),
    ],
    "workspace": COMMON["workspace"],
    **PREDICTION,
}


def allowed_values() -> dict[str, Allowed]:
    """What the options take that can be searched: their ranges and choices."""
    found = {}
    for name in KINDS:
        kind, option, *_ = get_args(OPTIONS[name])
        choices: tuple[str, ...] = config.ARCHS if name == "arch" else ()
        for part in (kind, *get_args(kind)):
            if get_origin(part) is Literal:
                choices = get_args(part)
        found[name] = Allowed(low=option.min, high=option.max, choices=choices)
    return found
