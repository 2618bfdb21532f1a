"""TLS of a listener: what it shows to who sends images, and whose certificates it asks for."""

import ssl
from pathlib import Path

from cxrtool.core.errors import UsageError


def server_tls(
    certificate: Path | None, key: Path | None, authorities: Path | None
) -> ssl.SSLContext | None:
    """What a listener talks TLS with, 1.2 or later (PS3.15, B.9); None without a certificate.

    Args:
        certificate: in PEM.
        key: its private key.
        authorities: who signed the certificates that senders must show; None: these need none.

    Raises:
        UsageError: files that do not go together, or that cannot be used.
    """
    if certificate is None or key is None:
        if certificate is not None or key is not None or authorities is not None:
            raise UsageError("--tls-cert, --tls-key (and --tls-ca) go together")
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Else OpenSSL asks for the password on the terminal, where a service has none.
        made.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--tls-cert {certificate}, --tls-key {key}: not a certificate with its key, in PEM "
            f"and without a password ({_reason(error)})"
        ) from None
    if authorities is not None:
        try:
            made.load_verify_locations(authorities)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"--tls-ca {authorities}: not certificates in PEM ({_reason(error)})"
            ) from None
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
