"""Warnings of the libraries that decode images, where several threads decode at once."""

import threading
import warnings

from PIL import Image


class _Quiet:
    """Inside, Pillow's warning of too many pixels is an error, and its other warnings are hidden.

    So are pydicom's and highdicom's, which may quote patient data. Python's warning filters belong
    to the process: of several threads inside, the first sets them and the last restores them.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._before = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.filterwarnings("ignore", module=r"(PIL|pydicom|highdicom)\b")
                warnings.simplefilter("error", Image.DecompressionBombWarning)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._before.__exit__(None, None, None)


QUIET = _Quiet()
