"""What can be taken along: one image's findings as a page, and a study's as DICOM."""

import io
import zipfile
from datetime import datetime
from typing import TYPE_CHECKING

from starlette.responses import Response

from cxrtool.evaluation.decisions import POSITIVE, contradictions
from cxrtool.gui.answering import documented, look
from cxrtool.gui.answers import shown_name
from cxrtool.gui.desk import Desk, Model
from cxrtool.gui.intake import Line, Question, RefusedError, Sent
from cxrtool.gui.one_page import Sheet, write_page
from cxrtool.pacs import why_absent

if TYPE_CHECKING:
    from cxrtool.pacs.scored_study import StudyImage

PDF, ZIP = "application/pdf", "application/zip"


async def pdf(desk: Desk, line: Line, question: Question) -> Response:
    """The page of the one image that was sent.

    Raises:
        RefusedError: several were sent, it cannot be scored, or there is no such label.
    """
    if len(question.images) != 1:
        raise RefusedError(422, "a page is of one image: send one file")
    content = await documented(
        desk, line, question, lambda model: write_page(_sheet(desk, model, question))
    )
    return Response(content, media_type=PDF, headers=_named("findings.pdf"))


async def dicom(desk: Desk, line: Line, question: Question) -> Response:
    """A structured report of the study that was sent, and a picture of each positive finding.

    Raises:
        RefusedError: the extra is not installed, or the images are not those of one study.
    """
    if absent := why_absent():
        raise RefusedError(422, absent)
    content = await documented(desk, line, question, lambda model: _results(desk, model, question))
    return Response(content, media_type=ZIP, headers=_named("results.zip"))


def _named(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}


def _sheet(desk: Desk, model: Model, question: Question) -> Sheet:
    (image,) = question.images
    film, looked = look(desk, model, image)
    positive = [one.label for one in looked.findings if one.decision == POSITIVE]
    label = question.label or next(iter(positive), looked.findings[0].label)
    if label not in model.scorer.labels:
        raise RefusedError(422, f"label is {label[:100]!r}: the model has no such finding")
    heat = desk.maps(model, looked, [label])
    return Sheet(
        film=film.grey,
        findings=looked.findings,
        model=model.known,
        engine=model.scorer.description,
        made=datetime.now().astimezone(),
        name=shown_name(image.name),
        label=label,
        heat=None if isinstance(heat, str) else heat[label],
        absent=heat if isinstance(heat, str) else "",
        areas={one.label: one.auroc for one in model.facts.labels if one.auroc.value is not None},
        level=model.facts.level,
        warnings=(*filter(None, [film.warning]), *model.facts.warnings),
        contradictions=tuple(contradictions(looked.findings)),
    )


def _results(desk: Desk, model: Model, question: Question) -> bytes:
    from cxrtool.pacs.instances import dicom_file
    from cxrtool.pacs.scored_study import ScoredStudy
    from cxrtool.pacs.secondary_capture import secondary_captures
    from cxrtool.pacs.structured_report import structured_report

    images = tuple(_study_image(desk, model, image) for image in question.images)
    study = ScoredStudy(images=images, model=model.known, without_maps=model.heat.absent)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.dcm", dicom_file(structured_report(study)))
        for number, picture in enumerate(secondary_captures(study), start=1):
            archive.writestr(f"picture-{number}.dcm", dicom_file(picture))
    return file.getvalue()


def _study_image(desk: Desk, model: Model, image: Sent) -> "StudyImage":
    from cxrtool.pacs.headers import read_header
    from cxrtool.pacs.scored_study import StudyImage

    # Decoded under limits first: its header is read in this process.
    film, looked = look(desk, model, image)
    heat = desk.maps(model, looked, [one.label for one in looked.findings])
    return StudyImage(
        header=read_header(image.read()),
        findings=looked.findings,
        warning=film.warning,
        grey=film.grey,
        heat={} if isinstance(heat, str) else heat,
    )
