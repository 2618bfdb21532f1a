"""The options of archives: a PACS or a DICOMweb server that results are sent to."""

from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.config.option import ARCHIVES, Config, option


@dataclass(frozen=True, kw_only=True)
class ReachConfig(Config):
    """How archives are reached."""

    archive_ca: Path | None = option(
        None, ARCHIVES, metavar="FILE", shown="those that the system trusts"
    ).help("Certificates to trust where an archive is reached over TLS, in PEM.")
    archive_cert: Path | None = option(None, ARCHIVES, metavar="FILE").help(
        "Our certificate, for an archive that asks for one over TLS, in PEM."
    )
    archive_key: Path | None = option(None, ARCHIVES, metavar="FILE").help(
        "The private key of --archive-cert, in PEM."
    )
    archive_timeout: int = option(30, ARCHIVES, within=(1, 3600)).help(
        "Seconds to wait for a connection to an archive, and for each of its answers."
    )


@dataclass(frozen=True, kw_only=True)
class ArchiveConfig(ReachConfig):
    """Commands that send results to archives."""

    to: list[str] | None = option(None, ARCHIVES, metavar="AE@HOST:PORT|URL").help(
        "Archive to send DICOM results to: by C-STORE (AE@HOST:PORT), or by STOW-RS "
        "(https://HOST/dicom-web; who you are there is said in the environment, by "
        "CXRTOOL_DICOMWEB_TOKEN, or by CXRTOOL_DICOMWEB_USER and CXRTOOL_DICOMWEB_PASSWORD). May "
        "be given several times."
    )
    ae: str = option("CXRTOOL", ARCHIVES, metavar="AE").help(
        "Our own AE title, by which archives know us."
    )
    archive_tls: bool = option(False, ARCHIVES).help(
        "Talk to AE@HOST:PORT over TLS; https:// always is."
    )
