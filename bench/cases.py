"""What bench/suite.py measures: operations by their names here and at the peers, bus bandwidth factors, and how each
implementation is run for one point. Standard library only."""
import json
import os
import subprocess
import tempfile

SECTIONS = 9
SECONDS = 0.3
IN_FLIGHT = 8

# operation -> (our program, Open MPI's name in mpi_coll.c, gloo's in gloo_coll.py)
OPERATIONS = {
    "all_reduce": ("all_reduce_perf", "inplace", "allreduce"),
    "all_reduce_inflight": ("all_reduce_perf", "inflight", None),
    "all_gather": ("all_gather_perf", "allgather", "allgather"),
    "reduce_scatter": ("reduce_scatter_perf", "reducescatter", "reducescatter"),
    "broadcast": ("broadcast_perf", "broadcast", "broadcast"),
    "reduce": ("reduce_perf", "reduce", "reduce"),
    "alltoall": ("alltoall_perf", "alltoall", "alltoall"),
    "gather": ("gather_perf", "gather", "gather"),
    "scatter": ("scatter_perf", "scatter", "scatter"),
    "sendrecv": ("sendrecv_perf", "sendrecv", "sendrecv"),
}
CUT_BYTES = 4 << 20


def bus_factor(operation, ranks):
    if operation.startswith("all_reduce"):
        return 2 * (ranks - 1) / ranks
    return 1 if operation in ("broadcast", "reduce", "sendrecv") else (ranks - 1) / ranks


class Runner:
    """Runs one point of one implementation. Results: {"us", "min_us", "max_us", …} or {"error"}."""

    def __init__(self, build, torch_python="", bounds=False):
        self.bin = os.path.join(build, "bin")
        self.peers = os.path.join(build, "peers")
        self.torch_python = torch_python
        self.bounds = bounds
        self.cores = len(os.sched_getaffinity(0))

    def output(self, command, timeout=180, env=None):
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                              env=dict(os.environ, **(env or {})))
        return done.returncode, done.stdout, done.stderr

    def probe(self):
        return float(self.output([os.path.join(self.bin, "near_far")])[1] or 0)

    def ours(self, operation, ranks, size, *flags):
        in_place = operation.startswith("all_reduce") and "--output-scratch" not in flags
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "r.json")
            command = [os.path.join(self.bin, OPERATIONS[operation][0]), "--ranks", str(ranks), "-b", str(size), "--reps",
                       str(SECTIONS), "--seconds", str(SECONDS), "-a", "3", "--no-probe", "-J", path]
            command += ["--in-place-only" if in_place else "--out-of-place-only"]
            command += ["-z", "0"] if operation == "all_reduce_inflight" else []
            command += ["--bind"] if ranks <= self.cores else []
            code, _, errors = self.output(command + list(flags))
            if code != 0:
                return {"error": errors.strip()[-300:] or f"exit status {code}"}
            with open(path) as file:
                report = json.load(file)
        result = report["results"][0]
        side = result["in_place" if in_place else "out_of_place"]
        return {"us": side["median"], "min_us": side["min"], "max_us": side["max"], "wrong": side["nwrong"],
                "transport": result["transport"], "huge_pages": report["config"]["huge_pages"],
                "runtime_mib": result["runtime_mib"], "plan": result["plan"]}

    def csv(self, command, env=None):
        """A peer's line: impl,op,ranks,bytes,min_us,median_us,max_us,algbw,busbw."""
        code, out, errors = self.output(command, env=env)
        for line in out.splitlines():
            words = line.split(",")
            if len(words) >= 9 and words[4] != "error" and "WRONG" not in line:
                return {"us": float(words[5]), "min_us": float(words[4]), "max_us": float(words[6])}
        return {"error": (out + errors).strip()[-300:] or f"exit status {code}"}

    def mpi(self, operation, ranks, size, *flags):
        crowded = ranks > self.cores
        return self.csv(["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe", "-np", str(ranks), "--bind-to",
                         "none" if crowded else "core", "--mca", "btl_base_warn_component_unused", "0", "--mca", "pml",
                         "ob1", "--mca", "mpi_yield_when_idle", "1" if crowded else "0", *flags,
                         os.path.join(self.peers, "mpi_coll"), OPERATIONS[operation][1], str(size), str(SECONDS)])

    def gloo(self, operation, ranks, size):
        here = os.path.dirname(os.path.abspath(__file__))
        return self.csv([self.torch_python, os.path.join(here, "peers", "gloo_coll.py"), str(ranks),
                         OPERATIONS[operation][2], str(size), str(SECONDS)], {"LABEL": "gloo"})

    def overlap(self, ranks, size, in_flight):
        """Rate of `in_flight` ops that share the bytes against one op of them, in per cent."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "r.json")
            command = [os.path.join(self.bin, "overlap_perf"), "--ranks", str(ranks), "-b", str(size), "-e", str(size), "--in-flight",
                       str(in_flight), "--transport", "shm", "--registered", "--in-place-only", "-n", "40", "-J", path]
            command += ["--bind"] if ranks <= self.cores else []
            code, _, errors = self.output(command)
            if code != 0:
                return {"error": errors.strip()[-300:] or f"exit status {code}"}
            with open(path) as file:
                result = json.load(file)["results"][0]
        return {"us": result["inflight_us"], "rate": result["rate_%"], "wrong": 0}

    def bound(self, ranks, size, kind):
        return self.csv([os.path.join(self.peers, "shm_bound"), str(ranks), str(size), kind, "1", "11"])

    def tcp_bound(self, size):
        return self.csv([os.path.join(self.peers, "tcp_bound"), str(size)])

    def implementations(self, operation, size):
        """name -> function of (ranks). The order is the order of a round: ours beside the peer it is compared with."""
        shm = ["--transport", "shm"]
        registered = [*shm, "--registered"]
        out = {
            "ompi-shm": lambda n: self.mpi(operation, n, size, "--mca", "btl", "vader,self"),
            "regroup-shm": lambda n: self.ours(operation, n, size, *shm),
            "regroup-shm-registered": lambda n: self.ours(operation, n, size, *registered),
            "ompi-tcp": lambda n: self.mpi(operation, n, size, "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "lo"),
            "regroup-tcp": lambda n: self.ours(operation, n, size, "--transport", "tcp"),
        }
        if operation == "all_reduce":
            if size > CUT_BYTES:
                out["regroup-shm-registered-cut"] = lambda n: self.ours(operation, n, size, *registered, "--cut", str(CUT_BYTES))
                out["regroup-shm-registered-output-scratch"] = lambda n: self.ours(operation, n, size, *registered, "--output-scratch")
            if size >= 1 << 20:  # below it is noise
                out["regroup-shm-registered-no-commit"] = lambda n: self.ours(operation, n, size, *registered, "--no-commit")
            if self.bounds and os.path.exists(os.path.join(self.peers, "shm_bound")):
                for kind in ("zero", "zwaistnt", "pwaistnt"):
                    out["bound-" + kind] = lambda n, kind=kind: self.bound(n, size, kind)
        if self.torch_python and OPERATIONS[operation][2]:
            out["gloo"] = lambda n: self.gloo(operation, n, size)
        return out

    def point(self, name, operation, ranks, size):
        run = self.implementations(operation, size)[name]
        return {"impl": name, "op": operation, "ranks": ranks, "size": size, **self.between_probes(lambda: run(ranks))}

    def between_probes(self, run):
        before = self.probe()
        try:
            result = run()
        except subprocess.TimeoutExpired:
            result = {"error": "timeout"}
        except OSError as error:  # a peer that is not installed
            result = {"error": str(error)}
        return {"probe_us": [before, self.probe()], **result}
