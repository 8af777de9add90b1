"""The console script `regroup`: becomes the program that the package ships."""
import os
import sys


def program() -> str:
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "regroup")


def main() -> None:
    os.execv(program(), ["regroup", *sys.argv[1:]])
