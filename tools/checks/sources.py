"""What the checks share: the project's files, and what a file includes. Reads only; paths are relative to the root."""
import os
import re

SKIPPED_FOLDERS = {".git", ".venv", ".ccache", "out", "__pycache__"}
CODE = (".h", ".cc", ".cu", ".cuh", ".py", ".sh", ".cmake")
CPP = (".h", ".cc", ".cu", ".cuh")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def walk(root):
    """Every file of the project, sorted, without build folders."""
    found = []
    for folder, folders, files in os.walk(root):
        at_root = os.path.samefile(folder, root)
        folders[:] = sorted(f for f in folders
                            if f not in SKIPPED_FOLDERS and not (at_root and (f == "build" or f.startswith("build-"))))
        found += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def includes(text):
    """[(line number, True for "quotes", what is included)]"""
    return [(text.count("\n", 0, m.start(1)) + 1, m.group(1) == '"', m.group(2)) for m in INCLUDE.finditer(text)]
