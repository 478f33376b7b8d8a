#!/usr/bin/env bash
# Writes start.names anew: the functions that the common commands call, which build.rs asks the linker to put together.
# Needs valgrind. Run it by hand from time to time: a name that is gone costs nothing, one that is missing a page fault.
set -euo pipefail
cd "$(dirname "$0")/.."

# As released, but with the names left in.
cargo build --locked --bins --profile named \
  --config 'profile.named.inherits="release"' --config 'profile.named.strip="none"'
programs="${CARGO_TARGET_DIR:-target}/named"

house=$(mktemp -d)
trap 'rm -rf "$house"' EXIT
export HOME="$house" DISPATCH_HOME="$house/state"

count=0
record() {
  count=$((count + 1))
  valgrind -q --tool=callgrind --demangle=no --callgrind-out-file="$house/$count.calls" "$@" >"$house/out" 2>&1 ||
    { cat "$house/out" >&2; exit 1; }
}
record "$programs/dispatch" --version
record "$programs/dispatch" enqueue --label a -- /bin/echo hi
record "$programs/dispatch" wait a
record "$programs/dispatch" status --label a
record "$programs/dispatch" result --label a
record "$programs/dispatch" list
record "$programs/dispatch" done --label b --checklist '{"work_complete":true}'
record "$programs/dispatch" status --label b
record "$programs/watcher" --label a

# Names without the hashes, which compilers and builds make anew. What most commands call stands first.
for calls in "$house"/*.calls; do
  sed -nE "s/^c?fn=\([0-9]+\) ([^ ']+).*/\1/p" "$calls" | grep -E '^_(ZN|R)' |
    sed -E 's/Cs[0-9A-Za-z]+_/Cs*_/g; s/\.llvm\.[0-9]+$//; s/17h[0-9a-f]{16}E$/17h/' | sort -u
done | sort | uniq -c | sort -k1,1nr -k2 | awk '{print $2}' >link/start.names
wc -l link/start.names
