"""The code blocks of a Markdown page, and the mark above each that says who runs it. No fastai, no torch here.

A mark is an HTML comment on the line above the block, so no reader sees it:

    <!-- runs: v1 v2; given: train.csv folder -->   run on these stacks, with these things ready (block_fixtures.py)
    <!-- runs: v1; continues -->                    in the names and the folder that the block before it left
    <!-- runs: v1 v2; exit: 1 -->                   a command's exit code, where that is not 0
    <!-- runs: v1 v2; rate: 1e-2 -->                the page's 1e-4 suits pretrained models; tiny ones take this
    <!-- run by: tests/docs/test_stuck_metric_causes.py -->           another test runs it, as it stands there
    <!-- not run: needs two GPUs -->                and why; it must still be Python

``<!-- every block: ... -->``, anywhere on a page, holds for all blocks of the page that have no mark of their own.
"""

import ast
import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

ROOT = Path(__file__).parents[2]
PAGES_RATE = "1e-4"
STACKS = ("v1", "era", "v2")
CODE = ("python", "pycon", "console", "bash", "sh", "yaml")
RUNNABLE = ("python", "console", "yaml")
FENCE = re.compile(r"^ *(?P<ticks>```+)(?P<language>[^`\s]*)")
MARK = re.compile(r"<!-- (?P<every>every block: )?(?P<kind>runs|run by|not run): (?P<rest>.+?) -->")


class BadMark(Exception):
    """A block whose mark is missing or says nothing; the message says what to write."""


class Mark(NamedTuple):
    kind: str
    said: str  # who runs it, or why nobody does
    stacks: Tuple[str, ...] = ()
    given: Tuple[str, ...] = ()
    continues: bool = False
    exit_code: int = 0
    rate: str = PAGES_RATE


class Block(NamedTuple):
    page: str
    line: int  # of its first line of code
    language: str
    text: str
    mark: Mark

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(path: Path, page: str = "") -> List[Block]:
    """All code blocks of a page, in order."""
    page = page or str(path.relative_to(ROOT))
    lines = path.read_text(encoding="utf-8").splitlines()
    marks = {number: mark_of(line, f"{page}:{number + 1}") for number, line in enumerate(lines) if MARK.search(line)}
    usual = next((mark for number, mark in marks.items() if MARK.search(lines[number]).group("every")), None)
    found = []
    for first, language, text in fenced(lines):
        if language in CODE:
            where, above = f"{page}:{first + 1}", marks.get(first - 2)
            if above is not None and MARK.search(lines[first - 2]).group("every"):
                above = None
            mark = above or usual or no_mark(where, language)
            found.append(checked(Block(page, first + 1, language, text.replace(PAGES_RATE, mark.rate), mark)))
    return found


def fenced(lines):
    """Each fenced block: where its code begins, its language, its text. A block in a list is brought to the margin."""
    inside: Optional[Tuple[str, int, str]] = None
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if inside is None and fence:
            if not fence.group("language").startswith("{"):  # a directive's content is read as any other
                inside = fence.group("ticks"), number + 1, fence.group("language")
        elif inside and line.strip() == inside[0]:
            indent = len(line) - len(line.lstrip())
            yield inside[1], inside[2], "\n".join(row[indent:] for row in lines[inside[1] : number]) + "\n"
            inside = None


def mark_of(line: str, where: str) -> Mark:
    mark = MARK.search(line)
    kind, rest = mark.group("kind"), mark.group("rest").strip()
    if kind == "run by" and not (ROOT / rest).is_file():
        raise BadMark(f"{where}: run by {rest}: no such file")
    if kind != "runs":
        return Mark(kind, rest)
    stacks, *parts = (part.strip() for part in rest.split(";"))
    said: Dict[str, str] = dict((part.split(": ", 1) + [""])[:2] for part in parts)
    unknown = (set(stacks.split()) - set(STACKS)) | (set(said) - {"given", "continues", "exit", "rate"})
    if unknown or not stacks:
        raise BadMark(
            f"{where}: {', '.join(sorted(unknown)) or 'no stack'}: expected runs: {' '.join(STACKS)}, some "
            f"of them, then any of '; given: NAMES', '; continues', '; exit: CODE', '; rate: RATE'"
        )
    return Mark(
        kind,
        "",
        tuple(stacks.split()),
        tuple(said.get("given", "").split()),
        "continues" in said,
        int(said.get("exit", 0)),
        said.get("rate", PAGES_RATE),
    )


def no_mark(where: str, language: str):
    raise BadMark(
        f"{where}: a block of {language} that says nowhere who runs it. Write on the line above it one of\n"
        f"    <!-- runs: v1 v2; given: train.csv folder -->\n    <!-- not run: the reason -->\n"
        f"tests/docs/code_blocks.py has all that can be said, tests/docs/block_fixtures.py what can be given."
    )


def checked(block: Block) -> Block:
    if block.language == "python":
        try:
            ast.parse(block.text)
        except SyntaxError as error:
            raise BadMark(f"{block.page}:{block.line - 1 + error.lineno}: no Python: {error.msg}") from None
    if block.mark.kind == "runs" and block.language not in RUNNABLE:
        raise BadMark(f"{block.where}: {block.language} cannot be run here; expected {', '.join(RUNNABLE)}")
    return block


def compiled(block: Block):
    """The block's code, whose lines are the page's."""
    return compile(ast.increment_lineno(ast.parse(block.text), block.line - 1), str(ROOT / block.page), "exec")


def chains(blocks: List[Block], stack: str) -> List[List[Block]]:
    """The blocks of a page that run on `stack`, each with those that continue it."""
    found: List[List[Block]] = []
    for block in blocks:
        if block.mark.kind == "runs" and stack in block.mark.stacks:
            if not block.mark.continues:
                found.append([block])
            elif found:
                found[-1].append(block)
            else:
                raise BadMark(f"{block.where}: continues nothing that runs on {stack}")
    return found
