//! Live clients, with a WebSocket library and bare HTTP that are not the service's own.

mod client;
mod document;
mod events;
mod resume;
mod watch;
mod websocket;
mod who;
