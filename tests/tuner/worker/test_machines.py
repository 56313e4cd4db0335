"""The scripts of docs/machines.md start what they say, with options that there are."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tuner.cli.app import app

ROOT = Path(__file__).resolve().parents[3]
MACHINES = ROOT / "docs" / "machines"
SLURM, KUBERAY = MACHINES / "slurm.sh", MACHINES / "kuberay.yaml"
STAND_INS = {
    # srun runs the command here, once for each node, as Slurm does there.
    "srun": 'while [[ ${1-} == -* ]]; do [[ $1 == -[wx] ]] && shift; shift; done; exec "$@"',
    "scontrol": 'printf "%s\\n" node1 node2 node3',
    "hostname": "echo 10.0.0.1 10.0.0.2",
    "sleep": "exit 0",
    "ray": 'echo "ray $*" >>"$LOG"; [[ $1 == start ]] && exec /bin/sleep 3; exit 0',
    "tuner": 'echo "tuner $*" >>"$LOG"; echo "$RAY_AUTH_MODE ${#RAY_AUTH_TOKEN}" >>"$LOG"; exit 7',
}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the stand-ins for Slurm, Ray and tuner write how they were called."""
    for name, body in STAND_INS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)
    return tmp_path / "log"


def sbatch(log: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    slurm = {"SLURM_JOB_NODELIST": "node[1-3]", "SLURM_JOB_ID": "123456"}
    slurm |= {"SLURM_GPUS_ON_NODE": "2", "SLURM_CPUS_PER_TASK": "8", "LOG": str(log)}
    path = f"{log.parent / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(SLURM), *arguments],
        env={**os.environ, **slurm, **variables, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def parsed(words: list[str]) -> dict[str, Any]:
    """What tuner makes of a command line; an unknown option is an error."""
    command = typer.main.get_command(app)
    group = command.make_context("tuner", words[:1], resilient_parsing=True)
    found = command.get_command(group, words[0])  # type: ignore[attr-defined]
    return dict(found.make_context(words[0], words[1:]).params)


def test_a_job_starts_a_head_the_others_and_the_study(log: Path) -> None:
    done = sbatch(log, "search_spaces/pose.yaml", "--trials", "200", TUNER_SHARED="1")
    assert done.returncode == 7, done.stderr  # that of tuner
    ray = [line for line in log.read_text().splitlines() if line.startswith("ray start")]
    head, others = sorted(ray, key=lambda line: "--head" not in line)
    assert "--node-ip-address=10.0.0.1 --port=23456" in head
    assert "--address=10.0.0.1:23456" in others
    assert all("--num-cpus=8 --num-gpus=2" in line for line in ray)
    (line,) = [each for each in log.read_text().splitlines() if each.startswith("tuner ")]
    options = parsed(line.split()[1:])
    assert (options["ray"], options["shared"], options["trials"]) == ("10.0.0.1:23456", True, 200)
    assert "token 64" in log.read_text()


def test_a_job_without_a_space_says_how_it_is_called(log: Path) -> None:
    done = sbatch(log)
    assert done.returncode == 2
    assert "usage: sbatch" in done.stderr
    assert not log.exists()


def test_the_script_is_plain_bash() -> None:
    assert subprocess.run(["bash", "-n", str(SLURM)], check=False).returncode == 0
    if checker := shutil.which("shellcheck"):
        assert subprocess.run([checker, str(SLURM)], check=False).returncode == 0
    directives = re.findall(r"^#SBATCH --([a-z-]+)=\S+$", SLURM.read_text(), re.MULTILINE)
    assert {"nodes", "gpus-per-node", "time", "signal"} <= set(directives)


def test_pods_have_one_image_one_token_and_no_open_port() -> None:
    claim, cluster, policy = yaml.safe_load_all(KUBERAY.read_text(encoding="utf-8"))
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    head, (workers,) = cluster["spec"]["headGroupSpec"], cluster["spec"]["workerGroupSpecs"]
    pods = [group["template"]["spec"] for group in (head, workers)]
    containers = [pod["containers"][0] for pod in pods]
    assert len({container["image"] for container in containers}) == 1
    for container in containers:
        names = {variable["name"]: variable for variable in container["env"]}
        assert names["RAY_AUTH_MODE"]["value"] == "token"
        assert "secretKeyRef" in names["RAY_AUTH_TOKEN"]["valueFrom"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {
            volume["name"] for volume in pods[containers.index(container)]["volumes"]
        }
    assert head["serviceType"] == "ClusterIP"
    assert head["rayStartParams"] == {
        "num-gpus": "0",
        "num-cpus": "0",
        "include-dashboard": "false",
    }
    gpus = containers[1]["resources"]["limits"]["nvidia.com/gpu"]
    assert workers["rayStartParams"]["num-gpus"] == gpus
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    assert pods[0]["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    assert chosen == {"ray.io/cluster": cluster["metadata"]["name"]}


def test_the_commands_in_the_comments_can_be_typed() -> None:
    for path in (SLURM, KUBERAY):
        text = re.sub(r"\\\n#\s+", "", path.read_text(encoding="utf-8"))
        for words in re.findall(r"^#.*\btuner (run .+)$", text, re.MULTILINE):
            assert parsed(words.split())["trials"] == 200


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs tuner[ray]")
def test_ray_knows_the_options_that_the_scripts_give_it() -> None:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--help"]
    known = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    page = (ROOT / "docs" / "machines.md").read_text(encoding="utf-8")
    given = set(re.findall(r"ray start[^\n]*", page + SLURM.read_text().replace("\\\n", "")))
    options = {option for line in given for option in re.findall(r"(--[a-z-]+)", line)}
    assert {"--head", "--address", "--node-ip-address"} <= options
    assert not [option for option in options if option not in known]
