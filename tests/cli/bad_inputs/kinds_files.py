"""Tables that are missing, foreign, damaged or in another encoding."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import sqlite3
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Dict, List

from .case import EITHER, MODEL, Case, Prepare, csv_command, write
from .room import FACTORIES, table_text

__all__ = ["cases"]


def cases() -> List[Case]:
    """All of this kind."""
    return [*_missing(), *_foreign(), *_damaged(), *_encoded(), *_codecs(), *_separators()]


# -- missing -------------------------------------------------------------------------------------------------------


def _missing() -> List[Case]:
    def link(target: str) -> Prepare:
        return lambda here: os.symlink(target, str(here / "link.csv"))

    def unreadable(here: Path) -> None:
        (here / "train.csv").chmod(0)

    kind = "missing tables"
    long = "x" * 300 + ".csv"
    found = [
        Case(kind, given or "an empty name", csv_command(csv=given), names)
        for given, names in {
            "missing.csv": r"missing\.csv",
            "no/such/train.csv": "no/such/train",
            "": "--csv",
            MODEL: MODEL,
            ".": r"--csv|'\.'|: \.:",
            "~/train.csv": "~/train",
            "http://127.0.0.1:9/train.csv": "127",
            "s3://bucket/train.csv": "bucket",
            "-": r"--csv|'-'|: -:",
            "/dev/null": "/dev/null",
            "/dev/zero": "/dev/zero",
            "*.csv": r"\*\.csv",
            "train.csv ": r"train\.csv ",
            "train.csv/x": r"train\.csv/x",
            "Train.csv": r"Train\.csv",
            "train": "train",
        }.items()
    ]
    return [
        *found,
        Case(kind, "a name of 300 letters", csv_command(csv=long), "xxx"),
        Case(kind, "a name with a line break", csv_command(csv="two\nlines.csv"), "two"),
        Case(kind, "a name that is no UTF-8", csv_command(csv="\udcff.csv"), r"\.csv"),
        Case(kind, "a link to nothing", csv_command(csv="link.csv"), r"link\.csv", prepare=link("nowhere.csv")),
        Case(kind, "a link to itself", csv_command(csv="link.csv"), r"link\.csv", prepare=link("link.csv")),
        Case(kind, "a file that may not be read", csv_command(), r"train\.csv", prepare=unreadable, ordinary_user=True),
    ]


# -- foreign -------------------------------------------------------------------------------------------------------


def _zip(*names: str, content: bytes = b"nothing of a table") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return made.getvalue()


def _tar(name: str, content: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def _arrow(writer: str) -> bytes:
    import pandas

    made = io.BytesIO()
    getattr(pandas.DataFrame({"text": ["a", "b"], "kind": ["x", "y"]}), writer)(made)
    return made.getvalue()


def _database(here: Path) -> None:
    (here / "train.csv").unlink()
    connection = sqlite3.connect(str(here / "train.csv"))
    connection.execute("create table train (text, kind)")
    connection.commit()
    connection.close()


def _picture() -> bytes:
    import matplotlib

    return (Path(matplotlib.get_data_path()) / "images" / "home.png").read_bytes()


def _foreign_contents() -> Dict[str, Any]:
    table = table_text().encode()
    return {
        "a picture": _picture(),
        "a zip archive": _zip("readme.txt"),
        "a zip archive of the table": _zip("train.csv", content=table),
        "a pickle": pickle.dumps({"text": ["a"], "kind": ["b"]}),
        "a pickle of protocol 0": pickle.dumps({"text": ["a"]}, 0),
        "gzip without its ending": gzip.compress(table),
        "parquet": _arrow("to_parquet"),
        "feather": _arrow("to_feather"),
        "a tar archive": _tar("train.csv", table),
        "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< >>\nendobj\n",
        "a program": b"\x7fELF\x02\x01\x01" + bytes(99),
        "a web page": "<!DOCTYPE html>\n<html><body>404, not found</body></html>\n",
        "JSON": '[{"text": "a"}]\n',
        "lines of JSON": '{"text": "a", "kind": "b"}\n' * 9,
        "Python": FACTORIES,
        "YAML": "text: a\nkind: b\n",
        "random bytes": bytes((i * i * 7 + i) % 251 for i in range(4000)),
        "bytes of 255": b"\xff" * 500,
        "a Git LFS pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n",
        "a sound": b"RIFF\x24\x08\x00\x00WAVEfmt " + bytes(200),
        "an array": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'}\n",
    }


def _foreign() -> List[Case]:
    kind, name = "foreign files", r"train\.csv"
    found = [
        Case(kind, f"{what} named .csv", csv_command(), name, prepare=write("train.csv", content))
        for what, content in _foreign_contents().items()
    ]
    found.append(Case(kind, "a database named .csv", csv_command(), name, prepare=_database))
    found += [
        Case(
            kind,
            f"a table named .{ending}, not packed",
            csv_command(csv=f"train.{ending}"),
            rf"train\.{ending}",
            prepare=write(f"train.{ending}", table_text()),
        )
        for ending in ("gz", "csv.gz", "zip", "bz2", "xz", "zst", "tar", "tar.gz")
    ]
    found += [
        Case(kind, what, csv_command(csv="train.zip"), r"train\.zip", prepare=write("train.zip", content))
        for what, content in {
            "a zip archive of two files": _zip("a.csv", "b.csv"),
            "an empty zip archive": _zip(),
            "a zip archive of a picture": _zip("a.png", content=_picture()),
        }.items()
    ]
    return found


# -- damaged -------------------------------------------------------------------------------------------------------


def _damaged() -> List[Case]:
    text, kind, name = table_text(), "damaged tables", r"train\.csv"
    table, header = text.encode(), "text,kind\n"
    rows = "the fox sees,yes\nan oak,no\n" * 12
    packed = {
        "gz": gzip.compress(table),
        "bz2": bz2.compress(table),
        "xz": lzma.compress(table),
        "zip": _zip("train.csv", content=table),
    }
    found = [
        Case(
            kind,
            f"a .{ending} cut in half",
            csv_command(csv=f"train.csv.{ending}"),
            rf"train\.csv\.{ending}",
            prepare=write(f"train.csv.{ending}", content[: len(content) // 2]),
        )
        for ending, content in packed.items()
    ]
    found += [
        Case(
            kind,
            f"a .{ending} of no bytes",
            csv_command(csv=f"train.csv.{ending}"),
            rf"train\.csv\.{ending}",
            prepare=write(f"train.csv.{ending}", b""),
        )
        for ending in packed
    ]
    crc = packed["gz"][:-8] + b"\0\0\0\0" + packed["gz"][-4:]
    found.append(
        Case(
            kind,
            "a .gz with a wrong checksum",
            csv_command(csv="train.csv.gz"),
            r"train\.csv\.gz",
            prepare=write("train.csv.gz", crc),
        )
    )
    contents = {
        "no bytes": "",
        "line breaks alone": "\n\n\n",
        "blanks alone": "   ",
        "a byte order mark alone": "\ufeff",
        "a header alone": header,
        "a header alone, without a line break": header.strip(),
        "NUL bytes alone": bytes(4096),
        "cut within a character": (header + rows).encode() + "the f\xf6".encode()[:-1],
        "a quote never closed": header + rows + '"the fox,yes\n' + rows,
        "a quote never closed in the header": '"text,kind\n' + rows,
        "one row of more fields": header + rows + "the fox, the owl, and the toad,yes\n" + rows,
        "all rows of more fields": header + "the fox,the owl,yes\n" * 20,
        "one row of fewer fields": header + rows + "the fox\n",
        "marks of a merge": header + rows + "<<<<<<< HEAD\n" + rows,
        "a line of sep= first": "sep=,\n" + header + rows,
        "a remark first": "# made by hand\n" + header + rows,
        "an empty header": ",,\n" + "a,b,c\n" * 9,
        "no header": rows,
        "binary after the header": header.encode() + bytes(range(128, 256)) * 4,
    }
    found += [
        Case(kind, what, csv_command(), name + "|'kind'|'text'", prepare=write("train.csv", content))
        for what, content in contents.items()
    ]
    found.append(
        Case(
            kind,
            "the header a second time, in the middle",
            csv_command(labels="a,b"),
            "'a'|'b'",
            prepare=write("train.csv", ("text,a,b\nthe fox,0,1\nan oak,1,0\nan owl,1,1\n") * 8),
        )
    )
    found += [
        Case(kind, what, csv_command(), name + "|text|kind", EITHER, write("train.csv", header + content))
        for what, content in {
            "NUL within texts": "the fo\0x,yes\nan oak,no\n" * 12,
            "NUL within classes": "the fox,y\0es\nan oak,no\n" * 12,
            "line breaks of old Macs": rows.replace("\n", "\r"),
            "control characters": "the \x01\x1b[2J,yes\nan oak,no\n" * 12,
            "texts of characters without a width": "\u200b\u200d,yes\nan oak,no\n" * 12,
            "texts of no known word": "\u7b2c\u4e00,yes\n\u7b2c\u4e8c,no\n" * 12,
            "texts of special tokens": "[PAD],yes\n[SEP],no\n" * 12,
        }.items()
    ]
    return found


# -- encodings -----------------------------------------------------------------------------------------------------


def _encoded() -> List[Case]:
    text = table_text().replace("fox", "f\xf6x")
    half = text.encode().replace("\xf6".encode(), b"\xed\xa0\xbd")
    contents = {
        "UTF-16 with a mark": text.encode("utf-16"),
        "UTF-16 without a mark": text.encode("utf-16-le"),
        "UTF-16 of big ends": b"\xfe\xff" + text.encode("utf-16-be"),
        "UTF-32": text.encode("utf-32"),
        "latin-1": text.encode("latin-1"),
        "curly quotes of Windows": text.replace("\xf6", "\u2019").encode("cp1252"),
        "Shift JIS": text.replace("\xf6", "\u7b2c").encode("shift-jis"),
        "halves of characters": half,
        "overlong UTF-8": text.encode().replace("\xf6".encode(), b"\xc0\xaf"),
        "latin-1 in the last row": table_text().encode() + "f\xf6x".encode("latin-1"),
        "latin-1 in the header": table_text().replace("plural", "pl\xfcral").encode("latin-1"),
        "GB 18030": text.replace("\xf6", "\u7b2c").encode("gb18030"),
    }
    return [
        Case("odd encodings", what, csv_command(), r"train\.csv", prepare=write("train.csv", content))
        for what, content in contents.items()
    ]


def _codecs() -> List[Case]:
    umlauts = table_text().replace("fox", "f\xf6x")
    names = "--encoding|{}"
    found = [
        Case(
            "odd encodings",
            f"--encoding {codec!r}",
            csv_command(encoding=codec),
            names.format(codec or "--enc"),
            prepare=write("train.csv", umlauts),
        )
        for codec in (
            "utf-99",
            "",
            " ",
            "base64",
            "rot13",
            "hex",
            "zlib",
            "utf-16",
            "utf-32",
            "ascii",
            "undefined",
            "idna",
            "mbcs",
            "utf-8,latin-1",
            "None",
        )
    ]
    return [
        *found,
        Case(
            "odd encodings",
            "--encoding utf-7, which it is not",
            csv_command(encoding="utf-7"),
            r"utf-7|train\.csv",
            EITHER,
            write("train.csv", umlauts),
        ),
    ]


def _separators() -> List[Case]:
    rows = "text,kind\n" + "the fox sees,yes\nan oak,no\n" * 12
    found = [
        Case(
            "separators",
            f"a table with {other!r}",
            csv_command(),
            r"--sep|train\.csv",
            prepare=write("train.csv", rows.replace(",", other)),
        )
        for other in (";", "\t", "|", ":", " , ; ")
    ]
    return found[:4] + [
        Case(
            "separators",
            f"--sep {given!r}",
            csv_command(sep=given),
            r"--sep|train\.csv",
            prepare=write("train.csv", rows),
        )
        for given in ("", ";", "\\t", "(", "\n", '"', ",,", "\\", "[", "*", "comma", "\u00a7")
    ]
