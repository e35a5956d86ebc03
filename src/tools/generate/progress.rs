//! The progress bar of a load, and how Ctrl-C stops the load.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressState, ProgressStyle};

/// The load was told to stop; its transaction must be rolled back.
#[derive(Debug, PartialEq, Eq)]
pub struct Stopped;

/// Counts rows, draws the bar, and tells the load when to stop.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
    stop: Arc<AtomicBool>,
}

impl Progress {
    /// A bar on standard error. It is drawn as soon as `expect` has set its length, and only on a
    /// terminal.
    pub fn shown() -> Self {
        let style = ProgressStyle::with_template(
            "{wide_bar} {percent}%  {human_pos}/{human_len} rows  {rate:>12}  memory {msg}  \
             {eta_precise} left",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            // When the bar cannot be written, nothing is shown.
            let _ = write!(to, "{}/s", HumanCount(state.per_sec() as u64));
        });
        Progress { bar: ProgressBar::no_length().with_style(style), stop: Arc::default() }
    }

    /// A progress that draws nothing.
    pub fn hidden() -> Self {
        Progress { bar: ProgressBar::hidden(), stop: Arc::default() }
    }

    /// Begins a load of that many rows.
    pub fn expect(&self, rows: u64) {
        self.bar.set_length(rows);
        self.bar.reset_eta();
    }

    /// Counts rows that were sent. Fails when the load must stop.
    pub fn advance(&self, rows: u64) -> Result<(), Stopped> {
        self.bar.inc(rows);
        if !self.bar.is_hidden() {
            self.bar.set_message(
                memory().map_or("?".into(), |memory| HumanBytes(memory.now).to_string()),
            );
        }
        if self.stop.load(Relaxed) { Err(Stopped) } else { Ok(()) }
    }

    /// Leaves out rows that are already in the database.
    pub fn skip(&self, rows: u64) {
        self.bar.set_length(self.bar.length().unwrap_or(0).saturating_sub(rows));
    }

    /// The number of rows that were sent so far.
    pub fn rows(&self) -> u64 {
        self.bar.position()
    }

    /// Stops the load: from now on, `advance` fails.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// From now on Ctrl-C stops the load, as long as the returned guard lives.
    pub fn stop_on_ctrl_c(&self) -> CtrlC {
        let progress = self.clone();
        CtrlC(tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                progress.stop();
            }
        }))
    }

    /// Ends the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Waits for Ctrl-C until it is dropped.
#[derive(Debug)]
pub struct CtrlC(tokio::task::JoinHandle<()>);

impl Drop for CtrlC {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Resident memory of this process, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct ResidentMemory {
    /// Bytes now.
    pub now: u64,
    /// The most bytes since the process started.
    pub peak: u64,
}

/// The memory of this process, as Linux shows it; `None` on other systems.
pub fn memory() -> Option<ResidentMemory> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Some(ResidentMemory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
}
