"""ucx_rails over two network devices, in a namespace of its own (root, ip, ss): a payload is spread over both, or not; right bits.

Without root, or without these programs, it says so and tests nothing."""
import collections
import os
import re
import shutil
import subprocess
import sys

PERF = os.path.join(os.environ["REGROUP_TEST_BIN_DIR"], "all_reduce_perf")
DEVICES = ("rail0", "rail1")
MUCH = 4 << 20  # bytes


def make_devices():
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)  # UCX looks for devices there
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for i, device in enumerate(DEVICES):
        subprocess.run(["ip", "link", "add", device, "type", "veth", "peer", "name", device + "x"], check=True)
        subprocess.run(["ip", "addr", "add", f"10.77.{i}.1/24", "dev", device], check=True)
        for end in (device, device + "x"):
            subprocess.run(["ip", "link", "set", end, "up"], check=True)


def sent_by(rails):
    """Bytes that the sockets of each device have sent during a run."""
    environment = os.environ | {"UCX_TLS": "tcp", "UCX_NET_DEVICES": ",".join(DEVICES), "REGROUP_INTERFACE": "10.77.0.1",
                                "REGROUP_UCX_RAILS": str(rails), "UCX_LOG_LEVEL": "fatal"}
    run = subprocess.Popen([PERF, "--ranks", "2", "--transport", "ucx", "-b", "2M", "-e", "2M", "-n", "60", "-w", "2"],
                           env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    sockets = collections.Counter()
    while run.poll() is None:
        lines = subprocess.run(["ss", "-tniH"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
        for head, info in zip(lines[::2], lines[1::2]):
            found = re.search(r"bytes_sent:(\d+)", info)
            if head.startswith("ESTAB") and found:
                ends = tuple(head.split()[3:5])
                sockets[ends] = max(sockets[ends], int(found.group(1)))
    said = run.stdout.read()
    assert run.returncode == 0, said
    assert "Out of bounds values : 0 OK" in said, said
    return [sum(n for ends, n in sockets.items() if ends[0].startswith(f"10.77.{i}.")) for i in range(len(DEVICES))]


def main():
    missing = [tool for tool in ("ip", "ss", "unshare") if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        print("left out: needs root" + (" and " + ", ".join(missing) if missing else ""))
        return 0
    if "--inside" not in sys.argv:
        return subprocess.run(["unshare", "-nm", sys.executable, "-B", __file__, "--inside"], timeout=150).returncode
    make_devices()
    one, two = sorted(sent_by(1)), sorted(sent_by(2))
    print(f"bytes sent by each device: 1 rail {one}, 2 rails {two}")
    assert one[0] < MUCH < one[1], "one rail is one device"
    assert two[0] > MUCH and two[0] > two[1] / 3, "two rails are two devices"
    return 0


if __name__ == "__main__":
    sys.exit(main())
