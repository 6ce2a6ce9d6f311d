#!/usr/bin/env bash
# One round of commands on a host of a fleet. bash reads it from a pipe; its last line, which ipvkit adds, calls
# round with all that the round needs, so that nothing runs of a script that arrives in part.
set -uf
export LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
umask 077
# Where the connection drops, the round goes on to its end.
trap '' HUP
place=/run/ipvkit

fail() { # WHY: end without running anything
  printf 'failed %s\n' "$1" | answer
  exit 3
}

answer() { # pass on stdin in a form that a terminal and Ansible do not change
  printf '<ipvkit %s>\n' "$(gzip -c | base64 -w 0)"
}

is_ours() { # PID FD: whether that process holds the file that is open here
  [[ $1 == [1-9]* && /proc/$1/fd/$2 -ef /proc/self/fd/$2 ]]
}

recorded() { # RUN NUMBER NEEDED LINE…: append lines to the open journal, after a header where it is empty
  local run=$1 number=$2 needed=$3 former='' last='' pid='' boot size
  shift 3
  [[ ! -f $journal.round ]] || read -r former last pid <"$journal.round"
  if ! flock -n 9; then
    [[ $former != "$run" ]] || ! is_ours "$pid" 9 || kill -KILL -- "-$pid"
    flock -w 20 9 || fail 'commands of this lab still run there'
  fi
  # Ansible can be told to send again what it could not send, and does not know what has arrived.
  [[ $former != "$run" ]] || ((number > last)) || fail 'this round has run there already'
  printf '%s %s\n' "$run" "$number" >"$journal.round"
  read -r boot </proc/sys/kernel/random/boot_id
  size=$(stat -c %s "$journal")
  if ((size == 0 && $# > 0)); then
    set -- "$(printf '{"schema": "ipvkit/journal/v1", "pid": %s, "started": "%s", "boot": "%s", "netns": %s}' \
      "$$" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$boot" "$(stat -Lc %i /proc/self/ns/net)")" "$@"
  fi
  if (($# > 0)) && ! { printf '%s\n' "$@" >&9 && sync -d "$journal"; }; then
    truncate -s "$size" "$journal"
    [[ -z $needed ]] || fail "$journal cannot be written"
  fi
}

serve() { # SECONDS: let the rows run on after the round; they hold a lock on the list of servers
  { exec 8>>"$journal.servers" && flock -s 8; } 2>/dev/null || fail "$journal.servers cannot be written"
  {
    printf '%s %s\n' "$BASHPID" "$PWD" >&8 || exit
    exec setsid timeout --signal=KILL "$1" bash agent mailbox
  } <requests >served 2>complaints 9>&- &
  exec 8>&-
  trap - EXIT
}

look_at_servers() { # WHAT: take the reports of former servers, if all have ended; for `end` they are ended
  local pid place tries=0
  [[ -e $journal.servers ]] || return 0
  exec 8<"$journal.servers"
  until flock -n 8; do
    [[ $1 == end ]] || break
    ((tries++ < 200)) || fail 'servers of this lab still run there'
    while read -r pid place; do
      ! is_ours "$pid" 8 || kill -KILL -- "-$pid" 2>/dev/null
    done <"$journal.servers"
    sleep 0.1
  done
  if flock -n 8; then
    while read -r pid place; do
      cat "$place/served" >>reports
      rm -rf "$place"
    done <"$journal.servers"
    rm -f "$journal.servers"
  fi
  exec 8<&-
}

marks() { # NAME…: print what identifies each: the ifindex of link/NAME, the time of the file netns/NAME
  local name files=() mark file dev time own=''
  for name; do
    mark=''
    case $name in
      link/*) read -r mark 2>/dev/null </sys/class/net/"${name#*/}"/ifindex ;;
      *) files+=("/run/$name") ;;
    esac
    [[ -z $mark ]] || printf ' %s=%s' "$name" "$mark"
  done
  ((${#files[@]})) || return 0
  while read -r file dev time; do
    if [[ $file == /run/netns ]]; then
      own=$dev
    elif [[ $dev != "$own" ]]; then
      # On the file system of /run/netns it is only the former mount point of a namespace.
      printf ' %s=%s' "${file#/run/}" "${time/./}"
    fi
  done < <(stat -c '%n %d %.9Z' /run/netns "${files[@]}" 2>/dev/null)
}

round() { # LAB RUN NUMBER SECONDS AGENT NEEDED SERVERS LINES LINE… WATCHED NAME… COUNT WORD…
  local lab=$1 run=$2 number=$3 seconds=$4 agent=$5 needed=$6 servers=$7 serving='' lines watched
  shift 7
  lines=("${@:2:$1}")
  shift $((1 + $1))
  watched=("${@:2:$1}")
  shift $((1 + $1))
  ((EUID == 0)) || fail 'it is not run as root: set ansible_become'
  # Not in /run, which may be full when all has to be undone.
  if ! { work=$(mktemp -d /dev/shm/ipvkit.XXXXXX || mktemp -d) && cd "$work"; } 2>/dev/null; then
    fail 'no folder can be written for the output of commands'
  fi
  trap 'cd / && rm -rf "$work"' EXIT
  journal=$place/$lab.jsonl
  if [[ -n $lab ]] && { [[ -e $journal ]] || ((${#lines[@]} > 0)); }; then
    { mkdir -p "$place" && exec 9>>"$journal"; } 2>/dev/null || fail "$journal cannot be written"
    recorded "$run" "$number" "$needed" "${lines[@]}"
    look_at_servers "$servers"
  fi
  printf '%s' "$agent" >agent
  printf '%s\n' "${@:2}" >mailbox
  printf 'run %s\nwait\n' "$1" >requests
  if [[ $servers == serve ]]; then
    serve "$seconds"
    printf 'read\n' >>reports
  else
    {
      # Its process is recorded before it can remove the file.
      [[ ! -e $journal.round ]] || printf '%s %s %s\n' "$run" "$number" "$BASHPID" >"$journal.round"
      exec setsid timeout --signal=KILL "$seconds" bash agent mailbox
    } <requests >>reports 2>complaints &
    wait "$!" 2>/dev/null
  fi
  [[ ! -e $journal.servers ]] || serving=1
  { printf 'marks%s\n' "${serving:+ servers=1}$(marks "${watched[@]}")" && cat reports; } | answer
}
