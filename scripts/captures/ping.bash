# shellcheck disable=SC2034,SC2154
# shellcheck shell=bash
# ping of iputils, busybox and inetutils. Read by capture-fixtures; `debs` and `captures` are its.
#
#   alone   t-near ──┐            ┌── t-peer        bridge: 192.0.2.0/24, 2001:db8::/64
#                    br0 (this namespace, the router) ── t-far    203.0.113.0/24, 2001:db8:1::/64
#                    └── t-odd    answers as odd_host.py says
folder[i]=iputils-$(ping -V | sed -n '1s/.* //p') command[i]=ping prefix[i]=ping-
folder[b]=busybox-$("$debs/busybox/busybox" | sed -n '1s/BusyBox v\([^ ]*\).*/\1/p') command[b]='busybox ping' prefix[b]=ping-
folder[n]=inetutils-$("$debs/inetutils/ping" -V | sed -n '1s/.* //p') command[n]=ping prefix[n]=ping-
folder[6]=${folder[n]} command[6]=ping6 prefix[6]=ping6-
version_of i "$(ping -V | head -n 1)"
version_of b "$("$debs/busybox/busybox" | head -n 1)"
version_of n "$("$debs/inetutils/ping" -V | head -n 1)"

for netns in t-alone t-near t-peer t-odd t-far; do
  ip netns add "$netns"
done
sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 \
  net.ipv4.conf.all.send_redirects=0 net.ipv4.icmp_echo_ignore_broadcasts=0
ip link add br0 up type bridge
ip addr add 192.0.2.1/24 dev br0
ip addr add 2001:db8::1/64 dev br0 nodad
number=2
for netns in t-near t-peer t-odd; do
  ip link add "$netns" up type veth peer name eth0 netns "$netns"
  ip link set "$netns" master br0
  ip -n "$netns" link set lo up
  ip -n "$netns" addr add "192.0.2.$number/24" dev eth0
  ip -n "$netns" addr add "2001:db8::$number/64" dev eth0 nodad
  ip -n "$netns" link set eth0 up
  ip -n "$netns" route add default via 192.0.2.1
  ip -n "$netns" route add default via 2001:db8::1
  sysctls "$netns" net.ipv4.icmp_echo_ignore_broadcasts=0
  ((number += 1))
done
ip link add t-far up type veth peer name eth0 netns t-far
ip addr add 203.0.113.1/24 dev t-far
ip addr add 2001:db8:1::1/64 dev t-far nodad
ip -n t-far addr add 203.0.113.2/24 dev eth0
ip -n t-far addr add 2001:db8:1::2/64 dev eth0 nodad
ip -n t-far link set eth0 up
ip -n t-far route add default via 203.0.113.1
ip -n t-far route add default via 2001:db8:1::1
ip route add prohibit 198.51.100.0/26
ip route add unreachable 198.51.100.64/26
ip route add prohibit 2001:db8:2::/64
for netns in t-near t-peer t-odd t-far; do wait_up "$netns" eth0; done
wait_up t-near lo
# The packets leave and nobody says a word.
ip -n t-near neigh add 192.0.2.66 lladdr 02:00:00:00:00:66 dev eth0
link_local=$(ip netns exec t-peer ip -6 -br addr show dev eth0 scope link | grep -o 'fe80[^/]*')

# Names, for this mount namespace only.
mkdir /run/etc
printf '%s\n' '127.0.0.1 localhost' '192.0.2.3 peer.example peer' '2001:db8::3 peer.example peer' \
  '203.0.113.2 far.example' >/run/etc/hosts
echo 'hosts: files' >/run/etc/nsswitch.conf
echo 'nameserver 127.0.0.1' >/run/etc/resolv.conf
mount --bind /run/etc/hosts /etc/hosts
mount --bind /run/etc/nsswitch.conf /etc/nsswitch.conf
mount --bind /run/etc/resolv.conf /etc/resolv.conf

cases <<TABLE
ibn plain                 t-near -        -c 3 192.0.2.3
ibn one                   t-near -        -c 1 192.0.2.3
ibn itself                t-near -        -c 2 192.0.2.2
ibn routed                t-near -        -c 2 203.0.113.2
i   interval              t-near -        -c 5 -i 0.2 192.0.2.3
ib  silent                t-near -        -c 3 -W 1 192.0.2.66
n   silent                t-near -        -c 3 -W 1 192.0.2.66
i   silent-one            t-near -        -c 1 -W 0.5 192.0.2.66
ibn silent-quiet          t-near -        -q -c 2 -W 1 192.0.2.66
ib  host-unreachable      t-near -        -c 3 -W 4 192.0.2.77
n   host-unreachable      t-near -        -c 3 -W 4 192.0.2.77
i   host-unreachable-n    t-near -        -n -c 3 -W 4 192.0.2.77
i   host-unreachable-q    t-near -        -q -c 3 -W 4 192.0.2.77
n   host-unreachable-v    t-near -        -v -c 2 -W 4 192.0.2.78
ibn host-unreachable-router t-near -      -c 2 -W 4 203.0.113.77
ib  time-to-live          t-near -        -c 2 -W 1 -t 1 203.0.113.2
n   time-to-live          t-near -        -c 2 -W 1 --ttl=1 203.0.113.2
n   time-to-live-v        t-near -        -v -c 2 -W 1 --ttl=1 203.0.113.2
i   timestamps            t-near -        -D -c 2 -i 0.2 192.0.2.3
i   timestamps-unreachable t-near -       -D -c 2 -W 4 192.0.2.79
i   timestamps-O          t-near -        -D -O -c 3 -i 0.3 -W 0.5 192.0.2.66
i   no-answer-yet         t-near -        -O -c 3 -i 0.3 -W 0.5 192.0.2.66
ibn quiet                 t-near -        -q -c 3 192.0.2.3
in  flood                 t-near -        -f -c 20 192.0.2.3
in  flood-loss            t-near -        -f -c 20 -w 2 192.0.2.66
i   flood-quiet           t-near -        -q -f -c 20 192.0.2.3
in  numeric               t-near -        -n -c 2 peer.example
ib  name                  t-near -        -4 -c 2 peer.example
n   name                  t-near -        -c 2 peer.example
i   name-address          t-near -        -c 2 203.0.113.2
i   name-unreachable      t-near -        -c 2 -W 4 far.example
ib  adaptive              t-near -        -A -c 6 192.0.2.3
ibn size-0                t-near -        -s 0 -c 2 192.0.2.3
ibn size-4                t-near -        -s 4 -c 2 192.0.2.3
i   size-15               t-near -        -s 15 -c 2 192.0.2.3
i   size-16               t-near -        -s 16 -c 2 192.0.2.3
ibn size-1000             t-near -        -s 1000 -c 2 192.0.2.3
ibn size-fragments        t-near -        -s 3000 -c 2 192.0.2.3
i   too-long-local        t-near -        -M do -s 1600 -c 2 -W 1 192.0.2.3
ibn too-big-a-packet      t-near -        -s 70000 -c 1 192.0.2.3
i   deadline              t-near -        -w 2 192.0.2.3
bn  deadline              t-near -        -w 2 192.0.2.3
i   deadline-silent       t-near -        -w 2 192.0.2.66
bn  deadline-silent       t-near -        -w 2 192.0.2.66
ibn pattern               t-near -        -p ff -c 2 192.0.2.3
i   pattern-long          t-near -        -p 0123456789abcdef -c 2 192.0.2.3
in  record-route          t-near -        -R -c 2 203.0.113.2
i   record-route-n        t-near -        -n -R -c 2 192.0.2.3
i   timestamp-option      t-near -        -T tsandaddr -c 2 203.0.113.2
i   timestamp-only        t-near -        -T tsonly -c 2 192.0.2.3
n   timestamp-option      t-near -        --ip-timestamp=tsaddr -c 2 203.0.113.2
n   timestamp-request     t-near -        --timestamp -c 2 192.0.2.3
n   mask-request          t-near -        --address -c 2 -W 1 192.0.2.3
in  verbose               t-near -        -v -c 2 192.0.2.3
i   tos                   t-near -        -Q 0x10 -c 2 192.0.2.3
i   mark                  t-near -        -m 7 -c 1 192.0.2.3
i   preload               t-near -        -l 3 -c 4 192.0.2.3
i   user-latency          t-near -        -U -c 2 192.0.2.3
i   audible               t-near -        -a -c 2 192.0.2.3
i   three-numbers         t-near -        -3 -c 2 192.0.2.3
i   rtt-precise           t-near -        -c 2 -i 0.002 192.0.2.3
i   id                    t-near -        -e 77 -c 1 192.0.2.3
i   bind-address          t-near -        -I 192.0.2.2 -c 2 192.0.2.3
ib  bind-device           t-near -        -I eth0 -c 2 192.0.2.3
i   bind-foreign          t-near -        -I 192.0.2.250 -c 1 192.0.2.3
b   bind-foreign          t-near -        -I 192.0.2.250 -c 1 192.0.2.3
ib  bind-no-device        t-near -        -I nosuch0 -c 1 192.0.2.3
ibn no-network            t-alone -       -c 1 -W 1 192.0.2.3
ibn no-route-lo-down      t-alone -       -c 1 -W 1 127.0.0.1
ibn no-such-name          t-near -        -c 1 nosuch.example
i   no-such-name-6        t-near -        -6 -c 1 nosuch.example
ibn bad-address           t-near -        -c 1 192.0.2.300
ibn bad-option            t-near -        --nosuch 192.0.2.3
ibn bad-count             t-near -        -c none 192.0.2.3
i   bad-count-0           t-near -        -c 0 192.0.2.3
i   bad-ttl               t-near -        -t 256 -c 1 192.0.2.3
i   bad-interval          t-near -        -i 0.0001 -c 2 192.0.2.3
ibn no-destination        t-near -        -c 1
ibn broadcast-refused     t-near -        -c 1 -W 1 192.0.2.255
i   duplicates            t-near -        -b -c 3 -i 0.3 -W 1 192.0.2.255
b   duplicates            t-near -        -c 2 -W 1 192.0.2.255
i   duplicates-quiet      t-near -        -b -q -c 3 -i 0.3 -W 1 192.0.2.255
i   multicast             t-near -        -c 1 -W 1 224.0.0.1
i   interrupted           t-near INT@1.3  192.0.2.3
bn  interrupted           t-near INT@1.3  192.0.2.3
ibn interrupted-silent    t-near INT@1.3  192.0.2.66
i   interrupted-unreachable t-near INT@4  192.0.2.80
ibn interrupted-at-once   t-near INT@0.1  192.0.2.66
ibn killed                t-near KILL@1.3 192.0.2.3
i   killed-flood          t-near KILL@0.5 -f 192.0.2.66
ibn terminated            t-near TERM@1.3 192.0.2.3
ibn status                t-near QUIT@1.3 -c 3 192.0.2.3
i   status-silent         t-near QUIT@0.7 -c 2 -W 1 192.0.2.66
ib  six                   t-near -        -6 -c 3 2001:db8::3
6   plain                 t-near -        -c 3 2001:db8::3
ib  six-routed            t-near -        -6 -c 2 2001:db8:1::2
ib  six-link-local        t-near -        -6 -c 2 $link_local%eth0
6   link-local            t-near -        -c 2 $link_local%eth0
i   six-link-local-bare   t-near -        -6 -c 1 -W 1 $link_local
i   six-hop-limit         t-near -        -6 -c 2 -W 1 -t 1 2001:db8:1::2
b   six-hop-limit         t-near -        -6 -c 2 -W 1 -t 1 2001:db8:1::2
6   hop-limit             t-near -        -c 2 -w 4 --hoplimit=1 2001:db8:1::2
ib  six-address-unreachable t-near -      -6 -c 3 -W 4 2001:db8::77
6   address-unreachable   t-near -        -c 3 -w 4 2001:db8::77
ib  six-no-route          t-near -        -6 -c 2 -W 1 2001:db8:99::1
6   no-route              t-near -        -c 2 -w 4 2001:db8:99::1
i   six-prohibited        t-near -        -6 -c 2 -W 1 2001:db8:2::1
ib  six-no-network        t-alone -       -6 -c 1 -W 1 2001:db8::3
6   no-network            t-alone -       -c 1 -w 4 2001:db8::3
i   six-timestamps        t-near -        -6 -D -c 2 -i 0.2 2001:db8::3
i   six-name              t-near -        -6 -c 2 peer.example
i   name-either           t-near -        -c 2 peer.example
i   six-all-nodes         t-near -        -6 -c 2 -W 1 ff02::1%eth0
i   version               t-near -        -V
bn  version               t-near -        --version
ibn help                  t-near -        --help
TABLE

# The router tells a host only five such errors in a row, then one a second: so a host for each tool, and pauses.
for unreachable in unreachable-route,198.51.100.65 net-unreachable,198.51.100.129 filtered,198.51.100.1; do
  cases <<TABLE
i   ${unreachable%,*}     t-near -        -c 2 -W 1 ${unreachable#*,}
b   ${unreachable%,*}     t-peer -        -c 2 -W 1 ${unreachable#*,}
n   ${unreachable%,*}     t-odd  -        -c 2 -W 1 ${unreachable#*,}
TABLE
done

# A host that falls silent, and one that comes back: loss at the end, loss in the middle.
silence() { sysctls t-peer net.ipv4.icmp_echo_ignore_all="$1"; }
meanwhile 0.5 silence 1
meanwhile 1.5 silence 0
cases <<'TABLE'
i   loss-middle           t-near -        -i 0.2 -c 12 -W 1 192.0.2.3
i   loss-middle-O         t-near -        -O -i 0.2 -c 12 -W 1 192.0.2.3
i   loss-middle-D         t-near -        -D -i 0.2 -c 12 -W 1 192.0.2.3
i   loss-middle-quiet     t-near -        -q -i 0.2 -c 12 -W 1 192.0.2.3
i   loss-middle-flood     t-near -        -f -c 40 -i 0.05 192.0.2.3
i   loss-middle-status    t-near QUIT@1.2 -i 0.2 -c 9 -W 1 192.0.2.3
TABLE
meanwhile 1.5 silence 1
meanwhile 3.5 silence 0
cases <<'TABLE'
bn  loss-middle           t-near -        -c 6 -W 1 192.0.2.3
TABLE
meanwhile 0.5 silence 1
cases <<'TABLE'
i   falls-silent          t-near -        -i 0.2 -c 6 -W 1 192.0.2.3
bn  falls-silent          t-near -        -c 3 -W 1 192.0.2.3
TABLE
silence 0

# The way there is lost for a moment: the router says so, and then answers come again.
route_lost() { ip route replace unreachable 203.0.113.2/32 && sleep 0.6 && ip route del 203.0.113.2/32; }
meanwhile 0.5 route_lost
cases <<'TABLE'
i   route-lost-middle     t-near -        -i 0.2 -c 9 -W 1 203.0.113.2
TABLE
route_lost_locally() { ip -n t-near route del default via 192.0.2.1 && sleep 0.8 && ip -n t-near route add default via 192.0.2.1; }
meanwhile 0.5 route_lost_locally
cases <<'TABLE'
i   no-route-middle       t-near -        -i 0.2 -c 9 -W 1 203.0.113.2
bn  no-route-middle       t-near -        -c 3 -W 1 203.0.113.2
TABLE
link_lost() { ip link set t-peer down && sleep 0.8 && ip link set t-peer up; }
meanwhile 0.5 link_lost
cases <<'TABLE'
i   link-lost-middle      t-near -        -D -i 0.2 -c 9 -W 1 192.0.2.3
TABLE
own_link_lost() { ip -n t-near link set eth0 down && sleep 0.8 && ip -n t-near link set eth0 up && ip -n t-near route add default via 192.0.2.1; }
meanwhile 0.5 own_link_lost
cases <<'TABLE'
i   own-link-lost-middle  t-near -        -i 0.2 -c 9 -W 1 192.0.2.3
TABLE
ip -n t-near addr add 2001:db8::2/64 dev eth0 nodad || true # it went with the link
ip -n t-near route add default via 2001:db8::1 || true
# The host appears while ping waits for it.
appear() { ip -n t-peer addr add 192.0.2.90/24 dev eth0; }
meanwhile 1.5 appear
cases <<'TABLE'
i   appears               t-near -        -i 0.3 -c 12 -W 1 192.0.2.90
TABLE
# A neighbour that is known and goes away: its entry ages, then there are errors.
sysctls t-near net.ipv4.neigh.eth0.base_reachable_time_ms=1000 net.ipv4.neigh.eth0.delay_first_probe_time=1 \
  net.ipv4.neigh.eth0.retrans_time_ms=100
ip -n t-near neigh flush dev eth0 # what it knows already would age as before
meanwhile 0.7 ip link set t-peer down
cases <<'TABLE'
i   dies                  t-near -        -D -i 0.2 -w 12 192.0.2.90
bn  dies                  t-near -        -w 12 192.0.2.90
TABLE
ip link set t-peer up
wait_up t-peer eth0

# A better router.
sysctls t-peer net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=1 net.ipv4.conf.eth0.send_redirects=1 net.ipv4.icmp_ratelimit=0
ip -n t-near route add 203.0.113.0/24 via 192.0.2.3
cases <<'TABLE'
i   redirect              t-near -        -i 0.3 -c 3 203.0.113.2
TABLE
ip -n t-near route flush cache
cases <<'TABLE'
b   redirect              t-near -        -c 2 203.0.113.2
TABLE
ip -n t-near route flush cache
cases <<'TABLE'
n   redirect              t-near -        -c 2 203.0.113.2
TABLE
ip -n t-near route del 203.0.113.0/24 via 192.0.2.3
ip -n t-near route flush cache

# A narrow link behind the router.
ip link set t-far mtu 1280
ip -n t-far link set eth0 mtu 1280
cases <<'TABLE'
i   fragmentation-needed  t-near -        -M do -s 1472 -c 3 -i 0.3 -W 1 203.0.113.2
TABLE
cases <<'TABLE'
i   too-long-path         t-near -        -M do -s 1472 -c 2 -W 1 203.0.113.2
TABLE
ip -n t-near route flush cache
cases <<'TABLE'
n   fragmentation-needed  t-near -        -s 1472 -c 3 -W 1 203.0.113.2
TABLE
ip -n t-near route flush cache
cases <<'TABLE'
i   six-too-big           t-near -        -6 -M do -s 1400 -c 3 -i 0.3 -W 1 2001:db8:1::2
TABLE
ip -n t-near -6 route flush cache
cases <<'TABLE'
6   too-big               t-near -        -s 1400 -c 3 -w 4 2001:db8:1::2
TABLE

# A host that answers oddly.
sysctls t-odd net.ipv4.icmp_echo_ignore_all=1
for way in wrong-data bad-checksum truncated thrice late every-second port-unreachable protocol-unreachable unknown-code \
  source-quench parameter-problem; do
  ip netns exec t-odd python3 "$here/captures/odd_host.py" "$way" &
  odd=$!
  sleep 0.3
  cases <<TABLE
i   odd-$way              t-near -        -i 0.3 -c 4 -W 1 192.0.2.4
bn  odd-$way              t-near -        -c 2 -W 1 192.0.2.4
TABLE
  kill "$odd"
  wait "$odd" || true
done
