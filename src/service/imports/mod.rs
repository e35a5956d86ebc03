//! Imports of files. What an import brings is noted in the transaction that writes it (`note`,
//! `days`), so that the import can be compared and undone (`take_back`). Files, and how their rows
//! become events, are in `tools/import`.

mod days;
mod note;
mod rows;
mod undo;

pub use days::{Recorded, StockChange};
pub use note::{ImportPart, RecordChanges};
pub use undo::{Undo, UndoCounts};
