"""A download is whole or has no name, and what was cut is resumed."""

from contextlib import contextmanager

import pytest

from cxrtool.core.downloads import download
from cxrtool.core.errors import WeightsError
from tests.support.file_server import serving

CONTENT = bytes(range(256)) * 2000


class Told:
    """What was told of a download."""

    def __init__(self):
        self.begun, self.received = [], 0

    @contextmanager
    def __call__(self, there, total):
        self.begun.append((there, total))
        yield self.count

    def count(self, amount):
        self.received += amount


@pytest.fixture
def served():
    with serving(CONTENT) as one:
        yield one


def test_a_file_comes_whole_and_nothing_else_is_left(tmp_path, served):
    told = Told()
    download(served.url, tmp_path / "new" / "net.pt", told)
    assert (tmp_path / "new" / "net.pt").read_bytes() == CONTENT
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["net.pt"]
    assert told.begun == [(0, len(CONTENT))]
    assert told.received == len(CONTENT)


def test_after_a_cut_only_the_rest_is_asked_for(tmp_path, served):
    path = tmp_path / "net.pt"
    served.cut_after = 300_000
    with pytest.raises(WeightsError, match=r"sent 300,000 of 512,000 bytes|connection was cut"):
        download(served.url, path, Told())
    assert not path.exists()
    served.cut_after = None
    told = Told()
    download(served.url, path, told)
    assert path.read_bytes() == CONTENT
    assert served.asked == [None, "bytes=300000-"]
    assert told.begun == [(300_000, len(CONTENT))]
    assert [one.name for one in tmp_path.iterdir()] == ["net.pt"]


@pytest.mark.parametrize("how", ["another version", "no ranges", "weak"])
def test_what_was_there_is_not_joined_to_another_file(tmp_path, served, how):
    path, other = tmp_path / "net.pt", CONTENT[::-1]
    if how == "weak":
        served.version = 'W/"one"'
    served.cut_after = 300_000
    with pytest.raises(WeightsError):
        download(served.url, path, Told())
    served.cut_after, served.content = None, other
    if how == "another version":
        served.version = '"two"'
    served.ranges = how != "no ranges"
    download(served.url, path, Told())
    assert path.read_bytes() == other


def test_what_the_server_says_is_told(tmp_path, served):
    served.status = 404
    with pytest.raises(WeightsError, match="the server answers 404"):
        download(served.url, tmp_path / "net.pt", Told())
    assert not (tmp_path / "net.pt").exists()


def test_no_network_is_one_message(tmp_path):
    with serving(b"x") as gone:
        pass
    with pytest.raises(WeightsError, match=r"net.pt cannot be downloaded \(Connection refused\)"):
        download(gone.url, tmp_path / "net.pt", Told())
