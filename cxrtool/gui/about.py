"""What the server says of itself and of its models: `GET /api/model`."""

from pydantic import Field

from cxrtool import __version__
from cxrtool.gui.answers import Answered
from cxrtool.gui.desk import Desk, Model
from cxrtool.gui.intake import Intake
from cxrtool.gui.model_card import LabelScore
from cxrtool.pacs import why_absent


class Auroc(Answered):
    """How well a finding is told apart on test."""

    value: float
    low: float | None = None
    high: float | None = None
    level: float | None = Field(default=None, description="Of the interval, such as 0.95.")


class LabelAbout(Answered):
    """A label of a model."""

    label: str
    auroc: Auroc | None
    shown_auroc: str
    threshold: float | None
    why_none: str


class ModelAbout(Answered):
    """A model, and how it scored on test."""

    name: str
    fingerprint: str
    engine: str
    image_size: int
    operating_point: str
    score: str
    brief: str
    rows: list[tuple[str, str]]
    labels: list[LabelAbout]
    warnings: list[str]
    banner: str
    maps: str = Field(description="Why there are no heat maps; empty if there are.")


class Limits(Answered):
    """How much can be sent at once."""

    files: int
    mb: int


class Exports(Answered):
    """What can be taken along."""

    pdf: bool = True
    dicom: str = Field(description="Why there are no results as DICOM; empty if there are.")


class About(Answered):
    """The server and its models."""

    version: str
    limits: Limits
    root: bool = Field(description="Whether folders of the server may be named.")
    exports: Exports
    models: list[ModelAbout] = Field(description="The first is the default.")


def about(desk: Desk, intake: Intake, *, most_mb: int) -> About:
    """What is true while the server runs."""
    return About(
        version=__version__,
        limits=Limits(files=intake.most_files, mb=most_mb),
        root=intake.root is not None,
        exports=Exports(dicom=why_absent()),
        models=[_of_model(one) for one in desk.models],
    )


def _of_model(model: Model) -> ModelAbout:
    scorer, facts = model.scorer, model.facts
    limits = scorer.thresholds
    scores = {one.label: one for one in facts.labels}
    return ModelAbout(
        name=scorer.name,
        fingerprint=scorer.fingerprint,
        engine=scorer.description,
        image_size=scorer.image_sizes[-1],
        operating_point=facts.operating_point,
        score=facts.score,
        brief=facts.brief,
        rows=list(facts.rows),
        labels=[
            _of_label(
                scores.get(label, LabelScore(label=label)),
                limits[label],
                scorer.without.get(label, ""),
                facts.level,
            )
            for label in scorer.labels
        ],
        warnings=list(facts.warnings),
        banner=facts.banner,
        maps=model.heat.absent,
    )


def _of_label(
    score: LabelScore, threshold: float | None, why_none: str, level: float | None
) -> LabelAbout:
    auroc, ends = score.auroc, score.auroc.interval or (None, None)
    return LabelAbout(
        label=score.label,
        auroc=None
        if auroc.value is None
        else Auroc(value=auroc.value, low=ends[0], high=ends[1], level=level),
        shown_auroc=score.shown,
        threshold=threshold,
        why_none=why_none,
    )
