"""The attributes of each kind of link in ``ip -d link``: the words, and their keys in ``ip -json``.

The words are those of iproute2: ip/iplink_bridge.c, ip/iplink_macvlan.c and so on, print_opt in each.
"""

import re
from functools import partial
from typing import Any

from ipvkit.tools.ip.plain import Form, NotUnderstood, Words, flags, form, ip, named, number, put

_HARDWARE_ADDRESS = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2})*")


def is_hardware_address(word: str) -> bool:
    """Return whether this is an address of a link: of hardware, or of the tunnel that the link is."""
    try:
        return bool(_HARDWARE_ADDRESS.fullmatch(word) or ip(word))
    except ValueError:
        return False


def hardware_address(words: Words) -> str:
    """Return the address of a link."""
    if not is_hardware_address(words.peek()):
        raise NotUnderstood
    return words.word()


def _number_or_word(words: Words) -> int | str:
    word = words.word()
    return number(word) if word.isascii() and word.isdecimal() else word


def _remotes(words: Words, into: dict[str, Any]) -> None:
    """Take ``remotes (2) MAC MAC``: the source addresses of a macvlan."""
    count = int(words.match(r"\(([0-9]{1,12})\)")[1])
    remotes = []
    while _HARDWARE_ADDRESS.fullmatch(words.peek()):
        remotes.append(words.word())
    if count != len(remotes):
        raise NotUnderstood
    put(into, "macaddr_count", count)
    if remotes:
        put(into, "macaddr_data", remotes)


_MACVLAN: Form = (
    form("mode", Words.word)
    | flags("nopromisc nodst")
    | form("bcqueuelen usedbcqueuelen", Words.number)
    | form("bclim", Words.signed)
    | {"remotes": _remotes}
)
_VLAN: Form = form("protocol", Words.word) | form("id", Words.number) | form("<=flags", Words.listed)


def _qos_map(words: Words) -> list[dict[str, int]]:
    """Take ``{ 1:2 3:4 }``."""
    pairs = []
    if words.word() != "{":
        raise NotUnderstood
    while (word := words.word()) != "}":
        start, _, end = word.partition(":")
        pairs.append({"from": number(start), "to": number(end)})
    return pairs


QOS_MAPS: Form = form("ingress-qos-map=ingress_qos egress-qos-map=egress_qos", _qos_map)
"""The lines that follow the line of a vlan."""

_BRIDGE: Form = (
    form("vlan_protocol bridge_id designated_root=root_id group_fwd_mask", Words.word)
    | form("group_address=group_addr", hardware_address)
    | form("hello_timer tcn_timer topology_change_timer gc_timer", Words.decimal)
    | form(
        "forward_delay hello_time max_age ageing_time stp_state priority vlan_filtering root_port"
        " root_path_cost topology_change topology_change_detected fdb_n_learned fdb_max_learned"
        " vlan_default_pvid vlan_stats_enabled vlan_stats_per_port mcast_snooping no_linklocal_learn"
        " mcast_vlan_snooping mst_enabled mdb_offload_fail_notification mcast_router"
        " mcast_query_use_ifaddr mcast_querier mcast_hash_elasticity mcast_hash_max"
        " mcast_last_member_count=mcast_last_member_cnt mcast_startup_query_count=mcast_startup_query_cnt"
        " mcast_last_member_interval=mcast_last_member_intvl"
        " mcast_membership_interval=mcast_membership_intvl mcast_querier_interval=mcast_querier_intvl"
        " mcast_query_interval=mcast_query_intvl mcast_query_response_interval=mcast_query_response_intvl"
        " mcast_startup_query_interval=mcast_startup_query_intvl mcast_stats_enabled mcast_igmp_version"
        " mcast_mld_version nf_call_iptables nf_call_ip6tables nf_call_arptables",
        Words.number,
    )
)
_BRIDGE_PORT: Form = (
    form("state port_id=id port_no=no designated_bridge=bridge_id designated_root=root_id", Words.word)
    | form("group_fwd_mask group_fwd_mask_str backup_port", Words.word)
    | form("priority cost designated_port designated_cost topology_change_ack", Words.number)
    | form("config_pending mcast_router=multicast_router backup_nhid", Words.number)
    | form("hold_timer message_age_timer forward_delay_timer", Words.decimal)
    # The plain form has fastleave twice.
    | form("hairpin guard root_block fastleave mcast_fast_leave=fastleave learning flood", Words.on_off)
    | form("proxy_arp proxy_arp_wifi mcast_flood bcast_flood mcast_to_unicast", Words.on_off)
    | form("neigh_suppress neigh_vlan_suppress vlan_tunnel isolated locked mab", Words.on_off)
)


def _put_ad_info(key: str, words: Words, into: dict[str, Any]) -> None:
    value = hardware_address(words) if key == "partner_mac" else words.number()
    put(into.setdefault("ad_info", {}), key, value)


_BOND: Form = (
    form("mode active_slave arp_all_targets primary primary_reselect fail_over_mac", Words.word)
    | form("xmit_hash_policy lacp_active=ad_lacp_active lacp_rate=ad_lacp_rate ad_select", Words.word)
    | form("miimon updelay downdelay peer_notify_delay use_carrier arp_interval", Words.number)
    | form("arp_missed_max resend_igmp num_grat_arp=num_peer_notif all_slaves_active", Words.number)
    | form("min_links lp_interval packets_per_slave ad_actor_sys_prio", Words.number)
    | form("ad_user_port_key tlb_dynamic_lb", Words.number)
    | form("arp_validate", named({"none": None}, Words.word))
    | form("coupled_control", Words.on_off)
    | form("arp_ip_target ns_ip6_target", lambda words: words.word().split(","))
    | form("ad_actor_system", hardware_address)
    | {f"ad_{key}": partial(_put_ad_info, key) for key in ("aggregator", "num_ports", "actor_key")}
    | {f"ad_{key}": partial(_put_ad_info, key) for key in ("partner_key", "partner_mac")}
)
_BOND_PORT: Form = (
    form("state mii_status", Words.word)
    | form("perm_hwaddr", hardware_address)
    | form("link_failure_count queue_id prio ad_aggregator_id", Words.number)
    | form("ad_actor_oper_port_state ad_partner_oper_port_state", Words.number)
    | form("ad_actor_oper_port_state_str ad_partner_oper_port_state_str", Words.listed)
)


def _take_endpoint(key: str, words: Words, into: dict[str, Any]) -> None:
    """Take an end of a tunnel, which has a key for each family."""
    word = words.valid(ip)
    put(into, f"{key}6" if ":" in word else key, word)


_HEX = "0x[0-9a-f]{1,16}"


def _hex(words: Words) -> str:
    return words.match(_HEX)[0]


def _tos(words: Words) -> str:
    return "0x1" if words.peek() == "inherit" and words.word() else _hex(words)


_TTL = named({"auto": 0, "inherit": "inherit"}, Words.number)
_VXLAN_SWITCHES = (
    "external vnifilter learning proxy rsc l2miss l3miss udp_csum udp_zero_csum6_tx udp_zero_csum6_rx"
    " remcsum_tx remcsum_rx localbypass udpcsum=udp_csum udp6zerocsumtx=udp_zero_csum6_tx"
    " udp6zerocsumrx=udp_zero_csum6_rx remcsumtx=remcsum_tx remcsumrx=remcsum_rx"
)
_VXLAN: Form = (
    form("id dstport=port maxaddr=limit", Words.number)
    | form("dev=link df flowlabel=label", Words.word)
    | form("tos", _tos)
    | form("reserved_bits", _hex)
    | form("srcport=port_range", lambda words: {"low": words.number(), "high": words.number()})
    | form("ttl", _TTL)
    | form("ageing", named({"none": 0}, Words.number))
    | flags("gbp gpe")
    | flags(_VXLAN_SWITCHES)
    | {f"no{name}": taken for name, taken in flags(_VXLAN_SWITCHES, False).items()}
    | {end: partial(_take_endpoint, end) for end in ("group", "remote", "local")}
)
_GENEVE: Form = (
    form("id dstport=port", Words.number)
    | form("ttl", _TTL)
    | form("tos", _tos)
    | form("df", Words.word)
    | form("flowlabel=label", _hex)
    | flags("external innerprotoinherit=inner_proto_inherit")
    | {end: partial(_take_endpoint, end) for end in ("remote", "local")}
)
for _value, _no in ((True, ""), (False, "no")):
    _CHECKSUMS = ("udpcsum=udp_csum", "udp6zerocsumtx=udp_zero_csum6_tx", "udp6zerocsumrx=udp_zero_csum6_rx")
    _GENEVE |= flags(" ".join(f"{_no}{name}" for name in _CHECKSUMS), _value)


def _take_inherited(key: str, flag: str, words: Words, into: dict[str, Any]) -> None:
    """Take a number in hexadecimal, or that it is the inner packet's, for which `flag` is set."""
    if words.peek() in ("inherit", "none"):
        words.word()
        put(into, f"ip6_tnl_f_{flag}", True)
    else:
        put(into, key, words.number() if key == "encap_limit" else _hex(words))


_TUNNEL: Form = (
    form("remote local", named({"any": "any"}, lambda words: words.valid(ip)))
    | form("dev=link erspan_dir", Words.word)
    | form("ttl hoplimit=ttl", named({"inherit": 0}, Words.number))
    | form("tos", _tos)
    | form("ikey okey", lambda words: words.valid(ip))
    | form("erspan_index erspan_ver", Words.number)
    | form("erspan_hwid", _hex)
    | flags("external pmtudisc ignore-df=ignore_df iseq oseq icsum ocsum isatap")
    | flags("allow-localremote=ip6_tnl_f_allow_local_remote mip6=ip6_tnl_f_mip6_dev")
    | flags("nopmtudisc=pmtudisc", False)
    | {
        "encaplimit": partial(_take_inherited, "encap_limit", "ign_encap_limit"),
        "tclass": partial(_take_inherited, "tclass", "use_orig_tclass"),
        "flowlabel": partial(_take_inherited, "flowlabel", "use_orig_flowlabel"),
        "dscp": partial(_take_inherited, "dscp", "rcv_dscp_copy"),
        "fwmark": partial(_take_inherited, "fwmark", "use_orig_fwmark"),
    }
)
for _proto in ("any", "ipip", "ip6ip", "mplsip", "ipip6", "ip6ip6"):
    _TUNNEL |= flags(f"{_proto}=proto", _proto)
_TUNNELS = "gre gretap erspan ip6gre ip6gretap ip6erspan ip6tnl ipip sit vti vti6"
_TUN: Form = (
    form("type", Words.word)
    | form("pi vnet_hdr persist", Words.on_off)
    | flags("multi_queue")
    | form("numqueues numdisabled", Words.number)
    | form("user group", _number_or_word)
)
_IPVLAN: Form = form("mode", Words.word) | flags("bridge private vepa")
_VRF: Form = form("table", Words.number)

KINDS = {"bond": _BOND, "bridge": _BRIDGE, "tun": _TUN, "vlan": _VLAN, "vrf": _VRF, "vxlan": _VXLAN}
KINDS |= {"ipvlan": _IPVLAN, "ipvtap": _IPVLAN, "macvlan": _MACVLAN, "macvtap": _MACVLAN}
KINDS |= {"geneve": _GENEVE} | dict.fromkeys(_TUNNELS.split(), _TUNNEL)
"""The attributes of each kind of link that has any."""

PORTS = {"bond": _BOND_PORT, "bridge": _BRIDGE_PORT, "vrf": _VRF}
"""The attributes of a link as the port of a link of that kind."""
