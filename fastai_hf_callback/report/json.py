"""A comparison or a diagnosis -> plain dicts, strict JSON."""

import json
import math
from dataclasses import asdict
from typing import Any, Dict

from fastai_hf_callback.results.comparison import ComparisonResult
from fastai_hf_callback.results.diagnosis import DiagnosisResult

from .wording import build_diagnosis_verdict

__all__ = ["comparison_to_dict", "comparison_to_json", "diagnosis_to_json"]


def comparison_to_dict(comparison: ComparisonResult) -> Dict[str, Any]:
    """Return everything as plain dicts, lists and numbers."""
    return {
        "verdict": comparison.verdict,
        "exit_code": comparison.exit_code,
        "identical": comparison.identical,
        "moved": comparison.moved,
        "difference": comparison.difference and asdict(comparison.difference),
        "broken_difference": comparison.broken_difference and asdict(comparison.broken_difference),
        "noise": comparison.noise and asdict(comparison.noise),
        "movements": [asdict(movement) for movement in comparison.movements],
        "traces": {arm: trace.to_dict() for arm, trace in comparison.traces.items()},
    }


def comparison_to_json(comparison: ComparisonResult) -> str:
    """Return strict JSON; numbers that are not finite are the strings ``nan``, ``inf`` and ``-inf``."""
    return json.dumps(_make_strict(comparison_to_dict(comparison)), indent=1, allow_nan=False)


def diagnosis_to_json(diagnosis: DiagnosisResult) -> str:
    """Return strict JSON; numbers that are not finite are the strings ``nan``, ``inf`` and ``-inf``."""
    names = ("cause", "severity", "message", "evidence", "fix", "can_apply", "tried")
    findings = [{name: getattr(finding, name) for name in names} for finding in diagnosis.findings]
    evidence = diagnosis.evidence.to_dict() if diagnosis.evidence is not None else None
    verdict = {
        "verdict": build_diagnosis_verdict(diagnosis),
        "healthy": diagnosis.healthy,
        "in_doubt": diagnosis.in_doubt,
        "exit_code": diagnosis.exit_code(),
    }
    return json.dumps(
        _make_strict({**verdict, "findings": findings, "evidence": evidence}),
        indent=1,
        allow_nan=False,
        default=str,
    )


def _make_strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _make_strict(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_make_strict(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
