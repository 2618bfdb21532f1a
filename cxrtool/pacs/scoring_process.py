"""The process that `study_worker` starts: loads a model once, and scores one study after another.

Questions come as JSON on stdin, answers go to stdout, as `images.apart` has it. It ends with its
parent.
"""

import errno
import gc
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from cxrtool.core.children import follow_the_parent
from cxrtool.core.console import Reporter
from cxrtool.core.errors import CxrToolError, DataError
from cxrtool.images.apart import read_exactly, read_values, write_message
from cxrtool.inference.engines.base import Compute
from cxrtool.pacs.capture_picture import draw_capture
from cxrtool.pacs.scored_study import ScoredStudy
from cxrtool.pacs.study_members import read_members
from cxrtool.pacs.study_results import study_results
from cxrtool.pacs.study_scorer import StudyScorer, load_study_scorer

SIDE = 256
"""Pixels of the image that all is warmed up with."""
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, kw_only=True)
class Model:
    """What scores studies, and what is made of that."""

    runs: str
    """The folder of runs."""
    models: tuple[str | None, ...] = (None,)
    """Names or paths of runs, or exported files; None: the last finished run."""
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    tta: bool = False
    heat_maps: bool = True
    sr_class: str = "comprehensive-3d"
    captures: bool = True
    presentation: bool = False

    def as_json(self) -> dict[str, Any]:
        """For the process."""
        return asdict(self)


class _Lines(Reporter):
    """Keeps warnings for the parent, who can show them."""

    def __init__(self) -> None:
        super().__init__(quiet=True, progress=False)
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def main() -> None:
    """Answer questions on stdin until it is closed."""
    asked: IO[bytes] = os.fdopen(0, "rb", 0)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # prints must not end up in an answer
    follow_the_parent()
    values, size = read_values(asked)
    read_exactly(asked, size)
    model = Model(**values | {"models": tuple(values["models"])})
    lines = _Lines()
    try:
        scorer = _load(model, lines)
    except (CxrToolError, OSError) as error:
        write_message(answers, {"error": str(error), "warnings": lines.warnings})
        return
    with suppress(CxrToolError, OSError):  # the first study would say so too
        warm_up(scorer, model)
    gc.freeze()  # a report is many small objects: what stays is not looked through each time
    about = scorer.model
    ready = {
        "model": about.name,
        "fingerprint": about.fingerprint,
        "engine": scorer.ensemble.description,
        "maps": scorer.without_maps,
        "warnings": lines.warnings,
    }
    write_message(answers, {"ready": ready})
    while True:
        try:
            question, size = read_values(asked)
            read_exactly(asked, size)
        except EOFError:
            return
        write_message(answers, _answer(scorer, model, question))


def _load(model: Model, reporter: Reporter) -> StudyScorer:
    compute = Compute(engine=model.engine, device=model.device, precision=model.precision)
    return load_study_scorer(
        Path(model.runs),
        model.models,
        compute,
        reporter,
        tta=model.tta,
        heat_maps=model.heat_maps,
    )


def warm_up(scorer: StudyScorer, model: Model) -> None:
    """Answer a study that is none, so that the first real one finds all loaded.

    Raises:
        CxrToolError, OSError: it could not be answered.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image"
        _drawn().save_as(file, enforce_file_format=True)
        study = scorer.score([file])
        for image in study.scored if model.captures else ():
            film = image.grey or Image.new("L", (SIDE, SIDE))
            draw_capture(film, None, image.findings[0], study.model)
        _write(study, model, Path(folder))


def _drawn() -> Dataset:
    """A ramp of grey as a frontal chest X-ray of nobody."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    made.Modality, made.BodyPartExamined, made.ViewPosition = "CR", "CHEST", "PA"
    made.Rows = made.Columns = SIDE
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    ramp = np.linspace(0, 4095, SIDE * SIDE).astype("<u2")
    made.add_new("PixelData", "OW", ramp.tobytes())
    return made


def _answer(scorer: StudyScorer, model: Model, question: dict[str, Any]) -> dict[str, Any]:
    """What came of a study: figures, or why it is `refused`, `delayed` or has `failed`."""
    files, into = [Path(one) for one in question["files"]], Path(question["into"])
    try:
        if question["given_up"]:
            study = unscored(scorer, files, question["given_up"])
        else:
            study = scorer.score(files)
        return _write(study, model, into)
    except DataError as error:
        return {"refused": str(error)}
    except OSError as error:
        full = error.errno in FULL
        return {"delayed": "the spool's disk is full" if full else f"{error.strerror}"}
    except MemoryError:
        return {"delayed": "memory ran out"}
    except Exception as error:  # its message may quote the patient
        return {"failed": f"scoring failed ({type(error).__name__})"}


def unscored(scorer: StudyScorer, files: Sequence[Path], why: str) -> ScoredStudy:
    """A study of which nothing but headers is looked at, since scoring it fails.

    Raises:
        DataError: as `StudyScorer.score`.
    """
    members, left_out = read_members(files)
    given_up = [replace(one, why_not=one.why_not or why) for one in members]
    return scorer.study(given_up, {}, left_out)


def _write(study: ScoredStudy, model: Model, into: Path) -> dict[str, Any]:
    """Write the results of a study into a folder; figures of them."""
    made = study_results(
        study,
        sr_class=model.sr_class,
        captures=model.captures,
        presentation=model.presentation,
    )
    count = 0
    for one in made:
        (into / one.name).write_bytes(one.content)
        count += 1
    reasons = sorted({one.why_not for one in study.images if one.why_not})
    return {
        "images": len(study.images) + len(study.left_out),
        "scored": len(study.scored),
        "why_not": reasons,
        "results": count,
    }


if __name__ == "__main__":
    main()
