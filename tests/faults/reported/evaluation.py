"""What the doctor says of a reported fault: a row of plain numbers each."""

import inspect
import warnings
from typing import Any, Dict, List

from fastai_hf_callback import diagnose
from tests.faults.reported.catalogue import named
from tests.faults.reported.kind import last_printed
from tests.faults.reported.parts import part_of

Row = Dict[str, Any]
HAS_DEEP = "deep" in inspect.signature(diagnose).parameters
MODES = ("diagnose", "deep") if HAS_DEEP else ("diagnose",)


def evaluate_kind(name: str, architecture: str, broken: bool = True) -> Row:
    """Ask after the fit, as its user would; with ``broken=False`` of the same learner without the fault.

    Returns
    -------
    dict
        For each way of asking, cause and part of each finding that is worse than a note, most probable first, and the
        verdict's first line.
    """
    fault = named(name)
    row: Row = {"name": name, "architecture": architecture, "part": fault.part}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learn = fault.fitted(architecture, broken)
        for mode in MODES:
            diagnosis = diagnose(learn, deep=True) if mode == "deep" else diagnose(learn)
            row[mode] = [[f.cause, part_of(f), f.message] for f in diagnosis.at_least("warning")]
            row[f"{mode} notes"] = [f.cause for f in diagnosis.findings if f.severity == "note"]
            row[f"{mode} healthy"] = bool(diagnosis.healthy)
    return row


def measure_harm(name: str, architecture: str) -> Row:
    """What the learner is worth with the fault and without it, and what was printed of it."""
    fault = named(name)
    row: Row = {"name": name, "architecture": architecture, "part": fault.part}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for which, broken in (("broken", True), ("sound", False)):
            learn = fault.fitted(architecture, broken)
            row[which] = fault.score(learn)
            if fault.is_printed:
                row[f"{which} printed"] = last_printed(learn)
    return row


def hurts(row: Row) -> bool:
    """Whether the fault takes a tenth of the learner's worth, or of what is printed of it; the sound twin prints it."""
    if "sound printed" in row:
        return abs(row["broken printed"] - row["broken"]) > 0.05 > abs(row["sound printed"] - row["sound"])
    return row["sound"] - row["broken"] > 0.1


def is_found(row: Row, mode: str = "diagnose") -> bool:
    return bool(row.get(mode))


def is_part_first(row: Row, mode: str = "diagnose") -> bool:
    return is_found(row, mode) and row[mode][0][1] == row["part"]


def causes(row: Row, mode: str = "diagnose") -> List[str]:
    return [finding[0] for finding in row.get(mode, [])]
