"""A user's folder: which pictures there are, what their labels say, and what was decided about them.

Tables are CSV files with the columns file and label. A file is one of the folder: an absolute path or one that leads
out of it is refused, so that nothing else is read or sent. Cells that a spreadsheet would take for a formula are
written with an apostrophe before them, which is taken off when they are read.

Introduced in notebook 01.
"""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from paperlib import files
from paperlib.errors import PaperlibError
from paperlib.vdc.pictures import SUFFIXES, FilePictures

FILE_COLUMNS = ("file", "filename", "path", "image", "name")
DECISIONS = ("keep", "fix", "remove")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def safe(cell: object) -> str:
    """A cell as no spreadsheet executes it."""
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(_FORMULA) else text


def plain(cell: str | None) -> str:
    """The cell as it was before :func:`safe`."""
    text = (cell or "").strip()
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV file, every cell in quotes and none a formula."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([columns, *([safe(cell) for cell in row] for row in rows)])
    files.write(path, text.getvalue().encode("utf-8"))


def read_table(path: Path, wanted: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file by column; ``file`` may be called otherwise.

    Raises
    ------
    PaperlibError
        No such file, no CSV file, a column is missing, or no row.
    """
    said = f"{str(path)!r}"
    needs = " and ".join(wanted)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = {str(name).strip().lower(): str(name) for name in reader.fieldnames or ()}
            if where := next((columns[name] for name in FILE_COLUMNS if name in columns), None):
                columns["file"] = where
            if missing := [name for name in wanted if name not in columns]:
                there = ", ".join(columns) or "none"
                raise PaperlibError(
                    f"{said} has the columns {there}; it needs {needs}, and lacks {', '.join(missing)}."
                )
            rows = [{name: plain(row[column]) for name, column in columns.items()} for row in reader]
    except FileNotFoundError:
        raise PaperlibError(f"{said} does not exist; it must be a CSV file with the columns {needs}.") from None
    except IsADirectoryError:
        raise PaperlibError(f"{said} is a folder; it must be a CSV file with the columns {needs}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise PaperlibError(f"{said} is no CSV file: {error}.") from error
    except OSError as error:
        raise PaperlibError(f"{said} cannot be read: {error}.") from error
    if not rows:
        raise PaperlibError(f"{said} has no rows; each picture needs one: {','.join(wanted)}.")
    return rows


def inside(folder: Path, name: str, where: str) -> str:
    """``name`` as a path within the folder, with forward slashes.

    Raises
    ------
    PaperlibError
        Empty, an absolute path, or one that leads out of the folder.
    """
    if not name:
        raise PaperlibError(f"{where}: the file is empty; each row needs one.")
    if "\\" in name and not (folder / name).exists():  # written on Windows
        name = name.replace("\\", "/")
    if Path(name).is_absolute() or (len(name) > 1 and name[1] == ":"):
        try:
            name = Path(name).relative_to(folder.absolute()).as_posix()
        except ValueError:
            raise PaperlibError(
                f"{where}: file={name!r} is an absolute path outside FOLDER={str(folder)!r}; name files within it."
            ) from None
    tidy = os.path.normpath(name).replace(os.sep, "/")
    if tidy.startswith("../") or tidy in ("..", "."):
        raise PaperlibError(f"{where}: file={name!r} leads out of FOLDER={str(folder)!r}; name files within it.")
    return tidy


def labelled(folder: Path, labels: Path | None = None) -> tuple[FilePictures, list[str]]:
    """Pictures of a folder and their labels, from a CSV file or from the names of the subfolders.

    Raises
    ------
    PaperlibError
        No folder, no pictures, or see :func:`read_table` and :func:`inside`; a row without a label.
    """
    if not folder.is_dir():
        raise PaperlibError(f"FOLDER={str(folder)!r} is no folder.")
    if labels is None:
        found = sorted(p for p in folder.glob("*/**/*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise PaperlibError(
                f"FOLDER={str(folder)!r} has no pictures in subfolders; name their labels with --labels, a CSV file"
                " with the columns file and label."
            )
        return FilePictures(tuple(found), folder), [p.relative_to(folder).parts[0] for p in found]
    names, given = [], []
    for line, row in enumerate(read_table(labels, ("file", "label")), 2):
        where = f"{str(labels)!r}, row {line}"
        names.append(inside(folder, row["file"], where))
        if not row["label"]:
            raise PaperlibError(f"{where}: the label of {row['file']!r} is empty; write one, or leave the row out.")
        given.append(row["label"])
    return FilePictures(tuple(folder / name for name in names), folder), given


@dataclass(frozen=True)
class Decision:
    """What a person decided about one picture."""

    what: str
    """``keep``: the label is right; ``fix``: it is ``label``; ``remove``: the picture does not belong."""
    label: str


def read_decisions(path: Path, names: Iterable[str], classes: Sequence[str]) -> dict[str, Decision]:
    """Decisions by name, from a CSV file with the columns file and decision, and label for what is fixed.

    Raises
    ------
    PaperlibError
        See :func:`read_table`; a file that is not among ``names``, another word than keep, fix or remove, a fix without
        a label of ``classes``.
    """
    there, out = set(names), {}
    for line, row in enumerate(read_table(path, ("file", "decision")), 2):
        what, label, where = row["decision"].lower(), row.get("label", ""), f"{str(path)!r}, row {line}"
        if not what:
            continue
        if what not in DECISIONS:
            raise PaperlibError(f"{where}: decision={what!r} must be one of {', '.join(DECISIONS)}.")
        if row["file"] not in there:
            raise PaperlibError(f"{where}: file={row['file']!r} is none of the pictures.")
        if what == "fix" and label not in classes:
            raise PaperlibError(f"{where}: label={label!r} is no class; a fix needs one of {', '.join(classes[:10])}.")
        out[row["file"]] = Decision(what, label)
    return out
