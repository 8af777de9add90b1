#!/usr/bin/env python3
"""The *_perf programs as a script sees them: table, JSON, exit status, errors that name what is wrong, bounded time."""
import json
import os
import shutil
import socket
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
                      ["--registered", "-u", "1"], ["-N", "2"], ["--in-place-only"], ["--out-of-place-only"], ["-d", "all", "-o", "all"]):
            with self.subTest(flags):
                done = run("reduce_perf", "--ranks", "2", "-b", "64K", "-n", "2", "-w", "1", "--no-probe", *flags)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("# Out of bounds values : 0 OK", done.stdout)


    def test_pre_multiplied_sums(self):
        for name in REDUCES:
            for flags in (["--transport", "shm"], ["--transport", "tcp"], ["--registered", "-u", "1"], ["--cut", "512"],
                          ["-z", "0"], ["-m", "2"], ["--kill", "1@3"]):
                if name == "reduce_scatter" and "--cut" in flags:
                    continue
                with self.subTest((name, *flags)):
                    done = run(name + "_perf", "--ranks", "3", "-b", "4K", "-n", "4", "-w", "1", "--no-probe", "-o", "mulsum",
                               "-d", "float" if "--kill" in flags else "all", *flags)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertEqual({row[3] for row in rows(done.stdout)}, {"mulsum"})
                    self.assertEqual({(row[8], row[12]) for row in rows(done.stdout)}, {("0", "0")})


class Device(unittest.TestCase):
    def test_every_kernel_has_a_row_on_the_simulated_device(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "r.json")
            done = run("device_perf", "--device", "host", "--bytes", "64K", "--ctas", "1,3", "--rounds", "1", "--launches", "2", "--gemm", "48",
                       "--json", path)
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(path) as file:
                report = json.load(file)
        self.assertEqual((report["device"], report["bytes"], len(report["rows"])), ("host", 65536, 20))
        self.assertTrue(all(row["gbs"] > 0 and row["copy_gbs"] > 0 for row in report["rows"]))
        self.assertEqual([(row["kernel"], row["ctas"]) for row in report["beside"]], [("reduce 2 to 1, f32", 1), ("reduce 2 to 1, f32", 3)])
        self.assertTrue(all(row["alone_us"] > 0 and row["beside_us"] > 0 and row["kernel_launches"] > 0 for row in report["beside"]))

    def test_what_cannot_be_measured_is_refused(self):
        for flags, status in ((["--device", "gpu"], 1), (["--device", "host", "--bytes", "5000"], 1), (["--device", "cuda:1000"], 2)):
            with self.subTest(flags):
                done = run("device_perf", *flags)
                self.assertEqual(done.returncode, status)
                self.assertIn("device_perf: error: ", done.stderr)


class WrongResults(unittest.TestCase):
    """The program broken_perf is wrong on purpose: the table, the report and the exit status must say so."""

    def check(self, how, *flags, ranks="2"):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "r.json")
            done = run("broken_perf", "--ranks", ranks, "-b", "4K", "-n", "4", "-w", "1", "-c", "3", "--no-probe", "-J", path, *flags,
                       env=dict(os.environ, BROKEN=how))
            with open(path) as file:
                report = json.load(file)
        return done, report

    def test_without_a_fault_it_is_right(self):
        done, report = self.check("")
        self.assertEqual((done.returncode, report["out_of_bounds"]["count"]), (0, 0))

    def test_one_bit_at_one_rank_is_seen(self):
        done, report = self.check("element")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(rows(done.stdout)[0][8], "3")  # one element in each of three checked calls
        self.assertEqual(report["out_of_bounds"], {"count": 6, "okay": "false"})
        self.assertIn("FAILED", done.stdout)

    def test_a_result_of_an_earlier_call_is_seen(self):
        done, report = self.check("stale")
        self.assertEqual(done.returncode, 1)
        self.assertGreater(report["results"][0]["out_of_place"]["nwrong"], 3 * 2 * 900)  # nearly all of 1024, at both ranks

    def test_both_are_seen_in_a_failure_run(self):
        for how in ("element", "stale"):
            done, report = self.check(how, "--kill", "2@3", ranks="3")
            self.assertEqual(done.returncode, 1, how)
            self.assertGreater(report["out_of_bounds"]["count"], 0)

    def test_a_bandwidth_below_what_is_asked_for_fails(self):
        done = run("all_reduce_perf", "--ranks", "2", "-b", "4K", "-n", "2", "--no-probe",
                   env=dict(os.environ, NCCL_TESTS_MIN_BW="1e9"))
        self.assertEqual(done.returncode, 1)


class OwnFigures(unittest.TestCase):
    def figures(self, program, *flags):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "r.json")
            done = run(program, "--ranks", "2", "--no-probe", "-J", path, *flags)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(path) as file:
                report = json.load(file)
        self.assertEqual(report["out_of_bounds"], {"count": 0, "okay": "true"})
        self.assertEqual(len(rows(done.stdout)), len(report["results"]))
        return report["results"]

    def test_percentiles_of_single_calls(self):
        for flags in ([], ["--collective", "all_gather", "--transport", "tcp"], ["--collective", "reduce_perf", "--registered"]):
            with self.subTest(flags):
                results = self.figures("latency_perf", "-b", "64", "-e", "256", "-f", "4", "-n", "200", *flags)
                self.assertEqual(len(results), 2)
                for r in results:
                    values = [r[k] for k in ("p50_us", "p90_us", "p99_us", "p99.9_us", "max_us")]
                    self.assertEqual(values, sorted(values))
                    self.assertGreater(values[0], 0)

    def test_ops_in_flight_and_a_compute_loop(self):
        (r,) = self.figures("overlap_perf", "-b", "256K", "-n", "3", "-w", "1", "--in-flight", "3")
        self.assertEqual(r["ops_n"], 3)
        self.assertAlmostEqual(r["rate_%"], 100 * r["single_us"] / r["inflight_us"], places=6)
        hidden = r["inflight_us"] + r["compute_us"] - r["both_us"]
        self.assertAlmostEqual(r["overlap_%"], 100 * hidden / min(r["inflight_us"], r["compute_us"]), places=6)


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

    def test_bad_flags_of_the_other_programs_are_named(self):
        self.refused("'foo'", "--collective", "foo", program="latency_perf")
        self.refused("--collective", "--collective", program="latency_perf")
        self.refused("--kill", "--ranks", "2", "--kill", "1@1", program="latency_perf")
        self.refused("gather_perf", "--collective", "gather", program="overlap_perf")
        self.refused("--in-flight", "--in-flight", "0", program="overlap_perf")

    def test_without_ranks_it_says_what_to_do(self):
        self.refused("--ranks", env=clean_environment(), code=1)

    def test_a_root_that_is_not_there_under_a_launcher(self):
        env = clean_environment(REGROUP_TEST_BIN_DIR=BIN)
        done = subprocess.run([os.path.join(BIN, "regroup"), "run", "-n", "2", "--", os.path.join(BIN, "reduce_perf"), "-b",
                               "4K", "-r", "5"], capture_output=True, text=True, timeout=60, env=env)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("there are 2 ranks", done.stdout + done.stderr)


    def test_a_failure_beyond_the_run_is_refused(self):
        self.refused("--kill 1@8", "--ranks", "2", "-n", "4", "--kill", "1@8")

    def test_a_rank_that_never_starts_is_named_in_bounded_time(self):
        with tempfile.TemporaryDirectory(dir=BIN) as folder:  # a hard link stays on one file system
            os.link(os.path.join(BIN, "all_reduce_perf"), os.path.join(folder, "first"))
            os.symlink(os.path.join(BIN, "regroup"), os.path.join(folder, "regroup"))
            script = os.path.join(folder, "all_reduce_perf")  # what the parent starts as its ranks
            with open(script, "w") as file:
                file.write('#!/bin/sh\nif [ "$REGROUP_RANK" = 1 ]; then exec sleep 300; fi\n'
                           f'exec {BIN}/all_reduce_perf "$@"\n')
            os.chmod(script, 0o755)
            begin = time.monotonic()
            for flags in ([], ["--kill", "0@1"]):
                done = subprocess.run([os.path.join(folder, "first"), "--ranks", "3", "-b", "4K", "-T", "2", *flags],
                                      capture_output=True, text=True, timeout=60, env=clean_environment())
                self.assertNotEqual(done.returncode, 0)
                self.assertRegex(done.stderr, r"rank 1 never came|never came: rank 1\n")
                self.assertNotRegex(done.stderr, r"rank [02] never came")
            self.assertLess(time.monotonic() - begin, 40)


class Failures(unittest.TestCase):
    """A rank that dies, and one that stops: the run goes on, every result is right, the extra columns tell."""

    def failure_run(self, program, *flags):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "r.json")
            done = run(program, "--ranks", "3", "--no-probe", "-J", path, *flags)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(path) as file:
                report = json.load(file)
        for row in rows(done.stdout):
            self.assertEqual(len(row), 16)
            self.assertEqual((row[8], row[12]), ("0", "0"))
        for row, result in zip(rows(done.stdout), report["results"], strict=True):
            self.assertEqual([row[13], row[14]], [str(result["live"]), str(result["epoch"])])
        return report["results"], done.stdout

    def test_a_killed_rank_and_its_return(self):
        for transport in ("shm", "tcp"):
            for program in ("all_reduce_perf", "all_gather_perf"):
                with self.subTest(f"{program} {transport}"):
                    results, text = self.failure_run(program, "-b", "16K", "-e", "64K", "-f", "4", "-n", "10", "--transport",
                                                     transport, "--kill", "1@5", "--join", "25")
                    self.assertEqual([r["live"] for r in results], [2, 3])
                    self.assertGreater(results[0]["epoch"], 1)
                    self.assertGreater(results[1]["epoch"], results[0]["epoch"])
                    self.assertGreater(results[0]["t_recover_ms"], 0)
                    self.assertIsNone(results[1]["t_recover_ms"])
                    self.assertIn("# kill: rank 1 in call 5", text)

    def test_a_root_that_dies(self):
        results, _ = self.failure_run("broadcast_perf", "-b", "16K", "-n", "10", "--kill", "0@5")
        self.assertEqual(results[0]["live"], 2)

    def test_a_stopped_rank_comes_back(self):
        results, _ = self.failure_run("all_reduce_perf", "-b", "16K", "-n", "10", "--stop", "2@3+1.5", "--join", "15")
        self.assertEqual(results[0]["live"], 3)
        self.assertGreaterEqual(results[0]["epoch"], 3)  # out, and in again
        self.assertGreater(results[0]["t_recover_ms"], 300)  # the suspicion time, less what it had beaten before

    def test_nobody_is_left_behind(self):
        before = set(os.listdir("/proc"))
        self.failure_run("all_reduce_perf", "-b", "4K", "-n", "10", "--kill", "1@5", "--join", "15")
        for pid in set(os.listdir("/proc")) - before:
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    command = file.read()
                with open(f"/proc/{pid}/status") as file:
                    parent = next(line.split()[1] for line in file if line.startswith("PPid:"))
            except (OSError, StopIteration):
                continue
            self.assertFalse(b"--kill\x001@5\x00" in command and b"all_reduce_perf" in command and parent == "1", command)


class Launchers(unittest.TestCase):
    def test_torchrun_variables(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        started = [subprocess.Popen([os.path.join(BIN, "gather_perf"), "-b", "4K", "-n", "2"], stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True,
                                    env=clean_environment(RANK=str(r), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
                                                          MASTER_PORT=port)) for r in range(2)]
        texts = [p.communicate(timeout=60)[0] for p in started]
        self.assertEqual([p.returncode for p in started], [0, 0], texts)
        self.assertIn("# Out of bounds values : 0 OK", texts[0])

    @unittest.skipUnless(shutil.which("mpirun.openmpi"), "no Open MPI here")
    def test_under_mpirun(self):
        done = subprocess.run(["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", "3",
                               os.path.join(BIN, "reduce_scatter_perf"), "-b", "4K", "-n", "2"],
                              capture_output=True, text=True, timeout=60, env=clean_environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(rows(done.stdout)), 1)
        self.assertIn("# ranks 3 ", done.stdout)

    def test_several_hosts_without_an_address_are_refused(self):
        env = clean_environment(OMPI_COMM_WORLD_RANK="0", OMPI_COMM_WORLD_SIZE="2", OMPI_COMM_WORLD_LOCAL_SIZE="1")
        done = run("all_reduce_perf", env=env)
        self.assertEqual(done.returncode, 1)
        self.assertIn("MASTER_ADDR", done.stderr)

    def test_under_regroup_run(self):
        done = subprocess.run([os.path.join(BIN, "regroup"), "run", "-n", "2", "--", os.path.join(BIN, "all_gather_perf"), "-b",
                               "4K", "-n", "2"], capture_output=True, text=True, timeout=60, env=clean_environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("# Out of bounds values : 0 OK", done.stdout)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
