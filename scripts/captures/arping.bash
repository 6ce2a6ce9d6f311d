# shellcheck disable=SC2034,SC2154
# shellcheck shell=bash
# arping of iputils, busybox and Habets. Read by capture-fixtures after ping.bash, whose network it goes on with.
# t-peer has every address that PEER stands for; t-twin1 and t-twin2 both have every one of TWINS.
folder[I]=${folder[i]} command[I]=arping prefix[I]=arping-
folder[B]=${folder[b]} command[B]='busybox arping' prefix[B]=arping-
command[H]=arping prefix[H]=arping-
folder[H]=habets-arping-$(LD_LIBRARY_PATH=$debs/libraries "$debs/habets-arping/arping" --help | sed -n '1s/ARPing \([^,]*\),.*/\1/p')
version_of H "$(LD_LIBRARY_PATH=$debs/libraries "$debs/habets-arping/arping" --help | head -n 1)"

for number in 1 2; do
  ip netns add "t-twin$number"
  ip link add "t-twin$number" up type veth peer name eth0 address "02:00:00:00:66:0$number" netns "t-twin$number"
  ip link set "t-twin$number" master br0
  ip -n "t-twin$number" link set lo up
  ip -n "t-twin$number" addr add 192.0.2.66/24 dev eth0
  ip -n "t-twin$number" route add local 192.0.2.96/27 dev lo
  ip -n "t-twin$number" link set eth0 up
  wait_up "t-twin$number" eth0
done
ip -n t-peer route add local 192.0.2.128/25 dev lo
ip -n t-near link add down0 type veth peer name down1
ip -n t-near tuntap add tun0 mode tun
ip -n t-near addr add 198.51.100.250/32 dev tun0
ip -n t-near link set tun0 up
ip -n t-near link add bare0 type veth peer name bare1
ip -n t-near link set bare1 up
ip -n t-near link set bare0 up
peer_mac=$(ip -n t-peer -br link show dev eth0 | grep -o '..:..:..:..:..:..')

cases <<TABLE
IB  plain                 t-near -        -I eth0 -c 3 PEER
IB  one                   t-near -        -I eth0 -c 1 PEER
I   no-device             t-near -        -c 2 PEER
B   no-device             t-near -        -c 2 PEER
IB  two-hosts             t-near -        -I eth0 -c 2 TWINS
IB  two-hosts-one         t-near -        -I eth0 -c 1 TWINS
IB  two-hosts-broadcast   t-near -        -b -I eth0 -c 2 TWINS
IB  silent                t-near -        -I eth0 -c 2 192.0.2.77
IB  silent-deadline       t-near -        -I eth0 -w 2 192.0.2.77
I   silent-fast           t-near -        -I eth0 -i 0.3 -c 3 192.0.2.77
IB  quiet                 t-near -        -q -I eth0 -c 2 PEER
IB  quiet-silent          t-near -        -q -I eth0 -c 2 192.0.2.77
IB  first                 t-near -        -f -I eth0 PEER
IB  first-deadline        t-near -        -f -w 2 -I eth0 192.0.2.77
IB  deadline              t-near -        -w 2 -I eth0 PEER
IB  count-and-deadline    t-near -        -c 2 -w 5 -I eth0 PEER
IB  broadcast             t-near -        -b -I eth0 -c 2 PEER
IB  duplicate-free        t-near -        -D -I eth0 -c 2 -w 3 192.0.2.78
IB  duplicate-in-use      t-near -        -D -I eth0 -c 2 -w 3 PEER
IB  duplicate-in-use-twice t-near -       -D -I eth0 -c 2 -w 3 TWINS
IB  duplicate-quiet       t-near -        -q -D -I eth0 -c 2 -w 3 PEER
IB  unsolicited           t-near -        -U -I eth0 -c 2 192.0.2.2
IB  answer                t-near -        -A -I eth0 -c 2 192.0.2.2
IB  unsolicited-source    t-near -        -U -s 192.0.2.2 -I eth0 -c 2 192.0.2.2
IB  unsolicited-quiet     t-near -        -q -U -I eth0 -c 1 192.0.2.2
IB  unsolicited-foreign   t-near -        -U -I eth0 -c 1 192.0.2.250
IB  source                t-near -        -s 192.0.2.2 -I eth0 -c 2 PEER
IB  source-foreign        t-near -        -s 192.0.2.250 -I eth0 -c 1 PEER
IB  itself                t-near -        -I eth0 -c 2 192.0.2.2
IB  off-link              t-near -        -I eth0 -c 1 -w 2 203.0.113.2
IB  no-such-device        t-near -        -I nosuch0 -c 1 192.0.2.3
IB  device-down           t-near -        -I down0 -c 1 192.0.2.3
IB  device-no-arp         t-near -        -I tun0 -c 1 192.0.2.3
IB  device-loopback       t-near -        -I lo -c 1 127.0.0.1
IB  device-no-address     t-near -        -I bare0 -c 1 -w 2 192.0.2.3
IB  no-network            t-alone -       -c 1 192.0.2.3
IB  name                  t-near -        -I eth0 -c 2 peer.example
IB  no-such-name          t-near -        -I eth0 -c 1 nosuch.example
IB  bad-address           t-near -        -I eth0 -c 1 192.0.2.300
IB  bad-option            t-near -        -Z -I eth0 192.0.2.3
IB  bad-count             t-near -        -I eth0 -c none 192.0.2.3
IB  no-destination        t-near -        -I eth0 -c 1
IB  interrupted           t-near INT@1.3  -I eth0 PEER
IB  interrupted-silent    t-near INT@1.3  -I eth0 192.0.2.77
IB  killed                t-near KILL@1.3 -I eth0 PEER
IB  terminated            t-near TERM@1.3 -I eth0 PEER
I   version               t-near -        -V
B   help                  t-near -        --help
I   help                  t-near -        -h

H   plain                 t-near -        -i eth0 -c 3 PEER
H   one                   t-near -        -i eth0 -c 1 PEER
H   no-device             t-near -        -c 2 PEER
H   silent                t-near -        -i eth0 -c 2 192.0.2.77
H   silent-fast           t-near -        -i eth0 -c 3 -W 0.3 192.0.2.77
H   two-hosts             t-near -        -i eth0 -c 2 TWINS
H   duplicates            t-near -        -d -i eth0 -c 2 TWINS
H   duplicates-none       t-near -        -d -i eth0 -c 2 PEER
H   reply                 t-near -        -P -i eth0 -c 2 PEER
H   raw                   t-near -        -r -i eth0 -c 2 PEER
H   raw-two-hosts         t-near -        -r -i eth0 -c 2 TWINS
H   raw-other             t-near -        -R -i eth0 -c 2 PEER
H   raw-silent            t-near -        -r -i eth0 -c 1 192.0.2.77
H   quiet                 t-near -        -q -i eth0 -c 2 PEER
H   quiet-silent          t-near -        -q -i eth0 -c 2 192.0.2.77
H   dots                  t-near -        -D -i eth0 -c 3 PEER
H   dots-silent           t-near -        -D -i eth0 -c 3 192.0.2.77
H   dots-two-hosts        t-near -        -D -i eth0 -c 2 TWINS
H   audible               t-near -        -a -i eth0 -c 2 PEER
H   audible-error         t-near -        -e -i eth0 -c 2 192.0.2.77
H   verbose               t-near -        -v -i eth0 -c 2 PEER
H   very-verbose          t-near -        -vv -i eth0 -c 1 PEER
H   deadline              t-near -        -w 2 -i eth0 PEER
H   deadline-silent       t-near -        -w 2 -i eth0 192.0.2.77
H   deadline-and-count    t-near -        -c 5 -w 2 -W 0.3 -i eth0 PEER
H   replies               t-near -        -C 1 -i eth0 TWINS
H   replies-of-two        t-near -        -C 3 -i eth0 TWINS
H   index-sent            t-near -        -u -i eth0 -c 2 PEER
H   source                t-near -        -S 192.0.2.2 -i eth0 -c 2 PEER
H   source-foreign        t-near -        -S 192.0.2.250 -i eth0 -c 1 PEER
H   source-zero           t-near -        -0 -i eth0 -c 2 PEER
H   source-broadcast      t-near -        -b -i eth0 -c 2 PEER
H   source-mac            t-near -        -s 02:00:00:00:00:99 -p -i eth0 -c 2 PEER
H   target-mac            t-near -        -t $peer_mac -i eth0 -c 2 PEER
H   only-matching         t-near -        -A -i eth0 -c 2 PEER
H   vlan                  t-near -        -V 10 -i eth0 -c 1 PEER
H   itself                t-near -        -i eth0 -c 1 192.0.2.2
H   off-link              t-near -        -c 1 203.0.113.2
H   no-such-device        t-near -        -i nosuch0 -c 1 192.0.2.3
H   device-down           t-near -        -i down0 -c 1 192.0.2.3
H   device-no-arp         t-near -        -i tun0 -c 1 192.0.2.3
H   device-loopback       t-near -        -i lo -c 1 127.0.0.1
H   device-no-address     t-near -        -i bare0 -c 1 192.0.2.3
H   no-network            t-alone -       -c 1 192.0.2.3
H   name                  t-near -        -i eth0 -c 2 peer.example
H   no-such-name          t-near -        -i eth0 -c 1 nosuch.example
H   bad-address           t-near -        -i eth0 -c 1 192.0.2.300
H   bad-option            t-near -        -Y -i eth0 192.0.2.3
H   bad-count             t-near -        -i eth0 -c none 192.0.2.3
H   no-destination        t-near -        -i eth0 -c 1
H   interrupted           t-near INT@1.3  -i eth0 PEER
H   interrupted-silent    t-near INT@1.3  -i eth0 192.0.2.77
H   killed                t-near KILL@1.3 -i eth0 PEER
H   terminated            t-near TERM@1.3 -i eth0 PEER
H   help                  t-near -        --help
TABLE

# Answers to these would be taken by others, or others' announcements for answers: so one after another.
while read -r name words; do
  cases <<<"H $name t-near - -i eth0 -c 2 $words"
done <<TABLE
unsolicited   -U 192.0.2.2
unsolicited-reply -U -P 192.0.2.2
mac           $peer_mac
mac-target    -T 192.0.2.3 $peer_mac
mac-target-u  -u -T 192.0.2.3 $peer_mac
mac-raw       -r -T 192.0.2.3 $peer_mac
mac-quiet     -q -T 192.0.2.3 $peer_mac
mac-silent    -T 192.0.2.3 02:00:00:00:00:99
mac-dots      -D -T 192.0.2.3 $peer_mac
TABLE

# A host that appears, and one that falls silent.
appear() { for number in 91 92 93; do ip -n t-peer addr add 192.0.2.$number/24 dev eth0; done; }
meanwhile 1.5 appear
cases <<'TABLE'
I   appears               t-near -        -I eth0 -c 4 192.0.2.91
B   appears               t-near -        -I eth0 -c 4 192.0.2.92
H   appears               t-near -        -i eth0 -c 4 192.0.2.93
TABLE
meanwhile 1.5 ip -n t-peer link set eth0 arp off
cases <<'TABLE'
I   falls-silent          t-near -        -I eth0 -c 4 192.0.2.91
B   falls-silent          t-near -        -I eth0 -c 4 192.0.2.92
H   falls-silent          t-near -        -i eth0 -c 4 192.0.2.93
TABLE
