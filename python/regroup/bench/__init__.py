"""Benchmarks of the package: `python -m regroup.bench.ddp`."""
