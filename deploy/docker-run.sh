#!/bin/sh
# Migrates a data root whose own daemon is down, with another Docker engine.
set -eu

usage() {
    cat <<END
usage: deploy/docker-run.sh [DATA_ROOT [MIGRATOR_ARGUMENT ...]]
  deploy/docker-run.sh /mnt/old/docker                                    # migrate, in place
  deploy/docker-run.sh /mnt/old/docker migrate --target-driver overlay2
  OUTPUT=DIR deploy/docker-run.sh /mnt/old/docker export -o /output/images
DATA_ROOT is /var/lib/docker unless it is given. From the environment: OUTPUT (a directory,
/output inside), CPUS (2), MEMORY (256m), MIGRATOR_IMAGE, MIGRATOR_PROGRESS.
Exit codes are migrator's: 0 done, 1 failed, 2 wrong usage, 3 something was left out,
4 interrupted (docker stop): the same command goes on.
END
}

# Docker would make a directory of that name.
check_directory() {
    if [ ! -d "$1" ]; then
        echo "docker-run.sh: $1: no such directory" >&2
        usage >&2
        exit 2
    fi
}

case "${1:-}" in
-h | --help)
    usage
    exit
    ;;
esac
data_root=${1:-/var/lib/docker}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- migrate
image=${MIGRATOR_IMAGE:-docker-store-migrator}

check_directory "$data_root"
set -- --volume "$(realpath -- "$data_root"):/var/lib/docker" "$image" "$@"
if [ -n "${OUTPUT:-}" ]; then
    check_directory "$OUTPUT"
    set -- --volume "$(realpath -- "$OUTPUT"):/output" "$@"
fi
if [ -t 0 ] && [ -t 1 ] && [ -t 2 ]; then
    set -- --interactive --tty --env MIGRATOR_PROGRESS="${MIGRATOR_PROGRESS:-auto}" "$@"
else
    set -- --env MIGRATOR_PROGRESS="${MIGRATOR_PROGRESS:-json}" "$@"
fi

# Root without privileges but for: reading and writing whatever the owner (DAC_OVERRIDE, which is
# enough in place), and, for overlay2, making files with all that they have (SYS_ADMIN for trusted.*
# attributes). For devicemapper and zfs see docs/mounting.md.
exec docker run --rm --name migrator --stop-timeout 60 \
    --network none --read-only --tmpfs /tmp \
    --cap-drop ALL --cap-add DAC_OVERRIDE \
    --cap-add CHOWN --cap-add FOWNER --cap-add FSETID --cap-add MKNOD --cap-add SETFCAP \
    --cap-add SYS_ADMIN --security-opt no-new-privileges \
    --cpus "${CPUS:-2}" --memory "${MEMORY:-256m}" "$@"
