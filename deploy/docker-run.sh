#!/bin/sh
# Migrates a data root whose own daemon is down, with another Docker engine.
# usage: deploy/docker-run.sh [DATA_ROOT [MIGRATOR_ARGUMENT ...]]
# Exit codes are migrator's: 0 done, 1 failed, 2 wrong usage, 3 something was left out,
# 4 interrupted (docker stop): the same command goes on.
set -eu
data_root=$(realpath -- "${1:-/var/lib/docker}")
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- migrate

# Root without privileges but one: to read and write whatever the owner.
exec docker run --rm --name migrator --stop-timeout 60 \
    --network none --read-only --tmpfs /tmp \
    --cap-drop ALL --cap-add DAC_OVERRIDE --security-opt no-new-privileges \
    --cpus "${CPUS:-2}" --memory "${MEMORY:-256m}" \
    --env MIGRATOR_PROGRESS=json \
    --volume "$data_root:/var/lib/docker" \
    "${MIGRATOR_IMAGE:-docker-store-migrator}" "$@"
