//! Live clients, with a WebSocket library and bare HTTP that are not the service's own.

pub mod client;
mod days;
mod document;
mod dropped;
mod events;
mod keys;
mod limits;
mod nginx;
mod resume;
mod tls;
mod truth;
mod viewers;
mod views;
mod watch;
mod websocket;
mod who;
