"""Public label tables, prepared: `python tests/benchmarks/real_tables.py FOLDER [NAME...]`.

FOLDER is `torchxrayvision/data` of the package torchxrayvision (`pip download --no-deps
torchxrayvision`, unpacked), which ships the tables of many data sets, but no images. Each is laid
out under its official name and prepared as a user would, without looking at images; then every
label of every image is compared with what a few lines of pandas, which use no code of cxrtool,
find in the table. Ends with 1 where anything differs. A process each, for its memory.
"""

import re
import resource
import shutil
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

from cxrtool.core.config import PrepareConfig
from cxrtool.core.workspace import Workspace
from cxrtool.workflows.prepare import prepare_manifest

Truth = Callable[[Path], pd.DataFrame]
"""What a table says: a row an image, named by `image`, with its `patient` and all labels."""
UNUSED_BY_THE_NETWORK = ("pleural mass", "atelectasis basal")
"""PadChest's network gave them to no image; as CheXpert has labels for them, they are columns."""
ENDING = r"\.(?:png|jpg|dcm)$"


@dataclass(frozen=True)
class Case:
    """One way of preparing one data set."""

    name: str
    files: dict[str, str]
    """{official name: file that the package has}."""
    truth: Truth
    options: dict[str, str] = field(default_factory=dict)
    parts: int = 1
    """How many of a path's last parts name an image."""


def chexpert(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "train.csv")
    parts = table["Path"].str.split("/")
    about = {"image": parts.str[-3:].str.join("/"), "patient": parts.str[-3]}
    return pd.DataFrame(about).join(table.loc[:, "No Finding":])


def nih_table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "Data_Entry_2017_v2020.csv.gz")


def nih_own(folder: Path) -> pd.DataFrame:
    table = nih_table(folder)
    listed = table["Finding Labels"].str.get_dummies("|")
    return listed.assign(image=table["Image Index"], patient=table["Patient ID"])


def nih_as_chexpert(folder: Path) -> pd.DataFrame:
    own = nih_own(folder)
    same = ("No Finding", "Cardiomegaly", "Edema", "Consolidation", "Pneumonia", "Atelectasis")
    renamed = {
        "Lung Opacity": own["Infiltration"],
        "Lung Lesion": own["Mass"] | own["Nodule"],
        "Pneumothorax": own["Pneumothorax"],
        "Pleural Effusion": own["Effusion"],
        "Pleural Other": own["Pleural_Thickening"],
    }
    return own[["image", "patient", *same]].assign(**renamed)


def google(folder: Path) -> pd.DataFrame:
    """NIH's, but that of the images that Google's radiologists read only theirs are known."""
    images = nih_as_chexpert(folder).set_index("image").astype(float)
    read = pd.read_csv(folder / "google2019_nih-chest-xray-labels.csv").set_index("Image Index")
    images["Fracture"] = float("nan")
    images.loc[read.index, images.columns != "patient"] = float("nan")
    names = {
        "Fracture": "Fracture",
        "Pneumothorax": "Pneumothorax",
        "Airspace opacity": "Lung Opacity",
        "Nodule or mass": "Lung Lesion",
    }
    for theirs, label in names.items():
        images.loc[read.index, label] = (read[theirs] == "YES").astype(float)
    return images.reset_index()


def padchest(folder: Path) -> pd.DataFrame:
    """Names between quotation marks, whole; rows that name nothing but `exclude` and such go."""
    (path,) = folder.glob("PADCHEST*")
    table = pd.read_csv(path, low_memory=False)
    names = table["Labels"].fillna("").map(lambda text: re.findall(r"'([^']*)'", text))
    one_each = names.explode().str.strip()
    nothing = one_each.isna() | one_each.isin(["", "unchanged", "exclude", "suboptimal study"])
    found = pd.get_dummies(one_each[~nothing]).groupby(level=0).max().astype(int)
    about = {"image": table["ImageID"], "patient": table["PatientID"].astype(str)}
    method = table["MethodLabel"].rename("by")
    return pd.DataFrame(about).join(method).join(found, how="inner")


def padchest_by(method: str) -> Truth:
    def truth(folder: Path) -> pd.DataFrame:
        table = padchest(folder)
        chosen = table[table["by"] == method].drop(columns="by")
        kept = ("image", "patient", *UNUSED_BY_THE_NETWORK)
        return chosen[[name for name in chosen if name in kept or chosen[name].any()]]

    return truth


def padchest_both(folder: Path) -> pd.DataFrame:
    return padchest(folder).drop(columns="by")


def vindr(least: int) -> Truth:
    """What at least so many of the three readers of an image say; names are not patients'."""

    def truth(folder: Path) -> pd.DataFrame:
        table = pd.read_csv(folder / "train.csv")
        readers = (
            table.groupby(["image_id", "class_name"])["rad_id"].nunique().unstack(fill_value=0)
        )
        assert (table.groupby("image_id")["rad_id"].nunique() == 3).all()
        found = (readers >= least).astype(int).rename_axis("image").reset_index()
        return found.assign(patient=found["image"])

    return truth


def rsna(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "stage_2_train_labels.csv")
    found = table.groupby("patientId")["Target"].max().rename("Pneumonia").rename_axis("image")
    return found.reset_index().assign(patient=lambda rows: rows["image"])


def siim(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "train-rle.csv")
    there = table[" EncodedPixels"].str.strip() != "-1"
    found = there.groupby(table["ImageId"]).any().astype(int).rename("Pneumothorax")
    return found.rename_axis("image").reset_index().assign(patient=lambda rows: rows["image"])


def openi(folder: Path) -> pd.DataFrame:
    """Terms up to the slash; reports that are not indexed, or of no use, say nothing."""
    rows = []
    with tarfile.open(folder / "NLMCXR_reports.tgz") as archive:
        for member in archive:
            if member.name.endswith(".xml"):
                text = archive.extractfile(member).read().decode()
                terms = {
                    re.sub(r"[,\s]+", " ", term).strip().lower()
                    for term in re.findall(r"<major>([^</]*)", text)
                }
                terms -= {"no indexing", "technical quality of image unsatisfactory"}
                number = re.search(r'<uId id="CXR(\d+)"', text).group(1)
                for image in re.findall(r'<parentImage id="([^"]+)"', text):
                    rows.append({"image": image, "patient": number, **dict.fromkeys(terms, 1)})
    table = pd.DataFrame(rows)
    found = table.drop(columns=["image", "patient"]).fillna(0)
    return table[["image", "patient"]].join(found)[found.any(axis=1)]


NIH = {"Data_Entry_2017_v2020.csv.gz": "Data_Entry_2017_v2020.csv.gz"}
PADCHEST = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
RSNA = {"stage_2_train_labels.csv": "kaggle_stage_2_train_labels.csv.zip"}
GOOGLE = "google2019_nih-chest-xray-labels.csv"
OPENI = ("NLMCXR_reports.tgz", "nlmcxr_dicom_metadata.csv.gz")
OWN = {"label_names": "own"}
CASES = (
    Case("CheXpert", {"train.csv": "chexpert_train.csv.gz"}, chexpert, parts=3),
    Case("NIH, own names", NIH, nih_own, OWN),
    Case("NIH", NIH, nih_as_chexpert),
    Case("NIH, Google's", {**NIH, GOOGLE: f"{GOOGLE}.gz"}, google, {"labels_from": GOOGLE}),
    Case("PadChest", {PADCHEST: PADCHEST}, padchest_both, OWN),
    *(
        Case(
            f"PadChest, {kind}",
            {PADCHEST: PADCHEST},
            padchest_by(method),
            {**OWN, "labels_from": kind},
        )
        for kind, method in (("physician", "Physician"), ("rnn", "RNN_model"))
    ),
    *(
        Case(
            f"VinDr, {rule}",
            {"train.csv": "vinbigdata-train.csv.gz"},
            vindr(least),
            {**OWN, "readers": rule},
        )
        for rule, least in (("any", 1), ("vote", 2), ("all", 3))
    ),
    Case("RSNA", RSNA, rsna),
    Case("SIIM", {"train-rle.csv": "siim-pneumothorax-train-rle.csv.gz"}, siim),
    Case("OpenI", {name: name for name in OPENI}, openi, OWN),
)


def lay_out(case: Case, package: Path, folder: Path) -> None:
    """Put the case's tables into a folder, under the names with which they are handed out."""
    for official, name in case.files.items():
        source, target = package / name, folder / official
        if name.endswith(".zip"):
            with zipfile.ZipFile(source) as archive:
                archive.extract(official, folder)
        elif name.endswith(".gz") and not official.endswith(".gz"):
            pd.read_csv(source, dtype=str, keep_default_na=False).to_csv(target, index=False)
        else:
            shutil.copy(source, target)


def run(case: Case, package: Path) -> tuple[str, list[str]]:
    """Prepare and compare: a line of figures, and what differs."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "data"
        folder.mkdir()
        lay_out(case, package, folder)
        workspace = Workspace(Path(place) / "cxr")
        config = PrepareConfig(data=folder, check_images="none", views="all", **case.options)
        start, busy = time.perf_counter(), time.process_time()
        result = prepare_manifest(config, workspace)
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        manifest = pd.read_csv(workspace.manifest, dtype={"patient_id": str}, low_memory=False)
        expected = case.truth(folder)
    differences = compare(manifest, expected, case.parts)
    for name, wanted in (("images", len(expected)), ("patients", expected["patient"].nunique())):
        counted = getattr(result, name)
        if counted != wanted:
            differences.append(f"{name}: {counted:,}, and {wanted:,} by pandas")
    positives = (expected.drop(columns=["image", "patient"]) == 1).sum()
    few = ", ".join(f"{name} {count:,}" for name, count in positives.nlargest(40).items())
    line = (
        f"{case.name:<20}{result.rows:>8,} rows {result.images:>8,} images "
        f"{result.patients:>7,} patients {seconds:5.1f} s "
        f"({busy:.1f} of the processor) {memory:>5,} MB"
        f"\n    problems {result.problems or 'none'}\n    positive: {few}"
    )
    return line, differences


def compare(manifest: pd.DataFrame, expected: pd.DataFrame, parts: int) -> list[str]:
    """Where the manifest's labels differ from the expected ones."""
    found = manifest.copy().assign(image=manifest["path"].str.split("/").str[-parts:].str.join("/"))
    one, other = (
        frame.assign(image=frame["image"].str.replace(ENDING, "", regex=True)).set_index("image")
        for frame in (found, expected)
    )
    if set(one.index) != set(other.index) or not one.index.is_unique:
        return [f"images: {len(set(one.index) ^ set(other.index)):,} are only in one of both"]
    one = one.loc[other.index]
    labels = [name for name in other if name != "patient"]
    first = list(manifest.columns).index("source") + 1
    told = []
    for label in {*labels, *manifest.columns[first:]}:
        nothing = pd.Series(float("nan"), index=other.index)
        ours = one.get(label, nothing).astype(float)
        theirs = other.get(label, nothing).astype(float)
        differ = (ours != theirs) & ~(ours.isna() & theirs.isna())
        if differ.any():
            told.append(
                f"{label}: {differ.sum():,} images differ, such as {differ.idxmax()}; positive "
                f"{(ours == 1).sum():,}, and {(theirs == 1).sum():,} by pandas"
            )
    return told


def main() -> None:
    package = Path(sys.argv[1])
    chosen = [case for case in CASES if case.name.startswith(tuple(sys.argv[2:]) or "")]
    wrong = 0
    # A fresh process each: the greatest memory of a process never falls.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for number in [CASES.index(case) for case in chosen]:
            line, differences = pool.submit(run_numbered, number, package).result()
            print(line, *(f"    DIFFERS {one}" for one in differences), sep="\n", flush=True)
            wrong += bool(differences)
    print(f"{len(chosen)} tables, {wrong} of them differ")
    sys.exit(1 if wrong else 0)


def run_numbered(number: int, package: Path) -> tuple[str, list[str]]:
    return run(CASES[number], package)


if __name__ == "__main__":
    main()
