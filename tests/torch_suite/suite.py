#!/usr/bin/env python3
"""PyTorch's own test of distributed backends, from the installed wheel, under the name regroup.

    suite.py [--backend regroup] [--ranks 2] [--list FILE] [--record FILE] [TEST...]

Runs every test of torch.testing._internal.distributed.distributed_test that is not in the list (listed.txt: name, then the
reason), one process each, and prints passed, failed and listed. A test that skips itself counts as listed when it is in the
list and as failed when it is not. --record writes the outcome of each, for `--backend gloo` to compare with.
"""
import argparse
import os
import re
import signal
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CLASS = "TestRegroupSuite"


def make_class():
    """The suite's class, for a process that has BACKEND and WORLD_SIZE in its environment."""
    from torch.testing._internal import common_distributed
    backend = os.environ["BACKEND"]
    if backend not in common_distributed.DDP_RANK_DEVICES:
        for feature in ("ddp", "subgroup"):  # the names that the suite lets in
            common_distributed.DistTestCases.backend_feature[feature].add(backend)
    from torch.testing._internal.distributed import distributed_test
    return type(CLASS, (distributed_test.TestDistBackend, distributed_test.DistributedTest._DistTestBase),
                {"__module__": "__main__", "setUp": _set_up(distributed_test),
                 "world_size": property(lambda self: int(os.environ["WORLD_SIZE"]))})


def _set_up(distributed_test):
    def set_up(self):
        import torch
        distributed_test.TestDistBackend.setUp(self)
        self._start_processes(torch.multiprocessing.get_context("fork").Process)  # torch is imported once, not three times a test
    return set_up


def run_child(test, kind, out, folder):
    """The process of one test: its own session, so that what it leaves can be ended with it."""
    import unittest
    os.setsid()
    for target in (1, 2):
        os.dup2(out.fileno(), target)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    os.environ["TEMP_DIR"] = folder
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(unittest.TestSuite([kind(test)]))
    sys.stderr.flush()
    os._exit(2 if result.skipped else 0 if result.wasSuccessful() else 1)


def run_one(test, kind, timeout_s):
    """(test, "passed" | "skipped" | "failed", reason, seconds)"""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torch-suite-", ignore_cleanup_errors=True) as folder, tempfile.TemporaryFile() as out:
        child = os.fork()
        if child == 0:
            try:
                run_child(test, kind, out, folder)
            finally:
                os._exit(1)
        code = None
        while code is None and time.monotonic() - begin < timeout_s:
            done, status = os.waitpid(child, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status) if done else time.sleep(0.05)
        if code is None:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
        out.seek(0)
        text = out.read().decode(errors="replace")
    seconds = time.monotonic() - begin
    if code == 0:
        return test, "passed", "", seconds
    if code == 2:
        reason = re.search(r"skipped ['\"](.*)['\"]", text)
        return test, "skipped", reason.group(1) if reason else "", seconds
    lines = [line for line in text.splitlines() if re.search(r"Error|error|exit code", line) and "ERROR:" not in line]
    return test, "failed", (f"no end within {timeout_s:.0f} s" if code is None else lines[-1].strip() if lines else text[-200:])[:300], seconds


def read_list(path):
    listed = {}
    if path:
        for line in open(path, encoding="utf-8"):
            name, _, reason = line.strip().partition(" ")
            if name and not name.startswith("#"):
                listed[name] = reason.strip()
    return listed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="regroup")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--list", default=os.path.join(HERE, "listed.txt"))
    parser.add_argument("--timeout", type=float, default=180)
    parser.add_argument("--record")
    parser.add_argument("tests", nargs="*")
    arguments = parser.parse_args()
    listed = read_list(arguments.list)
    os.environ.update(BACKEND=arguments.backend, WORLD_SIZE=str(arguments.ranks), TEMP_DIR=tempfile.gettempdir(),
                      OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    import unittest
    kind = make_class()
    every = unittest.TestLoader().getTestCaseNames(kind)
    wanted = arguments.tests or [n for n in every if n not in listed]
    if unknown := [n for n in wanted if n not in every]:
        sys.exit(f"suite.py: error: no such tests in this torch: {' '.join(unknown)}")
    outcomes = []
    for name in wanted:
        test, outcome, reason, seconds = run_one(name, kind, arguments.timeout)
        outcomes.append((test, outcome, reason))
        print(f"{outcome:8} {seconds:6.1f} s  {test}  {reason}", flush=True)
    if arguments.record:
        with open(arguments.record, "w", encoding="utf-8") as file:
            file.writelines(f"{name}\t{outcome}\t{reason}\n" for name, outcome, reason in outcomes)
    passed = sum(o == "passed" for _, o, _ in outcomes)
    not_listed = len(every) - len(wanted) if not arguments.tests else 0
    print(f"{passed} passed, {len(outcomes) - passed} failed, {not_listed} listed "
          f"(backend {arguments.backend}, {arguments.ranks} ranks, {len(every)} tests)")
    return 0 if passed == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
