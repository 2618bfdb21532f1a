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
from cxrtool.pacs.trust import Trust, check_tls, is_https, trust_of

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


def destinations_of(config: ArchiveConfig, sources: Sequence[str] = ()) -> tuple[Destination, ...]:
    """Where a command's results go; nothing is sent.

    Args:
        config: of the command.
        sources: addresses of archives that it takes images from, which have the same options.

    Raises:
        UsageError: not a destination, one that is named twice, or options of TLS without TLS.
        DataError: as `parse_destination`.
    """
    given = config.to or []
    encrypted = [_encrypted(text, config) for text in given]
    found = tuple(
        parse_destination(
            text,
            ae=config.ae,
            trust=trust_of(config) if tls else None,
            timeout=config.archive_timeout,
        )
        for text, tls in zip(given, encrypted, strict=True)
    )
    if len({one.name for one in found}) < len(found):
        raise UsageError("--to names the same archive twice")
    if config.archive_tls and all("://" in text for text in given):
        raise UsageError("--archive-tls is for --to AE@HOST:PORT, which no archive is named by")
    check_tls(config, encrypted + [is_https(url) for url in sources])
    return found


def _encrypted(text: str, config: ArchiveConfig) -> bool:
    return is_https(text) if "://" in text else config.archive_tls


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
