"""The keys that patients' ids are hashed with."""

import hashlib
import hmac
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from cxrtool.core.errors import DataError
from cxrtool.core.patient_keys import PatientKey, keep_keys, own_key, read_keys


@pytest.fixture
def place(tmp_path):
    return tmp_path / "cxr" / "patients.key"


def test_a_hash_is_the_hmac_of_the_standard_cut_to_128_bits():
    """RFC 4231, test case 2, has its first bits."""
    assert PatientKey(b"Jefe").hashed(["what do ya want for nothing?"]) == [
        "5bdcc146bf60754e6a042426089575c7"
    ]
    key = PatientKey(bytes(range(32)))
    expected = hmac.new(key.secret, "Jürgen 1".encode(), hashlib.sha256).hexdigest()[:32]
    assert key.hashed(["Jürgen 1"]) == [expected]
    assert key.fingerprint == hashlib.sha256(key.secret).hexdigest()


def test_a_key_is_made_once_for_the_owner_alone(place):
    assert read_keys(place) == ()
    key = own_key(place)
    assert len(key.secret) == 32
    assert own_key(place) == key
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert own_key(place.with_name("other.key")) != key


def test_of_trainings_that_begin_at_once_all_have_one_key(place):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(own_key, [place] * 16))
    assert len(set(found)) == 1
    assert [path.name for path in place.parent.iterdir()] == ["patients.key"]


def test_a_file_system_without_links_has_a_key_too(place, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert own_key(place) == own_key(place)
    assert [path.name for path in place.parent.iterdir()] == ["patients.key"]


def test_other_keys_are_kept_behind_its_own_each_once(place):
    own, other = own_key(place), PatientKey(b"o" * 32)
    keep_keys(place, [other, own])
    keep_keys(place, [other])
    assert read_keys(place) == (own, other)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    before = place.stat().st_mtime_ns
    keep_keys(place, [other])
    assert place.stat().st_mtime_ns == before


@pytest.mark.parametrize("line", ["abc", "g" * 64, "a" * 63, "A" * 64])
def test_a_damaged_line_is_named_and_not_shown(place, line):
    own_key(place)
    with place.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DataError, match=r"patients\.key: line 5 is not 64") as raised:
        read_keys(place)
    assert f"{line} " not in str(raised.value)


def test_a_file_without_a_key_is_no_reason_to_make_another(place):
    place.parent.mkdir()
    place.write_text("# nothing\n")
    with pytest.raises(DataError, match="holds no key: remove it"):
        own_key(place)
    place.write_bytes(b"\xff")
    with pytest.raises(DataError, match="it is not text"):
        read_keys(place)
