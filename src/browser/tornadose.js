export function SharedEventSource(url, { withCredentials, json } = {}) {
	[url] = new Request(url).url.split("#");
	const credentials = withCredentials ? "include" : "same-origin";
	const name = "tornadose1" + credentials + url;
	const es = Object.assign(new EventTarget(), { readyState: 0, close });
	let at = "", retry = 3e3, life, tabs, leads, head, own;

	function start() {
		if (tabs) return;
		life = new AbortController();
		tabs = new BroadcastChannel(name);
		tabs.onmessage = hear;
		tabs.postMessage(0);
		navigator.locks?.request(name, life, () => new Promise(lead)).catch(() => {});
		read();
	}
	function stop() {
		life.abort();
		own?.abort();
		tabs?.close();
		leads = head = own = tabs = null;
	}
	function close() {
		es.readyState = 2;
		stop();
		on(removeEventListener);
	}
	function lead(end) {
		life.signal.onabort = end;
		leads = 1;
		head = "";
		tell();
		if (!own || own.signal.aborted) read();
	}

	function hear({ data: news }) {
		if (leads) return news || tell();
		head = news.state === 1 && news.id;
		if (own) meet();
		else if (news.from === at) take(news);
		else if (news.id && news.id !== at) read();
	}
	function tell(news, state = es.readyState) {
		news = { id: at, ...news, from: at, state };
		if (leads) tabs.postMessage(news);
		take(news);
		meet();
	}
	function take({ id, event, data, state }) {
		if (state > es.readyState) event ||= "open";
		at = id;
		es.readyState = state;
		if (json || event === "gap") try { data = JSON.parse(data); } catch {}
		if (event) es.dispatchEvent(new MessageEvent(event, { data, lastEventId: id }));
		if (state > 1) close();
	}
	function meet() {
		if (!head || head !== at) return;
		own.abort();
		own = null;
		take({ id: at, state: 1 });
	}

	async function read(wait = 0) {
		const mine = own = new AbortController();
		let code = 0, rest = "", text;
		try {
			const reply = await fetch(url.replace(/\?|$/, `?lastEventId=${at}&`), {
				credentials, signal: mine.signal,
			});
			code = reply.status;
			if (/event-stream/.test(reply.headers.get("content-type"))) {
				wait = 0;
				tell({}, 1);
				const input = reply.body.pipeThrough(new TextDecoderStream()).getReader();
				while ((text = (await input.read()).value)) {
					const all = (rest + text).split("\n\n");
					rest = all.pop();
					for (const block of all) if (own === mine) parse(block);
				}
			}
		} catch {}
		if (own !== mine) return;
		mine.abort();
		tell({ event: "error", data: code }, code === 204 ? 2 : 0);
		wait = Math.max(retry, Math.min(wait * 2, 6e4));
		setTimeout(() => own === mine && read(wait), wait * (1 + Math.random()));
	}
	function parse(block) {
		const [fields, ...data] = `\n${block}`.split("\ndata: ");
		const news = Object.fromEntries(fields.split("\n").map((l) => l.split(/: (.*)/s)));
		retry = +news.retry || retry;
		tell({ event: data.length && "message", ...news, data: data.join("\n") });
	}

	function on(act) {
		act("freeze", stop, 1);
		act("pagehide", stop);
		act("resume", start, 1);
		act("pageshow", start);
	}
	on(addEventListener);
	start();
	return es;
}
