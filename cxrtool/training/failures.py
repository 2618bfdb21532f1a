"""What stops a training although its options are right: a broken image, or too little memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cxrtool.core.config import TrainConfig
from cxrtool.core.errors import DataError, RunError
from cxrtool.images.errors import ImageError
from cxrtool.networks.devices import memory_ran_out


@contextmanager
def explained(
    config: TrainConfig, device: torch.device, world: int = 1, where: str = ""
) -> Iterator[None]:
    """Turn what stops training into what a user can mend.

    Args:
        config: of the training.
        device: that computes.
        world: processes that share a batch.
        where: after the advice, where it is to be followed.

    Raises:
        DataError: an image broke since `prepare`.
        RunError: memory ran out.
    """
    try:
        yield
    except ImageError as error:
        raise _broken_image(error) from None
    except (RuntimeError, MemoryError) as error:
        if not memory_ran_out(error):
            raise
        raise _too_large(config, device, world, where) from None


def _broken_image(error: ImageError) -> DataError:
    # From a worker the message comes with the worker's own traceback before it.
    reason = (
        str(error).strip().splitlines()[-1].removeprefix(f"{ImageError.__module__}.ImageError: ")
    )
    return DataError(
        f"{reason}: run `cxrtool prepare` and `cxrtool split --force` again, then train"
    )


def _too_large(config: TrainConfig, device: torch.device, world: int, where: str) -> RunError:
    size = config.batch_size
    half = max(size // 2 // world, 2) * world
    smaller = f"--batch-size {half}" if half < size else "a smaller --image-size"
    return RunError(
        f"{device} ran out of memory at --batch-size {size} with images of "
        f"{config.image_size} px: try {smaller}{where}"
    )
