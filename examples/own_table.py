"""A table and a folder of one's own, laid out as CheXpert's, so that `cxrtool prepare` reads them.

python examples/own_table.py my.csv my-images out
cxrtool prepare out/CheXpert-v1.0-small

my.csv has a row an image: `image` (a file in my-images), `patient` (any text: what keeps a
patient's images in one part of the split), and any of the 14 observations as columns with 1
(there), 0 (not there), -1 (uncertain) or nothing (not mentioned). `Sex`, `Age` and `AP/PA` are
taken over where they are given. Observations without a column stay blank: such a label reads n/a.

The images are linked, not copied; nothing of yours is changed.
"""

import csv
import sys
from pathlib import Path

from cxrtool.labels import CHEXPERT_LABELS

COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS)


def chexpert_rows(rows: list[dict[str, str]], images: Path, out: Path) -> list[dict[str, str]]:
    """Link each image to where CheXpert would have it, and give its row of train.csv."""
    patients = {name: number for number, name in enumerate(sorted({r["patient"] for r in rows}), 1)}
    studies: dict[str, int] = {}
    made = []
    for row in rows:
        study = studies[row["patient"]] = studies.get(row["patient"], 0) + 1
        suffix = Path(row["image"]).suffix
        folder = f"train/patient{patients[row['patient']]:05d}/study{study}"
        link = out / folder / f"view1_frontal{suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((images / row["image"]).resolve())
        path = f"{out.name}/{folder}/{link.name}"
        kept = {column: row.get(column, "") for column in COLUMNS}
        made.append({**kept, "Path": path, "Frontal/Lateral": "Frontal"})
    return made


def main(table: str, images: str, out: str) -> None:
    """Write OUT/CheXpert-v1.0-small."""
    with Path(table).open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    target = Path(out) / "CheXpert-v1.0-small"
    made = chexpert_rows(rows, Path(images), target)
    with (target / "train.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(made)
    print(f"{len(made)} images: cxrtool prepare {target}")


if __name__ == "__main__":
    main(*sys.argv[1:])
