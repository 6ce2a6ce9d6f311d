"""A systemd unit that keeps addresses announced: systemd.service(5), systemd.exec(5)."""

import re
from collections.abc import Sequence

from ipvkit.core.values import netns_name
from ipvkit.verbs.announce import Announcement


def unit(announcement: Announcement, program: Sequence[str]) -> str:
    """Return the unit in which `program`, the absolute path of ipvkit first, announces without end.

    It is root with CAP_NET_RAW alone: arping needs that, and what root owns in /proc/sys root may write.
    """
    addresses = [str(address) for address in announcement.addresses]
    words = [*program, "announce", *addresses, "--parent", announcement.parent]
    words += ["--every", f"{announcement.every_s:g}s"]
    netns = announcement.netns
    place = "" if netns is None else f"NetworkNamespacePath=/run/netns/{netns_name(netns)}\n"
    return f"""\
[Unit]
Description=Announce {", ".join(addresses)} out of {announcement.parent} (ipvkit)
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=10min
StartLimitBurst=30

[Service]
Type=exec
ExecStart={" ".join(map(_quoted, words))}
{place}# 2 is an error in the line above, which no restart fixes; 130 is the exit code when it is stopped.
Restart=always
RestartSec=10s
RestartPreventExitStatus=2
SuccessExitStatus=130
# The arpings are ended by ipvkit.
KillMode=mixed

CapabilityBoundingSet=CAP_NET_RAW
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
# The undo of the sysctl is written there before it is set.
RuntimeDirectory=ipvkit
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
# Not ProtectKernelTunables: net.ipv4.ip_nonlocal_bind must be set, and restored.

[Install]
WantedBy=multi-user.target
"""


def _quoted(word: str) -> str:
    """Return a word of a command line as systemd reads it; the path of a program may have no quotes in it.

    >>> _quoted("/opt/my tools/50%/ipvkit")
    '"/opt/my tools/50%%/ipvkit"'
    """
    if re.fullmatch(r"[A-Za-z0-9_@/.:=+,-]+", word):
        return word
    escaped = word.replace("\\", "\\\\").replace("%", "%%")
    return f'"{escaped}"'
