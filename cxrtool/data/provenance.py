"""What a run was trained on: where its images are from."""

from typing import Any

from cxrtool.core.errors import DataError, RunError
from cxrtool.core.files import sha256
from cxrtool.core.json_files import read_json
from cxrtool.core.origin import DRAWN
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import DataInfo, Workspace

TRAINED_ON_DRAWINGS = (
    "the model was trained on drawings, not on X-rays: what it says of an X-ray means nothing"
)


def described(info: DataInfo) -> dict[str, Any]:
    """What a run keeps of the data that it is trained on; no place of this machine."""
    return {**info.origin.for_readers(), "labels_by": info.labels_by, "layout": info.dataset}


def data_of_run(run: RunFolder) -> dict[str, Any]:
    """What a run says of the data of its training; for one of version 0.1, its workspace does.

    Returns:
        `origin, description, labels_by, layout`; nothing where nobody knows, as of a run of
        version 0.1 that was copied into the workspace of other data.
    """
    try:
        model = read_json(run.model)
        if isinstance(kept := model.get("data"), dict):
            return kept
        workspace = Workspace(run.path.parent.parent)
        if sha256(workspace.manifest) != model.get("manifest_sha256"):
            return {}
        return described(workspace.read_data_info())
    except (RunError, DataError, OSError):
        return {}


def trained_on_drawings(run: RunFolder) -> bool:
    """Whether the images of a run's training were drawn by a program."""
    return data_of_run(run).get("origin") == DRAWN
