import pytest
import requests

from cxrtool.core.errors import UsageError
from cxrtool.pacs.delivery import DestinationError, TransientError
from cxrtool.pacs.dicomweb_access import dicomweb_access
from cxrtool.pacs.trust import Trust
from tests.support.certificates import make_certificate, server_context
from tests.support.orthanc import free_port
from tests.support.scripted_web import Reply, scripted_web


def access(url, environment=None, trust=None, timeout=2):
    return dicomweb_access(url, trust=trust, timeout=timeout, environment=environment or {})


def failure(url, **options):
    """What is said of a server that cannot be asked."""
    there = access(url, **options)
    with there.session() as session, pytest.raises(requests.RequestException) as error:
        session.get(f"{there.url}/studies", timeout=there.timeout)
    return there.failure(error.value)


def test_credentials_that_contradict_each_other_are_refused():
    token, user, password = (f"CXRTOOL_DICOMWEB_{one}" for one in ("TOKEN", "USER", "PASSWORD"))
    for environment, message in (
        ({token: "a", user: "b", password: "c"}, "which of them is meant"),
        ({user: "b"}, "go together"),
        ({password: "b"}, "go together"),
        ({token: "a\nb"}, "line break"),
    ):
        with pytest.raises(UsageError, match=message):
            access("https://h", environment)
    assert access("https://h").credentials is None


def test_a_token_is_not_replaced_by_what_is_kept_for_the_host(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with scripted_web(lambda request: Reply()) as web:
        there = access(web.url, {"CXRTOOL_DICOMWEB_TOKEN": "mine"})
        with there.session() as session:
            session.get(there.url)
    assert web.asked[0].headers["authorization"] == "Bearer mine"


def test_who_is_trusted_is_who_was_named(tmp_path, monkeypatch):
    certificate, key = make_certificate(tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = make_certificate(tmp_path / "other")
    tls = server_context(certificate, key, asks=certificate)
    own = Trust(authorities=certificate, certificate=certificate, key=key)
    with scripted_web(lambda request: Reply(200, b"yes"), tls) as web:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
        there = access(web.url, trust=own)
        with there.session() as session:
            assert session.get(there.url).content == b"yes"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        said = failure(web.url, trust=Trust(authorities=other))
        assert "is not trusted" in str(said)
        assert "--archive-ca" in str(said)
        assert not isinstance(said, TransientError)


def test_failures_say_why():
    said = failure(f"http://127.0.0.1:{free_port()}/dicom-web")
    assert "cannot be reached (Connection refused)" in str(said)
    assert isinstance(said, TransientError)
    said = failure("http://no-such-host.invalid")
    assert "cannot be reached (Name or service not known)" in str(said) or "resol" in str(said)
    with scripted_web(lambda request: None) as web:
        said = failure(web.url)
    assert "broke the connection off" in str(said)
    with scripted_web(lambda request: Reply(200, b"x" * 99, sent=9)) as web:
        said = failure(web.url)
    assert "in the middle of an answer" in str(said)
    assert isinstance(said, TransientError)


def test_plain_text_is_no_tls():
    with scripted_web(lambda request: Reply()) as web:
        said = failure(web.url.replace("http://", "https://"))
    assert "TLS failed" in str(said)
    assert type(said) is DestinationError
