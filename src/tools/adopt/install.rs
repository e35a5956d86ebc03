//! `adopt sql`, `adopt install` and `adopt remove`: what the service makes beside an existing
//! database.

use std::process::ExitCode;

use super::{MERGES, UNLOGGED, lines_of, sources};
use crate::{
    access::audit,
    config::Settings,
    store::{
        self,
        postgres::{
            install::{self as making, Installed},
            remove::{self as removing, Removed},
        },
    },
    tools::actor,
};

/// Carries out `adopt sql`.
///
/// # Errors
/// The database cannot be read, or triggers cannot watch what is mapped.
pub async fn print(
    settings: &Settings,
    remove: bool,
    role: Option<&str>,
) -> store::Result<ExitCode> {
    let script = match remove {
        true => removing::print(&settings.database).await?,
        false => making::print(&settings.database, sources(settings)?, role).await?,
    };
    print!("{script}");
    Ok(ExitCode::SUCCESS)
}

/// Carries out `adopt install`.
///
/// # Errors
/// Triggers cannot watch what is mapped, a right is missing, or a table is locked.
pub async fn install(
    settings: &Settings,
    role: Option<&str>,
    published: bool,
) -> store::Result<ExitCode> {
    let sources = sources(settings)?;
    let installed = making::install(&settings.database, sources, role, published).await?;
    // The table of the audit log is not for the role that installs: only the log says who did it.
    let detail = serde_json::json!({"made": installed.made});
    audit::log(&actor().note("adopt.installed", &installed.schema, detail));
    print!("{}", of_installed(&installed));
    Ok(ExitCode::SUCCESS)
}

/// Carries out `adopt remove`.
///
/// # Errors
/// A service runs, a right is missing, or a table is locked.
pub async fn remove(settings: &Settings) -> store::Result<ExitCode> {
    let removed = removing::remove(&settings.database).await?;
    // The table of the audit log is gone: only the log says who did it.
    let detail = serde_json::json!({"removed": removed.removed});
    audit::log(&actor().note("adopt.removed", "everything of this service", detail));
    print!("{}", of_removed(&removed));
    Ok(ExitCode::SUCCESS)
}

fn of_installed(installed: &Installed) -> String {
    let Installed { made, watched, of_everybody, of_merges, unlogged, notes, schema, role } =
        installed;
    let mut lines: Vec<String> = match made.is_empty() {
        true => vec!["Everything is there already; nothing was made.".into()],
        false => made.iter().map(|step| format!("made: {step}")).collect(),
    };
    lines.push(format!("Watched: {}.", watched.join(", ")));
    for (table, why) in of_everybody {
        lines.push(format!("Each change of {table} counts for every facility: {why}."));
    }
    lines.extend(of_merges.iter().map(|table| format!("Each MERGE into {table} {MERGES}.")));
    lines.extend(unlogged.iter().map(|table| format!("Warning: {table} {UNLOGGED}.")));
    lines.extend(notes.iter().map(|words| format!("Note: {words}.")));
    lines.push(format!("The role {role} serves, with the schema {schema}."));
    lines_of(&lines)
}

fn of_removed(removed: &Removed) -> String {
    let Removed { removed, left } = removed;
    let mut lines: Vec<String> = match removed.is_empty() {
        true => vec!["There was nothing of this service.".into()],
        false => removed.iter().map(|step| format!("removed: {step}")).collect(),
    };
    lines.extend(left.iter().map(|left| format!("left: {left}")));
    lines_of(&lines)
}
