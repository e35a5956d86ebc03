//! The commands other than `serve`. Each works through the same store and service as the server.

pub mod adopt;
pub mod demo_events;
pub mod estimate;
pub mod generate;
pub mod import;
pub mod key;
pub mod token;

/// The number, with the words for one or for several, such as `1 row has` or `2 rows have`.
pub fn counted(number: u64, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}
