"""A model hub on loopback, as far as its client asks one for a model's files: commits, and files at a commit."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """``put(name, commit, folder)`` publishes a folder's files as a commit, the newest from then on."""

    def __init__(self):
        self.commits = {}
        self.newest = {}
        self.asked = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def put(self, name, commit, folder):
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.commits[name, commit] = files
        self.newest[name] = commit

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, with_body):
        hub, path = self.server.hub, self.path.split("?")[0]
        hub.asked.append(path)
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            name = "/".join(parts[2:4])
            wanted = parts[5] if len(parts) > 5 else "main"
            commit = hub.newest.get(name) if wanted == "main" else wanted
            if (name, commit) not in hub.commits:
                code = "RevisionNotFound" if name in hub.newest else "RepoNotFound"
                return self._send(404, b"{}", {"X-Error-Code": code}, with_body)
            held = hub.commits[name, commit]
            if parts[4:5] == ["tree"]:
                rows = [
                    {"type": "file", "path": file, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                    for file, body in held.items()
                ]
                return self._send(200, json.dumps(rows).encode(), {"Content-Type": "application/json"}, with_body)
            files = [{"rfilename": file} for file in held]
            body = json.dumps({"id": name, "modelId": name, "sha": commit, "siblings": files, "tags": []}).encode()
            return self._send(200, body, {"Content-Type": "application/json"}, with_body)
        # /owner/name/resolve/commit/file
        name, commit, file = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        body = hub.commits.get((name, commit), {}).get(file)
        if body is None:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, with_body)
        etag = hashlib.sha1(body).hexdigest()
        return self._send(200, body, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'}, with_body)

    def _send(self, status, body, headers, with_body):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass
