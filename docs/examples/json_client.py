"""A node in plain Python, as a model for other languages. Each message is a line of JSON."""

import base64
import hashlib
import hmac
import json
import secrets
import socket
import ssl


class Client:
    """One connection with a trio_mp node, over a connected socket; the client is the node `name`."""

    def __init__(self, sock: socket.socket, name: bytes, secret: bytes) -> None:
        key = hashlib.scrypt(secret, salt=b"trio_mp 1 secret", n=2**14, r=8, p=1, dklen=32)
        fields = b"aemp;1;%b;hmac_sha256;json;tls=1.0;incarnation=%b;heartbeat=60;limit=1000000"
        # The side with the smaller nonce is the TLS client, and "+" is the smallest character of base64.
        nonce = b"++++" + base64.b64encode(secrets.token_bytes(33))
        incarnation = secrets.token_hex(8)
        ours = (fields % (name, incarnation.encode()), nonce)
        # The ID of a port here. The random characters make it new, and impossible to guess.
        self.port = f"{name.decode()}#{incarnation[:8]}.{secrets.token_urlsafe(12)}"
        mark = hashlib.sha256(name + b"#" + incarnation.encode()).digest()[:12]
        self.mark, self.spawned = base64.urlsafe_b64encode(mark).decode(), 0
        sock.sendall(b"%b\n%b\n" % ours)
        with sock.makefile("rb") as greeting:
            theirs = (greeting.readline().rstrip(), greeting.readline().rstrip())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the proofs below say who the peer is
        self.socket = context.wrap_socket(sock)
        self.file = self.socket.makefile("rwb")
        fingerprint = hashlib.sha256(self.socket.getpeercert(True) or b"").digest()

        def token(first: tuple[bytes, bytes], second: tuple[bytes, bytes], rest: bytes) -> bytes:
            parts = (b"trio_mp 1 hmac_sha256 tls", *first, *second, fingerprint, rest)
            data = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
            return hmac.new(key, data, "sha256").hexdigest().encode()

        self.write(b"hmac_sha256;%b;json;lost=" % token(ours, theirs, b"hmac_sha256;;json;lost="))
        method, proof, rest = self.read().split(b";", 2)
        assert hmac.compare_digest(proof, token(theirs, ours, b"%b;;%b" % (method, rest))), "an impostor"
        decides = name > theirs[0].split(b";")[2]  # the node with the greater ID says which connection is used
        self.write(b"link") if decides else None
        assert (answer := self.read()) == (b"ok" if decides else b"link"), answer
        self.write(b"ok") if not decides else None

    def write(self, line: bytes) -> None:
        self.file.write(line + b"\n")
        self.file.flush()

    def read(self) -> bytes:
        return self.file.readline().rstrip()

    def send(self, port: str, *message: object) -> None:
        self.write(json.dumps([port.partition("#")[2], *message]).encode())

    def spawn(self, node: str, function: str, *arguments: object) -> str:
        self.spawned += 1
        name = f"{self.mark}.{self.spawned}.{secrets.token_urlsafe(12)}"
        self.send(node, "spawn", name, function, *arguments)
        return f"{node}#{name}"

    def receive(self) -> list[object]:
        while (message := json.loads(self.read())) in ([], ["", ""], ["", "ping"]):
            self.write(b'["", "pong"]' if message == ["", "ping"] else b"[]")
        return message
