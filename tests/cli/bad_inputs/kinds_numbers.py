"""Numbers that are no numbers, or out of range."""

from typing import Dict, List, Sequence, Tuple

from .case import BITS, EITHER, OPTIONS, Case, csv_command, demo_command, diagnose_command, factory_command

__all__ = ["cases"]

KIND = "numbers out of range"
NO_NUMBERS = ("", "ten", "nan", "inf", "1,5", "2**40")
NO_WHOLE = (*NO_NUMBERS, "-1", "1.5", "1e400")
BAD: Dict[str, Sequence[str]] = {
    "seed": (*NO_WHOLE, " ", "0x10", "\u00b2", "9" * 5000),
    "bs": (*NO_WHOLE, "0"),
    "epochs": ("", "ten", "nan", "-1", "1.5", "1e400", "0", "1e3"),
    "batches": ("", "all", "inf", "-1", "1e400", "0"),
    "max_length": (*NO_WHOLE, "0", "1", "33", "4000", str(2**40), str(10**30)),
    "lr": (*NO_NUMBERS, "-inf", "-1", "0", "-0.0", "1e400", "1e-400"),
    "valid": (*NO_NUMBERS, "-0.2", "0", "1", "1e400", "1e-400", "20%", "0.999999999", "1e-9"),
}
# Large or odd, and yet numbers: taken, or refused by the option's name.
TAKEN_OR_NAMED: Dict[str, Sequence[str]] = {
    "seed": (str(2**32), str(2**40), str(2**64), "20261130120000", str(10**30), "\u0663"),
    "bs": (str(2**40), str(2**63), str(10**30)),
    "lr": ("1e38", "1e308", "5e-324"),
    "valid": ("0.96", "0.03"),
}


def cases() -> List[Case]:
    """All of this kind."""
    return [*_bad(), *_taken_or_named(), *_of_factories(), *_choices()]


def _shown(value: str) -> str:
    return repr(value if len(value) < 40 else f"{value[:5]}.. of {len(value)} digits")


def _command(option: str, value: str) -> List[str]:
    # With = a value may begin with a minus, as a number below 0 does.
    base = diagnose_command(batches=None) if option == "batches" else csv_command(**{option: None})
    return [*base, f"{OPTIONS[option]}={value}"]


def _bad() -> List[Case]:
    found = [
        Case(KIND, f"{OPTIONS[option]} {_shown(value)}", _command(option, value), OPTIONS[option])
        for option, values in BAD.items()
        for value in values
    ]
    return [*found, Case(KIND, "a minus as a word of its own", csv_command(seed="-1"), "--seed|-1")]


def _taken_or_named() -> List[Case]:
    return [
        Case(
            KIND,
            f"{OPTIONS[option]} {_shown(value)}, taken or named",
            _command(option, value),
            OPTIONS[option] if option != "valid" else "--valid|'kind'",  # few rows to train on may hold one class
            EITHER,
        )
        for option, values in TAKEN_OR_NAMED.items()
        for value in values
    ]


def _of_factories() -> List[Case]:
    """The same numbers where a factory is compared, and a little of the demo, whose numbers are read first."""
    given: List[Tuple[str, List[str]]] = [
        ("a factory's seed of 64 bits", factory_command(seed=2**64 + 1)),
        ("a factory's seed made of a date", factory_command(seed=20261130120000)),
        ("a factory's learning rate", factory_command(lr="1e308")),
        ("several labels and a seed of 40 bits", csv_command(labels=BITS, seed=2**40)),
    ]
    found = [Case(KIND, f"{name}, taken or named", argv, "--seed|--lr", EITHER) for name, argv in given]
    found += [
        Case(KIND, f"demo --seed {value!r}", demo_command(seed=value), "--seed") for value in ("ten", "1e400", "")
    ]
    return [
        *found,
        Case(KIND, "more batches than there are, taken or named", diagnose_command(batches=2**40), "--batches", EITHER),
    ]


def _choices() -> List[Case]:
    found = [
        Case("names to choose from", f"--arms {value!r}", csv_command(arms=value), "--arms")
        for value in ("", ",", "pached", "all", "Callback", "callback;patched", "callback,,pached")
    ]
    found += [
        Case("names to choose from", f"--fail-on {value!r}", diagnose_command(fail_on=value), "--fail-on")
        for value in ("", "fatal", "WARNING", "warning,error", "0")
    ]
    return [
        *found,
        Case(
            "names to choose from",
            "an arm twice, taken or named",
            csv_command(arms="callback,callback"),
            "--arms",
            EITHER,
        ),
    ]
