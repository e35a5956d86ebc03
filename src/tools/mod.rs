//! The commands other than `serve`. Each works through the same store and service as the server.

pub mod adopt;
pub mod audit;
pub mod demo_events;
pub mod denials;
pub mod estimate;
pub mod generate;
pub mod import;
pub mod key;
pub mod token;
pub mod user;
pub mod watch;

use crate::access::audit::Actor;

/// Who runs a command, as far as the environment says.
pub fn actor() -> Actor {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let user = user.unwrap_or_else(|| "an unknown user".to_owned());
    Actor { id: format!("command:{user}"), address: None }
}

/// The number, with the words for one or for several, such as `1 row has` or `2 rows have`.
pub fn counted(number: u64, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}
