"""The parts of a script and of a payload that are the same for every plan.

Words in capitals with an underscore, such as `HANGS_AFTER`, are filled in by the writer.
"""

CORE = r"""
# --- how steps are run -----------------------------------------------------------------------------
declare -A said=() input=() parts=() group=() code_of=() unsure=() was=()
steps=() stack=() line=() job=()
stop=0 failed='' left='' current=''
set -f

remember() {
  local IFS=$'\37'
  said[$1]="${*:2}$IFS"
}
recall() {
  local IFS=$'\37'
  # shellcheck disable=SC2206  # into words, at what no word has in it
  line=(${said[$1]-})
}

# step ID COMMAND: what to do, with the lines that a batch reads. The lines after it say more of that step:
# `with undo COMMAND` takes it back, to its end goes the output of the step in `with reads ID`; `with accept
# CODE...`: the exit codes that are right, if not 0; `with settle ID...`: steps that it leaves nothing of.
# `part N ID`: what the N-th line of a batch does has an id of its own, and something to undo.
step() {
  local text
  steps+=("$1") current=$1
  remember "step $1" "${@:2}"
  [[ $* == *' -batch -' ]] || return 0
  IFS= read -r -d '' text
  input[$1]=${text%$'\n'}
}
# shellcheck disable=SC2317  # not every lab has batches
part() { current=$2 parts[${steps[-1]}]+=" $1:$2"; }
with() { remember "$1 $current" "${@:2}"; }

changes() { # ID: is there something to undo after this step, or no more?
  local line=()
  [[ -z ${parts[$1]-}${group[$1]-} ]] || return 0
  recall "undo $1"
  [[ -z ${line[*]} ]] || return 0
  recall "settle $1"
  [[ -n ${line[*]} ]]
}

# A signal ends the commands that leave nothing to undo; the others end by themselves, in milliseconds.
# A copy of this shell that is just about to become a command may miss it, and sees the file instead.
interrupt() {
  local pid
  stop=1
  if ((${#job[@]})); then : >"$work/stopped"; fi 2>/dev/null
  for pid in "${!job[@]}"; do
    changes "${job[$pid]}" || kill -TERM "$pid" "-$pid" 2>/dev/null
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
  if [[ -n ${input[$2]-} ]]; then
    start "$2" <<<"${input[$2]}" >"$work/$2.out" 2>"$work/$2.err" &
  else
    start "$2" </dev/null >"$work/$2.out" 2>"$work/$2.err" &
  fi
  job[$!]=$2
}
start() {
  local command=("${line[@]}")
  known "$1" && { changes "$1" || [[ ! -e $work/stopped ]]; } && become "$1" "${command[@]}"
}

failed_at() { # ID N: is it told that the N-th line of this batch failed?
  local err=''
  IFS= read -r -d '' err <"$work/$1.err"
  [[ $'\n'$err == *$'\n'"Command failed -:$2"$'\n'* ]]
}

# Wait until no more than N commands go on, or none.
collect() { # step|undo|... [N]
  local pid code id
  # What was started just before a signal may have been missed by it.
  if ((stop)) && [[ $1 == step ]]; then interrupt; fi
  while ((${#job[@]} > ${2-0})); do
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
      undo) taken_back "$id" "$code" ;;
    esac
    end "$1" "$id" "$code"
  done
}

taken_back() { # ID CODE: note what an undo has taken back, or each of several in a batch
  local each n=0
  # shellcheck disable=SC2086  # ids have no spaces
  for each in ${group[$1]-$1}; do
    n=$((n + 1))
    if (($2 == 0)) || { (($2 == 1)) && [[ -n ${group[$1]-} ]] && ! failed_at "$1" "$n"; }; then
      printf '%s undone\n' "$each" >>"$record"
    else
      left+=" $each"
    fi
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
  local each settled kept=() code=${code_of[$1]}
  if right "$1" "$code"; then
    recall "settle $1"
    settled=" ${line[*]} "
    if [[ $settled != '  ' ]]; then
      for each in "${stack[@]}"; do
        [[ $settled == *" $each "* ]] || kept+=("$each")
      done
      stack=("${kept[@]}")
    fi
  elif killed "$code"; then
    recall "settle $1"
    for each in "$1" "${line[@]}"; do unsure[$each]=1; done
  fi
  recall "undo $1"
  if [[ -n ${line[*]} ]] && { ((code == 0)) || killed "$code"; }; then stack+=("$1"); fi
  take_in_parts "$1" "$code"
}

# Of a batch that failed, the lines before that which failed have been done, if it is told which that was.
take_in_parts() { # ID CODE
  local each part err='' code=$2 failed=0
  if ((code > 0)) && ! killed "$code"; then
    IFS= read -r -d '' err <"$work/$1.err"
    if [[ $'\n'$err =~ $'\n''Command failed -:'([0-9]+)$'\n' ]]; then
      failed=${BASH_REMATCH[1]}
    else
      code=137
    fi
  fi
  for each in ${parts[$1]-}; do
    part=${each#*:}
    [[ ${was[$part]-} != undone ]] || continue
    unsure[$part]=${unsure[$1]-}
    code_of[$part]=$code
    if ((${each%%:*} < failed)); then code_of[$part]=0; fi
    take_in "$part"
  done
}

needless() { # ID: does it take away what was not made? That would be somebody else's.
  local each
  recall "undo $1"
  [[ -z ${line[*]} ]] || return 1
  recall "settle $1"
  [[ -n ${line[*]} ]] || return 1
  for each in "${line[@]}"; do
    [[ " ${stack[*]} " != *" $each "* ]] || return 1
  done
}

# Run the steps told since the last run, side by side.
run() {
  local id needed=()
  if ((stop)); then interrupted; fi
  for id in "${steps[@]}"; do
    needless "$id" || needed+=("$id")
  done
  steps=("${needed[@]}")
  ((${#steps[@]})) || return 0
  printf '%s begun\n' "${steps[@]}" >>"$record" || finish 4
  for id in "${steps[@]}"; do
    collect step SIDE_BY_SIDE
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
  local id row=()
  trap '' INT QUIT TERM HUP PIPE
  while ((${#stack[@]})); do
    id=${stack[-1]}
    unset 'stack[-1]'
    [[ -z ${unsure[$id]-} ]] || there "$id" || continue
    recall "undo $id"
    if [[ ${line[0]} == ip && ${line[1]} != -* && "${line[1]} ${line[2]}" != 'netns exec' ]]; then
      row+=("$id")
      continue
    fi
    undo_row
    undo "$id"
  done
  undo_row
  conclude "$1"
}

undo() {
  local value=''
  recall "reads $1"
  [[ -z ${line[*]} ]] || read -r value <"$work/${line[0]}.out"
  recall "undo $1"
  line[-1]+=$value
  launch undo "$1"
  collect undo
}

# Undo what is in `row`: many as the lines of one batch, which goes on after a line that fails.
undo_row() {
  local id text='' all="undo-of-${#row[@]}"
  if ((${#row[@]} < BATCH_FROM)); then
    for id in "${row[@]}"; do undo "$id"; done
    row=()
    return
  fi
  for id in "${row[@]}"; do
    recall "undo $id"
    text+=${line[*]:1}$'\n'
  done
  group[$all]=${row[*]} input[$all]=${text%$'\n'}
  remember "undo $all" ip -force -batch -
  remember "bound $all" $((HANGS_AFTER + ${#row[@]} / LINES_A_S))
  row=()
  undo "$all"
}
"""

FOR_A_PERSON = r"""
# --- what is told of it ----------------------------------------------------------------------------
passed=0 differed=0 unread=0

tell() {
  # shellcheck disable=SC2059  # the first word is the format
  printf "$@" || interrupt
}

begin() {
  printf '+' >&2
  printf ' %q' "${line[@]}" >&2
  [[ -z ${input[$2]-} ]] || printf " <<'END'\n%s\nEND" "${input[$2]}" >&2
  printf '\n' >&2
}

# Become a command that is killed, with what it has started, if it takes longer than HANGS_AFTER s, or than
# those of `with bound S`. Should this script be killed, one that changes something still ends by itself, and
# holds the lock until then; any other ends too. (TERM, which timeout passes on: KILL in the middle of its
# fork has crashed a User-Mode Linux kernel.)
become() {
  local bound
  recall "bound $1"
  bound=(timeout --signal=KILL "${line[0]-HANGS_AFTER}")
  if changes "$1"; then
    exec "${bound[@]}" "${@:2}"
  fi
  if [[ -n ${lock-} ]]; then exec {lock}<&-; fi
  exec setpriv --pdeathsig TERM "${bound[@]}" setpriv --pdeathsig KILL "${@:2}"
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
    if [[ -n ${input[$2]-} && $err =~ 'Command failed -:'([0-9]+) ]]; then
      mapfile -t -s $((BASH_REMATCH[1] - 1)) -n 1 line <<<"${input[$2]}"
      command+=", line ${BASH_REMATCH[1]}: ${line[*]}"
    fi
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

OF_IPUTILS = """\
[[ $({0} -V 2>&1) == *iputils* ]] ||
  cannot 'this {0} is not that of iputils' 'apt install iputils-{0}'"""


ROOT_ONLY = """\
((EUID == 0)) || cannot 'only root can change the network of this machine' 'use sudo'
"""

IPVLAN_NEEDED = """\
if [[ $(ip link add ipvkit-probe type ipvlan 2>&1) == *'Unknown device type'* ]]; then
  cannot 'the kernel has no ipvlan' 'modprobe ipvlan, or take ipvkit run-lab --target uml'
fi
"""

ISOLATE = """\
# Go on in new namespaces, which end with this script: nothing below can touch the real network.
here=$(readlink /proc/self/ns/net)
if [[ ${1-} != --away-from || ${2-} == "$here" ]]; then
  [[ -f $0 ]] || cannot 'this script has to be a file' 'save it, then: bash lab.sh'
  as_root=()
  ((EUID == 0)) || as_root=(--user --map-root-user)
  exec unshare "${as_root[@]}" --net --mount bash "$0" --away-from "$here"
fi
work=/run record=/dev/null TMPDIR=/run
forget() { :; }
there() { return 1; }
mount -t tmpfs tmpfs "$work" || cannot 'no file system of its own could be mounted' 'use sudo'
ip link set lo up
"""

ON_THIS_MACHINE = r"""
# --- one run at a time, with what it does on record --------------------------------------------------
# The record is in /run, which a reboot empties together with all that the steps made.
work=/run/ipvkit-script-THE_LAB
record=$work/record TMPDIR=$work here="$(readlink /proc/self/ns/net) $(</proc/sys/kernel/random/boot_id)"

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
