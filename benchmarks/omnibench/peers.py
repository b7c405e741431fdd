# SPDX-License-Identifier: Apache-2.0
"""The systems that ours is measured beside: wireguard-go, nebula, openvpn."""
import os
import re
import secrets
import shutil
import socket

from omnilab import wait_for
from omnilab.shell import ip_batch, run

from .systems import CACHE, MTU, START_TIMEOUT_S, Absent, System, command, debian_package
from .x25519 import public_key

NETWORK = "10.88.0"  # beside the lab's own 192.0.2.0/24 and 10.77.0.0/24


def inner(node):
    return f"{NETWORK}.{node.number}"


class WireguardGo(System):
    """The user-space WireGuard, newest of the Go module proxy, else Debian's; configured over its
    UAPI socket."""
    name, path, cipher = "wireguard-go", "socket", "chacha20-poly1305"
    MODULE = "golang.zx2c4.com/wireguard"
    SOCKETS = "/var/run/wireguard"
    PORT = 51820

    def __init__(self):
        super().__init__()
        self.program = None

    def prepare(self):
        program = f"{CACHE}/bin/wireguard"
        try:
            self._install(program)
        except Absent as absent:
            if not os.path.exists(f"{program}.version"):
                # LIMIT: Debian 12 has the one of March 2022, without offloads.
                self.version = f"Debian {debian_package('wireguard-go')} ({absent})"
                self.program = shutil.which("wireguard-go")
                return
        self.program = program
        with open(f"{program}.version", encoding="utf-8") as file:
            self.version = file.read().strip()

    def _install(self, program):
        """The newest, and a file beside it that says which; what is there stays when this fails."""
        os.makedirs(CACHE, exist_ok=True)
        env = os.environ | {"GOBIN": os.path.dirname(program), "GOPATH": f"{CACHE}/go",
                            "GOFLAGS": "-modcacherw"}
        command(["go", "install", f"{self.MODULE}@latest"], "go install", env=env, timeout=300,
                cwd=CACHE)
        shown = command(["go", "version", "-m", program], "version of wireguard-go")
        number = re.search(r"^\s*mod\s+\S+\s+(\S+)", shown, re.M).group(1)
        compiler = shown.split()[1]
        with open(f"{program}.version", "w", encoding="utf-8") as file:
            file.write(f"{number}, {compiler}\n")

    def _interface(self, lab, node):
        # The sockets of both ends lie in one directory, whatever the namespace.
        return f"{lab.name}wg{node.number}"[:15]

    def start(self, lab):
        private = [secrets.token_bytes(32) for _ in lab.nodes]
        for node, other, own, their in ((lab.nodes[0], lab.nodes[1], private[0], private[1]),
                                        (lab.nodes[1], lab.nodes[0], private[1], private[0])):
            name = self._interface(lab, node)
            self.spawn(node, self.program, "-f", name)
            path = f"{self.SOCKETS}/{name}.sock"
            wait_for(lambda p=path: os.path.exists(p), START_TIMEOUT_S, f"{self.name}: {path}")
            self._configure(path, (
                f"private_key={own.hex()}", f"listen_port={self.PORT}",
                f"public_key={public_key(their).hex()}",
                f"endpoint={other.underlay['v4']}:{self.PORT}", f"allowed_ip={inner(other)}/32"))
            ip_batch([f"address add {inner(node)}/24 dev {name}",
                      f"link set {name} mtu {MTU} up"], node.namespace)
        self.wait_alive(lab)

    @staticmethod
    def _configure(path, lines):
        with socket.socket(socket.AF_UNIX) as uapi:
            uapi.settimeout(10)
            uapi.connect(path)
            uapi.sendall("\n".join(("set=1", *lines, "", "")).encode())
            answer = uapi.recv(4096).decode()
        if "errno=0" not in answer:
            raise Absent(f"wireguard-go: UAPI answered {answer.strip()!r}")

    def target(self, lab):
        return inner(lab.nodes[1])


class Nebula(System):
    name, path, cipher = "nebula", "socket", "chacha20-poly1305"
    PORT = 4242

    def prepare(self):
        self.version = "Debian " + debian_package("nebula")

    def start(self, lab):
        directory = f"{lab.directory}/nebula"
        os.makedirs(directory)
        ca = ["-ca-crt", f"{directory}/ca.crt", "-ca-key", f"{directory}/ca.key"]
        run("nebula-cert", "ca", "-name", "bench", "-out-crt", f"{directory}/ca.crt", "-out-key",
            f"{directory}/ca.key")
        for node, other in (lab.nodes, reversed(lab.nodes)):
            prefix = f"{directory}/{node.name}"
            run("nebula-cert", "sign", *ca, "-name", node.name, "-ip", f"{inner(node)}/24",
                "-out-crt", f"{prefix}.crt", "-out-key", f"{prefix}.key")
            with open(f"{prefix}.yml", "w", encoding="utf-8") as file:
                file.write(self._config(directory, node, other))
            self.spawn(node, "nebula", "-config", f"{prefix}.yml")
        self.wait_alive(lab)

    def _config(self, directory, node, other):
        everything = "[{port: any, proto: any, host: any}]"
        return "\n".join((
            f"pki: {{ca: {directory}/ca.crt, cert: {directory}/{node.name}.crt, "
            f"key: {directory}/{node.name}.key}}",
            f"static_host_map: {{'{inner(other)}': ['{other.underlay['v4']}:{self.PORT}']}}",
            "lighthouse: {am_lighthouse: false, hosts: []}",
            f"listen: {{host: 0.0.0.0, port: {self.PORT}}}",
            "cipher: chachapoly",
            f"tun: {{dev: nebula0, mtu: {MTU}}}",
            f"firewall: {{outbound: {everything}, inbound: {everything}}}", ""))

    def stop(self, lab):
        super().stop(lab)
        shutil.rmtree(f"{lab.directory}/nebula", ignore_errors=True)

    def target(self, lab):
        return inner(lab.nodes[1])


class Openvpn(System):
    """Between two ends with pinned certificates; in user space, as there is no kernel module."""
    name, path, cipher = "openvpn", "socket", "chacha20-poly1305"

    def prepare(self):
        self.version = "Debian " + debian_package("openvpn")
        command(["openssl", "version"], "certificates for openvpn")

    def start(self, lab):
        directory = f"{lab.directory}/openvpn"
        os.makedirs(directory)
        prints = {node.name: self._certificate(f"{directory}/{node.name}") for node in lab.nodes}
        for node, other in (lab.nodes, reversed(lab.nodes)):
            role = ["--tls-server", "--dh", "none"] if node is lab.nodes[0] else ["--tls-client"]
            self.spawn(
                node, "openvpn", *role, "--dev", "ovpn0", "--dev-type", "tun", "--proto", "udp4",
                "--remote", other.underlay["v4"], "--topology", "p2p",
                "--ifconfig", inner(node), inner(other), "--tun-mtu", str(MTU),
                "--cert", f"{directory}/{node.name}.crt", "--key", f"{directory}/{node.name}.key",
                "--peer-fingerprint", prints[other.name],
                "--data-ciphers", "CHACHA20-POLY1305", "--disable-dco", "--verb", "1")
        self.wait_alive(lab)

    @staticmethod
    def _certificate(prefix):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-keyout", f"{prefix}.key", "-out", f"{prefix}.crt", "-days", "2", "-subj",
            f"/CN={os.path.basename(prefix)}")
        os.chmod(f"{prefix}.key", 0o600)
        shown = run("openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", f"{prefix}.crt")
        return shown.stdout.strip().partition("=")[2]

    def stop(self, lab):
        super().stop(lab)
        shutil.rmtree(f"{lab.directory}/openvpn", ignore_errors=True)

    def target(self, lab):
        return inner(lab.nodes[1])
