#!/usr/bin/env bash
# Makes the random secrets that compose.yaml mounts; keeps those that are there.
set -euo pipefail
cd "$(dirname "$0")/secrets"
chmod 700 . # on this machine only its owner gets this far
for name in http_token influx_token influx_password grafana_password; do
  [ -s "$name" ] && continue
  head -c 32 /dev/urandom | base64 | tr -d '/+=\n' >"$name"
  chmod 644 "$name" # each container reads it as a user of its own
done
