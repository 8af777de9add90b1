#!/usr/bin/env python3
"""result.py ROWS TARGET DEVICE DRIVER COMMIT COMMAND: what a program measured, with where and from what, as one file."""
import json
import sys

rows, target, device, driver, commit, command = sys.argv[1:]
with open(rows, encoding="utf-8") as file:
    measured = json.load(file)
with open(target, "w", encoding="utf-8") as file:
    json.dump({**measured, "device": device, "driver": driver, "commit": commit, "command": command}, file, indent=1)
