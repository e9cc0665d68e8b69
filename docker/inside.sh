#!/bin/sh
# What docker/check.sh runs inside an image: nothing can be written but /tmp, the daemon serves, ranks, and ends on SIGTERM.
set -eu
target=$1

[ "$(id -u)" = 65532 ]
if touch /opt/rankd/x 2> /dev/null || touch /var/x 2> /dev/null; then
    echo 'the root file system can be written' >&2
    exit 1
fi
rankd --version

if [ "$target" = train ]; then
    python3 - << 'PYTHON' > /tmp/rows.jsonl
import json

words = ["short", "brief", "list", "story", "essay", "chart", "code", "poem"]
for i in range(400):
    word = words[i % len(words)]
    print(json.dumps({"prompt": f"Write a {word} about number {i}", "output_token_count": 10 + 40 * (i % len(words))}))
PYTHON
    rankd train --data /tmp/rows.jsonl --base ngram --epochs 1 --out /tmp/ranker
    rankd evaluate --ranker /tmp/ranker --data /tmp/rows.jsonl --json > /tmp/verdict.json
    python3 -c 'import json; print("tau", json.load(open("/tmp/verdict.json"))["kendall_tau"])'
    export RANKD_RANKER=/tmp/ranker
fi

if [ "$target" = cuda ]; then
    # No GPU here: the daemon must say so, and not fall back.
    if RANKD_PROVIDER=cuda rankd serve 2> /tmp/log; then exit 1; fi
    cat /tmp/log
    grep -q 'provider cuda' /tmp/log
    exit 0
fi

RANKD_PROVIDER=cpu RANKD_COMPLETION_LOG__DIRECTORY=/tmp/log.d rankd serve 2> /tmp/log &
daemon=$!
tries=0
until grep -q '"event": "started"' /tmp/log; do
    tries=$((tries + 1))
    if [ $tries -gt 300 ] || ! kill -0 $daemon; then
        cat /tmp/log >&2
        exit 1
    fi
    sleep 0.2
done
RANKD_TARGET=127.0.0.1:50051 sh /mnt/ranks.sh /mnt/prompts.txt
python3 -c 'import urllib.request; print(urllib.request.urlopen("http://127.0.0.1:9464/readyz", timeout=5).read().decode())'
grep VmRSS /proc/$daemon/status
kill -TERM $daemon
wait $daemon
grep -q '"event": "stopped"' /tmp/log
