"""The errors of this package; every room may import them.

Each message says what was given, what was expected and what to write. ``cause`` is a stable kebab-case name, under
which the documentation explains the error.
"""

from typing import Tuple

__all__ = [
    "FastaiHFError",
    "OutputError",
    "InputError",
    "MissingAttributeError",
    "GradientError",
    "PatchError",
    "ComparisonError",
    "InvalidInputError",
    "ExportError",
]


class FastaiHFError(Exception):
    """Base of every error this package raises on purpose.

    Parameters
    ----------
    message : str
        What was given, what was expected, what to write.
    cause : str, optional
        A stable kebab-case name; each subclass has its default.
    """

    cause = "unknown"

    def __init__(self, message: str, cause: str = ""):
        super().__init__(message)
        self.message = message
        self.cause = cause or type(self).cause

    def __reduce__(self) -> Tuple[type, Tuple[str, str]]:
        return type(self), (self.message, self.cause)


class OutputError(FastaiHFError, TypeError):
    """The model's output holds nothing that can be passed to the loss, or more than one such thing."""

    cause = "ambiguous-output"


class InputError(FastaiHFError, TypeError):
    """The batch and the model's ``forward`` do not fit together."""

    cause = "input-names"


class MissingAttributeError(InputError, AttributeError):
    """What an ``HFModel`` was asked for is the inner model's; an ``AttributeError`` too, which ``hasattr`` reads."""

    cause = "attribute-of-inner-model"


class GradientError(FastaiHFError, RuntimeError):
    """Training would go on and move nothing, or the wrong thing."""

    cause = "no-gradient-in-model"


class PatchError(FastaiHFError, RuntimeError):
    """fastai's loop is already patched."""

    cause = "patch-active"


class ComparisonError(FastaiHFError, AssertionError):
    """The arms differ, or nothing moved, or the comparison cannot be made.

    An ``AssertionError`` too, so that pytest reports it as a failure.
    """

    cause = "arms-differ"


class InvalidInputError(FastaiHFError, ValueError):
    """What was given on the command line or in a file cannot be used; the message is one line."""

    cause = "invalid-input"


class ExportError(FastaiHFError, TypeError):
    """A learner cannot be exported; the message names the attribute that cannot be pickled."""

    cause = "cannot-be-pickled"


def describe_exception(exception: BaseException) -> str:
    """Format ``Type: text`` in one line, also where the text itself raises; leave out a quoted traceback."""
    try:
        lines = str(exception).splitlines()
    except BaseException as error:  # a user's __str__ may raise, or exit
        lines = [f"its text cannot be read ({type(error).__name__})"]
    quoted = [at for at, line in enumerate(lines) if "Traceback (most recent call last)" in line]
    if quoted:  # torch passes on a worker's traceback: its last line is the error
        lines = [*lines[: quoted[0]], lines[-1]]
    text = " ".join(" ".join(lines).split())
    return f"{type(exception).__name__}: {text}" if text else type(exception).__name__
