"""Every message of the package as in the source, and examples of how it reads: ``expected_messages.txt``.

``python -m tests.message_catalogue --write`` writes that file; ``tests/test_messages.py`` compares the package with
it, so new wording shows in its diff. Examples come from ``tests/message_triggers.py`` (errors) and from the
cases of the doctor's checks (findings); those of the fastai that is not installed stay as they were.
"""

import ast
import builtins
import os
import re
import sys
import textwrap
import warnings
from collections import defaultdict
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import fastai_hf_callback
from fastai_hf_callback import errors

PACKAGE = Path(fastai_hf_callback.__file__).parent
GOLDEN = Path(__file__).with_name("expected_messages.txt")
ROOT = "tests/message_catalogue.py"

# What has a message: our errors, Python's that a room raises itself, warnings and findings.
ERRORS = set(errors.__all__) | {
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)
}
CARRIERS = ERRORS | {"ArgumentTypeError", "LossNotReachedError", "UnavailableAttributeError", "warn", "Finding"}
# What a probe says of itself; tests/diagnosis/test_verdict.py and tests/report read it in the report.
PROBE_REASONS = {"DoesNotApplyError", "NotMadeError"}
# Why a trial, a search or a replay ended; caught in the room that raises them, and told in the report.
PROBE_REASONS |= {"FailedTrialError", "CannotPlantError", "OutOfTimeError"}
# An abstract method's, and what stops a callback that would write; no user sees them.
WITHOUT_MESSAGE = {"NotImplementedError", "_LeavesTraceError"}

HEAD = f"""\
Every message of fastai_hf_callback, by room and function: as it is written, and below it, after >, as it was read.
Written by `python -m {ROOT[:-3].replace("/", ".")} --write`.
"""


@dataclass(frozen=True)
class Site:
    """One place in the source that makes a message."""

    room: str
    function: str
    kind: str
    template: str
    first: int = field(compare=False)
    last: int = field(compare=False)

    @property
    def key(self):
        """The site's key in the golden file, without line numbers, which change."""
        return self.room, self.function, self.kind, self.template

    def __str__(self):
        return f"{self.room}:{self.function}: {self.kind} {self.template[:90]!r}"


# -- as it is written ----------------------------------------------------------------------------------------------


def find_sites(source, room):
    """Find all messages of one file, in the order of its lines, and every raise that has none."""
    tree, found, mute = ast.parse(source), [], []
    for function, node in _with_functions(tree):
        if isinstance(node, ast.Dict):
            found += [_fix_site(room, key, call) for key, call in zip(node.keys, node.values) if _is_fix(call)]
        elif isinstance(node, ast.Call) and _name(node.func) in CARRIERS:
            found.append(_site(room, function, node))
        elif isinstance(node, ast.Raise) and not _has_message(node, tree):
            mute.append(f"{room}:{node.lineno}")
    return sorted((site for site in found if site.template), key=lambda site: site.first), mute


def collect_sites():
    """Collect those of the whole package, room by room, and every raise that has none."""
    found, mute = [], []
    for path in sorted(PACKAGE.rglob("*.py")):
        sites, without = find_sites(path.read_text(encoding="utf-8"), path.relative_to(PACKAGE).as_posix())
        found, mute = found + sites, mute + without
    return found, mute


def _with_functions(node, function="-"):
    for child in ast.iter_child_nodes(node):
        inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
        yield function, child
        yield from _with_functions(child, child.name if inside else function)


def _site(room, function, call):
    kind, first = _name(call.func), call.args[0] if call.args else None
    if kind == "Finding":
        kind = f"Finding {_template_of(call.args[0])}"
        template = f"{_template_of(call.args[2])} | fix: {_fix_of(call)}"
    else:
        template = "" if first is None else _template_of(first)
    return Site(room, function, kind, template, call.lineno, call.end_lineno)


def _is_fix(node):
    return isinstance(node, ast.Call) and _name(node.func) == "Fix"


def _fix_site(room, key, call):
    """Build the site of a row of a fastai's table of fixes."""
    return Site(room, "FIXES", f"Fix {key.value}", _template_of(call.args[0]), call.lineno, call.end_lineno)


def _fix_of(call):
    """Read the fix from a finding's call: a line, or an action's name and note."""
    action = next((keyword.value for keyword in call.keywords if keyword.arg == "action"), None)
    if action is None or not isinstance(action, ast.Call) or _name(action.func) != "Action":
        return _template_of(call.args[4]) if len(call.args) > 4 else "{}"
    name, *others = action.args
    note = [keyword.value for keyword in action.keywords if keyword.arg == "note"] + others[1:]
    return "  # ".join(_template_of(part) for part in [name, *note])


def _template_of(node):
    """Return a text as it is written; braces stand for what is filled in, with the alternatives it chooses from."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_template_of(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return f"{{{_alternatives_in(node.value)}}}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _template_of(node.left) + _template_of(node.right)
    return f"{{{_alternatives_in(node)}}}"


def _alternatives_in(node):
    """Return the texts that an expression chooses from; none for any other expression."""
    if isinstance(node, ast.IfExp):
        ways = [_template_of(way) if _is_text(way) else _alternatives_in(way) for way in (node.body, node.orelse)]
        return " | ".join(filter(None, ways))
    return ""


def _is_text(node):
    return isinstance(node, ast.JoinedStr) or isinstance(node, ast.Constant) and isinstance(node.value, str)


def _has_message(node, tree):
    """Return whether a raise hands on an error, makes one with a message, or calls a function of the room that does."""
    raised = node.exc
    if raised is None or _name(raised) in WITHOUT_MESSAGE:
        return True
    if not isinstance(raised, ast.Call):
        was_caught = isinstance(raised, ast.Name) and raised.id in _caught_names(tree)
        return was_caught or isinstance(raised, ast.Attribute) and raised.attr == "error"  # recorded, and raised later
    return _name(raised.func) in CARRIERS | PROBE_REASONS | _functions_with_messages(tree) and bool(raised.args)


@lru_cache(maxsize=1)
def _functions_with_messages(tree):
    return {
        child.name
        for child in ast.walk(tree)
        if isinstance(child, ast.FunctionDef)
        if any(isinstance(call, ast.Call) and _name(call.func) in CARRIERS for call in ast.walk(child))
    }


def _caught_names(tree):
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)}


def _name(node):
    return getattr(node, "attr", getattr(node, "id", ""))


# -- as it reads ---------------------------------------------------------------------------------------------------


def messages_from(trigger, sites):
    """Collect the messages of one trigger: site -> text. Chained errors count, each at its own place."""
    found = {}
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            with redirect_stdout(StringIO()):
                trigger()
        except pytest.skip.Exception:
            return {}  # needs a library that is not here
        except Exception as error:
            for one in _chain(error):
                site = _find_site(one, sites)
                if site is not None:
                    found[site] = _normalized(str(one))
    for warning in heard:
        for site in sites:
            if site.kind == "warn" and _matches(site.template, str(warning.message)):
                found[site] = _normalized(str(warning.message))
    return found


def _normalized(text):
    """Remove what differs from one checkout to the next."""
    return re.sub(r"\bline \d+", "line N", text.replace(f"{PACKAGE.parent}/", ""))


def _chain(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _find_site(error, sites):
    at, place = error.__traceback__, None
    while at is not None:
        path = Path(at.tb_frame.f_code.co_filename)
        if PACKAGE in path.parents:
            place = path.relative_to(PACKAGE).as_posix(), at.tb_lineno, at.tb_frame.f_code.co_name
        at = at.tb_next
    if place is None:
        return None
    room, line, _ = place
    here = [s for s in sites if s.room == room and (s.first <= line <= s.last) and s.kind == type(error).__name__]
    here = here or [
        s for s in sites if s.room == room and s.kind == type(error).__name__ and _matches(s.template, str(error))
    ]
    return here[0] if here else None


def _matches(template, text):
    """Return whether a text can be one of a template's: the longest of its fixed parts, or of its ways, is in it."""
    parts = [part.strip() for part in re.split("[{}|]", template)]
    longest = max(parts, key=len)
    return len(longest) > 12 and any(
        part in text for part in parts if len(part) > 12 and (part == longest or " | " in template)
    )


def examples(sites):
    """Collect how the messages read here: site -> texts, each once, in the order of the triggers."""
    heard = [pair for trigger in triggers() for pair in messages_from(trigger, sites).items()]
    found = defaultdict(list)
    for site, text in [*heard, *warnings_of_text_data(sites), *findings(sites), *explanations(sites), *fixes(sites)]:
        if text not in found[site]:
            found[site].append(text)
    return found


def triggers():
    """Return the triggers of the core and of the installed fastai."""
    from tests.message_triggers import TRIGGERS

    room = _installed_fastai_room()
    return TRIGGERS + (import_module(f"tests.{room}.message_triggers").TRIGGERS if room else [])


def _installed_fastai_room():
    try:
        return fastai_hf_callback._detect_fastai()
    except ImportError:
        return None


def all_findings():
    """Yield the check and the findings of each of the checks' cases, with the name of an action as its fix."""
    from fastai_hf_callback.diagnosis.fixes.fix_table import resolve_fix
    from tests.diagnosis.checks.test_checks import CASES, findings_of
    from tests.diagnosis.checks.test_data_checks import CASES as MORE
    from tests.diagnosis.checks.test_numeric_checks import CASES as NUMERIC
    from tests.recorded_evidence import evidence_with

    for case in CASES + MORE + NUMERIC:
        found = findings_of(case.check, evidence_with(**case.fires))
        yield case, [resolve_fix(finding, None) for finding in found]


def findings(sites):
    """Collect how the findings of the checks' cases read."""
    for case, found in all_findings():
        for finding in found:
            site = next(
                (
                    s
                    for s in sites
                    if s.room == case.check.__module__.split(".", 1)[1].replace(".", "/") + ".py"
                    and s.kind == f"Finding {finding.cause}"
                    and all(
                        _matches(part, whole) or len(part) < 13
                        for part, whole in zip(s.template.split(" | fix: "), (finding.message, finding.fix))
                    )
                ),
                None,
            )
            if site is not None:
                yield site, f"{finding.message} | fix: {finding.fix}"


def warnings_of_text_data(sites):
    """Collect the warnings of `text_data`."""
    from tests.message_triggers import WARNED_READS

    for site in sites:
        if site.kind == "warn" and site.room == "data/text_data.py":
            yield from ((site, line) for read in WARNED_READS for line in read().messages)


def explanations(sites):
    """Collect what every known failure means, and the explanation of an error of our own."""
    from fastai_hf_callback.diagnosis.checks.failures import REASONS, build_finding
    from fastai_hf_callback.diagnosis.fixes.fix_table import resolve_fix

    own, known = [site for site in sites if site.room == "diagnosis/checks/failures.py"]
    found = [(known, build_finding(cause, "what was said")) for cause in REASONS]
    found.append((own, build_finding("bad-element", "3 was given. Write element=0.")))
    for site, finding in [(site, resolve_fix(finding, None)) for site, finding in found]:
        yield site, f"{finding.cause}: {finding.message} | fix: {finding.fix}"


def fixes(sites):
    """Collect how the rows of this fastai's table read, with arguments and notes of the findings that name them."""
    from fastai_hf_callback.diagnosis.checks.failures import REASONS, build_finding
    from fastai_hf_callback.diagnosis.fixes.fix_table import resolve_fix

    room = _installed_fastai_room()
    table = import_module(f"fastai_hf_callback.{room}.diagnosis.fixes").FIXES if room else {}
    # What both fastais share, and this one's own.
    tables = ("diagnosis/fixes/fix_table.py", f"{room}/diagnosis/fixes.py")
    rows = {site.kind: site for site in sites if site.room in tables}
    failures = [build_finding(cause, "what was said") for cause in REASONS]
    found = [finding for _, found in all_findings() for finding in found] + failures
    lines = [(f.action.name, resolve_fix(f, table).fix) for f in found if f.action and f.action.name in table]
    seldom = [(name, fix.line.format()) for name, fix in table.items() if name not in dict(lines)]
    for name, line in lines + seldom:
        yield rows[f"Fix {name}"], line


# -- the golden file -----------------------------------------------------------------------------------------------


def render_golden(sites, said):
    """Render the golden file's text."""
    lines = [HEAD]
    room = None
    for site in sites:
        if site.room != room:
            room = site.room
            lines.append(f"\n=== {room} ===\n")
        lines.append(f"{site.function}: {site.kind}")
        lines.append(_wrapped(site.template, "    "))
        lines += [_wrapped(text, "  > ") for text in said.get(site.key, [])]
        lines.append("")
    return "\n".join(lines)


def _wrapped(text, indent):
    return textwrap.fill(
        " ".join(text.split()),
        116,
        initial_indent=indent,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def read(text):
    """Read the golden file's examples: key -> texts."""
    found, room = {}, None
    for block in text.split("\n\n"):
        head, *rest = [line for line in block.splitlines() if line] or [""]
        if head.startswith("=== "):
            room = head.strip("= ")
        elif room and rest:
            function, _, kind = head.partition(": ")
            parts = "\n".join(rest).split("\n  > ")
            words = [" ".join(part.split()) for part in parts]
            found[room, function, kind, words[0]] = words[1:]
    return found


def merge_examples(sites, here, before):
    """Merge examples by key: those made here, and the earlier ones of sites that this stack cannot reach."""
    return {
        site.key: [" ".join(text.split()) for text in here.get(site, [])] or before.get(golden_key(site), [])
        for site in sites
    }


def golden_key(site):
    """Return a site's key in the golden file."""
    return (*site.key[:3], " ".join(site.template.split()))


@contextmanager
def _working_directory(folder):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def main(argv):
    """Write the golden file, or say how to."""
    if argv != ["--write"]:
        raise SystemExit("write: python -m tests.message_catalogue --write")
    sites, _ = collect_sites()
    with TemporaryDirectory() as folder, _working_directory(folder):
        here = examples(sites)
    before = read(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    GOLDEN.write_text(render_golden(sites, merge_examples(sites, here, before)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
