"""Commands about one study or search space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.cluster import GpuShare, Ray, Shared, ray_options
from tuner.cli.errors import user_errors
from tuner.cli.json_lines import Write
from tuner.errors import ConfigError, TunerError
from tuner.storage.folder import DEFAULT_STUDIES, all_studies, existing_study, study_folder
from tuner.terminal import say

commands = typer.Typer()

Space = Annotated[
    Path,  # not checked by click, whose message would be one of a wrong command line
    typer.Argument(metavar="SPACE", readable=False, help="The search-space file (YAML)."),
]
Study = Annotated[
    str, typer.Argument(metavar="STUDY", help="A study's name, or the path of its folder.")
]
Studies = Annotated[
    Path,
    typer.Option(envvar="TUNER_STUDIES", readable=False, help="The folder that holds the studies."),
]
SetValues = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as train.rank=8."),
]
Base = Annotated[
    str | None, typer.Option(help="Another base model: mannequin, a folder, a file or a hub id.")
]
MovedBase = Annotated[
    str | None, typer.Option("--base", help="The base's new place, if it was moved.")
]
MovedData = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="FOLDER",
        help="The pictures' new place; of several sets NAME=FOLDER, repeated.",
    ),
]
Data = Annotated[str | None, typer.Option(help="Another folder of captioned pictures.")]
Trials = Annotated[int | None, typer.Option(min=1, help="Another number of trials.")]
Hours = Annotated[
    float | None,
    typer.Option(help="Another limit of the running time in hours, like `budget.hours`."),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Another seed.")]
Workers = Annotated[
    str,
    typer.Option(
        metavar="COUNT",
        help="Trials in parallel, each in its own process: a whole number from 1 to 64, or auto: "
        "one for each GPU; without a GPU one for each core that the free memory bears. The same "
        "seed gives the same study with 1 only.",
    ),
]
Parts = Annotated[
    str,
    typer.Option(
        "--workers",
        metavar="COUNT",
        help="LoRAs in parallel, each in its own process: as in `tuner run`; the results are the "
        "same with any number.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout, for programs, and nothing else.")
]
Storage = Annotated[
    str | None,
    typer.Option(
        envvar="TUNER_STORAGE",
        metavar="ADDRESS",
        help="The PostgreSQL server that keeps Optuna's study instead of optuna.db: "
        "postgresql://USER:PASSWORD@HOST/DATABASE. Other users of this machine can read a command "
        "line; the variable hides the password from them.",
    ),
]
Logs = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="PROGRAM",
        help="Also write a log: tensorboard or wandb; may be given twice.",
    ),
]
Plain = Annotated[
    bool, typer.Option("--plain", help="Print single lines and tables without borders.")
]


def _with_hours(set_values: list[str] | None, hours: float | None) -> list[str]:
    """Return the settings of `--set` with those hours, which count more."""
    own = [] if hours is None else [f"budget.hours={hours!r}"]
    return [*(set_values or ()), *own]


@commands.command(epilog="Example: tuner run search_spaces/pose.yaml --trials 4 --set train.rank=8")
def run(  # noqa: PLR0913 - one argument per option
    space: Space,
    set_values: SetValues = None,
    base: Base = None,
    data: Data = None,
    trials: Trials = None,
    hours: Hours = None,
    seed: Seed = None,
    studies: Studies = DEFAULT_STUDIES,
    workers: Workers = "auto",
    ray: Ray = None,
    shared: Shared = False,
    gpu_share: GpuShare = 1.0,
    storage: Storage = None,
    plain: Plain = False,
    json: Json = False,
    log: Logs = None,
) -> None:
    """Run a study, or continue it where it stopped, and print its Pareto front."""
    with user_errors(json) as write:
        from tuner.cli.follow import Hands, Printing, follow
        from tuner.cli.logs import study_logs
        from tuner.space import load_study
        from tuner.space.server import choose_storage
        from tuner.study import check_study
        from tuner.worker.count import worker_count

        changes = _with_hours(set_values, hours)
        config = load_study(
            space, base=base, data=data, trials=trials, seed=seed, set_values=changes
        )
        folder = study_folder(studies, config.study)
        config, server = choose_storage(config, folder, storage)
        chosen, cluster = worker_count(workers), ray_options(ray, shared, gpu_share)
        printing = Printing(plain, write, study_logs(log or (), folder))
        report = check_study(config, studies, chosen, elsewhere=cluster is not None)
        for line in report.data_lines:
            say(line)
        follow(config, folder, printing, Hands(report.vram_bytes, chosen, cluster), server)


@commands.command(epilog="Example: tuner check search_spaces/pose.yaml")
def check(  # noqa: PLR0913 - one argument per option
    space: Space,
    set_values: SetValues = None,
    base: Base = None,
    data: Data = None,
    trials: Trials = None,
    hours: Hours = None,
    seed: Seed = None,
    studies: Studies = DEFAULT_STUDIES,
    workers: Workers = "auto",
    json: Json = False,
) -> None:
    """Check a search space, its models and its data, and estimate time, disk space and memory."""
    with user_errors(json) as write:
        from tuner.space import load_study
        from tuner.study import check_study
        from tuner.worker.count import worker_count

        changes = _with_hours(set_values, hours)
        config = load_study(
            space, base=base, data=data, trials=trials, seed=seed, set_values=changes
        )
        folder = study_folder(studies, config.study)
        report = check_study(config, studies, worker_count(workers), timed=True)
        if write:
            write({"study": config.study, "folder": folder.root} | vars(report))
            return
        for line in report.lines:
            print(line)


@commands.command(epilog="Example: tuner init pose")
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped search space.")],
) -> None:
    """Copy a shipped search space into the current folder."""
    with user_errors():
        from tuner.space.templates import copy_out

        paths = copy_out(name)
        for path in paths:
            print(path)
        say(f"next: tuner check {paths[0]}")


@commands.command(epilog="Example: tuner status pose --watch")
def status(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="One study.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show what its workers do, until Ctrl-C.")
    ] = False,
    studies: Studies = DEFAULT_STUDIES,
    plain: Plain = False,
    json: Json = False,
) -> None:
    """Show the progress of all studies, or one study with its front and its trials."""
    with user_errors(json) as write:
        from tuner.report import print_status
        from tuner.report.documents import status_document
        from tuner.results import read_results

        if watch and (json or not study):
            raise ConfigError(
                "--watch shows one study to people: name the study (`tuner status pose --watch`); "
                "a program reads `running` in `tuner status STUDY --json`"
            )
        if not study:
            _print_states(studies, write)
            return
        folder = existing_study(studies, study)
        if watch:
            from tuner.report.watch import watch as watch_study

            read_results(folder)  # or it says that no study was begun there
            watch_study(folder, plain)
        elif write:
            write(status_document(folder, read_results(folder)))
        else:
            print_status(folder, plain)


def _print_states(studies: Path, write: Write | None) -> None:
    """Print the state of every study below `studies`; raises ConfigError for unreadable ones."""
    from tuner.report.documents import StudyState, study_state
    from tuner.report.summary import state_line
    from tuner.results import read_results

    folders = all_studies(studies)
    broken: list[TunerError] = []
    states: list[StudyState] = []
    for folder in folders:
        try:
            states.append(study_state(folder, read_results(folder)))
        except TunerError as error:
            broken.append(error)
    if write:
        write({"studies": states})
    else:
        print("".join(f"{state_line(state)}\n" for state in states), end="")
    if not folders:
        say(f"no studies in {studies}; start one with `tuner run SPACE`")
    if broken:
        raise ConfigError("\n".join(map(str, broken)))


@commands.command(epilog="Example: tuner confirm pose --samples 208")
def confirm(  # noqa: PLR0913 - one argument per option
    study: Study,
    trials: Annotated[
        int, typer.Option(min=1, max=100, help="How many of the strongest trials to confirm.")
    ] = 3,
    samples: Annotated[
        int, typer.Option(min=1, max=10_000, help="Fresh samples of each LoRA, at least.")
    ] = 104,
    training_seeds: Annotated[
        int, typer.Option(min=0, max=99, help="How many times to train each one again.")
    ] = 2,
    base: MovedBase = None,
    data: MovedData = None,
    studies: Studies = DEFAULT_STUDIES,
    workers: Parts = "auto",
    ray: Ray = None,
    shared: Shared = False,
    gpu_share: GpuShare = 1.0,
    plain: Plain = False,
    json: Json = False,
) -> None:
    """Measure the strongest trials on fresh noise and with fresh training seeds; print the best."""
    with user_errors(json) as write:
        folder = existing_study(studies, study)
        from tuner.cli.follow import Printing, follow_confirm
        from tuner.study.confirm import ConfirmOptions
        from tuner.worker.count import worker_count

        options = ConfirmOptions(trials, samples, training_seeds, base, data or ())
        cluster = ray_options(ray, shared, gpu_share)
        follow_confirm(folder, options, Printing(plain, write), worker_count(workers), cluster)
