#!/usr/bin/env bash
# Runs rows of commands for ipvkit, the rows concurrently, and reports each command when it ends.
#
# agent.bash MAILBOX: each line on stdin is a request:
#   run COUNT   read COUNT words, each on a line, from MAILBOX: rows of commands, which run concurrently
#   serve COUNT the same as run, for rows of servers: a fleet lets these run on from round to round
#   now COUNT   the same for one row while no other runs, without a process for it: meanwhile no request is read
#   stop ROW    kill the command that runs in that row, and begin no other there
#   end ROW     ask the command that runs in that row to end (TERM)
#   rest        begin no other command in any row
#   wait        read the next request when all rows have ended
# A row is: its number of words after this one, its name, the files for stdout and stderr, and for each command
# its key, its number of words, these words, and the same for the lines of its stdin. The commands of a row run
# one after another.
# Each line on stdout is a report: `started KERNEL`; `read`, when MAILBOX may be written again; and for a command
# `KEY EXIT_CODE MICROSECONDS STDOUT_BYTES STDERR_BYTES` (a hyphen for what did not begin), then its stdout and
# stderr with a newline, if there are any. At the end of stdin, or on TERM, it ends with all that it has started.
set -uf
export LC_ALL=C
export -n PWD OLDPWD SHLVL TMPDIR
mailbox=$1 verb=now
declare -A rows=()
trap 'kill -KILL 0' TERM

# Three pipes: a row may write to stdout while it holds the byte of one; a byte in another is for `rest`; each
# row writes a byte into the third when it can be stopped.
exec {pipe}<<<''
exec {turn}<>"/proc/self/fd/$pipe" {pipe}<<<''
exec {rest}<>"/proc/self/fd/$pipe" {pipe}<<<''
exec {ready}<>"/proc/self/fd/$pipe" {pipe}<&-
read -r -N 1 -u "$rest"
read -r -N 1 -u "$ready"

report() { # LINE [OUTPUT]
  [[ $verb == now ]] || read -r -N 1 -u "$turn"
  printf '%s\n' "$1" ${2:+"$2"}
  [[ $verb == now ]] || printf . >&"$turn"
}

contents() { # FILE: read it into `text`, without NULs, which a variable cannot hold
  local piece=''
  text=''
  [[ -s $1 ]] || return 0
  while IFS= read -r -d '' piece; do text+=$piece; done <"$1"
  text+=$piece
}

row() { # AT: run the commands of the row that begins there in `words`
  local at=$(($1 + 4)) end=$(($1 + 1 + words[$1])) out=${words[$1 + 2]} err=${words[$1 + 3]}
  local key last command input began code text said child='' over='' again=''
  while ((at < end)); do
    key=${words[at]} command=() input=''
    # For a part of an array bash reads all of it, which takes longer than to start a process.
    for ((last = at + 1 + words[at + 1], at += 2; at <= last; at++)); do command+=("${words[at]}"); done
    for ((last = at + words[at], at++; at <= last; at++)); do input+=${words[at]}$'\n'; done
    if [[ $verb != now ]] && { [[ -n $over ]] || read -r -t 0 -u "$rest"; }; then
      report "$key - 0 0 0"
      continue
    fi
    began=${EPOCHREALTIME/./}
    if [[ -n $input ]]; then
      "${command[@]}" <<<"${input%?}" >"$out" 2>"$err" &
    else
      "${command[@]}" </dev/null >"$out" 2>"$err" &
    fi
    child=$!
    [[ -z $over ]] || kill -KILL "$child"
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
    run | serve | now)
      while read -r -t 0 -u "$rest"; do read -r -N 1 -u "$rest"; done
      # bash reads a device byte by byte where the words end with another character.
      mapfile -t -n "$argument" words <"$mailbox"
      report read
      started=0
      for ((at = 0; at < argument; at += 1 + words[at])); do
        if [[ $verb == now ]]; then
          unset "rows[${words[at + 1]}]"
          row "$at"
          continue
        fi
        {
          trap 'over=1 again=1; [[ -z ${child-} ]] || kill -KILL "$child"' TERM
          trap 'again=1; [[ -z ${child-} ]] || kill -TERM "$child"' USR1
          printf . >&"$ready"
          row "$at"
        } &
        rows[${words[at + 1]}]=$!
        ((++started))
      done
      ((started == 0)) || read -r -N "$started" -u "$ready"
      ;;
    stop) kill -TERM "${rows[$argument]-}" 2>/dev/null ;;
    end) kill -USR1 "${rows[$argument]-}" 2>/dev/null ;;
    rest) printf . >&"$rest" ;;
    wait) wait ;;
  esac
done
trap '' TERM
kill -KILL 0
