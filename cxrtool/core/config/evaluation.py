"""The options of `evaluate` and `compare`."""

from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.config.common import ComputeConfig
from cxrtool.core.config.data import PrepareConfig
from cxrtool.core.config.option import COMPUTING, DATA, OUTPUT, SCORES, like, option
from cxrtool.core.config.training import TrainConfig
from cxrtool.core.config.values import FEWEST_REPLICATES, SPLITS, SUBGROUPS
from cxrtool.core.errors import UsageError


def replicates_problem(number: int) -> str:
    """Why so few draws make no interval; nothing where they do."""
    if number == 0 or number >= FEWEST_REPLICATES:
        return ""
    return (
        f"{number} draws are too few for 95 % intervals: give {FEWEST_REPLICATES} or more, or 0 "
        "for none"
    )


@dataclass(frozen=True, kw_only=True)
class TruthConfig(ComputeConfig):
    """What scores are compared with, and how: the same for `evaluate` and `compare`."""

    split: str = option("test", DATA, choices=SPLITS).help("Part of the split to score on.")
    truth: Path | None = option(None, DATA, metavar="CSV").help(
        "Table of labels: 1, 0, -1 and blanks, one row per image or study."
    )
    key: str | None = option(None, DATA, metavar="COLUMN", shown="found automatically").help(
        "With --predictions: column that identifies the rows, or THEIRS=TRUTHS where the two "
        "tables call it differently."
    )
    uncertainty: str | None = like(
        TrainConfig,
        "uncertainty",
        None,
        help="What an uncertain label (-1) is in the truth, whatever the run was trained on.",
        shown="the run's, or ones without a run",
    )
    blank: str | None = like(
        TrainConfig,
        "blank",
        None,
        help="What a label that is not mentioned is in the truth: 0, or not counted.",
        shown="the run's, or zeros without a run",
    )
    unit: str = option("image", SCORES, choices=("image", "study")).help(
        "Score single images, or studies (the images of a study as one)."
    )
    aggregate: str = option("mean", SCORES, choices=("mean", "max")).help(
        "With --unit study: how the scores of a study's images are combined."
    )
    bootstrap: int = option(1000, SCORES, within=(0, 100_000), check=replicates_problem).help(
        f"Bootstrap draws of patients for the confidence intervals, {FEWEST_REPLICATES} or more; "
        "0: no intervals."
    )
    batch_size: int = like(
        TrainConfig, "batch_size", 32, panel=COMPUTING, help="Images in a batch."
    )
    output: Path | None = option(None, OUTPUT, metavar="DIR").help(
        "Folder to write tables and figures to."
    )
    force: bool = option(False, OUTPUT).help(
        "Also score images that the run, or what it started from, has been trained on; replace "
        "--output."
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(TruthConfig):
    """`evaluate`."""

    run: str | None = option(None, DATA, argument=True, metavar="RUN").help(
        "Name or path of a run, a pack of one, or a published network (xrv:NAME, xrv:FILE). "
        "Without it: the last finished run."
    )
    data: list[Path] | None = option(None, DATA, metavar="DIR").help(
        "Score the run on another data set, a folder or a workspace, beside --split of its own. "
        "Given several times: on each of them, in one table."
    )
    format: str = like(
        PrepareConfig,
        "format",
        "auto",
        help="With --data: format of the folder; auto recognises it by its files.",
    )
    predictions: list[Path] | None = option(None, DATA, metavar="CSV").help(
        "Score this table of predictions, made by any model, against --truth. Given several "
        "times: each of them, and their mean."
    )
    valid_predictions: list[Path] | None = option(None, DATA, metavar="CSV").help(
        "With --predictions: predictions of the same model on other images, to choose thresholds "
        "on; once for each --predictions."
    )
    valid_truth: Path | None = option(None, DATA, metavar="CSV", shown="that of --truth").help(
        "With --valid-predictions: table of their labels."
    )
    operating_point: str | None = option(
        None, SCORES, metavar="RULE", shown="the run's own, at first youden"
    ).help(
        "How to choose thresholds on valid: youden, f1, sensitivity=0.9 or specificity=0.9; or "
        "certified-sensitivity=0.9 (also -specificity, -ppv, -npv), which other patients like "
        "those of valid keep too, at 95 % confidence (another: certified-npv=0.98@90)."
    )
    triage: str | None = option(
        None, SCORES, metavar="RULE-OUT,RULE-IN", shown="as stored in the run, at first none"
    ).help(
        "Two certified thresholds per label, as certified-npv=0.98,certified-ppv=0.5: a finding "
        "is ruled out, ruled in, or read first. none: no triage."
    )
    family: str | None = option(
        None, SCORES, choices=("none", "holm"), shown="as stored in the run, at first none"
    ).help(
        "Whether each certified promise holds at its confidence by itself (none), or those of all "
        "labels together (holm)."
    )
    calibrate: str | None = option(
        None,
        SCORES,
        choices=("none", "prior", "temperature", "platt", "isotonic"),
        shown="as stored in the run",
    ).help(
        "How to calibrate the probabilities of each label: prior corrects what weighted sampling "
        "and --pos-weight are known to have done; the others are fitted on valid (isotonic needs "
        "100 positives). Ranks do not change."
    )
    prevalence: str | None = option(
        None, SCORES, metavar="LABEL=SHARE,...", shown="as stored in the run, at first none"
    ).help(
        "Move calibrated probabilities, and PPV and NPV, to a place where labels have these shares "
        "of positives, as Edema=0.02; none: as calibrated."
    )
    keep: bool = option(False, SCORES).help(
        "Store the --operating-point, --triage, --calibrate and --prevalence given here in the "
        "run, for predict to use."
    )
    by: str | None = option(None, SCORES, metavar="A,B,...", shown=",".join(SUBGROUPS)).help(
        "Columns of the manifest that define subgroups, separated by commas; A x B: by both at "
        "once; none: no subgroups."
    )
    readers: list[Path] | None = option(None, SCORES, metavar="CSV").help(
        "Table of what human readers said of the same images or studies: one reader's, or with a "
        "column reader. Given several times: one each. Readers stand beside the model."
    )
    robustness: bool = option(False, SCORES).help(
        "Also score the images darker, brighter, blurred, cropped and compressed: seven passes."
    )
    show_images: bool = option(False, OUTPUT).help(
        "Show the images of the worst misses and false alarms in the report. They are patients: "
        "such a report must not leave your institution."
    )
    report: bool = option(True, OUTPUT, flags=("--report/--no-report",)).help(
        "Write the report with its figures."
    )

    def __post_init__(self) -> None:
        """Check all values, and that pictures have a page.

        Raises:
            UsageError: an option does not take its value, or two do not go together.
        """
        super().__post_init__()
        if self.show_images and not self.report:
            raise UsageError("--show-images shows them in the report: leave --no-report out")


@dataclass(frozen=True, kw_only=True)
class CertifyConfig(ComputeConfig):
    """`certify`."""

    run: str | None = like(EvaluateConfig, "run", None)
    truth: Path | None = option(None, DATA, metavar="CSV").help(
        "Table of the local images and their labels, or a workspace that `prepare` made of them."
    )
    format: str = like(
        EvaluateConfig,
        "format",
        "auto",
        help="Format of the local images' table or folder; auto recognises it by its files.",
    )
    operating_point: str | None = like(
        EvaluateConfig,
        "operating_point",
        None,
        help="A certified rule, as certified-sensitivity=0.9 (also -specificity, -ppv, -npv; "
        "@90 for 90 % confidence), by which thresholds are chosen on the local images.",
        shown="the run's stays as it is",
    )
    triage: str | None = like(EvaluateConfig, "triage", None, shown="the run's stays as it is")
    family: str | None = like(EvaluateConfig, "family", None, shown="none")
    uncertainty: str | None = like(TruthConfig, "uncertainty", None, shown="the run's")
    blank: str | None = like(TruthConfig, "blank", None, shown="the run's")
    batch_size: int = like(TruthConfig, "batch_size", 32)


@dataclass(frozen=True, kw_only=True)
class CompareConfig(TruthConfig):
    """`compare`."""

    table: str = option("text", OUTPUT, choices=("text", "markdown", "latex")).help(
        "Form of the tables: for reading, or for a paper."
    )
    references: bool = option(False, OUTPUT).help(
        "Show published results too, which tables for papers and files of --output have anyhow."
    )
