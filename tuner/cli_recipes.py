"""The verb about studies of recipes: what their runs say of the hypotheses.

As in cli.py, what costs time to import is imported inside the command that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.refusal import told
from tuner.study_folder import DEFAULT_STUDIES, existing_study
from tuner.terminal import say

recipes = typer.Typer()


@recipes.command(epilog="Example: tuner verdicts hand_run_a hand_run_b")
def verdicts(
    studies_named: Annotated[
        list[str], typer.Argument(metavar="STUDY...", help="Studies of the same recipes.")
    ],
    studies: Annotated[
        Path, typer.Option(envvar="TUNER_STUDIES", help="The folder that holds the studies.")
    ] = DEFAULT_STUDIES,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder for verdicts.md and values.csv.")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Without lines around cells.")] = False,
) -> None:
    """Print which hypotheses of a study of recipes are supported; nothing is written by default."""
    with told():
        from tuner.files import write_text
        from tuner.recipe_results import read_series
        from tuner.terminal import console
        from tuner.verdict_page import markdown, tables, values_csv

        folders = [existing_study(studies, name) for name in studies_named]
        series = read_series(folders)
        for table in tables(series.comparisons, plain):
            console().print(table)
        if out is not None:
            write_text(out / "verdicts.md", markdown(series))
            write_text(out / "values.csv", values_csv(series))
            say(f"{out / 'verdicts.md'}, values.csv")
