"""From a Plan to bash: the only writer of shell syntax.

The body, one `step` a command, is the same in the script that a person exports and in the payload that
a target runs. They differ in what is told of it: the script prints lines for a person, the payload frames
for `read_frames`. The preview has the same lines with no shell around them.
"""

import re
import shlex
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from ipvkit import __version__
from ipvkit.command import Command
from ipvkit.lab import Attempt
from ipvkit.plan import Plan, Probe, Section, Step

BASH_NEEDED = "5.1"

NO_ROUTE = "Network is unreachable"
"""What ping says, and exits with 2, where its own host has no route."""

LOST_AFTER = 5
"""A watched path is lost when the last that many requests, or more, had no reply, or ping said so."""

HANGS_AFTER_S = 10
"""How long a command may take: one that is no probe takes milliseconds."""

_MARGIN_S = 4
"""How much longer a probe may take than its own options say."""

_USERS_PATH = "$PATH:/usr/local/sbin:/usr/sbin:/sbin"
_ROOTS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_CORE = r"""
# --- how steps are run -----------------------------------------------------------------------------
declare -A first=() length=() code_of=() unsure=()
words=() steps=() stack=() line=() job=()
stop=0 failed='' left=''

remember() { first[$1]=${#words[@]} length[$1]=$(($# - 1)); words+=("${@:2}"); }
recall() { line=("${words[@]:${first[$1]-0}:${length[$1]-0}}"); }

# step ID COMMAND: what to do. The lines after it say more of that step: `with undo COMMAND` takes it
# back, to its end goes the output of the step in `with reads ID`; `with accept CODE...`: the exit codes
# that are right, if not 0; `with settle ID...`: steps that it leaves nothing of.
step() {
  steps+=("$1")
  remember "step $1" "${@:2}"
}
with() { remember "$1 ${steps[-1]}" "${@:2}"; }

changes() { # ID: is there something to undo after this step, or no more?
  local line=()
  recall "undo $1"
  [[ -z ${line[*]} ]] || return 0
  recall "settle $1"
  [[ -n ${line[*]} ]]
}

# A signal ends the commands that leave nothing to undo; the others end by themselves, in milliseconds.
# Only KILL is not lost on a copy of this shell that is just about to become a command.
interrupt() {
  local pid
  stop=1
  for pid in "${!job[@]}"; do
    changes "${job[$pid]}" || kill -KILL "$pid" "-$pid" 2>/dev/null
  done
}
trap interrupt INT QUIT TERM HUP PIPE

known() { # ID: has what its undo puts back been read?
  local line=() value=''
  recall "reads $1"
  [[ -n ${line[*]} ]] || return 0
  read -r value <"$work/${line[0]}.out"
  [[ $value =~ ^-?[0-9]+$ ]] && return 0
  printf 'not begun: the value to put back is no number: %q\n' "$value" >&2
  return 1
}

# Start a command in the background, where ^C does not reach it.
launch() {
  begin "$1" "$2"
  { known "$2" && become "$2" "${line[@]}"; } </dev/null >"$work/$2.out" 2>"$work/$2.err" &
  job[$!]=$2
}

# Wait until every command has ended.
collect() {
  local pid code id
  # What was started just before a signal may have been missed by it.
  if ((stop)) && [[ $1 == step ]]; then interrupt; fi
  while ((${#job[@]})); do
    wait -n -p pid "${!job[@]}" 2>/dev/null
    code=$?
    if [[ -z ${pid-} ]]; then
      # A signal has come, or bash has told of a command's death already: then that one is to be named.
      for pid in "${!job[@]}"; do
        kill -0 "$pid" 2>/dev/null || break
        pid=''
      done
      [[ -n $pid ]] || continue
      wait "$pid" 2>/dev/null
      code=$?
      # A signal can make bash lose how a command ended: that is as little known as of one that was killed.
      ((code >= 0)) || code=137
    fi
    id=${job[$pid]}
    unset "job[$pid]"
    case $1 in
      step)
        code_of[$id]=$code
        printf '%s %s\n' "$id" "$code" >>"$record"
        ;;
      undo)
        if [[ $code == 0 ]]; then
          printf '%s undone\n' "$id" >>"$record"
        else
          left+=" $id"
        fi
        ;;
    esac
    end "$1" "$id" "$code"
  done
}

right() { # ID CODE: is this an exit code that counts as success?
  recall "accept $1"
  [[ " ${line[*]-0} " == *" $2 "* ]]
}
killed() { (($1 > 128 && $1 <= 128 + 64)); } # CODE: did a signal end it?

# A step that succeeded can be undone from now on, if its exit code is 0, and what it settled no longer.
# One that was killed may have done its work or not: that is looked at before it is undone.
take_in() {
  local each kept=() code=${code_of[$1]}
  if right "$1" "$code"; then
    recall "settle $1"
    for each in "${stack[@]}"; do
      [[ " ${line[*]} " == *" $each "* ]] || kept+=("$each")
    done
    stack=("${kept[@]}")
  elif killed "$code"; then
    recall "settle $1"
    for each in "$1" "${line[@]}"; do unsure[$each]=1; done
  fi
  recall "undo $1"
  if [[ -n ${line[*]} ]] && { ((code == 0)) || killed "$code"; }; then stack+=("$1"); fi
}

# Run the steps told since the last run, side by side.
run() {
  local id
  if ((stop)); then interrupted; fi
  printf '%s begun\n' "${steps[@]}" >>"$record" || finish 4
  for id in "${steps[@]}"; do
    recall "step $id"
    launch step "$id"
  done
  collect step
  for id in "${steps[@]}"; do
    take_in "$id"
    right "$id" "${code_of[$id]}" || failed=${failed:-$id}
  done
  steps=()
  if ((stop)); then interrupted; fi
  if [[ -n $failed ]]; then finish 4; fi
}

# Undo in reverse exactly what was done, whatever signals come, and end with this exit code.
finish() {
  local id value
  trap '' INT QUIT TERM HUP PIPE
  while ((${#stack[@]})); do
    id=${stack[-1]}
    unset 'stack[-1]'
    [[ -z ${unsure[$id]-} ]] || there "$id" || continue
    recall "reads $id"
    value=''
    [[ -z ${line[*]} ]] || read -r value <"$work/${line[0]}.out"
    recall "undo $id"
    line[-1]+=$value
    launch undo "$id"
    collect undo
  done
  conclude "$1"
}
"""

_FOR_A_PERSON = r"""
# --- what is told of it ----------------------------------------------------------------------------
passed=0 differed=0 unread=0

tell() {
  # shellcheck disable=SC2059  # the first word is the format
  printf "$@" || interrupt
}

begin() {
  printf '+' >&2
  printf ' %q' "${line[@]}" >&2
  printf '\n' >&2
}

# Become a command that is killed, with what it has started, if it takes longer than HANGS_AFTER s, or than
# those of `with bound S`. Should this script be killed, one that changes something still ends by itself, and
# holds the lock until then; any other is killed too.
become() {
  local with_parent=(setpriv --pdeathsig KILL)
  recall "bound $1"
  if changes "$1"; then
    with_parent=()
  elif [[ -n ${lock-} ]]; then
    exec {lock}<&-
  fi
  exec "${with_parent[@]}" timeout --signal=KILL "${line[0]-HANGS_AFTER}" "${with_parent[@]}" "${@:2}"
}

interrupted() {
  printf 'interrupted: no further step begins; what was done is being undone\n' >&2
  finish 130
}

end() {
  local command err='' how="failed with exit code $3"
  recall "$1 $2"
  printf -v command ' %q' "${line[@]}"
  if [[ $1 == step ]] && right "$2" "$3"; then
    judge_try "$2" "$3"
    judge "$2"
  elif [[ $1 == step ]] && ((stop)) || [[ $1 == undo && $3 == 0 ]]; then
    return 0
  else
    recall "bound $2"
    ! killed "$3" || how="was killed by signal $(($3 - 128)); it may take ${line[0]-HANGS_AFTER} s"
    IFS= read -r -d '' err <"$work/$2.err"
    err=${err%$'\n'}
    printf 'error: %s %s %s\n  command:%s\n%s\n' "$1" "$2" "$how" "$command" "  ${err//$'\n'/$'\n'  }" >&2
  fi
}

# Compare what the kernel said to a change with what was predicted. with try WHAT EXPECTED WHY
judge_try() {
  local observed=accepted
  recall "try $1"
  [[ -n ${line[*]} ]] || return 0
  [[ $2 == 0 ]] || observed=refused
  compare "$observed" "${line[1]}" "${line[0]}" "${line[2]}"
}

# compare OBSERVED EXPECTED WHAT WHY [MORE]
compare() {
  local word=FAIL
  if [[ $1 == "$2" ]]; then
    word=pass passed=$((passed + 1))
  else
    differed=$((differed + 1))
  fi
  tell '%s  %s: predicted %s, observed %s%s (%s)\n' "$word" "$3" "$2" "$1" "${5-}" "$4"
}

# Compare what a ping saw with what was predicted. with check FROM TO ADDRESS EXPECTED WHY [watch]
judge() {
  local sent received observed out='' err='' lived=''
  local reply=$'\\[([0-9]+)\\.([0-9]{6})\\] [0-9]+ bytes from [^\n]*icmp_seq=([0-9]+) '
  recall "check $1"
  [[ -n ${line[*]} ]] || return 0
  IFS= read -r -d '' out <"$work/$1.out"
  IFS= read -r -d '' err <"$work/$1.err"
  if [[ $err == *'NO_ROUTE'* ]]; then
    out='1 packets transmitted, 0 received'
  fi
  if ! [[ $out =~ ([0-9]+)' packets transmitted, '([0-9]+)' received' ]]; then
    printf 'error: the output of ping was not understood in step %s\n%s\n' "$1" "$out" >&2
    unread=1
    return
  fi
  sent=${BASH_REMATCH[1]} received=${BASH_REMATCH[2]} observed=reachable
  if ((received == 0)); then
    observed=unreachable
  elif [[ -n ${line[5]-} && $out =~ $reply ]]; then
    local from=$((BASH_REMATCH[1] * 1000000 + 10#${BASH_REMATCH[2]}))
    [[ $out =~ .*$reply ]]
    local to=$((BASH_REMATCH[1] * 1000000 + 10#${BASH_REMATCH[2]})) last=${BASH_REMATCH[3]}
    if [[ $out == *' errors, '* ]] || ((sent - last >= LOST_AFTER)); then
      observed=expires
      printf -v lived '; it lived %d.%d s' $(((to - from) / 1000000)) $(((to - from) / 100000 % 10))
    fi
  fi
  compare "$observed" "${line[3]}" "${line[0]} -> ${line[1]} ${line[2]}" "${line[4]}" "$lived"
}

conclude() {
  local code=$1 verdict=pass
  if [[ $code == 0 ]] && [[ -n $left || $unread == 1 ]]; then code=4; fi
  if [[ $code == 0 && $differed != 0 ]]; then code=1; fi
  case $code in
    1) verdict=fail ;;
    4) verdict="error (what was done has been undone)" ;;
    130) verdict="interrupted (what was done has been undone)" ;;
  esac
  if [[ -n $left ]]; then
    verdict="error (left behind:$left)"
  fi
  forget
  printf 'verdict: %s: %d as predicted, %d not; kernel %s, %d s\n' "$verdict" "$passed" \
    "$differed" "$(</proc/sys/kernel/osrelease)" "$SECONDS"
  exit "$code"
}
"""

_FOR_FRAMES = r"""
# --- what is told of it: frames, which read_frames reads ---------------------------------------------
views=()
view() { views+=("$1"); remember "view $1" "${@:2}"; }

become() { exec "${@:2}"; }
there() { return 1; }
interrupted() { finish 130; }

begin() { printf '%s begin %s %s %s\n' "$nonce" "$1" "$2" "$EPOCHREALTIME"; }

end() {
  local out err now=$EPOCHREALTIME
  IFS= read -r -d '' out <"$work/$2.out"
  IFS= read -r -d '' err <"$work/$2.err"
  printf '%s end %s %s %s %s %s %s\n%s%s\n' "$nonce" "$1" "$2" "$now" "$3" "${#out}" "${#err}" "$out" "$err"
}

look() {
  local each
  for each in "${views[@]}"; do
    recall "view $each"
    launch "$1" "$each"
  done
  collect "$1"
}

conclude() {
  look after
  printf '%s done %s\n' "$nonce" "$1"
  exit "$1"
}
"""


def preview(plan: Plan) -> str:
    """Return what would run, one command a line as typed, grouped under its purposes."""
    lines = [f"# lab {plan.lab.name}: {plan.lab.about}"]
    for section in plan.sections:
        lines += ["", f"# ==== {section.title} ===="]
        for stage in section.stages:
            lines += ["", f"# side by side, {len(stage)} commands:"] if len(stage) > 1 else [""]
            for step in stage:
                lines += [f"# {step.purpose}", str(step.command)]
        lines += [f"# skipped: ping {probe.check}: {probe.skipped}" for probe in section.skipped]
    lines += ["", "# ==== undo, in reverse ===="]
    for step in plan.undos:
        if step.undo is not None:
            if step.undo.reads:
                lines.append(f"# with the value that was read before, here {step.undo.typical}")
            lines.append(str(step.undo.completed(step.undo.typical)))
    return "\n".join(lines) + "\n"


def exported(plan: Plan) -> str:
    """Return the whole lab as a bash script that needs neither ipvkit nor Python."""
    parts = [
        "#!/usr/bin/env bash",
        _comment(f"Lab {plan.lab.name}: {plan.lab.about}"),
        "#",
        f"# Written by ipvkit {__version__}. Needs bash {BASH_NEEDED} and {', '.join(plan.programs)}; "
        "neither ipvkit nor Python.",
        "#",
        *map(_comment, _what_it_does(plan)),
        "#",
        *map(_comment, _exit_codes(plan)),
        "",
        "set -u",
        f"export LC_ALL=C PATH={_USERS_PATH if plan.lab.simulated else _ROOTS_PATH}",
        "",
        _requirements(plan),
        *([_ISOLATE] if plan.lab.simulated else []),
        *([_IPVLAN_NEEDED] if plan.lab.has_ipvlan else []),
        _CORE.strip("\n"),
        _filled(_FOR_A_PERSON),
        *([] if plan.lab.simulated else [_on_this_machine(plan)]),
        "",
        _body(plan, for_a_person=True),
        "finish 0",
    ]
    return "\n".join(parts) + "\n"


def payload(plan: Plan, views: Mapping[str, Command], nonce: str, work: str) -> str:
    """Return the bash that a target runs: it tells of each step in frames that begin with `nonce`.

    `views` are looked at before the first step and after the last undo; `work` is a folder of the
    target's own, for what the commands print.
    """
    parts = [
        f"set -u; nonce={shlex.quote(nonce)} work={shlex.quote(work)} record=/dev/null",
        f"export LC_ALL=C PATH={_USERS_PATH}",
        _CORE,
        _FOR_FRAMES,
        *(f"view {_quoted(name)} {command}" for name, command in views.items()),
        'printf "%s hello %s\\n" "$nonce" "$(</proc/sys/kernel/osrelease)"',
        "look before",
        _body(plan, for_a_person=False),
        "finish 0",
    ]
    return "\n".join(parts) + "\n"


def _body(plan: Plan, *, for_a_person: bool) -> str:
    lines: list[str] = []
    for section in plan.sections:
        lines += [f"{_comment(f'--- {section.title}')} ".ljust(101, "-"), ""]
        lines += _section(section, for_a_person=for_a_person, simulated=plan.lab.simulated)
    return "\n".join(lines)


def _section(section: Section, *, for_a_person: bool, simulated: bool) -> Iterator[str]:
    if for_a_person:
        for probe in section.skipped:
            yield f"tell 'skip  %s\\n' {_quoted(f'{probe.check}: {probe.skipped}')}"
        if section.skipped:
            yield ""
    for stage in section.stages:
        for step in stage:
            yield _comment(step.purpose)
            if "do" in step.command.argv:
                yield "# shellcheck disable=SC1010  # do is a word of ping's"
            yield from _step(step)
            if for_a_person:
                yield from _more(step, simulated=simulated)
        yield "run"
        yield ""


def _step(step: Step) -> Iterator[str]:
    yield f"step {_quoted(step.id)} {step.command}"
    if step.command.ok != (0,):
        yield f"with accept {' '.join(str(code) for code in step.command.ok)}"
    if step.undo is not None:
        yield f"with undo {step.undo.command}"
        if step.undo.reads:
            yield f"with reads {_quoted(step.undo.reads)}"
    if step.settles:
        yield f"with settle {' '.join(map(_quoted, step.settles))}"


def _more(step: Step, *, simulated: bool) -> Iterator[str]:
    """Yield what only a script needs to be told of a step: the payload's target and engine know it."""
    if not simulated and (made := _made(step)):
        yield f"with makes {' '.join(map(_quoted, made))}"
    if (bound := _longest_s(step.command) + _MARGIN_S) > HANGS_AFTER_S:
        yield f"with bound {bound}"
    if step.probe is not None:
        yield f"with {' '.join(map(_quoted, _asked(step.probe)))}"


def _made(step: Step) -> tuple[str, ...]:
    """Return what `step` makes on this machine, in the words of `exists` in the script."""
    match () if step.undo is None else step.undo.command.argv:
        case ():
            return ()
        case ("ip", "netns", "del", netns):
            return "netns", netns
        case ("ip", "link", "delete", *_, link):
            return "link", link
        case ("ip", "netns", "exec", netns, "ip", "link", "delete", *_, link):
            return "link", link, "in", netns
        case ("ip", "neigh", "del", "proxy", address, "dev", dev):
            return "proxy", address, "on", dev
        case ("ip", "route", "del", to, "dev", dev):
            return "route", to, "by", dev
        case ("sysctl", "-w", _):
            key, _, value = step.command.argv[-1].partition("=")
            return "sysctl", key, "is", value
    raise ValueError(f"how does one see whether {step.id} was done: {step.command}")


def _longest_s(command: Command) -> int:
    """Return how many seconds `command` takes at most by its own options: it sends at least once a second."""
    bounds = [value for option, value in pairwise(command.argv) if option in ("-c", "-w", "sleep")]
    return max((int(value) for value in bounds if value.isdecimal()), default=0)


def _asked(probe: Probe) -> Iterator[str]:
    check = probe.check
    if isinstance(check, Attempt):
        yield from ("try", str(check), probe.expected, probe.reason)
        return
    yield "check"
    destination = str(check).removeprefix(f"{check.source} -> ")
    yield from (check.source, destination, str(probe.address), probe.expected, probe.reason)
    if check.watch is not None:
        yield "watch"


def _quoted(text: str) -> str:
    """Return `text` as one word for bash; what a reader could take for an expansion is marked as none."""
    if not set(text) & set("$`"):
        return shlex.quote(text)
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'


def _comment(text: str) -> str:
    """Return `text` as one line of comment, whatever it has in it."""
    indent = " " * (len(text) - len(text.lstrip(" ")))
    return f"# {indent}{' '.join(text.split())}"


def _requirements(plan: Plan) -> str:
    more = ("unshare", "mount") if plan.lab.simulated else ("flock", "mkdir", "cp", "rm")
    programs = " ".join(map(_quoted, (*plan.programs, "setpriv", "timeout", *more)))
    rights = "" if plan.lab.simulated else _ROOT_ONLY
    own = "\n".join(_OF_IPUTILS.format(name) for name in ("ping", "arping") if name in plan.programs)
    return f"""\
cannot() {{
  printf 'error: %s\\nhint: %s\\n' "$1" "$2" >&2
  exit 3
}}
((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501)) ||
  cannot "bash $BASH_VERSION is too old" 'use bash {BASH_NEEDED}'
for program in {programs}; do
  type -P "$program" >/dev/null ||
    cannot "$program is not installed" 'apt install iproute2 iputils-ping iputils-arping procps'
done
{own}
{rights}"""


_OF_IPUTILS = """\
[[ $({0} -V 2>&1) == *iputils* ]] ||
  cannot 'this {0} is not that of iputils' 'apt install iputils-{0}'"""


_ROOT_ONLY = """\
((EUID == 0)) || cannot 'only root can change the network of this machine' 'use sudo'
"""

_IPVLAN_NEEDED = """\
if [[ $(ip link add ipvkit-probe type ipvlan 2>&1) == *'Unknown device type'* ]]; then
  cannot 'the kernel has no ipvlan' 'modprobe ipvlan, or take ipvkit run-lab --target uml'
fi
"""

_ISOLATE = """\
# Go on in new namespaces, which end with this script: nothing below can touch the real network.
here=$(readlink /proc/self/ns/net)
if [[ ${1-} != --away-from || ${2-} == "$here" ]]; then
  [[ -f $0 ]] || cannot 'this script has to be a file' 'save it, then: bash lab.sh'
  as_root=()
  ((EUID == 0)) || as_root=(--user --map-root-user)
  exec unshare "${as_root[@]}" --net --mount bash "$0" --away-from "$here"
fi
work=/run record=/dev/null
forget() { :; }
there() { return 1; }
mount -t tmpfs tmpfs "$work" || cannot 'no file system of its own could be mounted' 'use sudo'
ip link set lo up
"""

_ON_THIS_MACHINE = r"""
# --- one run at a time, with what it does on record --------------------------------------------------
# The record is in /run, which a reboot empties together with all that the steps made.
work=/run/ipvkit-script-THE_LAB
record=$work/record here="$(readlink /proc/self/ns/net) $(</proc/sys/kernel/random/boot_id)"

refuse() {
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit 2
}
forget() {
  if [[ -z $left ]]; then
    rm -rf -- "$work"
  else
    printf 'hint: to undo what is left: bash %q --undo\n' "$0" >&2
  fi
}
shortly() { timeout --signal=KILL HANGS_AFTER "$@" 2>/dev/null; }

exists() { # netns NAME | link NAME [in NETNS] | proxy ADDRESS on DEV | route TO by DEV | sysctl KEY is VALUE
  case ${1-} in
    netns) [[ -e /run/netns/$2 ]] ;;
    link) [[ -n $(shortly ip ${4:+-n "$4"} link show dev "$2") ]] ;;
    proxy) [[ -n $(shortly ip neigh show proxy "$2" dev "$4") ]] ;;
    route) [[ -n $(shortly ip route show "$2" dev "$4") ]] ;;
    sysctl) [[ $(shortly sysctl -n "$2") == "$4" ]] ;;
  esac
}
there() { # ID: is what the step made there, as it made it?
  recall "makes $1"
  exists "${line[@]}"
}

[[ $# == 0 || $* == --undo ]] || refuse "this script takes no $*" "type: bash $0, or bash $0 --undo"
[[ -f $0 ]] || cannot 'this script has to be a file' 'save it, then: bash lab.sh'
mkdir -m 700 "$work" 2>/dev/null
[[ -d $work && ! -L $work && -O $work ]] || cannot "$work cannot be made, or is not yours" 'look at /run'
exec {lock}<"$work"
# Only a run that was killed is waited for, until what it had begun has ended.
if ! flock --timeout "$(($# ? 2 * HANGS_AFTER : 1))" "$lock" || ! [[ $work -ef /proc/self/fd/$lock ]]; then
  refuse 'another run of this lab goes on' 'wait until it has ended'
fi

if [[ -s $record ]]; then
  [[ $(<"$work/where") == "$here" ]] ||
    refuse "$work tells of another network namespace, or of before a reboot" "if that is gone: rm -r $work"
  # What ran knows how to undo it; this may be another script.
  [[ $0 -ef $work/lab.sh ]] || exec bash "$work/lab.sh" "$@" {lock}<&-
  # Below, nothing is run: a step did what the record says, and may have done what it had only begun.
  exec >/dev/null
  declare -A was=()
  while read -r id word; do was[$id]=${word/begun/137}; done <"$record"
  run() {
    local id
    for id in "${steps[@]}"; do
      code_of[$id]=${was[$id]-undone} unsure[$id]=1
      [[ ${code_of[$id]} == undone ]] || take_in "$id"
    done
    steps=()
  }
  conclude() {
    forget
    [[ -z $left ]] || exit 4
    printf 'what a killed run had left is undone\n' >&2
    exit 0
  }
  if ((!$#)); then
    finish() {
      local id list=''
      for id in "${stack[@]}"; do
        ! there "$id" || list+=$'\n'"  ${line[*]}"
      done
      refuse "a run of this lab was killed, and left:${list:- nothing}" "type: bash $0 --undo"
    }
  fi
elif (($#)); then
  rm -rf -- "$work"
  printf 'there is nothing to undo\n' >&2
  exit 0
else
  # What the steps will make must not be there: it would be somebody's.
  taken=''
  free() { ! exists "$@" || taken+=$'\n'"  $*"; }
THE_THINGS
  if [[ -n $taken ]]; then
    rm -rf -- "$work"
    refuse "nothing was changed, since there is already:$taken" 'rename yours, or take away what is there'
  fi
  if ! cp -- "$0" "$work/lab.sh" || ! printf '%s\n' "$here" >"$work/where"; then
    rm -rf -- "$work"
    cannot "$work cannot be written" 'make room in /run'
  fi
fi
"""


def _on_this_machine(plan: Plan) -> str:
    things = dict.fromkeys(made for step in plan.steps if (made := _made(step)))
    # What is in a namespace of the lab's own cannot be there before.
    free = [
        f"  free {' '.join(map(_quoted, made))}"
        for made in things
        if made[0] != "sysctl" and "in" not in made
    ]
    text = _filled(_ON_THIS_MACHINE)
    return text.replace("THE_LAB", _quoted(plan.lab.name)).replace("THE_THINGS", "\n".join(free))


def _filled(template: str) -> str:
    values = {"HANGS_AFTER": HANGS_AFTER_S, "LOST_AFTER": LOST_AFTER, "NO_ROUTE": NO_ROUTE}
    return re.sub("|".join(values), lambda found: str(values[found[0]]), template).rstrip("\n")


def _what_it_does(plan: Plan) -> Iterator[str]:
    yield "What it does to this machine:"
    if plan.lab.simulated:
        yield "  - all of it happens in a new network namespace and a new mount namespace, which end with"
        yield "    this script: the machine's own network, namespaces and files are not touched"
        yield "  - at the end, on a failure and on ^C it undoes what it did, in reverse"
        return
    names = ", ".join(endpoint.netns for endpoint in plan.lab.endpoints)
    kinds = " and ".join(sorted({phase.setting.kind for phase in plan.lab.phases}))
    yield f"  - makes the network namespaces {names}, and {kinds} links on {plan.lab.parent} in them"
    yield f"  - sends pings, and gratuitous ARP where a phase announces, out of {plan.lab.parent}"
    for step in plan.steps:
        if step.undo is not None and step.undo.reads:
            yield f"  - types `{step.command}`, and puts the former value back"
    yield "  - changes nothing if a name that it needs is taken, and tells of each"
    yield "  - at the end, on a failure and on a signal it undoes what it did, in reverse"
    yield f"  - keeps a record in /run/ipvkit-script-{plan.lab.name} meanwhile: if this script is killed,"
    yield "    `bash lab.sh --undo` undoes from it what was done, and nothing else"


def _exit_codes(plan: Plan) -> list[str]:
    refused = "" if plan.lab.simulated else "2 refused and nothing changed, "
    text = (
        f"Exit codes: 0 all as predicted, 1 a check came out otherwise, {refused}3 this machine cannot, "
        "4 a command failed and what was done has been undone, 130 interrupted and undone."
    )
    return textwrap.wrap(text, 100)


@dataclass(frozen=True, slots=True)
class Frame:
    """One piece of news from a payload.

    `event` is hello (with the kernel's release in `stdout`), begin, end, done, or noise (a line that is
    no frame, in `stdout`). `kind` is step, undo, before or after; `time_s` is the target's Unix time.
    """

    event: str
    kind: str = ""
    id: str = ""
    time_s: float = 0.0
    exit_code: int = 0
    stdout: str = ""
    stderr: str = ""


def read_frames(chunks: Iterable[bytes], nonce: str) -> Iterator[Frame]:
    """Yield the frames in a stream of bytes, as soon as each is complete."""
    head = re.compile(
        rb"%s (?:(?P<event>hello|done) (?P<value>\S+)|begin (?P<began>\S+ \S+ \S+)"
        rb"|end (?P<ended>\S+ \S+ \S+ \d+ \d+ \d+))" % re.escape(nonce).encode()
    )
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        while (newline := buffer.find(b"\n")) >= 0:
            line, rest = buffer[:newline], buffer[newline + 1 :]
            found = head.fullmatch(line)
            if found is None:
                if line:
                    yield Frame("noise", stdout=line.decode(errors="replace"))
            elif found["ended"]:
                kind, id, time, code, *lengths = found["ended"].decode().split()
                out, err = (int(length) for length in lengths)
                if len(rest) < out + err + 1:
                    break
                yield Frame(
                    event="end",
                    kind=kind,
                    id=id,
                    time_s=float(time),
                    exit_code=_signed(int(code)),
                    stdout=rest[:out].decode(errors="replace"),
                    stderr=rest[out : out + err].decode(errors="replace"),
                )
                rest = rest[out + err + 1 :]
            elif found["began"]:
                kind, id, time = found["began"].decode().split()
                yield Frame("begin", kind, id, float(time))
            else:
                value = found["value"].decode()
                code = int(value) if found["event"] == b"done" else 0
                yield Frame(found["event"].decode(), exit_code=code, stdout=value)
            buffer = rest
    if buffer:
        yield Frame("noise", stdout=buffer.decode(errors="replace"))


def _signed(code: int) -> int:
    """Return bash's exit code with a death by signal as a negative number, as `subprocess` has it."""
    return 128 - code if 128 < code < 128 + 65 else code
