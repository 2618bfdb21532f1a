"""What peers may do to the receiver: it stays up, and keeps nothing that is not whole."""

import socket
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from pydicom.uid import ComprehensiveSRStorage, CTImageStorage, JPEG2000Lossless, generate_uid
from pynetdicom import AE

from cxrtool.core.errors import DataError
from cxrtool.pacs.listen_counts import ListenCounts
from cxrtool.pacs.receiver import Door, Receiver
from cxrtool.pacs.spool import INCOMING, Spool
from tests.support import dicom_peer as wire
from tests.support.dcmtk import ECHOSCU, STORESCU, WHY_NONE
from tests.support.dicom_peer import peer
from tests.support.dicoms import NAME, NUMBER, compressed
from tests.support.lines import Lines
from tests.support.spooling import arriving
from tests.support.studies import PIXELS, WHOLE, as_bytes, dx


@pytest.fixture
def lines():
    return Lines()


@pytest.fixture
def receiver(tmp_path, lines):
    door = Door(port=0, most_bytes=100_000, timeout=30, allowed=("DEVICE", "STORESCU"))
    with Receiver(door, Spool(tmp_path / "spool"), ListenCounts(), lines).open() as made:
        yield made


def data_set(made):
    """The bytes of a data set, without preamble and meta information."""
    content = as_bytes(made)
    length = struct.unpack("<I", content[140:144])[0]
    return content[144 + length :]


def stored(receiver):
    return [study.files() for study in receiver.spool.studies(INCOMING)]


def kept(receiver, made=None):
    """Send an image as it should be sent; the status."""
    made = made or dx()
    with peer(receiver.port) as one:
        assert one.read()[0] == wire.ACCEPT
        one.send(wire.fragments(wire.COMMAND, wire.store_request(made.SOPInstanceUID)))
        one.send(wire.fragments(0, data_set(made)))
        status = one.status()
        one.send(wire.pdu(wire.RELEASE, bytes(4)))
        assert one.read()[0] == wire.RELEASED
    return status


def counted(receiver, line):
    return line in receiver.counts.text()


def test_an_image_is_kept_as_it_came(receiver):
    made = dx()
    assert kept(receiver, made) == 0
    ((file,),) = stored(receiver)
    assert file.read_bytes().endswith(data_set(made))
    assert counted(receiver, 'cxrtool_instances_total{state="new"} 1.0')
    assert list((receiver.spool.folder / "making").iterdir()) == []


def broken(made, how):
    """What a faulty peer sends after it was let in."""
    request = wire.fragments(wire.COMMAND, wire.store_request(made.SOPInstanceUID))
    content = wire.fragments(0, data_set(made))
    return {
        "abort in the middle": request + content[:3000] + wire.pdu(wire.ABORT, bytes(4)),
        "gone in the middle": request + content[:3000],
        "a shorter unit than it says": request + wire.pdu(wire.DATA, bytes(8), 900),
        "a unit of 4 GB": request + wire.pdu(wire.DATA, bytes(8), 2**32 - 1),
        "a fragment longer than its unit": wire.pdu(
            wire.DATA, struct.pack(">IBB", 9000, 1, 3) + bytes(40)
        ),
        "an unknown unit": request + wire.pdu(0x99, bytes(30)),
        "a context that was not accepted": wire.fragments(
            wire.COMMAND, wire.store_request(made.SOPInstanceUID), context=99
        )
        + wire.fragments(0, data_set(made), context=99),
        "garbage for a command": wire.fragments(wire.COMMAND, b"\xff" * 300),
        "garbage": b"\xff" * 5000,
        "nothing": b"",
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "abort in the middle",
        "gone in the middle",
        "a shorter unit than it says",
        "a unit of 4 GB",
        "a fragment longer than its unit",
        "an unknown unit",
        "a context that was not accepted",
        "garbage for a command",
        "garbage",
        "nothing",
    ],
)
def test_a_faulty_peer_leaves_nothing_and_others_are_served(receiver, how, capfd):
    with peer(receiver.port) as one:
        assert one.read()[0] == wire.ACCEPT
        one.send(broken(dx(), how))
        with suppress(OSError):  # it may have been cut off already
            one.socket.shutdown(socket.SHUT_WR)
        while one.read()[0]:
            pass
    assert stored(receiver) == []
    assert kept(receiver) == 0
    assert list((receiver.spool.folder / "making").iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_unit_of_4_gb_is_not_waited_for(receiver):
    with peer(receiver.port) as one:
        assert one.read()[0] == wire.ACCEPT
        one.send(wire.pdu(wire.DATA, bytes(8), 2**32 - 1))
        assert one.read()[0] in (0, wire.ABORT)  # while more could still come
    assert stored(receiver) == []


def test_garbage_instead_of_an_association(receiver):
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=wire.SECONDS) as one:
        one.sendall(b"GET / HTTP/1.1\r\n\r\n")
        one.shutdown(socket.SHUT_WR)
        while one.recv(100):
            pass
    assert kept(receiver) == 0


@pytest.mark.parametrize("cut", [1, 2000])
def test_half_a_data_set_is_refused(receiver, lines, cut):
    made = dx()
    with peer(receiver.port) as one:
        one.read()
        one.send(wire.fragments(wire.COMMAND, wire.store_request(made.SOPInstanceUID)))
        one.send(wire.fragments(0, data_set(made)[:-cut]))
        assert one.status() == 0xC000
    assert stored(receiver) == []
    assert any("ends before its last element" in line for line in lines.lines)


def test_an_object_that_is_too_large_is_refused_and_the_next_one_taken(receiver):
    large, small = dx(), dx()
    with peer(receiver.port) as one:
        one.read()
        one.send(wire.fragments(wire.COMMAND, wire.store_request(large.SOPInstanceUID)))
        one.send(wire.fragments(0, data_set(large) + bytes(200_000)))
        assert one.status() == 0xA700
        one.send(wire.fragments(wire.COMMAND, wire.store_request(small.SOPInstanceUID)))
        one.send(wire.fragments(0, data_set(small)))
        assert one.status() == 0
    assert [len(files) for files in stored(receiver)] == [1]


def test_an_instance_other_than_the_announced_one_is_refused(receiver):
    with peer(receiver.port) as one:
        one.read()
        one.send(wire.fragments(wire.COMMAND, wire.store_request(generate_uid())))
        one.send(wire.fragments(0, data_set(dx())))
        assert one.status() == 0xA900
    assert stored(receiver) == []


def test_a_full_disk_is_said_and_leaves_nothing(receiver, lines):
    receiver.spool.reserve = 2**60
    assert kept(receiver) == 0xA700
    assert stored(receiver) == []
    receiver.spool.reserve = 0
    assert kept(receiver) == 0


def test_repeated_instances_reports_and_own_results_are_answered_and_not_kept(receiver):
    made = dx()
    assert [kept(receiver, made), kept(receiver, made)] == [0, 0]
    made.Manufacturer = "Another"
    assert kept(receiver, made) == 0
    assert kept(receiver, dx(Manufacturer="cxrtool")) == 0
    report = dx(SOPClassUID=ComprehensiveSRStorage)
    with peer(receiver.port, classes=[ComprehensiveSRStorage]) as one:
        one.read()
        request = wire.store_request(report.SOPInstanceUID, ComprehensiveSRStorage)
        one.send(wire.fragments(wire.COMMAND, request) + wire.fragments(0, data_set(report)))
        assert one.status() == 0
    assert [len(files) for files in stored(receiver)] == [1]
    for state in ("again", "other", "own result", "no image"):
        assert counted(receiver, f'cxrtool_instances_total{{state="{state}"}} 1.0')


@pytest.mark.parametrize(
    ("proposal", "reason"), [({"called": "OTHER"}, 7), ({"calling": "STRANGER"}, 3)]
)
def test_unknown_titles_are_turned_away_with_the_reason(receiver, lines, proposal, reason):
    with peer(receiver.port, **proposal) as one:
        kind, content = one.read()
    assert (kind, tuple(content[1:4])) == (wire.REJECT, (1, 1, reason))
    assert any("turned away" in line for line in lines.lines)


def test_a_peer_that_proposes_nothing_known_is_told_so(receiver, lines):
    with peer(receiver.port, classes=["1.2.3.4"]) as one:
        assert one.read()[0] == wire.ACCEPT
    assert kept(receiver) == 0
    assert any("proposed nothing" in line for line in lines.lines)


def test_compressed_images_are_kept_as_they_come(receiver, tmp_path):
    compressed(tmp_path / "one.dcm", b"\xff\x4f" * 50, PIXELS, JPEG2000Lossless, 12, **WHOLE)
    ae = AE("DEVICE")
    ae.add_requested_context("1.2.840.10008.5.1.4.1.1.1", JPEG2000Lossless)
    association = ae.associate("127.0.0.1", receiver.port, ae_title="CXRTOOL")
    assert association.is_established
    assert association.send_c_store(tmp_path / "one.dcm").Status == 0
    association.release()
    ((file,),) = stored(receiver)
    assert (b"\xff\x4f" * 50) in file.read_bytes()


def test_fifty_associations_at_once(receiver):
    images = [dx() for _ in range(50)]
    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(lambda made: kept(receiver, made), images)) == [0] * 50
    assert sum(len(files) for files in stored(receiver)) == 50


def test_who_is_one_too_many_is_turned_away(tmp_path, lines):
    door = Door(port=0, most_associations=1)
    opened = Receiver(door, Spool(tmp_path), ListenCounts(), lines).open()
    with opened as receiver, peer(receiver.port) as first:
        assert first.read()[0] == wire.ACCEPT
        with peer(receiver.port) as second:
            kind, content = second.read()
    assert (kind, tuple(content[1:4])) == (wire.REJECT, (2, 3, 2))


def test_a_port_in_use_is_named(receiver):
    second = Receiver(Door(port=receiver.port), receiver.spool, ListenCounts())
    with pytest.raises(DataError, match=f"--port {receiver.port}: in use"), second.open():
        pass


def test_nothing_of_the_patient_is_said(receiver, lines, capfd):
    kept(receiver)
    kept(receiver, dx(StudyInstanceUID="bad^uid"))
    said = " ".join([*lines.lines, receiver.counts.text(), *capfd.readouterr()])
    said += " ".join(path.name for path in receiver.spool.folder.rglob("*"))
    for private in (NAME, "Secret", NUMBER, "19500102", "ACC-9", "bad^uid"):
        assert private not in said


@pytest.mark.skipif(bool(WHY_NONE), reason=WHY_NONE)
def test_dcmtk_echoes_and_stores(receiver, tmp_path):
    own = ("-aet", "STORESCU", "-aec", "CXRTOOL", "127.0.0.1", str(receiver.port))
    subprocess.run([ECHOSCU, *own], check=True, capture_output=True)
    (tmp_path / "ct.dcm").write_bytes(as_bytes(dx(SOPClassUID=CTImageStorage)))
    (tmp_path / "dx.dcm").write_bytes(arriving()[1])
    files = [tmp_path / "ct.dcm", tmp_path / "dx.dcm"]
    subprocess.run([STORESCU, *own, *files], check=True, capture_output=True)
    assert sum(len(found) for found in stored(receiver)) == 2
