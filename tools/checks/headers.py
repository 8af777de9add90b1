#!/usr/bin/env python3
"""headers.py ROOT -- COMPILER FLAGS...: every header compiles alone: one translation unit each, syntax only, two at a
time. A header whose outside dependency is not installed (an optional part) is skipped and named."""
import concurrent.futures
import re
import subprocess
import sys

import sources

OPTIONAL = re.compile(r"fatal error: ((?:cuda|nccl|ucp|ucs|uct|nanobind|pybind11|torch|ATen|c10)[\w./]*): No such file")


def compile_alone(command, header):
    unit = f'#include "{header}"\n'
    done = subprocess.run(command + ["-x", "c++", "-fsyntax-only", "-"], input=unit, text=True, capture_output=True)
    return done.returncode, done.stderr


def main():
    root, command = sys.argv[1], sys.argv[sys.argv.index("--") + 1:]
    headers = [f for f in sources.walk(root) if f.endswith(".h")]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda header: compile_alone(command, header), headers)
        for header, (status, text) in zip(headers, results):
            if status == 0:
                continue
            if missing := OPTIONAL.search(text):
                print(f"{header}: skipped, {missing.group(1)} is not installed")
                continue
            failed += 1
            print(f"{header}:1: does not compile alone\n{text}")
    print(f"headers: {len(headers)}, {failed} do not compile alone")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
