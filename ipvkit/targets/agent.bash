#!/usr/bin/env bash
# Runs rows of commands for ipvkit, the rows concurrently, and reports each command when it ends.
#
# agent.bash MAILBOX: each line on stdin is a request:
#   run COUNT   read COUNT words, each ended by NUL, from MAILBOX: rows of commands, which run concurrently
#   now COUNT   the same for one row, without a separate process: no other request is read until it has ended
#   stop ROW    kill the command that runs in that row, and begin no other there
#   rest        begin no other command in any row
# A row is: its number of words after this one, its name, the files for stdout and stderr, and for each command
# its key, its number of words, these words, and its stdin. The commands of a row run one after another.
# Each line on stdout is a report: `started KERNEL`; `read`, when MAILBOX may be written again; and for a command
# `KEY EXIT_CODE MICROSECONDS STDOUT_BYTES STDERR_BYTES` (a hyphen for what did not begin), then its stdout and
# stderr, then a newline. At the end of stdin, or on TERM, it ends with everything that it has started.
set -uf
export LC_ALL=C
export -n PWD OLDPWD SHLVL TMPDIR
mailbox=$1
declare -A rows=()
trap 'kill -KILL 0' TERM

# Two pipes: a row may write to stdout while it holds the byte of one; a byte in the other is for `rest`.
exec {pipe}<<<''
exec {turn}<>"/proc/self/fd/$pipe" {pipe}<<<''
exec {rest}<>"/proc/self/fd/$pipe" {pipe}<&-
read -r -N 1 -u "$rest"

report() { # LINE [OUTPUT]
  read -r -N 1 -u "$turn"
  printf '%s\n' "$@"
  printf '\n' >&"$turn"
}

contents() { # FILE: read it into `text`, without NULs, which a variable cannot hold
  local piece=''
  text=''
  [[ -s $1 ]] || return 0
  while IFS= read -r -d '' piece; do text+=$piece; done <"$1"
  text+=$piece
}

words() { # COUNT: read so many words of the mailbox into `words`
  mapfile -d '' -t -n "$1" -u "$mail" words
}

row() { # NAME OUT ERR, and for each command KEY COUNT WORDS... STDIN
  local out=$2 err=$3 key command input began code text said child='' over='' again=''
  shift 3
  while (($#)); do
    key=$1 command=("${@:3:$2}") input=${*:3+$2:1}
    shift $((3 + $2))
    if [[ -n $over ]] || read -r -t 0 -u "$rest"; then
      report "$key - 0 0 0" ''
      continue
    fi
    began=${EPOCHREALTIME/./}
    if [[ -n $input ]]; then
      "${command[@]}" <<<"$input" >"$out" 2>"$err" &
    else
      "${command[@]}" </dev/null >"$out" 2>"$err" &
    fi
    child=$!
    # A signal ends a wait early; how the command ended can be asked again.
    while
      again=''
      wait "$child"
      code=$?
      [[ -n $again ]]
    do :; done
    child=''
    # bash can lose how a command ended when a signal comes; that is unknown then, as of one that was killed.
    ((code >= 0)) || code=137
    contents "$out" && said=$text
    contents "$err"
    report "$key $code $((${EPOCHREALTIME/./} - began)) ${#said} ${#text}" "$said$text"
  done
}

read -r kernel </proc/sys/kernel/osrelease
report "started $kernel"
while read -r verb argument; do
  case $verb in
    run | now)
      while read -r -t 0 -u "$rest"; do read -r -N 1 -u "$rest"; done
      exec {mail}<"$mailbox"
      while ((argument > 0)); do
        words 4
        size=${words[0]} place=("${words[@]:1}")
        ((argument -= size + 1))
        if [[ $verb == now ]]; then
          unset "rows[${place[0]}]"
          # One command after another: bash is slow with long lists, and so is a fork with much memory.
          for ((size -= 3; size > 0; size -= 3 + ${#words[@]} - 1)); do
            words 2
            command=("${words[@]}")
            words $((command[1] + 1))
            row "${place[@]}" "${command[@]}" "${words[@]}"
          done
          continue
        fi
        words $((size - 3))
        {
          trap 'over=1 again=1; [[ -z ${child-} ]] || kill -KILL "$child"' TERM
          row "${place[@]}" "${words[@]}"
        } &
        rows[${place[0]}]=$!
      done
      exec {mail}<&-
      report read
      ;;
    stop) kill -TERM "${rows[$argument]-}" 2>/dev/null ;;
    rest) printf . >&"$rest" ;;
  esac
done
trap '' TERM
kill -KILL 0
