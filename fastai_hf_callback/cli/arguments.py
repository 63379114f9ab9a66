"""The parser of the command line: commands, options and allowed values. Imports ``errors`` and ``finding``."""

import argparse
from pathlib import Path
from typing import Any, Callable, List, NoReturn, Sequence

from fastai_hf_callback.errors import InvalidInputError
from fastai_hf_callback.results.finding import SEVERITIES

__all__ = ["apply_csv_defaults", "build_parser"]

EXIT_CODES = (
    "Exit codes: 0 identical and moved, or healthy; 1 different, nothing compared, a finding or doubt; 2 unusable "
    "input, or a run that failed (one line on stderr); 3 identical but stuck; 130 interrupted."
)
ARMS = ("callback", "patched", "broken")
PICTURES = (".png", ".svg", ".pdf")
LARGEST_SEED, LARGEST_COUNT, LARGEST_RATE = 2**64 - 1, 2**31 - 1, 3.4e38  # torch's seeds; its sizes; its floats

CSV_DEFAULTS = {
    "text": None,
    "labels": None,
    "model": None,
    "bs": 32,
    "max_length": 128,
    "valid": 0.2,
    "encoding": "utf-8",
    "sep": ",",
}


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; everything it refuses is an ``InvalidInputError`` of one line."""
    parser = _OneLineParser(
        prog="fastai-hf", description="Hugging Face models under an unmodified fastai Learner.", epilog=EXIT_CODES
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_OneLineParser)
    commands.required = True
    _add_demo_command(commands)
    _add_compare_command(commands)
    _add_diagnose_command(commands)
    return parser


def apply_csv_defaults(arguments: argparse.Namespace) -> None:
    """Fill in the defaults of ``--csv``, or refuse its options next to a factory."""
    given = [name for name in CSV_DEFAULTS if getattr(arguments, name) is not None]
    if arguments.factory and given:
        named = " ".join(map(_format_option, given))
        raise InvalidInputError(f"{named} goes with --csv; with {arguments.factory} write it inside the factory")
    for name, default in CSV_DEFAULTS.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)


def _format_option(name: str) -> str:
    return "--" + name.replace("_", "-")


class _StoreOnce(argparse.Action):
    """An action that stores a value, and refuses a second one, which would silently replace the first."""

    given = False

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        if self.given and option_string:
            parser.error(f"{option_string} was given twice; expected it once")
        self.given = True
        setattr(namespace, self.dest, values)


class _OneLineParser(argparse.ArgumentParser):
    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self.register("action", None, _StoreOnce)

    def error(self, message: str) -> NoReturn:
        raise InvalidInputError(f"{message}; see {self.prog} --help")


# -- the commands ------------------------------------------------------------------------------------------


def _add_demo_command(commands: Any) -> None:
    demo = commands.add_parser(
        "demo", help="a tiny model on bundled comments, offline: callback, patched and broken arm side by side"
    )
    _add_comparison_options(demo)


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
        "--labels",
        type=_parse_names,
        metavar="A,B,..",
        help="several columns of 0 and 1, or one column of classes or numbers",
    )
    compare.add_argument("--model", metavar="NAME_OR_FOLDER", help="the Hugging Face model and its tokenizer")
    compare.add_argument("--epochs", type=_build_count_parser(1), default=2, help="of fit_one_cycle (default 2)")
    compare.add_argument("--lr", type=_parse_rate, help="highest learning rate (default: fastai's)")
    compare.add_argument("--bs", type=_build_count_parser(1), help="rows per batch (default 32)")
    compare.add_argument("--max-length", type=_build_count_parser(3), help="tokens per text at most (default 128)")
    compare.add_argument("--valid", type=_parse_fraction, help="share of rows to validate on (default 0.2)")
    compare.add_argument("--encoding", type=_parse_encoding, help="of the CSV (default utf-8)")
    compare.add_argument("--sep", type=_parse_separator, help="its separator (default ,)")
    _add_comparison_options(compare)


def _add_diagnose_command(commands: Any) -> None:
    diagnose = commands.add_parser("diagnose", help="examine a learner and say why its metrics do not move")
    diagnose.add_argument("factory", metavar="FILE.py:FACTORY", help="a function in a file that returns a Learner")
    diagnose.add_argument(
        "--batches", type=_build_count_parser(1), default=4, help="how many are stepped on (default 4)"
    )
    diagnose.add_argument(
        "--deep",
        action="store_true",
        help="also plant a signal in copies of its batches and replace its parts until it is learned: two minutes",
    )
    diagnose.add_argument(
        "--fail-on",
        choices=SEVERITIES,
        default="warning",
        help="exit with 1 at a finding of this severity or worse, and where something could not be examined "
        "(default warning)",
    )
    _add_output_options(diagnose)


def _add_comparison_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--seed",
        type=_build_count_parser(0, LARGEST_SEED),
        default=42,
        help="of split, weights and batches (default 42)",
    )
    command.add_argument(
        "--arms", type=_parse_arms, default=ARMS, metavar=",".join(ARMS), help="which arms to run (default all)"
    )
    _add_output_options(command)
    command.add_argument("--plot", type=_parse_picture, metavar="OUT.png", help="draw losses and metrics of all arms")


def _add_output_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", metavar="OUT", help="write everything as JSON")
    command.add_argument("--html", metavar="OUT", help="write a page to look at: one file, which loads nothing")
    command.add_argument("--traceback", action="store_true", help="show where a run failed")


# -- values ------------------------------------------------------------------------------------------------


def _parse_names(text: str) -> List[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("expected column names, separated by commas")
    return names


def _parse_arms(text: str) -> Sequence[str]:
    arms = _parse_names(text)
    unknown = [arm for arm in arms if arm not in ARMS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{','.join(unknown)}: expected some of {','.join(ARMS)}")
    return tuple(arm for arm in ARMS if arm in arms or arm == "callback")


def _build_count_parser(minimum: int, maximum: int = LARGEST_COUNT) -> Callable[[str], int]:
    def parse_count(text: str) -> int:
        if not text.isdecimal() or len(text) > 40 or not minimum <= int(text) <= maximum:
            shown = text if len(text) <= 40 else f"{text[:40]}..."
            raise argparse.ArgumentTypeError(
                f"{shown!r}: expected a whole number of at least {minimum} and at most {maximum}"
            )
        return int(text)

    return parse_count


def _parse_rate(text: str) -> float:
    number = _parse_number(text)
    if not 0 < number < LARGEST_RATE:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected a number above 0 and below {LARGEST_RATE:g}, such as 2e-4"
        )
    return number


def _parse_fraction(text: str) -> float:
    number = _parse_number(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a share between 0 and 1, such as 0.2")
    return number


def _parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number") from None


def _parse_separator(text: str) -> str:
    return text.replace("\\t", "\t")


def _parse_encoding(text: str) -> str:
    try:
        "".encode(text or "none")
    except (LookupError, UnicodeError):
        raise argparse.ArgumentTypeError(f"{text!r}: no such encoding; write --encoding utf-8 or latin-1") from None
    return text


def _parse_picture(text: str) -> str:
    if Path(text).suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a name that ends in .png, .svg or .pdf")
    return text
