"""croissant.json: what a workspace's manifest is, as Croissant 1.0, the JSON-LD of data sets.

The format: docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html. It describes the table, with
its SHA-256, and holds no row of it.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cxrtool import __version__
from cxrtool.core.files import sha256, write_text
from cxrtool.core.origin import Origin
from cxrtool.core.workspace import Workspace
from cxrtool.data.manifest import DESCRIBING, label_columns

VERSION = "http://mlcommons.org/croissant/1.0"
TEXT, INTEGER, NUMBER = "sc:Text", "sc:Integer", "sc:Float"
TABLE, RECORDS = "manifest", "images"
COLUMNS = {
    "path": (TEXT, "The image's file, from the data folder on."),
    "patient_id": (TEXT, "The patient's id in the data set."),
    "study_id": (TEXT, "The study's id, with that of the patient."),
    "view": (TEXT, "frontal or lateral; blank: not known."),
    "orientation": (TEXT, "AP, PA and others, as the data set has it."),
    "sex": (TEXT, "As the data set has it; blank: not known."),
    "age": (INTEGER, "In years; blank: not known."),
    "source": (TEXT, "Which of the data set's tables the row is of: train, valid or test."),
    "race": (TEXT, "As the data set has it; blank: not known."),
}
"""The columns that are no labels: their type, and what they hold."""
LABEL = "1 positive, 0 negative, -1 uncertain, blank {blank}; between them: a share of readers."
PREFIXES = {"cr": "http://mlcommons.org/croissant/", "dct": "http://purl.org/dc/terms/"}
TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject"),
    *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
    *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("separator", "source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    **PREFIXES,
    "rai": "http://mlcommons.org/croissant/RAI/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{term: f"cr:{term}" for term in TERMS},
}
"""The specification's own, word for word."""


def write_croissant(
    workspace: Workspace, manifest: pd.DataFrame, *, dataset: str, origin: Origin, blank: str
) -> None:
    """Describe the manifest that was just written; its file is named from the workspace on.

    Args:
        workspace: whose manifest it is.
        manifest: its rows, of which the columns are told.
        dataset: the format's name.
        origin: of the data.
        blank: what a blank label means.
    """
    labels = label_columns(manifest)
    names = [name for name in DESCRIBING if name in manifest.columns] + list(labels)
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": f"{dataset}-manifest",
        "description": (
            f"{origin.description}: {len(manifest):,} chest X-rays of "
            f"{manifest['patient_id'].nunique():,} patients with {len(labels)} labels, as a table "
            f"by cxrtool {__version__}. The images themselves are not part of it."
        ),
        "isLiveDataset": False,
        "distribution": [_file(workspace.manifest)],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": RECORDS,
                "name": RECORDS,
                "description": "A row an image.",
                "key": {"@id": f"{RECORDS}/path"},
                "field": [
                    _field(name, place, labels, blank)
                    for name, place in zip(names, _places(names), strict=True)
                ],
            }
        ],
    }
    text = json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(workspace.croissant, f"{text}\n")


def _file(manifest: Path) -> dict[str, str]:
    return {
        "@type": "cr:FileObject",
        "@id": TABLE,
        "name": manifest.name,
        "description": "A row an image, with what is known of it and its raw labels.",
        "contentUrl": manifest.name,
        "encodingFormat": "text/csv",
        "contentSize": f"{manifest.stat().st_size} B",
        "sha256": sha256(manifest),
    }


def _places(names: Sequence[str]) -> list[str]:
    """The last part of each column's `@id`, in which readers allow no blanks: each is another."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)
        while plain in found:
            plain += "_"
        found[plain] = name
    return list(found)


def _field(name: str, place: str, labels: Sequence[str], blank: str) -> dict[str, Any]:
    kind, words = COLUMNS.get(name, (TEXT, "As the data set has it."))
    if name in labels:
        kind, words = NUMBER, LABEL.format(blank=blank)
    return {
        "@type": "cr:Field",
        "@id": f"{RECORDS}/{place}",
        "name": name,
        "description": words,
        "dataType": kind,
        "source": {"fileObject": {"@id": TABLE}, "extract": {"column": name}},
    }
