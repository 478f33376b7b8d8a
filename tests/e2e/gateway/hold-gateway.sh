#!/usr/bin/env bash
# hold-gateway.sh DIR ARGUMENT...: starts a gateway in DIR with start-gateway.sh, which gets the arguments, for every
# line on stdin, and ends it with all that belongs to it when stdin closes. Whoever holds the other end of that pipe may
# die in any way: the gateway goes too. For every line one comes back on stdout: what start-gateway.sh prints, or
# "failed".
set -uo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
dir=${1:?which directory?}
starting=

while read -r _; do
  [[ -z $starting ]] || wait "$starting"
  # A session of its own, so that the script and what it waits for (npm, say) can be ended together.
  setsid bash -c '"$0" "$@" || echo failed' "$here/start-gateway.sh" "$@" </dev/null &
  starting=$!
done
# Only while it is at work: afterwards its number may be another's.
if [[ -n $(jobs -rp) ]]; then
  kill -TERM -- "-$starting"
  wait "$starting"
fi
"$here/stop-gateway.sh" "$dir" 1
