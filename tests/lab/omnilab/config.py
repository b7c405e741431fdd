# SPDX-License-Identifier: Apache-2.0
"""Files of one node: identity, cluster secret and configuration, readable by their daemons only."""
import json
import os
import shutil

from .shell import run

CONTROLLER_USER = "omni"
DATAPLANE_USER = "omni-dataplane"
PORT = 51900


def write_private(path, text):
    """A file of mode 0600 that belongs to the controller."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    shutil.chown(path, CONTROLLER_USER, CONTROLLER_USER)


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


def controller_toml(node, peers, session=None, metrics="127.0.0.1:9477"):
    """`peers`: dicts with the keys of the configuration's [[peers]] tables."""
    parts = [
        _section("node", {
            "name": node.name, "identity_dir": f"{node.directory}/identity",
            "cluster_secret_file": f"{node.directory}/secret",
            "addresses": [f"{node.vip4}/24", f"{node.vip6}/64"],
            "state_dir": f"{node.directory}/state", "mtu": node.mtu}),
        _section("dataplane", {"socket": node.dataplane_socket}),
        _section("api", {"socket": node.control_socket, "group": CONTROLLER_USER}),
        _section("metrics", {"listen": metrics}),
    ]
    if session:
        parts.append(_section("session", session))
    parts += [_section("[[peers]]", peer) for peer in peers]
    return "\n".join(parts)


def peer_entry(node, key, family, keepalive=None):
    """How other nodes configure this one."""
    address = node.reachable(family)
    return {"name": node.name, "key": key, "endpoint": endpoint(address) if address else None,
            "allowed": [f"{node.vip4}/32", f"{node.vip6}/128"], "keepalive": keepalive}
