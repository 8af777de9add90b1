#!/usr/bin/env python3
"""sizes.py ROOT: a file of code over 400 lines is a warning, over 600 an error. One purpose, one file.
C++ lines over 120 columns are counted as warnings (clang-format cannot break every comment), over 160 errors."""
import sys

import sources

WARN_LINES, FAIL_LINES, WARN_COLUMNS, FAIL_COLUMNS = 400, 600, 120, 160


def check(root):
    warnings, errors = [], []
    for path in sources.walk(root):
        if not path.endswith(sources.CODE):
            continue
        lines = sources.read(root, path).splitlines()
        if len(lines) > FAIL_LINES:
            errors.append(f"{path}:1: {len(lines)} lines (over {FAIL_LINES}): split it")
        elif len(lines) > WARN_LINES:
            warnings.append(f"{path}:1: warning: {len(lines)} lines (over {WARN_LINES})")
        if path.endswith(sources.CPP):
            wide = [n for n, line in enumerate(lines, 1) if len(line) > WARN_COLUMNS]
            if wide:
                warnings.append(f"{path}:{wide[0]}: warning: {len(wide)} lines over {WARN_COLUMNS} columns")
            errors += [f"{path}:{n}: {len(lines[n - 1])} columns (over {FAIL_COLUMNS})" for n in wide
                       if len(lines[n - 1]) > FAIL_COLUMNS]
    return warnings, errors


def main():
    warnings, errors = check(sys.argv[1])
    for text in warnings + errors:
        print(text)
    print(f"sizes: {len(warnings)} warnings, {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
