"""The options of the commands that make data: `prepare`, `split`, `demo`."""

from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.config.common import CommonConfig, ComputeConfig
from cxrtool.core.config.option import CACHE, DATA, OUTPUT, SPLIT, Config, like, option
from cxrtool.core.config.values import CACHE_SIZE, FORMATS, MOST_PIXELS, READERS


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(Config):
    """`prepare`."""

    data: Path | None = option(None, DATA, envvar="CXRTOOL_DATA", argument=True).help(
        "Folder of the data set, or a CSV. Without it: CheXpert-v1.0-small or CheXpert-v1.0, "
        "here or in data/."
    )
    format: str = option("auto", DATA, choices=FORMATS).help(
        "Format of the data: a public data set, or a CSV of your own; auto recognises them by "
        "their files."
    )
    views: str = option("frontal", DATA, choices=("frontal", "lateral", "all")).help(
        "Views to keep."
    )
    check_images: str = option("full", DATA, choices=("full", "header", "none")).help(
        "How to check the images: decode each one, read only the headers, or do not look at them "
        "(then they cannot be trained on)."
    )
    apart_from: list[Path] | None = option(None, DATA, metavar="WORKSPACE").help(
        "Leave out patients with a picture that this other workspace has too, whatever they are "
        "called there; may be given several times. They are listed in problems.csv."
    )
    strict: bool = option(False, DATA).help(
        "Treat any problem as an error, and write nothing then."
    )
    label_names: str | None = option(
        None, DATA, choices=("chexpert", "own"), shown="chexpert"
    ).help(
        "Name the findings of NIH, PadChest and others as CheXpert does, or keep their own names."
    )
    labels_from: str | None = option(
        None, DATA, metavar="TABLE|NAME", shown="the data set's own"
    ).help(
        "Whose labels: a table beside the data's own (CSV or JSON lines), or a name that the data "
        "set knows (see the guide of data sets)."
    )
    columns: str | None = option(None, DATA, metavar="path=COLUMN,...").help(
        "With --format csv: which columns are path, patient_id, study_id, view, orientation, sex, "
        "age, race and reader. Columns with these very names need not be listed."
    )
    label_columns: str | None = option(
        None, DATA, metavar="A,B=COLUMN,...", shown="CheXpert's names"
    ).help("With --format csv: columns of the labels, COLUMN or LABEL=COLUMN.")
    images: Path | None = option(None, DATA, metavar="DIR", shown="its own folder").help(
        "With --format csv: folder that the paths in it start from."
    )
    readers: str | None = option(None, DATA, choices=READERS, shown="they must agree").help(
        "What the labels of an image become that has several rows, as of several readers: the "
        "answer of most (vote; uncertain if tied), positive if any or if all say so, or the share "
        "of readers who do (soft), which is trained on as it is."
    )
    cache: bool | None = option(
        None, CACHE, flags=("--cache/--no-cache",), shown="cache with --check-images full"
    ).help("Store all images decoded, for fast training.")
    cache_size: int = option(CACHE_SIZE, CACHE, within=(32, MOST_PIXELS)).help(
        "Side of the cached images in pixels, at least train's --image-size; 8/7 of that leaves "
        "room for augmentation. An image takes 66 KB at 256 pixels, 102 KB at 320."
    )
    workers: int | None = like(ComputeConfig, "workers", None, shown="one per core")


@dataclass(frozen=True, kw_only=True)
class SplitConfig(Config):
    """`split`."""

    by: str = option("patient", SPLIT, choices=("patient", "image", "official")).help(
        "Keep the images of a patient together, split image by image as the report did, or take "
        "the parts that the data set itself defines (MIMIC, NIH)."
    )
    sizes: str = option("80,10,10", SPLIT, metavar="TRAIN,VALID,TEST").help(
        "Shares of train, valid and test."
    )
    folds: int | None = option(None, SPLIT, within=(2, 1_000), metavar="K").help(
        "Also divide train and valid into K folds, for train's --fold; test stays apart."
    )
    merge_valid: bool = option(False, SPLIT, flags=("--merge-valid/--no-merge-valid",)).help(
        "Split the rows of valid.csv, which radiologists labelled, together with the others; "
        "otherwise they stay apart as the split expert."
    )
    force: bool = option(False, OUTPUT).help("Replace the existing output.")


@dataclass(frozen=True, kw_only=True)
class DemoConfig(Config):
    """`demo`: small enough for three minutes on two cores."""

    workspace: Path = like(CommonConfig, "workspace", Path("cxr-demo"))
    only_data: Path | None = option(None, DATA, metavar="DIR").help(
        "Only draw the data set, into this folder."
    )
    patients: int = option(1000, DATA, within=(1, 1_000_000)).help("Number of patients to draw.")
    rates: str = option("demo", DATA, choices=("demo", "chexpert")).help(
        "How often findings occur: rare ones more often than in life, or as in CheXpert."
    )
    force: bool = like(SplitConfig, "force", False)
