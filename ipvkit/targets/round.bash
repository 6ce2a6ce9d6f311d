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

is_ours() { # PID: whether that process holds the open journal
  [[ $1 == [1-9]* && /proc/$1/fd/9 -ef /proc/self/fd/9 ]]
}

recorded() { # RUN NUMBER NEEDED LINE…: append lines to the open journal, after a header where it is empty
  local run=$1 number=$2 needed=$3 former='' last='' pid='' boot size
  shift 3
  [[ ! -f $journal.round ]] || read -r former last pid <"$journal.round"
  if ! flock -n 9; then
    [[ $former != "$run" ]] || ! is_ours "$pid" || kill -KILL -- "-$pid"
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

round() { # LAB RUN NUMBER SECONDS AGENT NEEDED LINES LINE… WATCHED NAME… COUNT WORD…
  local lab=$1 run=$2 number=$3 seconds=$4 agent=$5 needed=$6 lines watched
  shift 6
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
  fi
  printf '%s' "$agent" >agent
  printf '%s\0' "${@:2}" >mailbox
  printf 'run %s\nwait\n' "$1" >requests
  {
    # Its process is recorded before it can remove the file.
    [[ ! -e $journal.round ]] || printf '%s %s %s\n' "$run" "$number" "$BASHPID" >"$journal.round"
    exec setsid timeout --signal=KILL "$seconds" bash agent mailbox
  } <requests >reports 2>complaints &
  wait "$!" 2>/dev/null
  { printf 'marks%s\n' "$(marks "${watched[@]}")" && cat reports; } | answer
}
