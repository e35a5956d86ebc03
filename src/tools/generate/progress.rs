//! What a person at the terminal sees while rows go in, and how Ctrl-C reaches the load.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressState, ProgressStyle};

/// The load was asked to stop; its transaction is to be undone.
#[derive(Debug, PartialEq, Eq)]
pub struct Stopped;

/// Counts rows, draws the bar, and says when to stop.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
    stop: Arc<AtomicBool>,
}

impl Progress {
    /// A bar on standard error, drawn once `expect` has said how long it is; where that is no
    /// terminal, nothing is drawn.
    pub fn shown() -> Self {
        let style = ProgressStyle::with_template(
            "{wide_bar} {percent}%  {human_pos}/{human_len} rows  {rate:>12}  memory {msg}  \
             {eta_precise} left",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            // A bar that cannot be written is none.
            let _ = write!(to, "{}/s", HumanCount(state.per_sec() as u64));
        });
        Progress { bar: ProgressBar::no_length().with_style(style), stop: Arc::default() }
    }

    /// Draws nothing.
    pub fn hidden() -> Self {
        Progress { bar: ProgressBar::hidden(), stop: Arc::default() }
    }

    /// The load begins, of so many rows.
    pub fn expect(&self, rows: u64) {
        self.bar.set_length(rows);
        self.bar.reset_eta();
    }

    /// These rows were handed over.
    pub fn advance(&self, rows: u64) -> Result<(), Stopped> {
        self.bar.inc(rows);
        if !self.bar.is_hidden() {
            self.bar.set_message(
                memory().map_or("?".into(), |memory| HumanBytes(memory.now).to_string()),
            );
        }
        if self.stop.load(Relaxed) { Err(Stopped) } else { Ok(()) }
    }

    /// These rows will not be made: they are there.
    pub fn skip(&self, rows: u64) {
        self.bar.set_length(self.bar.length().unwrap_or(0).saturating_sub(rows));
    }

    /// The rows handed over so far.
    pub fn rows(&self) -> u64 {
        self.bar.position()
    }

    /// From now on `advance` says so.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Ctrl-C stops the load from now on; a task that ends with the returned guard.
    pub fn stop_on_ctrl_c(&self) -> CtrlC {
        let progress = self.clone();
        CtrlC(tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                progress.stop();
            }
        }))
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Listens while it lives.
#[derive(Debug)]
pub struct CtrlC(tokio::task::JoinHandle<()>);

impl Drop for CtrlC {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Resident memory of this process, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub now: u64,
    pub peak: u64,
}

/// As Linux tells it; `None` on other systems.
pub fn memory() -> Option<Memory> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Some(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
}
