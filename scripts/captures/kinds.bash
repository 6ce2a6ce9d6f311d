# shellcheck shell=bash
# shellcheck disable=SC2154
# Tunnels and other kinds of links. Read by capture-fixtures after ip.bash, whose forms it uses.
modprobe --all --dirname /run/modules dummy vxlan geneve ip_gre ip6_gre ip6_tunnel ipip sit ip_vti ip6_vti bonding
ip netns add k-0
ip -n k-0 link add k-0 type veth peer name k-1
ip -n k-0 link set k-0 up
ip -n k-0 link set k-1 up
ip -n k-0 addr add 192.0.2.1/24 dev k-0
ip -n k-0 addr add 2001:db8::1/64 dev k-0 nodad

# --- links ---------------------------------------------------------------------------------------------
while read -r name rest; do
  read -ra words <<<"$rest"
  ip -n k-0 link add "$name" type "${words[@]}"
done <<'TABLE'
vxlan-group   vxlan id 5 dev k-0 dstport 4789 group 239.1.1.1
vxlan-six     vxlan id 6 remote 2001:db8::2 local 2001:db8::1 dstport 4792 ttl 7 tos inherit df set nolearning proxy
vxlan-more    vxlan id 9 remote 2001:db8::9 dstport 4791 ttl inherit gbp ageing 0 maxaddress 100 flowlabel 0x12345
vxlan-any     vxlan external dstport 4790 vnifilter
geneve-four   geneve id 5 remote 192.0.2.2
geneve-six    geneve id 6 remote 2001:db8::2 ttl 7 tos 0x10 flowlabel 0x123 dstport 6082 udp6zerocsumtx df set
geneve-more   geneve id 7 remote 192.0.2.3 ttl inherit tos inherit noudpcsum innerprotoinherit
gre-plain     gre remote 192.0.2.2 local 192.0.2.1
gre-key       gre remote 192.0.2.3 local 192.0.2.1 ttl 9 tos 0x10 key 7 csum seq dev k-0
gre-keys      gre remote 192.0.2.4 ikey 1 okey 2 icsum oseq nopmtudisc tos inherit ignore-df
gre-any       gre external
gretap-plain  gretap remote 192.0.2.2 local 192.0.2.1
gretap-mark   gretap remote 192.0.2.3 key 192.0.2.77 ttl 4 dev k-0 fwmark 5
erspan-one    erspan remote 192.0.2.2 local 192.0.2.1 seq key 5 erspan_ver 1 erspan 7
erspan-two    erspan remote 192.0.2.3 local 192.0.2.1 seq key 6 erspan_ver 2 erspan_dir egress erspan_hwid 8
ip6gre-plain  ip6gre remote 2001:db8::2 local 2001:db8::1
ip6gre-key    ip6gre remote 2001:db8::3 hoplimit 9 encaplimit none tclass 0x20 flowlabel 0x12345 key 5 csum seq dev k-0
ip6gre-same   ip6gre remote 2001:db8::4 tclass inherit flowlabel inherit dscp inherit allow-localremote
ip6gretap     ip6gretap remote 2001:db8::2 local 2001:db8::1 fwmark inherit
ip6erspan     ip6erspan remote 2001:db8::2 local 2001:db8::1 seq key 5 erspan_ver 1 erspan 7
ip6tnl-plain  ip6tnl remote 2001:db8::2 local 2001:db8::1
ip6tnl-mode   ip6tnl remote 2001:db8::3 mode ipip6 hoplimit 9 encaplimit none tclass 0x20 flowlabel 0x12345 dev k-0
ip6tnl-same   ip6tnl remote 2001:db8::4 mode any dscp inherit tclass inherit flowlabel inherit
ip6tnl-any    ip6tnl external
ipip-plain    ipip remote 192.0.2.2 local 192.0.2.1
ipip-ttl      ipip remote 192.0.2.3 ttl 9 tos 0x10 mode any dev k-0
ipip-any      ipip external
sit-plain     sit remote 192.0.2.2 local 192.0.2.1
sit-isatap    sit local 192.0.2.1 isatap ttl 3
vti-key       vti remote 192.0.2.2 local 192.0.2.1 key 5
vti-mark      vti remote 192.0.2.3 ikey 1 okey 2 fwmark 5 dev k-0
vti6-key      vti6 remote 2001:db8::2 local 2001:db8::1 key 5
bond-ad       bond mode 802.3ad miimon 100
port-ad       dummy
TABLE
ip -n k-0 link set port-ad master bond-ad
ip -n k-0 link set bond-ad up
ip -n k-0 -br link | sed 's/[ @].*//' | while read -r link; do
  [[ $link != k-? && $link != lo && $link != ip6_vti0 ]] || continue
  in_forms 'details json-details' "link-kind-$link" k-0 link show dev "$link"
done >/run/links
cases </run/links
ip netns exec k-0 ping -q -c 200 -i 0.002 -s 1000 -I k-0 192.0.2.255 -b >/dev/null 2>&1 || true
cases <<'TABLE'
p link-human k-0 - -h -s link show dev k-0
p link-human-json k-0 - -json -s link show dev k-0
p link-human-iec k-0 - -h -iec -s -s link show dev k-0
p link-human-iec-json k-0 - -json -s -s link show dev k-0
TABLE
