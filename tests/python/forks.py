"""Ranks forked from one process that has imported torch: a test does not wait for as many imports as it has ranks.

Program: a job a line on standard input, {"code", "ranks", "environment", "timeout", "lives"}; its answer a line on standard
output, {"codes", "output"}. lives: 0: the ranks find each other as under torchrun; else they find a coordinator as under
`regroup run`, and one that was killed is forked again, with LIFE one higher, as long as it is below lives. What is left behind the time-out is ended by its id. Used by conftest.forked().
"""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def child(job, rank, life, address, output):
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)  # whole lines
    os.environ.update({"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(job["ranks"]), "LIFE": str(life), **address,
                       **job["environment"]})
    try:
        exec(compile(job["code"], "<rank>", "exec"), {"__name__": "__rank__"})
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
        if e.code and code == 1:
            print(e.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001  (the test sees it)
        traceback.print_exc()
        code = 1
    import atexit
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(job):
    if job["lives"] == 0:
        return run_at(job, {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())})
    from regroup._command import program
    with tempfile.TemporaryDirectory() as folder:
        coordinator = subprocess.Popen([program(), "coordinator", "--log", os.path.join(folder, "log"), "--create"],
                                       stdout=subprocess.PIPE, text=True)
        try:
            return run_at(job, {"REGROUP_COORDINATOR": coordinator.stdout.readline().split()[1]})
        finally:
            coordinator.kill()
            coordinator.wait()


def run_at(job, address):
    codes, lives, pids = {}, {rank: 0 for rank in range(job["ranks"])}, {}

    def start(rank):
        pid = os.fork()
        if pid == 0:
            child(job, rank, lives[rank], address, output.fileno())
        pids[pid] = rank
    with tempfile.TemporaryFile() as output:
        for rank in lives:
            start(rank)
        until = time.monotonic() + job["timeout"]
        while pids:
            pid, status = next(((p, s) for p in pids for got, s in [os.waitpid(p, os.WNOHANG)] if got), (0, 0))
            if pid:
                rank, code = pids.pop(pid), os.waitstatus_to_exitcode(status)
                codes[rank] = code
                if code == -signal.SIGKILL and lives[rank] + 1 < job["lives"] and until != float("inf"):
                    lives[rank] += 1
                    start(rank)
            elif time.monotonic() > until:
                for late in pids:
                    os.kill(late, signal.SIGKILL)
                until = float("inf")
            else:
                time.sleep(0.005)
        output.seek(0)
        return {"codes": [codes[r] for r in range(job["ranks"])], "output": output.read().decode(errors="replace")}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch.distributed  # noqa: F401  (this is what is saved)
    import torch.distributed.tensor  # noqa: F401
    import regroup.torch
    regroup.torch._load()
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
