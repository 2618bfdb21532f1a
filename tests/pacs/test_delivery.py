import pytest
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, generate_uid

from cxrtool.core.errors import DataError
from cxrtool.pacs.delivery import TransientError, delivery_of, not_taken, read_outgoing, status_for
from cxrtool.pacs.statuses import Outcome, status_of
from tests.support.dicoms import NAME, NUMBER, saved
from tests.support.studies import STUDY, cr, dx


def test_what_is_sent_is_known_by_its_header(tmp_path):
    (found,) = read_outgoing([saved(tmp_path / "a.dcm", dx())])
    assert found.study == STUDY
    assert found.sop_class == "1.2.840.10008.5.1.4.1.1.1.1"
    assert found.syntax == "1.2.840.10008.1.2.1"


def test_files_of_two_studies_are_not_sent_at_once(tmp_path):
    files = [
        saved(tmp_path / f"{number}.dcm", cr(StudyInstanceUID=generate_uid())) for number in (1, 2)
    ]
    with pytest.raises(DataError, match=r"2 files of 2 studies"):
        read_outgoing(files)
    with pytest.raises(DataError, match="no files"):
        read_outgoing([])


@pytest.mark.parametrize("kind", ["text", "empty", "half", "missing"])
def test_what_cannot_be_sent_is_named_and_nobody_quoted(tmp_path, kind):
    file = saved(tmp_path / "a.dcm", dx())
    if kind == "missing":
        file.unlink()
    else:
        content = file.read_bytes()
        file.write_bytes({"text": b"hello" * 99, "empty": b"", "half": content[:500]}[kind])
    with pytest.raises(DataError) as error:
        read_outgoing([file])
    assert str(file) in str(error.value)
    assert NAME not in str(error.value)
    assert NUMBER not in str(error.value)


def test_what_may_be_taken_later_is_worth_sending_again(tmp_path):
    one, two = read_outgoing([saved(tmp_path / f"{name}.dcm", dx()) for name in "ab"])
    with pytest.raises(TransientError, match=r"1 file of 2 .*out of resources"):
        delivery_of("A@b:1", [(one, status_of(0)), (two, status_of(0xA700))])
    found = delivery_of("A@b:1", [(one, status_of(0xB000)), (two, status_of(0xC001))])
    assert [answer.file for answer in found.accepted] == [one.file]
    assert [answer.file for answer in found.refused] == [two.file]


def test_a_class_that_is_not_taken_has_a_way_out():
    for status in (not_taken(Comprehensive3DSRStorage), status_for(Comprehensive3DSRStorage, 290)):
        assert status.outcome is Outcome.REFUSED
        assert "no Comprehensive 3D SR: --sr-class comprehensive makes" in status.words
    assert "--sr-class enhanced" in not_taken(ComprehensiveSRStorage).words
