# Sourced by the scripts beside it: makes sure of Debian packages and of the project's
# own virtual environment in .venv. Nothing is installed that is there already.
# usage: . scripts/environment.sh EXTRA [COMMAND:PACKAGE ...]

extra=$1
shift

find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$python" >/dev/null &&
            "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
        then
            return
        fi
    done
    python=
}

missing=
for need in "$@"; do
    command -v "${need%%:*}" >/dev/null || missing="$missing ${need#*:}"
done
find_python
[ -n "$python" ] || missing="$missing python3 python3-venv"

if [ -n "$missing" ]; then
    echo "installing$missing" >&2
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # A service that a package brings is not wanted here, only its program.
    $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends $missing >/dev/null
    find_python
fi
if [ -z "$python" ]; then
    echo "Python 3.11 or later is needed, with venv" >&2
    exit 1
fi

[ -x .venv/bin/python ] || "$python" -m venv .venv
stamp=.venv/installed-${extra:-plain}
if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".${extra:+[$extra]}"
    touch "$stamp"
fi
