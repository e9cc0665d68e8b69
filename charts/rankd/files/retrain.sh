#!/bin/sh
# Train a ranker, judge it, and promote it on all replicas. Started again after a failure it goes on where it was.
# Variables, those in capitals with several words a word per line:
#   RUN             name of this run: of its ranker's directory and version
#   WORKSPACE       scratch directory
#   REGISTRY        the daemons' registry; the link `serving` there names what was promoted last
#   TRAIN_DATA TRAIN_ARGS EVALUATE_DATA EVALUATE_ARGS MIN_TAU
#   PROMOTE_ARGS    unset: the ranker is put into the registry and not promoted
#   ADMIN_HOSTS ADMIN_PORT, or ADMIN_NAME, a DNS name with an address per replica
#   TLS_CA TLS_CERT TLS_KEY RANKD_TOKEN_FILE, where they are needed
set -eu

newline='
'
refused=3
out=$WORKSPACE/$RUN

say() { printf 'retraining: %s\n' "$1" >&2; }

# Run a command with the words of a variable, one a line, after its own.
with_words() {
    words=$1
    shift
    old=$IFS
    IFS=$newline
    set -f
    # shellcheck disable=SC2086  # split by lines, as meant
    set -- "$@" $words
    set +f
    IFS=$old
    "$@"
}

train() {
    if [ -e "$out/manifest.json" ]; then
        say "$RUN is trained already"
        return
    fi
    say "training $RUN"
    with_words "$TRAIN_ARGS${newline}--data$newline$TRAIN_DATA" rankd train --out "$out" --version "$RUN"
}

evaluate() {
    if [ ! -e "$WORKSPACE/$RUN.json" ]; then
        with_words "$EVALUATE_ARGS${newline}--data$newline$EVALUATE_DATA" \
            rankd evaluate --ranker "$out" --json > "$WORKSPACE/verdict.tmp" || return 1
        mv "$WORKSPACE/verdict.tmp" "$WORKSPACE/$RUN.json"
    fi
    python3 - "$WORKSPACE/$RUN.json" "$MIN_TAU" << 'PYTHON'
import json
import sys

path, least = sys.argv[1], float(sys.argv[2])
with open(path, encoding="utf-8") as file:
    tau = json.load(file)["kendall_tau"]
print(f"retraining: tau {tau:.3f}, at least {least:g} is wanted", file=sys.stderr)
sys.exit(0 if tau >= least else 3)
PYTHON
}

# Put the ranker into the registry, whole or not at all; gives its directory there.
install() {
    place=$REGISTRY/$RUN
    if [ ! -e "$place" ]; then
        rm -rf "$REGISTRY/.$RUN"
        cp -R "$out" "$REGISTRY/.$RUN"
        mv "$REGISTRY/.$RUN" "$place"
    fi
    printf '%s\n' "$place"
}

hosts() {
    if [ -n "${ADMIN_HOSTS:-}" ]; then
        printf '%s\n' "$ADMIN_HOSTS"
    else
        getent ahosts "$ADMIN_NAME" | awk '$2 == "STREAM" {print $1}' | sort -u | sed 's/.*:.*/[&]/'
    fi
}

# promote ADDRESS FLAGS...: promoted there, or there already, is success.
promote() {
    admin=$1:$ADMIN_PORT
    shift
    if [ -n "${TLS_CA:-}" ]; then set -- "$@" --tls-ca "$TLS_CA"; fi
    if [ -n "${TLS_CERT:-}" ]; then set -- "$@" --tls-cert "$TLS_CERT" --tls-key "$TLS_KEY"; fi
    status=0
    rankd promote "$place" --admin "$admin" "$@" 2> "$WORKSPACE/promote.err" || status=$?
    cat "$WORKSPACE/promote.err" >&2
    if [ "$status" -eq 2 ] && grep -q 'in service already' "$WORKSPACE/promote.err"; then
        status=0
    fi
    return "$status"
}

# The first replica judges; the others follow it, or replicas would disagree on what they serve.
promote_all() {
    addresses=$(hosts)
    if [ -z "$addresses" ]; then
        say "no replica is found: is ${ADMIN_NAME:-ADMIN_HOSTS} right, and are any ready?"
        return 1
    fi
    first=true
    failed=0
    for address in $addresses; do
        if $first; then
            first=false
            status=0
            with_words "$PROMOTE_ARGS" promote "$address" || status=$?
            if [ "$status" -eq "$refused" ]; then
                say "$RUN is no better; nothing changes"
                return 0
            fi
            [ "$status" -eq 0 ] || return "$status"
            # From here on replicas that start serve it.
            rm -f "$REGISTRY/.serving.$RUN"
            ln -s "$RUN" "$REGISTRY/.serving.$RUN"
            mv -T "$REGISTRY/.serving.$RUN" "$REGISTRY/serving"
        else
            promote "$address" --force || failed=$?
        fi
    done
    [ "$failed" -eq 0 ] && say "$RUN is in service on all replicas"
    return "$failed"
}

train
status=0
evaluate || status=$?
if [ "$status" -eq "$refused" ]; then
    say "$RUN is not good enough; nothing changes"
    exit 0
fi
[ "$status" -eq 0 ] || exit "$status"
place=$(install)
if [ -z "${PROMOTE_ARGS+x}" ]; then
    say "$RUN is in the registry; promote it with: rankd promote $place"
    exit 0
fi
promote_all
