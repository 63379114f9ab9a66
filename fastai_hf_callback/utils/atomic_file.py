"""Writing a file so that a reader finds the old one or the new one, never a part. Imports the standard library."""

import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator

__all__ = ["replace_file"]


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Give a temporary file in the same folder, which becomes `path` on leaving; after an exception it is removed.

    Parameters
    ----------
    path : Path
        Its folder is made if it is not there. A link is followed.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(number)
    try:
        yield Path(name)
        os.chmod(name, _mode_of(path))
        os.replace(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.remove(name)


def _mode_of(path: Path) -> int:
    """Return the mode of the file that is replaced, or that of a new file: mkstemp's own is for one user alone."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
