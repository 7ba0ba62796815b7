"""What goes through a tunnel: large uploads, WebSockets, streams, many at once; and what does not reach the origin."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time

from tests.ipranges.namespaces import entered
from tests.tunnel.lab import CLIENT, EDGE, ORIGIN, SECOND, Lab

UPLOAD_MEGABYTES = 200


def connect(lab: Lab, host: str = CLIENT) -> socket.socket:
    """From the client to the edge's nginx."""
    with entered(lab.name(host)):
        return socket.create_connection((lab.address(EDGE), 80), timeout=15)


def test_a_large_upload_arrives_whole(lab: Lab) -> None:
    part, digest = bytes(range(256)) * 4096, hashlib.sha256()
    with connect(lab) as sent:
        length = UPLOAD_MEGABYTES << 20
        sent.sendall(f"POST /upload HTTP/1.1\r\nHost: app\r\nContent-Length: {length}\r\n\r\n".encode())
        for _ in range(UPLOAD_MEGABYTES):
            sent.sendall(part)
            digest.update(part)
        answer = sent.recv(65536)
        while digest.hexdigest().encode() not in answer:
            more = sent.recv(65536)
            assert more, answer
            answer += more
    assert answer.startswith(b"HTTP/1.1 200")
    assert f"{length} ".encode() in answer


def test_a_chunked_upload_arrives_whole(lab: Lab) -> None:
    with connect(lab) as sent:
        sent.sendall(b"POST /upload HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for _ in range(64):
            sent.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        sent.sendall(b"0\r\n\r\n")
        answer = b"".join(iter(lambda: sent.recv(65536), b""))
    assert hashlib.sha256(b"x" * 65536 * 64).hexdigest().encode() in answer


def test_websockets_pass_both_ways(lab: Lab) -> None:
    with connect(lab) as open_socket:
        open_socket.sendall(b"GET /ws HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert open_socket.recv(4096).startswith(b"HTTP/1.1 101")
        for number in range(50):
            open_socket.sendall(b"frame %d" % number)
            assert open_socket.recv(4096) == b"frame %d" % number


def test_events_arrive_when_they_are_sent(lab: Lab) -> None:
    late = []
    with connect(lab) as stream:
        stream.sendall(b"GET /events HTTP/1.1\r\nHost: app\r\n\r\n")
        while part := stream.recv(65536):
            late += [time.time() - float(sent) for sent in re.findall(rb"data: ([\d.]+)", part)]
            if len(late) == 10:
                break
    assert len(late) == 10
    assert max(late) < 0.19, "one event was held back until the next"


def test_stuck_requests_stop_nobody_else(lab: Lab) -> None:
    stuck = [connect(lab) for _ in range(40)]
    for each in stuck:
        each.sendall(b"GET /stuck HTTP/1.1\r\nHost: app\r\n\r\n")
    began = time.monotonic()
    assert [lab.get() for _ in range(10)] == ["app1"] * 10
    assert time.monotonic() - began < 5
    for each in stuck:
        each.close()


def test_two_hundred_at_once_are_all_answered(lab: Lab) -> None:
    answers: list[bytes] = []

    def ask() -> None:
        with connect(lab) as asked:
            asked.sendall(b"GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
            answers.append(b"".join(iter(lambda: asked.recv(4096), b""))[:12])

    threads = [threading.Thread(target=ask) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [b"HTTP/1.1 200"] * 200


def test_the_origin_has_no_open_port(lab: Lab) -> None:
    """Neither a listener outside of loopback, nor an answer of any kind from any neighbour."""
    listening = [line.split()[3] for line in lab.run(ORIGIN, "ss", "-Hltn").stdout.splitlines()]
    assert listening == ["127.0.0.1:8080"]
    assert lab.run(ORIGIN, "ss", "-Hlun").stdout == ""
    for host in (CLIENT, EDGE, SECOND):
        for port in (22, 80, 443, 7844, 8080):
            with entered(lab.name(host)), socket.socket() as probe:
                probe.settimeout(0.3)
                assert probe.connect_ex((lab.address(ORIGIN), port)) != 0
