// In a blank page, for its driver to call: an EventSource as one of several connections,
// told of as `page.js` does and with the name of the connection.
function follow(on, url, options) {
  const source = new EventSource(url, options);
  source.addEventListener("open", () => report({ on, open: true }));
  source.addEventListener("error", () => report({ on, error: source.readyState }));
  for (const event of ["message", "gap", "tick"]) {
    source.addEventListener(event, ({ data, lastEventId }) =>
      report({ on, id: lastEventId, event, data }),
    );
  }
}
