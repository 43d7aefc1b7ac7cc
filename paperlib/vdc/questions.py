"""VQG: the questions. From a file, from templates, or from a chat model by way of a file that a person has read.

Zhu et al., "VDC: Versatile Data Cleanser Based on Visual-Linguistic Inconsistency by Multimodal Large Language Models",
ICLR 2024 (arXiv 2309.16211), the stage of visual question generation. General questions ask for a description; specific
ones are about one label, and the right answer is yes.

Differences from the paper
1. The wording is ours. The numbers of questions are the paper's: 2 general and 4 specific for CIFAR-10, 2 and 6 for
   ImageNet.
2. Each question may say which attribute it is about, and the bank of which classes the attribute is true, so that
   engines which know attributes can answer, and the worth of a question can be computed before it is asked.
3. A chat model's suggestions are written to a file with ``reviewed: false``, which is refused until a person has
   changed it.

Introduced in notebook 01.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from paperlib import files
from paperlib.errors import PaperlibError, choose
from paperlib.vdc.types import Question

FOLDER = Path(__file__).parent / "bank"
BANKS = ("cifar10", "digits", "template")
"""The banks that come along; ``template`` fits any class names."""


@dataclass(frozen=True)
class QuestionBank:
    """Questions for a set of classes.

    Attributes
    ----------
    name : str
    classes : tuple of str
        The class names, as the data set writes them.
    general : tuple of Question
        Asked about every picture.
    specific : mapping of str to tuple of Question
        Class name -> the questions asked about a picture that carries this label.
    synonyms : mapping of str to tuple of str
        Class name -> other words for it, for reading descriptions.
    attributes : mapping of str to frozenset of str
        Attribute -> classes of which it is true. Every class name is an attribute of itself.
    imagenet : mapping of str to tuple of int
        Class name -> positions among the 1,000 ImageNet classes; empty where they have no such class.
    """

    name: str
    classes: tuple[str, ...]
    general: tuple[Question, ...]
    specific: Mapping[str, tuple[Question, ...]]
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    attributes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    imagenet: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def asked(self, label: str) -> tuple[Question, ...]:
        """All questions about a picture with this label, general ones first."""
        return self.general + self.specific[label]

    def limited(self, general: int | None = None, specific: int | None = None) -> "QuestionBank":
        """The first so many questions of each kind; None: all of them.

        Raises
        ------
        PaperlibError
            No question would be left, or a number is negative.
        """
        for argument, n in (("general", general), ("specific", specific)):
            if n is not None and n < 0:
                raise PaperlibError(f"{argument}={n} is negative; it must be 0 or more.")
        bank = replace(
            self,
            general=self.general[:general],
            specific={label: questions[:specific] for label, questions in self.specific.items()},
        )
        if not all(bank.asked(label) for label in bank.classes):
            raise PaperlibError(f"general={general} and specific={specific} leave no question to ask.")
        return bank

    def without(self, texts: Sequence[str]) -> "QuestionBank":
        """The bank without the questions of these texts (see ``CleanReport.per_question`` for which are worth it)."""
        drop = set(texts)
        return replace(
            self,
            general=tuple(q for q in self.general if q.text not in drop),
            specific={k: tuple(q for q in qs if q.text not in drop) for k, qs in self.specific.items()},
        )


def _question(entry: Any, where: str, kind: str = "specific") -> Question:
    if isinstance(entry, str):
        entry = {"text": entry}
    if not isinstance(entry, Mapping) or not str(entry.get("text", "")).strip():
        raise PaperlibError(f"{where}: {entry!r} is no question; write text: ..., and attribute: ... if it has one.")
    for name in entry:
        choose(f"{where}: key", str(name), ("text", "attribute", "expected", "lang"))
    expected = {True: "yes", False: "no"}.get(entry.get("expected", "yes"), entry.get("expected", "yes"))
    choose(f"{where}: expected", str(expected), ("yes", "no"))
    return Question(
        text=str(entry["text"]).strip(),
        kind=kind,  # type: ignore[arg-type]
        expected=str(expected),
        attribute=str(entry.get("attribute", "")),
        lang=str(entry.get("lang", "en")),
    )


def _positions(entries: Sequence[int | str]) -> tuple[int, ...]:
    """``[3, "7-9"]`` -> (3, 7, 8, 9)."""
    out: list[int] = []
    for entry in entries:
        first, _, last = str(entry).partition("-")
        out.extend(range(int(first), int(last or first) + 1))
    if not all(0 <= k < 1000 for k in out):
        raise ValueError(f"imagenet: {entries} are not among its 1,000 classes")
    return tuple(out)


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PaperlibError(f"questions={str(path)!r} does not exist; give a YAML file or one of {BANKS}.") from None
    except OSError as error:
        raise PaperlibError(f"questions={str(path)!r} cannot be read: {error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise PaperlibError(
            f"questions={str(path)!r}{where} is no valid YAML ({getattr(error, 'problem', error)}); put questions in"
            " quotes."
        ) from error
    if not isinstance(content, dict) or "specific" not in content:
        raise PaperlibError(f"questions={str(path)!r} lacks the key 'specific'.")
    if content.get("reviewed") is False:
        raise PaperlibError(
            f"questions={str(path)!r} was written by a model and not reviewed; read it, then set reviewed: true in it."
        )
    return content


def from_file(path: Path | str, classes: Sequence[str] = ()) -> QuestionBank:
    """A bank from a YAML file; ``classes`` checks that it knows the data set's.

    Raises
    ------
    PaperlibError
        No such file, not the form of a bank, not reviewed, or a class without questions.
    """
    path = Path(path)
    content = _read(path)
    try:
        return _made(content, path, classes)
    except (TypeError, ValueError, AttributeError) as error:
        raise PaperlibError(
            f"questions={str(path)!r} is no question bank ({error}); specific: holds lists of questions by label,"
            " attributes: and imagenet: lists by name, as in the banks that come along."
        ) from error


def _made(content: dict[str, Any], path: Path, classes: Sequence[str]) -> QuestionBank:
    for key in ("specific", "synonyms", "attributes", "imagenet"):
        value = content.get(key) or {}
        if isinstance(value, Mapping) and not all(isinstance(entry, list) for entry in value.values()):
            raise TypeError(f"{key}: has an entry that is no list")
    if not isinstance(content.get("general") or [], list):
        raise TypeError("general: is no list")
    if isinstance(content["specific"], list):
        return _fill(content, path, tuple(classes))
    specific = {
        str(label): tuple(_question(q, f"{path.name}, {label}") for q in questions or ())
        for label, questions in content["specific"].items()
    }
    names = tuple(map(str, classes)) or tuple(specific)
    for name in names:
        if name not in specific:
            raise PaperlibError(
                f"questions={path.name!r} has none for the class {name!r}; it knows {', '.join(specific)}. "
                "questions='template' fits any class names."
            )
    attributes = {str(k): frozenset(map(str, v)) for k, v in (content.get("attributes") or {}).items()}
    attributes |= {name: frozenset([name]) for name in specific}
    return QuestionBank(
        name=str(content.get("name", path.stem)),
        classes=names,
        general=tuple(_question(q, f"{path.name}, general", "general") for q in content.get("general") or ()),
        specific={name: specific[name] for name in names},
        synonyms={str(k): tuple(map(str, v)) for k, v in (content.get("synonyms") or {}).items()},
        attributes=attributes,
        imagenet={str(k): _positions(v) for k, v in (content.get("imagenet") or {}).items()},
    )


def with_article(label: str) -> str:
    """``cat`` -> ``a cat``, ``airplane`` -> ``an airplane``."""
    return f"{'an' if label[:1].lower() in 'aeiou' else 'a'} {label}"


def _fill(content: Mapping[str, Any], path: Path, classes: tuple[str, ...]) -> QuestionBank:
    """A bank whose questions are templates, with the class names put in."""
    if not classes:
        raise PaperlibError(f"questions={path.name!r} holds templates; give the class names to put in.")
    templates = [_question(q, f"{path.name}, specific") for q in content["specific"]]
    specific = {}
    for label in classes:
        # ImageNet writes several names of one class with commas; the first is the common one
        word = label.split(",")[0].replace("_", " ").strip()
        specific[label] = tuple(
            replace(q, text=q.text.replace("{a label}", with_article(word)).replace("{label}", word), attribute=label)
            for q in templates
        )
    return QuestionBank(
        name=str(content.get("name", path.stem)),
        classes=classes,
        general=tuple(_question(q, f"{path.name}, general", "general") for q in content.get("general") or ()),
        specific=specific,
        synonyms={
            label: tuple(w.strip() for w in re.split(r"[,/]", label)[1:] if w.strip())
            for label in classes
            if re.search(r"[,/]", label)
        },
        attributes={label: frozenset([label]) for label in classes},
    )


def bank(name: str | Path, classes: Sequence[str]) -> QuestionBank:
    """A bank by name (``cifar10``, ``digits``, ``template``), ``auto``, or the path of a YAML file.

    ``auto`` is the bank that knows all these class names, else ``template``. Names that are numbers may be anything:
    they get the questions about written digits only where ``digits`` is asked for.

    Raises
    ------
    PaperlibError
        Unknown name, or see :func:`from_file`.
    """
    classes = tuple(map(str, classes))
    if name == "auto":
        known = _read(FOLDER / "cifar10.yaml")["specific"]
        name = "cifar10" if set(classes) <= set(map(str, known)) else "template"
    if str(name) in BANKS:
        return from_file(FOLDER / f"{name}.yaml", classes)
    if Path(name).suffix in (".yaml", ".yml"):
        return from_file(name, classes)
    choose("questions", str(name), ("auto", *BANKS))
    raise AssertionError


REQUEST = (
    "A photo is supposed to show {label}. Write {n} short questions about the photo that have the answer yes if it"
    " does, and mostly no if it shows something else. Ask about what can be seen: the thing itself, its parts, shape"
    ' and surroundings. Reply with a JSON list of strings, nothing else, such as ["Is there ...?", "Does it have'
    ' ...?"].'
)


def suggest(chat: Callable[[str], str], classes: Sequence[str], path: Path | str, n: int = 4) -> Path:
    """Ask a chat model for specific questions and write them to a YAML file for a person to review.

    Parameters
    ----------
    chat
        Text in, text out; for instance ``OpenAIEngine(...).chat``.
    classes
        Class names.
    path
        The file to write. It says ``reviewed: false``, and is refused as a bank until that is changed.
    n
        Questions per class, 1 or more.

    Raises
    ------
    PaperlibError
        The file exists, ``n`` is below 1, or the model's reply is no list of questions in three tries.
    """
    import yaml

    path = Path(path)
    if path.exists():
        raise PaperlibError(f"path={str(path)!r} exists; a reviewed bank is not overwritten.")
    if n < 1:
        raise PaperlibError(f"n={n} is too small; it must be 1 or more.")
    specific = {}
    for label in classes:
        texts: list[str] = []
        for _ in range(3):
            if texts := listed(chat(REQUEST.format(label=with_article(str(label)), n=n))):
                break
        if not texts:
            raise PaperlibError(f"the model's reply for {label!r} was no JSON list of questions, three times over.")
        specific[str(label)] = [{"text": text} for text in texts[:n]]
    content = {
        "name": path.stem,
        "reviewed": False,
        "general": list(_read(FOLDER / "template.yaml")["general"]),
        "specific": specific,
    }
    text = (
        "# Suggested by a chat model. Read every question, delete what cannot be seen in a picture, then set reviewed:"
        " true.\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    )
    files.write(path, text.encode("utf-8"))
    return path


def listed(reply: str) -> list[str]:
    """The strings of the JSON list inside a reply; empty where there is none (cut off, or another form)."""
    found = re.search(r"\[.*\]", reply, re.S)
    try:
        items = json.loads(found.group()) if found else []
    except json.JSONDecodeError:
        return []
    return [" ".join(item.split()) for item in items if isinstance(item, str) and item.strip().endswith("?")]
