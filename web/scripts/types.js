// Writes src/generated.ts: the types of what the service sends, by its own documents. Takes the
// OpenAPI document from a file, or asks a running service for it:
//
//   node scripts/types.js openapi.json
//   node scripts/types.js http://127.0.0.1:8080/openapi.json
//
// With --check it writes nothing, and fails where the file is not current.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";

const TARGET = new URL("../src/generated.ts", import.meta.url);
const LIVE = new URL("../../docs/live.asyncapi.json", import.meta.url);
/** What the client uses; the rest is left out with what only it needs. */
const ROOTS = ["FromService", "FromClient", "Listing", "Summary", "Problem", "Me"];
const HEAD =
  "// Written by `npm run types` from /openapi.json and docs/live.asyncapi.json. Do not edit.\n\n";

async function load(from) {
  if (/^https?:/.test(from)) {
    const answer = await fetch(from);
    if (!answer.ok) throw new Error(`${from} answers ${answer.status}`);
    return answer.json();
  }
  return JSON.parse(await readFile(from, "utf8"));
}

/** The schemas that these lead to. */
function reachable(schemas, roots) {
  const found = {};
  const visit = (name) => {
    if (found[name]) return;
    if (!schemas[name]) throw new Error(`no document has a schema ${name}`);
    found[name] = schemas[name];
    for (const [, next] of JSON.stringify(schemas[name]).matchAll(/#\/components\/schemas\/(\w+)/g))
      visit(next);
  };
  roots.forEach(visit);
  return Object.fromEntries(Object.entries(found).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const args = process.argv.slice(2);
const isCheck = args.includes("--check");
const [from] = args.filter((arg) => arg !== "--check");
if (!from) {
  console.error("say which document: npm run types -- http://127.0.0.1:8080/openapi.json");
  process.exit(2);
}
const openapi = (await load(from)).components.schemas;
const live = JSON.parse(
  (await readFile(LIVE, "utf8")).replaceAll('"/openapi.json#', '"#'),
).components.schemas;
const twice = Object.keys(live).filter((name) => openapi[name]);
if (twice.length > 0) throw new Error(`both documents have a schema ${twice.join(", ")}`);
const schemas = reachable({ ...openapi, ...live }, ROOTS);
const document = {
  openapi: "3.1.0",
  info: { title: "facility-summary", version: "1" },
  paths: {},
  components: { schemas },
};
const text = HEAD + astToString(await openapiTS(document, { additionalProperties: false }));
if (!isCheck) {
  await writeFile(TARGET, text);
} else if (text !== (await readFile(TARGET, "utf8"))) {
  console.error("src/generated.ts is not current: npm run types -- with the service's document");
  process.exit(1);
}
