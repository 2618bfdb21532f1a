"""The file that `--weights imagenet` is, of torchvision's and of timm's architectures."""

import re
from pathlib import Path

from torch import Tensor
from torchvision import models

from cxrtool.core.config import ARCHS, TIMM
from cxrtool.core.errors import WeightsError
from cxrtool.core.files import sha256
from cxrtool.core.model_files import USUAL_FILE, ModelFile


def imagenet_file(arch: str) -> ModelFile:
    """The published file of an architecture's own weights.

    Of torchvision's it is IMAGENET1K_V1, whose name ends in the first digits of its SHA-256; of
    timm's that of the tag in the name, or of its usual one.

    Raises:
        WeightsError: there is none.
    """
    if arch in ARCHS:
        url = str(models.get_model_weights(arch)["IMAGENET1K_V1"].url)
        file = url.rpartition("/")[2]
        digits = re.search(r"-([0-9a-f]{8,})\.pth$", file)
        return ModelFile(name=arch, file=file, url=url, sha256=digits[1] if digits else "")
    return _timm_file(arch)


def _timm_file(arch: str) -> ModelFile:
    from timm.models import get_pretrained_cfg

    cfg = get_pretrained_cfg(arch.removeprefix(TIMM), allow_unregistered=True)
    if cfg is None or not (cfg.hf_hub_id or cfg.url):
        raise WeightsError(
            f"timm has no weights of {arch}: name a file with --weights FILE, or train from random "
            "weights with --weights none"
        )
    name = f"{TIMM}{cfg.architecture}" + (f".{cfg.tag}" if cfg.tag else "")
    if cfg.hf_hub_id:
        return ModelFile(name=name, file=cfg.hf_hub_filename or USUAL_FILE, hf=cfg.hf_hub_id)
    url = str(cfg.url)
    return ModelFile(name=name, file=url.rpartition("/")[2], url=url)


def timm_weights(arch: str, path: Path) -> dict[str, Tensor]:
    """The tensors of a network of timm's with a file of its own weights, as timm loads them.

    Many of these files need timm's own renaming. The network has the image size that timm gives it.

    Raises:
        WeightsError: the file is not that of the network.
    """
    import timm

    overlay = {"file": str(path)}
    name = arch.removeprefix(TIMM)
    try:
        network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    # Whatever a damaged file, or one of another network, provokes.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(
            f"{path} cannot be loaded as timm's weights of {arch} ({reason[0][:200]}): fetch it "
            "again, or name another file with --weights FILE"
        ) from None
    return dict(network.state_dict())


def refuse_other_file(file: ModelFile, path: Path) -> None:
    """Refuse a file under a published name that is not the published one.

    Raises:
        WeightsError: its SHA-256 does not begin as it should.
    """
    if file.sha256 and path.name == file.file and not sha256(path).startswith(file.sha256):
        raise WeightsError(
            f"{path} is not the published file (its SHA-256 begins with {sha256(path)[:8]}, not "
            f"with {file.sha256[:8]}): it was cut or altered. Remove it, and fetch it again:\n"
            + file.how_to_get()
        )
