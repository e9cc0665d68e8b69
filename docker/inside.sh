#!/bin/sh
# What docker/check.sh runs inside an image: nothing can be written but /tmp, the daemon serves, ranks, and ends on SIGTERM.
# The proxy's passes requests on to an engine, and serves them in arrival order where there is no daemon.
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

if [ "$target" = proxy ]; then
    # An engine that says what it got. No daemon runs: requests pass, in the order of their arrival.
    cat > /tmp/engine.py << 'PYTHON'
import http.server
import json


class Engine(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer({"data": [{"id": "m"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer({"got": body, "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    def answer(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Engine).serve_forever()
PYTHON
    python3 /tmp/engine.py 2> /tmp/engine.log &
    engine=$!
    rankd proxy --upstream http://127.0.0.1:8000 --direction lower-first 2> /tmp/log &
    proxy=$!
    tries=0
    until grep -q '"event": "proxy_started"' /tmp/log; do
        tries=$((tries + 1))
        if [ $tries -gt 300 ] || ! kill -0 $proxy; then
            cat /tmp/log >&2
            exit 1
        fi
        sleep 0.2
    done
    python3 - << 'PYTHON'
import json
import urllib.request

body = json.dumps({"model": "m", "prompt": "Hello", "max_tokens": 5}).encode()
request = urllib.request.Request(
    "http://127.0.0.1:8080/v1/completions", body, {"Content-Type": "application/json"}
)
got = json.load(urllib.request.urlopen(request, timeout=10))["got"]
print("the engine got", got)
assert got["prompt"] == "Hello" and isinstance(got["priority"], int)
print(urllib.request.urlopen("http://127.0.0.1:9465/readyz", timeout=5).read().decode())
PYTHON
    grep VmRSS /proc/$proxy/status
    if rankd serve 2> /tmp/serve; then exit 1; fi
    tail -n 1 /tmp/serve
    kill -TERM $proxy
    wait $proxy
    kill $engine
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
