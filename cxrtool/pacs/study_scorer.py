"""A model that looks at whole studies: which images to score, what it says of them, and where.

torch is imported for heat maps alone, which an exported model has none of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import UsageError
from cxrtool.data.prediction_rows import Row
from cxrtool.evaluation.decisions import POSITIVE, Finding, findings_of
from cxrtool.images.blanks import SEPARATOR
from cxrtool.images.errors import ImageError
from cxrtool.images.heat_grid import HeatMap
from cxrtool.images.reading import read_grey
from cxrtool.inference.engines.base import FASTEST, Compute
from cxrtool.inference.ensemble import Ensemble, ScoredImage
from cxrtool.inference.model_facts import ModelFacts, facts_of_ensemble, facts_of_model
from cxrtool.inference.scorer import is_exported, load_model
from cxrtool.networks.published_runs import run_of
from cxrtool.pacs.frontal import unsaid
from cxrtool.pacs.scored_study import ScoredStudy, StudyImage
from cxrtool.pacs.study_members import Member, read_members

if TYPE_CHECKING:
    from cxrtool.networks.class_activation import Explainer

OF_A_FILE = "an exported model has none"
OF_SEVERAL = "the mean of several models has none"
SWITCHED_OFF = "none was asked for"
NOT_GIVEN = "not among the images that were scored"


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What came of scoring one image."""

    row: Row
    heat: Mapping[str, HeatMap] = field(default_factory=dict)
    """Of its positive findings, where that is known."""


@dataclass(frozen=True, kw_only=True)
class StudyScorer:
    """A model, or the mean of several, and what explains its findings; loaded once."""

    ensemble: Ensemble
    model: ModelFacts
    explainer: "Explainer | None"
    without_maps: str
    """Why there is none; empty where there is one."""

    def score(self, files: Sequence[Path], *, workers: int | None = None) -> ScoredStudy:
        """Look at the files of one study: its frontal chest X-rays are scored, in one batch.

        Each other object has its reason in the study; a file of which no header can be read, or
        that is there twice, is counted in `left_out`.

        Args:
            files: all that is there of the study, in any order.
            workers: threads that decode; None: one a core.

        Raises:
            DataError: no header can be read, or they are of several studies or patients.
        """
        members, left_out = read_members(files)
        frontal = [one for one in members if not one.why_not]
        paths = [one.file for one in frontal]
        scored = self.ensemble.score([path.name for path in paths], paths, workers=workers)
        looked = {frontal[one.index].uid: self.look(one) for one in scored}
        return self.study(members, looked, left_out)

    def look(self, one: ScoredImage) -> Looked:
        """A scored image with the heat maps of its positive findings."""
        positive = [found.label for found in self._findings(one.row) if found.decision == POSITIVE]
        if self.explainer is None or one.pixels is None or not positive:
            return Looked(row=one.row)
        maps, cells = self.explainer.maps(one.pixels, positive), self.explainer.cells
        heat = {label: HeatMap(of, cells) for label, of in zip(positive, maps, strict=True)}
        return Looked(row=one.row, heat=heat)

    def study(
        self, members: Sequence[Member], looked: Mapping[str, Looked], left_out: Sequence[str] = ()
    ) -> ScoredStudy:
        """The study that objects are, with what came of the frontal ones by their UIDs.

        Raises:
            DataError: there is none, or they are of several studies or patients.
        """
        return ScoredStudy(
            images=tuple(self._image(one, looked.get(one.uid)) for one in members),
            model=self.model,
            left_out=tuple(left_out),
            without_maps=self.without_maps,
        )

    def _image(self, one: Member, looked: Looked | None) -> StudyImage:
        if one.why_not or looked is None:
            return StudyImage(header=one.header, why_not=one.why_not or NOT_GIVEN)
        row = looked.row
        if row.scores is None:
            return StudyImage(header=one.header, why_not=row.error, failed=True)
        findings = self._findings(row)
        return StudyImage(
            header=one.header,
            findings=findings,
            warning=SEPARATOR.join(filter(None, (row.warning, unsaid(one.header)))),
            grey=_film(one.file, findings),
            heat=looked.heat,
        )

    def _findings(self, row: Row) -> tuple[Finding, ...]:
        if row.scores is None:
            return ()
        of = self.ensemble
        return findings_of(
            row.scores, of.labels, of.thresholds, row.warning, of.without, limits=of.limits
        )


def load_study_scorer(
    runs: Path,
    models: Sequence[str | None],
    compute: Compute = FASTEST,
    reporter: Reporter = SILENT,
    *,
    tta: bool = False,
    heat_maps: bool = True,
) -> StudyScorer:
    """A model, or the mean of several, that looks at studies.

    Args:
        runs: the folder of runs.
        models: names or paths of runs, exported files; None: the last finished run.
        compute: what computes.
        reporter: told what a user should know of the models.
        tta: whether each image is seen five times.
        heat_maps: whether maps are drawn; without them torch is not needed for them.

    Raises:
        RunError, UsageError: as `load_model`.
    """
    members = tuple(load_model(runs, one, compute, reporter) for one in models)
    ensemble = Ensemble(members=members, tta=tta)
    return study_scorer_of(runs, models, ensemble, reporter, heat_maps=heat_maps)


def study_scorer_of(
    runs: Path,
    models: Sequence[str | None],
    ensemble: Ensemble,
    reporter: Reporter = SILENT,
    *,
    heat_maps: bool = True,
) -> StudyScorer:
    """The same of an ensemble that is loaded; `models` are its members as they were named.

    Raises:
        RunError: a run's weights were altered.
    """
    facts = [facts_of_model(runs, one) for one in models]
    explainer, without = None, "" if heat_maps else SWITCHED_OFF
    if heat_maps and len(models) > 1:
        without = OF_SEVERAL
    elif heat_maps and is_exported(runs, models[0]):
        without = OF_A_FILE
    elif heat_maps:
        from cxrtool.networks.class_activation import load_explainer

        with reporter.busy("loading torch"):
            try:
                device = ensemble.members[0].engine.device
                explainer = load_explainer(run_of(runs, models[0]), device)
            except UsageError as error:  # a network without maps
                without = str(error)
    return StudyScorer(
        ensemble=ensemble,
        model=facts_of_ensemble(facts, tta=ensemble.tta),
        explainer=explainer,
        without_maps=without,
    )


def _film(file: Path, findings: Sequence[Finding]) -> Image.Image | None:
    """The image as it is shown, where a picture of it is to be made."""
    if not any(one.decision == POSITIVE for one in findings):
        return None
    try:
        return read_grey(file)
    except ImageError:  # it was there a moment ago: its findings stay
        return None
