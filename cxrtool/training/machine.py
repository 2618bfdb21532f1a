"""On what a training runs: versions, device, and the commit of the source."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from cxrtool.core.config import worker_count
from cxrtool.training.setup import Setup

LIBRARIES = ("cxrtool", "torch", "torchvision", "fastai", "numpy", "pandas", "pillow")


def describe_machine(setup: Setup) -> dict[str, Any]:
    """What environment.json says of the machine and of what runs on it."""
    device = setup.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "libraries": {library: version(library) for library in LIBRARIES},
        "git_commit": git_commit(),
        "device": f"{device} ({name})",
        "processes": setup.processes.world,
        "threads": torch.get_num_threads(),
        "workers": worker_count(setup.config.workers),
    }


def git_commit() -> str | None:
    """The commit of the source that runs, `+` after it where files differ; None: no checkout."""
    folder = Path(__file__).parent
    try:
        commit, status = (
            subprocess.run(
                ["git", "-C", str(folder), *command],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "."])
        )
        listed = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", Path(__file__).name],
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    # A virtual environment may lie in somebody else's checkout.
    return None if listed.returncode else commit + ("+" if status else "")
