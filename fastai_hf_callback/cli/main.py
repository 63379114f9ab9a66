"""``fastai-hf``: the demo, comparisons and diagnoses for CI.

Exit codes: 0 identical and moved, or healthy; 1 different, nothing compared, or a finding; 2 unusable input
(one line on stderr); 3 identical but stuck.
"""

import argparse
import os
import sys
import warnings
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Sequence

from fastai_hf_callback.errors import FastaiHFError, InvalidInputError
from fastai_hf_callback.results.finding import SEVERITIES

__all__ = ["main"]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        By default the process's own arguments.
    """
    try:
        arguments = _build_parser().parse_args(argv)
        with warnings.catch_warnings():
            for noise in ("pkg_resources is deprecated", "'pin_memory' argument"):  # fastai 1's habits, not the user's
                warnings.filterwarnings("ignore", message=noise)
            return arguments.run(arguments)
    except FastaiHFError as error:
        print(f"fastai-hf: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except Exception as error:  # a run that fails must not look like one that differs
        if _wants_traceback(argv):
            raise
        from fastai_hf_callback.diagnosis.checks.failures import suggest_fix

        error_text = " ".join(str(error).split())
        print(
            f"fastai-hf: the run failed: {type(error).__name__}: {error_text}{suggest_fix(error)}; add "
            "--traceback to see "
            f"where",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("fastai-hf: interrupted", file=sys.stderr)
        return 130


def _wants_traceback(argv: Optional[Sequence[str]]) -> bool:
    return "--traceback" in (sys.argv[1:] if argv is None else argv)


# -- the commands ------------------------------------------------------------------------------------------


def _run_demo_command(arguments: argparse.Namespace) -> int:
    _check_can_write(arguments)
    demo_module = _import_for_fastai("demo")
    from fastai_hf_callback import diagnose
    from fastai_hf_callback.demo.setup import DEMO_INTRO, RECIPE_INTRO, fit_demo
    from fastai_hf_callback.utils.rng import seed_everything

    print(DEMO_INTRO)
    with _use_one_thread():
        exit_code = _run_comparison(demo_module.build_demo_factory(), fit_demo, arguments)
        seed_everything(arguments.seed)
        print(RECIPE_INTRO)
        print(diagnose(demo_module.train_article_recipe()))
    return exit_code


def _run_compare_command(arguments: argparse.Namespace) -> int:
    _check_can_write(arguments)
    if bool(arguments.factory) == bool(arguments.csv):
        raise InvalidInputError("expected either FILE.py:FACTORY or --csv FILE --text COL --labels A,B,.. --model NAME")
    _detect_fastai()
    _resolve_csv_options(arguments)
    make_learner = _load_factory_from_file(arguments) if arguments.factory else _build_factory_from_csv(arguments)
    return _run_comparison(make_learner, _build_one_cycle_fit(arguments.epochs, arguments.lr), arguments)


def _run_diagnose_command(arguments: argparse.Namespace) -> int:
    _check_can_write(arguments)
    _detect_fastai()
    from fastai_hf_callback import diagnose

    from .factory_file import load_factory

    diagnosis = diagnose(load_factory(arguments.factory)(), arguments.batches)
    print(diagnosis)
    if arguments.json:
        Path(arguments.json).write_text(diagnosis.to_json(), encoding="utf-8")
    if arguments.html:
        diagnosis.to_html(arguments.html, title=arguments.factory)
    return 1 if diagnosis.at_least(arguments.fail_on) else 0


def _run_comparison(make_learner: Callable[[], Any], fit: Callable[[Any], Any], arguments: argparse.Namespace) -> int:
    from fastai_hf_callback import compare
    from fastai_hf_callback.utils.progress import show_arm_progress

    with show_arm_progress(arguments.arms, log=True) as progress:
        comparison = compare(make_learner, fit, seed=arguments.seed, arms=arguments.arms, progress=progress or False)
    print(comparison)
    if arguments.json:
        Path(arguments.json).write_text(comparison.to_json(), encoding="utf-8")
    if arguments.html:
        comparison.to_html(arguments.html, title=_describe_subject(arguments))
    if arguments.plot:
        comparison.plot(arguments.plot)
    return comparison.exit_code


def _describe_subject(arguments: argparse.Namespace) -> str:
    if arguments.command == "demo":
        return "fastai-hf demo"
    return arguments.factory or f"{arguments.csv}, {arguments.model}"


@contextmanager
def _use_one_thread() -> Iterator[None]:
    # Threads only wait for one another over matrices as small as the demo's; on a busy machine, ten times as long.
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _build_one_cycle_fit(epochs: int, lr: Optional[float]) -> Callable[[Any], Any]:
    return lambda learn: learn.fit_one_cycle(epochs, lr) if lr else learn.fit_one_cycle(epochs)


# -- where learners come from --------------------------------------------------------------------------------


def _load_factory_from_file(arguments: argparse.Namespace) -> Callable[[], Any]:
    from .factory_file import load_factory

    return load_factory(arguments.factory)


def _build_factory_from_csv(arguments: argparse.Namespace) -> Callable[[], Any]:
    missing = [f"--{name}" for name in ("text", "labels", "model") if not getattr(arguments, name)]
    if missing:
        raise InvalidInputError(f"--csv {arguments.csv} also needs {' '.join(missing)}")
    from fastai_hf_callback.data.tables.table import read_table, split_rows

    table = read_table(arguments.csv, arguments.text, arguments.labels, arguments.encoding, arguments.sep)
    train, valid = split_rows(len(table.texts), arguments.valid, arguments.seed)

    from fastai_hf_callback.data.encoding.table_split import TableSplit, describe_split
    from fastai_hf_callback.model.pretrained import load_pretrained

    split, factories = TableSplit(table, train, valid), _import_for_fastai("learner_factory")
    make_learner = factories.build_learner_factory(
        split, load_pretrained(arguments.model), arguments.bs, arguments.max_length
    )
    print(describe_split(split))
    return make_learner


# -- arguments --------------------------------------------------------------------------------------------------


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise InvalidInputError(f"{message}; see {self.prog} --help")


def _build_parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog="fastai-hf",
        description="Hugging Face models under an unmodified fastai Learner.",
        epilog=" ".join(__doc__.splitlines()[2:4]),
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_OneLineParser)
    commands.required = True
    _add_demo_command(commands)
    _add_compare_command(commands)
    _add_diagnose_command(commands)
    return parser


def _add_demo_command(commands: Any) -> None:
    demo = commands.add_parser(
        "demo", help="a tiny model on bundled comments, offline: callback, patched and broken arm side by side"
    )
    _add_common_options(demo)
    demo.set_defaults(run=_run_demo_command)


def _add_compare_command(commands: Any) -> None:
    compare = commands.add_parser(
        "compare", help="train through the callback, the patched loop and a broken arm, and compare step by step"
    )
    compare.add_argument(
        "factory",
        nargs="?",
        metavar="FILE.py:FACTORY",
        help="a function in a file that returns a new Learner each time",
    )
    compare.add_argument("--csv", metavar="FILE", help="train on this CSV instead (.gz too)")
    compare.add_argument("--text", metavar="COL", help="its column of texts")
    compare.add_argument(
        "--labels", type=_parse_names, metavar="A,B,..", help="several columns of 0 and 1, or one column of classes"
    )
    compare.add_argument("--model", metavar="NAME_OR_FOLDER", help="the Hugging Face model and its tokenizer")
    compare.add_argument("--epochs", type=_whole_number_parser(1), default=2, help="of fit_one_cycle (default 2)")
    compare.add_argument("--lr", type=_parse_positive, help="highest learning rate (default: fastai's)")
    compare.add_argument("--bs", type=_whole_number_parser(1), help="rows per batch (default 32)")
    compare.add_argument("--max-length", type=_whole_number_parser(3), help="tokens per text at most (default 128)")
    compare.add_argument("--valid", type=_parse_fraction, help="share of rows to validate on (default 0.2)")
    compare.add_argument("--encoding", help="of the CSV (default utf-8)")
    compare.add_argument("--sep", type=_parse_separator, help="its separator (default ,)")
    _add_common_options(compare)
    compare.set_defaults(run=_run_compare_command)


def _add_diagnose_command(commands: Any) -> None:
    diagnose = commands.add_parser("diagnose", help="examine a learner and say why its metrics do not move")
    diagnose.add_argument("factory", metavar="FILE.py:FACTORY", help="a function in a file that returns a Learner")
    diagnose.add_argument(
        "--batches", type=_whole_number_parser(1), default=4, help="how many are stepped on (default 4)"
    )
    diagnose.add_argument(
        "--fail-on",
        choices=SEVERITIES,
        default="warning",
        help="exit with 1 at a finding of this severity or worse (default warning)",
    )
    _add_output_options(diagnose)
    diagnose.set_defaults(run=_run_diagnose_command, plot=None)


def _add_output_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", metavar="OUT", help="write everything as JSON")
    command.add_argument("--html", metavar="OUT", help="write a page to look at: one file, which loads nothing")
    command.add_argument("--traceback", action="store_true", help="show where a run failed")


def _add_common_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--seed", type=_whole_number_parser(0), default=42, help="of split, weights and batches (default 42)"
    )
    command.add_argument(
        "--arms", type=_parse_arms, default=_ARMS, metavar=",".join(_ARMS), help="which arms to run (default all)"
    )
    _add_output_options(command)
    command.add_argument("--plot", metavar="OUT.png", help="draw losses and metrics of all arms")


_CSV_DEFAULTS = {
    "text": None,
    "labels": None,
    "model": None,
    "bs": 32,
    "max_length": 128,
    "valid": 0.2,
    "encoding": "utf-8",
    "sep": ",",
}


def _resolve_csv_options(arguments: argparse.Namespace) -> None:
    given = [name for name in _CSV_DEFAULTS if getattr(arguments, name) is not None]
    if arguments.factory and given:
        named = " ".join("--" + name.replace("_", "-") for name in given)
        raise InvalidInputError(f"{named} goes with --csv; with {arguments.factory} write it inside the factory")
    for name, default in _CSV_DEFAULTS.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)


_ARMS = ("callback", "patched", "broken")


def _parse_names(text: str) -> List[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("expected column names, separated by commas")
    return names


def _parse_arms(text: str) -> Sequence[str]:
    arms = _parse_names(text)
    unknown = [arm for arm in arms if arm not in _ARMS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{','.join(unknown)}: expected some of {','.join(_ARMS)}")
    return tuple(arm for arm in _ARMS if arm in arms or arm == "callback")


def _whole_number_parser(minimum: int) -> Callable[[str], int]:
    def parse_whole_number(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from {minimum} on")
        return int(text)

    return parse_whole_number


def _parse_positive(text: str) -> float:
    number = _parse_number(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0, such as 2e-4")
    return number


def _parse_fraction(text: str) -> float:
    number = _parse_number(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a share between 0 and 1, such as 0.2")
    return number


def _parse_separator(text: str) -> str:
    return text.replace("\\t", "\t")


def _parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number") from None


def _detect_fastai() -> str:
    from fastai_hf_callback import _detect_fastai

    try:
        return _detect_fastai()
    except ImportError as error:
        raise InvalidInputError(str(error)) from None


def _import_for_fastai(name: str) -> Any:
    """The module of this name for the fastai that is installed."""
    subpackage = _detect_fastai()
    try:
        return import_module(f"fastai_hf_callback.{subpackage}.{name}")
    except ImportError as error:
        raise InvalidInputError(
            f"{error}; expected what comes with pip install 'fastai-hf-callback[{subpackage}]'"
        ) from None


def _check_can_write(arguments: argparse.Namespace) -> None:
    for name, path in (("--json", arguments.json), ("--html", arguments.html), ("--plot", arguments.plot)):
        if path is None:
            continue
        folder = Path(path).resolve().parent
        if Path(path).is_dir() or not folder.is_dir() or not os.access(str(folder), os.W_OK):
            raise InvalidInputError(f"{name} {path}: cannot be written; expected a file in a folder that exists")
    if arguments.html and find_spec("jinja2") is None:
        raise InvalidInputError("--html needs jinja2, which is not installed; write: pip install jinja2")
    if arguments.plot and Path(arguments.plot).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InvalidInputError(f"--plot {arguments.plot}: expected a name that ends in .png, .svg or .pdf")


if __name__ == "__main__":
    sys.exit(main())
