# SPDX-License-Identifier: Apache-2.0
"""The network under test: omni-nucleus on one host, the two daemons on each edge. An edge is told the
Nucleus' address and the cluster's secret, and nothing of the other edge.
"""
import json
import secrets
import time

from .host import Failed

TUN = "omnitest0"
# Of the benchmarking block (RFC 2544) and of a random site (RFC 4193): in nobody's network.
VIP4, VIP6 = "198.18.77.{}", "fd6f:6d6e:6900::{}"
USERS = {"controller": "omni", "dataplane": "omni-dataplane", "nucleus": "omni-nucleus"}
POLL_S = 0.2


def wait_for(condition, timeout, what):
    deadline = time.monotonic() + timeout
    while True:
        last = condition()
        if last is True:
            return
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {timeout:g} s{f' ({last})' if last else ''}")
        time.sleep(POLL_S)


def endpoint(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def section(name, values):
    """TOML; its strings, numbers and arrays are written as JSON's are."""
    return f"{name}\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def start_nucleus(host, port, cluster_key):
    user = USERS["nucleus"]
    host.folder("state", user, mode="0700")
    config = host.write("nucleus.toml", section("[nucleus]", {
        "state_dir": f"{host.directory}/state", "listen": [f"0.0.0.0:{port}", f"[::]:{port}"]})
        + section("[metrics]", {"listen": ""})
        + section("[[clusters]]", {"name": "cloud-test", "key": cluster_key}), owner=user)
    host.start("nucleus", f"{host.directory}/bin/omni-nucleus", "--config", config)

    def ready():
        if not host.is_alive("nucleus"):
            raise Failed(f"{host.target}: omni-nucleus ended")
        return ": id " in host.run("cat", f"{host.directory}/nucleus.log").stdout
    wait_for(ready, 30, f"{host.target}: start of omni-nucleus")


def start_edge(host, number, options, secret, nucleus):
    """An edge with the addresses of `number`; what it knows is `secret` and `nucleus`."""
    controller, dataplane = USERS["controller"], USERS["dataplane"]
    host.folder("state", controller, mode="0750")
    host.folder("run", controller, dataplane, mode="0775")
    host.name = f"edge{number}"
    host.vip4, host.vip6 = VIP4.format(number), VIP6.format(number)
    host.run(f"{host.directory}/bin/omnictl", "identity", "new", "--dir",
             f"{host.directory}/identity")
    host.write("secret", secret + "\n", owner=controller)
    config = host.write("controller.toml", "\n".join((
        section("[node]", {"name": host.name, "identity_dir": f"{host.directory}/identity",
                           "cluster_secret_file": f"{host.directory}/secret",
                           "addresses": [f"{host.vip4}/24", f"{host.vip6}/64"],
                           "state_dir": f"{host.directory}/state"}),
        section("[dataplane]", {"socket": f"{host.directory}/run/dataplane.sock"}),
        section("[api]", {"socket": f"{host.directory}/run/controller.sock"}),
        section("[metrics]", {"listen": ""}),
        section("[nucleus]", {"addresses": [nucleus]}))), owner=controller)
    host.start("dataplane", f"{host.directory}/bin/omni-dataplane", "--socket",
               f"{host.directory}/run/dataplane.sock", "--tun", TUN, "--listen-port",
               str(options.port), *options.dataplane)
    host.start("controller", f"{host.directory}/bin/omni-controller", "--config", config)


def wait_registered(host, timeout):
    def registered():
        for daemon in ("dataplane", "controller"):
            if not host.is_alive(daemon):
                raise Failed(f"{host.target}: omni-{daemon} ended")
        shown = host.omnictl("nucleus", "status", "--output", "json", check=False)
        if shown.returncode != 0:
            return shown.stderr.strip()
        status = json.loads(shown.stdout)
        return status["state"] == "NUCLEUS_STATE_REGISTERED" or status["last_error"]
    wait_for(registered, timeout, f"{host.target}: registration with the Nucleus")


def peer_of(host, other):
    """What `host` says of the other edge; None while it does not know it."""
    peers = host.omnictl_json("peers", "list")["peers"]
    return next((peer for peer in peers if peer["name"] == other.name), None)


def bring_up(nucleus, edges, options):
    """Starts all; gives how long it took until the first echo through the tunnel came back."""
    secret = secrets.token_hex(32)
    nucleus.write("secret", secret + "\n")
    shown = nucleus.run(f"{nucleus.directory}/bin/omnictl", "cluster", "show", "--secret-file",
                        f"{nucleus.directory}/secret", "--output", "json").stdout
    # From here on it has the public half only.
    nucleus.run("rm", f"{nucleus.directory}/secret")
    start_nucleus(nucleus, options.port + 1, json.loads(shown)["cluster_key"])
    for number, host in enumerate(edges, 1):
        start_edge(host, number, options, secret, options.nucleus_endpoint)
    for host in edges:
        wait_registered(host, options.timeout)
    first, second = edges
    for host, other in ((first, second), (second, first)):
        wait_for(lambda h=host, o=other: peer_of(h, o) is not None, options.timeout,
                 f"{host.target}: record of {other.name}")
    begin = time.monotonic()
    wait_for(lambda: first.run("ping", "-nc1", "-W1", second.vip4,
                               check=False).returncode == 0, options.timeout,
             f"{first.target}: an echo from {second.target} through the tunnel")
    return time.monotonic() - begin
