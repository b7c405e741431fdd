# SPDX-License-Identifier: Apache-2.0
"""A daemon that cannot start says why in one line that names object and cause, and fails.

    n1 eth0 ---- eth0 n2        nothing runs yet
"""
import os
import socket

from story import check, run, scenario
from omnilab.config import write_private
from omnilab.sockets import socket_in


def fails(node, command, *named):
    """The command ends by itself, not with 0, and its last line names all that `named` lists."""
    done = node.run("timeout", "--kill-after=1", "30", *command, check=False)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    what = f"{' '.join(command[:6])}...: exit code {done.returncode}: {done.stderr}{done.stdout}"
    check(done.returncode not in (0, 124, 137) and done.returncode < 126, what)
    errors = [line for line in lines if all(word in line for word in named)]
    check(len(errors) == 1, f"one line that names {named}: {what}")


def controller(node):
    return [f"{node.build}/bin/omni-controller", "--config", node.config_file, "--user", "omni"]


@scenario(topology="pair", start=False)
def the_dataplane_names_what_is_missing(lab):
    n1 = lab.nodes[0]
    with socket_in(n1.namespace, socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 51900))
        fails(n1, n1.dataplane_command(), "51900", "in use")
    fails(n1, ["unshare", "--mount", "sh", "-c",
               'mount -t tmpfs none /dev/net && exec "$@"', "sh", *n1.dataplane_command()],
          "/dev/net/tun", "No such file")
    fails(n1, ["setpriv", "--reuid", "omni-dataplane", "--regid", "omni-dataplane",
               "--clear-groups", *n1.dataplane_command()], "ermi")
    command = n1.dataplane_command()
    command[command.index("--user") + 1] = "no-such-user"
    fails(n1, command, "no-such-user")
    command = n1.dataplane_command()
    command[command.index("--socket") + 1] = "/no/such/directory/socket"
    fails(n1, command, "/no/such/directory/socket", "No such file")


@scenario(topology="pair", start=False)
def the_controller_names_what_is_wrong(lab):
    n1 = lab.nodes[0]
    with open(n1.config_file, encoding="utf-8") as file:
        good = file.read()

    def with_config(text, *named):
        write_private(n1.config_file, text)
        fails(n1, controller(n1), n1.config_file, *named)
        fails(n1, controller(n1) + ["--check-config"], n1.config_file, *named)

    with_config(good.replace("[metrics]", "[metrics]\ncolour = 1"), "metrics.colour")
    with_config(good.replace('"10.77.0.1/24"', '"10.77.0.1/33"'), "node.addresses", ":5:")
    with_config(good.replace("192.0.2.2:51900", "192.0.2.2"), "endpoint")
    with_config(good.replace('"10.77.0.2/32"', '"10.77.0.2/24"'), "allowed")
    with_config(good.replace("[node]", "[node"), ":1")
    write_private(n1.config_file, good)

    secret = f"{n1.directory}/secret"
    os.chmod(secret, 0o644)
    fails(n1, controller(n1), secret)
    os.chmod(secret, 0o600)
    write_private(secret, "short\n")
    fails(n1, controller(n1), secret)
    os.unlink(secret)
    fails(n1, controller(n1), secret, "No such file")
    write_private(secret, "0123456789abcdef0123456789abcdef\n")

    key = f"{n1.directory}/identity/identity.key"
    with open(key, "rb") as file:
        content = file.read()
    os.truncate(key, len(content) // 2)
    fails(n1, controller(n1), key)
    os.unlink(key)
    fails(n1, controller(n1), key)
    check(not os.path.exists(key), "no identity was made in its place")


@scenario(topology="pair")
def a_second_one_does_not_push_the_first_aside(lab):
    n1 = lab.nodes[0]
    fails(n1, controller(n1), n1.control_socket)
    fails(n1, n1.dataplane_command(), "TUN omni0", "exists")
    command = n1.dataplane_command()
    command[command.index("--tun") + 1] = "omni1"
    fails(n1, command, "51900", "in use")
    check(n1.status()["dataplane"]["connected"], "the first ones run on")


run(the_dataplane_names_what_is_missing, the_controller_names_what_is_wrong,
    a_second_one_does_not_push_the_first_aside)
