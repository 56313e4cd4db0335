"""Commands for training data: audit it, prepare it from photographs.

As in app.py, slow imports are inside the function that needs them.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tuner.cli.errors import user_errors
from tuner.terminal import say
from tuner.text import counted

if TYPE_CHECKING:
    from metrics.contract import Domain
    from tuner.data.audit import Audit, Wanted
    from tuner.data.preparing.picture import Settings, Tools
    from tuner.data.preparing.record import Record

data = typer.Typer(
    name="data",
    no_args_is_help=True,
    help="Check what can be learned from training data, or make it from photographs.",
    epilog="Example: tuner data audit photos --space pose_sd15.yaml",
)


@data.command(epilog="Example: tuner data audit photos --space pose_sd15.yaml --sheet sheet.png")
def audit(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="A folder of captioned pictures, or mannequin.")
    ],
    space: Annotated[
        Path | None, typer.Option(readable=False, help="The search space that will train on them.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(readable=False, help="Write a contact sheet here, PNG.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(readable=False, help="Write the whole audit here, as JSON.")
    ] = None,
) -> None:
    """Report what can and cannot be learned from captioned pictures; the folder is only read."""
    with user_errors():
        from tuner.data import audit_report
        from tuner.data.contact_sheet import write_sheet
        from tuner.storage.files import check_output, refuse_inside, write_whole

        for path, suffix in ((sheet, ".png"), (json, ".json")):
            check_output(path, suffix)
            refuse_inside(path, Path(folder))
        result = _audited(folder, read_wanted(space))
        print("\n".join(audit_report.lines(result)))
        if warnings := audit_report.warnings(result):
            print("\n" + "\n".join(f"warning: {line}" for line in warnings))
        if sheet:
            write_sheet(result, sheet)
        if json:
            write_whole(json, audit_report.as_json(result))


def read_wanted(space: Path | None) -> Wanted:
    """Return the prompts and training sizes of a search-space file.

    For None these are the prompts of the suite `persons` and no size. Raises ConfigError for a file
    that is not a search space.
    """
    from tuner.data.audit import Wanted
    from tuner.space import load_study
    from tuner.space.parameters import Choices, Fixed, IntRange
    from tuner.space.sizes import parse_size
    from tuner.space.suite import PERSONS

    if space is None:
        return Wanted(PERSONS, ())
    config = load_study(space)
    match config.train["resolution"]:
        case Fixed(value):
            sizes: list[object] = [value]
        case Choices(choices):
            sizes = list(choices)
        case IntRange(low, high):
            sizes = [low, high]
        case _:
            sizes = []
    parsed = [parse_size(size) for size in sizes if isinstance(size, int | str)]
    return Wanted(config.suite.prompts, tuple(dict.fromkeys(parsed)))


def _audited(folder: str, wanted: Wanted) -> Audit:
    import metrics
    from metrics.contract import JudgeSettings
    from tuner.data import read_folder
    from tuner.data.audit import audit, look
    from tuner.judging.picture_domain import picture_domain
    from tuner.mannequin import named_folder
    from tuner.study.check import cut_captions
    from tuner.terminal import plain_warnings, tracked

    pictures = read_folder(named_folder(folder))
    domain, _ = picture_domain([image.path for image in pictures.images])
    settings = JudgeSettings(gender_model=None, domain=domain)
    with plain_warnings(), metrics.open_detectors(settings) as judges:
        total = len(pictures.images) + len(pictures.held_out)
        looks = tracked(look(pictures, judges), total, "pictures looked at")
        return audit(pictures, wanted, looks, cut_captions(pictures))


@data.command(epilog="Example: tuner data prepare raw photos --person-model yolov8n.pt")
def prepare(  # noqa: PLR0913 - one argument per option
    raw: Annotated[
        str, typer.Argument(metavar="RAW", help="A folder of photographs, or mannequin.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", readable=False, help="The folder to write.")
    ],
    crop: Annotated[
        Literal["body", "face", "none"], typer.Option(help="The square to cut out.")
    ] = "body",
    person_model: Annotated[
        str | None, typer.Option(help="A .pt file, a folder or mannequin.")
    ] = None,
    min_side: Annotated[
        int | None, typer.Option(min=16, help="Smallest side in pixels; default 512.")
    ] = None,
    max_side: Annotated[
        int, typer.Option(min=64, max=8192, help="Larger pictures are scaled down to it.")
    ] = 1536,
    matte: Annotated[
        str | None,
        typer.Option(metavar="COLOUR", help="Put persons on a plain background of this colour."),
    ] = None,
    captions: Annotated[
        Literal["own", "blip", "wd14", "blip+wd14", "none"],
        typer.Option(help="Keep the pictures' own captions or write new ones."),
    ] = "own",
    blip: Annotated[str | None, typer.Option(help="Another BLIP: a folder or a hub id.")] = None,
    tagger: Annotated[
        str | None, typer.Option(help="Another WD14 tagger: a folder or a hub id.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Search subfolders too.")] = False,
) -> None:
    """Crop, sort and caption photographs; RAW is only read, a stopped run continues."""
    with user_errors():
        from tuner.data.preparing.picture import Settings
        from tuner.models.catalogue import BLIP, WD14
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
            record = _prepare_folder(raw, out, settings, recursive)
        print("\n".join(_summary(record, settings)))


def _prepare_folder(raw: str, out: Path, settings: Settings, recursive: bool) -> Record:
    """Prepare the photographs in `raw` that no earlier run prepared; return the record.

    Raises ConfigError for folders or settings that cannot be used, MissingModelError and
    ModelUnavailableError for models that are not available.
    """
    from tuner.data.preparing import prepare
    from tuner.data.preparing.record import open_record
    from tuner.judging.picture_domain import picture_domain
    from tuner.mannequin import named_folder
    from tuner.terminal import tracked

    root = named_folder(raw)
    sources = prepare.find_sources(root, recursive, settings)
    prepare.check_prepare(root, out, settings)
    with contextlib.ExitStack() as models:
        domain, _ = picture_domain([source.path for source in sources])
        tools = _open_tools(settings, models, domain)
        record = open_record(out, asdict(settings))
        todo = prepare.unprepared(sources, record)
        if done := len(sources) - len(todo):
            say(f"prepared before: {counted(done, 'picture')}")
        try:
            for source in tracked(todo, len(todo), "pictures prepared"):
                record.add(prepare.prepare_source(source, settings, tools, record))
        finally:
            record.write_table()
    return record


def _open_tools(settings: Settings, models: contextlib.ExitStack, domain: Domain) -> Tools:
    import metrics
    from metrics.contract import JudgeSettings
    from metrics.detectors.mediapipe import PoseLandmarker
    from metrics.detectors.models import fetch
    from metrics.detectors.yolo import PersonDetector
    from tuner.data.preparing.picture import Tools
    from tuner.data.preparing.tagging import Captioner, Tagger
    from tuner.judging.models import judge_settings

    judges = None
    if domain == "photographic":
        judges = models.enter_context(metrics.open_detectors(JudgeSettings(gender_model=None)))
    persons = judge_settings(None, settings.person_model, domain="drawn").person_model
    tools = Tools(
        persons=None if persons is None else PersonDetector(persons),
        pose=PoseLandmarker(fetch("pose_landmarker")) if settings.needs_pose else None,
        captioner=Captioner(settings.blip) if "blip" in settings.captions else None,
        tagger=Tagger(settings.tagger) if "wd14" in settings.captions else None,
        faces=judges,
    )
    for model in (tools.persons, tools.pose):
        if model is not None:
            models.callback(model.close)
    return tools


def _summary(record: Record, settings: Settings) -> Iterator[str]:
    from tuner.data.folder import ORIGINALS_FOLDER
    from tuner.data.preparing.record import IMAGES, TABLE

    crops = [crop for row in record.rows.values() for crop in row.results]
    files = [crop for crop in crops if crop.file is not None]
    yield f"{record.out / IMAGES}: {counted(len(files), 'picture')} of {len(record.rows)}"
    if padded := sum(crop.padding > 0 for crop in files):
        yield f"  {padded} of them extend beyond their photograph and are padded there"
    if whole := sum(row.regularisation is not None for row in record.rows.values()):
        yield f"{record.out / ORIGINALS_FOLDER}: {counted(whole, 'whole picture')}"
    reasons = Counter(crop.reason.partition(":")[0] for crop in crops if crop.reason)
    if reasons:
        counts = ", ".join(f"{kind} {count}" for kind, count in reasons.most_common())
        yield f"set aside: {counts} (the reason of each: {record.out / TABLE})"
    if settings.person_model is None:
        yield "no persons were detected: choose a detector with --person-model"
