#!/usr/bin/env python3
"""Counts what is left after a Ctrl-C at an interactive shell.

    cargo build --release --features cli --bin execloop
    benches/leftovers.py target/release/execloop

Each tool in turn runs four commands, each of which has a child in the background, from an interactive bash on a
pseudo-terminal. When all four children are there, Ctrl-C is typed; three seconds later those that are left are counted,
and killed. Tools that are not installed are left out. Needs bash, and Linux's /proc.
"""

import os
import pty
import shutil
import signal
import sys
import threading
import time

COMMAND = "sh -c 'sleep 7717{} & wait'"
TOOLS = {
    "execloop": (None, f'{{program}} run -j 4 "{COMMAND}" ::: 1 2 3 4'),
    "xargs": ("xargs", f"printf '1\\n2\\n3\\n4\\n' | xargs -P 4 -I{{{{}}}} {COMMAND}".replace("{{}}", "{}")),
    "GNU parallel": ("parallel", f'parallel --will-cite -j 4 "{COMMAND}" ::: 1 2 3 4'),
    "rust-parallel": ("rust-parallel", f'rust-parallel -j 4 sh -c "sleep 7717{{}} & wait" ::: 1 2 3 4'),
}


def left():
    pids = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if file.read().startswith(b"sleep\0" + b"7717"):
                    pids.append(int(name))
        except OSError:
            pass
    return pids


def drain(terminal):
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass


def main():
    program = os.path.abspath(sys.argv[1])
    for tool, (needs, line) in TOOLS.items():
        if needs and not shutil.which(needs):
            print(f"{tool}: not installed")
            continue
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm", PS1="$ ")
            os.execvp("bash", ["bash", "--norc", "-i"])
        threading.Thread(target=drain, args=[terminal], daemon=True).start()
        os.write(terminal, line.replace("{program}", program).encode() + b"\n")
        while len(left()) < 4:
            time.sleep(0.1)
        os.write(terminal, b"\x03")
        time.sleep(3)
        print(f"{tool}: {len(left())} of 4 left", flush=True)
        for survivor in left():
            os.kill(survivor, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


main()
