from cxrtool import pacs


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    assert pacs.why_absent() == ""
    monkeypatch.setattr(pacs, "find_spec", lambda name: None)
    assert "pip install 'cxrtool[dicom]'" in pacs.why_absent()
