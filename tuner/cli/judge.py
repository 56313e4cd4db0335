"""Command that judges LoRAs and checkpoints that exist already."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.cluster import GpuShare, Ray, Shared, ray_options
from tuner.cli.errors import user_errors
from tuner.cli.json_lines import Write
from tuner.cli.study import Json, Plain, Studies
from tuner.errors import NoAnswerError
from tuner.events import Event, Phase
from tuner.storage import StudyFolder
from tuner.storage.folder import DEFAULT_STUDIES, study_folder
from tuner.terminal import say

if TYPE_CHECKING:
    from tuner.cli.follow import Hands, Printing
    from tuner.judged import Found
    from tuner.judged.options import JudgedStudy
    from tuner.worker.nodes.cluster import Cluster

commands = typer.Typer()

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILES", readable=False, help="LoRA files (.safetensors) and folders of them."
    ),
]
BaseModel = Annotated[
    str, typer.Option(help="The base: mannequin, a folder, a file or a hub id OWNER/NAME.")
]


Alias = Annotated[
    str | None,
    typer.Option(
        metavar="WORD",
        help="The word before every prompt; default: the one that the files name; '' for none.",
    ),
]
Strengths = Annotated[str, typer.Option(help="Strengths to try.")]
Suite = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="A shipped suite, or a YAML file with its keys."),
]
Prompts = Annotated[
    Path | None, typer.Option(readable=False, help="A text file with a prompt on each line.")
]
Seeds = Annotated[int | None, typer.Option(min=1, max=1000, help="Samples for each prompt.")]
Size = Annotated[str | None, typer.Option(help="Size of the samples: 512, or WIDTHxHEIGHT.")]
Pictures = Annotated[
    str | None, typer.Option(help="The training pictures, to find copies of them.")
]
WithoutAlias = Annotated[
    bool,
    typer.Option(
        "--without-alias/--with-alias-only",
        help="Also draw some prompts without the alias: what the file changes unasked.",
    ),
]
AsBase = Annotated[
    bool, typer.Option("--as-base", help="The files are whole checkpoints, not LoRAs.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", readable=False, help="Another folder for the study."),
]
Workers = Annotated[
    str, typer.Option(metavar="COUNT", help="Files in parallel; as in `tuner run`.")
]


@commands.command(epilog="Example: tuner judge output/ --base BASE --strengths 0.6,0.8,1.0")
def judge(  # noqa: PLR0913 - one argument per option
    files: Files,
    base: BaseModel,
    alias: Alias = None,
    strengths: Strengths = "0.6,0.8,1.0",
    suite: Suite = None,
    prompts: Prompts = None,
    seeds: Seeds = None,
    size: Size = None,
    data: Pictures = None,
    without_alias: WithoutAlias = True,
    as_base: AsBase = False,
    out: Out = None,
    workers: Workers = "auto",
    ray: Ray = None,
    shared: Shared = False,
    gpu_share: GpuShare = 1.0,
    studies: Studies = DEFAULT_STUDIES,
    plain: Plain = False,
    json: Json = False,
) -> None:
    """Judge existing LoRAs: which file at which strength, and what it does to the base."""
    with user_errors(json) as write:
        from tuner.cli.follow import Hands, Printing
        from tuner.judged import JudgeOptions, find_files, judged_study
        from tuner.judged.options import parse_strengths
        from tuner.study.cost import estimate
        from tuner.worker.count import worker_count

        tried = (1.0,) if as_base else parse_strengths(strengths)
        options = JudgeOptions(
            base, alias, suite, prompts, seeds, size, data, without_alias, as_base
        )
        chosen, cluster = worker_count(workers), ray_options(ray, shared, gpu_share)
        found = find_files(files, as_base)
        study = judged_study(options, found)
        folder = StudyFolder(out) if out else study_folder(studies, study.config.study)
        _tell(found, study)
        hands = Hands(estimate(study.config).vram_bytes, chosen, cluster)
        _follow(study, folder, found, tried, Printing(plain, write), hands)


def _tell(found: Found, study: JudgedStudy) -> None:
    for each in found.refused:
        say(f"left out: {each.reason}")
    for note in [*study.notes, *(note for file in found.files for note in file.notes)]:
        say(note)


def _follow(
    study: JudgedStudy,
    folder: StudyFolder,
    found: Found,
    strengths: Sequence[float],
    printing: Printing,
    hands: Hands,
) -> None:
    """Run the study to its end, show its progress, print the answer, and write the report.

    Raises MissingModelError for a judge's model that is not here and cannot be downloaded.
    """
    from tuner.cli.follow import begin_printing, watch
    from tuner.cli.live import View, recall
    from tuner.judged.plan import left_to_judge
    from tuner.results import read_results
    from tuner.results.results import is_begun
    from tuner.study.check_judges import judge_line, person_line

    config = study.config
    view = View(folder.name, 0, config.objectives)
    results = read_results(folder) if is_begun(folder) else None
    if results is not None:
        recall(view, results)
    left = left_to_judge(() if results is None else results.trials, found.files, strengths)
    view.trials = view.finished + len(left)
    with hands.engaged(len(left)) as (plan, cluster):
        if left:
            judge_line(config)
            person_line(config)
            say(plan.line)
        begin_printing(view, folder, config.base, printing)
        events = _events(study, folder, found, strengths, plan.count, cluster)
        watch(view, folder, events, printing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the judges' warnings were printed during the run
        _conclude(folder, found, printing)


def _events(
    study: JudgedStudy,
    folder: StudyFolder,
    found: Found,
    strengths: Sequence[float],
    workers: int,
    cluster: Cluster | None,
) -> Generator[Event, None, None]:
    yield Phase("load")
    from tuner.judged import run_judged

    yield from run_judged(study.config, folder, found.files, strengths, workers, cluster=cluster)


def _conclude(folder: StudyFolder, found: Found, printing: Printing) -> None:
    from tuner.report import write_report
    from tuner.report.documents import study_state
    from tuner.report.judged import judged_document
    from tuner.report.summary import print_judged_study, print_next, print_time
    from tuner.results.judged import read_judged

    judged = read_judged(folder)
    write: Write | None = printing.write
    if write is not None:
        refused = [{"path": each.path, "reason": each.reason} for each in found.refused]
        write({"event": "answer"} | judged_document(folder, judged) | {"refused": refused})
        ended = vars(study_state(folder, judged.results)) | {"report": write_report(folder)}
        write({"event": "study_ended"} | ended)
    else:
        print_judged_study(folder, judged.results, printing.plain)
        write_report(folder)
        print_time(judged.results)
        print_next(folder, judged.results, DEFAULT_STUDIES)
    if judged.winner is None:
        raise NoAnswerError(f"no file to take: {judged.why_none}")
