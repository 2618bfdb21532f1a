"""The keys that patients' ids are hashed with: they stay in a workspace, and its runs hold hashes.

A hash alone would hide nobody: all ids of the form `patient00001` are tried in a second.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.errors import DataError
from cxrtool.core.files import read_text, whole_file, write_once

LENGTH = 32
"""Bytes of a key."""
DIGITS = 32
"""Hexadecimal digits of a patient's hash, which are 128 bits: among a million patients two are
alike once in 10^26 times."""
PRIVATE = 0o600
"""Only its owner may read or write the file."""
_HEADING = """\
# The key that cxrtool hashes patients' ids with (HMAC-SHA-256), in runs/*/patients.json.
# With it, whether an id is among those of a run can be found out: it stays in this workspace.
# One key a line: the first is this workspace's own, others are of workspaces whose runs are here.
"""
_MOST = 2**20


@dataclass(frozen=True)
class PatientKey:
    """A key of a workspace."""

    secret: bytes

    @property
    def fingerprint(self) -> str:
        """What runs call it by: the SHA-256 of a key of 256 random bits tells nothing of it."""
        return hashlib.sha256(self.secret).hexdigest()

    def hashed(self, patients: Iterable[str]) -> list[str]:
        """The hash of each id: the first 128 bits of its HMAC-SHA-256 (RFC 2104), hexadecimal."""
        return [
            hmac.digest(self.secret, patient.encode(), "sha256").hex()[:DIGITS]
            for patient in patients
        ]


def read_keys(path: Path) -> tuple[PatientKey, ...]:
    """The keys in a workspace's patients.key, its own first; none where there is no file.

    Raises:
        DataError: it cannot be read, or a line of it is no key.
    """
    instead = "restore it from a copy; without it, runs cannot tell which patients they have seen"
    try:
        lines = read_text(path, _MOST).splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise DataError(f"{path} cannot be read ({reason}): {instead}") from None
    found = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and not line.startswith("#"):
            if not re.fullmatch(rf"[0-9a-f]{{{2 * LENGTH}}}", line):
                # What stands there may be half a key: no message shows it.
                raise DataError(
                    f"{path}: line {number} is not {2 * LENGTH} hexadecimal digits: {instead}"
                )
            found.append(PatientKey(bytes.fromhex(line)))
    return tuple(dict.fromkeys(found))


def own_key(path: Path) -> PatientKey:
    """The key that a workspace's new runs hash with; it is made where there is none yet.

    Of several trainings that begin at once, one makes it.

    Raises:
        DataError: as `read_keys`.
        OSError: it cannot be written.
    """
    if not (keys := read_keys(path)):
        write_once(path, _text([PatientKey(secrets.token_bytes(LENGTH))]), PRIVATE)
        keys = read_keys(path)
    if not keys:
        raise DataError(f"{path} holds no key: remove it, and the next training makes one")
    return keys[0]


def keep_keys(path: Path, others: Iterable[PatientKey]) -> None:
    """Keep other workspaces' keys beside a workspace's own, whose runs go on from theirs.

    Raises:
        DataError: as `read_keys`.
        OSError: it cannot be written.
    """
    keys = read_keys(path)
    every = tuple(dict.fromkeys([*keys, *others]))
    if len(every) > len(keys):
        with whole_file(path, PRIVATE) as temporary:
            temporary.write_text(_text(every), encoding="utf-8")


def _text(keys: Sequence[PatientKey]) -> str:
    return _HEADING + "".join(f"{key.secret.hex()}\n" for key in keys)
