"""The room table of docs/ARCHITECTURE.md as data: who may include whom. The longest prefix names a file's room."""

PUBLIC = "runtime/api/regroup"  # the public headers; what implements them is runtime/api
RUNTIME = ["runtime/api", "runtime/work", "runtime/algo", "runtime/exec", "runtime/state", "runtime/topo", "runtime/obs"]
TRANSPORT = ["transport/wire", "transport/shm", "transport/tcp", "transport/ucx", "transport/cuda_ipc",
             "transport/nccl", "transport/secure"]

# Headers of base that a room of outside programs (bench, examples, python) may see: those that are installed.
PUBLIC_BASE = {"base/dtype.h", "base/ids.h", "base/result.h"}
# The pure part of base: no clock, socket, thread, file or log.
PURE_BASE = {"base/bytes.h", "base/check.h", "base/dtype.h", "base/ids.h", "base/result.h", "base/rng.h", "base/time.h"}

BELOW_RUNTIME = ["base", "kernels", "kernels/device", "ft/core", "ft/driver", "transport", *TRANSPORT]

# Rooms may include themselves and what stands here. None: anything.
ALLOWED = {
    "base": [],
    "ft/core": ["base"],
    "ft/driver": ["ft/core", "transport/wire", "base"],
    "ft/sim": ["ft/core", "runtime/algo", "base"],
    "kernels": ["base", "kernels/device"],
    "kernels/device": ["base"],
    "transport": ["base", "kernels", "kernels/device"],
    **{room: ["base", "kernels", "kernels/device", "transport", "transport/wire"] for room in TRANSPORT},
    "transport/ucx": ["base", "transport", "transport/wire", "transport/tcp"],  # links are sockets with lanes beside them
    PUBLIC: ["base"],
    **{room: [PUBLIC, *BELOW_RUNTIME, *RUNTIME, "runtime"] for room in ["runtime", *RUNTIME]},
    "runtime/algo": ["base"],
    "bench": [PUBLIC, "base", "tools/launch", "tools/chaos", "kernels/device"],  # the interface of Group::device()
    "bench/peers": [PUBLIC, "base", "bench", "tools/launch"],
    "bench/device": ["base", "bench", "kernels", "kernels/device"],  # kernels alone, not what users call
    "tools": [PUBLIC, "base", "ft/driver", "tools/launch", "tools/chaos", "runtime/algo", "runtime/topo", "ft/sim"],
    "tools/launch": [PUBLIC, "base", "ft/core", "ft/driver"],
    "tools/chaos": [PUBLIC, "base", "tools/launch", "kernels/device"],  # the worker: the interface of Group::device()
    "python": [PUBLIC, "base"],
    "examples": [PUBLIC, "base"],
    "tests": None,
}

# Rooms that see only a part of base.
BASE_PART = {
    "ft/core": PURE_BASE,
    "runtime/algo": PURE_BASE,
    PUBLIC: PUBLIC_BASE,
    "bench": PUBLIC_BASE,
    "bench/peers": PUBLIC_BASE,
    "examples": PUBLIC_BASE,
    "python": PUBLIC_BASE,
}

# Rooms without clock, socket, thread, file, log or CUDA may include these headers of others and no more.
PURE_ROOMS = {"ft/core", "runtime/algo"}
PURE_HEADERS = set("""algorithm array bit bitset cassert cinttypes climits charconv cmath compare concepts cstddef cstdint
    cstdlib cstring deque functional initializer_list iterator limits list map memory numeric optional queue ranges set
    span stack string string_view tuple type_traits unordered_map unordered_set utility variant vector""".split())
# Where a library's header may be included besides: a facade is worth nothing if all look behind it.
ONLY_IN = {
    "spdlog/": ["base"],
    "catch2/": ["tests"],
    "hwy/": ["kernels"],
    "ucp/": ["transport/ucx"],
}


def room_of(path):
    """The room of a file, or None: a folder that the table does not name."""
    folder = path.rpartition("/")[0]
    while folder and folder not in ALLOWED:
        folder = folder.rpartition("/")[0]
    return folder or None
