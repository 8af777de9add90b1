#!/usr/bin/env python3
"""headers.py ROOT UNITS -- COMPILER FLAGS...: every header compiles alone: one translation unit each, two at a time, in the
folder UNITS, so that a compiler cache knows them again. A header whose outside dependency is not installed (an optional part) is skipped and
named."""
import concurrent.futures
import os
import re
import subprocess
import sys

import sources

OPTIONAL = re.compile(r"fatal error: ((?:cuda|nccl|ucp|ucs|uct|nanobind|pybind11|torch|ATen|c10)[\w./]*): No such file")


def compile_alone(command, units, header):
    unit = os.path.join(units, header.replace("/", ".") + ".cc")
    with open(unit, "w", encoding="utf-8") as file:
        file.write(f'#include "{header}"\n')
    done = subprocess.run(command + ["-c", unit, "-o", unit + ".o"], text=True, capture_output=True)
    return done.returncode, done.stderr


def main():
    root, units, command = sys.argv[1], sys.argv[2], sys.argv[sys.argv.index("--") + 1:]
    os.makedirs(units, exist_ok=True)
    headers = [f for f in sources.walk(root) if f.endswith(".h")]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda header: compile_alone(command, units, header), headers)
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
