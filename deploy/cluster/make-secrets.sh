#!/usr/bin/env bash
# Makes the random secrets that compose.yaml of this folder mounts, those of the other one among them; keeps what is there.
set -euo pipefail
cd "$(dirname "$0")/.."
./make-secrets.sh
cd secrets
if ! [ -s nats_password ]; then
  head -c 32 /dev/urandom | base64 | tr -d '/+=\n' >nats_password
  printf 'authorization { user: sentinel, password: "%s" }\n' "$(cat nats_password)" >nats_users
  chmod 644 nats_password nats_users # each container reads them as a user of its own
fi
