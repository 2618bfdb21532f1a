"""What somebody meant who wrote an option or a command by another tool's name for it."""

from collections.abc import Sequence
from typing import Any

import typer

from cxrtool.cli.help import GroupedCommand, GroupedCommands
from cxrtool.core.errors import did_you_mean, near_names
from cxrtool.core.terminal import visible

OPTION_WORDS: dict[str, str] = {
    "arch": "architecture backbone model net network",
    "batch_size": "batch bs per-device-batch-size",
    "body_lr": "backbone-lr encoder-lr",
    "bootstrap": "bootstraps n-bootstrap n-boot resamples",
    "by": "group-by groups subgroup subgroups",
    "calibrate": "calibration",
    "columns": "column cols",
    "config": "cfg conf settings yaml",
    "data": "csv data-dir data-path dataset root",
    "device": "accelerator cuda gpu gpus",
    "drop_rate": "drop dropout p-drop",
    "dry_run": "check-only no-op",
    "ema": "ema-decay model-ema swa",
    "engine": "runtime",
    "epochs": "epoch max-epochs n-epoch n-epochs num-epochs num-train-epochs",
    "folds": "cv k kfold n-folds n-splits num-folds",
    "force": "exist-ok f overwrite y yes",
    "freeze_epochs": "freeze frozen warmup-freeze",
    "heatmaps": "cam gradcam saliency",
    "image_size": "img-size image-sz img imgsz input-size res resize resolution size",
    "json": "format-json",
    "labels": "classes class-names findings label targets",
    "limit": "max-samples n-samples num-samples subset",
    "loss": "criterion loss-fn loss-function objective",
    "lr": "base-lr eta learning-rate learningrate max-lr rate",
    "lr_find": "auto-lr find-lr lr-finder lr-range-test",
    "merge_valid": "merge-val",
    "name": "exp-name experiment id run-name tag",
    "operating_point": "cutoff threshold thresholds",
    "output": "o out out-dir output-dir output-file outdir save save-dir",
    "patience": "early-stop early-stopping stop-after",
    "plateau_patience": "lr-patience scheduler-patience",
    "port": "p server-port",
    "pos_weight": "class-weight class-weights pos-weights positive-weight",
    "precision": "amp bf16 dtype fp16 fp32 half mixed-precision",
    "predictions": "preds predictions-csv scores",
    "progress": "bar progress-bar tqdm",
    "quiet": "s silent",
    "resume": "continue continue-from from-checkpoint restart",
    "run": "checkpoint ckpt model model-path",
    "sampling": "balanced oversample sampler weighted-sampling",
    "schedule": "lr-schedule lr-scheduler sched scheduler",
    "seed": "manual-seed random-seed random-state rng",
    "sizes": "fractions proportions ratio ratios split-ratio test-size train-size val-size",
    "space": "search-space",
    "split": "part set subset",
    "storage": "database db",
    "timeout": "max-time time-limit",
    "trials": "iterations max-trials n-trials num-trials",
    "truth": "ground-truth gt labels-csv targets",
    "tta": "augment test-time-augmentation",
    "uncertainty": "policy u-policy uncertain uncertain-labels uncertainty-policy",
    "unfreeze": "finetune trainable unfreeze-layers",
    "verbose": "debug-level log-level loud",
    "views": "projection view",
    "wandb": "log logger report-to tracking",
    "warmup": "warm-up warmup-epochs warmup-steps",
    "weight_decay": "decay l2 wd weightdecay",
    "weights": "checkpoint ckpt init init-weights pretrained",
    "workers": "j jobs n-jobs n-workers num-proc num-workers threads",
    "workspace": "dir folder home project root workdir working-dir",
}
"""Of each option, what the field's tools call it."""
COMMAND_WORDS: dict[str, str] = {
    "prepare": "check data import index init preprocess",
    "split": "divide folds partition",
    "train": "finetune fine-tune fit learn resume",
    "tune": "hpo hyperopt optimise optimize search sweep",
    "evaluate": "eval metrics report score test validate",
    "certify": "certificate guarantee promise recertify refit",
    "compare": "diff leaderboard versus vs",
    "predict": "classify detect infer inference run",
    "gui": "app page serve server ui web webui",
    "listen": "dicom pacs receive scp storescp watch",
    "export": "convert onnx save",
    "models": "backbones checkpoints download fetch pretrained starts weights zoo",
    "features": "embeddings embed extract representations",
    "runs": "delete history list ls rm show slim status",
    "demo": "example quickstart try",
}
"""Of each command, what other tools call it."""
FILES = "cxrtool.core.files"
"""The key of a context's `meta` under which it is kept which file gives an option's value."""
_USAGE: type[Exception] = typer.BadParameter.__mro__[1]  # click's, or the copy of it in Typer


def meant(written: str, names: Sequence[str], words: dict[str, str]) -> list[str]:
    """Which of `names` was meant: the same word written otherwise, a synonym, or near ones."""
    word = _plain(written)
    same = [name for name in names if _plain(name) == word]
    if same:
        return same
    known = [name for name in names if word in words.get(name, "").split()]
    return known or near_names(written, names)


def _plain(name: str) -> str:
    return name.strip("-").replace("_", "-").lower()


class SuggestingCommand(GroupedCommand):
    """A command that offers the option that was meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Click's, with another message for an option that there is not."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except _USAGE as error:
            if hasattr(error, "possibilities"):
                self._suggest(error, given)
            self._name_file(ctx, error)
            raise

    def _name_file(self, ctx: Any, error: Any) -> None:
        """Tell a value's file, where it comes from one; what either holds steers no terminal."""
        name = str(getattr(getattr(error, "param", None), "name", None))
        source = ctx.get_parameter_source(name)
        file = ctx.meta.get(FILES, {}).get(name)
        if file is not None and source is not None and source.name == "DEFAULT_MAP":
            error.message = f"{error.message} (in {file})"
        error.message = visible(error.message)

    def _suggest(self, error: Any, given: list[str]) -> None:
        option = str(error.option_name)
        if not option.startswith("--"):
            # Of -lr click says that there is no -l.
            option = next((arg for arg in given if arg.startswith(option)), option)
        flags = {
            str(one.name): max(one.opts, key=len)
            for one in self.params
            if one.opts[0].startswith("-")
        }
        found = [flags[name] for name in meant(option.partition("=")[0], list(flags), OPTION_WORDS)]
        error.message = f"No such option: {option}{did_you_mean(found)}"
        error.possibilities = None


class SuggestingGroup(GroupedCommands):
    """The commands, of which the one that was meant is offered."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Click's, with another message for a command that there is not."""
        names = list(self.commands)
        if args and args[0] not in names and not args[0].startswith("-"):
            name = visible(args[0])
            found = did_you_mean(meant(name, names, COMMAND_WORDS))
            ctx.fail(f"No such command '{name}'{found or ': there are ' + ', '.join(names)}")
        return super().resolve_command(ctx, args)
