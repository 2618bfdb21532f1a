"""The options of the commands that use runs: `predict`, `gui`, `export`, `runs`."""

from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.config.archives import ArchiveConfig
from cxrtool.core.config.common import ComputeConfig, DeviceConfig
from cxrtool.core.config.data import SplitConfig
from cxrtool.core.config.evaluation import EvaluateConfig, TruthConfig
from cxrtool.core.config.option import (
    ARCHIVES,
    COMPUTING,
    DATA,
    DICOM_RESULTS,
    HEAT_MAPS,
    MODEL,
    OUTPUT,
    PAGE,
    Config,
    like,
    option,
)
from cxrtool.core.config.values import ENGINES, HEATMAPS, SR_CLASSES

LAST = "the last finished run"


@dataclass(frozen=True, kw_only=True)
class PredictConfig(ComputeConfig, ArchiveConfig):
    """`predict`."""

    run: list[str] | None = option(None, MODEL, metavar="RUN", shown=LAST).help(
        "Name or path of a run, a pack of one, an exported model (.onnx), or a published network "
        "(xrv:NAME, xrv:FILE). Given several times: the mean of their probabilities."
    )
    output: Path | None = option(None, OUTPUT, metavar="FILE").help(
        "Table to write: CSV, JSON (.json) or JSON lines (.jsonl) by its ending."
    )
    json_lines: bool = option(False, OUTPUT).help(
        "Print one JSON object per image on stdout, as soon as it is scored."
    )
    resume: bool = option(False, OUTPUT).help(
        "Complete an --output or a --dicom folder that was interrupted, or to which images were "
        "added; finished rows, and studies with all their results, are kept."
    )
    ids: bool = option(False, OUTPUT).help(
        "Add columns with what a DICOM is known by in its archive: study, series and SOP instance "
        "UID, accession number, view, modality. Without it nothing of the kind is read."
    )
    provenance: bool = option(False, OUTPUT).help(
        "Add columns with what a row was made with: model, SHA-256 of its weights, operating "
        "point, thresholds, version of cxrtool, time."
    )
    unit: str = option("image", OUTPUT, choices=("image", "study")).help(
        "What a row is. study: the frontal images of a study together; laterals are left out and "
        "counted."
    )
    aggregate: str = like(TruthConfig, "aggregate", "mean", panel=OUTPUT)
    query: list[str] | None = option(None, ARCHIVES, metavar="KEY=VALUE,...").help(
        "Which images of dicomweb:URL to score: DICOM keywords and what each has to be, such as "
        "Modality=DX,StudyDate=20261127 (a range: 20261101-20261127). Given several times: those "
        "that fit any."
    )
    split: str | None = like(
        TruthConfig,
        "split",
        None,
        help="Of a manifest, only the images in this part of its split.",
        shown="all",
    )
    tta: bool = option(False, MODEL).help(
        "Test-time augmentation: score each image five times, rotated and scaled a little (never "
        "mirrored), and take the mean; five times slower."
    )
    heatmaps: Path | None = option(None, HEAT_MAPS, metavar="DIR").help(
        "Folder for heat maps: a PNG and the raw map (.npy) for each finding of each image."
    )
    heatmap_labels: str | None = option(
        None, HEAT_MAPS, metavar="A,B,...", shown="those at or over their threshold"
    ).help("With --heatmaps: findings to draw, separated by commas.")
    heatmap_method: str = option("gradcam", HEAT_MAPS, choices=HEATMAPS).help(
        "With --heatmaps: Grad-CAM (what supports a finding), or class activation map (what "
        "supports and what contradicts it)."
    )
    dicom: Path | None = option(None, DICOM_RESULTS, metavar="DIR").help(
        "Folder for DICOM results, a folder in it for each study, named by its Study Instance UID: "
        "a structured report of its frontal chest X-rays (report.dcm) and a picture with the heat "
        "map of each positive finding (picture-N.dcm). They hold the study's patient. Needs "
        "cxrtool[dicom]."
    )
    sr_class: str = option("comprehensive-3d", DICOM_RESULTS, choices=SR_CLASSES).help(
        "Class of the report, for archives that refuse Comprehensive 3D SR; what it says is the "
        "same."
    )
    presentation_states: bool = option(False, DICOM_RESULTS).help(
        "With --dicom: presentation states too (marks-N.dcm), which viewers lay over a film: a "
        "circle and a text where most speaks for each positive finding."
    )
    engine: str = option("auto", COMPUTING, choices=ENGINES).help(
        "Inference engine. auto: torch on a GPU; on a CPU OpenVINO if installed (cxrtool[cpu]), "
        "else the faster of torch and ONNX Runtime."
    )
    batch_size: int | None = like(
        TruthConfig, "batch_size", None, shown="the fastest for the engine"
    )
    force: bool = like(SplitConfig, "force", False)


@dataclass(frozen=True, kw_only=True)
class GuiConfig(DeviceConfig):
    """`gui`."""

    run: list[str] | None = option(None, MODEL, metavar="RUN", shown=LAST).help(
        "Name or path of a run, or an exported model (.onnx), which has no heat maps. Given "
        "several times: the page can switch between them."
    )
    engine: str = like(PredictConfig, "engine", "auto")
    host: str = option("127.0.0.1", PAGE, metavar="HOST").help(
        "Address to serve the page at. Any other than 127.0.0.1 lets other machines in."
    )
    port: int = option(7860, PAGE, within=(0, 65535)).help(
        "Port to serve the page at; 0: any free one."
    )
    token: str | None = option(
        None,
        PAGE,
        metavar="TOKEN",
        envvar="CXRTOOL_TOKEN",
        shown="none on 127.0.0.1, else a random one",
    ).help(
        "What a request has to show: as `Authorization: Bearer TOKEN`, or once in the address "
        "(?token=TOKEN). An empty one lets everybody in."
    )
    tls_cert: Path | None = option(None, PAGE, metavar="FILE").help(
        "Certificate to serve the page with over HTTPS, in PEM."
    )
    tls_key: Path | None = option(None, PAGE, metavar="FILE").help(
        "The certificate's private key, in PEM."
    )
    allow_host: list[str] | None = option(None, PAGE, metavar="NAME").help(
        "Another name under which browsers may open the page, such as that of a proxy; may be "
        "given several times."
    )
    root: Path | None = option(None, PAGE, metavar="DIR").help(
        "Folder whose images may be scored by naming them to the HTTP interface, which else takes "
        "only images that are sent."
    )
    max_mb: int = option(100, PAGE, within=(1, 10_000)).help(
        "Largest total size of files sent at once, in MiB."
    )
    browser: bool = option(False, PAGE).help("Open the page in your browser.")


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """`export`."""

    run: str | None = like(EvaluateConfig, "run", None)
    output: Path | None = option(
        None, OUTPUT, metavar="FILE.onnx", shown="RUN.onnx in this folder"
    ).help("File to write.")
    check: list[Path] | None = option(
        None, DATA, metavar="FILE|DIR", shown="16 images of the run's valid part"
    ).help("Images, or folders of images, on which the exported model is compared with the run.")
    force: bool = like(SplitConfig, "force", False)


@dataclass(frozen=True, kw_only=True)
class RunsConfig(Config):
    """`runs`."""

    action: str | None = option(
        None, DATA, choices=("rm", "slim", "pack"), metavar="ACTION", argument=True
    ).help(
        "rm: remove the named runs. slim: remove checkpoints and graphs of the named, or of all, "
        "finished runs, but neither scores nor weights. pack: write what of a run may leave the "
        "house, without patients, pictures and places. Without it: list the runs."
    )
    names: list[str] | None = option(None, DATA, metavar="NAME", argument=True).help(
        "Runs to remove, to slim, or the one to pack."
    )
    output: Path | None = option(
        None, OUTPUT, metavar="FILE.zip|DIR", shown="RUN.zip in this folder"
    ).help("With pack: file or folder to write.")
    force: bool = like(SplitConfig, "force", False, help="With pack: replace --output.")
