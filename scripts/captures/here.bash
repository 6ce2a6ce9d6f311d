# shellcheck shell=bash
# shellcheck disable=SC2154
# ip on the kernel of this machine, for what the guest's has not: routes into segments (SRv6), the reserved bits
# of a vxlan (Linux 6.14), multicast addresses in ip monitor (6.16). Read by capture-fixtures.
declare -A form=([plain]='' [details]=-d [oneline]=-o [json]=-json [json-details]='-json -details')
folder[k]=iproute2-$(ip -V | sed 's/.*iproute2-\([0-9.]*\),.*/\1/; s/\.0$//')-on-linux-$(uname -r | cut -d . -f 1,2)
command[k]=ip prefix[k]=
version_of k "$(ip -V)"

in_each_form() { # 'FORM…' NAME NETNS WORD…: one case for each form, on stdout
  local one
  for one in $1; do
    echo "k $2-$one $3 - ${form[$one]} ${*:4}"
  done
}

ip netns add here
ip -n here link set lo up
ip -n here link add here0 type veth peer name here1
ip -n here link set here0 up
ip -n here link set here1 up
ip -n here addr add 192.0.2.1/24 dev here0
ip -n here addr add 2001:db8::1/64 dev here0 nodad
ip -n here link add vxlan-bits type vxlan id 5 dev here0 dstport 4789 remote 192.0.2.9
number=0
for segments in 2001:db8:5::1 2001:db8:5::1,2001:db8:5::2; do
  for mode in encap inline l2encap encap.red l2encap.red; do
    ip -n here -6 route add "2001:db8:$((++number))::/64" encap seg6 mode "$mode" segs "$segments" dev here0
  done
done
while read -ra words; do
  ip -n here -6 route add "2001:db8:$((++number))::/64" encap seg6local action "${words[@]}" dev here0
done <<'TABLE'
End
End count
End flavors psp
End.X nh6 2001:db8::9
End.T table 100
End.DX6 nh6 2001:db8::9
End.DX4 nh4 192.0.2.9
End.DX2 oif here1
End.DT6 table 100
End.B6 srh segs 2001:db8:5::1,2001:db8:5::2
End.B6.Encaps srh segs 2001:db8:5::1
TABLE
cases <<TABLE
$(in_each_form 'plain details oneline json json-details' route-segments here -6 route show)
$(in_each_form 'details json-details' link-vxlan-bits here link show dev vxlan-bits)
TABLE

changes() {
  sleep 1
  ip -n here link add here2 type veth peer name here3
  ip -n here link set here2 up
  ip -n here addr add 198.51.100.1/24 dev here2
  ip -n here link set here3 up
  ip -n here link del here2
}
changes &
cases <<'TABLE'
k monitor-groups here INT@3 monitor label
TABLE
