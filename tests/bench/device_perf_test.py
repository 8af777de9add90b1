#!/usr/bin/env python3
"""The *_perf programs with buffers on a device (the simulated one) and with ranks as threads, as a script sees them."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from perf_test import BIN, FACTORS, ROOTED, rows, run

OTHERS = [("all_reduce_perf", ["-z", "0"]), ("all_reduce_perf", ["-m", "3"]), ("reduce_perf", ["-u", "1", "-N", "2"]),
          ("all_reduce_perf", ["--device", "host,late_us=300,seed=7"]), ("sendrecv_perf", ["-z", "0", "--device", "host,late_us=300"]),
          ("reduce_scatter_perf", ["-o", "mulsum", "-d", "all"]), ("all_reduce_perf", ["--no-commit"]),
          ("alltoall_perf", ["--in-place-only"]), ("all_reduce_perf", ["--seconds", "0.05", "--reps", "2"])]


class OnADevice(unittest.TestCase):
    def report_of(self, program, *flags, env=None, status=0):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "r.json")
            done = run(program, "--no-probe", "-J", path, *flags, env=env)
            self.assertEqual(done.returncode, status, done.stdout + done.stderr)
            with open(path, encoding="utf-8") as file:
                return json.load(file), done.stdout

    def check_program(self, name, *flags):
        report, text = self.report_of(name + "_perf", "-b", "1K", "-e", "64K", "-f", "64", "-n", "2", "-w", "1", "-c", "2", "-r", "-1",
                                      "--device", "host", *flags)
        self.assertIn(" buffers on host ", text)
        self.assertEqual(len(report["results"]), 6 if name in ROOTED else 2)
        for row, result in zip(rows(text), report["results"], strict=True):
            self.assertEqual((row[8], row[12]), ("0", "0"))
            self.assertEqual((result["device"], result["registered"]), ("host", "false"))
            self.assertNotIn("runtime_mib", result)
            self.assertAlmostEqual(result["in_place"]["bus_bw"] / result["in_place"]["alg_bw"], FACTORS[name], places=6)
            self.assertEqual("copy_gbs" in result, name == "all_reduce")
        return report

    def test_every_program_over_shared_memory_and_tcp(self):
        for name in FACTORS:
            for transport in ("shm", "tcp"):
                with self.subTest(f"{name} {transport}"):
                    report = self.check_program(name, "--ranks", "3", "--transport", transport)
                    self.assertEqual(report["results"][0]["transport"], transport)

    def test_every_program_with_ranks_as_threads(self):
        for name in FACTORS:
            with self.subTest(name):
                report = self.check_program(name, "--threads", "3")
                self.assertEqual((report["config"]["nthreads"], report["results"][0]["ranks"]), (3, 3))

    def test_ways_of_calling(self):
        for program, flags in OTHERS:
            with self.subTest((program, *flags)):
                device = [] if "--device" in flags else ["--device", "host"]
                done = run(program, "--ranks", "3", "-b", "16K", "-n", "3", "-w", "1", "--no-probe", *device, *flags)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("# Out of bounds values : 0 OK", done.stdout)

    def test_shares_of_the_traffic(self):
        report, text = self.report_of("all_reduce_perf", "--threads", "2", "--device", "host", "-b", "1M", "-n", "3")
        (result,) = report["results"]
        for side in ("out_of_place", "in_place"):
            copied = result["copy_gbs"] * result[side]["time"] * 1e3  # bytes
            for name, moved in (("2NS", 4), ("(2N+1)S", 5), ("(3N+1)S", 7)):
                self.assertAlmostEqual(result[side]["traffic_share"][name], moved * (1 << 20) / copied, places=6)
        self.assertEqual(text.count("# copy "), 1)

    def test_wrong_results_are_seen(self):
        for ranks in ("--ranks", "--threads"):
            for how, wrong in (("", 0), ("element", 6), ("stale", None)):
                with self.subTest((ranks, how)):
                    report, _ = self.report_of("broken_perf", ranks, "2", "--device", "host", "-b", "4K", "-n", "2", "-c", "3",
                                               env=dict(os.environ, BROKEN=how), status=0 if how == "" else 1)
                    count = report["out_of_bounds"]["count"]
                    self.assertTrue(count == wrong if wrong is not None else count > 5 * 900, count)

    def test_percentiles_and_ops_in_flight(self):
        for program, figure in (("latency_perf", "p99_us"), ("overlap_perf", "inflight_us")):
            for ranks in ("--ranks", "--threads"):
                report, text = self.report_of(program, ranks, "2", "--device", "host", "-b", "64K", "-n", "5", "-w", "1")
                self.assertIn(" buffers on host ", text)
                self.assertGreater(report["results"][0][figure], 0)
                self.assertEqual((report["results"][0]["device"], report["out_of_bounds"]["count"]), ("host", 0))

    def test_a_killed_rank_and_its_return(self):
        for transport in ("shm", "tcp"):
            for program, device in (("all_reduce_perf", "host"), ("all_gather_perf", "host,late_us=300")):
                with self.subTest(f"{program} {transport}"):
                    report, text = self.report_of(program, "--ranks", "3", "--device", device, "-b", "16K", "-e", "64K", "-f", "4", "-n",
                                                  "30", "--transport", transport, "--kill", "2@50", "--join", "70")
                    self.assertIn(" buffers on host ", text)
                    self.assertEqual(report["results"][0]["device"], "host")
                    self.assertEqual([r["live"] for r in report["results"]], [2, 3])
                    self.assertEqual(report["out_of_bounds"]["count"], 0)
                    self.assertGreater(report["results"][0]["t_recover_ms"], 0)

    def test_a_stopped_rank_comes_back(self):
        report, _ = self.report_of("all_reduce_perf", "--ranks", "3", "--device", "host", "-b", "16K", "-n", "10", "--stop", "2@3+1.5",
                                   "--join", "15")
        self.assertEqual((report["results"][0]["live"], report["out_of_bounds"]["count"]), (3, 0))

    def test_wrong_results_of_a_failure_run_are_seen(self):
        for how in ("element", "stale"):
            report, _ = self.report_of("broken_perf", "--ranks", "3", "--device", "host", "-b", "4K", "-n", "4", "--kill", "2@3",
                                       env=dict(os.environ, BROKEN=how), status=1)
            self.assertGreater(report["out_of_bounds"]["count"], 0)

    def test_recovery(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "r.json")
            done = run("recovery_perf", "--ranks", "3", "--device", "host,late_us=200", "-b", "256K", "--kills", "3", "--json", path)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(path, encoding="utf-8") as file:
                report = json.load(file)
        self.assertEqual((report["device"], report["kills"], report["lost_steps"], report["wrong_results"]), ("host,late_us=200", 3, 0, 0))
        self.assertGreater(report["kill_to_commit_ms"]["p50"], 0)


class Threads(unittest.TestCase):
    def test_the_table_is_the_same(self):
        done = run("all_reduce_perf", "--threads", "3", "-b", "4K", "-n", "3", "--registered")
        self.assertEqual(done.returncode, 0, done.stderr)
        (row,) = rows(done.stdout)
        self.assertEqual((len(row), row[8], row[12]), (13, "0", "0"))
        self.assertIn("# nThread 3 ", done.stdout)
        self.assertIn("# ranks 3 ", done.stdout)

    def test_a_signal_ends_the_run_and_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            started = subprocess.Popen([os.path.join(BIN, "all_reduce_perf"), "--threads", "2", "-b", "4K", "-n", "10000000", "--no-probe"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ, TMPDIR=folder))
            try:
                line = started.stdout.readline()
                while line and "(GB/s)" not in line:
                    line = started.stdout.readline()
                started.send_signal(signal.SIGTERM)
                _, said = started.communicate(timeout=30)
            finally:
                started.kill()
                started.wait()
            self.assertEqual((started.returncode, os.listdir(folder)), (1, []))
            self.assertIn("rank 1 did not end", said)

    def test_what_fails_at_a_rank_ends_the_run(self):
        begin = time.monotonic()
        done = run("all_reduce_perf", "--threads", "3", "-b", "4K", "-n", "100", "--device", "host,fail_at=150", "--no-probe")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("all_reduce_perf: rank ", done.stderr)
        self.assertLess(time.monotonic() - begin, 30)


class GpuBench(unittest.TestCase):
    """tools/gpu/bench.sh, which `make gpu-bench` runs on a GPU, on the simulated device."""

    def bench(self, build, folder, *parts):
        script = os.path.join(os.path.dirname(__file__), "../../tools/gpu/bench.sh")
        return subprocess.run([script, "--simulated", build, folder, *parts], capture_output=True, text=True, timeout=100)

    def test_every_result_says_where_and_from_what(self):
        names = ["kernels", *(f"{how}-{n}" for how in ("threads", "processes") for n in (2, 4, 8)), "recovery"]
        with tempfile.TemporaryDirectory() as folder:
            done = self.bench(os.path.dirname(BIN), folder)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(sorted(os.listdir(folder)), sorted(f"gpu-bench-{name}.json" for name in names))
            results = {}
            for name in names:
                with open(os.path.join(folder, f"gpu-bench-{name}.json"), encoding="utf-8") as file:
                    results[name] = json.load(file)
        for name, result in results.items():
            self.assertEqual((result["device"], result["driver"], result["commit"]), ("host", "none", "simulated"))
            self.assertIn("--device host", result["command"])
            if name[-1].isdigit():
                (row,) = result["results"]
                self.assertEqual((row["ranks"], result["config"]["nthreads"]), (int(name[-1]), int(name[-1]) if name[0] == "t" else 1))
                self.assertGreater(row["in_place"]["traffic_share"]["(3N+1)S"], 0)
        self.assertEqual(results["recovery"]["kills"], 2)

    def test_what_fails_is_told_and_leaves_no_result(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.bench("/nonexistent", folder, "recovery")
            self.assertEqual((done.returncode, os.listdir(folder)), (1, []))
            self.assertIn("gpu-bench: error: recovery failed", done.stderr)


class Refused(unittest.TestCase):
    def test_a_device_that_is_not_there(self):
        for program, flags in (("all_reduce_perf", ["--ranks", "2"]), ("all_reduce_perf", ["--threads", "2"]),
                               ("all_gather_perf", ["--ranks", "2", "--kill", "1@1"])):
            with self.subTest((program, *flags)):
                done = run(program, "--device", "cuda:1000", "--no-probe", "-b", "4K", "-T", "5", *flags)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertRegex(done.stderr, "cuda:1000|no GPU here")

    def test_bad_flags_are_named(self):
        for program, flags, named in (("all_reduce_perf", ["--device", "host", "--registered"], "--registered"),
                                      ("latency_perf", ["--device", "host", "--cut", "4K"], "--cut"),
                                      ("recovery_perf", ["--device", "gpu"], "--device 'gpu'")):
            with self.subTest((program, *flags)):
                done = run(program, *flags)
                self.assertEqual(done.returncode, 2)
                self.assertIn(named, done.stderr)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
