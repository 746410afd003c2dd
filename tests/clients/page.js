// In the page: a plain EventSource whose events go to `report`, which the driver gives.
(() => {
  const source = new EventSource("/events");
  source.addEventListener("open", () => report({ open: true }));
  source.addEventListener("error", () => report({ error: source.readyState }));
  for (const type of ["message", "gap", "tick"]) {
    source.addEventListener(type, ({ data, lastEventId }) =>
      report({ type, data, id: lastEventId }),
    );
  }
})();
