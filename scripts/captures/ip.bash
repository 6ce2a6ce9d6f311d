# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
# ip of iproute2. Read by capture-fixtures as root of a uml guest, whose whole network is ours.
folder[p]=iproute2-$(ip -V | sed 's/.*iproute2-\([0-9.]*\),.*/\1/; s/\.0$//') command[p]=ip prefix[p]=
version_of p "$(ip -V)"
modprobe --all --dirname /run/modules ipvtap dummy macvlan macvtap 8021q vxlan bonding vrf tun

# NAME and the options of each form that a thing is shown in.
declare -A form=(
  [plain]='' [details]=-d [statistics]=-s [brief]=-br [brief-details]='-d -br' [oneline]=-o [oneline-details]='-o -d'
  [json]=-json [json-details]='-json -details' [json-statistics]='-json -s' [json-pretty]='-json -p' [colour]=-c=always
)

in_forms() { # 'FORM…' NAME NETNS WORD…: one case for each form, on stdout
  local one
  for one in $1; do
    echo "p $2-$one $3 - ${form[$one]} ${*:4}"
  done
}
every="${!form[*]}"

# --- nothing yet ---------------------------------------------------------------------------------------
ip netns add t-new
cases <<TABLE
$(in_forms "$every" link-new t-new link show)
$(in_forms 'plain json' addr-new t-new addr show)
$(in_forms 'plain json' route-new t-new route show)
$(in_forms 'plain json' route-new-all t-new route show table all)
$(in_forms 'plain json' neigh-new t-new neigh show)
TABLE
ip netns del t-new
cases <<TABLE
$(in_forms 'plain json json-pretty' netns-none - netns list)
p netns-list-id-none - - netns list-id
p link-only-loopback-br - - -br link show dev lo
TABLE

# --- links ---------------------------------------------------------------------------------------------
for number in 1 2 3; do
  ip netns add "t-$number"
done
ip link add eth0 address 02:00:00:00:00:01 type veth peer name lan address 02:00:00:00:00:02
for parent in l2 l3 l3s tap; do
  ip link add "p-$parent" type veth peer name "q-$parent"
  ip link set "q-$parent" up
  ip link set "p-$parent" up
done
for mode in l2 l3 l3s; do
  for flag in bridge private vepa; do
    ip link add link "p-$mode" name "${mode}a" type ipvlan mode "$mode" "$flag"
    # The flag is the parent's: so one child at a time, and its parent's captures too.
    cases <<TABLE
$(in_forms 'plain details json-details brief-details oneline-details' "link-ipvlan-$mode-$flag" - link show dev "${mode}a")
TABLE
    ip link del "${mode}a"
  done
done
ip link add link p-l2 name ipv0 type ipvlan
ip link add link p-l2 name ipv1 netns t-1 type ipvlan mode l2 bridge
ip link add link p-tap name ipvtap0 type ipvtap mode l2 bridge
ip link add link lan name mac-bridge type macvlan mode bridge
ip link add link lan name mac-private type macvlan mode private
ip link add link lan name mac-vepa type macvlan mode vepa
ip link add link lan name mac-source type macvlan mode source
ip link set link dev mac-source type macvlan macaddr add 02:00:00:00:00:aa
ip link add link q-tap name mac-passthru type macvlan mode passthru
ip link add link q-l3 name macvtap0 type macvtap mode bridge
ip link add link eth0 name eth0.10 type vlan id 10
ip link add link eth0 name vlan20 type vlan protocol 802.1ad id 20 reorder_hdr off
ip link add dummy0 type dummy
ip link add brvlan type bridge vlan_filtering 1 stp_state 1
ip link add br0 type bridge
ip link add vx0 type vxlan id 42 dev eth0 remote 192.0.2.9 dstport 4789
ip link add vrf0 type vrf table 100
ip link add bond0 type bond mode active-backup
ip tuntap add tun0 mode tun
ip tuntap add tap0 mode tap
ip link add t-1 type veth peer name eth0 netns t-1
ip link add t-2 type veth peer name eth0 netns t-2
ip link set t-1 master br0 up
ip link set t-2 master br0 up
ip link set br0 up
ip -n t-1 link set eth0 up
ip -n t-1 link set lo up
ip link set dummy0 alias 'the "uplink" \ of rack 7' up
ip link property add dev dummy0 altname a-rather-long-alternative-name altname enp0s3
ip link set dummy0 group 7
ip link set dummy0 mtu 9000 txqueuelen 500
ip link set eth0 up
ip link set lan up promisc on
ip link set ipv0 up
ip link set vrf0 up
ip link set eth0.10 master vrf0
ip link set t-2 down
ip -n t-1 link set ipv1 up
cases <<TABLE
$(in_forms "$every" link - link show)
$(in_forms 'plain details json json-details brief' link-netns t-1 link show)
$(in_forms "$every" link-veth - link show dev eth0)
$(in_forms "$every" link-ipvtap - link show dev ipvtap0)
$(in_forms 'plain details json-details brief colour' link-ipvlan-default - link show dev ipv0)
$(in_forms 'plain details json json-details brief oneline-details' link-ipvlan-netns t-1 link show dev ipv1)
$(in_forms 'plain details json-details' link-ipvlan-type - link show type ipvlan)
$(in_forms 'plain details json-details' link-macvlan-type - link show type macvlan)
$(in_forms 'plain details json-details' link-macvlan-source - link show dev mac-source)
$(in_forms 'plain details json-details' link-macvlan-passthru - link show dev mac-passthru)
$(in_forms 'plain details json-details' link-macvtap - link show dev macvtap0)
$(in_forms 'plain details json-details brief' link-vlan - link show dev eth0.10)
$(in_forms 'plain details json-details' link-vlan-ad - link show dev vlan20)
$(in_forms 'plain details json json-details brief' link-alias - link show dev dummy0)
$(in_forms 'plain json' link-altname - link show dev enp0s3)
$(in_forms 'plain details json-details' link-bridge - link show dev br0)
$(in_forms 'plain details json-details' link-bridge-port - link show dev t-1)
$(in_forms 'plain json-details' link-bridge-ports - link show master br0)
$(in_forms 'plain details json-details brief' link-down - link show dev mac-vepa)
$(in_forms 'plain json' link-lower-layer-down - link show dev t-2)
$(in_forms 'plain json-details' link-peer-elsewhere t-1 link show dev eth0)
$(in_forms "$every" link-loopback - link show dev lo)
$(in_forms 'plain json' link-group - link show group 7)
$(in_forms 'plain json' link-up - link show up)
$(in_forms 'plain json' link-type-none - link show type ipip6)
$(in_forms 'plain json' link-type-empty - link show type gretap)
p link-statistics-twice - - -s -s link show dev eth0
p link-json-statistics-twice - - -json -s -s link show dev eth0
p link-numeric - - -N link show dev dummy0
p link-timestamps - - -t link show dev lo
$(in_forms 'plain json json-pretty' netns - netns list)
TABLE
ip netns set t-3 7
cases <<TABLE
$(in_forms 'plain json' netns-id - netns list)
$(in_forms 'plain json' netns-list-id - netns list-id)
p netns-identify t-1 - netns identify self
p netns-pids-none - - netns pids t-2
TABLE

# --- addresses -----------------------------------------------------------------------------------------
ip addr add 192.0.2.1/24 brd + dev dummy0
ip addr add 192.0.2.2/24 dev dummy0
ip addr add 192.0.2.3/32 dev dummy0 label dummy0:one
ip addr add 198.51.100.1 peer 198.51.100.2/32 dev dummy0
ip addr add 203.0.113.1/24 dev dummy0 noprefixroute
ip addr add 203.0.113.9/24 dev dummy0 valid_lft 3000 preferred_lft 2000 noprefixroute
ip addr add 203.0.113.10/32 dev dummy0 scope link metric 50
ip addr add 203.0.113.11/32 dev dummy0 proto 99
ip addr add 192.0.2.70/32 dev ipv0
ip addr add 224.0.1.1/32 dev dummy0 autojoin
ip addr add 2001:db8::1/64 dev dummy0 nodad
ip addr add 2001:db8::2/64 dev dummy0 nodad preferred_lft 0 valid_lft 3000
ip addr add 2001:db8::3/128 dev dummy0 nodad noprefixroute home
ip addr add 2001:db8::4 peer 2001:db8::5/128 dev dummy0 nodad
ip addr add 2001:db8::6/64 dev dummy0 nodad mngtmpaddr
sysctl -q -w net.ipv6.conf.t-1.accept_dad=1
# Somebody has it: so dadfailed in t-1; tentative while nobody has answered yet.
ip addr add 2001:db8:5::1/64 dev br0 nodad
ip -n t-1 addr add 2001:db8:5::1/64 dev eth0
ip -n t-1 addr add 192.0.2.77/24 dev eth0
sleep 3
ip -n t-1 addr add 2001:db8:5::2/64 dev eth0
cases <<TABLE
$(in_forms 'plain json json-details' addr-tentative t-1 addr show dev eth0 tentative)
$(in_forms 'plain json' addr-dadfailed t-1 addr show dev eth0 dadfailed)
$(in_forms 'plain brief oneline json details' addr-netns t-1 addr show)
TABLE
ip -n t-1 addr add 2001:db8:5::3/64 dev eth0 optimistic
cases <<TABLE
$(in_forms "$every" addr - addr show dev dummy0)
$(in_forms "$every" addr-all - addr show)
$(in_forms 'plain json brief oneline colour' addr-4 - -4 addr show)
$(in_forms 'plain json brief oneline' addr-6 - -6 addr show)
$(in_forms 'plain json brief' addr-down - addr show dev mac-vepa)
$(in_forms 'plain json json-details' addr-ipvlan - addr show dev ipv0)
$(in_forms 'plain json' addr-deprecated - addr show deprecated)
$(in_forms 'plain json' addr-secondary - addr show secondary)
$(in_forms 'plain json' addr-primary - addr show primary dev dummy0)
$(in_forms 'plain json' addr-permanent - addr show permanent dev dummy0)
$(in_forms 'plain json' addr-dynamic - addr show dynamic)
$(in_forms 'plain json' addr-label - addr show label dummy0:one)
$(in_forms 'plain json' addr-to - addr show to 192.0.2.0/24)
$(in_forms 'plain json' addr-scope - addr show scope link)
$(in_forms 'plain json' addr-none-matches - addr show to 100.64.0.0/10)
$(in_forms 'plain json brief' addr-loopback - addr show dev lo)
$(in_forms 'plain json' addr-4-no-address - -4 addr show dev lan)
TABLE

# --- routes --------------------------------------------------------------------------------------------
ip link set lo up
ip addr add 192.0.3.1/24 dev br0
ip route add default via 192.0.2.254 dev dummy0
ip route add default via 192.0.3.254 dev br0 metric 10 proto dhcp src 192.0.3.1
ip route add default dev dummy0 metric 20 scope link
ip route add 198.18.1.0/24 via 192.0.9.9 dev dummy0 onlink
ip route add 198.18.2.0/24 nexthop via 192.0.2.253 weight 1 nexthop via 192.0.3.253 weight 5
for kind in blackhole unreachable prohibit throw; do
  ip route add "$kind" "198.18.3.${#kind}/32"
done
ip route add 198.18.4.0/24 via 192.0.2.252 src 192.0.2.2 proto static mtu 1400 advmss 1360 rto_min 300ms
ip route add 198.18.5.0/24 dev br0 scope link proto 99 mtu lock 1300 tos 0x10
ip route add 198.18.6.0/24 dev ipv0 table 100
ip route add 198.18.7.0/24 via inet6 fe80::1 dev br0
ip route add 198.18.8.8 dev dummy0 initcwnd 10 quickack 1
ip route add local 198.18.9.0/24 dev lo
ip route add broadcast 198.18.10.255 dev br0
ip nexthop add id 1 via 192.0.2.251 dev dummy0
ip route add 198.18.11.0/24 nhid 1
ip -6 route add default via 2001:db8::ffff dev dummy0
ip -6 route add default via fe80::1 dev br0 metric 2048 proto ra pref high expires 900
ip -6 route add 2001:db8:a::/64 nexthop via 2001:db8::fe weight 1 nexthop via 2001:db8::fd weight 2
ip -6 route add unreachable 2001:db8:b::/64
ip -6 route add blackhole 2001:db8:c::/64 metric 5
ip -6 route add prohibit 2001:db8:d::/64
ip -6 route add 2001:db8:e::/64 from 2001:db8:f::/64 dev dummy0
cases <<TABLE
$(in_forms 'plain details statistics oneline json json-details json-pretty colour brief' route - route show)
$(in_forms 'plain details json json-details' route-all - route show table all)
$(in_forms 'plain json json-details colour' route-6 - -6 route show)
$(in_forms 'plain json' route-6-all - -6 route show table all)
$(in_forms 'plain json' route-default - route show default)
$(in_forms 'plain json' route-default-dev - route show default dev br0)
$(in_forms 'plain json' route-local - route show table local)
$(in_forms 'plain json' route-table - route show table 100)
$(in_forms 'plain json' route-empty-table - route show table 99)
$(in_forms 'plain json' route-dev - route show dev br0)
$(in_forms 'plain json' route-exact - route show exact 198.18.2.0/24)
$(in_forms 'plain json' route-match - route show match 198.18.2.9)
$(in_forms 'plain json' route-type - route show type blackhole)
$(in_forms 'plain json' route-proto - route show proto static)
$(in_forms 'plain json' route-none-matches - route show dev tap0)
$(in_forms 'plain json' route-link-down - route show dev t-2)
$(in_forms 'plain json' route-cache - route show cache)
$(in_forms 'plain json json-details' route-get - route get 198.18.4.4)
$(in_forms 'plain json' route-get-local - route get 192.0.2.1)
$(in_forms 'plain json' route-get-broadcast - route get 192.0.2.255)
$(in_forms 'plain json' route-get-onlink - route get 192.0.2.99)
$(in_forms 'plain json' route-get-unreachable - route get 198.18.3.11)
$(in_forms 'plain json' route-get-prohibit - route get 198.18.3.8)
$(in_forms 'plain json' route-get-blackhole - route get 198.18.3.9)
$(in_forms 'plain json' route-get-6 - route get 2001:db8:a::1)
$(in_forms 'plain json' route-get-mark - route get 198.18.4.4 mark 7 oif dummy0)
$(in_forms 'plain json' route-get-fibmatch - route get fibmatch 198.18.4.4)
$(in_forms 'plain json' rule - rule show)
$(in_forms 'plain json' nexthop - nexthop show)
TABLE

# --- neighbours ----------------------------------------------------------------------------------------
number=10
for state in permanent reachable stale delay probe failed noarp none incomplete; do
  ((number += 1))
  ip neigh add "192.0.2.$number" lladdr "02:00:00:00:01:$number" dev dummy0 nud "$state" || true
done
ip neigh add 192.0.2.30 lladdr 02:00:00:00:01:30 dev dummy0 nud permanent router
ip neigh add 192.0.2.31 lladdr 02:00:00:00:01:31 dev dummy0 extern_learn
ip neigh add 192.0.2.32 lladdr 02:00:00:00:01:32 dev dummy0 nud permanent protocol static
ip neigh add 192.0.2.33 dev dummy0 nud stale use managed 2>/dev/null || true
ip -6 neigh add 2001:db8::30 lladdr 02:00:00:00:01:40 dev dummy0 nud stale router
ip -6 neigh add 2001:db8::31 lladdr 02:00:00:00:01:41 dev dummy0 nud permanent
ip neigh add proxy 192.0.2.200 dev dummy0
ip neigh add proxy 2001:db8::200 dev dummy0
ip -n t-1 addr add 192.0.3.2/24 dev eth0
ping -c 1 -W 1 192.0.3.2 >/dev/null || true
ping -c 1 -W 1 2001:db8:5::2 >/dev/null || true
ping -c 1 -W 4 192.0.3.77 >/dev/null || true # FAILED, by itself
ping -c 1 -W 0.1 192.0.3.78 >/dev/null || true
cases <<TABLE
p neigh-incomplete-plain - - neigh show to 192.0.3.78
p neigh-incomplete-json - - -json neigh show to 192.0.3.78
$(in_forms 'plain statistics json json-details json-statistics oneline colour json-pretty brief' neigh - neigh show)
$(in_forms 'plain json' neigh-4 - -4 neigh show)
$(in_forms 'plain json' neigh-6 - -6 neigh show)
$(in_forms 'plain json' neigh-dev - neigh show dev br0)
$(in_forms 'plain json' neigh-all - neigh show nud all)
$(in_forms 'plain json' neigh-failed - neigh show nud failed)
$(in_forms 'plain json' neigh-permanent - neigh show nud permanent)
$(in_forms 'plain json' neigh-proxy - neigh show proxy)
$(in_forms 'plain json' neigh-proxy-6 - -6 neigh show proxy)
$(in_forms 'plain json' neigh-none-matches - neigh show dev tap0)
$(in_forms 'plain json' neigh-get - neigh get 192.0.2.30 dev dummy0)
TABLE
# Long in each state that passes by itself.
sysctl -q -w net.ipv4.neigh.br0.delay_first_probe_time=60 net.ipv4.neigh.br0.retrans_time_ms=60000
ip neigh replace 192.0.3.79 lladdr 02:00:00:00:01:79 dev br0 nud stale
ip neigh replace 192.0.3.80 lladdr 02:00:00:00:01:80 dev br0 nud probe
ping -c 1 -W 0.1 192.0.3.79 >/dev/null || true
cases <<TABLE
$(in_forms 'plain json statistics' neigh-delay - neigh show to 192.0.3.79)
$(in_forms 'plain json statistics' neigh-probe - neigh show to 192.0.3.80)
TABLE

# --- errors: none of these changes anything -------------------------------------------------------------
cases <<'TABLE'
p error-no-device             - - link show dev nosuch0
p error-no-device-json        - - -json link show dev nosuch0
p error-no-device-addr        - - addr show dev nosuch0
p error-no-device-route       - - route show dev nosuch0
p error-no-device-neigh       - - neigh show dev nosuch0
p error-no-device-set         - - link set nosuch0 up
p error-no-device-delete      - - link del nosuch0
p error-no-device-addr-add    - - addr add 192.0.2.50/24 dev nosuch0
p error-no-parent             - - link add link nosuch0 name x0 type ipvlan
p error-ipvlan-without-parent - - link add name x0 type ipvlan
p error-ipvlan-mode           - - link add link eth0 name x0 type ipvlan mode l4
p error-ipvlan-flag           - - link add link eth0 name x0 type ipvlan mode l2 public
p error-ipvlan-flags          - - link add link eth0 name x0 type ipvlan mode l2 bridge private
p error-ipvlan-on-loopback    - - link add link lo name x0 type ipvlan
p error-ipvlan-on-macvlan-parent - - link add link lan name x0 type ipvlan
p error-macvlan-on-ipvlan-parent - - link add link p-l2 name x0 type macvlan
p error-ipvlan-of-port        - - link add link t-1 name x0 type ipvlan
p error-parent-to-bridge      - - link set p-l2 master br0
p error-exists                - - link add dummy0 type dummy
p error-type-unknown          - - link add x0 type nosuchtype
p error-name-too-long         - - link add abcdefghijklmnopq type dummy
p error-name-bad              - - link add a/b type dummy
p error-mtu                   - - link set br0 mtu 10
p error-mtu-text              - - link set br0 mtu many
p error-mac                   - - link set br0 address 02:00
p error-netns                 - - link set tap0 netns nosuchnetns
p error-netns-option          - - -n nosuchnetns link show
p error-netns-exec            - - netns exec nosuchnetns true
p error-netns-exec-command    - - netns exec t-1 nosuchcommand
p error-netns-add-exists      - - netns add t-1
p error-netns-delete          - - netns del nosuchnetns
p error-netns-add-bad         - - netns add a/b
p error-netns-no-name         - - netns add
p error-addr-exists           - - addr add 192.0.2.1/24 dev dummy0
p error-addr-exists-6         - - addr add 2001:db8::1/64 dev dummy0
p error-addr-bad              - - addr add 192.0.2.300/24 dev dummy0
p error-addr-prefix           - - addr add 192.0.2.50/33 dev dummy0
p error-addr-missing          - - addr del 192.0.2.50/24 dev dummy0
p error-addr-missing-6        - - addr del 2001:db8::99/64 dev dummy0
p error-addr-no-dev           - - addr add 192.0.2.50/24
p error-addr-on-ipvlan-twice  t-1 - addr add 192.0.2.70/24 dev ipv1
p error-route-exists          - - route add default via 192.0.2.254 dev dummy0
p error-route-gateway         t-1 - route add 198.18.99.0/24 via 10.9.9.9
p error-route-gateway-down    t-2 - route add default via 192.0.2.1
p error-route-missing         - - route del 198.18.99.0/24
p error-route-link-down       - - route add 198.18.99.0/24 dev t-2
p error-route-bad             - - route add 198.18.99.1/24 dev br0
p error-route-source          - - route add 198.18.99.0/24 dev br0 src 192.0.2.99
p error-route-get             t-2 - route get 192.0.2.1
p error-route-get-6           t-2 - route get 2001:db8::1
p error-route-table           - - route show table nosuchtable
p error-neigh-missing         - - neigh del 192.0.2.99 dev dummy0
p error-neigh-get             - - neigh get 192.0.2.99 dev dummy0
p error-neigh-no-dev          - - neigh add 192.0.2.99 lladdr 02:00:00:00:00:99
p error-object                - - nosuch show
p error-option                - - -nosuch link
p error-command               - - link nosuch
p error-garbage               - - link show dev lo garbage
p error-garbage-addr          - - addr show dev lo garbage
p error-missing-word          - - link set dev
p error-device-busy           - - link set tap0 name eth0
p error-batch                 - - -batch /run/nosuchfile
p version                     - - -V
p version-json                - - -json -V
p help                        - - help
p help-link                   - - link help
TABLE
# What a user without privileges is told.
command[u]='setpriv --reuid=65534 --clear-groups --inh-caps=-all --bounding-set=-all ip' folder[u]=${folder[p]} prefix[u]=
cases <<'TABLE'
u error-privilege-link        - - link set lo mtu 1500
u error-privilege-add         - - link add x0 type dummy
u error-privilege-netns       - - netns add x
u error-privilege-exec        - - netns exec t-1 true
u error-privilege-addr        - - addr add 192.0.2.50/24 dev lo
TABLE
