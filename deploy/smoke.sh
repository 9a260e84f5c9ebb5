#!/usr/bin/env bash
# Runs the image IMAGE as compose.yaml does, against its own local exchange: it must store lines, be healthy, obey SIGTERM.
set -euo pipefail
image=${1:?usage: smoke.sh IMAGE}
run=(docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges)

exchange=$("${run[@]}" --detach --rm "$image" simulate --products BTC-USD --port 9000)
collector=$("${run[@]}" --detach --network "container:$exchange" --health-interval 2s \
  --env SENTINEL_COINBASE_ADVANCED_URL=ws://127.0.0.1:9000/advanced \
  --env SENTINEL_COINBASE_EXCHANGE_URL=ws://127.0.0.1:9000/exchange \
  --env SENTINEL_COINBASE_REST_URL=http://127.0.0.1:9000 "$image" collect BTC-USD)
trap 'docker logs "$collector"; docker rm --force "$collector" "$exchange" >/dev/null' EXIT

for _ in $(seq 30); do
  health=$(docker inspect --format '{{.State.Health.Status}}' "$collector")
  [ "$health" = healthy ] && break
  sleep 1
done
test "$health" = healthy
sleep 5
docker exec "$collector" sentinel-ws export --data-dir /data --measurement top --format lp | grep -q '^top,exchange=coinbase,symbol=BTC-USD '
docker stop --time 15 "$collector" >/dev/null
test "$(docker inspect --format '{{.State.ExitCode}}' "$collector")" = 0
