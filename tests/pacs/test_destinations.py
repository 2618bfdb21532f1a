import pytest

from cxrtool.core.config import ArchiveConfig
from cxrtool.core.errors import UsageError
from cxrtool.pacs.c_store import CStoreDestination
from cxrtool.pacs.destinations import destinations_of, parse_destination
from cxrtool.pacs.trust import Trust
from tests.support.certificates import make_certificate


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ARCHIVE@pacs.ward:104", "ARCHIVE@pacs.ward:104"),
        (" MY PACS@10.0.0.1:11112 ", "MY PACS@10.0.0.1:11112"),
        ("A@[::1]:104", "A@[::1]:104"),
        ("https://pacs.ward/dicom-web/", "https://pacs.ward/dicom-web"),
        ("http://127.0.0.1:8042/dicom-web", "http://127.0.0.1:8042/dicom-web"),
    ],
)
def test_a_destination_is_named_as_it_was_given(text, name):
    assert parse_destination(text).name == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no destination: write AE@HOST:PORT"),
        ("pacs.ward:104", "is no destination"),
        ("A@pacs.ward", "is no destination"),
        ("A@pacs.ward:0", "is no destination"),
        ("A@pacs.ward:65536", "is no destination"),
        ("A@B@pacs.ward:104", "is no destination"),
        ("@pacs.ward:104", "'' is no AE title"),
        ("SEVENTEEN-LETTERS@h:1", "1 to 16 ASCII characters"),
        ("A\\B@h:1", "is no AE title"),
        ("Ä@h:1", "is no AE title"),
        ("ftp://pacs.ward/", "is not an address"),
        ("https:///dicom-web", "is not an address"),
        ("https://h:port/", "is not an address"),
        ("https://pacs.ward/dicom-web?a=1", r"without \? and #"),
    ],
)
def test_what_is_no_destination_says_what_is(text, message):
    with pytest.raises(UsageError, match=message):
        parse_destination(text)


def test_a_password_in_an_address_is_not_taken_and_not_shown():
    for text in ("https://me:hunter2@pacs.ward/dicom-web", "ftp://me:hunter2@pacs.ward"):
        with pytest.raises(UsageError) as error:
            parse_destination(text)
        assert "hunter2" not in str(error.value)
        assert "me:" not in str(error.value)


def test_our_own_title_is_checked_and_certificates_need_tls():
    with pytest.raises(UsageError, match="is no AE title"):
        parse_destination("A@h:1", ae="x" * 17)
    with pytest.raises(UsageError, match="without TLS"):
        parse_destination("http://h/dicom-web", trust=Trust())


def test_the_options_of_a_command_are_those_of_its_destinations(tmp_path):
    certificate, key = make_certificate(tmp_path)
    there = ["A@h:104", "https://h/dicom-web", "http://h/dicom-web"]
    files = {"archive_ca": certificate, "archive_cert": certificate, "archive_key": key}
    config = ArchiveConfig(to=there, ae="WARD", archive_tls=True, archive_timeout=7, **files)
    node, web, plain = destinations_of(config)
    assert isinstance(node, CStoreDestination)
    assert (node.ae, node.timeout) == ("WARD", 7)
    assert (
        node.trust
        == web.access.trust
        == Trust(authorities=certificate, certificate=certificate, key=key)
    )
    assert plain.access.trust is None
    assert destinations_of(ArchiveConfig()) == ()
    for unencrypted in ([], ["http://h/dicom-web"]):
        with pytest.raises(UsageError, match="--archive-ca, --archive-cert, --archive-key: no"):
            destinations_of(ArchiveConfig(to=unencrypted, **files))
    destinations_of(ArchiveConfig(to=["A@h:104"], **files), ["https://h/dicom-web"])
    with pytest.raises(UsageError, match="--archive-tls is for"):
        destinations_of(ArchiveConfig(to=["https://h/dicom-web"], archive_tls=True))
    with pytest.raises(UsageError, match="twice"):
        destinations_of(ArchiveConfig(to=["A@h:104", "A@h:104"]))
