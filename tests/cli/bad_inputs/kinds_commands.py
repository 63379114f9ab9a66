"""Commands that are incomplete or say a thing twice, and names of factories that lead nowhere."""

import os
import shutil
from pathlib import Path
from typing import List

from .case import (
    BITS,
    EITHER,
    MODEL,
    OPTIONS,
    Case,
    csv_command,
    demo_command,
    diagnose_command,
    factory_command,
    write,
)
from .room import FACTORIES

__all__ = ["cases"]


def cases() -> List[Case]:
    """All of this kind."""
    return [*_incomplete(), *_twice(), *_specs()]


def _incomplete() -> List[Case]:
    kind = "incomplete or unknown words"
    found = [
        Case(kind, f"nothing after {OPTIONS[name]}", [*csv_command(**{name: None}), OPTIONS[name]], OPTIONS[name])
        for name in ("csv", "text", "labels", "model", "seed", "lr", "json", "plot")
    ]
    given = {
        "no command": ([], "COMMAND"),
        "a command misspelt": (["compar"], "compar"),
        "an empty command": ([""], "COMMAND"),
        "compare of nothing": (["compare"], "FILE|--csv"),
        "diagnose of nothing": (["diagnose"], "FILE"),
        "a table alone": (["compare", OPTIONS["csv"], "train.csv"], "--text.*--labels.*--model"),
        "an unknown option": ([*csv_command(), "--epochz", "3"], "--epochz"),
        "a table and a factory": ([*csv_command(), "factories.py:good"], r"factories\.py|--csv"),
        "two factories": ([*factory_command(), "factories.py:marked"], "factories.py:marked"),
        "a factory with a table's options": (factory_command(text="text", bs=4), "--text.*--bs|--bs.*--text"),
        "an option of diagnose": ([*factory_command(), OPTIONS["batches"], "3"], "--batches"),
        "an option of compare": (diagnose_command(seed=3), "--seed"),
        "diagnose of a table": (["diagnose", *csv_command()[1:]], "--csv|FILE"),
        "demo of a factory": (["demo", "factories.py:good"], "factories"),
        "demo of a table": (demo_command(csv="train.csv"), "--csv"),
        "a table without the option's name": (["compare", "train.csv"], r"train\.csv"),
        "a model without the option's name": ([*csv_command(model=None), MODEL], "--model|" + MODEL),
    }
    found += [Case(kind, name, argv, names) for name, (argv, names) in given.items()]
    return [*found, Case(kind, "an option cut short, taken or named", [*csv_command(), "--see", "3"], "--see", EITHER)]


def _twice() -> List[Case]:
    """The second would silently replace the first: refused where something is lost, taken or named for a number."""
    kind = "the same option twice"
    lossy = {"csv": "other.csv", "text": "second", "labels": "plural", "model": "other"}

    def others(here: Path) -> None:
        shutil.copy(str(here / "train.csv"), str(here / "other.csv"))
        shutil.copytree(str(here / MODEL), str(here / "other"))

    found = [
        Case(kind, f"{OPTIONS[name]}, differing", [*csv_command(), OPTIONS[name], value], OPTIONS[name], prepare=others)
        for name, value in lossy.items()
    ]
    found += [
        Case(
            kind,
            f"{OPTIONS[name]}, differing",
            [*csv_command(), OPTIONS[name], "one.png", OPTIONS[name], "two.png"],
            OPTIONS[name],
            may_write=("one.png", "two.png"),
        )
        for name in ("json", "html", "plot")
    ]
    found += [
        Case(
            kind,
            f"{OPTIONS[name]}, taken or named",
            [*csv_command(), *2 * [OPTIONS[name], value]],
            OPTIONS[name],
            EITHER,
        )
        for name, value in (("seed", "3"), ("epochs", "1"), ("csv", "train.csv"), ("labels", BITS))
    ]
    return found


def _specs() -> List[Case]:
    kind, found = "names of factories", []
    specs = {
        "missing.py:good": r"missing\.py",
        "factories.py": r"FILE\.py:|FACTORY",
        "factories.py:": r"factories\.py",
        ":good": ":good",
        ":": "FACTORY",
        "": "FACTORY|FILE",
        "factories:good": "factories",
        "folder.py:good": r"folder\.py",
        "train.csv:good": r"train\.csv",
        "link.py:good": r"link\.py",
        "factories.py:goood": "goood",
        "factories.py:good:good": "good",
        "factories.py::good": "factories",
        "factories.py:good()": r"good\(\)",
        "factories.py:__name__": "__name__",
        "factories.py:Path.cwd": r"Path\.cwd",
        "factories.py:print": "print",
        "factories.py:Path": "factories.py:Path|Path",
        "factories.py: good": "good",
        "no/factories.py:good": "no/factories",
        "C:\\work\\factories.py:good": "factories",
        "-": "FACTORY|FILE",
        "factories.PY:good": r"factories\.PY",
        "notebook.ipynb:good": "notebook",
        "factories.py:g\xf6\xf6d": "g\xf6\xf6d",
        "factories.py:a\nb": r"a\\?\s?n?\s?b",
        "factories.py:__builtins__": "__builtins__",
        "x" * 300 + ".py:good": "xxx",
    }

    def prepare(here: Path) -> None:
        (here / "folder.py").mkdir()
        os.symlink("nowhere.py", str(here / "link.py"))
        write("notebook.ipynb", FACTORIES)(here)

    for i, (spec, names) in enumerate(specs.items()):  # both commands read a name the same way
        verb, command = (("compare", factory_command), ("diagnose", diagnose_command))[i % 2]
        found.append(Case(kind, f"{verb} {spec[:40]!r}", command(spec), names, prepare=prepare))
    return found
