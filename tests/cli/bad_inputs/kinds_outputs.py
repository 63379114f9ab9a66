"""Outputs over inputs, on one another, and where nothing can be written; each found out before anything is trained."""

import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

from .case import EITHER, MODEL, OPTIONS, Case, csv_command, demo_command, diagnose_command, factory_command, write
from .room import FACTORIES

__all__ = ["cases"]

SPEC = "factories.py:marked"  # leaves a file behind when a learner is made
Command = Callable[..., List[str]]


def _compare(**given: Any) -> List[str]:
    return factory_command(SPEC, **given)


def _diagnose(**given: Any) -> List[str]:
    return diagnose_command(SPEC, **given)


COMMANDS: Tuple[Tuple[str, Command, Tuple[str, ...]], ...] = (
    ("of a table", csv_command, ("json", "html", "plot")),
    ("of a factory", _compare, ("json", "html", "plot")),
    ("diagnose", _diagnose, ("json", "html")),
)


def cases() -> List[Case]:
    """All of this kind."""
    return [*_over_inputs(), *_on_one_another(), *_unwritable(), *_endings()]


def _links(here: Path) -> None:
    """Each input under names that end as a picture's does, so that --plot takes them too."""
    for name, target in (
        ("table", "train.csv"),
        ("file", "factories.py"),
        ("config", MODEL + "/config.json"),
        ("weights", MODEL + "/model.safetensors"),
        ("words", MODEL + "/tokenizer.json"),
    ):
        os.symlink(target, str(here / f"{name}-link.png"))
        os.link(str(here / target), str(here / f"{name}-hard.png"))
    os.symlink(".", str(here / "round"))


def _over_inputs() -> List[Case]:
    kind, found = "an output over an input", []
    tables = ["train.csv", "./train.csv", "{here}/train.csv", MODEL + "/../train.csv", "round/train.csv"]
    files = ["factories.py", "{here}/factories.py", "round/factories.py"]
    of_model = [
        f"{MODEL}/{name}" for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    ] + ["{here}/round/" + MODEL + "/config.json"]
    linked = {"of a table": ("table", "config", "weights", "words"), "of a factory": ("file",), "diagnose": ("file",)}
    plain = {"of a table": tables + of_model, "of a factory": files, "diagnose": files}
    for verb, command, outputs in COMMANDS:
        pictures = [f"{name}-{how}.png" for name in linked[verb] for how in ("link", "hard")]
        for i, target in enumerate([*plain[verb], *pictures]):
            for output in outputs if target in pictures[:2] + plain[verb][:1] else (outputs[i % len(outputs)],):
                if output == "plot" and not target.endswith(".png"):
                    output = "json"
                found.append(
                    Case(
                        kind,
                        f"{verb}: {OPTIONS[output]} {target}",
                        command(**{output: target}),
                        OPTIONS[output],
                        prepare=_links,
                    )
                )
    absolute = csv_command(csv="{here}/train.csv", json="train.csv")
    found.append(Case(kind, "of a table by its absolute path: --json train.csv", absolute, "--json"))
    through = csv_command(csv="table-link.png", json="train.csv")
    found.append(Case(kind, "of a table through a link: --json train.csv", through, "--json", prepare=_links))
    model = csv_command(model="round/" + MODEL, html=MODEL + "/config.json")
    found.append(Case(kind, "of a model through a link: --html config.json", model, "--html", prepare=_links))
    unique = {(case.name): case for case in found}
    return list(unique.values())


def _on_one_another() -> List[Case]:
    kind, found = "one output on another", []
    pairs = {
        "one name": ("out.png", "out.png"),
        "a path with a dot": ("out.png", "./out.png"),
        "an absolute path": ("out.png", "{here}/out.png"),
        "a folder through a link": ("out.png", "round/out.png"),
        "a link to a file": ("old-link.png", "old.png"),
        "a hard link": ("old-hard.png", "old.png"),
        "a link to what is not there yet": ("new-link.png", "new.png"),
    }

    def prepare(here: Path) -> None:
        _links(here)
        write("old.png", "an earlier report")(here)
        os.link(str(here / "old.png"), str(here / "old-hard.png"))
        os.symlink("old.png", str(here / "old-link.png"))
        os.symlink("new.png", str(here / "new-link.png"))

    of_outputs = {
        "of a table": (("json", "html"),),
        "of a factory": (("json", "plot"), ("html", "plot")),
        "diagnose": (("json", "html"),),
    }
    for verb, command, _ in COMMANDS:
        for one, two in of_outputs[verb]:
            found += [
                Case(
                    kind,
                    f"{verb}: {OPTIONS[one]} and {OPTIONS[two]}: {what}",
                    command(**{one: first, two: second}),
                    f"{OPTIONS[one]}|{OPTIONS[two]}",
                    prepare=prepare,
                )
                for what, (first, second) in pairs.items()
            ]
    return found


def _unwritable() -> List[Case]:
    kind, found = "outputs that cannot be written", []
    # Name of the output -> what makes the folder so, and whether it takes an ordinary user.
    targets: Dict[str, Tuple[Any, bool]] = {
        "no/such/out.png": (None, False),
        "train.csv/out.png": (None, False),
        MODEL: (None, False),
        "new/": (None, False),
        "": (None, False),
        ".": (None, False),
        "/": (None, False),
        "/proc/version": (None, False),
        "/dev/full": (None, False),
        "/nowhere/out.png": (None, False),
        "x" * 300 + ".png": (None, False),
        "no\nsuch/out.png": (None, False),
        "round.png": (lambda here: os.symlink("round.png", str(here / "round.png")), False),
        "lost.png": (lambda here: os.symlink("no/such/out.png", str(here / "lost.png")), False),
        "kept.png": (_kept_file, True),
        "kept/out.png": (_kept_folder, True),
    }
    for verb, command, outputs in COMMANDS:
        for i, (target, (prepare, ordinary)) in enumerate(targets.items()):
            if verb == "diagnose" and i % 2:
                continue
            for output in outputs if target in ("no/such/out.png", "/dev/full") else (outputs[i % len(outputs)],):
                # A device may be found full only when it is written to.
                made = ("made",) if target == "/dev/full" else ()
                found.append(
                    Case(
                        kind,
                        f"{verb}: {OPTIONS[output]} {target[:40]!r}",
                        command(**{output: target}),
                        OPTIONS[output],
                        prepare=prepare or _open_to_all,
                        may_write=made,
                        ordinary_user=ordinary,
                    )
                )
    found += [
        Case(
            kind,
            f"{verb}: {OPTIONS[output]} {target!r}, taken or named",
            command(**{output: target}),
            OPTIONS[output],
            EITHER,
            may_write=("made", "-"),
        )
        for verb, command, _ in COMMANDS
        for output, target in (("json", "-"), ("html", "/dev/null"))
    ]
    found.append(Case(kind, "demo: --json no/such/out.json", demo_command(json="no/such/out.json"), "--json"))
    full = write("factories.py", FACTORIES)
    found += [
        Case(
            kind,
            f"{verb}: stdout on a full device",
            command(),
            ".",
            prepare=full,
            may_write=("made",),
            stdout="/dev/full",
        )
        for verb, command, _ in COMMANDS
    ]
    return found


def _open_to_all(here: Path) -> None:
    here.chmod(0o777)


def _kept_file(here: Path) -> None:
    _open_to_all(here)
    write("kept.png", "a report of another account")(here)
    (here / "kept.png").chmod(0o444)


def _kept_folder(here: Path) -> None:
    _open_to_all(here)
    (here / "kept").mkdir()
    (here / "kept").chmod(0o555)


def _endings() -> List[Case]:
    found = [
        Case("endings of pictures", f"{verb}: --plot {name!r}", command(plot=name), "--plot")
        for verb, command in (("of a table", csv_command), ("of a factory", _compare))
        for name in ("out.gif", "out.txt", "out", "out.png.bak", ".png", "out.jpeg", "out.")
    ]
    return [*found, Case("endings of pictures", "demo: --plot out.gif", demo_command(plot="out.gif"), "--plot")]
