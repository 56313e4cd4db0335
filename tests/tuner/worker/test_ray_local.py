"""`--ray local`, bad addresses, and tuner without Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tuner.worker.nodes import three_nodes
from tuner.cli.cluster import ray_options
from tuner.errors import ConfigError
from tuner.worker.nodes.address import RayOptions, connect

LISTENING = """
import ipaddress, json, psutil
from tuner.worker.nodes.address import RayOptions
from tuner.worker.nodes.cluster import open_cluster

def loopback(ip):
    address = ipaddress.ip_address(ip)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback

here = psutil.Process()
with open_cluster(RayOptions("local"), 2, 2**28) as cluster:
    started = here.children(recursive=True)
    ports = [port for each in [here, *started] for port in each.net_connections()]
    listening = [port.laddr.ip for port in ports if port.status == "LISTEN"]
    line = cluster.line
left = [each.pid for each in started if each.is_running() and each.status() != "zombie"]
print(json.dumps([line, len(listening), [ip for ip in listening if not loopback(ip)], left]))
"""


@pytest.mark.slow
def test_a_cluster_of_this_machine_is_bound_to_127_0_0_1_and_ends() -> None:
    pytest.importorskip("ray")
    # In a process of its own: Ray decides this when it is imported.
    command = [sys.executable, "-c", LISTENING]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    line, count, public, left = json.loads(done.stdout.splitlines()[-1])
    assert line.startswith("Ray: 1 node, ")
    assert count > 3
    assert (public, left) == ([], [])


WATCHING = """
import sys, time
from tuner.errors import TunerError
from tuner.worker.nodes.address import RayOptions
from tuner.worker.nodes.cluster import open_cluster

try:
    with open_cluster(RayOptions(sys.argv[1]), 2, 2**28) as cluster:
        print(cluster.line, flush=True)
        while True:
            time.sleep(0.2)
            cluster.require()
except TunerError as error:
    print(error, flush=True)
"""


@pytest.mark.slow
def test_a_head_that_is_gone_is_one_line_before_ray_ends_the_process(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with three_nodes(tmp_path, count=1) as nodes:
        command = [sys.executable, "-c", WATCHING, nodes.address]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert run.stdout is not None
        lines = iter(run.stdout)
        assert next(lines).startswith("Ray: 2 nodes, 1 worker")
        (server,) = nodes.cluster.head_node.all_processes["gcs_server"]
        server.process.kill()
        said = next(lines)
        assert said.startswith(f"the connection to the cluster {nodes.address} is lost; when")
        run.kill()
        run.wait()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nonsense", "is no address of a cluster; allowed: local"),
        ("http://host:1", "is no address of a cluster"),
        ("ray://host", "is no address of a cluster"),
        ("host:port", "is no address of a cluster"),
        ("127.0.0.1:9", "nothing answers there (Connection refused); start the cluster's head"),
        ("ray://127.0.0.1:9", "nothing answers there"),
    ],
)
def test_a_bad_address_is_one_line(address: str, said: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError) as error:
        connect(RayOptions(address))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_without_ray_the_option_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'tuner\[ray\]'"):
        connect(RayOptions("auto"))


def test_options_of_a_cluster_need_one() -> None:
    assert ray_options(None, shared=False) is None
    assert ray_options("auto", True, 0.5) == RayOptions("auto", True, 0.5)
    with pytest.raises(ConfigError, match="give --ray ADDRESS too"):
        ray_options(None, shared=True)
    for share in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="allowed: above 0"):
            ray_options("auto", False, share)


def test_no_module_of_tuner_needs_ray() -> None:
    code = "import sys, tuner.study, tuner.worker.nodes.host, tuner.worker.nodes.judges\n"
    code += "from tuner.study import run_study\nassert 'ray' not in sys.modules"
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
