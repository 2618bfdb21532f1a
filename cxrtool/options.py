"""The options of the commands, declared once each; their defaults stand in `config.py`."""

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from cxrtool import config
from cxrtool.errors import CxrToolError, unknown_name

Body = TypeVar("Body", bound=Callable[..., None])
_RECIPES = tuple(config.RECIPES)


def _known_arch(name: str) -> str:
    if name not in config.ARCHS:
        raise typer.BadParameter(unknown_name("architecture", name, config.ARCHS))
    return name


def _known_policy(text: str | None) -> str | None:
    """Refuse a policy that is none, before anything is read; labels are known only later."""
    for part in (text or "").split(","):
        name = part.rpartition("=")[2].strip()
        if text is not None and name not in config.POLICIES:
            raise typer.BadParameter(unknown_name("uncertainty policy", name, config.POLICIES))
    return text


def _read_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Make a YAML file's values the defaults, so that flags still win over them."""
    if path is None or ctx.resilient_parsing:
        return path
    values = _values_in(path, ctx)
    ctx.default_map = {**(ctx.default_map or {}), **values}
    _show_in_help(values, ctx)
    return path


def _read_recipe(ctx: typer.Context, recipe: str) -> str:
    """Make a recipe's values the defaults; a config file's, and flags, win over them."""
    if ctx.resilient_parsing:
        return recipe
    if recipe in config.RECIPES:
        values = dict(config.RECIPES[recipe])
    elif Path(recipe).is_file():
        values = _values_in(Path(recipe), ctx)
        base = str(values.pop("recipe", _RECIPES[0]))
        if base not in config.RECIPES:
            raise typer.BadParameter(f"{recipe}: " + unknown_name("recipe", base, _RECIPES))
        values = {**config.RECIPES[base], **values}
    else:
        raise typer.BadParameter(unknown_name("recipe", recipe, _RECIPES) + ", or name a file")
    ctx.default_map = {**values, **(ctx.default_map or {})}
    _show_in_help(values, ctx)
    return recipe


def _show_in_help(values: dict[str, object], ctx: typer.Context) -> None:
    """Let the help tell these defaults also where it says in words how one is chosen."""
    for parameter in ctx.command.params:
        if values.get(str(parameter.name)) is not None and hasattr(parameter, "show_default"):
            parameter.show_default = True


def _values_in(path: Path, ctx: typer.Context) -> dict[str, object]:
    """A YAML file's option values, as the command line would have them."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{path} cannot be read as YAML: {error}") from None
    if not isinstance(values, dict):
        raise typer.BadParameter(f"{path}: `option: value` lines were expected")
    names = [str(parameter.name) for parameter in ctx.command.params if parameter.name != "config"]
    unknown = [str(key) for key in values if key not in names]
    if unknown:
        raise typer.BadParameter(f"{path}: " + unknown_name("key", unknown[0], sorted(names)))
    flags = {str(p.name) for p in ctx.command.params if getattr(p, "is_flag", False)}
    return {key: _as_written(value, key in flags) for key, value in values.items()}


def _as_written(value: object, flag: bool) -> object:
    """A YAML value as the command line would have it: YAML reads `off` as false, and has
    lists and pairs of its own."""
    if isinstance(value, bool) and not flag:
        return "on" if value else "off"
    if isinstance(value, dict):
        value = [f"{name}={item}" for name, item in value.items()]
    if isinstance(value, list):
        items = [str(item) for item in value]
        return ",".join(f'"{item}"' if "," in item else item for item in items)
    if isinstance(value, float) and not value.is_integer():
        return str(value)  # as a number, 2.5 epochs would silently be 2
    return value


COMMON: dict[str, Any] = {
    "config": Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            is_eager=True,
            callback=_read_config,
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
    "aggregate": Annotated[
        Literal[config.AGGREGATES],
        typer.Option(help="With --unit study: how its images' scores become one."),
    ],
    "arch": Annotated[
        str, typer.Option(callback=_known_arch, help=f"Network: {', '.join(config.ARCHS)}.")
    ],
    "auc_after": Annotated[
        int, typer.Option(min=0, help="With --loss auc: epochs of bce before it.")
    ],
    "batch_size": Annotated[int, typer.Option(min=1, help="Images in a batch.")],
    "blank": Annotated[
        Literal[config.BLANKS],
        typer.Option(help="What a label becomes that is not mentioned: 0, or not counted."),
    ],
    "body_lr": Annotated[
        float | None,
        typer.Option(
            min=0, help="Learning rate of all but the last layer.", show_default="that of --lr"
        ),
    ],
    "bootstrap": Annotated[
        int, typer.Option(min=0, help="Draws of patients for the intervals; 0: none.")
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
    "epochs": Annotated[int, typer.Option(min=1, help="At most so many.")],
    "fold": Annotated[
        int | None,
        typer.Option(
            min=0, help="Fold that is valid; the others are train (split --folds).", metavar="K"
        ),
    ],
    "folds": Annotated[
        int | None,
        typer.Option(
            min=2,
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
            help="Epochs in which the new last layer alone is trained.",
            show_default="3; 0 with --weights none",
        ),
    ],
    "image_size": Annotated[int, typer.Option(min=32, help="Side of the network's input, pixels.")],
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
        int | None, typer.Option(min=2, help="Train on N images, score on at most N.", metavar="N")
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
    "lr": Annotated[float, typer.Option(min=0, help="AdamW's learning rate.")],
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
        int, typer.Option(min=1, help="Stop after N epochs without a better valid mean AUROC.")
    ],
    "patients": Annotated[int, typer.Option(min=1, help="How many to draw.")],
    "plateau_patience": Annotated[
        int, typer.Option(min=0, help="Epochs without a lower training loss that are borne.")
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
    "rates": Annotated[
        Literal["demo", "chexpert"],
        typer.Option(help="How often findings are drawn: rare ones more often, or as in life."),
    ],
    "recipe": Annotated[
        str,
        typer.Option(
            is_eager=True,
            callback=_read_recipe,
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
    "schedule": Annotated[
        Literal[config.SCHEDULES],
        typer.Option(
            help="Of the learning rates: down on a plateau of the training loss, half a cosine "
            "to 0, up and down, or none."
        ),
    ],
    "sizes": Annotated[str, typer.Option(help="Shares of train, valid and test.")],
    "strict": Annotated[
        bool, typer.Option("--strict", help="Any problem is an error; nothing is written then.")
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
            callback=_known_policy,
            help=f"What -1 becomes: {', '.join(config.POLICIES)}; for single labels LABEL=POLICY "
            "after it, as in ones,Edema=zeros.",
            metavar="POLICY",
        ),
    ],
    "table": Annotated[
        Literal[config.PAPER_TABLES],
        typer.Option(help="How the tables are printed: for reading, or for a paper."),
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
    "validations": Annotated[int, typer.Option(min=1, help="In an epoch, evenly spread.")],
    "views": Annotated[Literal[config.VIEWS], typer.Option(help="Images to keep.")],
    "warmup": Annotated[
        float, typer.Option(min=0, help="Epochs in which the rates rise.", metavar="EPOCHS")
    ],
    "wandb": Annotated[
        Literal[config.TRACKING],
        typer.Option(help="Log figures (never images or paths) to Weights & Biases."),
    ],
    "weight_decay": Annotated[float, typer.Option(min=0, help="AdamW's weight decay.")],
    "weights": Annotated[
        str,
        typer.Option(
            help="imagenet, none, a state dict's file, or a run to start from.", metavar="WHAT"
        ),
    ],
    "workers": Annotated[
        int | None,
        typer.Option(min=0, help="Processes that decode images.", show_default="one a core"),
    ],
    "workspace": COMMON["workspace"],
}


def command(app: typer.Typer, config_class: type[Any], **instead: Any) -> Callable[[Body], Body]:
    """Make a function of (config, common, ...) a command with an option for each config field.

    Args:
        app: where the command is added.
        config_class: the dataclass whose fields are the options and whose defaults are theirs.
        instead: other declarations than those in `OPTIONS`, and arguments that are no field.
    """

    def decorate(body: Body) -> Body:
        # A class's own fields come first in the help, those that it inherits after them.
        own = inspect.get_annotations(config_class)
        fields = {
            field.name: field.default
            for field in sorted(dataclasses.fields(config_class), key=lambda f: f.name not in own)
        }
        extra = [name for name in instead if name not in fields]
        common = {
            field.name: field.default
            for field in dataclasses.fields(config.CommonConfig)
            if field.name not in fields
        }
        declared = {**OPTIONS, **instead}

        resumes = "resume" in fields  # such a command must know what was really asked for

        @functools.wraps(body)
        def run(**values: Any) -> None:
            values.pop("config")
            context = values.pop("context", None)
            shared = config.CommonConfig(**{name: values.pop(name) for name in common})
            others = {name: values.pop(name) for name in extra}
            if context is not None:
                others["given"] = _given(context)
            with boundary(shared):
                body(config_class(**values), shared, **others)

        parameters = [_parameter("context", typer.Context, inspect.Parameter.empty)] * resumes
        parameters += [_parameter(name, declared[name], inspect.Parameter.empty) for name in extra]
        parameters += [_parameter(name, declared[name], value) for name, value in fields.items()]
        parameters += [_parameter("config", COMMON["config"], None)]
        parameters += [_parameter(name, COMMON[name], value) for name, value in common.items()]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command()(run)
        return body

    return decorate


def _given(context: typer.Context) -> frozenset[str]:
    """The options that a flag, a variable, a config file or a recipe set."""
    names = [str(parameter.name) for parameter in context.command.params]
    sources = {name: context.get_parameter_source(name) for name in names}
    return frozenset(
        name for name, source in sources.items() if source and source.name != "DEFAULT"
    )


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


@contextmanager
def boundary(common: config.CommonConfig) -> Iterator[None]:
    """The one place where errors become a message and an exit code; bugs keep their traceback."""
    try:
        yield
    except (CxrToolError, OSError, KeyboardInterrupt) as error:
        code, text = _told(error)
        if common.debug or code is None:
            raise
        if text:
            from cxrtool.report import print_error

            rank = os.environ.get("RANK", "0") if os.environ.get("WORLD_SIZE", "1") != "1" else "0"
            print_error(text if rank == "0" else f"process {rank}: {text}", code)
        raise typer.Exit(code) from None


def _told(error: BaseException) -> tuple[int | None, str]:
    """The exit code and the message of what a user can mend; no code for what is a bug."""
    if isinstance(error, CxrToolError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted"
    if isinstance(error, BrokenPipeError):  # `cxrtool ... | head` is no failure to talk about
        return 1, ""
    if isinstance(error, OSError) and error.strerror:
        return 1, f"{error.filename or 'the system'}: {error.strerror}"
    return None, ""
