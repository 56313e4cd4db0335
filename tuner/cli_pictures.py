"""The verbs about pictures that are there already: judge them, label them, measure the judges.

As in cli.py, what costs time to import is imported inside the command that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.refusal import say, told

pictures = typer.Typer()

GenderModel = Annotated[str | None, typer.Option(help="NAME/PRETRAINED, a folder or mannequin.")]
PersonModel = Annotated[
    str | None, typer.Option(help="A .pt file, a folder or mannequin; else none.")
]


@pictures.command(epilog="Example: tuner score outputs --recursive --csv scores.csv")
def score(  # noqa: PLR0913 - one argument per option
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder of pictures, or one.")],
    prompt: Annotated[str | None, typer.Option(help="The prompt of all; else its own.")] = None,
    gender_model: GenderModel = None,
    person_model: PersonModel = None,
    csv: Annotated[Path | None, typer.Option(help="A table to write, a row a picture.")] = None,
    json: Annotated[Path | None, typer.Option(help="The same with evidence, as JSON.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Its folders too.")] = False,
) -> None:
    """Judge pictures from anywhere, with 95 % intervals; the folder stays as it is."""
    with told():
        from tuner import live, score_folder, score_report

        score_report.check_outputs(csv, json)
        found = score_folder.find_pictures(path, prompt, recursive)
        say(f"pictures to judge: {len(found.prompted)}; the models load first")
        opened = score_folder.open_judges(found.asks_sex, gender_model, person_model)
        with live.plain_warnings(), opened as judges:
            judged = score_folder.judge(found, judges)
            scored = list(score_report.with_progress(judged, len(found.prompted)))
            score_report.print_scores(found, scored)
        score_report.write_rows(found, scored, csv, json)


@pictures.command(epilog="Example: tuner label outputs --out labels.csv")
def label(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of pictures.")],
    out: Annotated[Path | None, typer.Option(help="The table; else DIR/labels.csv.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0: any.")] = 8082,
    no_open: Annotated[bool, typer.Option("--no-open", help="Open no browser.")] = False,
    recursive: Annotated[bool, typer.Option("--recursive", help="Its folders too.")] = False,
) -> None:
    """Say with keys what pictures show, on a page of this machine; each key is saved at once."""
    with told():
        from tuner.label_server import serve

        table = out or folder / "labels.csv"
        serve(folder, table, port, recursive=recursive, browser=not no_open)


@pictures.command(epilog="Example: tuner selfcheck --count 60 --json judges.json")
def selfcheck(  # noqa: PLR0913 - one argument per option
    count: Annotated[int, typer.Option(min=2, help="Sound figures of each drawing style.")] = 60,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Their side in pixels.")] = 256,
    data: Annotated[
        Path | None, typer.Option(help="A folder of sound pictures of people, instead of figures.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="A labels.csv of tuner label, instead.")
    ] = None,
    gender_model: GenderModel = None,
    person_model: PersonModel = None,
    json: Annotated[Path | None, typer.Option(help="The same as JSON, to this file.")] = None,
) -> None:
    """Measure the judges on pictures of which the truth is known."""
    with told():
        from tuner import live, score_report, truths
        from tuner.selfcheck import answers, measures
        from tuner.selfcheck_report import print_measures, write_measures

        score_report.check_outputs(None, json)
        asked = truths.read_truths(count, size, data, labels)
        say("\n".join(asked.lines))
        opened = truths.open_judges(asked, gender_model, person_model)
        with live.plain_warnings(), opened as judges:
            cases = score_report.with_progress(truths.cases(asked, judges))
            measured = measures(list(answers(cases, judges)))
        print_measures(measured)
        if json:
            write_measures(measured, asked.lines, json)
