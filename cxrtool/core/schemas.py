"""What stands in our JSON files: a model for each file, with types, ranges and lengths.

A key that is added to a file is added to its model, with a default where older files lack it: of
what a run or an exported model holds, a default of None stands for version 0.1. Unknown keys are
refused in files that change a score: a newer version may mean something by them that this one would
leave out. Others may hold more than is named here.
"""

import math
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import ErrorDetails

from cxrtool.core.config import options_of
from cxrtool.core.errors import RunError, first_few
from cxrtool.core.json_files import read_json, shortened

LARGEST_IMAGE = 16_384
"""Pixels of a side that images are squished to; a larger square is 268 MB an image."""
MOST = 100_000_000
"""Of rows, images and steps; no option takes more of anything that a run's files hold."""
MOST_KEY = 60
"""Characters of a key that a message names."""
AGAIN = "restore it from a copy, or train again"

Word = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Text = Annotated[str, StringConstraints(max_length=100_000)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=MOST)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
ImageSize = Annotated[int, Field(ge=1, le=LARGEST_IMAGE)]
Share = Annotated[float, Field(ge=0, le=1)]
# Just above the highest score, where nobody is positive, may be just above 1.
Threshold = Annotated[float, Field(ge=0, le=math.nextafter(1, 2))] | None


def _no_twice(values: tuple[str, ...]) -> tuple[str, ...]:
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise ValueError(f"{first_few(twice)} occurs twice")
    return values


# JSON has lists, and we keep tuples.
Words = Annotated[tuple[Word, ...], Strict(False), Field(max_length=1000)]
Labels = Annotated[Words, Field(min_length=1), AfterValidator(_no_twice)]
ImageSizes = Annotated[tuple[ImageSize, ...], Strict(False), Field(min_length=1, max_length=10)]
Patients = Annotated[frozenset[Text], Strict(False), Field(max_length=MOST)]
Ends = Annotated[tuple[Share, Share], Strict(False)]
"""Of an interval."""
ByLabel = dict[Word, Threshold]


class Record(BaseModel):
    """A file's content: unknown keys are refused, and nothing is converted."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True
    )
    INSTEAD: ClassVar[str] = AGAIN
    """What a user can do where the file is not as it should be."""


class OpenRecord(Record):
    """A file of which no more than this is used, and nothing of it changes a score."""

    model_config = ConfigDict(extra="allow")


class RunData(Record):
    """What a run says of the data of its training."""

    origin: Word
    description: Text
    labels_by: dict[str, Text]
    layout: Word


class PublishedFacts(Record):
    """Of a network that others trained and published, and that stands here as a run."""

    name: Word
    trained_on: Words
    """The collections whose patients it has seen."""
    words: Text
    sha256: Sha256
    """Of the file that it was made of."""


class RunModel(Record):
    """model.json: what the weights are weights of, and the other files' SHA-256."""

    arch: Word
    recipe: Word | None = None
    drop_rate: Annotated[float, Field(ge=0, lt=1)]
    image_size: ImageSize
    squish: ImageSizes
    fold: Count | None
    pixel_mean: Share
    pixel_std: Annotated[float, Field(gt=0, le=1)]
    pixels_of: Text | None = None
    """Whose mean and deviation of pixels those are."""
    weights_from: Text | None = None
    data: RunData | None = None
    published: PublishedFacts | None = None
    sha256: dict[Word, Sha256]
    manifest_sha256: Sha256
    split_sha256: Sha256
    epochs: Count | None = None
    best_epoch: Count | None = None
    best_step: Count | None = None
    valid_mean_auroc: Share | None = None
    images: dict[Literal["train", "valid"], Count] | None = None
    finished: Word | None = None
    """When training came to its end, in ISO 8601."""
    identity: Sha256 | None = None
    """The same in a run's environment.json, model.json and checkpoint."""
    sealed: Sha256 | None = None
    """`json_files.seal_of` all the rest."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.squish[-1] != self.image_size:
            raise ValueError(
                f"squish {list(self.squish)} does not end in image_size {self.image_size}"
            )
        seen = "cohort.json" if "cohort.json" in self.sha256 else "patients.json"
        needed = ("model.safetensors", "labels.json", seen)
        if missing := [name for name in needed if name not in self.sha256]:
            raise ValueError(f"sha256 lacks {first_few(missing)}")
        return self


class Counts(Record):
    """A label's images in train."""

    positives: Count
    n: Count
    drawn: Share | None = None
    """The share of positives among the images drawn, of the n."""


class RunLabels(Record):
    """labels.json: the labels in the order of the logits, and the policies."""

    labels: Labels
    uncertainty: Word
    blank: Word
    train: dict[Word, Counts] | None = None


class CertificateFacts(Record):
    """What a certified threshold is known to keep, as `certificates.Certificate` has it."""

    quantity: Literal["sensitivity", "specificity", "ppv", "npv"]
    promised: Share
    reached: Share
    level: Share
    patients: Count
    wrong: Annotated[float, Field(ge=0, le=MOST)]
    positive_patients: Count
    negative_patients: Count
    ended: Text = ""


class LimitsFacts(Record):
    """A label's two certified thresholds, and what is known of each."""

    rule_out: Annotated[float, Field(ge=0, le=math.nextafter(1, 2))]
    rule_in: Annotated[float, Field(ge=0, le=math.nextafter(1, 2))]
    certificates: Annotated[tuple[CertificateFacts, CertificateFacts], Strict(False)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.rule_out > self.rule_in:
            raise ValueError(f"rule_out {self.rule_out} is above rule_in {self.rule_in}")
        return self


class TriageFacts(Record):
    """Of each label for which both promises can be kept, two thresholds."""

    rule_out: Word
    rule_in: Word
    chosen_on: Word
    family: Word
    labels: dict[Word, LimitsFacts]
    without: dict[Word, Text]


class RunThresholds(Record):
    """thresholds.json: operating points and calibration."""

    operating_point: Word = "youden"
    chosen_on: Word = "valid"
    thresholds: ByLabel
    operating_points: dict[Word, ByLabel] = {}
    calibration: dict[str, Any] | None = None
    """As `points.Calibration` writes and reads it."""
    without: dict[Word, Text] | None = None
    """Why labels have no threshold; version 0.1 took any that it found."""
    family: Word | None = None
    """Of the promises of a certified operating point."""
    certificates: dict[Word, CertificateFacts] | None = None
    """Of each label with a certified threshold."""
    triage: TriageFacts | None = None
    weights_sha256: Sha256 | None = None
    """Of the weights whose scores they were chosen on."""
    sealed: Sha256 | None = None
    """`json_files.seal_of` all but `thresholds`, which may be edited."""


class AncestorFacts(Record):
    """A run whose weights a run began from, or began from in turn."""

    name: Text
    weights_sha256: Sha256 | None
    """None: of a run that never came to its end."""
    packed: bool = False
    """Whether it was there as a pack, which does not say whom it has seen."""


class InheritedFacts(Record):
    """Patients that ancestors were trained or chosen on, whose ids count in the same data sets."""

    registers: Words | None
    key: Sha256 | None = None
    """Of what their ids are hashed with (`patient_keys`); None: they are plain."""
    train: Patients
    valid: Patients


class RunPatients(Record):
    """patients.json: whom the run was trained and chosen on."""

    key: Sha256 | None = None
    """Of what the ids are hashed with; None: plain ids, as before there were keys."""
    train: Patients
    valid: Patients
    registers: Words | None = None
    """In which data sets these ids are the same people (`origin.Origin`); None: in all."""
    ancestors: tuple[AncestorFacts, ...] = Field(default=(), strict=False)
    inherited: tuple[InheritedFacts, ...] = Field(default=(), strict=False)


class OriginFacts(Record):
    """Where data are from, as `origin.Origin` has it."""

    INSTEAD: ClassVar[str] = "prepare again"
    kind: Literal["chexpert", "nih", "mimic", "drawn", "own"]
    description: Text
    registers: Words
    published: Words


class DataFacts(OpenRecord):
    """data.json, as far as the commands after `prepare` use it."""

    INSTEAD: ClassVar[str] = "prepare again"
    dataset: Word
    folder: Word
    labels_by: dict[str, Text]
    asked: dict[str, Text]
    origin: OriginFacts | None = None
    views: Word | None = None
    blank: Word | None = None


class CacheFacts(OpenRecord):
    """cache/cache.json: what seals the image cache."""

    INSTEAD: ClassVar[str] = "it is not as it was written"
    side: ImageSize
    rows: Count
    pixels_sha256: Word
    index_sha256: Sha256


class PredictionsFacts(Record):
    """predictions/<split>.json: of which weights the table beside it is."""

    INSTEAD: ClassVar[str] = "score the part again"
    weights_sha256: Sha256
    sha256: Sha256
    sealed: Sha256


class GraphFacts(Record):
    """graph.json: a kept graph's files, and what they were made of."""

    fingerprint: Word
    weights_sha256: Sha256
    sha256: dict[Word, Sha256]
    sealed: Sha256


class ExportedFacts(Record):
    """What an exported model says of itself in its metadata."""

    INSTEAD: ClassVar[str] = "export it again"
    cxrtool: Word
    run: Text
    arch: Word
    labels: Labels
    thresholds: ByLabel
    operating_point: Word
    calibration: dict[str, Any] | None
    without: dict[Word, Text] | None = None
    chosen_on: Word | None = None
    family: Word | None = None
    certificates: dict[Word, CertificateFacts] | None = None
    triage: TriageFacts | None = None
    sampling_remark: Text | None = None
    """What weighted sampling did to the probabilities, in words."""
    uncertainty: Word
    blank: Word
    squish: ImageSizes
    pixel_mean: Share
    pixel_std: Annotated[float, Field(gt=0, le=1)]
    weights_sha256: Sha256
    train_patients: Count
    train_data: dict[str, Text | None] | None = None
    test_data: dict[str, Any] | None = None
    test_mean_auroc: Share | None
    test_protocol: dict[str, Any] | None
    notice: Text
    graph_sha256: Sha256
    model_sha256: Sha256 | None = None
    """Of all but the metadata."""
    sealed: Sha256 | None = None
    """`json_files.seal_of` all the rest, the two before it too."""

    @model_validator(mode="after")
    def _each_has_one(self) -> Self:
        lacking = [label for label in self.labels if label not in self.thresholds]
        if lacking:
            raise ValueError(f"thresholds lacks {first_few(lacking)}")
        return self


class LabelMetrics(OpenRecord):
    """A label's scores, as far as they are read back."""

    auroc: Share | None = None
    auroc_ci: Ends | None = None


class Metrics(OpenRecord):
    """metrics/<split>.json, as far as it is read back."""

    INSTEAD: ClassVar[str] = "run `cxrtool evaluate` again"
    mean_auroc: Share | None
    mean_auroc_ci: Ends | None = None
    labels: dict[Word, LabelMetrics] = {}
    defined: Count | None = None
    n: Count | None = None
    patients: Count | None = None
    unit: Word | None = None
    intervals: dict[str, Any] | None = None
    protocol: dict[str, Any] | None = None
    data: dict[str, Any] | None = None


@cache
def model_of(plain: type) -> type[Record]:
    """The model of a dataclass whose whole numbers are counts: types and keys as it has them.

    Options have their ranges, choices and checks too.
    """
    found: dict[str, Any] = {}
    hints, options = get_type_hints(plain), options_of(plain)
    for one in fields(plain):
        hint = {int: Count, int | None: Count | None}.get(hints[one.name], hints[one.name])
        if one.name in options:
            hint = Annotated[hint, AfterValidator(options[one.name].checked)]
        if one.default_factory is not MISSING:
            found[one.name] = (hint, Field(default_factory=one.default_factory))
        else:
            found[one.name] = (hint, ... if one.default is MISSING else one.default)
    return create_model(plain.__name__, __base__=Record, **found)


Model = TypeVar("Model", bound=Record)


def read_as(path: Path, model: type[Model]) -> Model:
    """Read one of our JSON files as what it should be.

    Raises:
        RunError: as `read_json`; or a key is missing, unknown or of another kind or range: the
            message names the file, the keys, and what to do.
    """
    return checked(read_json(path, model.INSTEAD), model, path)


def checked(values: dict[str, Any], model: type[Model], where: object) -> Model:
    """Values from JSON as what they should be; `where` they come from begins the message.

    Raises:
        RunError: as `read_as`.
    """
    try:
        return model.model_validate({key: one for key, one in values.items() if key != "format"})
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A list without its bad items seems too short besides.
        bad = [one for one in found if one["type"] != "too_short" or not one["input"]]
        problems = [_problem(one) for one in bad or found]
        raise RunError(f"{where}: {first_few(problems)}: {model.INSTEAD}") from None


def _problem(error: ErrorDetails) -> str:
    """What is wrong with a key, in words that say what was found, as far as it is short."""
    key, found = ".".join(str(part)[:MOST_KEY] for part in error["loc"]), shortened(error["input"])
    limits = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return f"{key} is not a key of this version (edited, or written by a newer cxrtool)"
        case "string_pattern_mismatch":
            return f"{key} is {found} and should be 64 hexadecimal digits"
        case "too_short" | "string_too_short":
            return f"{key} is {found} and should be longer"
        case "too_long" | "string_too_long":
            return f"{key} is longer than the {limits['max_length']:,} that are read"
        case "value_error":  # of our own checks
            return f"{key}: {limits['error']}" if key else str(limits["error"])
    expected = str(error["msg"]).removeprefix("Input should be ")
    return f"{key} is {found} and should be {expected}"
