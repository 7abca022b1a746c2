#!/usr/bin/env bash
# Laurel on one machine. Needs Python 3.11 to 3.13 and nothing else; run ./start.sh help.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
venv=${LAUREL_VENV:-$root/.venv}
setup_log=$root/logs/setup.log
uv_version=0.13.8

usage() {
  cat <<'TEXT'
Usage: ./start.sh COMMAND

  demo                 set up, start, hand in a made-up school, show the students at risk
  up                   start the platform; Ctrl-C stops it
  up -d                start it in the background
  down                 stop it; nothing is lost
  status               show each service; exit status 0 when all are healthy
  logs [SERVICE] [-f]  show what the services wrote
  test [ARGUMENTS]     run all tests side by side, or what the arguments tell pytest
  bench NAME [--json]  run a benchmark of bench/
  laurel ARGUMENTS     the laurel command; laurel --help lists what it can do
  env [--help]         write .env with fresh secrets, and the files of secrets/, for docker compose
  setup                only install what is needed

One service in the foreground, for containers:
  api, live, airflow-api-server, airflow-scheduler, airflow-dag-processor, airflow-triggerer, airflow-worker,
  migrate, init-airflow

State lives in var/ (LAUREL_HOME moves it), logs in logs/. LAUREL_PORT and LAUREL_AIRFLOW_PORT
choose other ports than 5000 and 8080. More: docs/operations.md
TEXT
}

die() {
  printf 'start.sh: %s\n' "$*" >&2
  exit 1
}

find_python() {
  local candidate
  for candidate in ${LAUREL_PYTHON:+"$LAUREL_PYTHON"} python3 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  die "Python 3.11, 3.12 or 3.13 is needed and was not found. Install one, or name it: LAUREL_PYTHON=/path/to/python3.12"
}

# Run a command quietly: show the seconds pass, keep its output in the log, say why it failed.
step() {
  local title=$1 job seconds=0 reason
  shift
  set -m # in a process group of its own, so that Ctrl-C ends all of it
  "$@" </dev/null >>"$setup_log" 2>&1 &
  job=$!
  set +m
  trap 'kill -- "-$job" 2>/dev/null; exit 130' INT TERM
  printf '%s …' "$title"
  while kill -0 "$job" 2>/dev/null; do
    sleep 0.5
    seconds=$((seconds + 1))
    if ((seconds % 10 == 0)); then printf ' %d s' $((seconds / 2)); fi
  done
  trap - INT TERM
  if wait "$job"; then
    printf ' done\n'
    return
  fi
  printf ' failed\n'
  reason=$(tail -n 40 "$setup_log")
  case $reason in
    *"No space left"* | *"Disk quota"*) die "the disk is full. Free some room, then start again." ;;
    *ensurepip* | *"No module named venv"*)
      die "Python lacks its venv module. On Debian and Ubuntu: apt install python3-venv" ;;
    *"No matching distribution"* | *"ailed to fetch"* | *"rror sending request"* | *"dns error"* | *onnection*)
      die "the packages could not be downloaded. Check the network (or the proxy, HTTPS_PROXY). Details: $setup_log" ;;
    *) die "that did not work; the last line was: $(tail -n 1 "$setup_log"). Details: $setup_log" ;;
  esac
}

use_index() { # pip's own, where one is set
  local index=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$("$venv/bin/python" -m pip config get global.index-url 2>/dev/null || true)}}
  if [[ -n $index ]]; then export UV_DEFAULT_INDEX=$index; fi
  export UV_SYSTEM_CERTS=1 # where a proxy signs with a certificate that only this machine knows
}

install_packages() { # the lock file
  use_index
  "$venv/bin/uv" pip install --python "$venv/bin/python" --compile-bytecode --require-hashes -r "$1"
}

install_project() {
  use_index
  "$venv/bin/uv" pip install --python "$venv/bin/python" --no-build-isolation --no-deps -e "$root"
}

# Install what the lock file names, unless that was done for exactly these files.
setup() { # runtime | dev | packages (those of runtime, without the project: a layer of the image)
  local lock=$root/requirements.lock kind=$1 python stamp
  if [[ $kind == dev ]]; then lock=$root/requirements-dev.lock; fi
  if [[ ! -w ${HOME:-/} ]]; then # tools keep caches there
    export HOME=$root/var/home
    mkdir -p "$HOME" || die "cannot write in $root. Use a folder of your own."
  fi
  stamp="$root $(cat "$lock" "$root/pyproject.toml" | cksum)"
  if [[ -x $venv/bin/python && $(cat "$venv/laurel-$kind.stamp" 2>/dev/null) == "$stamp" ]] && "$venv/bin/python" -c ''; then
    return
  fi
  if ! { mkdir -p "$root/logs" && : >>"$setup_log"; } 2>/dev/null; then
    die "cannot write in $root. Use a folder of your own."
  fi
  if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    step "Making .venv" "$python" -m venv --clear "$venv"
  fi
  if [[ $("$venv/bin/uv" --version 2>/dev/null) != "uv $uv_version"* ]]; then
    step "Installing the installer" "$venv/bin/python" -m pip install --quiet --retries 2 "uv==$uv_version"
  fi
  step "Installing packages (a minute or two the first time)" install_packages "$lock"
  if [[ $kind == packages ]]; then return; fi
  step "Installing Laurel" install_project
  # What tests need holds all that running needs.
  if [[ $kind == dev ]]; then
    printf '%s' "$root $(cat "$root/requirements.lock" "$root/pyproject.toml" | cksum)" >"$venv/laurel-runtime.stamp"
  fi
  printf '%s' "$stamp" >"$venv/laurel-$kind.stamp"
}

hint_browser() {
  local name
  for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then return; fi
  done
  echo "No Chromium found: tests of pages will be skipped. Get one: apt install chromium, or $venv/bin/playwright install chromium"
}

command=${1:-help}
if (($#)); then shift; fi
case $command in
  up | down | logs | demo | migrate | init-airflow)
    setup runtime
    exec "$venv/bin/laurel" "$command" "$@" ;;
  laurel)
    setup runtime
    exec "$venv/bin/laurel" "$@" ;;
  status)
    setup runtime
    exec "$venv/bin/laurel" services "$@" ;;
  api | live | airflow-api-server | airflow-scheduler | airflow-dag-processor | airflow-triggerer | airflow-worker)
    setup runtime
    exec "$venv/bin/python" -m local.service "$command" ;;
  test)
    setup dev
    hint_browser
    cd -- "$root"
    # All of them: file by file on the processors there are. A few are over before workers would have started.
    (($#)) || set -- -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
    exec "$venv/bin/python" -m pytest "$@" ;;
  bench)
    [[ -n ${1:-} && -f $root/bench/$1.py ]] || die "which benchmark? ./start.sh bench NAME, a file of bench/"
    setup dev
    cd -- "$root"
    exec "$venv/bin/python" -m "bench.$1" "${@:2}" ;;
  env)
    command -v python3 >/dev/null || die "this needs python3, 3.8 or newer. On Debian and Ubuntu: apt install python3"
    exec python3 -I "$root/local/new_env.py" "$@" ;;
  setup)
    setup "${1:-runtime}" ;;
  help | -h | --help)
    usage ;;
  *)
    usage >&2
    die "there is no command '$command'" ;;
esac
