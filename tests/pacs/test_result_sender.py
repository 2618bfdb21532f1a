import pytest

from cxrtool.pacs import result_sender
from cxrtool.pacs.delivery import (
    DestinationError,
    TransientError,
    delivery_of,
    not_taken,
    read_outgoing,
)
from cxrtool.pacs.result_sender import ResultSender
from cxrtool.pacs.statuses import status_of
from tests.conftest import Hearing
from tests.support.dicoms import saved
from tests.support.studies import STUDY, dx

WORK, OTHER = "digest of the work", "digest of another model's"


class Scripted:
    """An archive with outcomes in turn: an error, or what it says of each file."""

    def __init__(self, *outcomes, name="A@h:104"):
        self.name, self.outcomes, self.files = name, list(outcomes), []

    def send(self, files):
        self.files.append([file.name for file in files])
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return delivery_of(self.name, [(one, outcome(one)) for one in read_outgoing(files)])


def stored(one):
    return status_of(0)


@pytest.fixture
def sender(tmp_path, monkeypatch):
    monkeypatch.setattr(result_sender, "WAITS", (0, 0))
    for study in (str(STUDY), "1.2.3"):
        (tmp_path / study).mkdir()
        for name in ("report.dcm", "picture-1.dcm"):
            saved(tmp_path / study / name, dx(StudyInstanceUID=study))
        (tmp_path / study / ".complete").write_text(WORK)

    def make(*destinations):
        return ResultSender(destinations, tmp_path, Hearing())

    return make


def test_each_archive_is_sent_a_study_once(sender):
    one, two = Scripted(stored), Scripted(stored, name="https://h/dicom-web")
    assert sender(one, two).lacks(STUDY, WORK)
    assert sender(one, two).send(STUDY, WORK) == []
    assert one.files == two.files == [["picture-1.dcm", "report.dcm"]]
    again = sender(one, two)
    assert not again.lacks(STUDY, WORK)
    assert again.send(STUDY, WORK) == []
    assert (again.sent, len(one.files)) == (0, 1)
    assert again.lacks(STUDY, OTHER)
    assert again.lacks("1.2.3", WORK)
    three = Scripted(stored, name="C@h:104")
    assert sender(one, three).send(STUDY, WORK) == []
    assert (len(one.files), len(three.files)) == (1, 1)


def test_what_passes_is_tried_again_and_what_stays_is_told_once(sender):
    one = Scripted(TransientError("busy"), TransientError("busy"), stored)
    made = sender(one)
    assert made.send(STUDY, WORK) == []
    assert (made.sent, len(one.files)) == (1, 3)

    down = Scripted(TransientError("A@h:104 cannot be reached"))
    made = sender(down)
    for study, attempts in (("1.2.3", 3), ("1.2.3", 4)):
        (why,) = made.send(study, WORK)
        assert why == "not sent to A@h:104: A@h:104 cannot be reached"
        assert len(down.files) == attempts
    assert made.reporter.warnings == ["A@h:104 cannot be reached"]
    assert made.lacks("1.2.3", WORK)


def test_a_setting_is_not_tried_again(sender):
    closed = Scripted(DestinationError("does not know our AE title"))
    made = sender(closed)
    assert len(made.send(STUDY, WORK)) == 1
    assert len(made.send("1.2.3", WORK)) == 1
    assert len(closed.files) == 1


def test_what_is_refused_is_not_there(sender):
    def refusing(one):
        return not_taken(one.sop_class) if one.file.name == "report.dcm" else status_of(0)

    made = sender(Scripted(refusing))
    (why,) = made.send(STUDY, WORK)
    assert "takes no Digital X-Ray Image" in why
    assert made.lacks(STUDY, WORK)
