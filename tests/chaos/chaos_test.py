"""`regroup chaos` as its users run it: the short form of the soak, and that it turns red when the commit rule is off."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

NCCL = sys.argv.pop(2)  # the stand-in
REGROUP = sys.argv.pop(1)
KEYS = {"faults", "recovery_ms", "next_commit_ms", "ops", "redo_ms_p50", "false_suspicions", "wrong_results", "hangs",
        "skipped", "lost_steps", "unexpected_ends", "growth", "partition_kinds", "points"}


def chaos(*arguments, **environment):
    with tempfile.TemporaryDirectory() as folder:
        result = os.path.join(folder, "chaos.json")
        done = subprocess.run([REGROUP, "chaos", "--json", result, *arguments], stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200,
                              env=os.environ | {"TMPDIR": folder} | environment)
        found = None
        if os.path.exists(result):
            with open(result) as file:
                found = json.load(file)
        left = [name for name in os.listdir(folder) if name.startswith("regroup-chaos-")]
        return done, found, left


class Chaos(unittest.TestCase):
    def test_every_arena_goes_through_faults_with_right_results_only(self):
        done, found, left = chaos("--members", "4", "--seconds", "18", "--seed", "2")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertLessEqual(KEYS, found.keys())
        for key in ("wrong_results", "lost_steps", "hangs", "unexpected_ends"):
            self.assertEqual(found[key], 0, done.stdout)
        self.assertGreater(found["faults"]["kill"], 3, done.stdout)
        self.assertGreater(found["ops"], 100)
        for fault in found["recovery_ms"].values():
            self.assertLessEqual({"p50", "p99", "max"}, fault.keys())
        for life in found["growth"]:
            self.assertEqual(len(life["rss_mib"]), len(life["descriptors"]))
            self.assertTrue(all(0 < mib <= life["rss_mib_peak"] for mib in life["rss_mib"]), life)
        self.assertEqual(left, [], "a run that found nothing leaves nothing behind")
        if os.geteuid() == 0:
            self.assertFalse([s for s in found["skipped"] if s.startswith("partition")], found["skipped"])

    def test_members_with_buffers_on_a_device(self):
        done, found, left = chaos("--members", "3", "--seconds", "8", "--seed", "5", "--faults", "kill,stop,join", "--arenas", "shm,tcp",
                                  "--device", "host,late_us=100")
        self.assertEqual(done.returncode, 0, done.stdout)
        for key in ("wrong_results", "lost_steps", "hangs", "unexpected_ends"):
            self.assertEqual(found[key], 0, done.stdout)
        self.assertGreater(found["faults"]["kill"], 1, done.stdout)
        self.assertGreater(found["ops"], 50)
        self.assertGreater(found["commits_on_device"], 20, "over shared memory peers read device memory of one another")
        self.assertEqual(left, [])

    def test_members_whose_ops_nccl_carries(self):
        done, found, left = chaos("--members", "4", "--seconds", "10", "--seed", "5", "--faults", "kill,view_change_kill,stop,join",
                                  "--arenas", "nccl", REGROUP_NCCL_LIBRARY=NCCL)
        self.assertEqual(done.returncode, 0, done.stdout)
        for key in ("wrong_results", "lost_steps", "hangs", "unexpected_ends"):
            self.assertEqual(found[key], 0, done.stdout)
        self.assertGreater(found["faults"]["kill"], 1, done.stdout)
        self.assertGreater(found["by_nccl"], 50, done.stdout)
        self.assertEqual(left, [])

    @unittest.skipUnless(os.environ.get("REGROUP_TEST_UCX"), "a build without UCX")
    def test_members_whose_payloads_ucx_takes_from_a_device(self):
        for tls in "tcp", "posix,cma":
            done, found, left = chaos("--members", "4", "--seconds", "8", "--seed", "6", "--faults", "kill,view_change_kill,stop,join", "--arenas", "ucx",
                                      "--device", "host,late_us=20", UCX_TLS=tls, UCX_LOG_LEVEL="fatal", REGROUP_PLAN="direct")
            self.assertEqual(done.returncode, 0, done.stdout)
            for key in ("wrong_results", "lost_steps", "hangs", "unexpected_ends"):
                self.assertEqual(found[key], 0, done.stdout)
            self.assertGreater(found["faults"]["kill"], 1, done.stdout)
            self.assertGreater(found["commits_on_device"], 20, done.stdout)
            self.assertEqual(left, [])

    def test_an_arena_whose_library_is_not_there_says_so(self):
        done, found, _ = chaos("--members", "2", "--seconds", "1", "--arenas", "nccl", "--faults", "kill", REGROUP_NCCL_LIBRARY="/nowhere/nccl.so")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("transport nccl: /nowhere/nccl.so", done.stdout)

    def test_a_fault_for_which_there_are_too_few_members_is_left_out(self):
        done, found, _ = chaos("--members", "2", "--seconds", "1", "--arenas", "shm", "--faults", "kill,join")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("join: needs 3 members that may be killed", found["skipped"])

    def test_without_the_commit_rule_it_turns_red(self):
        # A pause is enough: the others go on, and what the paused one commits when it wakes is not what they have.
        done, found, left = chaos("--members", "4", "--seconds", "8", "--seed", "1", "--faults", "stop,kill", "--arenas", "shm",
                                  "--hang", "6", REGROUP_NO_COMMIT="1")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertGreater(sum(found[key] for key in ("wrong_results", "lost_steps", "hangs", "unexpected_ends")), 0)
        self.assertTrue(left, "what was found is kept")

    def test_bad_input_is_an_error_that_names_it(self):
        for arguments, word in ((["--faults", "kill,earthquake"], "earthquake"), (["--arenas", "moon"], "moon"),
                                (["--members", "1"], "members"), (["--device", "gpu"], "device"), (["--seconds", "0"], "seconds"), (["--max-bytes", "4"], "bytes"),
                                (["--arenas", "shm", "--faults", "partition"], "none of the faults")):
            done, found, _ = chaos(*arguments)
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn(word, done.stdout)
            self.assertIsNone(found)


if __name__ == "__main__":
    unittest.main()
