"""The Python package `httpx-sse`. Prints what `follow.cjs` says, ends with its input.

httpx-sse leaves the reconnecting to its user; this is the loop of its documentation
("Handling reconnections"), written out: the last id goes back as Last-Event-ID, and the
`retry` of the server is waited for.

A block without data is no event (WHATWG HTML, 9.2.6), but httpx-sse yields one, with
empty data: for the block that tells the id and the reconnection time at the beginning,
for the farewell, and, once there was an id, for each comment. An event with empty data
looks the same, except that it has a new id and, here, never a `retry`. A server that
sets ids without data or `retry` could not be told apart from one that sends empty data.

One more departure from that loop: an empty `sse.id` does not replace the last id. httpx-sse
forgets the id with each connection, so a block with only a `retry` would wipe it out.
"""

import json
import os
import sys
import threading
import time
from importlib.metadata import version

import httpx
from httpx_sse import connect_sse


def report(**what):
    print(json.dumps(what), flush=True)


def main(url):
    report(client="httpx-sse", version=f"{version('httpx-sse')} on httpx {httpx.__version__}")

    last_event_id = ""
    reconnection_delay = 3.0
    # A stream may be quiet for longer than the 5 s that httpx waits by default.
    client = httpx.Client(timeout=httpx.Timeout(5, read=None))
    while True:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        try:
            with connect_sse(client, "GET", url, headers=headers) as source:
                if source.response.status_code == 204:
                    # WHATWG HTML, 9.2.3: do not come back. httpx-sse leaves that to us.
                    report(error=2)
                    return
                source.response.raise_for_status()
                report(open=True)
                for sse in source.iter_sse():
                    has_data = sse.data or (sse.id != last_event_id and sse.retry is None)
                    last_event_id = sse.id or last_event_id
                    if sse.retry is not None:
                        reconnection_delay = sse.retry / 1000
                    if has_data:
                        report(type=sse.event, data=sse.data, id=sse.id)
        except httpx.TransportError as error:
            print(f"httpx: {error!r}", file=sys.stderr)
        report(error=0)
        time.sleep(reconnection_delay)


threading.Thread(target=main, args=sys.argv[1:], daemon=True).start()
sys.stdin.read()
os._exit(0)
