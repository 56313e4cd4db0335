"""The verbs about training data: what they can teach, and how to make them from photographs.

As in cli.py, what costs time to import is imported inside the command that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tuner.refusal import told

data = typer.Typer(
    name="data",
    no_args_is_help=True,
    help="What training data can teach, and how to make them from photographs.",
    epilog="Example: tuner data audit photos --space pose_sd15.yaml",
)


@data.command(epilog="Example: tuner data audit photos --space pose_sd15.yaml --sheet sheet.png")
def audit(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="A folder of captioned pictures, or mannequin.")
    ],
    space: Annotated[
        Path | None, typer.Option(help="The search space that will train on them.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="A contact sheet to write, PNG.")] = None,
    json: Annotated[Path | None, typer.Option(help="All that was found, as JSON.")] = None,
) -> None:
    """Say what captioned pictures can and cannot teach; the folder stays as it is."""
    with told():
        from tuner.data.audit_command import run_audit

        run_audit(folder, space, sheet, json)


@data.command(epilog="Example: tuner data prepare raw photos --person-model yolov8n.pt")
def prepare(  # noqa: PLR0913 - one argument per option
    raw: Annotated[
        str, typer.Argument(metavar="RAW", help="A folder of photographs, or mannequin.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    crop: Annotated[
        Literal["body", "face", "none"], typer.Option(help="What to cut out, as a square.")
    ] = "body",
    person_model: Annotated[
        str | None, typer.Option(help="A .pt file, a folder or mannequin.")
    ] = None,
    min_side: Annotated[
        int | None, typer.Option(min=16, help="Smallest side in pixels; else 512.")
    ] = None,
    max_side: Annotated[
        int, typer.Option(min=64, max=8192, help="Larger pictures are scaled down to it.")
    ] = 1536,
    matte: Annotated[
        str | None, typer.Option(metavar="COLOUR", help="Put persons on plain ground.")
    ] = None,
    captions: Annotated[
        Literal["own", "blip", "wd14", "blip+wd14", "none"],
        typer.Option(help="The pictures' own captions, or written anew."),
    ] = "own",
    blip: Annotated[str | None, typer.Option(help="Another BLIP: a folder or a hub id.")] = None,
    tagger: Annotated[
        str | None, typer.Option(help="Another WD14 tagger: a folder or a hub id.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Its folders too.")] = False,
) -> None:
    """Cut, sort and caption photographs; RAW stays as it is, a stopped run goes on."""
    with told():
        from tuner.data.prepare import run_prepare
        from tuner.data.prepare_picture import Settings
        from tuner.model_list import BLIP, WD14
        from tuner.terminal import plain_warnings

        drawn = raw.partition(":")[0] == "mannequin"
        settings = Settings(
            crop=crop,
            min_side=min_side or (64 if drawn else 512),
            max_side=max_side,
            ground=matte,
            captions=captions,
            person_model=person_model or ("mannequin" if drawn else None),
            blip=blip or str(BLIP.hub),
            tagger=tagger or str(WD14.hub),
        )
        with plain_warnings():
            run_prepare(raw, out, settings, recursive)
