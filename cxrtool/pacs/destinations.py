"""Where results go: a PACS by C-STORE (`AE@HOST:PORT`) or a DICOMweb server (`https://...`)."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cxrtool.core.config import ArchiveConfig
from cxrtool.core.errors import UsageError
from cxrtool.pacs.c_store import CStoreDestination
from cxrtool.pacs.delivery import Delivery
from cxrtool.pacs.dicomweb_access import dicomweb_access
from cxrtool.pacs.stow import StowDestination
from cxrtool.pacs.trust import Trust

OWN_AE = "CXRTOOL"
TIMEOUT = 30.0
"""Seconds to wait for a connection, and for each answer."""
MOST_AE = 16
"""Characters of an AE title (PS3.5, 6.2)."""
MOST_PORT = 65535
NODE = re.compile(r"(?P<ae>[^@]*)@(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:\[\]/\s]+):(?P<port>[0-9]{1,5})")


class Destination(Protocol):
    """Where results go."""

    @property
    def name(self) -> str:
        """As messages call it."""

    def send(self, files: Sequence[Path]) -> Delivery:
        """Send all files of one study, over one association or in one request.

        Raises:
            DataError: the files cannot be sent.
            TransientError: nothing is wrong with the files: they are worth sending again. Some may
                be stored; an archive knows them by their UIDs.
            DestinationError: the destination takes nothing until somebody changes a setting.
        """

    def echo(self) -> None:
        """Check that it is there and talks to us.

        Raises:
            TransientError, DestinationError: it does not.
        """


def parse_destination(
    text: str, *, ae: str = OWN_AE, trust: Trust | None = None, timeout: float = TIMEOUT
) -> Destination:
    """A destination as a user names it; nothing is sent.

    Args:
        text: `AE@HOST:PORT`, or the address of DICOMweb services, `https://HOST/dicom-web`. Who we
            are there is in the environment (`dicomweb_access`).
        ae: our own AE title.
        trust: for TLS. None: C-STORE is without it, and https:// trusts whom the system trusts.
        timeout: seconds to wait for a connection, and for each answer.

    Raises:
        UsageError: it is neither; the message shows no password.
        DataError: certificates or keys that cannot be used.
    """
    if "://" in text:
        return StowDestination(access=dicomweb_access(text, trust=trust, timeout=timeout))
    parts = NODE.fullmatch(text.strip())
    if parts is None or not 0 < int(parts["port"]) <= MOST_PORT:
        raise UsageError(
            f"{text!r} is no destination: write AE@HOST:PORT, such as ARCHIVE@pacs.ward:104, or "
            "the address of DICOMweb, such as https://pacs.ward/dicom-web"
        )
    if trust is not None:
        trust.context()
    return CStoreDestination(
        called=checked_ae(parts["ae"]),
        host=parts["host"].strip("[]"),
        port=int(parts["port"]),
        ae=checked_ae(ae),
        trust=trust,
        timeout=timeout,
    )


def destinations_of(config: ArchiveConfig) -> tuple[Destination, ...]:
    """Where a command's results go; nothing is sent.

    Raises:
        UsageError: not a destination, one that is named twice, or options of TLS without TLS.
        DataError: as `parse_destination`.
    """
    trust = Trust(
        authorities=config.archive_ca, certificate=config.archive_cert, key=config.archive_key
    )
    found = tuple(
        parse_destination(
            text,
            ae=config.ae_title,
            trust=trust if _encrypted(text, config) else None,
            timeout=config.archive_timeout,
        )
        for text in config.to or ()
    )
    twice = len({one.name for one in found}) < len(found)
    if twice:
        raise UsageError("--to names the same archive twice")
    return found


def _encrypted(text: str, config: ArchiveConfig) -> bool:
    return text.lower().startswith("https://") if "://" in text else config.archive_tls


def check_tls(config: ArchiveConfig, addresses: Sequence[str]) -> None:
    """Refuse options of TLS where none of the archives, by their addresses, is reached over it.

    Raises:
        UsageError: there are such options.
    """
    given = [
        option
        for option, value in (
            ("--archive-ca", config.archive_ca),
            ("--archive-cert", config.archive_cert),
            ("--archive-key", config.archive_key),
        )
        if value is not None
    ]
    if given and not any(_encrypted(one, config) for one in addresses):
        raise UsageError(
            f"{', '.join(given)}: no archive is reached over TLS: --archive-tls does so with "
            "AE@HOST:PORT, and https:// with DICOMweb"
        )
    if config.archive_tls and all("://" in one for one in addresses):
        raise UsageError("--archive-tls is for AE@HOST:PORT, which no archive is named by")


def checked_ae(title: str) -> str:
    """An AE title, without the spaces around it, which mean nothing.

    Raises:
        UsageError: it is none (PS3.5, 6.2).
    """
    title = title.strip(" ")
    plain = title.isascii() and title.isprintable() and "\\" not in title
    if not title or len(title) > MOST_AE or not plain:
        raise UsageError(
            f"{title!r} is no AE title: it has 1 to {MOST_AE} ASCII characters, none of them a "
            "backslash"
        )
    return title
