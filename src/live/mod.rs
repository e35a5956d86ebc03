//! Live clients: whoever follows facilities gets each change of them as memory takes it in, and
//! hears as of when it has everything. A client has a slot for each facility instead of a queue, so
//! one that reads slowly gets the newest state only, in bounded memory.
//!
//! `hub` hands what memory takes in to the shards, one for each HTTP worker; `inbox` is the way
//! between them. `shard` has the clients of its worker and what they follow (`cell`); `turn` and
//! `tick` are its work. `connection` is one client, `slots` what waits for it. `pushed`
//! and `wire` are the encodings, `loader` reads what is shown first, `replay` knows what a client
//! has missed that comes back, `feed` has the changes of all. `access` is who a client is, `view`
//! what changes when it may see other facilities; `viewers` is how many follow each facility.
//! `server` is all that the hub asks of the server around it, and `tiers` answers it by the reads
//! of all clients; in the simulation, the schedule does. How bytes get to clients is in
//! `src/http/live/`.

pub mod access;
pub mod cell;
pub mod connection;
pub mod feed;
pub mod follow;
pub mod hub;
pub mod inbox;
pub mod loader;
pub mod pushed;
pub mod replay;
pub mod server;
pub mod shard;
pub mod slots;
mod tick;
pub mod tiers;
pub mod totals;
mod turn;
mod view;
pub mod viewers;
pub mod wire;
