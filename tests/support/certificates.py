"""A certificate of this machine for the tests of TLS."""

import shutil
import ssl
import subprocess

import pytest


def make_certificate(folder):
    """A certificate for 127.0.0.1 and localhost, and its key, as files."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", names, "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def server_context(certificate, key, *, asks=None):
    """For a server, which may ask clients for a certificate that `asks` has signed."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    if asks is not None:
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(asks)
    return made
