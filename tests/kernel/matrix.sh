#!/bin/bash
# Measures who can ping whom on a LAN with ipvlan (or macvlan, or veth and a bridge) endpoints.
#
# Run as root in a fresh uml guest: it takes the root namespace as the host. Each line on stdout is one cell:
#   mode flag family strategy source destination observed     (tabs between; observed: reachable, unreachable)
# STRATEGIES, MODES, FLAGS and FAMILIES, lists of words in the environment, choose the cells.
#
# The cells run one after another, and each starts with cold neighbour tables, routes and switch.

set -euo pipefail

read -ra strategies <<<"${STRATEGIES:-none routed routed-forwarding own-subnet announce static-neigh l3s-proxy \
host-shim host-shim-address hairpin}"
read -ra modes <<<"${MODES:-l2 l3 l3s macvlan veth}"
read -ra flags <<<"${FLAGS:-bridge private vepa}"
read -ra families <<<"${FAMILIES:-ipv4 ipv6}"

readonly roles=(host endpoint1 endpoint2 gateway neighbour far)
readonly namespaces=(endpoint1 endpoint2 gateway neighbour far switch)

# on ROLE COMMAND...: runs the command in the namespace of that role.
on() {
  if [[ $1 == host ]]; then "${@:2}"; else ip netns exec "$1" "${@:2}"; fi
}

# ip_of ROLE ARGUMENT...: the same for ip(8), which needs no program in between.
ip_of() {
  if [[ $1 == host ]]; then ip "${@:2}"; else ip -n "$@"; fi
}

# plug ROLE LINK PORT: joins the role's LINK to PORT of the switch.
plug() {
  ip_of "$1" link add name "$2" type veth peer name "$3" netns switch
  ip -n switch link set "$3" master br0 up
  ip_of "$1" link set "$2" up
}

# give ROLE LINK ADDRESS/LENGTH...: adds the addresses to the role's link.
give() {
  local address
  for address in "${@:3}"; do
    if [[ $address == *:* ]]; then
      ip_of "$1" address add "$address" dev "$2" nodad
    else
      ip_of "$1" address add "$address" dev "$2"
    fi
  done
}

# via ROLE GATEWAY4 GATEWAY6: makes these the role's default routers.
via() {
  ip_of "$1" route add default via "$2"
  ip_of "$1" -6 route add default via "$3"
}

# Takes the world apart; the namespaces' links go with them, and the host's routes with its links, except with lo.
raze() {
  local link namespace
  for link in br-lan eth0; do
    [[ ! -e /sys/class/net/$link ]] || ip link delete "$link"
  done
  for namespace in "${namespaces[@]}"; do
    [[ ! -e /run/netns/$namespace ]] || ip netns delete "$namespace"
  done
  ip route flush dev lo proto boot
  ip -6 route flush dev lo proto boot
  sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 net.ipv4.ip_nonlocal_bind=0
}

# Builds the LAN, with no endpoints on it.
build_lan() {
  local namespace
  for namespace in "${namespaces[@]}"; do
    ip netns add "$namespace"
    ip -n "$namespace" link set lo up
  done
  ip -n switch link add br0 type bridge
  ip -n switch link set br0 up
  plug host eth0 host
  plug gateway eth0 gateway
  plug neighbour eth0 neighbour
  ip -n gateway link add name eth1 type veth peer name eth0 netns far
  ip -n gateway link set eth1 up
  ip -n far link set eth0 up
  on gateway sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  give host eth0 192.168.104.110/24 2001:db8:104::110/64
  give gateway eth0 192.168.104.254/24 2001:db8:104::254/64
  give gateway eth1 198.51.100.254/24 2001:db8:ff::254/64
  give neighbour eth0 192.168.104.111/24 2001:db8:104::111/64
  give far eth0 198.51.100.10/24 2001:db8:ff::10/64
  via host 192.168.104.254 2001:db8:104::254
  via neighbour 192.168.104.254 2001:db8:104::254
  via far 198.51.100.254 2001:db8:ff::254
}

declare -A ipv4 ipv6

# Fills the tables of addresses by role; the endpoints of some strategies have a subnet of their own.
choose_addresses() { # STRATEGY
  ipv4=([host]=192.168.104.110 [gateway]=192.168.104.254 [neighbour]=192.168.104.111 [far]=198.51.100.10)
  ipv6=([host]=2001:db8:104::110 [gateway]=2001:db8:104::254 [neighbour]=2001:db8:104::111 [far]=2001:db8:ff::10)
  case $1 in
    routed* | own-subnet)
      ipv4+=([endpoint1]=10.104.0.11 [endpoint2]=10.104.0.12)
      ipv6+=([endpoint1]=2001:db8:a::11 [endpoint2]=2001:db8:a::12)
      ;;
    *)
      ipv4+=([endpoint1]=192.168.104.211 [endpoint2]=192.168.104.212 [shim]=192.168.104.120)
      ipv6+=([endpoint1]=2001:db8:104::211 [endpoint2]=2001:db8:104::212 [shim]=2001:db8:104::120)
      ;;
  esac
}

# Makes the host's eth0 a port of a bridge that has its addresses.
bridge_host() {
  ip link add br-lan type bridge
  ip address flush dev eth0
  ip -6 route delete default
  ip link set eth0 master br-lan
  ip link set br-lan up
  give host br-lan 192.168.104.110/24 2001:db8:104::110/64
  via host 192.168.104.254 2001:db8:104::254
}

# add_link NAME MODE FLAG: makes a link of this kind in the host's namespace.
add_link() {
  case $2 in
    macvlan) ip link add link eth0 name "$1" type macvlan mode "$3" ;;
    veth)
      ip link add name "$1" type veth peer name "port-$1"
      ip link set "port-$1" master br-lan up
      ;;
    *) ip link add link eth0 name "$1" type ipvlan mode "$2" "$3" ;;
  esac
}

# Moves each endpoint to its namespace and gives it its addresses and default routes.
add_endpoints() { # MODE FLAG STRATEGY
  local endpoint
  for endpoint in endpoint1 endpoint2; do
    add_link "$endpoint" "$1" "$2"
    ip link set "$endpoint" netns "$endpoint"
    ip -n "$endpoint" link set "$endpoint" up
    give "$endpoint" "$endpoint" "${ipv4[$endpoint]}/24" "${ipv6[$endpoint]}/64"
    if [[ $1 == l3* || ${ipv4[$endpoint]} == 10.* ]]; then
      ip -n "$endpoint" route add default dev "$endpoint"
      ip -n "$endpoint" -6 route add default dev "$endpoint"
    else
      via "$endpoint" 192.168.104.254 2001:db8:104::254
    fi
  done
}

# Tells the gateway and the neighbour that the host is the way to the endpoints' own subnet.
route_subnet() {
  local role
  for role in gateway neighbour; do
    ip -n "$role" route add 10.104.0.0/24 via 192.168.104.110
    ip -n "$role" route add 2001:db8:a::/64 via 2001:db8:104::110
  done
}

# Tells the gateway and the neighbour that the endpoints' addresses are at the MAC of eth0.
write_neighbours() {
  local role endpoint mac
  mac=$(</sys/class/net/eth0/address)
  for role in gateway neighbour; do
    for endpoint in endpoint1 endpoint2; do
      ip -n "$role" neigh add "${ipv4[$endpoint]}" lladdr "$mac" dev eth0 nud permanent
      ip -n "$role" neigh add "${ipv6[$endpoint]}" lladdr "$mac" dev eth0 nud permanent
    done
  done
}

# Has the host answer ARP and neighbour solicitations for the endpoints.
proxy_endpoints() {
  local endpoint
  sysctl -qw net.ipv4.conf.eth0.forwarding=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.eth0.proxy_ndp=1
  for endpoint in endpoint1 endpoint2; do
    ip neigh add proxy "${ipv4[$endpoint]}" dev eth0
    ip neigh add proxy "${ipv6[$endpoint]}" dev eth0
    ip route add "${ipv4[$endpoint]}/32" dev lo
    ip route add "${ipv6[$endpoint]}/128" dev lo
  done
}

# Gives the host a link like the endpoints', and routes to them through it.
add_shim() { # MODE FLAG STRATEGY
  local endpoint
  add_link shim "$1" "$2"
  ip link set shim up
  [[ $3 != host-shim-address ]] || give host shim "${ipv4[shim]}/32" "${ipv6[shim]}/128"
  for endpoint in endpoint1 endpoint2; do
    ip route add "${ipv4[$endpoint]}/32" dev shim
    ip route add "${ipv6[$endpoint]}/128" dev shim
  done
}

apply() { # MODE FLAG STRATEGY
  case $3 in
    routed-forwarding)
      route_subnet
      sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
      ;;
    routed) route_subnet ;;
    announce) sysctl -qw net.ipv4.ip_nonlocal_bind=1 ;;
    static-neigh) write_neighbours ;;
    l3s-proxy) proxy_endpoints ;;
    host-shim*) add_shim "$@" ;;
    hairpin) ip -n switch link set host type bridge_slave hairpin on ;;
  esac
}

# answers ROLE ADDRESS PING_OPTION...: tells whether at least one echo reply comes.
answers() {
  on "$1" ping -q "${@:3}" "$2" >/dev/null 2>&1
}

# wait_for SECONDS COMMAND...: waits until the command succeeds, and fails if it never does.
wait_for() {
  local end=$((SECONDS + $1))
  until "${@:2}"; do
    if ((SECONDS >= end)); then
      echo "gave up waiting for: ${*:2}" >&2
      return 1
    fi
    sleep 0.1
  done
}

# Tells whether duplicate address detection (of link-local addresses: the others have nodad) is over everywhere.
no_tentative() {
  local role
  for role in "${roles[@]}"; do
    [[ -z $(ip_of "$role" -6 address show tentative) ]] || return 1
  done
}

# Waits until what has nothing to do with the endpoints works; otherwise no cell would mean anything.
await_lan() {
  local role
  wait_for 10 no_tentative
  for role in gateway neighbour far; do
    wait_for 10 answers host "${ipv4[$role]}" -c 1 -W 1
    wait_for 10 answers host "${ipv6[$role]}" -c 1 -W 1
  done
}

# Makes every namespace forget what it learnt (permanent neighbour entries are not learnt).
cool() {
  local role
  for role in "${roles[@]}"; do
    ip_of "$role" neigh flush all
    ip_of "$role" route flush cache
    ip_of "$role" -6 route flush cache
  done
  bridge -n switch fdb flush dev br0 dynamic
}

# Pings while the host tells the LAN, for the endpoints of this cell, that their addresses are at its MAC.
announced() { # SOURCE DESTINATION
  local role announcers=() status=0
  for role in "$1" "$2"; do
    [[ $role == endpoint* ]] || continue
    arping -q -U -I eth0 -c 3 "${ipv4[$role]}" >/dev/null 2>&1 &
    announcers+=($!)
  done
  answers "$1" "${ipv4[$2]}" -c 6 -i 0.3 -W 0.5 || status=$?
  wait "${announcers[@]}"
  return "$status"
}

reaches() { # FAMILY STRATEGY SOURCE DESTINATION
  local -n address=$1
  case $2 in
    announce) announced "$3" "$4" ;;
    # A proxy may wait 0.8 s before it answers (neigh/eth0/proxy_delay), at each of the two ends.
    l3s-proxy) answers "$3" "${address[$4]}" -c 6 -i 0.3 -W 1 ;;
    *) answers "$3" "${address[$4]}" -c 2 -i 0.2 -W 0.6 ;;
  esac
}

cell() { # MODE FLAG FAMILY STRATEGY SOURCE DESTINATION
  local observed=unreachable
  cool
  if reaches "${@:3}"; then observed=reachable; fi
  (
    IFS=$'\t'
    echo "$*"$'\t'"$observed"
  )
}

# Prints the cells of one world and family: each ordered pair of roles with an endpoint in it.
measure_family() { # MODE FLAG FAMILY STRATEGY
  local source destination
  for source in "${roles[@]}"; do
    for destination in "${roles[@]}"; do
      [[ $source != "$destination" && $source$destination == *endpoint* ]] || continue
      cell "$@" "$source" "$destination"
    done
  done
  if [[ $4 == host-shim-address ]]; then
    cell "$@" endpoint1 shim
    cell "$@" endpoint2 shim
  fi
}

measure() { # MODE FLAG STRATEGY
  local family
  raze
  choose_addresses "$3"
  build_lan
  if [[ $1 == veth ]]; then bridge_host; fi
  add_endpoints "$@"
  apply "$@"
  await_lan
  for family in "${families[@]}"; do
    # Announcing is ARP's.
    [[ $3 == announce && $family == ipv6 ]] || measure_family "$1" "$2" "$family" "$3"
  done
}

# Tells whether the strategy says anything about links of this mode.
fits() { # MODE STRATEGY
  case $2 in
    none) true ;;
    announce | static-neigh) [[ $1 == l3* ]] ;;
    *) [[ $1 == l* ]] ;;
  esac
}

for strategy in "${strategies[@]}"; do
  for mode in "${modes[@]}"; do
    fits "$mode" "$strategy" || continue
    for flag in "${flags[@]}"; do
      # A veth pair has no such flag.
      if [[ $mode == veth ]]; then
        [[ $flag == bridge ]] || continue
        flag=-
      fi
      measure "$mode" "$flag" "$strategy"
    done
  done
done
