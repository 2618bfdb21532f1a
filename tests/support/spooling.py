"""Instances for a spool, small and without a device."""

from pydicom.uid import generate_uid

from cxrtool.pacs.identity import identify
from tests.support.studies import as_bytes, dx


def arriving(study=None, **elements):
    """An instance of a study, and its bytes."""
    content = as_bytes(dx(StudyInstanceUID=study or generate_uid(), **elements))
    return identify(content), content


def put(spool, study=None, **elements):
    """An instance that a spool has taken."""
    identity, content = arriving(study, **elements)
    spool.store(identity, content)
    return identity


def answer(spool, content=b"report"):
    """Let the study that has waited longest be answered by one file; its folder before that."""
    study = spool.claim_quiet(0)
    made = spool.new_folder()
    (made / "report.dcm").write_bytes(content)
    assert spool.commit(study, study.names(), made)
    spool.release(study.name)
    return spool.find(study.name)


def send(spool, name, state="delivered"):
    """Let an answered study be sent."""
    study = spool.find(name)
    assert spool.claim_answered(study)
    study.note_sending("PACS", state)
    spool.release(name, finished=True)
    return spool.find(name)
