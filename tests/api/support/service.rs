//! The real binary as a process of its own: started on a free port, asked over HTTP, killed at the
//! end of the test.

use std::{
    ffi::OsStr,
    fs::File,
    net::SocketAddr,
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

pub use super::process::Exited;
use super::{postgres, process::Process, wait_until};

/// How to start the service, with the settings for the start. A service that has ended returns it,
/// so that it can be started again.
#[derive(Clone)]
pub struct Launch {
    database_url: String,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    /// The credential of requests to it.
    credential: Option<String>,
    /// A process whose user and mount namespaces the service shares.
    inside: Option<u32>,
    /// Its working directory, with its data on SQLite; deleted with the last copy.
    folder: Arc<TempDir>,
}

/// A service that reported that it is ready. On drop its process is killed, and its log is printed
/// if the test fails.
///
/// The process also dies with the thread that started it. So start it in the test itself and not in
/// a spawned task.
pub struct Service {
    /// The address on which it listens.
    pub address: SocketAddr,
    client: Client,
    process: Process,
    launch: Launch,
}

/// A command that runs; killed on drop.
pub struct RunningCommand(Process);

impl RunningCommand {
    /// Sends a signal, such as `libc::SIGINT`.
    pub fn signal(&self, signal: i32) {
        self.0.signal(signal);
    }

    /// What it has written so far, line by line.
    pub fn lines(&self) -> Vec<String> {
        self.0.lines().clone()
    }

    pub async fn wait(mut self) -> Exited {
        self.0.wait("the command has ended").await
    }
}

impl Service {
    /// A service on a new SQLite file in a folder of its own.
    pub fn on_sqlite() -> Launch {
        let folder = a_folder();
        let url = format!("sqlite://{}", folder.path().join("facility-summary.db").display());
        Launch::new(url, folder)
    }

    /// A service on an empty database of the shared Postgres.
    pub async fn on_postgres() -> Launch {
        Service::on(postgres::fresh_database().await)
    }

    /// A service on any database.
    pub fn on(database_url: impl Into<String>) -> Launch {
        Launch::new(database_url.into(), a_folder())
    }

    /// A request to this service; `path` begins with a slash and may carry a query.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as(self.launch.credential.as_deref(), method, path)
    }

    /// A request with another credential, or with none.
    pub fn request_as(
        &self,
        credential: Option<&str>,
        method: Method,
        path: &str,
    ) -> RequestBuilder {
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        match credential {
            Some(credential) => request.bearer_auth(credential),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Response {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Response {
        answer(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Response {
        answer(self.request(Method::PUT, path).json(body)).await
    }

    /// The URL of its database, for a plain SQL client beside it.
    pub fn database_url(&self) -> &str {
        &self.launch.database_url
    }

    /// How it was started, to start a second replica or a command on the same database.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// The log so far, one entry per line.
    pub fn logs(&self) -> Vec<String> {
        self.process.lines().clone()
    }

    /// The fields of the log entries with this message, oldest first.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        self.process.entries(message)
    }

    /// Sends a signal, such as `libc::SIGSTOP`.
    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// Kills the process, as a power failure would. Nothing is finished.
    pub async fn kill_9(mut self) -> Launch {
        self.process.signal(libc::SIGKILL);
        self.process.wait("it is dead").await;
        self.launch
    }

    /// Asks it to stop, and waits until it has ended.
    pub async fn terminate(self) -> (Exited, Launch) {
        self.signal(libc::SIGTERM);
        self.ended().await
    }

    /// Waits until it has ended, after it was asked to.
    pub async fn ended(mut self) -> (Exited, Launch) {
        let exited = self.process.wait("it has stopped after a signal").await;
        (exited, self.launch)
    }
}

impl Launch {
    fn new(database_url: String, folder: TempDir) -> Launch {
        Launch {
            database_url,
            environment: Vec::new(),
            arguments: Vec::new(),
            credential: None,
            inside: None,
            folder: Arc::new(folder),
        }
    }

    /// Sets an environment variable of the process. The last value of a name counts.
    pub fn env(mut self, name: &str, value: impl ToString) -> Launch {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sets several variables, such as those of a `FakeClock`.
    pub fn envs<'a>(self, variables: impl IntoIterator<Item = (&'a str, String)>) -> Launch {
        variables.into_iter().fold(self, |launch, (name, value)| launch.env(name, value))
    }

    /// Has each request that names no other credential carry this one.
    pub fn credential(mut self, credential: &str) -> Launch {
        self.credential = Some(credential.to_owned());
        self
    }

    /// Adds an argument after `serve`.
    pub fn argument(mut self, argument: &str) -> Launch {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it in the namespaces of this process: it sees the same file systems, and is the same
    /// user.
    pub fn inside(mut self, process: u32) -> Launch {
        self.inside = Some(process);
        self
    }

    /// The URL of the database, the same at every start.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Its working directory, the same at every start.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the service and waits until `/health/ready` answers 200.
    pub async fn start(self) -> Service {
        let mut service = self.start_to_listen().await;
        service.wait_until_ready().await;
        service
    }

    /// Starts the service and waits until it listens, which is before it is ready.
    pub async fn start_to_listen(self) -> Service {
        let mut process =
            self.spawn(["serve"].into_iter().chain(self.arguments.iter().map(String::as_str)));
        let mut address = None;
        wait_until("the service says where it listens", async || {
            process.assert_running();
            address = process
                .entries("listening")
                .first()
                .and_then(|fields| fields["address"].as_str()?.parse().ok());
            address.is_some()
        })
        .await;
        let client = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .expect("an HTTP client needs nothing");
        Service {
            address: address.expect("the wait ended with one"),
            client,
            process,
            launch: self,
        }
    }

    /// Runs a command such as `&["audit"]`, or a `serve` that must fail, with the same settings,
    /// until it ends by itself.
    pub async fn run(&self, arguments: &[&str]) -> Exited {
        self.spawn(arguments).wait("the command has ended").await
    }

    /// The same, with this text as its standard input.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Exited {
        let path = self.folder().join("input");
        std::fs::write(&path, input).expect("the folder can be written");
        let input = File::open(path).expect("it was written");
        self.spawn_with(arguments, input.into()).wait("the command has ended").await
    }

    /// Starts a command such as `&["import", …]`. The test ends it before it would end by itself.
    pub fn start_command(&self, arguments: &[&str]) -> RunningCommand {
        RunningCommand(self.spawn(arguments))
    }

    /// Starts another program in its folder.
    pub fn start_other(&self, program: &str, arguments: &[&str]) -> RunningCommand {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder()).env_remove("FACILITY_SUMMARY_KEY");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        RunningCommand(Process::new(child))
    }

    fn spawn(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Process {
        self.spawn_with(arguments, Stdio::null())
    }

    fn spawn_with(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        input: Stdio,
    ) -> Process {
        let mut command = Command::new(binary());
        // The settings of the person who runs the tests must not reach the service.
        for (name, _) in std::env::vars().filter(|(name, _)| is_a_setting(name)) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.folder())
            .env("DATABASE_URL", &self.database_url)
            .env("BIND_ADDR", "127.0.0.1:0")
            .env("FACILITY_SUMMARY__LOG__FORMAT", "json")
            // The sample audit repairs at random what a test has changed. The tests of the audit
            // switch it on.
            .env("FACILITY_SUMMARY__AUDIT__INTERVAL_MS", "0")
            .env("FACILITY_SUMMARY__REFRESH__VERIFY_DIFFERENCES", "on")
            // All tests come from one address. The tests of the limits set them.
            .env("FACILITY_SUMMARY__LIMITS__REQUESTS_PER_MINUTE", "0")
            .env("FACILITY_SUMMARY__LIMITS__CONCURRENT_REQUESTS", "0")
            .env("FACILITY_SUMMARY__LIMITS__EVENT_BYTES_PER_MINUTE", "0")
            .env("FACILITY_SUMMARY__SERVER__CONNECTIONS_PER_ADDRESS", "0")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let open = |name| File::open(format!("/proc/{}/ns/{name}", self.inside?)).ok();
        let namespaces: Vec<File> = ["user", "mnt"].into_iter().filter_map(open).collect();
        // SAFETY: setns and prctl are bare system calls. They neither allocate nor take a lock, as
        // is required between fork and exec.
        unsafe {
            command.pre_exec(move || {
                let entered =
                    namespaces.iter().all(|namespace| libc::setns(namespace.as_raw_fd(), 0) == 0);
                match entered && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 {
                    true => Ok(()),
                    false => Err(std::io::Error::last_os_error()),
                }
            });
        }
        Process::new(command.spawn().expect("the binary can be run"))
    }
}

impl Service {
    async fn wait_until_ready(&mut self) {
        let ready = format!("http://{}/health/ready", self.address);
        let Service { process, client, .. } = self;
        wait_until("/health/ready answers 200", async || {
            process.assert_running();
            client.get(&ready).send().await.is_ok_and(|response| response.status() == 200)
        })
        .await;
    }
}

/// The program under test. tests/fleet/mutants.sh runs these tests with another build, in which a
/// rule is broken.
pub fn binary() -> String {
    let own = env!("CARGO_BIN_EXE_facility-summary");
    std::env::var("FACILITY_SUMMARY_BINARY").unwrap_or_else(|_| own.to_owned())
}

/// A folder under `target`, so that `cargo clean` deletes what a killed run leaves behind.
fn a_folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made under target")
}

fn is_a_setting(name: &str) -> bool {
    matches!(name, "DATABASE_URL" | "DATABASE_READ_URL" | "REDIS_URL" | "BIND_ADDR" | "RUST_LOG")
        || name == "FACILITY_SUMMARY_KEY"
        || name.starts_with("FACILITY_SUMMARY__")
}

async fn answer(request: RequestBuilder) -> Response {
    request.send().await.expect("the service answers")
}
