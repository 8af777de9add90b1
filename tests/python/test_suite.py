"""A short selection of PyTorch's own suite (`make torch-suite` runs all of it)."""
import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="PyTorch's own suite needs it")
pytest.importorskip("regroup.torch._c10d", reason="built without torch")

SUITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "torch_suite", "suite.py")
SHORT = ["test_all_reduce_full_group_product", "test_all_gather_coalesced_with_empty", "test_scatter_checks", "test_gather_group",
         "test_send_recv_any_source", "test_send_recv_with_tag", "test_isend", "test_reduce_group_min", "test_ddp_join_model_equivalence",
         "test_DistributedDataParallelCPU", "test_post_localSGD_optimizer_parity", "test_ddp_uneven_inputs"]


def test_pytorchs_own_tests_pass_under_the_name_regroup():
    done = subprocess.run([sys.executable, "-B", SUITE, *[t for t in SHORT if t not in listed()]], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr


def listed():
    with open(os.path.join(os.path.dirname(SUITE), "listed.txt"), encoding="utf-8") as file:
        return {line.split()[0] for line in file if line.strip() and not line.startswith("#")}
