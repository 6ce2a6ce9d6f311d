"""The bash of an exported script around the lab's own commands.

Words in capitals, such as `PROGRAMS`, are filled in by `script`.
"""

ABOUT_SIMULATED = """
Lab LAB: TEXT
Written by ipvkit VERSION. Needs bash 5, PROGRAMS, util-linuxKERNEL; no root.
Everything happens in new namespaces, which end with this script, even after kill -9: this machine is not changed.
Exit codes: 0 all as predicted, 1 a check differs, 3 this machine cannot, 4 a command failed, 130 interrupted.
"""

ABOUT_ON_PARENT = """
Lab LAB: TEXT
Written by ipvkit VERSION. Needs bash 5, PROGRAMS, util-linuxKERNEL; root.
It makes namespaces (NAMES) and KINDS links on PARENT, unless a name is taken.
It undoes what it did at the end, on a failure and on a signal; after kill -9, type: bash lab.sh --undo
Exit codes: 0 all as predicted, 1 a check differs, 2 refused, 3 this machine cannot, 4 a command failed (undone), 130 interrupted (undone).
"""

BEGIN = r"""
stop() { printf 'error: %s\nhint: %s\n' "$2" "$3" >&2; exit "$1"; }
[[ -f $0 ]] || stop 3 'this script has to be a file' 'save it, then type: bash lab.sh'
# Start again with a clean environment: bash -p takes no functions and no options from it.
[[ ${1-} == --clean ]] || exec /usr/bin/env -i LC_ALL=C PATH="SEARCH_PATH" bash -p "$0" --clean "$@"
shift; type PROGRAMS >/dev/null || stop 3 'a program is missing' 'apt install iproute2 iputils-ping iputils-arping procps util-linux'
"""

IPUTILS = r"""
[[ OF_IPUTILS ]] || stop 3 'this needs the PINGS of iputils' 'apt install iputils-ping iputils-arping'
"""

IPVLAN = r"""
[[ $(ip link add ipvkit-probe type ipvlan 2>&1) != *Unknown* ]] || stop 3 'this kernel has no ipvlan' 'modprobe ipvlan'
"""

# --- a simulated LAN: in namespaces that end with the script ------------------------------------------------

ISOLATE = r"""
if [[ "$$ ${1-}" != '1 --inside' ]]; then # start it in new namespaces, and wait for it
  new=(--net --mount --pid --fork --kill-child); ((EUID == 0)) || new+=(--user --map-root-user)
  unshare "${new[@]}" true || stop 3 'this machine gives no new namespaces' 'use sudo'
  trap 'echo "interrupted: no leftovers" >&2; exit 130' INT TERM HUP QUIT
  { coproc setpriv --pdeathsig KILL unshare "${new[@]}" bash -p "$0" --clean --inside >&3; } 3>&1
  wait $!; exit
fi
if read -rt 0; then exit; fi # stdin has ended: the script outside was killed just now
mount -nt tmpfs tmpfs /run; ip link set lo up # /run is for ip netns, and for what ping prints
"""

ALONE = r"""
set -eEu; exec 3>&1 >&2 # results go to stdout, all else to stderr
trap 'trap - DEBUG; echo "error: line $LINENO failed: $BASH_COMMAND" >&2; exit 4' ERR
trap '[[ "$? $BASH_COMMAND" != 0\ @(COMMANDS)\ * ]] || echo "+ ${BASH_COMMAND%% &>*}" >&2' DEBUG # show each command
"""

# --- on a machine: what was made is on record, and is undone ------------------------------------------------

IDENTITY = r"""
((EUID == 0)) || stop 3 'only root can change the network of this machine' 'use sudo'
work=/run/ipvkit-script-LAB-$(stat -Lc %i /proc/self/ns/net) record=$work/record next=() last=()
identity() { # UNDO COMMAND: the identity of what it would undo; fails where that is gone
  case "$*" in
CASES
  esac 2>/dev/null
}
"""

CASES = {
    "netns": """'ip netns del '*) stat -c %i,%.9Z "/run/netns/$4" ;;""",
    "link": """'ip link delete '*) link=$(ip -o link show dev "${!#}") && echo "${link%%:*}" ;;""",
    "inside": """'ip netns exec '*) link=$(ip -n "$4" -o link show dev "${!#}") && echo "$(identity ip netns del "$4"),${link%%:*}" ;;""",
    "proxy": """'ip neigh del proxy '*) [[ -n $(ip neigh show proxy "$5" dev "$7") ]] && echo proxy ;;""",
    "route": """'ip route del '*) [[ -n $(ip route show "$4" dev "$6") ]] && echo route ;;""",
    "sysctl": """'sysctl -w '*) sysctl -n "${3%%=*}" ;;""",
}

UNDO = r"""
undo() { # COMMAND: it undoes the next command, and is on record before that begins
  if [[ $1 == sysctl ]]; then [[ $3 =~ =-?[0-9]+$ ]] || stop 4 "not a number to restore: $3" 'look at that sysctl'
  elif identity "$@" >/dev/null; then return 0; fi # of another user: the next command will fail
  next=("$@"); echo "begun $*" >>"$record"
}
made() { # put on record the identity of what the last command made
  ((${#last[@]} == 0)) || echo "$(identity "${last[@]}" || echo gone) ${last[*]}" >>"$record"
  last=("${next[@]}") next=()
}
undo_all() { # run|echo: undo what is on record and has the same identity, the last first
  local mark command id code=0; local -a words; local -A marks=()
  while read -r mark command; do
    [[ -n $command && -z ${marks[$command]-} ]] || continue # of one command the last mark counts
    marks[$command]=$mark; read -ra words <<<"$command"
    id=$(identity "${words[@]}") || continue
    if [[ $mark == @(begun|"$id") ]]; then "$1" "${words[@]}" </dev/null || code=4
    else echo "left alone, because it is not ours: $command" >&2; fi
  done <<<"$(tac "$record")"
  return $code
}
run() { echo "+ $*" >&2; "$@" >&2; }
finish() { # undo all, and show the result
  local code=$? job
  trap '' INT TERM HUP QUIT PIPE; trap - DEBUG ERR; set +e
  for job in $(jobs -p); do kill "$job"; done 2>/dev/null; wait 2>/dev/null
  undo_all run || stop 4 'not all is undone' "type: bash $0 --undo"
  rm -rf "$work"
  ((code == 0 || code == 130)) || exit 4
  if ((code == 0)); then
REPORT
    code=$((good < COUNT))
  fi
  exit "$code"
}
"""

START = r"""
mkdir -m 700 "$work" 2>/dev/null || [[ -d $work && ! -L $work && -O $work ]] || stop 3 "$work is not ours" 'look at /run'
exec {lock}<"$work"
flock -n "$lock" || { [[ ${1-} == --undo ]] && echo 'waiting for its pings to end' >&2 && flock "$lock"; } ||
  stop 2 'another run of this lab goes on' 'wait until it has ended'
[[ $work -ef /proc/self/fd/$lock ]] || stop 2 'another run of this lab has just ended' 'type it again'
if [[ ${1-} == --undo ]]; then
  [[ ! -s $record ]] || undo_all run || stop 4 'not all is undone' "type: bash $0 --undo"
  rm -rf "$work"; exit
fi
[[ ! -s $record ]] || stop 2 "a run of this lab was killed; these undo it:"$'\n'"$(undo_all echo)" "type: bash $0 --undo"
taken=''
TAKEN
[[ -z $taken ]] || { rm -rf "$work"; stop 2 "nothing was changed, because these exist:$taken" 'rename or delete them'; }
: >"$record"
"""

UNDOING = r"""
set -eEu; exec 3>&1 >&2 # results go to stdout, all else to stderr
trap finish EXIT; trap 'exit 130' INT TERM HUP QUIT PIPE; trap 'failed $? "$LINENO" "$BASH_COMMAND"' ERR
gone() { ((${#last[@]} == 0)) || echo "gone ${last[*]}" >>"$record"; last=(); } # the last command made nothing
failed() { (($1 > 128)) || gone; echo "error: line $2 failed: $3" >&2; exit 4; } # what was killed may have made it
trap '[[ "$? $BASH_COMMAND" != 0\ @(COMMANDS)\ * ]] || { made; echo "+ ${BASH_COMMAND%% &>*}" >&2; }' DEBUG
"""

OURS = r"""
ours() { made; grep -qxF "$(identity "$@") $*" "$record"; } # UNDO COMMAND: did this script make it, and is it still the same?
"""

# --- results ------------------------------------------------------------------------------------------------


def _judge(what: str, expected: str, why: str, more: str = "", first: str = "") -> str:
    return f"""\
  {first}if [[ $seen == @({expected}) ]]; then good=$((good + 1)); echo "as predicted  {what}: $seen{more} ({why})"
  else echo "DIFFERS       {what}: predicted {expected}, observed $seen{more} ({why})"; fi >&3 || exit 130"""


CHECK = r"""
check() { # N PAIR ADDRESS EXPECTED WHY: compare what ping printed in WORK/N with the prediction
  local out sent from to seen=reachable lived='' reply='\[([0-9]+)\.([0-9]{6})\] [0-9]+ bytes from [^[]*icmp_seq=([0-9]+) '
  out=$(<"WORK/$1") || exit 4
  if [[ $out == *@(NO_ROUTE)* ]]; then seen=unreachable
  elif [[ ! $out =~ ([0-9]+)' packets transmitted, '([0-9]+)' received' ]]; then
    echo "error: ping $2 printed what is not understood: $out" >&2; exit 4
  elif sent=${BASH_REMATCH[1]}; ((BASH_REMATCH[2] == 0)); then seen=unreachable
  elif [[ $out =~ $reply ]]; then # the first reply of ping -D, then its last: seconds, microseconds, number
    from=${BASH_REMATCH[1]}${BASH_REMATCH[2]}; [[ $out =~ .*$reply ]]; to=${BASH_REMATCH[1]}${BASH_REMATCH[2]}
    if [[ $out == *' errors, '* ]] || ((sent - BASH_REMATCH[3] >= LOST_AFTER)); then # no more replies
      seen=expires; printf -v lived ' after %d.%d s' $(((to - from) / 1000000)) $(((to - from) / 100000 % 10))
    fi
  fi
JUDGE
  if [[ $seen == unreachable ]]; then lost[$2 $3]=$2; else unset "lost[$2 $3]"; fi
}
""".replace("JUDGE", _judge("$2 $3", "$4", "$5", "$lived", "UNKNOWN"))

UNKNOWN = """if [[ $4 == "not modelled" ]]; then echo "not modelled  $2 $3: $seen$lived ($5)"
  el"""
"""What comes before the comparison, where a check is not modelled."""

TCP = r"""
connected() { # N PAIR ADDRESS EXPECTED WHY: compare what socat printed in WORK/N with the prediction
  local out seen=reachable error='' errors='ERRORS([A-Z][A-Za-z ]+)'
  out=$(<"WORK/$1") || exit 4
  if [[ $out =~ $errors && $out != *' CONNECTED '* ]]; then
    seen=unreachable error=": ${BASH_REMATCH[2]}"
    [[ $error != ': REFUSED' ]] || seen=refused error=''
  elif [[ $out != *' CONNECTED '* ]]; then
    echo "error: connect $2 printed what is not understood: $out" >&2; exit 4
  fi
JUDGE
  if [[ $seen == unreachable ]]; then lost[$2 $3]=$2; else unset "lost[$2 $3]"; fi
}
""".replace("JUDGE", _judge("$2 $3", "$4", "$5", "$error", "UNKNOWN"))

ATTEMPT = r"""
code=0
attempt() { # WHAT EXPECTED WHY [CODE]: was the last command accepted, or refused with exit code 2, or CODE?
  local seen=accepted
  ((code == 0)) || REFUSED
  ((code == 0 || code == ${4-2})) || { echo "error: $1: exit code $code" >&2; exit 4; }
  code=0
JUDGE
}
""".replace("JUDGE", _judge("$1", "$2", "$3"))

REPORT = r"""
mapfile -t pairs <<<"$(printf '%s\n' "${lost[@]}" | sort -u)"; printf -v list ', %s' "${pairs[@]}"
echo "LAB: COUNTS${pairs[0]:+; ${#pairs[@]} pair${pairs[1]+s} unreachable: ${list:2}}; kernel $(uname -r), $SECONDS s" >&3
"""
