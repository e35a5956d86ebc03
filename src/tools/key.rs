//! `key add`, `key list` and `key revoke`: API keys from the command line.

use std::{collections::BTreeSet, process::ExitCode, str::FromStr};

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{Failure, actor, counted, open, open_existing};
use crate::{
    access::{
        api_keys,
        key_ring::{self, KeyWish},
    },
    config::Settings,
    domain::{access::Role, summary::rfc3339},
    http::field_rules::parse_instant,
    startup::Core,
    store::{self, access::ApiKeyRow},
};

/// What to do with keys.
#[derive(Subcommand)]
pub enum KeyCommand {
    /// Make a key, and print it: it is not shown again
    #[command(after_help = "Examples:\n  facility-summary key add --role service --name \"lab \
                            system\"\n  facility-summary key add --role viewer --name wall \
                            --all-facilities\n  facility-summary key add --role viewer --name \
                            \"ward 3\" --facility 0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d \
                            --expires 90d")]
    Add(AddArgs),
    /// List the keys: id, name, role, facilities, who made it and when, last used, end
    #[command(after_help = "Example:\n  facility-summary key list")]
    List,
    /// End a key: within two seconds no server takes it any more
    #[command(after_help = "Example:\n  facility-summary key revoke 0a1b2c3d4e5f")]
    Revoke {
        /// The part of the key between its first two underscores, as `key list` shows it. Of a
        /// whole key this part is taken
        id: String,
    },
}

/// What a new key is to be.
#[derive(Args)]
pub struct AddArgs {
    /// viewer (reads figures), operator (also posts events and refreshes), service (posts events of
    /// every facility), metrics (scrapes /metrics), admin (everything)
    #[arg(long, value_parser = Role::from_str)]
    role: Role,
    /// What it is for
    #[arg(long)]
    name: String,
    /// A facility that a viewer or an operator may see; repeated for several
    #[arg(long = "facility", value_name = "ID", conflicts_with = "all_facilities")]
    facilities: Vec<Uuid>,
    /// A viewer or an operator may see all facilities, also those to come
    #[arg(long)]
    all_facilities: bool,
    /// A service that may also read figures
    #[arg(long)]
    may_read: bool,
    /// When it ends: after so many days, such as 90d, or an instant such as 2027-01-01T00:00:00Z
    /// [default: never]
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
}

/// Carries out a command. Returns its exit code.
///
/// # Errors
/// The database cannot be opened, or does not answer.
pub async fn run(command: KeyCommand, settings: Settings) -> Result<ExitCode, Failure> {
    if let KeyCommand::Add(args) = &command
        && !says_which_facilities(args)
    {
        return Ok(ExitCode::from(2));
    }
    let core = match command {
        KeyCommand::Add(_) => open(settings).await?,
        _ => match open_existing(settings, "keys").await? {
            Some(core) => core,
            None => return Ok(ExitCode::from(1)),
        },
    };
    let done = match command {
        KeyCommand::Add(args) => add(args, &core).await,
        KeyCommand::List => list(&core).await,
        KeyCommand::Revoke { id } => revoke(&id, &core).await,
    };
    core.store.close().await;
    Ok(done?)
}

/// Refuses a viewer or an operator of whom nothing says what it may see.
fn says_which_facilities(args: &AddArgs) -> bool {
    if args.role.is_of_facilities() && args.facilities.is_empty() && !args.all_facilities {
        eprintln!(
            "facility-summary: a {} sees the facilities that its key names: --facility ID, once \
             for each, or --all-facilities",
            args.role
        );
        return false;
    }
    true
}

async fn add(args: AddArgs, core: &Core) -> store::Result<ExitCode> {
    let now_ms = core.store.now_ms().await?;
    let expires_ms = match args.expires.as_deref().map(|text| (end(text, now_ms), text)) {
        None => None,
        Some((Some(at_ms), _)) => Some(at_ms),
        Some((None, text)) => {
            eprintln!(
                "facility-summary: --expires {text}: must be a number of days such as 90d, or an \
                 instant such as 2027-01-01T00:00:00Z, before the year 2200"
            );
            return Ok(ExitCode::from(2));
        }
    };
    let facilities: BTreeSet<Uuid> = args.facilities.into_iter().collect();
    let unknown: Vec<String> = facilities
        .iter()
        .filter(|id| core.directory.get(**id).is_none())
        .map(Uuid::to_string)
        .collect();
    let wish = KeyWish {
        name: args.name,
        role: args.role,
        facilities: (!facilities.is_empty()).then_some(facilities),
        may_read: args.may_read,
        expires_ms,
    };
    if let Some((field, detail)) = wish.fault(now_ms) {
        let option = match field {
            "facilities" => "--facility",
            "may_read" => "--may-read",
            "expires_at" => "--expires",
            _ => "--name",
        };
        eprintln!("facility-summary: {option} {detail}");
        return Ok(ExitCode::from(2));
    }
    let (row, key) = key_ring::add(&*core.store, wish, actor()).await?;
    if !unknown.is_empty() {
        eprintln!(
            "facility-summary: not registered yet, so there is nothing to see of them so far: {}",
            unknown.join(", ")
        );
    }
    eprintln!(
        "The key {} of {:?}, for the header `Authorization: Bearer …`. It is not shown again:",
        row.id, row.name
    );
    println!("{}", key.text);
    Ok(ExitCode::SUCCESS)
}

/// The instant that `--expires` names, in milliseconds since 1970.
pub(super) fn end(text: &str, now_ms: i64) -> Option<i64> {
    match text.strip_suffix('d') {
        Some(days) => {
            let days: u32 = days.parse().ok().filter(|days| (1..=36_500).contains(days))?;
            now_ms.checked_add(i64::from(days) * 86_400_000)
        }
        None => parse_instant(text),
    }
}

async fn list(core: &Core) -> store::Result<ExitCode> {
    let rows = core.store.api_keys().await?;
    let now_ms = core.store.now_ms().await?;
    for row in &rows {
        println!("{}", line(row, now_ms));
    }
    println!("{}.", counted(rows.len() as u64, "key", "keys"));
    Ok(ExitCode::SUCCESS)
}

fn line(row: &ApiKeyRow, now_ms: i64) -> String {
    let facilities = match &row.facilities {
        None => "all facilities".to_owned(),
        Some(ids) => ids.trim_matches(['[', ']']).replace('"', ""),
    };
    let state = match (row.revoked_ms, row.expires_ms) {
        (Some(at_ms), _) => {
            format!("revoked {} by {}", rfc3339(at_ms), row.revoked_by.as_deref().unwrap_or("?"))
        }
        (None, Some(at_ms)) if at_ms <= now_ms => format!("ended {}", rfc3339(at_ms)),
        (None, Some(at_ms)) => format!("until {}", rfc3339(at_ms)),
        (None, None) => "no end".to_owned(),
    };
    let used = row
        .used_ms
        .map_or_else(|| "not used yet".to_owned(), |at_ms| format!("last used {}", rfc3339(at_ms)));
    let reads = if row.may_read { ", reads too" } else { "" };
    format!(
        "{}  {:?}  {}{reads}  {facilities}  made {} by {}  {used}  {state}",
        row.id,
        row.name,
        row.role,
        rfc3339(row.created_ms),
        row.created_by
    )
}

async fn revoke(named: &str, core: &Core) -> store::Result<ExitCode> {
    // What has not the form of an id may be a secret: it is not shown.
    let Some(id) = api_keys::id_within(named) else {
        eprintln!(
            "facility-summary: this is not the id of a key, which has 12 small letters and digits; \
             see facility-summary key list"
        );
        return Ok(ExitCode::from(1));
    };
    if key_ring::revoke(&*core.store, id, actor()).await? {
        println!("The key {id} is revoked.");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "facility-summary: no key has the id {id}, or it was revoked before; see facility-summary \
         key list"
    );
    Ok(ExitCode::from(1))
}
