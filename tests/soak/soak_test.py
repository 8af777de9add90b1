"""soak.py without its parts: what it lists, that it goes on where it was, and how it adds up."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

BUILD = sys.argv.pop(1)
SOAK = pathlib.Path(__file__).with_name("soak.py")


def soak(*arguments):
    return subprocess.run([sys.executable, "-B", SOAK, BUILD, *arguments], capture_output=True, text=True, timeout=60)


class Soak(unittest.TestCase):
    def test_parts_are_listed_and_unknown_ones_refused(self):
        listed = soak("--list", "--results", "/nonexistent").stdout.split()
        self.assertIn("explore-two-changes", listed)
        self.assertIn("sim-9", listed)
        self.assertIn("chaos-growth", listed)
        refused = soak("--parts", "sim,earthquake")
        self.assertEqual(refused.returncode, 2)
        self.assertIn("earthquake", refused.stderr)

    def test_a_part_that_this_commit_has_passed_is_left_out_and_one_that_failed_is_not(self):
        with tempfile.TemporaryDirectory() as folder:
            results = pathlib.Path(folder) / "results.jsonl"
            first = soak("--parts", "explore-window", "--minutes", "-1", "--results", str(results))
            self.assertIn("next run", first.stdout)  # no time: nothing begun, nothing written
            self.assertFalse(results.exists())
            commit = subprocess.run(["git", "-C", SOAK.parent, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True).stdout.strip()
            rows = [{"part": "sim-0", "commit": commit, "passed": False}, {"part": "sim-1", "commit": "old", "passed": True}]
            rows += [{"part": "sim-2", "commit": c, "passed": True} for c in (commit, commit + "-dirty")]
            results.write_text("".join(json.dumps(row) + "\n" for row in rows))
            lines = soak("--list", "--parts", "sim-0,sim-1,sim-2", "--results", str(results)).stdout.splitlines()
            self.assertEqual([line.split()[1:] for line in lines], [[], [], ["passed"]])

    def test_parts_add_up(self):
        with tempfile.TemporaryDirectory() as folder:
            results = pathlib.Path(folder) / "results.jsonl"
            chaos = {"faults": {"kill": 30, "stop": 2}, "wrong_results": 0, "hangs": 1, "ops": 10,
                     "recovery_ms": {"kill": {"n": 25, "p50": 5, "p99": 20, "max": 30}}}
            rows = [{"part": f"chaos-{i}", "commit": f"c{i}", "date": "d", "wall_s": 60, "passed": i < 3, "figures": chaos} for i in (1, 2, 3)]
            rows += [{"part": f"sim-{i}", "commit": "c1", "wall_s": 9, "passed": True, "figures": {"seeds": 20000, "violations": 0}} for i in (0, 1)]
            results.write_text("".join(json.dumps(row) + "\n" for row in rows))
            text = soak("--table", "--results", str(results)).stdout
            self.assertIn("kill 60, stop 4", text)
            self.assertIn("hangs 2", text)
            self.assertIn("c1, c2:", text)
            self.assertIn("Found something: chaos-3, c3, d", text)  # said, and not added
            self.assertIn("40000 seeds, 0 violations", text)
            self.assertIn("| kill | 50 |", text)


if __name__ == "__main__":
    unittest.main()
