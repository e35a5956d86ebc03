export { LiveSummaries, connect, type Options, type Role, type Status } from "./client.js";
export type { Phase } from "./engine.js";
export type { FromClient, FromService, Summary, Totals } from "./messages.js";
export type { Stall } from "./store.js";
export type { TransportName } from "./transports/transport.js";
