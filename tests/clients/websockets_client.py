"""The Python package `websockets`. Prints and reads what `sockets.cjs` does."""

import json
import os
import re
import sys
import threading
import time
from importlib.metadata import version

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def report(**what):
    print(json.dumps(what), flush=True)


class Speaker:
    def __init__(self, url):
        self.url = url
        self.socket = None
        self.is_over = False

    def run(self):
        last = ""
        while not self.is_over:
            url = f"{self.url}?lastEventId={last}" if last else self.url
            # An event may be larger than the 1 MiB that it takes by default.
            self.socket = connect(url, proxy=None, max_size=None)
            try:
                while True:
                    message = json.loads(self.socket.recv())
                    last = message.get("id", last)
                    report(on="ws", **message)
            except ConnectionClosed as closed:
                code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
                clean = closed.rcvd is not None and closed.sent is not None
                report(on="ws", closed=code, reason=reason, clean=clean)
                told = re.fullmatch(r"retry: (\d+)", reason)
                time.sleep(int(told[1]) / 1000 if told else 0.1)


report(client="websockets", version=version("websockets"))
speaker = Speaker(sys.argv[1])
threading.Thread(target=speaker.run, daemon=True).start()
for line in sys.stdin:
    command = json.loads(line)
    if "say" in command:
        speaker.socket.send(command["say"])
    if command.get("close"):
        speaker.is_over = True
        speaker.socket.close(1000, "bye")
os._exit(0)
