"""A published pickle as a safetensors file: read without running it, once."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cxrtool import __version__
from cxrtool.core.errors import WeightsError
from cxrtool.core.files import sha256, whole_file
from cxrtool.networks.pickles import Unbuilt, read_inert
from cxrtool.networks.state_dicts import read_tensors

SAFE = ".safetensors"
LABELS = "pathologies"
"""What torchxrayvision's networks call their labels."""


def convert(path: Path, target: Path, facts: Mapping[str, str], *, key: str = "") -> int:
    """Write the tensors of a file as safetensors, with where they are from in its metadata.

    Args:
        path: of any file of weights.
        target: the new one.
        facts: where it is from, in words.
        key: where in the file the network is; what stands beside it is not kept.

    Returns:
        How many tensors were written.

    Raises:
        WeightsError: the file is no weights.
    """
    tensors = read_tensors(path)
    inside = {name: one for name, one in tensors.items() if key and name.startswith(f"{key}.")}
    kept = inside or tensors
    about = {"written_by": f"cxrtool {__version__}", "sha256": sha256(path), **facts}
    if labels := labels_in(path):
        about["labels"] = json.dumps(labels)
    with whole_file(target) as temporary:
        # Each of its own: safetensors takes none that share memory.
        save_file({name: one.contiguous().clone() for name, one in kept.items()}, temporary, about)
    return len(kept)


def labels_in(path: Path) -> tuple[str, ...]:
    """The labels that a pickled network says its logits are of; none where it says nothing.

    Of a file that was converted from one, those that were kept.
    """
    if path.suffix == SAFE:
        return tuple(json.loads(provenance(path).get("labels", "[]")))
    try:
        root = read_inert(path)
    except WeightsError:
        raise
    # A plain state dict of a kind that only torch's own reader knows.
    except Exception:
        return ()
    return root.words().get(LABELS, ()) if isinstance(root, Unbuilt) else ()


def provenance(path: Path) -> dict[str, str]:
    """What a safetensors file says of where it is from; nothing of any other file.

    Raises:
        WeightsError: it is damaged.
    """
    if path.suffix != SAFE:
        return {}
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged ({error}): fetch it again with --force") from None
