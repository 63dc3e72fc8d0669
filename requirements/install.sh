#!/bin/sh
# Makes the virtual environment VENV and installs hashed locks into it: requirements/install.sh VENV LOCK...
# Needs a Python of at least 3.11 ($PYTHON, else the first one found) with its venv module, and nothing else.
set -eu
cd "$(dirname "$0")/.."
venv=$1
shift

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if ! { [ -x "$venv/bin/python" ] && is_new_enough "$venv/bin/python"; }; then
    python=
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if is_new_enough "$candidate"; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "ECP needs Python 3.11 or newer. Install one, or name it: make PYTHON=/path/to/python3 ..." >&2
        exit 1
    fi
    echo "Creating $venv with $("$python" --version)"
    # Debian ships venv without ensurepip: the command then fails half-way and leaves a folder without pip.
    if ! "$python" -m venv --clear "$venv" >"${TMPDIR:-/tmp}/ecp-venv.$$" 2>&1; then
        cat "${TMPDIR:-/tmp}/ecp-venv.$$" >&2
        rm -rf "${TMPDIR:-/tmp}/ecp-venv.$$" "$venv"
        echo "$python cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    fi
    rm -f "${TMPDIR:-/tmp}/ecp-venv.$$"
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
python=$venv/bin/python
locks=
for lock in "$@"; do
    locks="$locks -r $lock"
done

# uv installs in parallel and from a cache; where it is not to be had, pip does the same more slowly.
if [ -x "$venv/bin/uv" ] || "$python" -m pip install -q --require-hashes --only-binary :all: -r requirements/bootstrap.txt; then
    echo "Installing $*"
    # shellcheck disable=SC2086  # one -r and one file name per lock
    # The certificates of the system, as pip takes them: many a network has an authority of its own.
    if UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1} UV_LINK_MODE=${UV_LINK_MODE:-hardlink} "$venv/bin/uv" pip install -q --python "$python" --require-hashes --no-build $locks; then
        exit 0
    fi
    echo "uv could not install; trying pip" >&2
fi
# shellcheck disable=SC2086
exec "$python" -m pip install -q --require-hashes --only-binary :all: $locks
