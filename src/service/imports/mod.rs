//! Imports of files: what each brought is noted in the transaction that brings it (`note`, `days`),
//! so that it can be compared and taken back (`take_back`). Not in here: files, and how their rows
//! become statements (`tools/import`).

mod days;
mod note;
mod rows;
mod take_back;

pub use days::{Recorded, Replaced, StockChange};
pub use note::{Known, Note};
pub use take_back::{TakeBack, TakenBack};
