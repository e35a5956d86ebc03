//! `adopt`: the service beside an existing database.

mod init;
mod install;

use std::process::ExitCode;

use clap::Subcommand;

use init::{InitArgs, init};
use install::{install, print, remove};

use super::{actor, counted};
use crate::{
    access::audit,
    config::{Settings, sources::SourcesSettings},
    store::{
        self, SourceChange, StoreError,
        postgres::{
            accept_sources,
            check_sources::{self, Checked, FacilitiesChecked, ListChecked, Scan, TriggersChecked},
            plain::one_line,
        },
    },
};

/// The steps of standing beside an existing database.
#[derive(Debug, Subcommand)]
pub enum AdoptCommand {
    /// Look at a database, and write a first mapping with guesses and questions
    ///
    /// It reads the catalogue, and some values where the role may read them. It writes nothing
    /// there. Its output is a mapping already, with the reasons and the questions as comments.
    #[command(after_help = "Example:\n  facility-summary adopt init --output sources.toml")]
    Init(InitArgs),
    /// Say what the mapping reaches in the database; makes nothing there
    ///
    /// For each list: its rows, the facilities that they reach, what does not count and why, the
    /// texts that are no blood type, the figures of today and of the last seven days, and the
    /// tables that a refresh reads as a whole. Run it with the role that is to serve: it also says
    /// what that role may do beyond reading. Exit code 1 if a list does not fit the database.
    #[command(after_help = "Example:\n  facility-summary adopt check --sources sources.toml")]
    Check,
    /// Print what `adopt install` would run, for a database administrator to read and to run by
    /// psql; makes nothing
    #[command(after_help = "Example:\n  facility-summary adopt sql --sources sources.toml > \
                            install.sql\n  facility-summary adopt sql --remove > remove.sql")]
    Sql {
        /// What `adopt remove` would run
        #[arg(long, conflicts_with = "role")]
        remove: bool,
        /// The role that serves; by default the one that has the schema, or this one
        #[arg(long, value_name = "NAME")]
        role: Option<String>,
    },
    /// Make the schema, the rights of the role that serves, and triggers on the mapped tables
    ///
    /// The triggers note what other programs write, so that figures are right within a second.
    /// Needs the rights of the tables' owner. What is there already stays. It waits no longer than
    /// two seconds for a lock, and then makes nothing.
    #[command(after_help = "Example:\n  facility-summary adopt install --sources sources.toml \
                            --role facility_summary")]
    Install {
        /// The role that serves; by default the one that has the schema, or this one
        #[arg(long, value_name = "NAME")]
        role: Option<String>,
        /// Install though a publication publishes our tables: its subscribers have them already
        #[arg(long)]
        published: bool,
    },
    /// Take away all triggers, functions, rights and the schema of the service
    ///
    /// They are found in the server's catalogue, whatever was renamed. No service may run. Says
    /// what is left.
    #[command(after_help = "Example:\n  facility-summary adopt remove")]
    Remove,
    /// Accept that the owner has changed the mapped tables, where the mapping still fits them
    ///
    /// The service compares the tables with what they were when the mapping was first used, and
    /// says in /health/ready what is different, such as a new label of an enum. Run this once you
    /// have checked that the mapping still means what it should. It prints what was accepted.
    #[command(after_help = "Example:\n  facility-summary adopt accept --sources sources.toml")]
    Accept,
}

/// Carries out one of them.
///
/// # Errors
/// The database cannot be read or changed, or the mapping does not fit it.
pub async fn run(
    action: AdoptCommand,
    settings: &Settings,
) -> Result<ExitCode, Box<dyn std::error::Error + Send + Sync>> {
    Ok(match action {
        AdoptCommand::Init(args) => init(&args, settings).await?,
        AdoptCommand::Check => check(settings).await?,
        AdoptCommand::Accept => accept(settings).await?,
        AdoptCommand::Sql { remove, role } => print(settings, remove, role.as_deref()).await?,
        AdoptCommand::Install { role, published } => {
            install(settings, role.as_deref(), published).await?
        }
        AdoptCommand::Remove => remove(settings).await?,
    })
}

/// The mapping that a command is about.
fn sources(settings: &Settings) -> store::Result<&SourcesSettings> {
    settings.sources.as_ref().ok_or_else(|| {
        StoreError::Mapping(
            "there is no mapping: name its file with --sources, or put [sources] into the settings"
                .into(),
        )
    })
}

/// Carries out `adopt accept`.
///
/// # Errors
/// The mapping does not fit the tables, or no service was started with it yet.
async fn accept(settings: &Settings) -> store::Result<ExitCode> {
    let note = |changes: &[SourceChange]| {
        let texts: Vec<&str> = changes.iter().map(|change| &*change.text).collect();
        actor().note("mapping.accepted", "sources", serde_json::json!({"changes": texts}))
    };
    let accepted = accept_sources(&settings.database, sources(settings)?, note).await?;
    let changes = accepted.changes;
    if changes.is_empty() {
        println!("nothing has changed in the mapped tables");
    } else {
        audit::log(&note(&changes));
        changes.iter().for_each(|change| println!("accepted: {}", one_line(&change.text)));
    }
    accepted.notes.iter().for_each(|note| println!("to do: {}", one_line(note)));
    Ok(ExitCode::SUCCESS)
}

/// Carries out `adopt check`.
///
/// # Errors
/// The database cannot be read, or its facilities do not fit the mapping.
async fn check(settings: &Settings) -> store::Result<ExitCode> {
    let sources = sources(settings)?;
    let checked = check_sources::check(&settings.database, sources).await?;
    print!("{}", report(&checked));
    let fits = checked.lists.iter().all(|(_, list)| list.is_ok());
    Ok(if fits { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn report(checked: &Checked) -> String {
    let mut lines = vec![];
    let doubts = |name: &str, lines: &mut Vec<String>| {
        let of_list = checked.doubts.iter().filter(|(of, _)| of == name);
        lines.extend(of_list.map(|(_, words)| format!("  warning: {words}")));
    };
    if let Some(replayed) = checked.standby {
        let ago = replayed.map_or("before its start".into(), |seconds| format!("{seconds} s ago"));
        lines.push(format!(
            "this is a standby: its last transaction was committed {ago}, and all below is as of \
             then"
        ));
    }
    of_facilities(&checked.facilities, &mut lines);
    doubts("sources.facilities", &mut lines);
    lines.extend(checked.zones.iter().map(|words| format!("  {words}")));
    for (name, list) in &checked.lists {
        match list {
            Ok(list) => of_list(name, list, &mut lines),
            Err(why) => lines.push(format!("{name}: does not fit: {why}")),
        }
        doubts(name, &mut lines);
    }
    of_triggers(&checked.triggers, &mut lines);
    lines.extend(checked.spare_rights.iter().map(|words| format!("rights: {words}")));
    lines.extend(checked.publications.iter().map(|words| format!("before install: {words}")));
    for list in ["stock", "deliveries", "requests"] {
        let name = format!("sources.{list}[");
        if !checked.lists.iter().any(|(of, _)| of.starts_with(&name)) {
            lines.push(format!("sources.{list}: no list; the figure is null in every answer"));
        }
    }
    lines_of(&lines)
}

/// Lines that may have names and texts of the database.
fn lines_of(lines: &[String]) -> String {
    lines.iter().map(|line| one_line(line) + "\n").collect()
}

/// What is to be said of an unlogged table.
const UNLOGGED: &str = "is UNLOGGED: a crash of the server empties it, without a trigger; after \
                        each start of the server every figure is read anew";

/// What is to be said of MERGE into a table with partitions.
const MERGES: &str = "that may update counts for every facility: no trigger sees which rows it \
                      moves between partitions";

fn of_triggers(checked: &Result<TriggersChecked, String>, lines: &mut Vec<String>) {
    let of = match checked {
        Ok(of) => of,
        Err(why) => return lines.push(format!("triggers: {why}")),
    };
    lines.push(format!("triggers would watch {}", of.watched.join(", ")));
    for (table, why) in &of.of_everybody {
        lines.push(format!("  each change of {table} counts for every facility: {why}"));
    }
    lines.extend(of.of_merges.iter().map(|table| format!("  each MERGE into {table} {MERGES}")));
    lines.extend(of.unlogged.iter().map(|table| format!("  warning: {table} {UNLOGGED}")));
    for (list, name) in &of.unseen {
        lines.push(format!(
            "  {list} calls {name}: no trigger sees when its result changes; the next rebuild does"
        ));
    }
}

fn rows(number: i64) -> String {
    counted(number.unsigned_abs(), "row", "rows")
}

/// Says how many rows are so, if any are.
fn say(lines: &mut Vec<String>, number: i64, what: &str) {
    if number > 0 {
        lines.push(format!("  {} {what}", rows(number)));
    }
}

fn of_facilities(of: &FacilitiesChecked, lines: &mut Vec<String>) {
    let all = counted(of.all.unsigned_abs(), "facility", "facilities");
    lines.push(format!("sources.facilities: {all}"));
    say(lines, of.doubles, "with the key of another row: the least name and zone count");
    say(lines, of.without_name, "without a name: shown by the key");
    say(lines, of.without_zone, "without a zone: days of UTC");
    for (zone, number) in &of.unknown_zones {
        lines.push(format!("  {} with {zone:?}, which is no time zone", rows(*number)));
    }
}

fn of_list(name: &str, of: &ListChecked, lines: &mut Vec<String>) {
    let reached = counted(of.facilities.unsigned_abs(), "facility", "facilities");
    lines.push(format!("{name}: {} of {reached}", rows(of.rows)));
    say(lines, of.of_no_facility, "of no mapped facility: not counted");
    say(lines, of.without_time, "without a time: not counted");
    say(lines, of.ahead, "more than a day ahead");
    for (text, number) in &of.unknown_types {
        let text = text.as_deref().map_or("null".to_owned(), |text| format!("{text:?}"));
        lines.push(format!("  {} with the type {text}: counted as unknown", rows(*number)));
    }
    for (key, number) in &of.odd_rows {
        let key =
            key.as_deref().map_or("no facility".to_owned(), |key| format!("facility {key:?}"));
        lines.push(format!(
            "  {} of {key} with a quantity that is not a number, or beyond a billion: not counted",
            rows(*number)
        ));
    }
    let such_as = of.fraction.as_deref().unwrap_or_default();
    let what = format!(
        "with a fraction of a unit, such as {such_as}: figures are whole units; the rows of a \
         figure are added up, and the sum is rounded once, half a unit away from 0"
    );
    say(lines, of.fractions, &what);
    let week = if name.starts_with("sources.stock") {
        String::new()
    } else {
        format!(", last 7 days {}", of.week)
    };
    lines.push(format!("  today {}{week}", of.today));
    for Scan { table, rows: number, index, has_index } in &of.scans {
        lines.push(format!(
            "  a refresh of one facility reads all of {table} (about {})",
            rows(*number)
        ));
        lines.push(match index {
            Some(_) if *has_index => {
                "    it has an index for that, which the planner takes for no gain at this size"
                    .into()
            }
            Some(index) => format!("    an index would help: {index}"),
            None => "    an index on its columns of facility and time would help (CREATE INDEX \
                     CONCURRENTLY)"
                .into(),
        });
    }
}
