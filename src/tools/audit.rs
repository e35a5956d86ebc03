//! `facility-summary audit`.

use std::process::ExitCode;

use super::{Failure, counted};
use crate::{
    config::{Settings, sources::SourcesSettings},
    domain::summary::KnownFigures,
    jobs::{owners_check, rebuild::Extent},
    startup::Core,
    store::{Difference, postgres::plain},
};

/// Compares all stored rows with their sources, and with the owner's own queries, and prints what
/// differs. Exit code 1 where something does that nothing explains.
///
/// # Errors
/// The database does not answer.
pub async fn audit(settings: Settings) -> Result<ExitCode, Failure> {
    let (of_row, of_all) = match settings.sources {
        None => ("a mark or an expiry is waiting", "as a mark or an expiry explains"),
        Some(_) => ("written since the last refresh", "perhaps written since the last refresh"),
    };
    let has_checks = settings.sources.as_ref().is_some_and(|sources| !sources.check.is_empty());
    let known = settings.sources.as_ref().map_or(KnownFigures::ALL, SourcesSettings::known);
    let core = Core::open(settings).await?;
    let audited = core.rebuild.differences(Extent::All).await?;
    let differences = audited.differences;
    for d in &differences {
        let [stock, transferred, requests] = figures(d.derived, known);
        let stored =
            d.stored.map_or_else(|| "no row".to_owned(), |of| figures(of, known).join(", "));
        println!(
            "{} {}: stored {stored}; sources say {stock}, {transferred}, {requests} (stock, \
             transferred, requests){}{}",
            d.facility_id,
            d.date,
            what_else_differs(d),
            if d.explained { format!("; explained: {of_row}") } else { String::new() }
        );
    }
    for (key, error) in &audited.failing {
        let named = key.facility.key.as_ref().map_or(String::new(), |key| format!(" (key {key})"));
        println!(
            "{}{named} {}: its rows cannot be counted, so its figures stay as they are: {}",
            key.facility.id,
            key.day.date,
            plain::one_line(&core.store.failing_words(key, error).await)
        );
    }
    let failing = match audited.failing.len() {
        0 => String::new(),
        1 => ", 1 day cannot be counted".to_owned(),
        many => format!(", {many} days cannot be counted"),
    };
    let differ = |count: usize| {
        if count == 1 { "1 row differs".to_owned() } else { format!("{count} rows differ") }
    };
    let explained = differences.iter().filter(|d| d.explained).count();
    let found = differences.len() - explained;
    let waiting = if explained == 0 {
        String::new()
    } else {
        format!(" Besides, {}, {of_all}.", differ(explained))
    };
    println!(
        "{} audited, {}{failing}.{waiting}",
        counted(core.directory.by_name().len() as u64, "facility", "facilities"),
        differ(found)
    );
    let is_right = if has_checks { owners_check(&core).await? } else { true };
    core.store.close().await;
    let is_right = is_right && audited.failing.is_empty();
    Ok(if found == 0 && is_right { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// What differs where the totals are the same.
fn what_else_differs(d: &Difference) -> &'static str {
    match (d.stored == Some(d.derived), d.figures_differ) {
        (false, _) => "",
        (true, true) => "; the figures by blood type differ",
        (true, false) => "; the bounds of the day, or its next expiry, differ",
    }
}

/// Stock, deliveries and requests, as `audit` prints them.
fn figures([stock, transferred, requests]: [Option<i64>; 3], known: KnownFigures) -> [String; 3] {
    let all = [(stock, known.stock), (transferred, known.transferred), (requests, known.requests)];
    all.map(|figure| match figure {
        (_, false) => "no list".to_owned(),
        (None, true) => "none".to_owned(),
        (Some(number), true) => number.to_string(),
    })
}

/// Compares with the owner's own queries, and prints what differs. Returns whether nothing does.
async fn owners_check(core: &Core) -> Result<bool, Failure> {
    let report = owners_check::check(&*core.store, &core.directory).await?;
    for difference in &report.differences {
        println!("{difference}");
    }
    println!(
        "{} compared with the queries of [[sources.check]], {} differ.",
        counted(report.compared as u64, "figure", "figures"),
        report.differences.len()
    );
    report.failed.iter().for_each(|failure| println!("{}", plain::one_line(failure)));
    Ok(report.differences.is_empty() && report.failed.is_empty())
}
