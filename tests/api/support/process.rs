//! A process that a test has started: its output, its signals, its end.

use std::{
    io::{BufRead, BufReader, Read},
    process::Child,
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
};

use serde_json::Value;

use super::wait_until;

/// What a process returned when it ended by itself.
pub struct Exited {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output and standard error, line by line as they came.
    pub output: String,
}

/// A child process, whose output is kept in memory.
pub(super) struct Process {
    pub(super) child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    pub(super) fn new(mut child: Child) -> Process {
        let lines = Arc::default();
        let readers = vec![
            keep_lines(child.stdout.take().expect("its output is piped"), &lines),
            keep_lines(child.stderr.take().expect("its errors are piped"), &lines),
        ];
        Process { child, lines, readers }
    }

    pub(super) fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().expect("no thread panics while it holds the lines")
    }

    pub(super) fn entries(&self, message: &str) -> Vec<Value> {
        let parsed = self
            .lines()
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .collect::<Vec<_>>();
        parsed
            .into_iter()
            .map(|mut entry| entry["fields"].take())
            .filter(|fields| fields["message"] == message)
            .collect()
    }

    pub(super) fn signal(&self, signal: i32) {
        // SAFETY: no other code reaps the child, so that its id cannot belong to another process.
        unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
    }

    pub(super) fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("the child is ours") {
            panic!("the service ended early with {status}");
        }
    }

    pub(super) async fn wait(&mut self, what: &str) -> Exited {
        wait_until(what, async || self.child.try_wait().expect("the child is ours").is_some())
            .await;
        let status = self.child.wait().expect("it has just ended");
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader only reads");
        }
        Exited { code: status.code(), output: self.lines().join("\n") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A drop cannot report an error, and the process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of process {}\n{}\n---", self.child.id(), self.lines().join("\n"));
        }
    }
}

fn keep_lines(
    source: impl Read + Send + 'static,
    lines: &Arc<Mutex<Vec<String>>>,
) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
            lines
                .lock()
                .expect("no thread panics while it holds the lines")
                .push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}
