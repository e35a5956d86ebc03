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

use crate::{
    access::audit::Actor,
    config::{Settings, redacted},
    startup::Core,
    store,
};

/// Why a command failed.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Opens the database of a command, and names it on standard error.
async fn open(settings: Settings) -> Result<Core, Failure> {
    let place = redacted(&settings.database.url);
    let core = Core::open(settings).await?;
    eprintln!("Database: {place}");
    Ok(core)
}

/// The same, for a command that would find nothing in a new database: none is made. `None`, with
/// words on standard error, where there are no tables of this service. In another folder the same
/// URL is another file.
async fn open_existing(settings: Settings, what: &str) -> Result<Option<Core>, Failure> {
    if store::has_tables(&settings.database).await? {
        return open(settings).await.map(Some);
    }
    let place = redacted(&settings.database.url);
    eprintln!(
        "facility-summary: there are no tables of this service in the database {place}, so there \
         are no {what}; setting database.url (DATABASE_URL) names the database of the service, and \
         the path of an SQLite file begins in the folder of this command"
    );
    Ok(None)
}

/// Who runs a command, as the system says.
pub fn actor() -> Actor {
    let uid = rustix::process::getuid();
    let user = user_name(uid.as_raw()).unwrap_or_else(|| format!("uid {}", uid.as_raw()));
    // Only sudo, or whoever is the superuser already, says it to a process of the superuser.
    let by = std::env::var("SUDO_USER").ok().filter(|by| uid.is_root() && !by.is_empty());
    let by = by.map_or_else(String::new, |by| format!(" (sudo by {by})"));
    Actor { id: format!("command:{user}{by}"), address: None }
}

/// The name of this user in /etc/passwd. The variable USER names whomever its owner likes.
fn user_name(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The number, with the words for one or for several, such as `1 row has` or `2 rows have`.
pub fn counted(number: u64, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}
