"""The closed grammar of what ipvkit may start, written by hand from the tools' man pages."""

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, ip_address, ip_interface, ip_network

GRAMMAR = {
    # --- what runs where
    "<command>": "<ip> | <ping> | <arping> | <sysctl> | <tc> | <socat> | ss -Htln src HOST-AND-PORT"
    " | <tcpdump> | find FILE -size +0 | pgrep --runstates S --full FILE | base64 -w 0 FILE"
    " | sleep NUMBER | timeout NUMBER sh -c ( LACP-WAIT | SLAAC-WAIT ) | <radvd>"
    " | unshare --mount --propagation slave sh -c LIST-IDS sh FILE",
    "<ip>": "ip <at home> | ip -n NETNS <at home> | ip netns exec NETNS <command>"
    " | ip -all netns exec ip <at home> | nsenter NET-FILE ip <at home>",
    # --- iproute2
    "<at home>": "[ -force ] -batch - | <netns> | [ -json ] [ -details ] ( <link> | <addr> | <neigh> )"
    " | token set ADDRESS dev DEV"
    " | [ -json ] [ -4 | -6 ] ( <route> | <rule> ) | -oneline monitor link address route rule all-nsid",
    "<netns>": "netns ( add | del ) NETNS | -json netns list",
    "<link>": "link add [ dev ] DEV [ link DEV ] [ address MAC ] [ netns NETNS ] [ master DEV ]"
    " [ up ] type <kind>"
    " | link set [ dev ] DEV <change> | link delete [ dev ] DEV | link show [ dev DEV ]"
    " | link property ( add | del ) dev DEV <altnames>",
    "<altnames>": "altname ALTNAME [ <altnames> ]",
    "<kind>": "( ipvlan | ipvtap ) [ mode <mode> ] [ <flag> ] | macvlan mode ( <flag> | passthru )"
    " | vlan id NUMBER | bridge | dummy | veth peer name DEV netns NETNS"
    " | bond mode ( active-backup | 802.3ad ) miimon NUMBER [ lacp_rate fast ]",
    "<mode>": "l2 | l3 | l3s",
    "<flag>": "bridge | private | vepa",
    "<change>": "[ netns ( NETNS | 1 ) ] [ master DEV ] [ name DEV ] [ mtu NUMBER ] [ up | down ]"
    " [ type ( ipvlan | ipvtap ) [ mode <mode> ] [ <flag> ] ] [ type bridge_slave <port> ]",
    "<port>": "hairpin ( on | off ) | state NUMBER",
    "<addr>": "addr ( add | del ) PREFIXED dev DEV [ nodad ] | addr show [ dev DEV ]",
    "<route>": "route ( add | del ) [ blackhole | unreachable | prohibit ] ( default | NETWORK )"
    " [ via ADDRESS ] [ dev DEV ] [ src ADDRESS ] [ metric NUMBER ] [ onlink ] [ table NUMBER ]"
    " | route show [ default ] [ dev DEV ]",
    "<rule>": "rule ( add | del ) [ priority NUMBER ] [ from NETWORK ] [ to NETWORK ] [ lookup NUMBER ]"
    " | rule show",
    "<neigh>": "neigh show [ dev DEV ] | neigh flush dev DEV | neigh ( add | del ) proxy ADDRESS dev DEV"
    " | neigh del ADDRESS dev DEV | neigh replace ADDRESS lladdr MAC dev DEV nud permanent",
    # --- the others
    "<ping>": "ping -V | ping <options> ( ADDRESS | HOST ) | ping6 <options> ADDRESS",
    "<options>": "<option> [ <options> ]",
    "<option>": "-D | ( -c | -i | -w | -W | -s | -t ) NUMBER | -I ( ADDRESS | DEV ) | -M do | TTL",
    "<arping>": "arping -V"
    " | arping -c NUMBER [ -w NUMBER ] [ -U | -D | -0 ] ( -I | -i ) DEV [ -S IPV4 ] IPV4",
    "<sysctl>": "sysctl ( -w <settings> | -n SYSCTL | <sysctls> )",
    "<settings>": "SETTING [ <settings> ]",
    "<sysctls>": "( SYSCTL | TIMER ) [ <sysctls> ]",
    "<tc>": "tc qdisc ( add | del ) dev DEV clsact"
    " | tc filter add dev DEV ingress protocol ip pref NUMBER <filter>",
    "<socat>": "socat -d -d /dev/null CONNECT | socat -u /dev/null LISTEN",
    "<tcpdump>": "tcpdump -i DEV -p --immediate-mode -U -Z root -w FILE [ arp or icmp or icmp6 [ <ports> ] ]",
    "<ports>": "or tcp port NUMBER [ <ports> ]",
    "<radvd>": "radvd -C /proc/self/fd/0"
    " | interface DEV { AdvSendAdvert on; AdvRASrcAddress { SOURCE }; <prefixes> };",
    "<prefixes>": "prefix NETWORK { }; [ <prefixes> ]",
    "<filter>": "flower src_ip IPV4 action pass | matchall action drop",
}
"""`( | )` is a choice, `[ ]` may be left away; <small letters> are rules, CAPITAL ones stand for words."""

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+-]"
_DEV = re.compile(rf"(?!if[+-]?[0-9]){_NAME}{{0,14}}")
_NETNS = re.compile(rf"(?!([0-9]+|0[xX][0-9A-Fa-f]*)$){_NAME}{{0,254}}")
_LINK = r"[A-Za-z0-9_][A-Za-z0-9_/+-]{0,14}"
_CONF = (
    "accept_dad accept_local accept_ra accept_ra_defrtr accept_ra_pinfo accept_redirects accept_untracked_na"
    " addr_gen_mode arp_accept arp_announce arp_evict_nocarrier arp_filter arp_ignore arp_notify autoconf"
    " dad_transmits disable_ipv6 drop_gratuitous_arp drop_unsolicited_na forwarding ndisc_evict_nocarrier"
    " ndisc_notify promote_secondaries proxy_arp proxy_arp_pvlan proxy_ndp rp_filter secure_redirects"
    " send_redirects src_valid_mark use_tempaddr"
).replace(" ", "|")
_NEIGH = (
    "base_reachable_time_ms delay_first_probe_time gc_stale_time locktime mcast_resolicit mcast_solicit"
    " proxy_delay proxy_qlen retrans_time_ms ucast_solicit"
).replace(" ", "|")
_SYSCTL = re.compile(
    r"net\.ipv4\.(ip_nonlocal_bind|ip_forward|icmp_echo_ignore_all|fwmark_reflect)"
    r"|net\.ipv6\.(ip_nonlocal_bind|anycast_src_echo_reply)"
    rf"|net\.ipv[46]\.conf\.{_LINK}\.({_CONF})|net\.ipv[46]\.neigh\.{_LINK}\.({_NEIGH})"
)
"""Those that are read and written."""

_TIMER = re.compile(rf"net\.ipv4\.neigh\.{_LINK}\.(app_solicit|mcast_resolicit|gc_stale_time)")
"""Those that are read and never written."""


def _is_a(read: Callable[[str], object], word: str) -> bool:
    try:
        read(word)
    except ValueError:
        return False
    return bool(re.fullmatch(r"[0-9a-f.:]+(%[A-Za-z0-9_][A-Za-z0-9_.+-]{0,14})?(/[0-9]{1,3})?", word))


_PORT, _IPV4, _IPV6 = "[0-9]{1,5}", r"(?P<four>[0-9.]+)", r"\[(?P<six>[0-9a-f:]+)\]"
_SOCKET, _ACCEPTS = f"({_IPV4}|{_IPV6}):{_PORT}", ",reuseaddr,fork,accept-timeout=[0-9]+"


def _is_a_socket(word: str, pattern: str) -> bool:
    found = re.fullmatch(pattern, word)
    return found is not None and any(_is_a(ip_address, each) for each in found.groupdict().values() if each)


WORDS: dict[str, Callable[[str], object]] = {
    "DEV": _DEV.fullmatch,
    "ALTNAME": re.compile(rf"(?!if[+-]?[0-9]){_NAME}{{0,126}}").fullmatch,
    "NETNS": _NETNS.fullmatch,
    "HOST": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,253}").fullmatch,
    "NUMBER": re.compile(r"[0-9]+(\.[0-9]+)?").fullmatch,
    "LACP-WAIT": re.compile(
        r'until grep -c "port state: 63" /proc/net/bonding/[A-Za-z0-9_][A-Za-z0-9_.+-]{0,14} \| grep -qx 4; '
        r"do sleep 0\.1; done"
    ).fullmatch,
    "SLAAC-WAIT": re.compile(
        r"until ip addr show dev [A-Za-z0-9_][A-Za-z0-9_.+-]{0,14} to [0-9a-f:]+ -tentative \| grep -q \.; "
        r"do sleep 0\.3; done"
    ).fullmatch,
    "SOURCE": lambda word: word.endswith(";") and _is_a(ip_address, word[:-1]),
    "MAC": re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}").fullmatch,
    "TTL": re.compile(r"--(ttl|hoplimit)=[0-9]+").fullmatch,
    "NET-FILE": lambda word: word.startswith("--net=/") and word.isprintable(),
    "FILE": lambda word: word.startswith("/") and word.isprintable(),
    "LIST-IDS": re.compile(
        re.escape(
            "mount -t tmpfs tmpfs /run && mkdir /run/netns && xargs ln -s -t /run/netns -- || exit; "
            'for netns; do echo "netns: $netns"; nsenter --net="$netns" ip -json netns list-id; done'
        )
    ).fullmatch,
    "SYSCTL": _SYSCTL.fullmatch,
    "TIMER": _TIMER.fullmatch,
    "SETTING": lambda word: (
        re.fullmatch(r"[^=]+=-?[0-9]+", word) and _SYSCTL.fullmatch(word.partition("=")[0])
    ),
    "IPV4": lambda word: _is_a(IPv4Address, word),
    "ADDRESS": lambda word: _is_a(ip_address, word),
    "HOST-AND-PORT": lambda word: _is_a_socket(word, _SOCKET),
    "CONNECT": lambda word: _is_a_socket(word, rf"TCP:{_SOCKET},connect-timeout=[0-9]+"),
    "LISTEN": lambda word: (
        _is_a_socket(word, rf"TCP4-LISTEN:{_PORT},bind={_IPV4}{_ACCEPTS}")
        or _is_a_socket(word, rf"TCP6-LISTEN:{_PORT},bind={_IPV6}{_ACCEPTS}")
    ),
    "PREFIXED": lambda word: "/" in word and "%" not in word and _is_a(ip_interface, word),
    "NETWORK": lambda word: "/" in word and "%" not in word and _is_a(ip_network, word),
}
"""What stands for a word that is not written out: capital letters in the grammar."""

Rule = list["Sequence_"]
Sequence_ = list["str | Rule"]


def _read(tokens: Iterator[str]) -> Rule:
    """Return the choices up to the bracket that closes them, each a sequence of words and choices."""
    choices: Rule = [[]]
    for token in tokens:
        match token:
            case "(":
                choices[-1].append(_read(tokens))
            case "[":
                choices[-1].append([*_read(tokens), []])
            case ")" | "]":
                return choices
            case "|":
                choices.append([])
            case _:
                choices[-1].append(token)
    return choices


_TOKEN = re.compile(r"<[^>]*>|\S+")
_RULES = {name: _read(iter(_TOKEN.findall(text))) for name, text in GRAMMAR.items()}


def commands_in(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield the words of the commands in `lines` as typed, and of each line that a batch or radvd reads."""
    reader: list[str] | None = None
    for line in lines:
        if line == "END":
            reader = None
        elif reader is not None:
            yield [*reader, *line.split(" ")]
        else:
            if line.endswith(" <<'END'"):
                reader = ["ip"] if line.endswith(" - <<'END'") else []
            yield shlex.split(line.removesuffix(" <<'END'"))


def is_meant(argv: Sequence[str]) -> bool:
    """Return whether a command's words are in the grammar."""
    return any(end == len(argv) for end in _ends(_RULES["<command>"], argv, 0))


def _ends(rule: Rule, argv: Sequence[str], at: int) -> Iterator[int]:
    """Yield where a rule can end that begins at the word `at`."""
    for sequence in rule:
        yield from _ends_of_all(sequence, argv, at)


def _ends_of_all(sequence: Sequence_, argv: Sequence[str], at: int) -> Iterator[int]:
    if not sequence:
        yield at
        return
    first, *rest = sequence
    for end in _ends_of_one(first, argv, at):
        yield from _ends_of_all(rest, argv, end)


def _ends_of_one(part: str | Rule, argv: Sequence[str], at: int) -> Iterator[int]:
    if isinstance(part, list):
        yield from _ends(part, argv, at)
    elif part in _RULES:
        yield from _ends(_RULES[part], argv, at)
    elif at < len(argv) and (WORDS[part](argv[at]) if part in WORDS else argv[at] == part):
        yield at + 1
