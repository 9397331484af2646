"""Runs a command with a deadline: `python deadline.py SECONDS [NAME=VALUE ...] -- command ...`.

python-on-whales has no timeout on any call, but lets a caller choose the words that start docker;
stack.py starts it through this file. On time-out the command's whole process group is killed and
the exit code is 124, as coreutils' timeout has it. Standard library only, and no package import:
it starts in about ten milliseconds.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

TIMED_OUT = 124
LOOK = 0.25


def main(arguments: list[str]) -> int:
    split = arguments.index("--")
    limit, *pairs = arguments[:split]
    variables = dict(pair.split("=", 1) for pair in pairs)
    # A session of its own: Ctrl-C belongs to ondeploy, which then undoes what docker did.
    process = subprocess.Popen(
        arguments[split + 1 :], env={**os.environ, **variables}, start_new_session=True
    )
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: os.killpg(process.pid, signal.SIGKILL))
    parent, deadline = os.getppid(), time.monotonic() + float(limit)
    while time.monotonic() < deadline and os.getppid() == parent:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(LOOK)
    # Out of time, or ondeploy was killed: nothing may go on changing containers behind its back.
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    print(f"no answer within {float(limit):g} s", file=sys.stderr)
    return TIMED_OUT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
