from threading import Event

import pytest

from cxrtool.pacs import dicomweb_retrieval
from cxrtool.pacs.delivery import DestinationError, TransientError
from cxrtool.pacs.dicomweb_access import dicomweb_access
from cxrtool.pacs.dicomweb_retrieval import RetrievalStoppedError, retrieve_image
from cxrtool.pacs.dicomweb_search import WebImage
from tests.support.scripted_archive import multipart, scripted_archive
from tests.support.scripted_web import Reply, scripted_web
from tests.support.studies import as_bytes, dx


def retrieve(url, image, file, stop=None):
    access = dicomweb_access(url, trust=None, timeout=2, environment={})
    wanted = WebImage(
        str(image.StudyInstanceUID), str(image.SeriesInstanceUID), str(image.SOPInstanceUID)
    )
    with access.session() as session:
        retrieve_image(access, session, wanted, file, stop or Event())


@pytest.fixture
def file(tmp_path):
    return tmp_path / "image.dcm"


def test_it_is_what_a_real_archive_holds(orthanc, file):
    image = dx()
    orthanc.store(as_bytes(image))
    retrieve(orthanc.dicomweb, image, file)
    assert file.read_bytes() == as_bytes(image)


@pytest.mark.parametrize("behaviour", [{}, {"syntaxes": False}, {"single": True}])
def test_it_is_what_an_archive_holds(behaviour, file):
    image = dx()
    with scripted_archive(image, **behaviour) as (_, web):
        retrieve(web.url, image, file)
    assert file.read_bytes() == as_bytes(image)


@pytest.mark.parametrize("piece", [1, 7, 64, 2**18])
@pytest.mark.parametrize(
    "content", [b"", b"x", b"\r\n--aB-1.", b"\r\n\r\n--\r\n", bytes(range(256)) * 9]
)
def test_however_it_comes_in_pieces(piece, content, file, monkeypatch):
    monkeypatch.setattr(dicomweb_retrieval, "PIECE", piece)
    replies = [multipart(content)]
    before = b"preamble\r\n" + replies[0].body
    replies.append(Reply(200, before, replies[0].headers))
    replies.append(multipart(content, "a b"))
    replies[-1].headers["Content-Type"] = 'multipart/related; boundary="a b"; type=x'
    for reply in replies:
        with scripted_web(lambda request, reply=reply: reply) as web:
            retrieve(web.url, dx(), file)
        assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (Reply(404), DestinationError, "does not have it"),
        (Reply(401), DestinationError, "say who you are"),
        (Reply(200, b"{}", {"Content-Type": "text/html"}), DestinationError, "as text/html"),
        (Reply(200, b"{}"), DestinationError, "as nothing"),
        (Reply(500), TransientError, "answers 500"),
        (multipart(b"x" * 9999, sent=500), TransientError, "in the middle"),
        (None, TransientError, "broke the connection off"),
        (
            Reply(200, b"--b\r\n\r\nxyz", {"Content-Type": "multipart/related; boundary=b"}),
            TransientError,
            "in the middle",
        ),
        (
            Reply(200, b"x" * 10**6, {"Content-Type": "multipart/related; boundary=b"}),
            DestinationError,
            "has no parts",
        ),
    ],
)
def test_what_cannot_be_had_leaves_no_file(reply, kind, message, file):
    with (
        scripted_web(lambda request: reply) as web,
        pytest.raises(DestinationError, match=message) as error,
    ):
        retrieve(web.url, dx(), file)
    assert type(error.value) is kind
    assert not file.exists()


def test_what_is_too_large_or_stopped_leaves_no_file(file, monkeypatch):
    image = dx()
    stop = Event()
    stop.set()
    with scripted_archive(image) as (_, web):
        with pytest.raises(RetrievalStoppedError):
            retrieve(web.url, image, file, stop)
        assert not file.exists()
        monkeypatch.setattr(dicomweb_retrieval, "MOST", 999)
        with pytest.raises(DestinationError, match="more than"):
            retrieve(web.url, image, file)
    assert not file.exists()
