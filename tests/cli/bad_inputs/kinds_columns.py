"""Columns that are not there, that are there twice, or that hold no texts or no labels."""

from typing import Dict, List, Tuple

from .case import EITHER, REFUSED, Case, csv_command, write

__all__ = ["cases"]

TEXTS = ("the fox sees", "an oak hides", "two owls near moss", "a small toad", "old fern here", "red newts often")


def cases() -> List[Case]:
    """All of this kind."""
    return [*_not_there(), *_twice(), *_texts(), *_classes(), *_bits(), *_few_rows()]


def _rows(header: str, *rows: str) -> str:
    return "\n".join([header, *rows]) + "\n"


def _labelled(*labels: str, header: str = "text,kind") -> str:
    """A row for each label, with texts in turn."""
    return _rows(header, *(f"{TEXTS[i % len(TEXTS)]},{label}" for i, label in enumerate(labels)))


def _not_there() -> List[Case]:
    kind = "columns that are not there"
    texts = {
        "misspelt": "txet",
        "of another case": "Text",
        "empty": "",
        "a number": "0",
        "two at once": "text,second",
        "a column and a pattern": "te.*",
        "with a blank after it": "text ",
        "the column of labels": "kind",
    }
    found = [
        Case(
            kind,
            f"--text {name}",
            csv_command(text=given),
            given.strip() and f"'?{given[:4]}" or "--text",
            codes=EITHER if name.startswith("with") else REFUSED,
        )
        for name, given in texts.items()
    ]
    labels = {
        "misspelt": ("knid", "knid"),
        "of another case": ("KIND", "KIND"),
        "empty": ("", "--labels"),
        "commas alone": (",,", "--labels"),
        "one of two misspelt": ("animal,plnat", "plnat"),
        "the column of texts": ("text", "text"),
        "a column twice": ("animal,animal", "animal"),
        "texts among labels": ("animal,text", "text"),
        "separated by ;": ("animal;plant", "animal;plant"),
        "a list of Python": ("['animal']", "animal"),
        "names and classes": ("animal,kind", "kind"),
        "separated by blanks": ("animal plant", "animal plant"),
    }
    return [
        *found,
        *(Case(kind, f"--labels {name}", csv_command(labels=given), names) for name, (given, names) in labels.items()),
    ]


def _twice() -> List[Case]:
    kind = "columns of one name"
    pairs = "the fox sees,yes,no", "an oak,no,yes"
    given: Dict[str, Tuple[str, str]] = {
        "the label, differing": (_rows("text,kind,kind", *pairs * 12), "kind"),
        "the text, differing": (_rows("text,text,kind", *("the fox,an owl,yes", "an oak,a toad,no") * 12), "text"),
        "the label, with a blank": (_rows("text,kind, kind", *pairs * 12), "kind"),
        "the label, quoted": (_rows('text,kind,"kind"', *pairs * 12), "kind"),
        "the label, beside kind.1": (_rows("text,kind,kind,kind.1", *("fox,yes,no,yes", "oak,no,yes,no") * 12), "kind"),
    }
    return [
        Case(kind, name, csv_command(), names, prepare=write("train.csv", content))
        for name, (content, names) in given.items()
    ] + [
        Case(
            kind,
            "a label of 0 and 1, differing",
            csv_command(labels="kind,b"),
            "kind",
            prepare=write("train.csv", _rows("text,kind,b,kind", *("fox,0,1,1", "oak,1,0,0") * 12)),
        ),
        Case(
            kind,
            "another column, taken or named",
            csv_command(),
            "note",
            EITHER,
            write("train.csv", _rows("text,kind,note,note", *("fox,yes,a,b", "oak,no,c,d") * 12)),
        ),
    ]


def _texts() -> List[Case]:
    kind = "columns of texts"
    bad = {
        "all blank": _rows("text,kind", *(",yes", ",no") * 12),
        "one blank": _labelled(*"ab" * 9) + ",a\n",
        "one of blanks alone": _labelled(*"ab" * 9) + "   ,a\n",
        "one of an empty text in quotes": _labelled(*"ab" * 9) + '"",a\n',
        "one of a blank without a break": _labelled(*"ab" * 9) + "\u00a0,a\n",
    }
    taken = {
        "one text again and again": _rows("text,kind", *("the fox,yes", "the fox,no") * 12),
        "numbers": _rows("text,kind", *(f"{i},{'yes' if i % 2 else 'no'}" for i in range(24))),
        "texts of one letter": _rows("text,kind", *("a,yes", "b,no") * 12),
        "emoji": _rows("text,kind", *("\U0001f600 fox,yes", "\U0001f622,no") * 12),
        "lists as texts": _rows("text,kind", *("\"['the', 'fox']\",yes", "\"['an', 'oak']\",no") * 12),
    }
    return [
        *(
            Case(kind, name, csv_command(), "text", prepare=write("train.csv", content))
            for name, content in bad.items()
        ),
        *(
            Case(kind, name + ", taken or named", csv_command(), "text", EITHER, write("train.csv", content))
            for name, content in taken.items()
        ),
    ]


def _classes() -> List[Case]:
    kind, n = "columns of classes", range(24)
    bad = {
        "all blank": [""] * 24,
        "one blank": ["a", "b"] * 11 + ["", "a"],
        "one of blanks alone": ["a", "b"] * 11 + ["  ", "a"],
        "one class": ["a"] * 24,
        "one class and blanks around it": ["a", " a "] * 12,
        "ids": [f"id-{i}" for i in n],
        "whole numbers that are ids": [str(1000 + i) for i in n],
        "decimals with a comma": [f'"0,{i:03d}"' for i in n],
        "dates": [f"2026-11-{i + 1:02d}" for i in n],
        "moments": [f"2026-11-30T12:{i:02d}:00Z" for i in n],
        "lists": [f"\"['a', 'b{i}']\"" for i in n],
        "objects of JSON": [f'"{{""a"": {i}}}"' for i in n],
        "texts": [f"a text of row {i}" for i in n],
        "addresses": [f"https://example.org/{i}" for i in n],
        "more than half as many as rows": [f"c{i % 14}" for i in n],
    }
    taken = {
        "booleans": ["True", "False"] * 12,
        "booleans and numbers": ["True", "0"] * 12,
        "0 and 1": ["0", "1"] * 12,
        "1 and 1.0": ["1", "1.0"] * 12,
        "one of another case": ["yes", "Yes"] * 12,
        "nan and inf": ["nan", "inf"] * 12,
        "a class of one row": ["a", "b"] * 11 + ["a", "c"],
        "few lists": ["\"['a']\"", "\"['a', 'b']\""] * 12,
        "few dates": ["2026-11-30", "2026-12-01"] * 12,
        "numbers below 0": ["-1", "1"] * 12,
        "as many as half the rows": [f"c{i % 12}" for i in n],
        "a class of 2000 letters": ["a" * 2000, "b"] * 12,
        "a class with a line break": ['"a\nb"', "c"] * 12,
        "a class of a colour code": ["\x1b[31ma", "b"] * 12,
    }
    return [
        *(
            Case(kind, name, csv_command(), "kind", prepare=write("train.csv", _labelled(*labels)))
            for name, labels in bad.items()
        ),
        *(
            Case(kind, name + ", taken or named", csv_command(), "kind", EITHER, write("train.csv", _labelled(*labels)))
            for name, labels in taken.items()
        ),
    ]


def _bits() -> List[Case]:
    """The second of two columns of 0 and 1 holds something else in one row."""
    kind, found = "columns of 0 and 1", []
    values = (
        "2",
        "-1",
        "0.5",
        "yes",
        "",
        " ",
        "nan",
        '"0,5"',
        "True",
        "\uff11",
        "1e0",
        "inf",
        "0x1",
        "1;",
        "NULL",
        "2**40",
    )
    for value in values:
        codes = EITHER if value in ("True", "\uff11", "1e0") else REFUSED
        content = _labelled(*["0,1", "1,0"] * 11, f"0,{value}", header="text,toxic,rude")
        found.append(
            Case(
                kind, f"one is {value!r}", csv_command(labels="toxic,rude"), "rude", codes, write("train.csv", content)
            )
        )
    for name, pairs, codes in (
        ("a column of 0 alone", ["0,0", "1,0"], EITHER),
        ("a column of 1 alone", ["0,1", "1,1"], EITHER),
        ("two columns of 0 alone", ["0,0", "0,0"], REFUSED),
        ("a column that is blank", ["0,", "1,"], REFUSED),
    ):
        found.append(
            Case(
                kind,
                name,
                csv_command(labels="toxic,rude"),
                "toxic|rude",
                codes,
                write("train.csv", _labelled(*pairs * 12, header="text,toxic,rude")),
            )
        )
    return found


def _few_rows() -> List[Case]:
    kind = "too few rows"
    bad = {"one row": ["a"], "two rows": ["a", "b"], "three rows of three classes": ["a", "b", "c"]}
    found = [
        Case(kind, name, csv_command(), "rows?|kind", prepare=write("train.csv", _labelled(*labels)))
        for name, labels in bad.items()
    ]
    found += [
        Case(
            kind,
            f"{n} rows, taken or named",
            csv_command(),
            "rows?|kind",
            EITHER,
            write("train.csv", _labelled(*(["a", "b"] * n)[:n])),
        )
        for n in (4, 5, 9)
    ]
    return found
