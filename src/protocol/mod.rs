//! The values that the parts of the protocol exchange: what is said in the change stream, where one is in it, which epoch the database is
//! at, and as of when everything is exact. They do nothing by themselves.

mod epoch;
mod message;
mod position;
mod watermark;

pub use epoch::Epoch;
pub use message::{Message, StoredEntry};
pub use position::Position;
pub use watermark::Watermark;
