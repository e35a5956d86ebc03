//! A private Postgres. All tests of a run share one, which the first test that needs it starts.
//! Tests that break their server have one of their own.
//!
//! `tests/private-postgres.sh` runs the server and ends it when its standard input ends. The kernel
//! closes this pipe when the process ends, also when it is killed. So the shared server may be in a
//! `static`, which is never dropped.

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
    /// The URL with the superuser and the database `postgres`.
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

/// The URL of an empty database that no other test uses, in the cluster that all tests of this
/// process share.
///
/// The shared cluster has `fsync=off`, and no test stops it.
pub async fn fresh_database() -> String {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(|| Postgres::start(&[])).fresh_database().await
}

impl Postgres {
    /// Starts a cluster for one test alone, for example
    /// `Postgres::start(&["fsync=on", "max_connections=20"])`.
    pub fn start(settings: &[&str]) -> Postgres {
        Postgres::start_in_environment(settings, &[])
    }

    /// Starts a standby of this cluster. `settings` are those that differ, as in
    /// [`Postgres::start`].
    pub fn standby(&self, settings: &[&str]) -> Postgres {
        Postgres::start(&[&["--standby-of", self.url()], settings].concat())
    }

    /// [`Postgres::start`] with environment variables for the server, such as libfaketime's.
    pub fn start_in_environment(settings: &[&str], environment: &[(&str, String)]) -> Postgres {
        let mut script = Command::new(SCRIPT);
        script.args(settings).envs(environment.iter().map(|(name, value)| (name, value)));
        Postgres::run(script)
    }

    /// [`Postgres::start`] on a file system of so many megabytes. It is mounted at the returned
    /// folder, but only the server sees it there. Others reach it through `/proc/<process>/root`,
    /// with the process that is returned.
    pub fn start_on_small_disk(
        folder: &Path,
        megabytes: u32,
        settings: &[&str],
    ) -> (Postgres, u32) {
        // SAFETY: geteuid has no preconditions.
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
            // A Ctrl-C for the tests must not reach the script, which has to clean up after the
            // tests.
            .process_group(0)
            .spawn()
            .expect("tests/private-postgres.sh can be run");
        let commands = script.stdin.take();
        let mut answers = BufReader::new(script.stdout.take().expect("its output is piped"));
        let mut url = String::new();
        answers.read_line(&mut url).expect("the script prints text");
        assert!(
            url.starts_with("postgres://"),
            "the private Postgres did not start; its error is above"
        );
        Postgres {
            url: url.trim_end().to_owned(),
            control: Mutex::new(Control { commands, answers, script }),
            databases: AtomicU32::new(0),
        }
    }

    /// The superuser's URL of the database `postgres` of the cluster.
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

    /// Stops the server and disconnects its clients. The port then refuses connections.
    pub fn stop(&self) {
        self.command("stop");
    }

    /// Starts the server again after [`Postgres::stop`] or [`Postgres::crash`], with the same data
    /// and port.
    pub fn start_again(&self) {
        self.command("start");
    }

    /// Stops the server without a checkpoint, as a machine failure would.
    pub fn crash(&self) {
        self.command("crash");
    }

    /// Freezes every process of the server: connections stay open without answers, as when the
    /// network fails.
    pub fn freeze(&self) {
        self.command("freeze");
    }

    /// Ends [`Postgres::freeze`].
    pub fn thaw(&self) {
        self.command("thaw");
    }

    /// Ends the recovery of a standby, which then takes writes on another timeline.
    pub fn promote(&self) {
        self.command("promote");
    }

    /// Starts the server again as a standby without a primary.
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

    /// Replaces the files of a stopped server by the last backup or copy.
    pub fn restore(&self) {
        self.command("restore");
    }

    fn command(&self, word: &str) {
        // A test may panic while it holds the mutex. The state is still consistent: each command is
        // one line and one answer.
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
        // This closes the pipe: the script stops the server and deletes the folder.
        control.commands = None;
        let _ = control.script.wait(); // a drop cannot report an error
    }
}
