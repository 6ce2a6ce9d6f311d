"""Container runtimes and networkd of Debian's packages in a guest: bash to set them up."""

import sys

import pytest

from requires import requires

# A guest sees the host's files read-only: what is written to /etc and /var goes to a layer in its memory. The
# image has nothing but busybox.
LAYERS = """
for folder in /etc /var; do
  mkdir -p /run/layer$folder/{upper,work}
  layers=lowerdir=$folder,upperdir=/run/layer$folder/upper,workdir=/run/layer$folder/work
  mount -t overlay -o $layers overlay $folder
done
"""
"""What makes /etc and /var writable in a guest."""

_ANY = """
# Nothing of the containers that the host has.
for folder in /etc/{cni,containerd,containers,docker} /var/lib/{cni,containerd,containers,docker,lxc}; do
  mkdir -p $folder; mount -t tmpfs tmpfs $folder
done
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts; ln -sf pts/ptmx /dev/ptmx
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /run/box/{bin,dev,etc,proc,sys,tmp}
cp /usr/bin/busybox /run/box/bin/
for name in ip ping sh sleep; do ln -s busybox /run/box/bin/$name; done
tar -C /run/box -cf /run/box.tar .
"""

# The guest's kernel has no overlay on a layer in memory, and nothing runs systemd there.
_PODMAN = """
mkdir -p /etc/containers
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
cat >/etc/containers/storage.conf <<'END'
[storage]
driver = "vfs"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
END
cat >/etc/containers/containers.conf <<'END'
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
END
podman import -q /run/box.tar localhost/box:1.0 >/dev/null
podman tag localhost/box:1.0 docker.io/library/busybox:latest
"""

_CONTAINERD = """
if [[ ! -S /run/containerd/containerd.sock ]]; then
  mkdir -p /etc/containerd
  cat >/etc/containerd/config.toml <<'END'
version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
END
  containerd --log-level warn >/run/containerd.log 2>&1 &
  for i in $(seq 600); do [[ -S /run/containerd/containerd.sock ]] && break; sleep 0.1; done
fi
"""

# Its files are not at the default place, as on a machine with a separate disk for them.
_DOCKER = """
dockerd --data-root=/var/lib/docker-data --containerd=/run/containerd/containerd.sock --bridge=none \\
  --iptables=false --ip6tables=false --storage-driver=vfs --exec-opt native.cgroupdriver=cgroupfs \\
  --log-level warn >/run/dockerd.log 2>&1 &
for i in $(seq 600); do docker version >/dev/null 2>&1 && break; sleep 0.3; done
docker import /run/box.tar box:1.0 >/dev/null
docker tag box:1.0 busybox
"""

# networkd waits for a udev daemon unless /sys is read-only.
NETWORKD = """
mount -o remount,ro /sys
mkdir -p /etc/systemd/network
install -d -o systemd-network -g systemd-network /run/systemd/netif
mount -t tmpfs tmpfs /etc/systemd/network
systemctl() {
  [[ $* == "restart systemd-networkd.service" ]] || return 0
  if [[ -e /run/networkd.pid ]]; then
    kill "$(</run/networkd.pid)"
    for i in $(seq 600); do [[ -e /proc/$(</run/networkd.pid)/exe ]] || break; sleep 0.1; done
  fi
  SYSTEMD_LOG_TARGET=console /usr/lib/systemd/systemd-networkd >>/run/networkd.log 2>&1 &
  echo $! >/run/networkd.pid
}
"""
"""What runs networkd in a guest without systemd."""

_INIT = """
mkdir -p /run/box/sbin
printf '#!/bin/sh\\nexec sleep 600\\n' >/run/box/sbin/init; chmod +x /run/box/sbin/init
"""
"""What the root file system has for a container that runs its init."""

_CRI = """
import json, subprocess, sys

def number(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + number(value >> 7)

def message(fields):
    text = b""
    for key, value in fields.items():
        inner = value.encode() if isinstance(value, str) else message(value)
        text += number(int(key) << 3 | 2) + number(len(inner)) + inner
    return text

request = message(json.loads(sys.argv[2]))
argv = ["curl", "-sS", "--http2-prior-knowledge", "--unix-socket", "/run/containerd/containerd.sock"]
argv += ["-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@-", "-D", "-"]
argv += ["-o", "/run/cri.reply", f"http://localhost/runtime.v1.RuntimeService/{sys.argv[1]}"]
subprocess.run(argv, input=bytes([0]) + len(request).to_bytes(4, "big") + request, check=True)
"""
"""A request of the CRI, as the kubelet makes it: its name, and its fields by their numbers."""

_PODS = f"""
mkdir -p /run/pause
cp /run/box.tar /run/pause/layer.tar
layer=$(sha256sum </run/pause/layer.tar)
cat >/run/pause/config.json <<END
{{"architecture": "amd64", "os": "linux", "config": {{"Cmd": ["/bin/sleep", "600"]}},
 "rootfs": {{"type": "layers", "diff_ids": ["sha256:${{layer%% *}}"]}}}}
END
cat >/run/pause/manifest.json <<'END'
[{{"Config": "config.json", "RepoTags": ["localhost/pause:1"], "Layers": ["layer.tar"]}}]
END
tar -C /run/pause -cf /run/pause.tar manifest.json config.json layer.tar
ctr -n k8s.io images import --snapshotter native /run/pause.tar >/dev/null
mkdir -p /etc/cni/net.d
cat >/etc/cni/net.d/10-lan.conflist <<'END'
{{"cniVersion": "1.0.0", "name": "lan", "plugins": [{{"type": "ipvlan", "master": "eth0", "mode": "l3",
 "ipam": {{"type": "host-local", "routes": [{{"dst": "0.0.0.0/0"}}], "ranges": [[
   {{"subnet": "192.168.104.0/24", "rangeStart": "192.168.104.241", "gateway": "192.168.104.254"}}
 ]]}}}}]}}
END
cat >/run/cri.py <<'END'
{_CRI}
END
pod() {{ # NAMESPACE NAME
  local metadata='{{"1": "'$2'", "2": "0b7fd9c5", "3": "'$1'"}}' group='{{"1": "/kubepods/pod0b7fd9c5"}}'
  local pod='{{"1": {{"1": '$metadata', "8": '$group'}}}}'
  # Until containerd knows the network and the image.
  for i in $(seq 100); do
    {sys.executable} /run/cri.py RunPodSandbox "$pod" >/run/cri.said
    grep -q 'grpc-status: 0' /run/cri.said && return
    sleep 0.3
  done
  cat /run/cri.said; return 1
}}
"""

# Nothing that is enabled on the host starts there, and quadlets want a target that waits for a network.
SYSTEMD = """
mount -t tmpfs tmpfs /etc/systemd/system
ln -s /dev/null /etc/systemd/system/network-online.target
cat >/run/boot <<'END'
mount -t proc proc /proc
mount -t tmpfs tmpfs /tmp
mkdir -p /run/systemd
exec /usr/lib/systemd/systemd --unit=basic.target
END
container=uml unshare --pid --mount --fork bash /run/boot </dev/null >/run/systemd.log 2>&1 &
for i in $(seq 600); do read -r systemd </proc/$!/task/$!/children && break; sleep 0.1; done
systemctl() { nsenter --target "$systemd" --pid --mount systemctl "$@"; }
podman() { nsenter --target "$systemd" --pid --mount podman "$@"; }
for i in $(seq 600); do
  [[ $(systemctl is-system-running 2>/dev/null) =~ running|degraded ]] && break; sleep 0.3
done
"""
"""What runs systemd in a guest, as the first process of a PID namespace; outside of it that is `$systemd`."""

# What is launched from `images:` is the box: there is no other server to get it from.
_INCUS = f"""
mkdir -p /run/home/.config/incus /run/image /var/lib/incus /var/log/incus
export HOME=/run/home INCUS_CONF=/run/home/.config/incus
for folder in /var/lib/incus /var/log/incus; do mount -t tmpfs tmpfs $folder; done
echo 'remotes: {{images: {{addr: "unix://"}}}}' >$HOME/.config/incus/config.yml
/usr/libexec/incus/incusd --group root >/run/incusd.log 2>&1 &
for i in $(seq 600); do incus info >/dev/null 2>&1 && break; sleep 0.3; done
incus admin init --preseed <<'END'
storage_pools: [{{name: local, driver: dir}}]
profiles:
- name: default
  config: {{security.privileged: "true"}}
  devices: {{root: {{type: disk, path: /, pool: local}}}}
END
{_INIT}
echo '{{architecture: x86_64, creation_date: 1}}' >/run/image/metadata.yaml
ln -s /run/box /run/image/rootfs
tar -C /run/image -hcf /run/image.tar metadata.yaml rootfs
incus image import /run/image.tar --alias debian/13 >/dev/null
"""

SETUPS = {
    "podman": (_PODMAN, ("/usr/bin/podman", "/usr/lib/podman/netavark", "/usr/bin/crun")),
    "incus": (_INCUS, ("/usr/libexec/incus/incusd",)),
    "lxc": ("", ("/usr/bin/lxc-start",)),
    "networkd": (NETWORKD, ("/usr/lib/systemd/systemd-networkd",)),
    "cni": ("", ("/usr/lib/cni/ipvlan",)),
    "docker": (
        _CONTAINERD + _DOCKER,
        (
            *("/usr/bin/containerd", "/usr/sbin/dockerd", "/usr/bin/docker"),
            "/usr/libexec/docker/cli-plugins/docker-compose",
        ),
    ),
    "pods": (
        _CONTAINERD + _PODS + "pod shop web-0\n",
        ("/usr/bin/containerd", "/usr/lib/cni/ipvlan", "/usr/bin/curl"),
    ),
}
"""Bash that sets up each runtime, and a file of each of its packages; `pods` are of containerd, as Kubernetes
runs it.
"""

MEMORY_MIB = 1024
"""What a guest with them uses at most."""


def setup(*runtimes: str) -> str:
    """Return bash that sets up the runtimes in a guest."""
    return LAYERS + _ANY + "".join(SETUPS[runtime][0] for runtime in runtimes)


def lxc_rootfs(*names: str) -> str:
    """Return bash that gives containers of LXC a root file system where lxc-create puts it."""
    folders = " ".join(f"/var/lib/lxc/{name}/rootfs" for name in names)
    return f"""{_INIT}
for folder in {folders}; do mkdir -p $folder; mount --bind /run/box $folder; done
"""


def needs(*runtimes: str) -> pytest.MarkDecorator:
    """Return the mark of a test that is skipped where a package of these runtimes is missing."""
    return requires("/usr/bin/busybox", *(file for runtime in runtimes for file in SETUPS[runtime][1]))
