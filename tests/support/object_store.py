"""A small object store that speaks as much of S3's protocol as pyarrow asks for, on a real port."""

import re
import socket
import threading
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs, unquote, urlsplit

STAMP = "%a, %d %b %Y %H:%M:%S GMT"


def unchunked(file):
    """Take chunks apart: a size in hexadecimal, so many bytes, and in the end lines up to an empty one."""
    body = b""
    while size := int(file.readline().split(b";")[0], 16):
        body += file.read(size)
        file.readline()
    while file.readline().strip():
        pass
    return body


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _where(self):
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        return bucket, key, parse_qs(parts.query, keep_blank_values=True)

    def _answer(self, status, body=b"", **headers):
        self.send_response(status)
        headers.setdefault("Content_Length", len(body))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self):
        if "transfer-encoding" in self.headers:
            body = unchunked(self.rfile)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # S3's own chunks, with checksums, lie within those of HTTP.
        return unchunked(BytesIO(body)) if "x-amz-decoded-content-length" in self.headers else body

    def do_PUT(self):
        _, key, query = self._where()
        body = self._body()
        if "partNumber" in query:
            self.server.parts.setdefault(query["uploadId"][0], {})[int(query["partNumber"][0])] = body
        else:
            self.server.objects[key] = body
        self._answer(200, ETag='"0"')

    def do_POST(self):
        _, key, query = self._where()
        self._body()
        if "uploads" in query:
            upload = f"u{len(self.server.parts)}"
            self.server.parts[upload] = {}
            xml = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        elif "uploadId" in query:
            parts = self.server.parts.pop(query["uploadId"][0])
            self.server.objects[key] = b"".join(parts[n] for n in sorted(parts))
            xml = '<CompleteMultipartUploadResult><ETag>"0"</ETag></CompleteMultipartUploadResult>'
        else:
            xml = "<DeleteResult/>"
        self._answer(200, xml.encode(), Content_Type="application/xml")

    def do_DELETE(self):
        self.server.objects.pop(self._where()[1], None)
        self._answer(204)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        _, key, query = self._where()
        if not key:
            self._list(query.get("prefix", [""])[0])
        elif (body := self.server.objects.get(key)) is None:
            self._answer(404)
        elif match := re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            first, last = int(match[1]), min(int(match[2]), len(body) - 1)
            total = f"bytes {first}-{last}/{len(body)}"
            self._answer(206, body[first : last + 1], Content_Range=total, ETag='"0"')
        else:
            now = datetime.now(UTC).strftime(STAMP)
            self._answer(200, body, Content_Length=len(body), ETag='"0"', Last_Modified=now)

    def _list(self, prefix):
        rows = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(body)}</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
            for key, body in sorted(self.server.objects.items())
            if key.startswith(prefix)
        )
        xml = f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"
        self._answer(200, xml.encode(), Content_Type="application/xml")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.connections = []

    def get_request(self):
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address


class ObjectStore:
    """Starts on a free port, or on one given; ``objects`` holds what was put."""

    def __init__(self, port=0, objects=None):
        self._server = Server(("127.0.0.1", port), Handler)
        self.objects = self._server.objects = {} if objects is None else objects
        self._server.parts = {}
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, path):
        return object_store_url(self.port, path)

    def stop(self):
        """Go away, also from those who are connected."""
        self._server.shutdown()
        for connection in self._server.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()


def object_store_url(port, path):
    return f"s3://key:secret@{path}?scheme=http&endpoint_override=127.0.0.1:{port}&region=none"
