# SPDX-License-Identifier: Apache-2.0
"""Files of one node: identity, cluster secret and configuration, readable by their daemons only."""
import json
import os
import shutil

from .shell import run

CONTROLLER_USER = "omni"
DATAPLANE_USER = "omni-dataplane"
NUCLEUS_USER = "omni-nucleus"
PORT = 51900


def write_private(path, text, owner=CONTROLLER_USER):
    """A file of mode 0600 that belongs to the controller, or to `owner`."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    shutil.chown(path, owner, owner)


def make_directories(node):
    for directory, owner, group, mode in (
            (node.directory, "root", "root", 0o755),
            (f"{node.directory}/state", CONTROLLER_USER, CONTROLLER_USER, 0o750),
            # Both daemons make their sockets here.
            (f"{node.directory}/run", CONTROLLER_USER, DATAPLANE_USER, 0o775)):
        os.makedirs(directory, exist_ok=True)
        os.chmod(directory, mode)
        shutil.chown(directory, owner, group)


def make_identity(node, omnictl):
    """A new identity; gives the public key that peers configure."""
    shown = run(omnictl, "identity", "new", "--dir", f"{node.directory}/identity",
                "--output", "json").stdout
    return json.loads(shown)["key"]


def endpoint(address, port=PORT):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _value(value):
    # TOML's strings, integers and arrays are written as JSON's are.
    return json.dumps(value)


def _section(name, values):
    lines = [f"[{name}]"] if not name.startswith("[") else [name]
    lines += [f"{key} = {_value(value)}" for key, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"


def controller_toml(node, peers, session=None, metrics="127.0.0.1:9477", nucleus=None,
                    beacons=None):
    """`peers`: dicts with the keys of the configuration's [[peers]] tables."""
    parts = [
        _section("node", {
            "name": node.name, "identity_dir": f"{node.directory}/identity",
            "cluster_secret_file": f"{node.directory}/secret",
            "accepted_secret_file": node.accepted_secret_file,
            "addresses": [f"{node.vip4}/24", f"{node.vip6}/64"],
            "state_dir": f"{node.directory}/state", "mtu": node.mtu}),
        _section("dataplane", {"socket": node.dataplane_socket}),
        _section("api", {"socket": node.control_socket, "group": CONTROLLER_USER}),
        _section("metrics", {"listen": metrics}),
    ]
    if session:
        parts.append(_section("session", session))
    if nucleus:
        parts.append(_section("nucleus", nucleus))
    if beacons:
        parts.append(_section("discovery", {"beacons": beacons}))
    parts += [_section("[[peers]]", peer) for peer in peers]
    return "\n".join(parts)


def nucleus_toml(directory, cluster_key, accepted_key=None):
    return "\n".join([
        _section("nucleus", {"state_dir": f"{directory}/state",
                             "listen": [f"0.0.0.0:{PORT}", f"[::]:{PORT}"]}),
        _section("[[clusters]]", {"name": "lab", "key": cluster_key, "accepted_key": accepted_key,
                                  "pools": ["10.77.0.0/24", "fd77::/64"]})])


def peer_entry(node, key, family, keepalive=None):
    """How other nodes configure this one."""
    address = node.reachable(family)
    return {"name": node.name, "key": key, "endpoint": endpoint(address) if address else None,
            "allowed": [f"{node.vip4}/32", f"{node.vip6}/128"], "keepalive": keepalive}
