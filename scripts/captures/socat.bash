# shellcheck disable=SC2034,SC2154
# shellcheck shell=bash
# socat as a TCP client. Read by capture-fixtures after ping.bash, whose network it goes on with.
folder[s]=socat-$(socat -V | sed -n 's/^socat version \([^ ]*\) .*/\1/p') command[s]='socat -d -d' prefix[s]=socat-
version_of s "socat ${folder[s]#*-}"

ip netns exec t-peer socat -u /dev/null TCP4-LISTEN:8080,bind=192.0.2.3,reuseaddr,fork &
servers=$!
ip netns exec t-peer socat -u /dev/null 'TCP6-LISTEN:8080,bind=[2001:db8::3],reuseaddr,fork' &
servers+=" $!"
until [[ $(ip netns exec t-peer ss -Htln sport 8080 | wc -l) == 2 ]]; do sleep 0.05; done
cases <<'TABLE'
s   plain                 t-near -        /dev/null TCP:192.0.2.3:8080,connect-timeout=5
s   one-way               t-near -        -u /dev/null TCP:192.0.2.3:8080,connect-timeout=5
s   no-timeout            t-near -        /dev/null TCP:192.0.2.3:8080
s   refused               t-near -        /dev/null TCP:192.0.2.3:8081,connect-timeout=5
s   refused-no-timeout    t-near -        /dev/null TCP:192.0.2.3:8081
s   timed-out             t-near -        /dev/null TCP:192.0.2.66:8080,connect-timeout=5
s   host-unreachable      t-near -        /dev/null TCP:192.0.2.77:8080,connect-timeout=5
s   prohibited            t-near -        /dev/null TCP:198.51.100.1:8080,connect-timeout=5
s   unreachable-route     t-near -        /dev/null TCP:198.51.100.65:8080,connect-timeout=5
s   no-network            t-alone -       /dev/null TCP:192.0.2.3:8080,connect-timeout=5
s   six                   t-near -        /dev/null TCP:[2001:db8::3]:8080,connect-timeout=5
s   six-refused           t-near -        /dev/null TCP:[2001:db8::3]:8081,connect-timeout=5
s   six-host-unreachable  t-near -        /dev/null TCP:[2001:db8::77]:8080,connect-timeout=5
s   six-prohibited        t-near -        /dev/null TCP:[2001:db8:2::1]:8080,connect-timeout=5
s   six-no-network        t-alone -       /dev/null TCP:[2001:db8::3]:8080,connect-timeout=5
s   killed                t-near KILL@0.5 /dev/null TCP:192.0.2.66:8080,connect-timeout=5
s   no-such-name          t-near -        /dev/null TCP:nosuch.example:8080,connect-timeout=5
s   bad-option            t-near -        /dev/null TCP:192.0.2.3:8080,nosuch=5
s   bad-port              t-near -        /dev/null TCP:192.0.2.3:nosuch,connect-timeout=5
TABLE
# shellcheck disable=SC2086
kill $servers
wait $servers || true
