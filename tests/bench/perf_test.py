#!/usr/bin/env python3
"""The *_perf programs as a script sees them: table, JSON, exit status, errors that name what is wrong, bounded time."""
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

BIN = os.environ["REGROUP_TEST_BIN_DIR"]
FACTORS = {"all_reduce": 4 / 3, "all_gather": 2 / 3, "broadcast": 1, "reduce_scatter": 2 / 3, "reduce": 1,
           "alltoall": 2 / 3, "gather": 2 / 3, "scatter": 2 / 3, "sendrecv": 1}
ROOTED = ("broadcast", "reduce", "gather", "scatter")
REDUCES = ("all_reduce", "reduce", "reduce_scatter")


def run(program, *flags, env=None, timeout=60):
    command = [os.path.join(BIN, program), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env)


def clean_environment(**more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("REGROUP_", "OMPI_", "PMI", "MASTER_"))
            and k not in ("RANK", "WORLD_SIZE")}
    return dict(kept, **more)


def rows(text):
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


class Collectives(unittest.TestCase):
    def check_program(self, name, transport):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "r.json")
            done = run(name + "_perf", "--ranks", "3", "-b", "1K", "-e", "64K", "-f", "64", "-n", "2", "-w", "1", "-c", "2",
                       "-r", "-1", "--no-probe", "--transport", transport, "-J", path)
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(path) as file:
                report = json.load(file)
        roots = ["0", "1", "2"] if name in ROOTED else ["-1"]
        self.assertEqual([r[4] for r in rows(done.stdout)], [root for root in roots for _ in range(2)])
        for row in rows(done.stdout):
            self.assertEqual(len(row), 13)
            self.assertEqual(row[3], "sum" if name in REDUCES else "none")
            self.assertEqual((row[8], row[12]), ("0", "0"))  # nothing wrong, out of place and in place
        self.assertEqual(len(report["results"]), 2 * len(roots))
        for result in report["results"]:
            self.assertEqual((result["ranks"], result["transport"], result["registered"]), (3, transport, "false"))
            self.assertEqual(len(result["probe_us"]), 2)
            for side in (result["out_of_place"], result["in_place"]):
                self.assertAlmostEqual(side["bus_bw"] / side["alg_bw"], FACTORS[name], places=6)
                self.assertAlmostEqual(side["alg_bw"], result["size"] / side["time"] / 1e3, places=6)
        self.assertEqual(report["out_of_bounds"], {"count": 0, "okay": "true"})

    def test_every_program_over_shared_memory(self):
        for name in FACTORS:
            with self.subTest(name):
                self.check_program(name, "shm")

    def test_every_program_over_tcp(self):
        for name in FACTORS:
            with self.subTest(name):
                self.check_program(name, "tcp")

    def test_sizes_are_those_of_nccl_tests(self):
        done = run("all_gather_perf", "--ranks", "3", "-b", "1000", "-n", "1", "-w", "0", "--no-probe")
        self.assertEqual(rows(done.stdout)[0][:2], ["960", "80"])

    def test_ways_of_calling(self):
        for flags in (["-z", "0"], ["-m", "3"], ["--cut", "10000"], ["--cut", "4K", "--grouped"], ["-z", "0", "--cut", "4K"],
                      ["--registered", "-u", "1"], ["-N", "2"], ["--in-place-only"], ["-d", "all", "-o", "all"]):
            with self.subTest(flags):
                done = run("reduce_perf", "--ranks", "2", "-b", "64K", "-n", "2", "-w", "1", "--no-probe", *flags)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("# Out of bounds values : 0 OK", done.stdout)


class BadInput(unittest.TestCase):
    def refused(self, named, *flags, program="all_reduce_perf", env=None, code=2):
        begin = time.monotonic()
        done = run(program, *flags, env=env)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertIn(named, done.stderr)
        self.assertLess(time.monotonic() - begin, 30)

    def test_bad_flags_are_named(self):
        self.refused("--bogus", "--bogus")
        self.refused("16Q", "-b", "16Q")
        self.refused("float128", "-d", "float128")
        self.refused("all_gather_perf", "--cut", "4K", program="all_gather_perf")
        self.refused("there are 2 ranks", "--ranks", "2", "-r", "2", program="gather_perf")

    def test_without_ranks_it_says_what_to_do(self):
        self.refused("--ranks", env=clean_environment(), code=1)

    def test_a_root_that_is_not_there_under_a_launcher(self):
        env = clean_environment(REGROUP_TEST_BIN_DIR=BIN)
        done = subprocess.run([os.path.join(BIN, "regroup"), "run", "-n", "2", "--", os.path.join(BIN, "reduce_perf"), "-b",
                               "4K", "-r", "5"], capture_output=True, text=True, timeout=60, env=env)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("there are 2 ranks", done.stdout + done.stderr)


class Launchers(unittest.TestCase):
    def test_under_regroup_run(self):
        done = subprocess.run([os.path.join(BIN, "regroup"), "run", "-n", "2", "--", os.path.join(BIN, "all_gather_perf"), "-b",
                               "4K", "-n", "2"], capture_output=True, text=True, timeout=60, env=clean_environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("# Out of bounds values : 0 OK", done.stdout)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
