//! After the load, the service's own rebuild makes the summaries in this process, so that the
//! figures can be served at once.

use std::time::Instant;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::{GenerateError, plan::shown};
use crate::{
    config::Settings,
    jobs::rebuild::Extent,
    metrics::RefreshTrigger,
    startup::Core,
    store::{JobRun, StoreError},
    tools::actor,
};

/// Summarises every day of every facility in the database. Ctrl-C leaves whole chunks, and a later
/// rebuild makes the rest.
pub async fn run(settings: &Settings) -> Result<(), GenerateError> {
    let started = Instant::now();
    let core = Core::open(settings.clone()).await?;
    let bar = progress_bar();
    let rebuild = async {
        let watch = |run: &JobRun| {
            bar.set_length(run.total.unsigned_abs());
            bar.set_position(run.done.unsigned_abs());
            if run.done == run.total {
                // The bar is cleared first, because the last line of the log would begin behind it.
                bar.finish_and_clear();
            }
        };
        // The marks that the triggers left come first. Processing them makes the figures. Otherwise
        // the next server would have to process them before it can prove anything.
        let counter = ProgressBar::new_spinner().with_style(counter_style());
        let worked_off = core.drain().work_off(|marks| counter.inc(marks as u64)).await;
        counter.finish_and_clear();
        worked_off?;
        let changed = core
            .metrics
            .refreshes
            .with_label_values(&[RefreshTrigger::Event.as_str(), "changed"])
            .get();
        let run = core.rebuild.run_command(Extent::All, Some(&actor()), watch).await?;
        Ok::<_, StoreError>((run.done.unsigned_abs(), run.changed.unsigned_abs() + changed))
    };
    let result = tokio::select! {
        result = rebuild => result.map_err(|error| GenerateError::Summaries(error.to_string())),
        _ = tokio::signal::ctrl_c() => Err(GenerateError::Summaries("stopped".into())),
    };
    bar.finish_and_clear();
    core.store.close().await;
    let (done, changed) = result?;
    println!(
        "Summarised {} facilities in {}: {} facility-days changed.",
        HumanCount(done),
        shown(started.elapsed()),
        HumanCount(changed)
    );
    Ok(())
}

/// A bar on standard error, if that is a terminal.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{wide_bar} {percent}%  {human_pos}/{human_len} facilities summarised  {eta_precise} left",
    );
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn counter_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {human_pos} facility-days summarised")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}
