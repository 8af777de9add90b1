#!/usr/bin/env python3
"""Each check sees a breach in a small tree made for it, and passes one without."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "checks"))
import headers
import layers
import paths
import sizes

UP = ".." + "/"  # written so that the check of this tree does not see it


class Tree(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = self.folder.name
        self.addCleanup(self.folder.cleanup)

    def write(self, path, text=""):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)

    def layers(self):
        return layers.check(self.root)[0]

    def test_an_allowed_arrow_passes(self):
        self.write("base/result.h")
        self.write("ft/core/member.h", '#include "base/result.h"\n#include <vector>\n')
        self.write("ft/driver/loop.cc", '#include "ft/core/member.h"\n#include <thread>\n')
        self.assertEqual(self.layers(), [])

    def test_an_arrow_that_the_table_does_not_name_fails(self):
        self.write("ft/driver/loop.h")
        self.write("transport/tcp/link.cc", '\n#include "ft/driver/loop.h"\n')
        self.assertIn("transport/tcp/link.cc:2: transport/tcp may not include ft/driver", self.layers()[0])

    def test_the_core_may_not_see_a_thread_a_socket_or_a_clock(self):
        self.write("base/clock.h")
        self.write("ft/core/member.cc", '#include <thread>\n#include <sys/socket.h>\n#include "base/clock.h"\n')
        self.assertEqual(len(self.layers()), 3)

    def test_a_program_may_see_only_public_headers(self):
        self.write("base/log.h")
        self.write("base/result.h")
        self.write("runtime/api/regroup/group.h", '#include "base/result.h"\n')
        self.write("examples/train.cc", '#include "regroup/group.h"\n#include "base/log.h"\n')
        self.assertEqual(len(self.layers()), 1)
        self.assertIn("examples/train.cc:2", self.layers()[0])

    def test_a_public_header_may_not_see_the_inside(self):
        self.write("runtime/work/work.h")
        self.write("runtime/api/regroup/group.h", '#include "runtime/work/work.h"\n')
        self.assertEqual(len(self.layers()), 1)

    def test_a_cycle_of_rooms_fails(self):
        self.write("runtime/work/a.h", '#include "runtime/exec/b.h"\n')
        self.write("runtime/exec/b.h")
        self.write("runtime/exec/c.h", '#include "runtime/work/d.h"\n')
        self.write("runtime/work/d.h")
        self.assertIn("cycle of rooms", self.layers()[0])

    def test_a_cycle_of_headers_fails(self):
        self.write("base/a.h", '#include "base/b.h"\n')
        self.write("base/b.h", '#include "base/a.h"\n')
        self.assertIn("cycle of files: base/a.h -> base/b.h -> base/a.h", self.layers())

    def test_a_folder_without_a_room_fails(self):
        self.write("misc/x.h")
        self.assertIn("no room", self.layers()[0])

    def test_an_include_of_ours_that_is_not_there_fails(self):
        self.write("base/a.h", '#include "base/gone.h"\n')
        self.assertIn("is not there", self.layers()[0])

    def test_a_long_file_warns_and_a_very_long_one_fails(self):
        self.write("base/a.cc", "\n" * 401)
        self.write("base/b.cc", "\n" * 601)
        self.write("base/c.cc", "\n" * 400)
        warnings, errors = sizes.check(self.root)
        self.assertEqual((len(warnings), len(errors)), (1, 1))

    def test_paths_out_of_the_clone_fail(self):
        self.write("tools/a.sh", f"cat {UP}data.txt\ncat {UP}{UP}shared/data.txt\n")
        self.write("base/b.cc", 'open("' + "/ho" + 'me/me/x");\nopen("/proc/self/maps");\n')
        errors = paths.check(self.root)
        self.assertEqual(len(errors), 2)
        self.assertIn("base/b.cc:1", errors[0])
        self.assertIn("tools/a.sh:2", errors[1])

    def test_a_header_that_needs_another_first_fails(self):
        self.write("base/a.h", "#pragma once\nstd::string name();\n")
        self.write("base/b.h", "#pragma once\n#include <string>\nstd::string name();\n")
        command = [os.environ.get("CXX", "c++"), "-std=c++20", "-I" + self.root]
        self.assertNotEqual(headers.compile_alone(command, self.root, "base/a.h")[0], 0)
        self.assertEqual(headers.compile_alone(command, self.root, "base/b.h")[0], 0)


if __name__ == "__main__":
    unittest.main()
