#!/usr/bin/env python3
"""The tables and ratios made from results: compared only within one state of the machine."""
import contextlib
import io
import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
sys.dont_write_bytecode = True
import cases  # noqa: E402
import plots  # noqa: E402
import suite  # noqa: E402
import table  # noqa: E402
import targets  # noqa: E402


def point(impl, us, probe=0.07, size=1 << 20, ranks=2):
    return {"impl": impl, "op": "all_reduce", "ranks": ranks, "size": size, "us": us, "min_us": us / 2, "max_us": us * 2, "probe_us": [probe, probe]}


class Tables(unittest.TestCase):
    def test_a_ratio_is_made_only_within_one_state(self):
        points = [point("regroup-shm", 50), point("ompi-shm", 900, probe=0.3), point("regroup-tcp", 100)]
        self.assertEqual(table.summary(points), [])
        rows = table.summary(points + [point("ompi-shm", 100)])
        self.assertEqual([(r["ratio"], r["probe"], r["peer"]) for r in rows], [(2.0, "near", "ompi-shm")])

    def test_points_of_no_state_make_no_ratio(self):
        self.assertEqual(table.summary([point("regroup-shm", 50, probe=0.14), point("ompi-shm", 100, probe=0.14)]), [])

    def test_probes_that_disagree_are_mixed(self):
        self.assertEqual([table.state(p) for p in ([0.1, 0.1], [0.3, 0.3], [0.1, 0.3])], ["near", "far", "mixed"])

    def test_the_median_of_rounds_with_the_extremes_of_all(self):
        (entry,) = table.grouped([point("gloo", us) for us in (10, 30, 20)]).values()
        self.assertEqual(entry["gloo"], {"us": 20, "min_us": 5, "max_us": 60, "n": 3})

    def test_a_failed_point_is_left_out(self):
        failed = {"impl": "ompi-shm", "op": "all_reduce", "ranks": 2, "size": 4, "probe_us": [0.1, 0.1], "error": "no mpirun"}
        self.assertEqual(table.grouped([failed]), {})

    def test_sizes_and_times_as_text(self):
        self.assertEqual([table.size_text(n) for n in (4, 65536, 64 << 20, 1000)], ["4 B", "64 KiB", "64 MiB", "1000 B"])
        self.assertEqual([table.time_text(t) for t in (0.171, 12.34, 569.4, 12345, 123456)],
                         ["0.17 µs", "12.3 µs", "569 µs", "12.3 ms", "123 ms"])

    def test_sizes_are_parsed_with_powers_of_1024(self):
        self.assertEqual([suite.parse_size(s) for s in ("4", "64K", "1M", "1G")], [4, 65536, 1 << 20, 1 << 30])

    def test_operations_are_kept_apart(self):
        other = {**point("ompi-shm", 1000), "op": "broadcast"}
        points = [point("regroup-shm", 50), point("ompi-shm", 100), other, {**point("regroup-shm", 500), "op": "broadcast"}]
        self.assertEqual([(r["case"], r["ratio"]) for r in table.summary(points)],
                         [("all_reduce 1 MiB 2 ranks regroup-shm", 2.0), ("broadcast 1 MiB 2 ranks regroup-shm", 2.0)])
        self.assertEqual(set(table.summary(points)[0]), {"case", "ours_us", "peer", "peer_us", "ratio", "probe"})
        text = "\n".join(table.operation_tables(points))
        self.assertIn("| all_reduce, fp32 | probe |", text)
        self.assertIn("| broadcast, fp32 | probe |", text)

    def test_the_whole_text_from_a_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            suite.write(folder, "collectives.json", {
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


class Plots(unittest.TestCase):
    def points(self):
        return [point(impl, us, size=size) for impl, us in (("regroup-shm", 100), ("ompi-shm", 200), ("regroup-tcp", 400))
                for size in (1 << 20, 4 << 20)] + [point("regroup-shm", 300)]

    def test_a_line_is_the_median_over_rounds_with_the_bus_bandwidth_of_the_operation(self):
        lines = plots.series(self.points(), "all_reduce", "shm", 2)
        self.assertEqual(list(lines), ["ompi-shm", "regroup-shm"])
        self.assertEqual([(s, us) for s, us, _ in lines["regroup-shm"]], [(1 << 20, 200), (4 << 20, 100)])
        self.assertAlmostEqual(lines["regroup-shm"][1][2], (4 << 20) / 100 / 1e3)

    def test_factors_are_those_of_the_programs(self):
        self.assertEqual([cases.bus_factor(op, 4) for op in ("all_reduce", "all_gather", "alltoall", "broadcast", "sendrecv")],
                         [1.5, 0.75, 0.75, 1, 1])

    def test_a_picture_per_operation_transport_and_ranks_with_at_least_two_sizes(self):
        self.assertEqual(plots.pictures(self.points()), [("all_reduce", "shm", 2), ("all_reduce", "tcp", 2)])
        self.assertEqual(plots.pictures([point("regroup-shm", 100), point("ompi-shm", 100, size=4)]), [])

    def test_failed_points_are_not_drawn(self):
        failed = {**point("regroup-shm", 1, size=64), "error": "no"}
        del failed["us"]
        self.assertEqual(plots.series([failed], "all_reduce", "shm", 2), {})

    @unittest.skipUnless(plots.available(), "no matplotlib here")
    def test_the_pictures_are_written(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = plots.draw_all(self.points(), os.path.join(folder, "plots"))
            self.assertEqual(len(paths), 2)
            with open(paths[0]) as file:
                text = file.read()
        self.assertIn("<svg", text)


class Suite(unittest.TestCase):
    def test_every_operation_has_a_program_and_both_sides(self):
        runner = cases.Runner("build", torch_python="python")
        for op in cases.OPERATIONS:
            names = list(runner.implementations(op, 16 << 20))
            self.assertTrue({"ompi-shm", "regroup-shm", "ompi-tcp", "regroup-tcp"} <= set(names), op)
        self.assertIn("regroup-shm-registered-cut", runner.implementations("all_reduce", 16 << 20))
        self.assertNotIn("regroup-shm-registered-cut", runner.implementations("all_reduce", 4))
        self.assertNotIn("gloo", runner.implementations("all_reduce_inflight", 4))

    def test_a_peer_that_is_not_there_is_an_error_of_its_point(self):
        with tempfile.TemporaryDirectory() as folder:
            runner = cases.Runner(folder, torch_python=os.path.join(folder, "none"))
            runner.probe = lambda: 0.07
            point_ = runner.point("gloo", "all_reduce", 2, 4)
        self.assertIn("none", point_["error"])

    def test_operations_that_do_not_exist_are_refused(self):
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as said:
            suite.arguments(["--ops", "all_reduce,foo"])
        self.assertIn("foo", said.getvalue())

    def test_sizes_by_operation(self):
        args = suite.arguments(["--sizes", "4,1M", "--other-sizes", "64K"])
        self.assertEqual([suite.sizes_of(args, op) for op in ("all_reduce", "broadcast", "all_reduce_inflight")],
                         [[4, 1 << 20], [65536], [1 << 20]])


class Targets(unittest.TestCase):
    class Nothing:
        torch_python = "python"

    def taken(self, name, us, probe, **rest):
        return {"name": name, "us": us, "probe_us": [probe, probe], **rest}

    def test_each_aim_is_judged_in_the_states_in_which_both_were_seen(self):
        row = targets.Row("x", "x", {"peer": 1.5}, far_aims={"peer": 4}, most_us=0.4, near_only=True, in_flight=1 << 20)
        points = [self.taken("x", 1, 0.05, runtime_mib=70), self.taken("x", 1, 0.3, runtime_mib=60), self.taken("x", 9, 0.14),
                  self.taken("peer", 2, 0.05), self.taken("peer", 2, 0.3), self.taken("peer", 9, 0.14)]
        judged = [(e["probe"], e["peer"], e.get("ratio"), e["met"]) for e in targets.judge([row], points)]
        self.assertEqual(judged, [("near", "time", None, False), ("near", "peer", 2, True), ("far", "peer", 2, False)])
        self.assertEqual(targets.memory([row], points), [("x", 70, 66)])
        self.assertIn("short", targets.memory_markdown(targets.memory([row], points)))

    def test_every_peer_of_a_row_is_a_point_that_is_measured(self):
        rows, points = targets.rows(self.Nothing())
        self.assertEqual([name for row in rows for name in (row.ours, *row.aims) if name not in points], [])


if __name__ == "__main__":
    unittest.main()
