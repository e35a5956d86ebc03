// A proxy in front of the service, such as a site has one: it serves the pages of the tests, hands
// on all else, and can refuse a way, hold it up, or cut what is open.
import { createReadStream } from "node:fs";
import { Agent, createServer, request } from "node:http";
import { connect } from "node:net";

const AGENT = new Agent({ keepAlive: true });

export class Proxy {
  #server;
  #sockets = new Set();
  /** Where the service is; tests change it when they start it again. */
  upstream;
  /** Paths that are refused, with the status. */
  refused = new Map();
  /** What was asked for, by path. */
  asked = [];

  constructor(upstream, pages = {}) {
    this.upstream = upstream;
    this.#server = createServer((ask, answer) => this.#hand(ask, answer, pages));
    this.#server.on("upgrade", (ask, socket, head) => this.#upgrade(ask, socket, head));
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  async start() {
    await new Promise((fulfil) => this.#server.listen(0, "127.0.0.1", fulfil));
    return this;
  }

  get base() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** Cuts all that is open. */
  cut() {
    this.#sockets.forEach((socket) => socket.destroy());
  }

  async end() {
    this.cut();
    await new Promise((fulfil) => this.#server.close(fulfil));
  }

  #refusal(path) {
    this.asked.push(path);
    const key = [...this.refused.keys()].find((start) => path.startsWith(start));
    return key === undefined ? null : this.refused.get(key);
  }

  #hand(ask, answer, pages) {
    const [path] = ask.url.split("?");
    if (pages[path]) {
      const { file, text, type } = pages[path];
      answer.writeHead(200, { "Content-Type": type, "Cache-Control": "no-store" });
      return file ? createReadStream(file).pipe(answer) : answer.end(text);
    }
    const status = this.#refusal(ask.url);
    if (status) return answer.writeHead(status).end();
    const [host, port] = this.upstream.split(":");
    const { method, url, headers } = ask;
    const handed = request({ host, port, method, path: url, headers, agent: AGENT }, (got) => {
      answer.writeHead(got.statusCode, got.headers);
      got.pipe(answer);
      got.on("error", () => answer.destroy());
    });
    handed.on("error", () => {
      if (answer.headersSent) answer.destroy();
      else answer.writeHead(502).end();
    });
    answer.on("close", () => handed.destroy());
    ask.pipe(handed);
  }

  #upgrade(ask, socket, head) {
    const status = this.#refusal(ask.url);
    if (status) return socket.end(`HTTP/1.1 ${status} No\r\nConnection: close\r\n\r\n`);
    const [host, port] = this.upstream.split(":");
    const up = connect(Number(port), host, () => {
      const lines = [`${ask.method} ${ask.url} HTTP/1.1`];
      for (let at = 0; at < ask.rawHeaders.length; at += 2)
        lines.push(`${ask.rawHeaders[at]}: ${ask.rawHeaders[at + 1]}`);
      up.write(`${lines.join("\r\n")}\r\n\r\n`);
      up.write(head);
      up.pipe(socket).pipe(up);
    });
    up.on("error", () => socket.destroy());
    up.on("close", () => socket.destroy());
    socket.on("close", () => up.destroy());
  }
}
