#!/usr/bin/env bash
# Starts a real OpenClaw gateway against the scripted model server fake-model.mjs and,
# on request, the Telegram stand-in fake-telegram.mjs, all on free loopback ports and
# with all state inside one directory.
#
#   start-gateway.sh DIR [--openclaw VERSION] [--node VERSION] [--config FILE]
#                        [--api openai-completions|openai-responses|anthropic-messages]
#                        [--wait SECONDS] [--telegram] [--install-only]
#
# DIR must be empty or absent the first time; a second start in the same DIR reuses
# the installed packages, the configuration and the state. The packages come from
# npm with the npm client found on PATH. FILE is a JSON object merged over the
# configuration written here (objects merge, everything else replaces); it is read
# on the first start only, and so is --telegram, which gives the gateway one channel
# (telegram, allowed sender 12345); without it channels stay off. --install-only leaves
# the packages in DIR/pkg and starts nothing; pkg may be a link to those of another DIR.
#
# On success it prints one JSON object, which it also writes to DIR/run/gateway.json:
#   {"port":..,"token":"..","url":"ws://127.0.0.1:..","pid":..,"modelPort":..,
#    "modelPid":..,"telegramPort":..,"stateDir":"..","configPath":"..","openclaw":"..",
#    "node":"..","installSeconds":..,"readySeconds":..}     (telegramPort: 0 if none)
# stop-gateway.sh DIR ends exactly the processes started here.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
openclaw_version= # 2026.9.6 unless given, or what DIR already holds
node_version=     # 24.21.0, likewise
extra_config=
model_api=openai-completions
wait_seconds=600
telegram=
install_only=
dir=

fail() { echo "start-gateway: $*" >&2; exit 1; }

while (($#)); do
  case $1 in
    --openclaw) openclaw_version=$2; shift 2 ;;
    --node) node_version=$2; shift 2 ;;
    --config) extra_config=$(readlink -f -- "$2"); shift 2 ;;
    --api) model_api=$2; shift 2 ;;
    --wait) wait_seconds=$2; shift 2 ;;
    --telegram) telegram=1; shift ;;
    --install-only) install_only=1; shift ;;
    -*) fail "unknown option $1" ;;
    *) [[ -z $dir ]] || fail "one directory only"; dir=$1; shift ;;
  esac
done
[[ -n $dir ]] || fail "which directory?"
mkdir -p -- "$dir"
dir=$(cd -- "$dir" && pwd)
package_dir=$dir/pkg
run_dir=$dir/run
node=$package_dir/node_modules/.bin/node
openclaw=$package_dir/node_modules/openclaw/openclaw.mjs

# --- install -------------------------------------------------------------------
install_start=$(date +%s)
if [[ -e $package_dir/.installed ]]; then
  read -r held_node held_openclaw <"$package_dir/.installed"
  : "${node_version:=$held_node}" "${openclaw_version:=$held_openclaw}"
  [[ "$node_version $openclaw_version" == "$held_node $held_openclaw" ]] ||
    fail "$dir holds node $held_node and openclaw $held_openclaw"
else
  : "${node_version:=24.21.0}" "${openclaw_version:=2026.9.6}"
  [[ -z $(ls -A -- "$dir") ]] || fail "$dir is not empty"
  mkdir -p "$package_dir"
  # A registry that stumbles once is asked again by npm itself, here and in the packages' own scripts.
  export npm_config_fetch_retries=5
  npm_install() { npm install --prefix "$package_dir" --save-exact --no-audit --no-fund --loglevel=error "$@" >&2; }
  echo '{"private":true}' >"$package_dir/package.json"
  # OpenClaw's install script refuses an older node, so the pinned node comes first
  # and then runs the rest of the installation.
  npm_install "node@$node_version"
  [[ $("$node" --version) == "v$node_version" ]] || fail "the node package brought no node $node_version"
  PATH=$package_dir/node_modules/.bin:$PATH npm_install "openclaw@$openclaw_version"
  [[ -e $openclaw ]] || fail "the openclaw package has no openclaw.mjs"
  echo "$node_version $openclaw_version" >"$package_dir/.installed"
fi
install_seconds=$(($(date +%s) - install_start))
[[ -z $install_only ]] || exit 0

# --- processes -------------------------------------------------------------------
# A process is named by its pid and its start time, so that a reused pid is not
# mistaken for it.
start_time() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
is_zombie() { [[ $(sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f1) == Z ]]; }
running() {
  local record=$run_dir/$1.pid pid started
  [[ -e $record ]] || return 1
  read -r pid started <"$record"
  [[ -n $started && $(start_time "$pid") == "$started" ]] && ! is_zombie "$pid"
}
# launch NAME COMMAND...: runs it detached, in an environment of its own.
launch() {
  local name=$1 pid
  shift
  env -i PATH="$package_dir/node_modules/.bin:/usr/local/bin:/usr/bin:/bin" \
    HOME="$dir/home" TMPDIR="$dir/tmp" LANG=C.UTF-8 TZ=UTC NO_COLOR=1 \
    OPENCLAW_STATE_DIR="$dir/state" OPENCLAW_CONFIG_PATH="$dir/openclaw.json" \
    OPENCLAW_SKIP_CHANNELS="$skip_channels" OPENCLAW_DISABLE_BONJOUR=1 OPENCLAW_NO_RESPAWN=1 \
    OPENCLAW_NO_AUTO_UPDATE=1 OPENCLAW_OFFLINE=1 OPENCLAW_EXEC_SHELL_SNAPSHOT=0 \
    OPENCLAW_CLAWHUB_URL=http://127.0.0.1:9 \
    setsid "$@" </dev/null >>"$dir/log/$name.log" 2>&1 &
  pid=$!
  echo "$pid $(start_time "$pid")" >"$run_dir/$name.pid"
}
free_port() {
  "$node" -e 'const s=require("net").createServer();s.listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'
}

mkdir -p "$run_dir" "$dir/home" "$dir/tmp" "$dir/state" "$dir/workspace" "$dir/log"
running gateway && fail "a gateway already runs in $dir"
[[ -e $run_dir/telegram.port ]] && telegram=1
skip_channels=1
[[ -z $telegram ]] || skip_channels=0

# --- stand-ins -------------------------------------------------------------------
# stand_in NAME ARGUMENT...: runs fake-NAME.mjs and sets NAME_port. The configuration
# names the port, so a later start asks for the same one.
stand_in() {
  local name=$1 port=0
  shift
  [[ -e $run_dir/$name.port ]] && port=$(<"$run_dir/$name.port")
  if ! running "$name"; then
    rm -f "$run_dir/$name.json"
    launch "$name" "$node" "$here/fake-$name.mjs" --port "$port" --port-file "$run_dir/$name.json" "$@"
    for ((i = 0; i < wait_seconds * 20; i++)); do
      [[ -s $run_dir/$name.json ]] && break
      running "$name" || fail "fake-$name.mjs did not start, see $dir/log/$name.log"
      sleep 0.05
    done
    port=$(sed 's/.*"port":\([0-9]*\).*/\1/' "$run_dir/$name.json")
    echo "$port" >"$run_dir/$name.port"
  fi
  printf -v "${name}_port" '%s' "$port"
}
model_port=0 telegram_port=0
stand_in model --log "$dir/log/model-requests.jsonl" --model fake-1 --model fake-2
[[ -z $telegram ]] || stand_in telegram

# --- configuration -------------------------------------------------------------------
if [[ ! -e $dir/openclaw.json ]]; then
  port=$(free_port)
  token=$("$node" -p 'require("crypto").randomBytes(24).toString("hex")')
  base_url=http://127.0.0.1:$model_port/v1
  [[ $model_api == anthropic-messages ]] && base_url=http://127.0.0.1:$model_port
  # Recent versions fetch a model catalog half a minute after they start; older ones
  # do not know the setting and would refuse it.
  catalog=
  [[ $openclaw_version == 2026.9.* ]] && catalog='"catalogRefresh": { "enabled": false },'
  channels=
  [[ -z $telegram ]] || channels='"channels": { "telegram": { "enabled": true, "botToken": "123456:not-a-real-token", "apiRoot": "http://127.0.0.1:'$telegram_port'", "dmPolicy": "allowlist", "allowFrom": ["12345"] } },'
  model() {
    printf '{"id":"%s","name":"%s","reasoning":false,"input":["text"],"contextWindow":200000,"maxTokens":32000,"cost":{"input":0,"output":0,"cacheRead":0,"cacheWrite":0}}' "$1" "$1"
  }
  cat >"$dir/openclaw.json" <<JSON
{
  "gateway": {
    "mode": "local",
    "port": $port,
    "bind": "loopback",
    "auth": { "mode": "token", "token": "$token" },
    "controlUi": { "enabled": false },
    "http": { "endpoints": { "chatCompletions": { "enabled": true }, "responses": { "enabled": true } } }
  },
  "update": { "checkOnStart": false },
  "discovery": { "mdns": { "mode": "off" } },
  "browser": { "enabled": false },
  "cron": { "enabled": false },
  $channels
  "logging": { "file": "$dir/log/openclaw.log" },
  "models": {
    "mode": "replace",
    $catalog
    "providers": {
      "fake": {
        "baseUrl": "$base_url",
        "apiKey": "not-a-secret",
        "api": "$model_api",
        "models": [$(model fake-1), $(model fake-2)]
      }
    }
  },
  "agents": {
    "defaults": {
      "model": { "primary": "fake/fake-1" },
      "workspace": "$dir/workspace",
      "skipBootstrap": true,
      "heartbeat": { "every": "0m" }
    }
  }
}
JSON
  if [[ -n $extra_config ]]; then
    "$node" -e '
      const fs = require("fs");
      const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
      const merge = (base, over) => {
        if (!isObject(base) || !isObject(over)) return over;
        const merged = { ...base };
        for (const [key, value] of Object.entries(over)) merged[key] = key in base ? merge(base[key], value) : value;
        return merged;
      };
      const [file, extra] = process.argv.slice(1).map((name) => [name, JSON.parse(fs.readFileSync(name, "utf8"))]);
      fs.writeFileSync(file[0], JSON.stringify(merge(file[1], extra[1]), null, 2) + "\n");
    ' "$dir/openclaw.json" "$extra_config"
  fi
  chmod 600 "$dir/openclaw.json"
fi
read -r port token < <("$node" -p '
  const { port, auth } = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8")).gateway;
  `${port} ${auth.token}`' "$dir/openclaw.json")

# --- gateway -----------------------------------------------------------------------------
ready_start=$(date +%s%N)
(cd "$dir" && launch gateway "$node" "$openclaw" gateway run --port "$port" --bind loopback)
deadline=$((SECONDS + wait_seconds))
until curl --silent --fail --max-time 2 --output /dev/null "http://127.0.0.1:$port/readyz"; do
  running gateway || { tail -n 20 "$dir/log/gateway.log" >&2; "$here/stop-gateway.sh" "$dir" >&2 || true; fail "the gateway ended while starting"; }
  ((SECONDS < deadline)) || { "$here/stop-gateway.sh" "$dir" >&2 || true; fail "the gateway was not ready after $wait_seconds s, see $dir/log/gateway.log"; }
  sleep 0.1
done
ready_ms=$((($(date +%s%N) - ready_start) / 1000000))

read -r gateway_pid _ <"$run_dir/gateway.pid"
read -r model_pid _ <"$run_dir/model.pid"
printf '{"port":%d,"token":"%s","url":"ws://127.0.0.1:%d","pid":%d,"modelPort":%d,"modelPid":%d,"telegramPort":%d,"stateDir":"%s","configPath":"%s","openclaw":"%s","node":"%s","installSeconds":%d,"readySeconds":%d.%03d}\n' \
  "$port" "$token" "$port" "$gateway_pid" "$model_port" "$model_pid" "$telegram_port" "$dir/state" "$dir/openclaw.json" \
  "$openclaw_version" "$node_version" "$install_seconds" $((ready_ms / 1000)) $((ready_ms % 1000)) \
  >"$run_dir/gateway.json"
# Whoever waits for the line reads the file next.
cat "$run_dir/gateway.json"
