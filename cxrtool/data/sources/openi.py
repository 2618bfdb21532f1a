"""Indiana University's X-rays, which NLM hands out as Open-i, to manifest rows.

Demner-Fushman et al. 2016, doi 10.1093/jamia/ocv080. NLM has a report in XML for each study; Kaggle
has the same as two tables. Indexers gave the reports terms of MeSH, which are the labels.
"""

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from cxrtool.core.csv_tables import read_table
from cxrtool.core.errors import DataError, counted
from cxrtool.data.problems import Problems
from cxrtool.data.sources.declared import Declaration, Opened, Table, column
from cxrtool.data.sources.findings import FindingList
from cxrtool.data.sources.rows import ABSENT, open_table, unused_columns

UID, IMAGE, VIEW, TERMS = "uid", "filename", "projection", "MeSH"
PROJECTIONS, REPORTS = "indiana_projections.csv", "indiana_reports.csv"
FOLDER, ARCHIVE = "ecgen-radiology", "NLMCXR_reports.tgz"
HEADERS = "nlmcxr_dicom_metadata.csv"
"""The images' DICOM headers as a table, made by others: the reports name no views."""
HEADER_VIEWS = {"LARGE LATERAL": "LATERAL"}
BETWEEN = ";"
"""What stands between two terms; none has one in it."""
NO_FINDINGS = ("no indexing", "technical quality of image unsatisfactory")
"""Terms that say nothing of what is there."""
# Terms are taken whole, up to the first slash; the site and degree behind it are left. The same
# word is taken for the same finding; the others go by the phrases of CheXpert's own labeler
# (Irvin et al. 2019), to which heart failure and congestion are Edema, and airspace disease,
# infiltrates and increased density Lung Opacity. Hydro- and hemopneumothorax are two findings each.
# Two labels have no term: "thickening" and "mediastinum" name neither the pleura nor an
# enlargement before the slash, so Pleural Other and Enlarged Cardiomediastinum are not known.
CHEXPERT_NAMES = {
    "No Finding": ("normal",),
    "Cardiomegaly": ("cardiomegaly",),
    "Lung Opacity": (
        "opacity",
        "airspace disease",
        "infiltrate",
        "density",
        "lung diseases interstitial",
    ),
    "Lung Lesion": ("nodule", "mass"),
    "Edema": ("pulmonary edema", "pulmonary congestion", "heart failure"),
    "Consolidation": ("consolidation",),
    "Pneumonia": ("pneumonia",),
    "Atelectasis": ("pulmonary atelectasis",),
    "Pneumothorax": ("pneumothorax", "hydropneumothorax", "hemopneumothorax"),
    "Pleural Effusion": (
        "pleural effusion",
        "hydropneumothorax",
        "hemothorax",
        "hemopneumothorax",
    ),
    "Fracture": ("fractures bone",),
    "Support Devices": (
        "catheters indwelling",
        "implanted medical device",
        "medical device",
        "tube inserted",
    ),
}


@dataclass(frozen=True)
class Projections(Table):
    """Kaggle's table of images, with the terms of the table of reports beside it."""

    def open(self, path: Path, problems: Problems) -> Opened:
        """As `Table.open`; an image without a report has no terms."""
        images = open_table(path, self.columns, problems)
        other = path.with_name(REPORTS)
        if not other.is_file():
            raise DataError(f"{path.parent} has {path.name} but no {REPORTS}: copy it there")
        reports = open_table(other, (UID, TERMS), problems)
        twice = reports[UID].duplicated()
        if twice.any():
            raise DataError(f"{other}: {twice.sum():,} rows repeat a {UID}: is it Kaggle's table?")
        terms = images[UID].map(reports.set_index(UID)[TERMS]).fillna("")
        return Opened(
            images.assign(**{TERMS: terms}),
            files=(path, other),
            names=(path.name, other.name),
            unused=unused_columns(reports, (UID, TERMS), other),
            notes=_without_images(int((~reports[UID].isin(images[UID])).sum())),
        )


@dataclass(frozen=True)
class Reports(Table):
    """NLM's reports, unpacked or not, with the views of a table of DICOM headers beside them."""

    def find(self, folder: Path) -> list[Path]:
        """The folder that holds the reports, or their archive."""
        folders = [place for place in (folder, folder / FOLDER) if _is_of_reports(place)]
        archive = folder / ARCHIVE
        return folders or ([archive] if archive.is_file() else [])

    def open(self, path: Path, problems: Problems) -> Opened:
        """As `Table.open`."""
        rows: list[tuple[str, ...]] = []
        alone = 0
        for name, text in _texts(path):
            uid, images, terms = _report(name, text)
            alone += not images
            rows += [(uid, image, terms, name) for image in images]
        frame = pd.DataFrame(rows, columns=[UID, IMAGE, TERMS, "place"], dtype=str)
        files = tuple(sorted(path.glob("*.xml"))) if path.is_dir() else (path,)
        headers = _headers_beside(path)
        views = {} if headers is None else _views(headers)
        frame[VIEW] = [views.get(image, "") for image in frame[IMAGE]]
        unknown = int((frame[VIEW] == "").sum())
        of = f"there is no {HEADERS}" if headers is None else f"{headers.name} has no view of them"
        notes = [f"the view of {counted(unknown, 'image')} is not known ({of}): `--views all`"]
        return Opened(
            frame.drop(columns="place"),
            files=files if headers is None else (*files, headers),
            names=(path.name,) if headers is None else (path.name, headers.name),
            unused={path.name: ["automatic terms", "report"]},
            notes=(*(notes if unknown else ()), *_without_images(alone)),
            places=frame["place"].to_numpy(dtype=object),
        )


def _without_images(count: int) -> tuple[str, ...]:
    return (f"{counted(count, 'report')} without an image: left out",) if count else ()


def _is_of_reports(folder: Path) -> bool:
    """Whether reports lie in a folder: by what the first XML file there says."""
    first = next(iter(sorted(folder.glob("*.xml"))), None)
    if first is None:
        return False
    with first.open("rb") as file:
        return b"<eCitation" in file.read(2_000)


def _texts(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each report of a folder or an archive."""
    try:
        if path.is_dir():
            for file in sorted(path.glob("*.xml")):
                yield file.name, file.read_bytes()
            return
        with tarfile.open(path) as archive:
            for member in archive:
                file_of = archive.extractfile(member) if member.name.endswith(".xml") else None
                if file_of is not None:
                    yield member.name.rpartition("/")[2], file_of.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        why = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read ({why}): is the download complete?") from None


def _report(name: str, text: bytes) -> tuple[str, list[str], str]:
    """Number, images and terms of a report."""
    try:
        # Python's parser loads nothing from outside, and refuses entities that would grow.
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(f"{name} cannot be read as XML ({error}): download it again") from None
    uid = root.find("uId")
    if uid is None or not uid.get("id"):
        raise DataError(f"{name} has no uId: is it a report of Indiana University?")
    terms = [(one.text or "").strip() for one in root.findall("MeSH/major")]
    images = [one.get("id", "").strip() for one in root.findall("parentImage")]
    return uid.get("id", "").removeprefix("CXR"), images, BETWEEN.join(terms)


def _headers_beside(path: Path) -> Path | None:
    folders = (path, path.parent) if path.is_dir() else (path.parent,)
    names = (HEADERS, f"{HEADERS}.gz")
    return next((f / name for f in folders for name in names if (f / name).is_file()), None)


def _views(headers: Path) -> dict[str, str]:
    """By image, where its header has one."""
    table = read_table(headers, ("imageid", "View Position")).drop_duplicates("imageid")
    views = table.set_index("imageid")["View Position"].str.strip()
    return {str(image): view for image, view in views.replace(HEADER_VIEWS).items()}


def _listed(text: str) -> Sequence[str]:
    """The terms in a cell, up to the slash, in one spelling.

    Indexers were not of one mind on capitals; and `--labels A,B` could not name `Fractures, Bone`.
    """
    terms = (term.partition("/")[0] for term in text.split(BETWEEN))
    names = (" ".join(term.replace(",", " ").lower().split()) for term in terms)
    return [name for name in names if name]


OPENI = Declaration(
    name="openi",
    title="Indiana University's chest X-rays (Open-i; Demner-Fushman et al. 2016)",
    tables={
        "train": (
            Projections(PROJECTIONS, (UID, IMAGE, VIEW), (TERMS,)),
            Reports(f"{FOLDER}/*.xml", (UID, IMAGE), (VIEW, TERMS)),
        )
    },
    path=column(IMAGE),
    patient=column(UID),
    study=column(UID),
    view=column(VIEW),
    findings=FindingList(
        column=TERMS,
        split=_listed,
        always=tuple(name for names in CHEXPERT_NAMES.values() for name in names),
        none=NO_FINDINGS,
    ),
    meaning=CHEXPERT_NAMES,
    labels_by={"train": "indexers who gave the radiologists' reports terms of MeSH"},
    blanks=ABSENT,
    notes=("Indiana's reports name no patients: every study counts as one",),
)
