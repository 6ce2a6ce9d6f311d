"""From a Plan to bash: the only writer of shell syntax.

The body, one `step` a command, is the same in the script that a person exports and in the payload that
a target runs. They differ in what is told of it: the script prints lines for a person, the payload frames
for `read_frames`. The preview has the same lines with no shell around them.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ipvkit import __version__
from ipvkit.command import Command
from ipvkit.lab import Attempt
from ipvkit.plan import Plan, Probe, Section, Step

BASH_NEEDED = "5.1"

_CORE = r"""
# --- how steps are run -----------------------------------------------------------------------------
declare -A first=() length=() code_of=()
words=() steps=() stack=() line=() job=()
stop=0 failed='' left=''
trap 'stop=1' INT TERM HUP PIPE

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

# Start a command in the background, where ^C does not reach it.
launch() {
  begin "$1" "$2"
  "${line[@]}" </dev/null >"$work/$1.$2.out" 2>"$work/$1.$2.err" &
  job[$!]=$2
}

# Wait until every command has ended. Once a signal has come, stop those that leave nothing to undo.
collect() {
  local pid code id told=0
  while ((${#job[@]})); do
    if ((stop && !told)) && [[ $1 == step ]]; then
      told=1
      for pid in "${!job[@]}"; do
        recall "undo ${job[$pid]}"
        [[ -n ${line[*]} ]] || kill "$pid" 2>/dev/null
      done
    fi
    wait -n -p pid "${!job[@]}"
    code=$?
    [[ -n ${pid-} ]] || continue
    id=${job[$pid]}
    unset "job[$pid]"
    end "$1" "$id" "$code"
    code_of[$id]=$code
    [[ $1 != undo || $code == 0 ]] || left+=" $id"
  done
}

right() { # ID CODE: is this an exit code that counts as success?
  recall "accept $1"
  [[ " ${line[*]-0} " == *" $2 "* ]]
}

# A step that succeeded can be undone from now on, if its exit code is 0, and what it settled no longer.
record() {
  local each kept=()
  recall "settle $1"
  for each in "${stack[@]}"; do
    [[ " ${line[*]} " == *" $each "* ]] || kept+=("$each")
  done
  recall "undo $1"
  [[ -z ${line[*]} || ${code_of[$1]} != 0 ]] || kept+=("$1")
  stack=("${kept[@]}")
}

# Run the steps told since the last run, side by side.
run() {
  local id
  for id in "${steps[@]}"; do
    recall "step $id"
    launch step "$id"
  done
  collect step
  for id in "${steps[@]}"; do
    if right "$id" "${code_of[$id]}"; then
      record "$id"
    elif ((!stop)); then
      failed=${failed:-$id}
    fi
  done
  steps=()
  if ((stop)); then finish 130; fi
  if [[ -n $failed ]]; then finish 4; fi
}

# Undo in reverse exactly what was done, and end with this exit code.
finish() {
  local id value
  while ((${#stack[@]})); do
    id=${stack[-1]}
    unset 'stack[-1]'
    recall "reads $id"
    value=''
    [[ -z ${line[*]} ]] || read -r value <"$work/step.${line[0]}.out"
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

begin() {
  printf '+' >&2
  printf ' %q' "${line[@]}" >&2
  printf '\n' >&2
}

end() {
  local err command
  recall "$1 $2"
  printf -v command ' %q' "${line[@]}"
  if [[ $1 == step ]] && right "$2" "$3"; then
    judge_try "$2" "$3"
    judge "$2"
  elif [[ $1 == step ]] && ((stop)) || [[ $1 == undo && $3 == 0 ]]; then
    return 0
  else
    err=$(<"$work/$1.$2.err")
    printf 'error: %s %s failed with exit code %s\n  command:%s\n%s\n' \
      "$1" "$2" "$3" "$command" "  ${err//$'\n'/$'\n'  }" >&2
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
  printf '%s  %s: predicted %s, observed %s%s (%s)\n' "$word" "$3" "$2" "$1" "${5-}" "$4"
}

# Compare what a ping saw with what was predicted. with check FROM TO ADDRESS EXPECTED WHY [watch]
judge() {
  local out sent received observed lived=''
  local reply=$'\\[([0-9]+)\\.([0-9]{6})\\] [0-9]+ bytes from [^\n]*icmp_seq=([0-9]+) '
  recall "check $1"
  [[ -n ${line[*]} ]] || return 0
  out=$(<"$work/step.$1.out")
  if [[ $(<"$work/step.$1.err") == *'NO_ROUTE'* ]]; then
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
  printf 'verdict: %s: %d as predicted, %d not; kernel %s, %d s\n' "$verdict" "$passed" \
    "$differed" "$(</proc/sys/kernel/osrelease)" "$SECONDS"
  exit "$code"
}
"""

_FOR_FRAMES = r"""
# --- what is told of it: frames, which read_frames reads ---------------------------------------------
views=()
view() { views+=("$1"); remember "view $1" "${@:2}"; }

begin() { printf '%s begin %s %s %s\n' "$nonce" "$1" "$2" "$EPOCHREALTIME"; }

end() {
  local out err now=$EPOCHREALTIME
  IFS= read -r -d '' out <"$work/$1.$2.out"
  IFS= read -r -d '' err <"$work/$1.$2.err"
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

NO_ROUTE = "Network is unreachable"
"""What ping says, and exits with 2, where its own host has no route."""

LOST_AFTER = 5
"""A watched path is lost when the last that many requests, or more, had no reply, or ping said so."""


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
        _what_it_does(plan),
        "#",
        "# Exit codes: 0 all as predicted, 1 a check came out otherwise, 3 this machine cannot, 4 a command",
        "# failed and what was done has been undone, 130 interrupted and undone.",
        "",
        "set -u",
        "export LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin",
        "",
        _requirements(plan),
        _isolated_or_not(plan),
        _CORE.strip("\n"),
        _FOR_A_PERSON.replace("LOST_AFTER", str(LOST_AFTER)).replace("NO_ROUTE", NO_ROUTE).rstrip("\n"),
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
        f"set -u; nonce={shlex.quote(nonce)} work={shlex.quote(work)}",
        "export LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin",
        _CORE,
        _FOR_FRAMES,
        *(f"view {shlex.quote(name)} {command}" for name, command in views.items()),
        'printf "%s hello %s\\n" "$nonce" "$(</proc/sys/kernel/osrelease)"',
        "look before",
        _body(plan, for_a_person=False),
        "finish 0",
    ]
    return "\n".join(parts) + "\n"


def _body(plan: Plan, *, for_a_person: bool) -> str:
    lines: list[str] = []
    for section in plan.sections:
        lines += [f"# --- {section.title} ".ljust(101, "-"), ""]
        lines += _section(section, for_a_person=for_a_person)
    return "\n".join(lines)


def _section(section: Section, *, for_a_person: bool) -> Iterator[str]:
    if for_a_person:
        for probe in section.skipped:
            line = f"skip  {probe.check}: {probe.skipped}"
            yield f"printf '%s\\n' {_quoted(line)}"
        if section.skipped:
            yield ""
    for stage in section.stages:
        for step in stage:
            yield _comment(step.purpose)
            if "do" in step.command.argv:
                yield "# shellcheck disable=SC1010  # do is a word of ping's"
            yield from _step(step, for_a_person=for_a_person)
        yield "run"
        yield ""


def _step(step: Step, *, for_a_person: bool) -> Iterator[str]:
    yield f"step {step.id} {step.command}"
    if step.command.ok != (0,):
        yield f"with accept {' '.join(str(code) for code in step.command.ok)}"
    if step.undo is not None:
        yield f"with undo {step.undo.command}"
        if step.undo.reads:
            yield f"with reads {step.undo.reads}"
    if step.settles:
        yield f"with settle {' '.join(step.settles)}"
    if step.probe is not None and for_a_person:
        yield f"with {' '.join(_quoted(word) for word in _asked(step.probe))}"


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
    return "# " + " ".join(text.split())


def _requirements(plan: Plan) -> str:
    programs = " ".join([*plan.programs, *(("unshare", "mount") if plan.lab.simulated else ("mktemp", "rm"))])
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
work=/run
mount -t tmpfs tmpfs "$work" || cannot 'no file system of its own could be mounted' 'use sudo'
ip link set lo up
"""

_WORK_FOLDER = """\
work=$(mktemp -d) || exit 3
# A command that is killed before it begins is still a copy of this shell: that one must not clean up.
trap '[[ $BASHPID != "$$" ]] || rm -rf -- "$work"' EXIT
"""


def _isolated_or_not(plan: Plan) -> str:
    """Return what decides where the commands act; only in the end is it known whether there is ipvlan."""
    needed = [_IPVLAN_NEEDED] if plan.lab.has_ipvlan else []
    return "\n".join([_ISOLATE, *needed] if plan.lab.simulated else [*needed, _WORK_FOLDER])


def _what_it_does(plan: Plan) -> str:
    lines = ["# What it does to this machine:"]
    if plan.lab.simulated:
        lines += [
            "#   - all of it happens in a new network namespace and a new mount namespace, which end with",
            "#     this script: the machine's own network, namespaces and files are not touched",
        ]
    else:
        names = ", ".join(endpoint.netns for endpoint in plan.lab.endpoints)
        kinds = " and ".join(sorted({phase.setting.kind for phase in plan.lab.phases}))
        lines += [
            f"#   - makes the network namespaces {names}, and {kinds} links on {plan.lab.parent} in them",
            f"#   - sends pings, and gratuitous ARP where a phase announces, out of {plan.lab.parent}",
            *(
                f"#   - types `{step.command}`, and puts the former value back"
                for step in plan.steps
                if step.undo is not None and step.undo.reads
            ),
        ]
    lines.append("#   - at the end, on a failure and on ^C it undoes what it did, in reverse")
    return "\n".join(lines)


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
