// A WebSocket that comes back with the last id, as a page would have it. Tells of
// everything that happens on it:
//
//   {on, "id"?, "prev"?, "event", "data"?}     a message, as it came
//   {on, "closed": code, "reason", "clean"}    it is closed; comes back unless we did it
//   {on, "failed": readyState}                 `onerror`
function speak(WebSocket, report, on, url) {
  let socket;
  let last = "";
  let isOver = false;
  const connect = () => {
    socket = new WebSocket(last === "" ? url : `${url}?lastEventId=${last}`);
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      last = message.id ?? last;
      report({ on, ...message });
    };
    socket.onerror = () => report({ on, failed: socket.readyState });
    socket.onclose = ({ code, reason, wasClean }) => {
      report({ on, closed: code, reason, clean: wasClean });
      const told = /^retry: (\d+)$/.exec(reason);
      if (!isOver) setTimeout(connect, told ? Number(told[1]) : 100);
    };
  };
  connect();
  return {
    say: (text) => socket.send(text),
    close: () => {
      isOver = true;
      socket.close(1000, "bye");
    },
  };
}

if (typeof module === "object") module.exports = { speak };
