"""A slow link between this network namespace and a new one, for one command: slowLink.py RTT LOSS -- COMMAND...

The command runs in the new namespace, at 10.97.0.2; this one is 10.97.0.1. Packets take half of RTT (seconds) each way,
and LOSS (0 to 1) of them are dropped. What is sent over IPv6 is dropped. Needs root and /dev/net/tun, not `tc netem`.
"""

import fcntl, heapq, os, random, select, struct, subprocess, sys, time

rtt, loss, command = float(sys.argv[1]), float(sys.argv[2]), sys.argv[4:]
name = f"slow{os.getpid()}"


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def tun(device):
    opened = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    # TUNSETIFF; IFF_TUN | IFF_NO_PI
    fcntl.ioctl(opened, 0x400454CA, struct.pack("16sH", device.encode(), 0x1001))
    return opened


ip("netns", "add", name)
try:
    near, far = tun(f"n{os.getpid()}"), tun(f"f{os.getpid()}")
    ip("addr", "add", "10.97.0.1/24", "dev", f"n{os.getpid()}")
    ip("link", "set", f"n{os.getpid()}", "up")
    ip("link", "set", f"f{os.getpid()}", "netns", name)
    inside = ["netns", "exec", name, "ip"]
    ip(*inside, "addr", "add", "10.97.0.2/24", "dev", f"f{os.getpid()}")
    ip(*inside, "link", "set", f"f{os.getpid()}", "up")
    if os.environ.get("DEAD_IPV6"):
        ip(*inside, "-6", "addr", "add", "fd97::2/64", "dev", f"f{os.getpid()}", "nodad")
    child = subprocess.Popen(["ip", "netns", "exec", name, *command])
    waiting = []
    while child.poll() is None:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, target, packet = heapq.heappop(waiting)
            os.write(target, packet)
        pause = min(0.05, waiting[0][0] - now) if waiting else 0.05
        readable, _, _ = select.select([near, far], [], [], max(0, pause))
        for source in readable:
            packet = os.read(source, 65536)
            if packet[0] >> 4 == 4 and random.random() >= loss:
                heapq.heappush(waiting, (time.monotonic() + rtt / 2, far if source == near else near, packet))
    sys.exit(child.returncode)
finally:
    ip("netns", "del", name)
