# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
# Rules, the tables of a bridge, and what ip monitor prints. Read by capture-fixtures after ip.bash, whose forms
# it uses.
modprobe --all --dirname /run/modules dummy vxlan

# --- rules ---------------------------------------------------------------------------------------------
ip netns add k-1
while read -r words; do
  read -ra words <<<"$words"
  ip -n k-1 "${words[@]}"
done <<'TABLE'
link add dummy0 type dummy
rule add from 192.0.2.0/24 table 100 pref 1000
rule add not from 192.0.2.7 to 198.51.100.0/24 lookup main pref 1001
rule add from all iif dummy0 lookup 101 pref 1002
rule add oif gone0 lookup 101 pref 1003
rule add fwmark 7 lookup 102 pref 1004
rule add fwmark 0x10/0xff lookup 102 pref 1005
rule add tos 0x10 lookup 103 pref 1006
rule add from 203.0.113.1 blackhole pref 1007
rule add from 203.0.113.2 unreachable pref 1008
rule add from 203.0.113.3 prohibit pref 1009
rule add from 203.0.113.4 goto 2000 pref 1010
rule add from 203.0.113.5 goto 9000 pref 1011
rule add nop pref 2000
rule add lookup main suppress_prefixlength 0 pref 1012
rule add lookup main suppress_ifgroup 7 pref 1013
rule add uidrange 1000-2000 lookup 104 pref 1014
rule add ipproto tcp sport 80 dport 1000-2000 lookup 105 pref 1015
rule add ipproto 99 lookup 105 pref 1016
rule add l3mdev pref 1017
rule add lookup 106 protocol static pref 1018
rule add lookup 107 realms 3/4 pref 1019
rule add tun_id 7 lookup 108 pref 1020
-6 rule add from 2001:db8::/32 lookup 100 pref 1000
TABLE
cases <<TABLE
$(in_forms 'plain json details json-details oneline json-pretty colour' rule-many k-1 rule show)
$(in_forms 'plain json' rule-six k-1 -6 rule show)
p rule-numeric k-1 - -N rule show
TABLE

# --- the table of a bridge -----------------------------------------------------------------------------
folder[b]=${folder[p]} command[b]=bridge prefix[b]=fdb-
ip netns add k-2
ip -n k-2 link add br0 type bridge vlan_filtering 1
ip -n k-2 link add p0 type veth peer name p1
ip -n k-2 link set p0 master br0 up
ip -n k-2 link set p1 address 02:00:00:00:02:01 up
ip -n k-2 link set br0 up
ip -n k-2 link add vx0 type vxlan id 7 dstport 4789 local 192.0.2.1
bridge -n k-2 fdb add 02:00:00:00:03:01 dev p0 master static vlan 1
bridge -n k-2 fdb add 02:00:00:00:03:02 dev p0 master static sticky
bridge -n k-2 fdb add 02:00:00:00:03:03 dev p0 master static extern_learn
bridge -n k-2 fdb add 02:00:00:00:03:04 dev br0 self local
bridge -n k-2 fdb append 00:00:00:00:00:00 dev vx0 dst 192.0.2.9
bridge -n k-2 fdb append 00:00:00:00:00:00 dev vx0 dst 192.0.2.7 port 4800 vni 8 via p0
bridge -n k-2 fdb add 02:00:00:00:03:05 dev vx0 dst 192.0.2.8 router
ip -n k-2 nexthop add id 10 via 192.0.2.4 fdb
ip -n k-2 nexthop add id 20 group 10 fdb
bridge -n k-2 fdb add 02:00:00:00:03:06 dev vx0 nhid 20
ip netns exec k-2 ping -c 1 -W 0.1 -I p1 192.0.2.77 >/dev/null 2>&1 || true
cases <<'TABLE'
b plain k-2 - fdb show
b json k-2 - -json fdb show
b json-pretty k-2 - -json -p fdb show
b details k-2 - -d fdb show
b statistics k-2 - -s fdb show
b json-statistics k-2 - -json -s fdb show
b colour k-2 - -c=always fdb show
b timestamps k-2 - -t fdb show
b dev k-2 - fdb show dev p0
b dev-json k-2 - -json fdb show dev p0
b br k-2 - fdb show br br0
b get k-2 - fdb get 02:00:00:00:03:01 dev p0 master vlan 1
b none k-1 - fdb show dev lo
b none-json k-1 - -json fdb show dev lo
b error-no-device k-2 - fdb show dev nosuch0
TABLE

# --- ip monitor ----------------------------------------------------------------------------------------
ip netns add k-3
ip netns add k-4
changes() {
  sleep 3
  while read -r words; do
    read -ra words <<<"$words"
    ip -n k-3 "${words[@]}"
  done <<'TABLE'
link add a0 type veth peer name a1
link set a0 up
link set a1 up
addr add 192.0.2.1/24 dev a0
addr add 2001:db8::1/64 dev a0
route add 198.51.100.0/24 via 192.0.2.9
route add 203.0.113.0/24 nexthop via 192.0.2.7 nexthop via 192.0.2.8
neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev a0
neigh replace 192.0.2.9 lladdr 02:00:00:00:00:0a dev a0 nud stale
neigh del 192.0.2.9 dev a0
rule add from 192.0.2.0/24 table 100 pref 1000
rule del pref 1000
nexthop add id 1 via 192.0.2.9 dev a0
nexthop del id 1
netns set k-4 7
route del 203.0.113.0/24
route del 198.51.100.0/24
addr del 192.0.2.1/24 dev a0
link add b0 type bridge
link set a1 master b0
link set b0 up
link set a0 down
link del a0
link del b0
TABLE
}
changes &
cases <<'TABLE'
p monitor-plain      k-3 INT@8 monitor
p monitor-label      k-3 INT@8 monitor label
p monitor-timestamps k-3 INT@8 -t monitor label
p monitor-short-timestamps k-3 INT@8 -ts monitor label
p monitor-oneline    k-3 INT@8 -o monitor label
p monitor-oneline-timestamps k-3 INT@8 -o -ts monitor label
p monitor-details    k-3 INT@8 -d monitor label
p monitor-json       k-3 INT@8 -json monitor label
p monitor-colour     k-3 INT@8 -c=always monitor label
p monitor-route      k-3 INT@8 -t monitor route
p monitor-neigh      k-3 INT@8 -ts monitor neigh
p monitor-netconf    k-3 INT@8 monitor netconf
p monitor-all-nsid   k-3 INT@8 monitor all-nsid label
TABLE
