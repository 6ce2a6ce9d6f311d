"""Systemd units that keep addresses announced, and clean up at boot: systemd.service(5), systemd.exec(5)."""

import re
from collections.abc import Sequence
from pathlib import Path

from ipvkit.core.values import netns_name
from ipvkit.verbs.announce import Announcement

CLEANUP_UNIT = Path("/etc/systemd/system/ipvkit-cleanup.service")


def cleanup_unit(program: Sequence[str], state_home: str) -> str:
    """Return the unit in which `program` undoes interrupted runs at boot; `state_home` may be empty.

    >>> print(cleanup_unit(["/usr/bin/ipvkit"], "/var/lib").partition("[Service]")[2])
    <BLANKLINE>
    Type=oneshot
    Environment=XDG_STATE_HOME=/var/lib
    ExecStart=/usr/bin/ipvkit cleanup --all
    <BLANKLINE>
    [Install]
    WantedBy=multi-user.target
    <BLANKLINE>
    """
    place = f"Environment={_quoted(f'XDG_STATE_HOME={state_home}')}\n" if state_home else ""
    return f"""\
[Unit]
Description=Undo interrupted runs of ipvkit

[Service]
Type=oneshot
{place}ExecStart={" ".join(map(_quoted, [*program, "cleanup", "--all"]))}

[Install]
WantedBy=multi-user.target
"""


def unit(announcement: Announcement, program: Sequence[str]) -> str:
    """Return the unit in which `program`, the absolute path of ipvkit first, announces without end.

    It is root with CAP_NET_RAW alone: arping needs that, and what root owns in /proc/sys root may write.
    """
    addresses = [str(address) for address in announcement.addresses]
    words = [*program, "announce", *addresses, "--parent", announcement.parent]
    # It may not look into other namespaces, and the endpoints may come later.
    words += ["--every", f"{announcement.every_s:g}s", "--force"]
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
