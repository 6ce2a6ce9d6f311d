# shellcheck disable=SC2034,SC2154
# shellcheck shell=bash
# fping. Read by capture-fixtures after ping.bash, whose network it goes on with.
folder[f]=fping-$("$debs/fping/fping" -v | sed -n '1s/.* //p') command[f]='fping -i 1 -p 200 -t 500' prefix[f]=fping-
version_of f "$("$debs/fping/fping" -v | head -n 1 | sed 's/.*: //')"

ip -n t-near neigh replace 192.0.2.66 lladdr 02:00:00:00:00:66 dev eth0
cases <<'TABLE'
f   plain                 t-near -        -q -c 3 192.0.2.3
f   one                   t-near -        -q -c 1 192.0.2.3
f   itself                t-near -        -q -c 2 192.0.2.2
f   several               t-near -        -q -c 2 192.0.2.3 192.0.2.66 2001:db8::3 203.0.113.2 198.51.100.1
f   twice                 t-near -        -q -c 2 192.0.2.3 192.0.2.3
f   silent                t-near -        -q -c 2 192.0.2.66
f   host-unreachable      t-near -        -q -c 2 -t 4000 192.0.2.77
f   size                  t-near -        -q -c 2 -b 1000 -M 192.0.2.3
f   too-long-local        t-near -        -q -c 2 -b 1600 -M 192.0.2.3
f   six                   t-near -        -q -c 2 2001:db8::3
f   no-network            t-alone -       -q -c 2 192.0.2.3
f   six-no-network        t-alone -       -q -c 2 2001:db8::3
f   name                  t-near -        -q -c 2 far.example
f   every-reply           t-near -        -c 2 192.0.2.3 192.0.2.66
f   interrupted           t-near INT@1.1  -q -c 20 192.0.2.3 192.0.2.66
f   killed                t-near KILL@0.5 -q -c 20 192.0.2.3
f   bad-address           t-near -        -q -c 2 192.0.2.300
f   bad-option            t-near -        -q -c 2 --nosuch 192.0.2.3
f   bad-count             t-near -        -q -c none 192.0.2.3
f   no-destination        t-near -        -q -c 2
f   version               t-near -        -v
TABLE
for way in thrice every-second port-unreachable; do
  ip netns exec t-odd python3 "$here/captures/odd_host.py" "$way" &
  odd=$!
  sleep 0.3
  cases <<<"f odd-$way t-near - -q -c 4 192.0.2.4"
  kill "$odd"
  wait "$odd" || true
done
