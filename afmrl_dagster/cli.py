"""The command line: `afmrl demo | run | ui | search | serve | embed | evaluate | versions | …`."""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from afmrl_models.config import Modality
from afmrl_models.errors import UserError

app = typer.Typer(
    help="Find identical products in a catalog of photos and titles.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Config = Annotated[Path, typer.Option("--config", help="the profile: a YAML file")]
Model = Annotated[str, typer.Option("--model", help="directory of an embedder, or models:/NAME@ALIAS")]


@app.command()
def demo() -> None:
    """Run the whole chain on the embedded default and print its table."""
    from afmrl_dagster.launch import materialize
    from afmrl_dagster.project import shipped_profile

    sys.exit(materialize(shipped_profile("demo"), "*"))


@app.command()
def run(
    config: Config,
    select: Annotated[
        str,
        typer.Option(
            help="asset selection: a key, such as 'release/ablation'; '*round_0/embedder' is that asset and "
            "all it needs, 'round_0/embedder*' all that follows it, a '+' one layer only; "
            "'group:round_0', 'A or B', 'A and not B'"
        ),
    ] = "*",
    parallel: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="seeds at once; default: as many as cores have threads for (cpu_threads), one on a GPU",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="make only what is missing or stale; see above")
    ] = False,
) -> None:
    """Materialize the assets of a profile; its seeds side by side, each in a process of its own.

    --resume keeps what is done: recorded by Dagster as materialized, blocking checks passed, made with the
    profile's present settings (adding a seed or a round changes none), nothing upstream made later, and the
    catalog's table and photos still of the same names and sizes. It trusts that outputs under AFMRL_HOME and
    models in MLflow were not touched, and does not notice a new version of the code or of a library: after
    one, run without --resume.
    """
    from afmrl_dagster.launch import materialize

    sys.exit(materialize(config.absolute(), select, parallel=parallel, resume=resume))


@app.command()
def ui(
    config: Annotated[
        Path | None, typer.Option("--config", help="the profile; default: the embedded one")
    ] = None,
    port: Annotated[int, typer.Option(help="Dagster's port")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="MLflow's port")] = 5000,
    docs_port: Annotated[int, typer.Option(help="port of Great Expectations' Data Docs")] = 5001,
) -> None:
    """Serve Dagster, MLflow and the Data Docs on 127.0.0.1; Ctrl-C stops all."""
    from afmrl_dagster.launch import serve
    from afmrl_dagster.project import shipped_profile

    sys.exit(serve((config or shipped_profile("demo")).absolute(), port, mlflow_port, docs_port))


@app.command()
def search(
    config: Config,
    image: Annotated[Path | None, typer.Option(help="a photo of the product")] = None,
    text: Annotated[str | None, typer.Option(help="what a title would say")] = None,
    attributes: Annotated[
        str | None, typer.Option(help="such as 'colour: red; material: leather'; else the generator's")
    ] = None,
    listing: Annotated[str | None, typer.Option(help="in place of both: a listing of the index")] = None,
    results: Annotated[int, typer.Option("-k", min=1, max=100, help="listings to find")] = 10,
    no_generator: Annotated[
        bool, typer.Option("--no-generator", help="no attributes written by the champion's generator")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="the answer as JSON, as the API gives it")] = False,
    sheet: Annotated[Path | None, typer.Option(help="write a page with the photos here")] = None,
    open_sheet: Annotated[bool, typer.Option("--open", help="open that page in the browser")] = False,
) -> None:
    """Print the listings nearest to a photo, a text or both, or to another listing.

    A photo with a text is searched with attributes, too, which the champion's generator writes, as in the
    evaluation. Confidence is the calibrated probability that both are one product.
    """
    from afmrl_dagster.handover_commands import Asked, print_answer
    from afmrl_dagster.handover_commands import search as answer_to
    from afmrl_models.config import load_profile

    if open_sheet and sheet is None:
        from afmrl_dagster.project import afmrl_home

        sheet = afmrl_home() / load_profile(config).name / "search.html"
    asked = Asked(image, text, attributes, listing, not no_generator, results)
    answer = answer_to(config.absolute(), asked, sheet)
    if as_json:
        typer.echo(answer.model_dump_json(indent=2))
    else:
        print_answer(answer)
    if sheet is not None:
        typer.echo(f"{sheet}", err=True)
    if open_sheet:
        typer.launch(str(sheet))


@app.command()
def serve(
    config: Config,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")] = 8080,
) -> None:
    """Serve search as a page and a JSON API; a night's new index comes into force by itself."""
    from afmrl_dagster.handover_commands import serve as serve_search

    sys.exit(serve_search(config.absolute(), host, port))


@app.command()
def review(
    config: Config,
    answers: Annotated[
        Path, typer.Argument(help="CSV or Parquet: left_id, right_id, decision (same or different)")
    ],
) -> None:
    """Take over what a person says of doubtful pairs; identical_products.html makes such files."""
    from afmrl_dagster.handover_commands import review as hand_in

    typer.echo(hand_in(config, answers))


@app.command("generate-catalog")
def generate_catalog(
    products: Annotated[int, typer.Option(min=8, help="number of products; each has two to four offers")],
    out: Annotated[Path, typer.Option(help="folder for listings.csv and images/")],
    seed: Annotated[int, typer.Option(help="the same seed gives the same catalog")] = 0,
) -> None:
    """Render a catalog of fine-grained products."""
    from afmrl_models.catalog.generated import generate_catalog as generate

    with typer.progressbar(length=products, label="products", file=sys.stderr) as bar:
        generate(products, seed, out, progress=lambda done, _: bar.update(done - bar.pos))
    typer.echo(f"{out / 'listings.csv'}")


@app.command()
def embed(
    config: Config,
    model: Model,
    out: Annotated[Path, typer.Option(help="folder for embeddings.npy, listing_ids.txt, attributes.parquet")],
    generator: Annotated[
        str | None, typer.Option(help="directory of a generator, or models:/NAME@ALIAS")
    ] = None,
    modality: Annotated[Modality, typer.Option(help="what of a listing is embedded")] = "multimodal",
) -> None:
    """Embed the catalog of a profile with a trained embedder."""
    from afmrl_dagster.embed_catalog import embed_catalog

    embed_catalog(config, model, generator, modality, out)
    typer.echo(f"{out / 'embeddings.npy'}")


@app.command()
def evaluate(
    query: Annotated[Path, typer.Option(help="query vectors, .npy (Q, D)")],
    gallery: Annotated[Path, typer.Option(help="gallery vectors, .npy (G, D)")],
    labels: Annotated[
        Path, typer.Option(help="Parquet with listing_id and label (a string, or a list of strings)")
    ],
    query_ids: Annotated[Path | None, typer.Option(help="listing id of each query row, a line each")] = None,
    gallery_ids: Annotated[
        Path | None, typer.Option(help="listing id of each gallery row, a line each")
    ] = None,
    ks: Annotated[str, typer.Option(help="cut-offs, separated by commas")] = "1,5,10",
) -> None:
    """Print the retrieval metrics of any two matrices as JSON."""
    from afmrl_models.retrieval.from_files import evaluate_files

    try:
        cutoffs = [int(k) for k in ks.split(",")]
    except ValueError:
        raise UserError(f"--ks: {ks!r} is not a list of whole numbers such as 1,5,10") from None
    result = evaluate_files(query, gallery, labels, query_ids=query_ids, gallery_ids=gallery_ids, ks=cutoffs)
    typer.echo(json.dumps(result, indent=2))


@app.command("freeze-evaluation")
def freeze_evaluation(
    config: Config,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Freeze today's test split as the evaluation set that champions are judged on from now on."""
    from afmrl_dagster.champion_commands import freeze_evaluation as freeze

    if not yes:
        typer.confirm("Decisions from now on will not be comparable with earlier ones. Freeze?", abort=True)
    typer.echo(freeze(config.absolute()))


@app.command()
def versions(config: Config) -> None:
    """Print the embedder's versions: aliases, when trained, what was decided of them."""
    from afmrl_dagster.champion_commands import versions as table

    typer.echo(table(config.absolute()))


@app.command()
def rollback(
    config: Config,
    to: Annotated[
        int | None, typer.Option("--to", help="an embedder version that was champion; default: the last one")
    ] = None,
    why: Annotated[str, typer.Option("--why", help="kept in the history")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Put an earlier champion back in force, embedder and generator together."""
    from afmrl_dagster.champion_commands import go_back, way_back

    way = way_back(config.absolute(), to)
    if not yes:
        typer.confirm(f"Champion is {way.left.name}. Go back to {way.target.name}?", abort=True)
    typer.echo(go_back(config, way, why))


def main() -> None:
    """Entry point: a user's mistake is one message, never a stack trace."""
    for name, value in {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_WAIT_POLICY": "PASSIVE",
    }.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:
        # Of libraries to each other: nobody at this terminal can act on them.
        warnings.simplefilter("ignore", FutureWarning)
    try:
        app()
    except UserError as error:
        typer.echo(f"afmrl: {error}", err=True)
        sys.exit(2)
