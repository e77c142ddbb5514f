"""What the postamt command says to a daemon's control socket, for verbs that the command does not have.

    control.ask(run + "/queued.sock", {"verb": "queue clock", "seconds": 3600}) -> list of the answer's objects

One message a packet (common/ipc.c): version and type as u16, then each field as u32 length and octets. The numbers of the
types are read from common/ipc.h. An answer that is an error raises ControlError.
"""
import json
import os
import re
import socket
import struct

import instance

SECONDS = 60


class ControlError(Exception):
    pass


def protocol():
    with open(os.path.join(instance.TOP, "common/ipc.h")) as f:
        text = f.read()
    table = text[text.index("#define IPC_TABLE(X)"):text.index("enum ipc_type {")]
    version = int(re.search(r"#define IPC_VERSION (\d+)", text).group(1))
    return version, {name: i for i, name in enumerate(re.findall(r"\bX\(([A-Z_]+),", table))}


def ask(path, request):
    version, types = protocol()
    text = json.dumps(request).encode()
    items = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(SECONDS)
        s.connect(path)
        s.send(struct.pack("=HHI", version, types["ADMIN_REQUEST"], len(text)) + text)
        while True:
            got = s.recv(1 << 16)
            if not got:
                raise ControlError(f"{path} closed the connection instead of an answer to {request}")
            _, kind, n = struct.unpack("=HHI", got[:8])
            answer = json.loads(got[8:8 + n])
            if kind == types["ADMIN_END"]:
                if "error" in answer:
                    raise ControlError(f"{request}: {answer['error']}")
                return items
            items.append(answer)
