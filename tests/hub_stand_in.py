"""A model hub on loopback, as far as its client asks one: for a model's commits and files, and to take new ones.

What it takes it takes as the hub's documentation and client have it: models are made, a small file comes in the commit
itself, a large one before it by the protocol of Git LFS, and a commit is refused where its parent is not the newest.
"""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Kept by Git LFS, whatever their size, as the hub's .gitattributes has it.
LARGE = (".safetensors", ".parquet", ".onnx")


class Hub:
    """``put(name, commit, folder)`` publishes a folder's files as a commit, the newest from then on.

    ``tokens``: token to the owners that it may write for. ``fail(part, statuses)``: the next requests whose path has
    this part are answered so. ``private``: names of models. ``sent``: by what methods which paths were asked.
    """

    def __init__(self):
        self.commits = {}
        self.heads = {}
        self.asked = []
        self.sent = []
        self.tokens = {}
        self.private = set()
        self.objects = {}
        self.failures = {}
        self.messages = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def put(self, name, commit, folder):
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.add(name, commit, files)

    def add(self, name, commit, files, branch="main"):
        self.commits[name, commit] = files
        self.heads[name, branch] = commit

    def files(self, name, branch="main"):
        return self.commits[name, self.heads[name, branch]]

    def fail(self, part, *statuses):
        self.failures[part] = list(statuses)

    def commit_of(self, name, revision):
        commit = self.heads.get((name, revision), revision)
        return commit if (name, commit) in self.commits else None

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def do_POST(self):
        self._take()

    def do_PUT(self):
        self._take()

    def _answer(self, with_body):
        hub, path = self.server.hub, self.path.split("?")[0]
        hub.asked.append(path)
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            name = "/".join(parts[2:4])
            commit = hub.commit_of(name, parts[5] if len(parts) > 5 else "main")
            if commit is None:
                code = "RevisionNotFound" if (name, "main") in hub.heads else "RepoNotFound"
                return self._send(404, b"{}", {"X-Error-Code": code}, with_body)
            held = hub.commits[name, commit]
            if parts[4:5] == ["tree"]:
                rows = [
                    {"type": "file", "path": file, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                    for file, body in held.items()
                ]
                return self._send_json(200, rows, with_body)
            files = [{"rfilename": file} for file in held]
            about = {"id": name, "modelId": name, "sha": commit, "siblings": files, "tags": []}
            return self._send_json(200, about | {"private": name in hub.private}, with_body)
        # /owner/name/resolve/revision/file
        name, revision, file = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        commit = hub.commit_of(name, revision)
        body = hub.commits.get((name, commit), {}).get(file)
        if body is None:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, with_body)
        etag = hashlib.sha1(body).hexdigest()
        return self._send(200, body, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'}, with_body)

    # --- what it takes ----------------------------------------------------------------------------------------

    def _take(self):
        hub, path = self.server.hub, self.path.split("?")[0]
        body = self._body()
        hub.sent.append(f"{self.command} {path}")
        for part, statuses in hub.failures.items():
            if part in path and statuses:
                return self._send_json(statuses.pop(0), {"error": "out of order"})
        parts = path.strip("/").split("/")
        if parts[0] == "lfs-store":
            # As a signed address: no token.
            hub.objects[parts[1]] = body
            return self._send(200, b"", {})
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        owners = hub.tokens.get(given)
        if owners is None:
            message = {"X-Error-Message": "Invalid credentials in Authorization header"}
            return self._send(401, b'{"error": "Invalid username or password."}', message)
        content = json.loads(body) if body.startswith(b"{") and "commit" not in parts else {}
        if parts[:2] == ["api", "validate-yaml"]:
            return self._send_json(200, {"errors": [], "warnings": []})
        if parts[:3] == ["api", "repos", "create"]:
            return self._create(f"{content['organization']}/{content['name']}", content, owners)
        name = "/".join(parts[2:4]) if parts[0] == "api" else "/".join(parts[:2]).removesuffix(".git")
        if name.split("/")[0] not in owners:
            return self._send_json(403, {"error": f"You have no right to write to {name}"})
        if "objects" in parts:
            return self._send_json(
                200, {"transfer": "basic", "objects": [self._place(one) for one in content["objects"]]}
            )
        if "lfs-verify" in parts:
            whole = len(hub.objects.get(content["oid"], b"")) == content["size"]
            return self._send_json(200 if whole else 404, {})
        if parts[4] == "branch":
            known = (name, parts[5]) in hub.heads
            hub.heads.setdefault((name, parts[5]), hub.heads[name, "main"])
            return self._send_json(409 if known else 200, {})
        if parts[4] == "preupload":
            return self._send_json(200, {"files": [self._mode(one) for one in content["files"]]})
        return self._commit(name, parts[5], [json.loads(line) for line in body.splitlines()])

    def _body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _create(self, name, content, owners):
        hub = self.server.hub
        if name.split("/")[0] not in owners:
            return self._send_json(403, {"error": f"You have no right to write to {name.split('/')[0]}"})
        if (name, "main") in hub.heads:
            return self._send_json(409, {"error": "You already created this model repo", "url": f"{hub.url}/{name}"})
        if content.get("visibility") == "private":
            hub.private.add(name)
        hub.add(name, hashlib.sha1(name.encode()).hexdigest(), {".gitattributes": b"*.safetensors filter=lfs\n"})
        return self._send_json(200, {"url": f"{hub.url}/{name}"})

    def _mode(self, one):
        mode = "lfs" if one["path"].endswith(LARGE) else "regular"
        return {"path": one["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}

    def _place(self, one):
        hub = self.server.hub
        actions = {
            "upload": {"href": f"{hub.url}/lfs-store/{one['oid']}"},
            "verify": {"href": f"{hub.url}{self.path.split('.git')[0]}/lfs-verify"},
        }
        return one if one["oid"] in hub.objects else one | {"actions": actions}

    def _commit(self, name, branch, lines):
        hub = self.server.hub
        header, *rest = lines
        head = hub.heads[name, branch]
        if header["value"].get("parentCommit", head) != head:
            return self._send_json(412, {"error": "A commit has happened since"})
        files = dict(hub.commits[name, head])
        for line in rest:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                stored = hub.objects[value["oid"]]
                assert hashlib.sha256(stored).hexdigest() == value["oid"]
                files[value["path"]] = stored
            else:
                assert line["key"] == "deletedFile"
                del files[value["path"]]
        commit = hashlib.sha1(head.encode() + json.dumps(lines).encode()).hexdigest()
        hub.add(name, commit, files, branch)
        hub.messages.append(header["value"]["summary"])
        return self._send_json(200, {"commitUrl": f"{hub.url}/{name}/commit/{commit}", "commitOid": commit})

    def _send_json(self, status, content, with_body=True):
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"}, with_body)

    def _send(self, status, body, headers, with_body=True):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass
