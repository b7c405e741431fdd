# SPDX-License-Identifier: Apache-2.0
"""Keeps one daemon alive as systemd does with Restart=always and RestartSec=100ms.

    python3 supervisor.py PID_FILE COMMAND...

PID_FILE always names the current daemon. SIGTERM ends daemon and supervisor. Output goes where the
supervisor's goes.
"""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from omnilab.process import write_pid_file  # noqa: E402

RESTART_DELAY_S = 0.1


def main(pid_file, command):
    stop = {signal.SIGTERM, signal.SIGINT}
    # Blocked for good and taken by sigtimedwait(), so that no moment exists in which one is lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, stop | {signal.SIGCHLD})

    def unblock():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stop | {signal.SIGCHLD})

    while True:
        daemon = subprocess.Popen(command, preexec_fn=unblock)
        write_pid_file(pid_file, daemon.pid)
        while daemon.poll() is None:
            if signal.sigwaitinfo(stop | {signal.SIGCHLD}).si_signo in stop:
                daemon.terminate()
                daemon.wait()
                return 0
        print(f"supervisor: the daemon ended with {daemon.returncode}; starting it again",
              file=sys.stderr, flush=True)
        if signal.sigtimedwait(stop, RESTART_DELAY_S) is not None:
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
