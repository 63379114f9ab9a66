"""``fastai-hf``: the demo, comparisons and diagnoses for CI, and their exit codes.

Anything that a user's code raises, ``SystemExit`` included, ends a command with exit code 2 and one line on stderr:
only the result of a comparison or an examination may give another exit code (``arguments.EXIT_CODES``).
"""

import argparse
import os
import sys
import traceback
import warnings
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from fastai_hf_callback.errors import FastaiHFError, InvalidInputError, describe_exception

from .arguments import apply_csv_defaults, build_parser
from .csv_factory import build_csv_factory
from .factory_file import load_factory
from .outputs import Output, find_outputs, write_output

__all__ = ["main"]

UNUSABLE, INTERRUPTED = 2, 130
LONGEST_LINE = 2000

Outputs = Dict[str, Output]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        By default the process's own arguments.
    """
    try:
        arguments = build_parser().parse_args(argv)
    except InvalidInputError as error:
        return _refuse(str(error))
    try:
        with warnings.catch_warnings():
            for noise in ("pkg_resources is deprecated", "'pin_memory' argument"):  # fastai 1's habits, not the user's
                warnings.filterwarnings("ignore", message=noise)
            code = COMMANDS[arguments.command](arguments)
    except BaseException as error:  # a run that fails, or exits, must not look like one that differs or is identical
        code = _report_failure(error, arguments.traceback)
    return _flush_stdout(code)


def _refuse(message: str) -> int:
    line = " ".join(message.split())
    print(f"fastai-hf: {line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + '...'}", file=sys.stderr)
    return UNUSABLE


def _report_failure(error: BaseException, with_traceback: bool) -> int:
    if isinstance(error, FastaiHFError):
        return _refuse(str(error))
    if isinstance(error, KeyboardInterrupt):
        _refuse("interrupted")
        return INTERRUPTED
    if with_traceback:
        traceback.print_exception(type(error), error, error.__traceback__)
    from .explanation import suggest_fix

    where = "" if isinstance(error, Exception) and error.args else _describe_origin(error)
    return _refuse(
        f"the run failed: {describe_exception(error)}{where}{suggest_fix(error)}; add --traceback to see where"
    )


def _describe_origin(error: BaseException) -> str:
    """Describe where an exception without a message, or an exit, came from."""
    found = traceback.extract_tb(error.__traceback__)
    what = "an exit asked for" if isinstance(error, SystemExit) else "raised"
    return f", {what} by {found[-1].name} in {found[-1].filename}, line {found[-1].lineno}" if found else ""


def _flush_stdout(code: int) -> int:
    """Flush what was printed: the interpreter does so too late to report a failure, and with its own exit code."""
    if sys.stdout is None or sys.stdout.closed:
        return code
    try:
        sys.stdout.flush()
        return code
    except OSError as error:
        with suppress(OSError, ValueError):  # what is left in its buffer is discarded
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return (
            code
            if code == UNUSABLE
            else _refuse(f"stdout cannot be written ({error}); expected a file, a pipe or a terminal")
        )


# -- the commands ------------------------------------------------------------------------------------------


def _run_demo(arguments: argparse.Namespace) -> int:
    outputs = _check_outputs(arguments, [])
    demo_module = _import_for_fastai("demo")
    from fastai_hf_callback import diagnose
    from fastai_hf_callback.demo.setup import DEMO_INTRO, RECIPE_INTRO, fit_demo
    from fastai_hf_callback.utils.rng import seed_everything

    print(DEMO_INTRO)
    with _use_one_thread():
        exit_code = _run_comparison(demo_module.build_demo_factory(), fit_demo, arguments, outputs, "fastai-hf demo")
        seed_everything(arguments.seed)
        print(RECIPE_INTRO)
        print(diagnose(demo_module.train_article_recipe()))
    return exit_code


def _run_compare(arguments: argparse.Namespace) -> int:
    if bool(arguments.factory) == bool(arguments.csv):
        raise InvalidInputError("expected either FILE.py:FACTORY or --csv FILE --text COL --labels A,B,.. --model NAME")
    outputs = _check_outputs(
        arguments, [arguments.csv, arguments.model] if arguments.csv else [_factory_path(arguments)]
    )
    _detect_fastai()
    apply_csv_defaults(arguments)
    if arguments.factory:
        make_learner, subject = load_factory(arguments.factory), arguments.factory
    else:
        make_learner = build_csv_factory(arguments, _import_for_fastai("learner_factory"))
        subject = f"{arguments.csv}, {arguments.model}"
    fit = partial(_fit_one_cycle, epochs=arguments.epochs, lr=arguments.lr)
    return _run_comparison(make_learner, fit, arguments, outputs, subject)


def _run_diagnose(arguments: argparse.Namespace) -> int:
    outputs = _check_outputs(arguments, [_factory_path(arguments)])
    _detect_fastai()
    from fastai_hf_callback import diagnose
    from fastai_hf_callback.utils.progress import show_search_progress

    learn = load_factory(arguments.factory)()
    if arguments.deep:
        with show_search_progress() as progress:
            diagnosis = diagnose(learn, arguments.batches, deep=True, progress=progress)
    else:
        diagnosis = diagnose(learn, arguments.batches)
    print(diagnosis)
    _write_outputs(diagnosis, outputs, arguments.factory)
    return int(diagnosis.exit_code(arguments.fail_on))


COMMANDS = {"demo": _run_demo, "compare": _run_compare, "diagnose": _run_diagnose}


def _run_comparison(
    make_learner: Callable[[], Any],
    fit: Callable[[Any], Any],
    arguments: argparse.Namespace,
    outputs: Outputs,
    subject: str,
) -> int:
    from fastai_hf_callback import compare
    from fastai_hf_callback.utils.progress import show_arm_progress

    with show_arm_progress(arguments.arms, log=True) as progress:
        comparison = compare(make_learner, fit, seed=arguments.seed, arms=arguments.arms, progress=progress or False)
    print(comparison)
    _write_outputs(comparison, outputs, subject)
    return comparison.exit_code


def _fit_one_cycle(learn: Any, epochs: int, lr: Optional[float]) -> Any:
    try:
        return learn.fit_one_cycle(epochs, lr) if lr else learn.fit_one_cycle(epochs)
    except RuntimeError as error:
        if lr and "without overflow" in str(error):  # an optimizer's step is the rate times its own factors
            raise InvalidInputError(f"--lr {lr:g}: too large for the optimizer ({error}); write --lr 1e-3") from None
        raise


@contextmanager
def _use_one_thread() -> Iterator[None]:
    # With matrices as small as the demo's, threads only wait for one another; on a busy machine, ten times as long.
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# -- outputs -----------------------------------------------------------------------------------------------


def _factory_path(arguments: argparse.Namespace) -> str:
    file, _, _ = arguments.factory.rpartition(":")
    return str(file)


def _check_outputs(arguments: argparse.Namespace, inputs: List[Optional[str]]) -> Outputs:
    given = {f"--{name}": getattr(arguments, name, None) for name in ("json", "html", "plot")}
    outputs = find_outputs(
        {option: name for option, name in given.items() if name is not None}, [path for path in inputs if path]
    )
    if "--html" in outputs and find_spec("jinja2") is None:
        raise InvalidInputError("--html needs jinja2, which is not installed; write: pip install jinja2")
    return outputs


def _write_outputs(result: Any, outputs: Outputs, subject: str) -> None:
    """Render all outputs before the first is written."""
    contents = {option: _render(result, output, subject) for option, output in outputs.items()}
    for option, content in contents.items():
        write_output(outputs[option], content)


def _render(result: Any, output: Output, subject: str) -> bytes:
    if output.option == "--plot":
        picture = BytesIO()
        result.plot().savefig(picture, format=Path(output.name).suffix[1:].lower(), dpi=130)
        return picture.getvalue()
    text = result.to_json() if output.option == "--json" else result.to_html(title=subject)
    return text.encode("utf-8", "backslashreplace")  # names of files may hold bytes that are not UTF-8


# -- which fastai ------------------------------------------------------------------------------------------


def _detect_fastai() -> str:
    package: Any = import_module("fastai_hf_callback")
    try:
        return str(package._detect_fastai())
    except ImportError as error:
        raise InvalidInputError(str(error)) from None


def _import_for_fastai(name: str) -> ModuleType:
    """Import the module of this name for the fastai that is installed."""
    subpackage = _detect_fastai()
    try:
        return import_module(f"fastai_hf_callback.{subpackage}.{name}")
    except ImportError as error:
        raise InvalidInputError(
            f"{error}; expected what comes with pip install 'fastai-hf-callback[{subpackage}]'"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
