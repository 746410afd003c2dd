// better-sse on Node.js: one channel, to which every stream is registered.
//
// node better_sse.mjs ADDR, from where better-sse is installed

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.cwd(), "package.json"));
const { createChannel, createSession } = require("better-sse");

const channel = createChannel();

const server = createServer(async (request, response) => {
  if (request.method === "GET" && request.url === "/events") {
    channel.register(await createSession(request, response, { keepAlive: 15000 }));
  } else if (request.method === "POST" && request.url === "/pub") {
    const parts = [];
    for await (const part of request) parts.push(part);
    channel.broadcast(JSON.parse(Buffer.concat(parts)));
    response.writeHead(204).end();
  } else {
    response.writeHead(404).end();
  }
});

const [host, port] = process.argv[2].split(":");
server.listen({ host, port: Number(port), backlog: 4096 });
