//! A private Postgres: one shared by all tests of a run, started by the first that asks, and more
//! for tests that break theirs.
//!
//! `tests/private-postgres.sh` runs it and says how it is ended: by the end of its standard input,
//! which the kernel brings about however this process dies. That is why the shared one may live in
//! a `static`, which nobody drops.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/private-postgres.sh");

/// A running cluster; dropping it stops the server and deletes its data.
pub struct Postgres {
    /// With the superuser, on the database `postgres`.
    url: String,
    control: Mutex<Control>,
    databases: AtomicU32,
}

struct Control {
    /// `None` only while it is being dropped.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    script: Child,
}

/// The URL of an empty database that no other test knows, in the cluster shared by all tests of
/// this process.
///
/// The shared cluster has `fsync=off` and is never stopped by a test.
pub async fn fresh_database() -> String {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(|| Postgres::start(&[])).fresh_database().await
}

impl Postgres {
    /// A cluster for one test alone, for example `Postgres::start(&["fsync=on",
    /// "max_connections=20"])`.
    pub fn start(settings: &[&str]) -> Postgres {
        Postgres::start_in_environment(settings, &[])
    }

    /// A streaming replica of this cluster; what it is set to besides, as in [`Postgres::start`].
    pub fn standby(&self, settings: &[&str]) -> Postgres {
        Postgres::start(&[&["--standby-of", self.url()], settings].concat())
    }

    /// [`Postgres::start`] with environment variables for the server, such as libfaketime's.
    pub fn start_in_environment(settings: &[&str], environment: &[(&str, String)]) -> Postgres {
        let mut script = Command::new(SCRIPT);
        script.args(settings).envs(environment.iter().map(|(name, value)| (name, value)));
        Postgres::run(script)
    }

    /// [`Postgres::start`] on a file system of so many megabytes, mounted at the folder for nobody
    /// but the server and what looks through `/proc/<process>/root`; that of the answer.
    pub fn start_on_small_disk(
        folder: &Path,
        megabytes: u32,
        settings: &[&str],
    ) -> (Postgres, u32) {
        // SAFETY: it only asks.
        let is_root = unsafe { libc::geteuid() } == 0;
        let namespaces: &[&str] = if is_root {
            &["--mount"]
        } else {
            &["--user", "--map-current-user", "--keep-caps", "--mount"]
        };
        let mount = format!(
            "mount -t tmpfs -o size={megabytes}m,mode=1777 none \"$0\" && TMPDIR=\"$0\" exec \
             \"$@\""
        );
        let mut script = Command::new("unshare");
        script.args(namespaces).args(["sh", "-c", &mount]).arg(folder).arg(SCRIPT).args(settings);
        let postgres = Postgres::run(script);
        let holder =
            postgres.control.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).script.id();
        (postgres, holder)
    }

    fn run(mut script: Command) -> Postgres {
        let mut script = script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // a Ctrl-C meant for the tests must not reach it: it has to clean up after them
            .process_group(0)
            .spawn()
            .expect("tests/private-postgres.sh can be run");
        let commands = script.stdin.take();
        let mut answers = BufReader::new(script.stdout.take().expect("its output is piped"));
        let mut url = String::new();
        answers.read_line(&mut url).expect("the script prints text");
        assert!(
            url.starts_with("postgres://"),
            "the private Postgres did not start; its complaint is above"
        );
        Postgres {
            url: url.trim_end().to_owned(),
            control: Mutex::new(Control { commands, answers, script }),
            databases: AtomicU32::new(0),
        }
    }

    /// The superuser's URL of the cluster's own database `postgres`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of a new, empty database in this cluster.
    pub async fn fresh_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url)
            .await
            .expect("the private Postgres accepts connections");
        connection
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await
            .expect("a database can be created");
        connection.close().await.expect("the connection closes");
        let (cluster, _) = self.url.rsplit_once('/').expect("a URL has a path");
        format!("{cluster}/{name}")
    }

    /// Shuts the server down, cutting off its clients; the port then refuses connections.
    pub fn stop(&self) {
        self.command("stop");
    }

    /// Starts it again after [`Postgres::stop`] or [`Postgres::crash`]: same data, same port.
    pub fn start_again(&self) {
        self.command("start");
    }

    /// Stops it without a checkpoint, as a failing machine would.
    pub fn crash(&self) {
        self.command("crash");
    }

    /// Every process of the server hangs: connections stay open and nothing answers, as behind a
    /// dead network.
    pub fn freeze(&self) {
        self.command("freeze");
    }

    /// Ends [`Postgres::freeze`].
    pub fn thaw(&self) {
        self.command("thaw");
    }

    /// A standby ends its recovery and takes writes: another timeline.
    pub fn promote(&self) {
        self.command("promote");
    }

    /// Starts it again as a standby that follows nobody.
    pub fn demote(&self) {
        self.command("demote");
    }

    /// Keeps a base backup of the running server, for [`Postgres::restore`].
    pub fn back_up(&self) {
        self.command("backup");
    }

    /// Keeps a copy of the files of a server that was stopped.
    pub fn copy(&self) {
        self.command("copy");
    }

    /// Puts what was kept last in the place of the files of a server that was stopped.
    pub fn restore(&self) {
        self.command("restore");
    }

    fn command(&self, word: &str) {
        // A test that panicked inside leaves nothing half-done: each command is one line and one
        // answer.
        let mut control = self.control.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let commands = control.commands.as_mut().expect("only drop takes it");
        writeln!(commands, "{word}").expect("the script listens");
        let mut answer = String::new();
        control.answers.read_line(&mut answer).expect("the script answers");
        assert_eq!(answer.trim_end(), "done", "the private Postgres could not {word}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let control = self.control.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        // closes the pipe: the script stops the server and deletes the folder
        control.commands = None;
        let _ = control.script.wait(); // a drop has nobody to tell
    }
}
