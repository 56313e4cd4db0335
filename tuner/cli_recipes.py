"""The verb about studies of recipes: what their runs say of the hypotheses.

As in cli.py, what costs time to import is imported inside the command that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.refusal import say, told
from tuner.study_folder import DEFAULT_STUDIES, existing_study

recipes = typer.Typer()


@recipes.command(epilog="Example: tuner verdicts hand_run_a hand_run_b")
def verdicts(
    studies_named: Annotated[
        list[str], typer.Argument(metavar="STUDY...", help="Studies of the same recipes.")
    ],
    studies: Annotated[
        Path, typer.Option(envvar="TUNER_STUDIES", help="The folder that holds the studies.")
    ] = DEFAULT_STUDIES,
    plain: Annotated[bool, typer.Option("--plain", help="Without lines around cells.")] = False,
) -> None:
    """Say which hypotheses of a study of recipes are supported; write verdicts.md beside it."""
    with told():
        from tuner.recipe_results import read_series
        from tuner.study_folder import write_text
        from tuner.summary import console
        from tuner.verdict_page import markdown, tables, values_csv

        folders = [existing_study(studies, name) for name in studies_named]
        series = read_series(folders)
        for table in tables(series.comparisons, plain):
            console().print(table)
        write_text(folders[0].verdicts, markdown(series))
        write_text(folders[0].values, values_csv(series))
        say(f"{folders[0].verdicts}, {folders[0].values.name}")
