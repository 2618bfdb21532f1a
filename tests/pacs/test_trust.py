import subprocess

import pytest

from cxrtool.core.errors import DataError, UsageError
from cxrtool.pacs.trust import Trust
from tests.support.certificates import make_certificate


def test_files_that_are_no_certificates_are_named(tmp_path):
    text = tmp_path / "text.pem"
    text.write_text("hello")
    with pytest.raises(DataError, match=r"text\.pem: not certificates"):
        Trust(authorities=text).context()
    with pytest.raises(DataError, match=r"gone\.pem: No such file"):
        Trust(authorities=tmp_path / "gone.pem").context()
    with pytest.raises(DataError, match=r"text\.pem: not certificates"):
        Trust(certificate=text).context()


def test_a_key_needs_a_certificate_that_it_fits(tmp_path):
    certificate, key = make_certificate(tmp_path)
    Trust(certificate=certificate, key=key).context()
    with pytest.raises(UsageError, match="needs its certificate"):
        Trust(key=key)
    (tmp_path / "other").mkdir()
    _, other = make_certificate(tmp_path / "other")
    with pytest.raises(DataError, match="does not fit"):
        Trust(certificate=certificate, key=other).context()


def test_a_password_is_not_asked_for(tmp_path):
    certificate, key = make_certificate(tmp_path)
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "rsa", "-aes128", "-in", key, "-out", locked, "-passout", "pass:secret"],
        check=True,
        capture_output=True,
    )
    with pytest.raises(DataError, match="protected by a password"):
        Trust(certificate=certificate, key=locked).context()
