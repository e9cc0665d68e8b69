#!/bin/sh
# Rank a file of prompts over the network; fails unless every prompt has a place and a score.
# Variables: RANKD_TARGET, and where they are needed TLS_CA, TLS_CERT, TLS_KEY, RANKD_TOKEN_FILE.
set -eu
prompts=$1
set -- --target "$RANKD_TARGET" --timeout 30 --json
if [ -n "${TLS_CA:-}" ]; then set -- "$@" --tls-ca "$TLS_CA"; fi
if [ -n "${TLS_CERT:-}" ]; then set -- "$@" --tls-cert "$TLS_CERT" --tls-key "$TLS_KEY"; fi
ranked=$(rankd rank "$prompts" "$@")
printf '%s\n' "$ranked"
wanted=$(grep -c . "$prompts")
got=$(printf '%s\n' "$ranked" | grep -c '"position"' || true)
if [ "$got" -ne "$wanted" ]; then
    echo "$got of $wanted prompts came back" >&2
    exit 1
fi
if printf '%s\n' "$ranked" | grep -q '"score": null'; then
    echo 'a prompt has no score; its reason is above, and the log of the pods says more' >&2
    exit 1
fi
echo "$wanted prompts were ranked"
