"""Commands for existing pictures: judge them, label them, measure the judges.

As in app.py, slow imports are inside the command that needs them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.cluster import Ray, ray_options
from tuner.cli.errors import user_errors
from tuner.storage.files import check_outputs
from tuner.storage.folder import DEFAULT_STUDIES, existing_study
from tuner.terminal import plain_warnings, say, tracked

if TYPE_CHECKING:
    from metrics.detectors import Detectors
    from tuner.judging.pool import JudgePool
    from tuner.worker.nodes.address import RayOptions
    from tuner.worker.nodes.judges import JudgeOrder

pictures = typer.Typer()

LabelTable = Annotated[
    Path | None,
    typer.Option(readable=False, help="A labels.csv of tuner label, instead of figures."),
]
SoundFolder = Annotated[
    Path | None,
    typer.Option(readable=False, help="A folder of sound pictures of people, instead of figures."),
]
Side = Annotated[
    int | None,
    typer.Option(min=32, max=1024, help="Their side in px; default: the study's or 256."),
]
CheckedStudy = Annotated[
    str | None, typer.Option(help="Study whose base drew the pictures; it stores the result.")
]
Studies = Annotated[
    Path,
    typer.Option(envvar="TUNER_STUDIES", readable=False, help="The folder that holds the studies."),
]
ResultFile = Annotated[
    Path | None,
    typer.Option(readable=False, help="File for the result; default: in the study or TUNER_HOME."),
]
GenderModel = Annotated[
    str | None, typer.Option(help="NAME/PRETRAINED, a folder, mannequin or face.")
]
PersonModel = Annotated[
    str | None, typer.Option(help="A .pt file, a folder or mannequin; default: none.")
]
PoseModel = Annotated[
    str | None, typer.Option(help="A second opinion on poses: OWNER/NAME, a folder, a .pt file.")
]
ParserModel = Annotated[str | None, typer.Option(help="A human parser: OWNER/NAME or a folder.")]
Vlm = Annotated[
    str | None, typer.Option(help="A vision-language model to ask: OWNER/NAME or a folder.")
]

Jobs = Annotated[
    int | None,
    typer.Option(min=1, max=64, help="Processes that judge; default: what cores and memory allow."),
]
Drawn = Annotated[
    bool | None,
    typer.Option("--drawn/--photographic", help="Kind of the pictures; default: told by them."),
]


STDOUT = Path("-")
"""The file that means stdout."""


@pictures.command(epilog="Example: tuner score outputs --recursive --csv scores.csv")
def score(  # noqa: PLR0913 - one argument per option
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", readable=False, help="A folder of pictures, or one picture."
        ),
    ],
    prompt: Annotated[
        str | None, typer.Option(help="One prompt for all; default: each picture's own.")
    ] = None,
    gender_model: GenderModel = None,
    person_model: PersonModel = None,
    pose_model: PoseModel = None,
    parser_model: ParserModel = None,
    vlm: Vlm = None,
    drawn: Drawn = None,
    csv: Annotated[
        Path | None, typer.Option(readable=False, help="A table to write, one row per picture.")
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            readable=False, help="The same as JSON, with the evidence; - prints it on stdout."
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Search subfolders too.")] = False,
    jobs: Jobs = None,
    ray: Ray = None,
) -> None:
    """Judge pictures from anywhere, with 95 % intervals; the folder is only read."""
    with user_errors(json == STDOUT) as write:
        from tuner.judging import Trust, score_folder, score_report
        from tuner.judging.calibration import known_calibrations
        from tuner.judging.models import model_names
        from tuner.judging.picture_domain import picture_domain
        from tuner.worker.nodes.judges import JudgeOrder

        cluster = ray_options(ray, shared=False)
        files = (csv, None if write else json)
        check_outputs(*files)
        found_pictures = score_folder.find_pictures(path, prompt, recursive)
        domain, line = picture_domain([path for path, _ in found_pictures.prompted], drawn)
        optional = {"pose_model": pose_model, "parser_model": parser_model, "vlm": vlm}
        say(f"pictures to judge: {len(found_pictures.prompted)}, {line}; the models load first")
        thresholds = _own_thresholds() if domain == "photographic" else None
        count, named = len(found_pictures.prompted), (gender_model, person_model)
        order = JudgeOrder(found_pictures.names_sex, *named, domain, optional, thresholds)
        with plain_warnings(), _judges(order, jobs, count, cluster) as (judges, pool):
            judged = score_folder.judge(found_pictures, judges, pool)
            scored = list(tracked(judged, count, "pictures judged"))
            trust = Trust(known_calibrations(), None, model_names(judges.settings))
            score_report.print_scores(found_pictures, scored, trust)
        score_report.write_rows(found_pictures, scored, files, trust)
        if write:
            write(score_report.score_document(found_pictures, scored, trust))


@contextlib.contextmanager
def _judges(
    order: JudgeOrder, jobs: int | None, count: int, ray: RayOptions | None
) -> Iterator[tuple[Detectors, JudgePool | None]]:
    """Open the judges, and processes that judge `count` pictures, here or on a cluster's nodes."""
    from tuner.judging import open_judges
    from tuner.judging.pool import open_pool
    from tuner.worker.count import JUDGE_BYTES, auto_jobs
    from tuner.worker.nodes.cluster import open_cluster
    from tuner.worker.nodes.judges import open_node_pool

    with contextlib.ExitStack() as stack:
        judges = stack.enter_context(open_judges(*vars(order).values()))
        if ray is None:
            jobs = jobs or auto_jobs(count)
            yield judges, stack.enter_context(open_pool(judges.settings, jobs))
            return
        cluster = stack.enter_context(open_cluster(ray, min(jobs or count, count), JUDGE_BYTES))
        say(cluster.line)
        yield judges, stack.enter_context(open_node_pool(cluster, order, judges.settings))


def _own_thresholds() -> Mapping[str, float] | None:
    """Return the thresholds that the user measured, and say which they are; None without any."""
    from tuner.judging.thresholds import home_thresholds, read_thresholds

    thresholds = read_thresholds(home_thresholds())
    if thresholds is None:
        return None
    say(thresholds.line)
    return thresholds.values()


@pictures.command(epilog="Example: tuner label outputs --out labels.csv")
def label(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", readable=False, help="A folder of pictures.")
    ],
    out: Annotated[
        Path | None, typer.Option(readable=False, help="The table; default: DIR/labels.csv.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0: any.")] = 8082,
    no_open: Annotated[bool, typer.Option("--no-open", help="Open no browser.")] = False,
    recursive: Annotated[bool, typer.Option("--recursive", help="Search subfolders too.")] = False,
) -> None:
    """Label pictures with keys on a web page of this machine; each label is saved at once."""
    with user_errors():
        from tuner.judging.labelling.server import serve

        table = out or folder / "labels.csv"
        serve(folder, table, port, recursive=recursive, browser=not no_open)


@pictures.command(epilog="Example: tuner selfcheck --data photos")
def selfcheck(  # noqa: PLR0913 - one argument per option
    count: Annotated[int, typer.Option(min=2, help="Sound figures of each drawing style.")] = 60,
    size: Side = None,
    data: SoundFolder = None,
    labels: LabelTable = None,
    gender_model: GenderModel = None,
    person_model: PersonModel = None,
    pose_model: PoseModel = None,
    parser_model: ParserModel = None,
    vlm: Vlm = None,
    drawn: Drawn = None,
    study: CheckedStudy = None,
    studies: Studies = DEFAULT_STUDIES,
    save: ResultFile = None,
    json: Annotated[
        Path | None, typer.Option(readable=False, help="A file for all measurements, as JSON.")
    ] = None,
) -> None:
    """Measure the judges on pictures whose faults are known, and save the result."""
    with user_errors():
        from tuner.judging import judge_reports, keep_calibration, score_cases, truth
        from tuner.judging.selfcheck_report import print_reports, write_reports

        check_outputs(None, save)
        check_outputs(None, json)
        folder = existing_study(studies, study) if study else None
        rendered = data is None and labels is None
        optional = {"pose_model": pose_model, "parser_model": parser_model, "vlm": vlm}
        options = keep_calibration.selfcheck_options(
            rendered, folder, (gender_model, person_model), optional
        )
        known = truth.read_truths(count, size or options.size, data, labels)
        domain, line = truth.truths_domain(known, drawn, options.domain)
        say("\n".join([*known.lines, line]))
        opened = truth.open_judges(
            known, options.gender_model, options.person_model, domain, options.optional
        )
        with plain_warnings(), opened as judges:
            cases = tracked(truth.make_cases(known, judges), None, "pictures judged")
            scores = list(score_cases(cases, judges))
        reports = judge_reports(scores)
        print_reports(reports)
        calibrations = keep_calibration.make_calibrations(
            reports, known, options.base, judges.settings
        )
        lines = keep_calibration.save_calibration(calibrations, save or options.file)
        if domain == "photographic" and study is None:
            lines += keep_calibration.save_thresholds(scores, known)
        say("\n".join(lines))
        if json:
            write_reports(reports, known.lines, json)
