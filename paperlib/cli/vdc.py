"""``paperlib vdc clean FOLDER``: a folder of pictures in, a ranked list of dirty samples with the reasons out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paperlib.cli.console import Commands
from paperlib.errors import PaperlibError, choose

if TYPE_CHECKING:
    from paperlib.vdc.types import VQAEngine

app = typer.Typer(
    cls=Commands,
    help="Clean a data set by asking a model about its pictures: clean, suggest, export.",
    no_args_is_help=True,
)

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
        float | None, typer.Option(help="Share of clean samples that may be flagged, in (0, 1).")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Threshold of the score, in [0, 1]. Default: the suggested cut, or 0.5.")
    ] = None,
    score: Annotated[
        str,
        typer.Option(
            help="right (probability that the label is right), vote, mean_p or logit_mean.", show_default=False
        ),
    ] = "",
    tie: Annotated[str, typer.Option(help="A score equal to the threshold: clean or dirty.")] = "clean",
    digits: Annotated[
        bool, typer.Option("--digits", help="The class names are numbers because the pictures show written digits.")
    ] = False,
    decisions: Annotated[
        Path | None, typer.Option(help="CSV file that the report saved: what you keep, fix or remove.")
    ] = None,
    logprobs: Annotated[
        str, typer.Option(help="openai: auto, or never: ask for no log-probabilities and read the text.")
    ] = "auto",
    together: Annotated[
        str, typer.Option(help="openai: all questions of a picture in one request: auto, always or never.")
    ] = "auto",
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

    Writes samples.csv, corrected.csv, dirty.txt, questions.csv, settings.json and index.html. Stopped at any moment,
    the same command goes on: answers are kept in the cache.
    """
    from paperlib.vdc.asking import Policy, Price, estimate
    from paperlib.vdc.cache import AnswerCache
    from paperlib.vdc.cleanse import cleanse
    from paperlib.vdc.folder import labelled, read_decisions
    from paperlib.vdc.questions import bank

    pictures, given = labelled(folder, labels)
    names = [name.strip() for name in classes.split(",") if name.strip()] or sorted(set(given))
    known = None if reference is None else labelled(folder, reference)
    decided = {}
    if decisions is not None:
        decided = read_decisions(decisions, map(pictures.name, range(len(pictures))), names)
    choose("tie", tie, ("clean", "dirty"))
    if digits:
        questions = "digits"
    elif questions == "auto" and all(name.isdigit() for name in names):
        typer.echo(
            "The class names are numbers; where the pictures show written digits, say so with --digits.", err=True
        )
    options: dict[str, Any] = {"timeout_s": timeout, "retries": retries, "logprobs": logprobs, "together": together}
    options = options if engine == "openai" else {}
    policy = Policy(concurrency=concurrency, max_cost_usd=max_cost, progress=True)
    price = Price(price_in or 0.0, price_out or 0.0) if price_in is not None or price_out is not None else None
    answerer = _engine(engine, base_url, model, api_key_env, answers, options)
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
                cost = f", about {usage.cost_usd:.2f} USD" if price else ""
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
            decisions=decided,
            cache=store,
            policy=policy,
            price=price,
        )
    finally:
        store.close()
        answerer.close()
    report.to_csv(out)
    page = report.to_html(out / "index.html")
    counts = report.counts()
    cost = f", {report.usage.cost_usd:.4f} USD" if price else ""
    typer.echo(
        f"{counts['dirty']} of {len(pictures)} flagged, {counts['clean']} clean, {counts['undecided']} undecided,"
        f" {counts['unreadable']} unreadable, {counts['unknown']} with an unknown label. {report.usage.calls} questions"
        f" asked{cost}, {report.from_cache} answered before, {report.errors} without answer."
    )
    if "wrong_labels_percent" in report.settings:
        typer.echo(report.in_words())
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
    """Let a chat model suggest questions. They are written to a file for you to review; it is refused until you
    have."""
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
