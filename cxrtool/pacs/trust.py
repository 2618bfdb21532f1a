"""What TLS connections to an archive trust, and who they say that they are."""

import ssl
from dataclasses import dataclass
from pathlib import Path

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
