// A real nginx in front of the service, as docs/live.md configures it; it serves the pages of the
// tests, too, and cuts what is silent for three seconds.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./service.js";

const PATH = "/usr/sbin:/usr/local/sbin:/usr/bin:/bin";

async function freePort() {
  const server = createServer();
  await new Promise((fulfil) => server.listen(0, "127.0.0.1", fulfil));
  const { port } = server.address();
  await new Promise((fulfil) => server.close(fulfil));
  return port;
}

const listens = (port) => new Promise((fulfil) => {
  const socket = connect(port, "127.0.0.1");
  socket.on("connect", () => { socket.destroy(); fulfil(true); });
  socket.on("error", () => fulfil(false));
});

export class Nginx {
  #folder = mkdtempSync(join(tmpdir(), "facility-summary-nginx-"));
  #child;
  base;

  static async before(address, pages) {
    const nginx = new Nginx();
    const port = await freePort();
    const file = join(nginx.#folder, "nginx.conf");
    writeFileSync(file, nginx.#configuration(address, port, pages));
    const words = ["--pdeathsig", "KILL", "--", "nginx", "-p", nginx.#folder, "-c", file,
      "-e", "stderr", "-g", "daemon off; master_process off;"];
    nginx.#child = spawn("setpriv", words, { env: { PATH }, stdio: ["ignore", "inherit", "inherit"] });
    nginx.base = `http://127.0.0.1:${port}`;
    await until("nginx listens", () => listens(port));
    return nginx;
  }

  #configuration(address, port, pages) {
    const folder = this.#folder;
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((kind) => `${kind}_temp_path ${folder}/${kind};`);
    const served = Object.entries(pages).map(([path, { file, type }]) =>
      `location = ${path} { alias ${file}; types {} default_type ${type}; }`);
    return `
      pid ${folder}/pid;
      events { worker_connections 256; }
      http {
        access_log off;
        ${temporary.join("\n")}
        map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
        server {
          listen 127.0.0.1:${port};
          ${served.join("\n")}
          location / {
            proxy_pass http://${address};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 3s;
          }
        }
      }`;
  }

  async end() {
    const { exitCode, signalCode } = this.#child;
    if (exitCode === null && signalCode === null) {
      const gone = new Promise((fulfil) => this.#child.once("exit", fulfil));
      this.#child.kill("SIGKILL");
      await gone;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
