#!/usr/bin/env python3
"""The tables and ratios made from results: compared only within one state of the machine."""
import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
sys.dont_write_bytecode = True
import suite  # noqa: E402
import table  # noqa: E402


def point(impl, us, probe=0.07, size=1 << 20, ranks=2):
    return {"impl": impl, "ranks": ranks, "size": size, "us": us, "min_us": us / 2, "max_us": us * 2, "probe_us": [probe, probe]}


class Tables(unittest.TestCase):
    def test_a_ratio_is_made_only_within_one_state(self):
        points = [point("regroup-shm", 50), point("ompi-shm", 900, probe=0.3), point("regroup-tcp", 100)]
        self.assertEqual(table.summary(points), [])
        rows = table.summary(points + [point("ompi-shm", 100)])
        self.assertEqual([(r["ratio"], r["probe"], r["peer"]) for r in rows], [(2.0, "near", "ompi-shm")])

    def test_probes_that_disagree_are_mixed(self):
        self.assertEqual([table.state(p) for p in ([0.1, 0.1], [0.3, 0.3], [0.1, 0.3])], ["near", "far", "mixed"])

    def test_the_median_of_rounds_with_the_extremes_of_all(self):
        (entry,) = table.grouped([point("gloo", us) for us in (10, 30, 20)]).values()
        self.assertEqual(entry["gloo"], {"us": 20, "min_us": 5, "max_us": 60, "n": 3})

    def test_a_failed_point_is_left_out(self):
        failed = {"impl": "ompi-shm", "ranks": 2, "size": 4, "probe_us": [0.1, 0.1], "error": "no mpirun"}
        self.assertEqual(table.grouped([failed]), {})

    def test_sizes_and_times_as_text(self):
        self.assertEqual([table.size_text(n) for n in (4, 65536, 64 << 20, 1000)], ["4 B", "64 KiB", "64 MiB", "1000 B"])
        self.assertEqual([table.time_text(t) for t in (0.171, 12.34, 569.4, 12345, 123456)],
                         ["0.17 µs", "12.3 µs", "569 µs", "12.3 ms", "123 ms"])

    def test_sizes_are_parsed_with_powers_of_1024(self):
        self.assertEqual([suite.parse_size(s) for s in ("4", "64K", "1M", "1G")], [4, 65536, 1 << 20, 1 << 30])

    def test_the_whole_text_from_a_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            suite.write(folder, "all_reduce.json", {
                "machine": {"cpu": "C", "cores": 2, "kernel": "6"},
                "points": [point("ompi-shm", 100), point("regroup-shm-registered", 50),
                           point("regroup-shm-registered-no-commit", 49)]})
            suite.write(folder, "recovery.json", {
                "kills": 200, "signal": "KILL", "ranks": 4, "bytes": 16 << 20, "resident": 1 << 30,
                "kill_to_commit_ms": {"p50": 7.41, "p99": 15.3, "max": 16}, "op_ms_p50": 3.2, "lost_steps": 0,
                "wrong_results": 0, "machine": {"huge_pages": False}})
            text = table.markdown(folder)
        self.assertIn("| 1 MiB, 2 ranks | near | 100 µs (50.0 µs – 200 µs) | 50.0 µs (25.0 µs – 100 µs) |", text)
        self.assertIn("| all_reduce 1 MiB 2 ranks regroup-shm-registered | near | ompi-shm | 2.00 |", text)
        self.assertIn("| 1 MiB, 2 ranks, near | 50.0 µs | 49.0 µs | +2.0 % |", text)
        self.assertIn("| 200 × SIGKILL, 4 ranks, 16 MiB, 1 GiB resident | 4 KiB | 7.4 | 15.3 | 16.0 | 3.2 | 0 | 0 |", text)
        for line in text.splitlines():  # every row of a table as wide as its head
            if line.startswith("|"):
                self.assertTrue(line.endswith("|"), line)
        json.dumps(table.summary([point("ompi-shm", 1), point("regroup-shm", 1)]))


if __name__ == "__main__":
    unittest.main()
