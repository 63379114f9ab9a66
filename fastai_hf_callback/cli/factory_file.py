"""``FILE.py:FACTORY`` -> the function it names, or an error of one line. Imports torch when a file fails."""

import difflib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Callable

from fastai_hf_callback.errors import InvalidInputError, describe_exception

__all__ = ["load_factory"]


def load_factory(spec: str) -> Callable[[], Any]:
    """Run a Python file, as ``python FILE.py`` would find its imports, and return one of its functions.

    Parameters
    ----------
    spec : str
        ``path/to/file.py:name``.

    Raises
    ------
    InvalidInputError
        When the file or the name is missing, or the file fails when run.
    """
    file, colon, name = spec.rpartition(":")
    if not colon or not file or not name:
        raise InvalidInputError(f"{spec}: expected FILE.py:FACTORY, such as train.py:make_learner")
    path = Path(file)
    if not path.is_file() or path.suffix != ".py":
        raise InvalidInputError(f"{file}: no such Python file; expected FILE.py:FACTORY, such as train.py:make_learner")
    return _find_callable(_run_file(path), name, file)


def _run_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, str(path))
    if spec is None or spec.loader is None:
        raise InvalidInputError(f"{path}: Python cannot load this file; expected FILE.py:FACTORY")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[path.stem] = module  # so that its classes can be pickled
    own_arguments, sys.argv = sys.argv, [str(path)]  # the command line's arguments are not the file's
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # anything the user's file raises, an exit too, is reported in one line
        from .explanation import suggest_fix

        exits = "; put what ends the process under if __name__ == '__main__':" * isinstance(error, SystemExit)
        raise InvalidInputError(
            f"{path}: failed when run: {describe_exception(error)}{suggest_fix(error)}{exits}; write python "
            f"{path} to see where"
        ) from None
    finally:
        sys.argv = own_arguments
    return module


def _find_callable(module: ModuleType, name: str, file: str) -> Callable[[], Any]:
    factory = getattr(module, name, None)
    if callable(factory):
        return _check_takes_no_arguments(factory, f"{file}:{name}")
    if factory is not None:
        raise InvalidInputError(
            f"{file}:{name} is a {type(factory).__name__}; expected a function that returns a Learner"
        )
    there = [
        key
        for key, value in vars(module).items()
        if callable(value) and not key.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    close = difflib.get_close_matches(name, there, n=3) or there[:8]
    listed = ", ".join(close)
    raise InvalidInputError(
        f"{file}: no {name!r} in it{f'; it has {listed}' if close else ''}; expected a function that returns a Learner"
    )


def _check_takes_no_arguments(factory: Callable[..., Any], spec: str) -> Callable[[], Any]:
    try:
        inspect.signature(factory).bind()
    except TypeError:
        raise InvalidInputError(
            f"{spec} takes arguments; expected a function without, such as def make_learner(): ..."
        ) from None
    except ValueError:  # it has no signature
        pass
    return factory
