"""Files that a command writes: checked to be writable before training, never over an input, written atomically.

Imports the standard library and ``errors``.
"""

import os
import stat
import tempfile
from contextlib import suppress
from typing import Dict, Iterator, NamedTuple, Sequence, Tuple

from fastai_hf_callback.errors import InvalidInputError

__all__ = ["Output", "find_outputs", "write_output"]


class Output(NamedTuple):
    """One file to be written: the option and the name as they were typed, and the absolute path with links resolved."""

    option: str
    name: str
    path: str

    def __str__(self) -> str:
        return f"{self.option} {self.name}"


def find_outputs(given: Dict[str, str], inputs: Sequence[str]) -> Dict[str, Output]:
    """Find the outputs by option, each of which can be written now and overwrites no input.

    Parameters
    ----------
    given : dict of str to str
        What was typed, by option. Names are relative to the current folder, which the user's code may change later.
    inputs : sequence of str
        Files and folders that are read; nothing within such a folder may be written.

    Raises
    ------
    InvalidInputError
        When a file cannot be written, is read from, or is named twice.
    """
    outputs = [Output(option, name, os.path.realpath(name)) for option, name in given.items()]
    for at, output in enumerate(outputs):
        _check_not_read(output, inputs)
        for other in outputs[:at]:
            if _is_same(output.path, other.path):
                raise InvalidInputError(f"{output}: the same file as {other}; expected another one for each")
    for output in outputs:
        _check_writable(output)
    return {output.option: output for output in outputs}


def write_output(output: Output, content: bytes) -> None:
    """Write a file atomically: a reader finds the old content or the new one, never a part.

    Raises
    ------
    InvalidInputError
        When it cannot be written; nothing is left behind then.
    """
    try:
        if os.path.exists(output.path) and not os.path.isfile(output.path):  # a device or a pipe is not replaced
            with open(output.path, "wb") as file:
                file.write(content)
        else:
            _replace(output.path, content)
    except OSError as error:
        raise _cannot_write(output, error.strerror or str(error)) from None


def _replace(path: str, content: bytes) -> None:
    number, temporary = _make_temporary(path)
    try:
        with open(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _find_mode(path))
        os.replace(temporary, path)
    except BaseException:  # an interrupt leaves nothing behind either
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _make_temporary(path: str) -> Tuple[int, str]:
    return tempfile.mkstemp(dir=os.path.dirname(path), prefix=".fastai-hf-", suffix=".tmp")


def _find_mode(path: str) -> int:
    """Return the file's own permissions; for a new file, those that any new file gets."""
    if os.path.exists(path):
        return stat.S_IMODE(os.stat(path).st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


# -- what is refused -----------------------------------------------------------------------------------------


def _check_writable(output: Output) -> None:
    """Create a file next to the output, as writing will, and remove it."""
    if os.path.basename(output.name) in ("", ".", "..") or os.path.isdir(output.path):
        raise _cannot_write(output, "it names a folder" if output.name else "the name is empty")
    try:
        exists = _exists(output.path)
        if exists and not os.access(output.path, os.W_OK):
            raise _cannot_write(output, "it is there and may not be changed")
        if not exists or os.path.isfile(output.path):
            number, temporary = _make_temporary(output.path)
            os.close(number)
            os.unlink(temporary)
    except OSError as error:
        raise _cannot_write(output, error.strerror or str(error)) from None


def _exists(path: str) -> bool:
    """Do what ``os.path.exists`` does, but raise for a name that is too long and for circular links."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _cannot_write(output: Output, reason: str) -> InvalidInputError:
    return InvalidInputError(f"{output}: cannot be written ({reason}); expected a file in a folder that exists")


def _check_not_read(output: Output, inputs: Sequence[str]) -> None:
    for source in inputs:
        if _is_inside(output.path, source) or any(_is_same(output.path, path) for path in _list_files(source)):
            raise InvalidInputError(f"{output}: {source} is read from there; expected another file")


def _list_files(source: str) -> Iterator[str]:
    """Yield `source`, and a model folder's files; any other folder is refused later and may hold a whole disk."""
    yield source
    for folder, _, names in os.walk(source if os.path.isfile(os.path.join(source, "config.json")) else ""):
        yield from (os.path.join(folder, name) for name in names)


def _is_inside(path: str, folder: str) -> bool:
    return os.path.isdir(folder) and path.startswith(os.path.join(os.path.realpath(folder), ""))


def _is_same(path: str, other: str) -> bool:
    """Return whether two names lead to the same file: by their paths, or as hard links."""
    with suppress(OSError):
        return os.path.samefile(path, other)
    return os.path.realpath(path) == os.path.realpath(other)
