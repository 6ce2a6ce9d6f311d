"""util-linux' ``unshare``: unshare(1)."""

from collections.abc import Sequence

from ipvkit.core.command import Command

_NAMES = "mount -t tmpfs tmpfs /run && mkdir /run/netns && xargs ln -s -t /run/netns -- || exit"
_LOOP = 'for netns; do echo "netns: $netns"; nsenter --net="$netns" ip -json netns list-id; done'


def list_ids(netns: Sequence[str], among: Sequence[str]) -> Command:
    """Return the command that lists which of the namespaces `among` have which number in each of `netns`.

    All are files. For `ip` only `among` have a name, the last word of the path, and nothing else sees these:
    it has a separate mount namespace. ``ip -all netns exec`` would need names for all, which takes time with
    the square of their number. `ip.by_netns` takes the output apart.
    """
    words = ("unshare", "--mount", "--propagation", "slave", "sh", "-c", f"{_NAMES}; {_LOOP}", "sh", *netns)
    return Command(words, stdin=tuple(among))
