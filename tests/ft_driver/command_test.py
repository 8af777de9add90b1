#!/usr/bin/env python3
"""`regroup coordinator` and `regroup status` as a user runs them. Argument: the program."""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

REGROUP = sys.argv.pop()
BOUND_S = 10


def run(*args, **more):
    return subprocess.run([REGROUP, *args], capture_output=True, text=True, timeout=BOUND_S, **more)


class Coordinator:
    """A coordinator in the foreground, ended by SIGTERM."""

    def __init__(self, *args, env=None):
        self.process = subprocess.Popen([REGROUP, "coordinator", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, env={**os.environ, **(env or {})})
        line = self.process.stdout.readline().split()
        self.address = line[1] if len(line) == 2 and line[0] == "coordinator" else None

    def end(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        _, err = self.process.communicate(timeout=BOUND_S)
        return self.process.returncode, err

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=BOUND_S)


def eventually(condition):
    until = time.monotonic() + BOUND_S
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.01)
    return False


class Command(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.log = os.path.join(folder.name, "views.log")

    def listen(self, *args, **more):
        return Coordinator("--listen", "127.0.0.1:0", "--log", self.log, *args, **more)

    def test_port_0_is_chosen_and_printed_and_status_answers(self):
        with self.listen("--create", "--group", "g") as c:
            self.assertRegex(c.address, r"^127\.0\.0\.1:[1-9]\d*$")
            table = run("status", "--coordinator", c.address)
            self.assertEqual(table.returncode, 0, table.stderr)
            self.assertIn("group g", table.stdout)
            answer = run("status", "--json", env={**os.environ, "REGROUP_COORDINATOR": c.address})
            status = json.loads(answer.stdout)
            self.assertEqual((status["group"], status["epoch"], status["pid"]), ("g", 0, c.process.pid))
            self.assertEqual(c.end(), (0, ""))
        self.assertNotEqual(run("status", "--coordinator", c.address).returncode, 0)

    def test_the_log_id_stays_over_a_restart(self):
        ids = []
        for args in (["--create"], []):
            with self.listen(*args) as c:
                ids.append(json.loads(run("status", "--coordinator", c.address, "--json").stdout)["log_id"])
                self.assertEqual(c.end(signal.SIGINT)[0], 0)
        self.assertEqual(ids[0], ids[1])

    def test_a_log_is_made_only_when_that_is_asked_for_and_only_once(self):
        missing = run("coordinator", "--listen", "127.0.0.1:0", "--log", self.log)
        self.assertEqual(missing.returncode, 1)
        self.assertIn(self.log, missing.stderr)
        with self.listen("--create"):
            locked = run("coordinator", "--listen", "127.0.0.1:0", "--log", self.log)
            self.assertEqual(locked.returncode, 1)
            self.assertIn("in use", locked.stderr)
        again = run("coordinator", "--listen", "127.0.0.1:0", "--log", self.log, "--create")
        self.assertEqual(again.returncode, 1)
        self.assertIn("exists", again.stderr)

    def test_a_port_in_use_and_bad_addresses_are_errors_at_once(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            where = "127.0.0.1:%d" % taken.getsockname()[1]
            busy = run("coordinator", "--listen", where, "--log", self.log, "--create")
            self.assertEqual(busy.returncode, 3)
            self.assertIn(where, busy.stderr)
        for where in ("nowhere", "127.0.0.1:99999", "192.0.2.1:0"):
            bad = run("coordinator", "--listen", where, "--log", self.log, "--create")
            self.assertEqual(bad.returncode, 1, where)
            self.assertTrue(bad.stderr)
        self.assertFalse(os.path.exists(self.log))
        self.assertNotEqual(run("coordinator", "--create").returncode, 0)  # no log named
        self.assertNotEqual(run("coordinator", "--log", self.log, "--suspicion-ms", "-1").returncode, 0)

    def test_a_secret_comes_from_a_file_and_is_needed_by_status(self):
        secret = self.log + ".secret"
        with open(secret, "w") as file:
            file.write("s3cret\n")
        with self.listen("--create", "--secret-file", secret) as c:
            self.assertIn("secret", run("status", "--coordinator", c.address).stderr)
            good = run("status", "--coordinator", c.address, "--json", env={**os.environ, "REGROUP_SECRET": "s3cret"})
            self.assertEqual(good.returncode, 0, good.stderr)
            self.assertNotIn("s3cret", good.stdout)
        none = run("coordinator", "--log", self.log, "--secret-file", self.log + ".none")
        self.assertIn(".none", none.stderr)

    def test_detached_it_returns_when_it_listens_and_ends_when_idle(self):
        done = run("coordinator", "--listen", "127.0.0.1:0", "--log", self.log, "--create", "--detach", "--idle-exit", "1")
        self.assertEqual(done.returncode, 0, done.stderr)  # run() has read its output to the end: nothing is held open
        address = done.stdout.split()[1]
        pid = json.loads(run("status", "--coordinator", address, "--json").stdout)["pid"]
        self.assertNotEqual(os.getsid(pid), os.getsid(0))
        self.assertTrue(eventually(lambda: run("status", "--coordinator", address).returncode != 0))

    def test_status_needs_to_know_where(self):
        env = {k: v for k, v in os.environ.items() if k != "REGROUP_COORDINATOR"}
        self.assertEqual(run("status", env=env).returncode, 2)
        self.assertEqual(run("status", "--coordinator", "127.0.0.1:1", env=env).returncode, 1)


if __name__ == "__main__":
    unittest.main()
