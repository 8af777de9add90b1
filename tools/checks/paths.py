#!/usr/bin/env python3
"""paths.py ROOT: nothing names a path outside the clone: no home or mount of one machine, no `../` that climbs out.
What every Linux has (/proc, /sys, /dev, /tmp, /usr, /etc, /run) may be named."""
import os
import re
import sys

import sources

TEXT = sources.CODE + (".txt", ".json", ".in", ".md", ".yml", ".yaml", ".toml", ".map")
NAMES = {"Makefile", "run", ".gitignore", ".clang-format", ".clang-tidy"}
MACHINE = re.compile(r"(?<![\w.$}>\-/])/(?:work|home|root|mnt|srv|opt|media|Users|data)/[\w.]+")
CLIMB = re.compile(r"(?<![\w./$}])(?:\.\./)+[\w.\-/]*")


def check(root):
    errors = []
    for path in sources.walk(root):
        if not (path.endswith(TEXT) or os.path.basename(path) in NAMES):
            continue
        for number, line in enumerate(sources.read(root, path).splitlines(), 1):
            if "paths-check: ok" in line:
                continue
            if match := MACHINE.search(line):
                errors.append(f"{path}:{number}: names a path of one machine: {match.group(0)}")
            for match in CLIMB.finditer(line):
                if os.path.normpath(os.path.join(os.path.dirname(path), match.group(0))).startswith(".."):
                    errors.append(f"{path}:{number}: climbs out of the clone: {match.group(0)}")
    return errors


def main():
    errors = check(sys.argv[1])
    for error in errors:
        print(error)
    print(f"paths: {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
