//! The values that the parts of the protocol exchange: the messages of the change stream, a
//! position in it, the epoch of the database, and the watermark. This folder holds values only; it
//! imports only `domain`.

mod epoch;
mod message;
mod position;
mod watermark;

pub use epoch::Epoch;
pub use message::{Message, StoredEntry};
pub use position::Position;
pub use watermark::Watermark;
