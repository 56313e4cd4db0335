"""Commands about one study or search space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tuner.cli.errors import told
from tuner.storage.folder import DEFAULT_STUDIES, all_studies, existing_study, study_folder
from tuner.terminal import say

commands = typer.Typer()

Space = Annotated[Path, typer.Argument(metavar="SPACE", help="The search-space file (YAML).")]
Study = Annotated[
    str, typer.Argument(metavar="STUDY", help="A study's name, or the path of its folder.")
]
Studies = Annotated[
    Path, typer.Option(envvar="TUNER_STUDIES", help="The folder that holds the studies.")
]
SetValues = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value, such as train.rank=8."),
]
Base = Annotated[
    str | None, typer.Option(help="Another base: mannequin, a folder, a file or a hub id.")
]
Data = Annotated[str | None, typer.Option(help="Another folder of captioned pictures.")]
Trials = Annotated[int | None, typer.Option(min=1, help="Another number of trials.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Another seed.")]
Workers = Annotated[
    int, typer.Option(min=1, max=64, help="Trials side by side, each in a process of its own.")
]
Plain = Annotated[bool, typer.Option("--plain", help="Single lines, no live view.")]


@commands.command(epilog="Example: tuner run search_spaces/pose.yaml --trials 4 --set train.rank=8")
def run(  # noqa: PLR0913 - one argument per option
    space: Space,
    set_values: SetValues = None,
    base: Base = None,
    data: Data = None,
    trials: Trials = None,
    seed: Seed = None,
    studies: Studies = DEFAULT_STUDIES,
    workers: Workers = 1,
    plain: Plain = False,
) -> None:
    """Run a study, or go on with it where it stopped, and print its Pareto front."""
    with told():
        from tuner.cli.follow import follow
        from tuner.space import load_study
        from tuner.study import check_study

        config = load_study(
            space, base=base, data=data, trials=trials, seed=seed, set_values=set_values or ()
        )
        folder = study_folder(studies, config.study)
        check_study(config, studies)
        follow(config, folder, plain, workers)


@commands.command(epilog="Example: tuner check search_spaces/pose.yaml")
def check(  # noqa: PLR0913 - one argument per option
    space: Space,
    set_values: SetValues = None,
    base: Base = None,
    data: Data = None,
    trials: Trials = None,
    seed: Seed = None,
    studies: Studies = DEFAULT_STUDIES,
) -> None:
    """Check a search space and everything it names, and say what a study of it takes."""
    with told():
        from tuner.space import load_study
        from tuner.study import check_study

        config = load_study(
            space, base=base, data=data, trials=trials, seed=seed, set_values=set_values or ()
        )
        for line in check_study(config, studies).lines:
            print(line)


@commands.command(epilog="Example: tuner init pose")
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped search space.")],
) -> None:
    """Copy a shipped search space into this folder."""
    with told():
        from tuner.space.templates import copy_out

        paths = copy_out(name)
        for path in paths:
            print(path)
        say(f"next: tuner check {paths[0]}")


@commands.command(epilog="Example: tuner status pose")
def status(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="One study.")] = None,
    studies: Studies = DEFAULT_STUDIES,
    plain: Plain = False,
) -> None:
    """Show how far the studies are, or one study with its front and its trials."""
    with told():
        from tuner.report import print_status
        from tuner.report.summary import state_line
        from tuner.results import read_results

        if study:
            print_status(existing_study(studies, study), plain)
            return
        folders = all_studies(studies)
        for folder in folders:
            print(state_line(folder, read_results(folder)))
        if not folders:
            say(f"no studies in {studies}; begin one with `tuner run SPACE`")


@commands.command(epilog="Example: tuner confirm pose --samples 208")
def confirm(
    study: Study,
    trials: Annotated[int, typer.Option(min=1, max=100, help="So many of the strongest.")] = 3,
    samples: Annotated[
        int, typer.Option(min=1, max=10_000, help="Fresh samples of each LoRA, at least.")
    ] = 104,
    training_seeds: Annotated[
        int, typer.Option(min=0, max=99, help="So often is each trained again.")
    ] = 2,
    studies: Studies = DEFAULT_STUDIES,
    plain: Plain = False,
) -> None:
    """Measure the strongest trials on fresh noise and with fresh training seeds; name the best."""
    with told():
        folder = existing_study(studies, study)
        from tuner.cli.follow import follow_confirm
        from tuner.study.confirm import Asked

        follow_confirm(folder, Asked(trials, samples, training_seeds), plain)


@commands.command(epilog="Example: tuner report pose")
def report(
    study: Study,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Another file than the study's own.")
    ] = None,
    studies: Studies = DEFAULT_STUDIES,
) -> None:
    """Write report.html beside a study's results: one page that works offline, at any time."""
    with told():
        from tuner.report import write_report

        print(write_report(existing_study(studies, study), out))


@commands.command(epilog="Example: tuner verdicts hand_run_a hand_run_b")
def verdicts(
    studies_named: Annotated[
        list[str], typer.Argument(metavar="STUDY...", help="Studies of the same recipes.")
    ],
    studies: Studies = DEFAULT_STUDIES,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder for verdicts.md and values.csv.")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Without lines around cells.")] = False,
) -> None:
    """Print which hypotheses of a study of recipes are supported; nothing is written by default."""
    with told():
        from tuner.report.verdicts import markdown, tables, values_csv
        from tuner.results import read_series
        from tuner.storage.files import write_text
        from tuner.terminal import console

        folders = [existing_study(studies, name) for name in studies_named]
        series = read_series(folders)
        for table in tables(series.comparisons, plain):
            console().print(table)
        if out is not None:
            write_text(out / "verdicts.md", markdown(series))
            write_text(out / "values.csv", values_csv(series))
            say(f"{out / 'verdicts.md'}, values.csv")


@commands.command(epilog="Example: tuner dashboard pose --port 8081")
def dashboard(
    study: Study,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where to listen.")] = 8080,
    host: Annotated[str, typer.Option(help="On which address.")] = "127.0.0.1",
    expose: Annotated[
        bool, typer.Option("--expose", help="Let others reach it: there is no password.")
    ] = False,
    studies: Studies = DEFAULT_STUDIES,
) -> None:
    """Open a study in optuna-dashboard: its front, its parameters, each trial's pictures."""
    with told():
        from tuner.report import serve_dashboard

        serve_dashboard(existing_study(studies, study), host, port, expose)


@commands.command(epilog="Example: tuner export pose -o pose.safetensors")
def export(  # noqa: PLR0913 - one argument per option
    study: Study,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The .safetensors file, or a model's folder.")
    ],
    trial: Annotated[
        int | None, typer.Option(min=0, help="The trial; else the confirmed, or the strongest.")
    ] = None,
    names: Annotated[
        Literal["kohya", "diffusers"],
        typer.Option("--format", help="kohya: ComfyUI, A1111 and Forge; diffusers: its own."),
    ] = "kohya",
    lora_rank: Annotated[
        int | None, typer.Option(min=1, max=256, help="DreamBooth's model as a LoRA of this rank.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file.")] = False,
    studies: Studies = DEFAULT_STUDIES,
) -> None:
    """Write a trial's LoRA or model as a file for other programs, and check what was written."""
    with told():
        folder = existing_study(studies, study)
        from tuner.results.confirmation import Choice, chosen

        if trial is None:
            choice = chosen(folder)
            for line in choice.why:
                say(line)
        else:
            choice = Choice(trial, None, ())
        from tuner.export import export_trial

        report = export_trial(folder, choice, out, names, force=force, lora_rank=lora_rank)
        print(report.path)
        for line in report.lines:
            say(line)
