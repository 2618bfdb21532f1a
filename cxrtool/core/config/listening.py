"""The options of `listen`."""

from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.config.archives import ArchiveConfig
from cxrtool.core.config.common import DeviceConfig
from cxrtool.core.config.option import (
    DICOM_RESULTS,
    MODEL,
    OUTPUT,
    RECEIVING,
    SPOOL,
    like,
    option,
)
from cxrtool.core.config.prediction import GuiConfig, PredictConfig


@dataclass(frozen=True, kw_only=True)
class ListenConfig(DeviceConfig, ArchiveConfig):
    """`listen`."""

    run: list[str] | None = like(PredictConfig, "run", None)
    engine: str = like(PredictConfig, "engine", "auto")
    tta: bool = option(False, MODEL).help(
        "Test-time augmentation: the mean over five views of each image; five times slower."
    )
    sr_class: str = like(PredictConfig, "sr_class", "comprehensive-3d")
    captures: bool = option(True, DICOM_RESULTS, flags=("--captures/--no-captures",)).help(
        "Make a picture (Secondary Capture) with the heat map of each positive finding."
    )
    presentation_states: bool = like(
        PredictConfig,
        "presentation_states",
        False,
        help="Make presentation states too, which viewers lay over a film: a circle and a text "
        "where most speaks for each positive finding.",
    )
    output: Path | None = option(None, OUTPUT, metavar="DIR").help(
        "Folder for results, besides or in place of --to: a folder for each study, named by its "
        "StudyInstanceUID, which appears at once."
    )
    bind: str = option("127.0.0.1", RECEIVING, metavar="ADDRESS").help(
        "Address to listen at. Any other than 127.0.0.1 lets other machines in; 0.0.0.0 is all "
        "that this machine has."
    )
    port: int = option(11112, RECEIVING, within=(0, 65535)).help(
        "Port to listen at; 0: any free one."
    )
    allow_ae: list[str] | None = option(None, RECEIVING, metavar="AE", shown="all").help(
        "AE title that may send; may be given several times."
    )
    max_associations: int = option(100, RECEIVING, within=(1, 1000)).help(
        "Associations at once, at most."
    )
    max_mb: int = like(
        GuiConfig, "max_mb", 256, panel=RECEIVING, help="Largest object that is taken, in MiB."
    )
    peer_timeout: float = option(60.0, RECEIVING, within=(1.0, 3600.0)).help(
        "Seconds that who sends may be silent."
    )
    tls_cert: Path | None = option(None, RECEIVING, metavar="FILE").help(
        "Certificate to take images over TLS with, in PEM."
    )
    tls_key: Path | None = option(None, RECEIVING, metavar="FILE").help(
        "The certificate's private key, in PEM."
    )
    tls_ca: Path | None = option(None, RECEIVING, metavar="FILE").help(
        "Certificates of who may send, or of who signed theirs, in PEM; others are turned away."
    )
    folder: Path | None = option(None, RECEIVING, metavar="DIR").help(
        "Take images from a folder, and from folders in it, instead of a port. They are copied; "
        "the folder stays as it is."
    )
    settle_seconds: float = option(5.0, RECEIVING, within=(0.0, 3600.0)).help(
        "With --folder: seconds that a file must have stopped growing for."
    )
    quiet_seconds: float = option(10.0, RECEIVING, within=(0.0, 3600.0)).help(
        "Seconds without another image after which a study is scored. An image that comes later "
        "has the whole study scored again."
    )
    spool: Path | None = option(None, SPOOL, metavar="DIR", shown="spool in the workspace").help(
        "Folder of the queue on disk. It holds the images, and so patients' data."
    )
    spool_reserve_mb: int = option(1024, SPOOL, within=(0, 10_000_000)).help(
        "Space that images leave free on the spool's disk, in MiB; below it they are refused, to "
        "be sent again."
    )
    keep_days: float = option(7.0, SPOOL, within=(0.0, 3650.0)).help(
        "Days that the images of an answered study stay in the spool, for images of it that come "
        "late."
    )
    retry_refused: bool = option(False, SPOOL).help(
        "First score again what was put aside: studies that could not be answered, and results "
        "that an archive refused."
    )
    monitor: bool = option(True, SPOOL, flags=("--monitor/--no-monitor",)).help(
        "Serve /health and /metrics (Prometheus) on 127.0.0.1; nothing of patients is in them."
    )
    monitor_port: int = option(9112, SPOOL, within=(0, 65535)).help(
        "Port of these pages; 0: any free one."
    )
