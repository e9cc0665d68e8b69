"""Stands a rendered container up on this machine: its volumes as directories, its variables, its command."""

import json
import os
import subprocess
import sys
import threading

from support.rendered_chart import containers, pods

TOKEN = "engine-a-0123456789abcdefghijklmnop"
"""The one whose digest stands in ``values/``."""


def programs(place):
    """A PATH with ``rankd`` on it, as the image has it, of this very checkout."""
    directory = place / "bin"
    directory.mkdir()
    for name, words in {"rankd": ["-m", "rankd"], "python3": []}.items():
        program = directory / name
        program.write_text(f'#!/bin/sh\nexec {" ".join([sys.executable, *words])} "$@"\n')
        program.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


def certificates(place, names):
    """Secrets as cert-manager makes them: a server's, a client's, and their authority's."""

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=place, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca", "-days", "2")
    (place / "san").write_text("subjectAltName=IP:127.0.0.1," + ",".join(f"DNS:{name}" for name in names))
    secrets = {}
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", f"{name}.crt", "-days", "2", "-extfile", "san",
        )  # fmt: skip
        secrets[name] = {
            "tls.crt": (place / f"{name}.crt").read_text(),
            "tls.key": (place / f"{name}.key").read_text(),
            "ca.crt": (place / "ca.crt").read_text(),
        }
    return secrets


class Stand:
    """One container of a rendering."""

    def __init__(self, documents, kind, name, place, secrets):
        """Put its volumes into ``place``; ``secrets`` are those that are there before the chart."""
        (spec,) = [s for label, _, s in pods(documents) if label.startswith(kind)]
        (self.container,) = [c for c in containers(spec) if c["name"] == name]
        self.grace = spec.get("terminationGracePeriodSeconds")
        self._place, self._path = place, programs(place)
        self._secrets = dict(secrets)
        configs = {}
        for document in documents:
            if document["kind"] == "Secret":
                self._secrets[document["metadata"]["name"]] = document["stringData"]
            elif document["kind"] == "ConfigMap":
                configs[document["metadata"]["name"]] = document["data"]
        volumes = {v["name"]: v for v in spec["volumes"]}
        self._mounts = [m["mountPath"] for m in self.container["volumeMounts"] if m["mountPath"] != "/tmp"]
        for mount in self.container["volumeMounts"]:
            volume = volumes.get(mount["name"], {})
            directory = place / mount["mountPath"].lstrip("/")
            directory.mkdir(parents=True, exist_ok=True)
            if "secret" in volume:
                held = self._secrets[volume["secret"]["secretName"]]
                for item in volume["secret"]["items"]:
                    (directory / item["path"]).write_text(held[item["key"]])
            elif "configMap" in volume:
                for file, text in configs[volume["configMap"]["name"]].items():
                    (directory / file).write_text(text)

    def _here(self, text):
        for mount in self._mounts:
            text = text.replace(mount, f"{self._place}{mount}")
        return text

    def variables(self, **others):
        """Its environment, with paths and ports of this machine."""
        own = {}
        for variable in self.container["env"]:
            if "value" in variable:
                own[variable["name"]] = self._here(variable["value"])
            elif "secretKeyRef" in variable.get("valueFrom", {}):
                reference = variable["valueFrom"]["secretKeyRef"]
                own[variable["name"]] = self._secrets[reference["name"]][reference["key"]]
        return os.environ | own | {"PATH": self._path} | others

    @property
    def command(self):
        """What it runs."""
        return [self._here(w) for w in [*self.container["command"], *self.container.get("args", [])]]

    def run(self, **others):
        """Run it to its end."""
        return subprocess.run(
            self.command, env=self.variables(**others), capture_output=True, text=True, timeout=120, check=False
        )


class Running:
    """A daemon or a proxy that a stand runs; a context."""

    def __init__(self, stand, *, event="started", **others):
        """Start it, and wait until it says that it has."""
        said = f'"event": "{event}"'
        self.process = subprocess.Popen(
            stand.command, env=stand.variables(**others), stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )
        lines = []
        timer = threading.Timer(90, self.process.kill)
        timer.start()
        for line in self.process.stderr:
            lines.append(line)
            if said in line:
                break
        timer.cancel()
        if not lines or said not in lines[-1]:
            raise AssertionError("the daemon did not start:\n" + "".join(lines))
        self.started = json.loads(lines[-1])
        self._reader = threading.Thread(target=self.process.stderr.read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self._reader.join(10)
        self.process.stderr.close()

    @property
    def port(self):
        """Of gRPC, or of the proxy."""
        return int(self.started["listen"].rpartition(":")[2])


_ADDRESSES = ("RANKD_LISTEN", "RANKD_METRICS", "RANKD_ADMIN", "RANKD_PROXY_LISTEN", "RANKD_PROXY_METRICS")


def listening_anywhere(stand):
    """The variables that make a stand listen at its own addresses, and on ports that are free."""
    return {v["name"]: v["value"].rpartition(":")[0] + ":0" for v in stand.container["env"] if v["name"] in _ADDRESSES}


def dns_names(documents):
    """The names in the certificate that is asked for."""
    return next(d["spec"]["dnsNames"] for d in documents if d["kind"] == "Certificate")
