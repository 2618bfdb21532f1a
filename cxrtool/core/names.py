"""Names of files that come from labels, policies and other people's tables: one for each of them.

File systems cannot tell all texts apart: some see no difference of case, or between two ways to
write an accent; most take no `/`, and none a name of any length. A few digits of the text's SHA-256
make up for what is lost.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from cxrtool.core.config import POLICIES

LONGEST = 60
"""Letters of a text in a file's name."""
MOST_BYTES = 100
"""Of them in UTF-8: a name has 255 at most, and may be made of two with digits, a prefix and a
suffix."""
LONGEST_POLICY = 180
"""Letters of a policy in a file's name: it may name many labels."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""What Windows takes for a device."""
_WORDS = frozenset("-".join((*POLICIES, "blank", "study", "mean", "max")).split("-"))
"""What stands in a name beside labels."""


def plain_name(text: str, separator: str = "_") -> str:
    """A text as part of a file's name, for people: of letters, digits, `.`, `-` and `_`.

    Nothing is left of a text that has none of these; several texts may become the same.

    >>> plain_name("Pleural Effusion"), plain_name("A/B"), plain_name("肺炎 (?)")
    ('Pleural_Effusion', 'A_B', '肺炎')
    """
    letters = re.sub(r"[^\w.-]+", separator, unicodedata.normalize("NFC", text))
    cut = letters.strip("._" + separator)[:LONGEST]
    return cut.encode()[:MOST_BYTES].decode(errors="ignore")


def names_for_files(texts: Iterable[str], separator: str = "_") -> dict[str, str]:
    """A part of a file's name for each of some texts, so that no two files are the same.

    Alone among its like a text has its plain name. Of several that have the same one, the text
    that is words with a blank between keeps it; the others get digits.

    >>> sorted(names_for_files(["A B", "A/B", "Edema"]).values())
    ['A_B', 'A_B-998d3ed8', 'Edema']
    """
    plain = {text: plain_name(text, separator) for text in texts}
    words = {text for text, name in plain.items() if name.replace(separator, " ") == text}
    alike = Counter(map(_folded, plain.values()))
    kept = Counter(_folded(plain[text]) for text in words)

    def suffices(text: str, name: str) -> bool:
        alone = alike[_folded(name)] == 1 or (text in words and kept[_folded(name)] == 1)
        return bool(name) and not _RESERVED.fullmatch(name) and alone

    named = {
        text: name if suffices(text, name) else _with_digits(text, name)
        for text, name in plain.items()
    }
    if len(set(map(_folded, named.values()))) < len(named):  # one looks like another with digits
        named = {text: _with_digits(text, name, 64) for text, name in plain.items()}
    return named


def name_of_policy(policy: str, labels: Sequence[str]) -> str:
    """An uncertainty policy as part of a file's name, which no other policy has.

    Args:
        policy: as `labels.parse_policy` takes it.
        labels: all that there are.

    >>> name_of_policy("ones,Pleural Effusion=zeros", ["Pleural Effusion", "Edema"])
    'ones-Pleural-Effusion-zeros'
    """
    plain = _dashed(policy)
    alike = Counter(_dashed(label).casefold() for label in labels)
    named = [pair.rpartition("=")[0].strip() for pair in policy.split(",")[1:]]
    ordinary = all(
        re.fullmatch(r"[A-Za-z0-9]+([ _-][A-Za-z0-9]+)*", label)
        and not _WORDS & set(_dashed(label).casefold().split("-"))
        and alike[_dashed(label).casefold()] == 1
        for label in named
    )
    if ordinary and len(plain) <= LONGEST_POLICY:
        return plain
    default, *pairs = (part.strip() for part in policy.split(","))
    canonical = ",".join([default, *sorted(pairs)])
    return _with_digits(canonical, _dashed(canonical)[:LONGEST])


def name_of_training(arch: str, policy: str) -> str:
    """What a run or a study is called that nobody gave a name: a plain folder name.

    >>> name_of_training("resnet18", "ones,Pleural Effusion=zeros")
    'resnet18-ones-Pleural Effusion-zeros'
    >>> name_of_training("timm/convnext_tiny.fb_in22k", "ones")
    'timm-convnext_tiny.fb_in22k-ones'
    """
    arch = arch.replace("/", "-")
    plain = policy.replace("=", "-").replace(",", "-")
    folder = plain.isprintable() and not set(plain) & set('/\\:*?"<>|')
    if folder and len(plain.encode()) <= LONGEST_POLICY:
        return f"{arch}-{plain}"
    return f"{arch}-{_with_digits(policy, plain_name(policy, '-'))}"


def _dashed(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def _folded(name: str) -> str:
    """Equal for names that a file system may take for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _with_digits(text: str, name: str, digits: int = 8) -> str:
    """A name with digits of the SHA-256 of the text that it stands for."""
    sha = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
    if _RESERVED.fullmatch(name):
        name = f"file-{name}"
    return f"{name}-{sha}" if name else sha
