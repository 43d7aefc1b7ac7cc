"""``paperlib vdc clean FOLDER``: a folder of pictures in, a ranked list of dirty samples with the reasons out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paperlib.cli.console import Commands
from paperlib.errors import PaperlibError, choose

if TYPE_CHECKING:
    from paperlib.vdc.pictures import FilePictures
    from paperlib.vdc.types import VQAEngine

app = typer.Typer(
    cls=Commands,
    help="Clean a data set by asking a model about its pictures: clean, suggest, export.",
    no_args_is_help=True,
)

_FILE_COLUMNS = ("file", "filename", "path", "image", "name")

BaseUrl = Annotated[str, typer.Option(help="openai: address of the endpoint, up to and including /v1.")]
Model = Annotated[str, typer.Option(help="openai: the model there. transformers, clip: name or folder of the model.")]
KeyVariable = Annotated[
    str, typer.Option("--api-key-env", help="openai: name of the environment variable that holds the key.")
]


@app.command()
def clean(
    folder: Annotated[Path, typer.Argument(help="Folder with the pictures.", show_default=False)],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV file with the columns file and label. Without it, the name of a subfolder is the label."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("report"),
    engine: Annotated[str, typer.Option(help="embedded, openai, transformers, clip or replay.")] = "embedded",
    base_url: BaseUrl = "",
    model: Model = "",
    api_key_env: KeyVariable = "",
    answers: Annotated[Path | None, typer.Option(help="replay: the file that `paperlib vdc export` wrote.")] = None,
    questions: Annotated[str, typer.Option(help="auto, cifar10, digits, template, or a YAML file.")] = "auto",
    judge: Annotated[
        str, typer.Option(help="Who compares descriptions with labels: lexical or embedding.")
    ] = "lexical",
    classes: Annotated[
        str, typer.Option(help="Class names, separated by commas. Default: the labels that occur.", show_default=False)
    ] = "",
    reference: Annotated[
        Path | None, typer.Option(help="CSV file like --labels: pictures in FOLDER whose label is known to be right.")
    ] = None,
    target_fpr: Annotated[
        float | None, typer.Option(help="Share of clean samples that may be flagged, in (0, 1); needs --reference.")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Threshold of the score. [default: 0.5]")] = None,
    score: Annotated[str, typer.Option(help="vote, mean_p or logit_mean.", show_default=False)] = "",
    tie: Annotated[str, typer.Option(help="A score equal to the threshold: clean or dirty.")] = "clean",
    cache: Annotated[Path | None, typer.Option(help="File of answers. [default: OUT/answers.sqlite]")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="openai: requests at a time.")] = 8,
    timeout: Annotated[float, typer.Option(min=0.1, help="openai: seconds for one request.")] = 60.0,
    retries: Annotated[int, typer.Option(min=0, help="openai: further tries of a failed request.")] = 5,
    price_in: Annotated[float | None, typer.Option(help="USD per million tokens sent.")] = None,
    price_out: Annotated[float | None, typer.Option(help="USD per million tokens received.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="Stop before more USD than this are spent.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked and what it costs; ask nothing.")
    ] = False,
) -> None:
    """Find pictures that do not agree with their label.

    Writes samples.csv, dirty.txt, questions.csv, settings.json and index.html. Stopped at any moment, the same command goes
    on: answers are kept in the cache.
    """
    pictures, given = _labelled(folder, labels)
    names = [name.strip() for name in classes.split(",") if name.strip()] or sorted(set(given))
    known = None if reference is None else _labelled(folder, reference)
    choose("tie", tie, ("clean", "dirty"))
    options: dict[str, Any] = {"timeout_s": timeout, "retries": retries} if engine == "openai" else {}
    answerer = _engine(engine, base_url, model, api_key_env, answers, options)
    priced = price_in is not None or price_out is not None

    from paperlib.vdc.asking import Policy, Price, estimate
    from paperlib.vdc.cache import AnswerCache
    from paperlib.vdc.cleanse import cleanse
    from paperlib.vdc.questions import bank

    price = Price(price_in or 0.0, price_out or 0.0) if priced else None
    where = cache or out / "answers.sqlite"
    store = AnswerCache(where)
    try:
        if answerer.info.concurrent or dry_run:  # what costs time or money is announced
            if answerer.info.needs_reference:
                typer.echo(
                    f"{len(pictures):,} pictures are answered on this machine; nothing is sent and nothing costs money."
                )
            else:
                usage, done = estimate(pictures, given, bank(questions, names), answerer, store, price)
                cost = f", about {usage.cost_usd:.2f} USD" if priced else ""
                typer.echo(
                    f"{len(pictures):,} pictures: {usage.calls:,} questions to ask, {done:,} answered before; about "
                    f"{usage.prompt_tokens:,} tokens to send and {usage.completion_tokens:,} to receive{cost}."
                )
        if dry_run:
            return
        report = cleanse(
            pictures,
            given,
            names,
            engine=answerer,
            questions=questions,
            judge=judge,
            score=score,
            alpha=alpha,
            target_fpr=target_fpr,
            tie=tie,
            reference=known,
            cache=store,
            policy=Policy(concurrency=concurrency, max_cost_usd=max_cost, progress=True),
            price=price,
        )
    finally:
        store.close()
        answerer.close()
    report.to_csv(out)
    page = report.to_html(out / "index.html")
    counts = report.counts()
    cost = f", {report.usage.cost_usd:.4f} USD" if priced else ""
    typer.echo(
        f"{counts['dirty']} of {len(pictures)} flagged, {counts['clean']} clean, {counts['undecided']} undecided, "
        f"{counts['unreadable']} unreadable, {counts['unknown']} with an unknown label. "
        f"{report.usage.calls} questions asked{cost}, {report.from_cache} answered before, {report.errors} without answer."
    )
    if report.settings["note"]:
        typer.echo(report.settings["note"])
    typer.echo(str(page))


@app.command()
def suggest(
    classes: Annotated[str, typer.Argument(help="Class names, separated by commas.", show_default=False)],
    path: Annotated[Path, typer.Argument(help="YAML file to write.", show_default=False)],
    base_url: BaseUrl = "",
    model: Model = "",
    api_key_env: KeyVariable = "",
    n: Annotated[int, typer.Option(min=1, help="Questions per class.")] = 4,
) -> None:
    """Let a chat model suggest questions. They are written to a file for you to review; it is refused until you have."""
    from paperlib.vdc import questions

    names = [name.strip() for name in classes.split(",") if name.strip()]
    if not names:
        raise PaperlibError("CLASSES is empty; give class names, separated by commas.")
    endpoint: Any = _engine("openai", base_url, model, api_key_env, None, {})
    try:
        questions.suggest(endpoint.chat, names, path, n)
    finally:
        endpoint.close()
    typer.echo(f"{path}: read the questions, delete bad ones, then set reviewed: true.")


@app.command()
def export(
    cache: Annotated[Path, typer.Argument(help="File of answers.", show_default=False)],
    path: Annotated[Path, typer.Argument(help="The .jsonl.gz file to write.", show_default=False)],
) -> None:
    """Write the answers of a cache to a portable file, with which `--engine replay` answers without the model."""
    from paperlib.vdc.cache import AnswerCache

    if not cache.is_file():
        raise PaperlibError(
            f"CACHE={str(cache)!r} does not exist; a cleaning run writes answers.sqlite into its --out."
        )
    store = AnswerCache(cache)
    try:
        n = store.export(path)
    finally:
        store.close()
    typer.echo(f"{path}: {n} answers")


def _engine(
    name: str, base_url: str, model: str, api_key_env: str, answers: Path | None, options: dict[str, Any]
) -> "VQAEngine":
    from paperlib.vdc import engines

    choose("--engine", name, [known for known in engines.ENGINES if known != "oracle"])
    needs = {"openai": (("--base-url", base_url), ("--model", model)), "replay": (("--answers", answers),)}
    needs["transformers"] = needs["clip"] = (("--model", model),)
    for option, value in needs.get(name, ()):
        if not value:
            raise PaperlibError(f"--engine {name} needs {option}.")
    if name == "openai":
        options = {"base_url": base_url, "model": model, "api_key_env": api_key_env, **options}
    elif name == "replay":
        options = {"answers": answers}
    elif name in ("transformers", "clip"):
        options = {"model": model}
    return engines.engine(name, **options)


def _labelled(folder: Path, labels: Path | None) -> tuple["FilePictures", list[str]]:
    """Pictures of a folder and their labels, from a CSV file or from the names of the subfolders."""
    from paperlib.vdc.pictures import SUFFIXES, FilePictures

    if not folder.is_dir():
        raise PaperlibError(f"FOLDER={str(folder)!r} is no folder.")
    if labels is None:
        found = sorted(p for p in folder.glob("*/**/*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise PaperlibError(
                f"FOLDER={str(folder)!r} has no pictures in subfolders; name their labels with --labels, a CSV file with "
                "the columns file and label."
            )
        return FilePictures(tuple(found), folder), [p.relative_to(folder).parts[0] for p in found]
    rows = _table(labels)
    if not rows:
        raise PaperlibError(f"{str(labels)!r} has no rows; each picture needs one: file,label.")
    return FilePictures(tuple(folder / name for name, _ in rows), folder), [label for _, label in rows]


def _table(path: Path) -> list[tuple[str, str]]:
    """(file, label) of each row of a CSV file."""
    import csv

    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = {str(name).strip().lower(): str(name) for name in reader.fieldnames or ()}
            where = next((columns[name] for name in _FILE_COLUMNS if name in columns), None)
            if where is None or "label" not in columns:
                raise PaperlibError(f"{str(path)!r} has the columns {list(columns)}; it needs file and label.")
            return [((row[where] or "").strip(), (row[columns["label"]] or "").strip()) for row in reader]
    except FileNotFoundError:
        raise PaperlibError(
            f"{str(path)!r} does not exist; it must be a CSV file with the columns file and label."
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise PaperlibError(f"{str(path)!r} is no CSV file: {error}.") from error
