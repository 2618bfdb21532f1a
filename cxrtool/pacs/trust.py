"""What TLS connections to an archive trust, and who they say that they are."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.config import ReachConfig
from cxrtool.core.errors import DataError, UsageError


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Files in PEM, all of which may be left out.

    Raises:
        UsageError: a key without its certificate.
    """

    authorities: Path | None = None
    """Whose certificates are trusted; else those that the system trusts."""
    certificate: Path | None = None
    """Which is shown to servers that ask for one."""
    key: Path | None = None
    """Its private key, where that is in a file of its own."""

    def __post_init__(self) -> None:
        if self.key is not None and self.certificate is None:
            raise UsageError(f"the key {self.key} needs its certificate")

    def context(self) -> ssl.SSLContext:
        """For a client: server and host name are checked; TLS 1.2 or later (PS3.15, B.9).

        Raises:
            DataError: a file that is not there, is not PEM, or is protected by a password.
        """
        try:
            made = ssl.create_default_context(
                cafile=None if self.authorities is None else str(self.authorities)
            )
        except (OSError, ssl.SSLError) as error:
            raise DataError(f"{self.authorities}: {_reason(error)}") from None
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            try:
                # It would ask at the terminal.
                made.load_cert_chain(self.certificate, self.key, password=lambda: "")
            except (OSError, ssl.SSLError) as error:
                place = self.certificate if self.key is None else f"{self.certificate}, {self.key}"
                raise DataError(f"{place}: {_reason(error)}") from None
        return made


def is_https(url: str) -> bool:
    """Whether an address is reached over TLS."""
    return url.lower().startswith("https://")


def trust_of(config: ReachConfig) -> Trust:
    """What a command's options say of TLS."""
    return Trust(
        authorities=config.archive_ca, certificate=config.archive_cert, key=config.archive_key
    )


def check_tls(config: ReachConfig, encrypted: Sequence[bool]) -> None:
    """Refuse files for TLS where no archive is reached over it.

    Args:
        config: of a command.
        encrypted: of each archive, whether it is.

    Raises:
        UsageError: there are such files.
    """
    files = {
        "--archive-ca": config.archive_ca,
        "--archive-cert": config.archive_cert,
        "--archive-key": config.archive_key,
    }
    given = [option for option, value in files.items() if value is not None]
    if given and not any(encrypted):
        raise UsageError(
            f"{', '.join(given)}: no archive is reached over TLS; https:// is, and AE@HOST:PORT "
            "with --archive-tls"
        )


def tls_reason(error: ssl.SSLError) -> str:
    """Why a connection was not made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}): name whoever signed it with "
            "--archive-ca FILE"
        )
    return f"TLS failed ({error.reason or error.strerror or type(error).__name__})"


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (
            "not certificates or a key in PEM, one that does not fit the other, or protected by a "
            f"password ({error.reason or type(error).__name__})"
        )
    return error.strerror or type(error).__name__
