"""Commands that show the results of studies: the report, the verdicts, the dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.errors import user_errors
from tuner.cli.study import Storage, Studies, Study
from tuner.storage.folder import DEFAULT_STUDIES, existing_study
from tuner.terminal import say

commands = typer.Typer()


@commands.command(epilog="Example: tuner report pose")
def report(
    study: Study,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", readable=False, help="The file to write; default: in the study."
        ),
    ] = None,
    studies: Studies = DEFAULT_STUDIES,
) -> None:
    """Write a study's report.html: one page that works offline; also while the study runs."""
    with user_errors():
        from tuner.report import write_report

        print(write_report(existing_study(studies, study), out))


@commands.command(epilog="Example: tuner verdicts hand_run_a hand_run_b")
def verdicts(
    studies_named: Annotated[
        list[str], typer.Argument(metavar="STUDY...", help="Studies of the same recipes.")
    ],
    studies: Studies = DEFAULT_STUDIES,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", readable=False, help="A folder to write verdicts.md and values.csv to."
        ),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Tables without borders.")] = False,
) -> None:
    """Print which hypotheses of a study of recipes are supported; writes no file by default."""
    with user_errors():
        from tuner.report.verdicts import markdown, tables, values_csv
        from tuner.results import read_series
        from tuner.storage.files import write_whole
        from tuner.terminal import console

        folders = [existing_study(studies, name) for name in studies_named]
        series = read_series(folders)
        for table in tables(series.comparisons, plain):
            console().print(table)
        if out is not None:
            write_whole(out / "verdicts.md", markdown(series))
            write_whole(out / "values.csv", values_csv(series))
            say(f"{out / 'verdicts.md'}, values.csv")


@commands.command(epilog="Example: tuner dashboard pose --port 8081")
def dashboard(
    study: Study,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    expose: Annotated[
        bool, typer.Option("--expose", help="Allow an address that others can reach; no password.")
    ] = False,
    storage: Storage = None,
    studies: Studies = DEFAULT_STUDIES,
) -> None:
    """Serve a study in optuna-dashboard: its front, its parameters, each trial's pictures."""
    with user_errors():
        from tuner.report import serve_dashboard
        from tuner.space.server import storage_of

        folder = existing_study(studies, study)
        serve_dashboard(folder, host, port, expose, storage_of(folder, storage))
