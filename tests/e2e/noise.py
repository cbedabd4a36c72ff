# SPDX-License-Identifier: Apache-2.0
"""A wire that is not clean: passes bytes on, and does harm to them where it is told to.

  noise.py LISTEN-HOST:PORT TARGET-HOST:PORT     reads lines from stdin: flip|double|drop|cut to|from"""
import selectors
import socket
import sys
import threading


class Proxy:
    """Passes bytes between who connects here and a port, until it is told to hurt: then once, in one direction, a byte is flipped, a
    piece doubled or left out, or the connection cut within one."""

    def __init__(self, listen, target):
        self.target = target
        self.server = socket.create_server(listen)
        self.address = self.server.getsockname()
        self.connections = self.hurts = 0
        self.wanted = None
        self.open = True
        threading.Thread(target=self.accept, daemon=True).start()

    def hurt(self, how, to_target):
        self.wanted = (how, to_target)

    def accept(self):
        while self.open:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            server = socket.create_connection(self.target, 5)
        except OSError:
            client.close()
            return
        other = {client: server, server: client}
        with selectors.DefaultSelector() as selector:
            for s in other:
                selector.register(s, selectors.EVENT_READ)
            try:
                while self.open:
                    for key, _ in selector.select(0.2):
                        data = key.fileobj.recv(1 << 16)
                        if not data:
                            return
                        other[key.fileobj].sendall(self.damage(data, key.fileobj is client))
            except OSError:
                pass
            finally:
                client.close()
                server.close()

    def damage(self, data, to_target):
        if not self.wanted or self.wanted[1] != to_target or len(data) < 8:
            return data
        how, self.wanted = self.wanted[0], None
        self.hurts += 1
        at = len(data) // 2
        if how == "cut":
            raise ConnectionResetError
        return {"flip": data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1:], "double": data + data[at:], "drop": data[:at]}[how]

    def close(self):
        self.open = False
        self.server.close()


def main():
    listen, target = ((host, int(port)) for host, port in (word.rsplit(":", 1) for word in sys.argv[1:3]))
    proxy = Proxy(listen, target)
    for line in sys.stdin:
        how, way = line.split()
        proxy.hurt(how, way == "to")
    proxy.close()


if __name__ == "__main__":
    main()
