"""EC2's metadata service and a bucket, for tests: aws.py FOLDER [ADDRESS [PORT]]

FOLDER/objects/KEY      objects of every bucket; a PUT writes here
FOLDER/instance-id      value in the metadata; ami-id likewise
FOLDER/fault            "STATUS CODE": the answer to every request to the bucket, while the file exists
FOLDER/no-role          the metadata service has no credentials (404), while the file exists
FOLDER/log              one line for each request
"""

import http.server
import json
import os
import pathlib
import sys
import urllib.parse

ROOT = pathlib.Path(sys.argv[1])
ROLE = "/latest/meta-data/iam/security-credentials/"
CREDENTIALS = {"Code": "Success", "AccessKeyId": "AKIDTEST", "SecretAccessKey": "test", "Token": "test"}


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes = b"", headers: dict | None = None) -> None:
        with open(ROOT / "log", "a", encoding="utf-8") as log:
            log.write(f"{self.command} {self.path} {status}\n")
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>".encode())

    def value(self, name: str, default: str) -> bytes:
        file = ROOT / name
        return file.read_bytes().strip() if file.exists() else default.encode()

    def metadata(self) -> None:
        if self.path.startswith(ROLE) and (ROOT / "no-role").exists():
            self.answer(404)
        elif self.path == ROLE:
            self.answer(200, b"clawdinator-1")
        elif self.path.startswith(ROLE):
            self.answer(200, json.dumps(CREDENTIALS).encode())
        elif self.path == "/latest/meta-data/placement/region":
            self.answer(200, b"eu-central-1")
        elif self.path == "/latest/meta-data/instance-id":
            self.answer(200, self.value("instance-id", "i-00000000000000001"))
        elif self.path == "/latest/meta-data/ami-id":
            self.answer(200, self.value("ami-id", "ami-00000000000000001"))
        else:
            self.answer(404)

    def object(self) -> pathlib.Path | None:
        """The file of the requested object; None if an error was answered."""
        if (ROOT / "fault").exists():
            status, code = (ROOT / "fault").read_text(encoding="utf-8").split()
            self.refuse(int(status), code)
            return None
        key = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/").partition("/")[2]
        if not key or ".." in key.split("/"):
            self.refuse(400, "InvalidURI")
            return None
        return ROOT / "objects" / key

    def do_GET(self) -> None:  # noqa: N802
        if self.path.startswith("/latest/"):
            return self.metadata()
        file = self.object()
        if file is None:
            return None
        if not file.is_file():
            return self.refuse(404, "NoSuchKey")
        body = file.read_bytes()
        wanted = self.headers.get("range", "")
        if wanted.startswith("bytes=") and wanted.endswith("-"):
            start = int(wanted[6:-1])
            if start >= len(body):
                return self.refuse(416, "InvalidRange")
            return self.answer(206, body[start:], {"content-range": f"bytes {start}-{len(body) - 1}/{len(body)}"})
        return self.answer(200, body)

    def do_PUT(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/latest/api/token":
            return self.answer(200, b"token")
        file = self.object()
        if file is None:
            return None
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}.new")
        new.write_bytes(body)
        os.replace(new, file)
        return self.answer(200)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    (ROOT / "objects").mkdir(parents=True, exist_ok=True)
    address = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
    port = int(sys.argv[3]) if len(sys.argv) > 3 else 80
    http.server.ThreadingHTTPServer((address, port), Service).serve_forever()
