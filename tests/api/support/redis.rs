//! A private Redis, single or a cluster of three nodes, for one test alone.
//! `tests/private-redis.sh` runs it and describes how it is ended.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Mutex,
};

use deadpool_redis::redis::{
    Client, Cmd, FromRedisValue, aio::MultiplexedConnection, cluster::ClusterClient, cmd,
};

/// A running server or cluster; dropping it stops it and deletes its data.
pub struct Redis {
    url: String,
    control: Mutex<Control>,
}

struct Control {
    /// `None` only while it is being dropped.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    script: Child,
}

impl Redis {
    /// Starts a single server.
    pub fn start() -> Redis {
        Redis::run(&[], None)
    }

    /// Starts a single server, which tries this port before any other.
    pub fn start_at(port: u16) -> Redis {
        Redis::run(&[], Some(port))
    }

    /// Starts three nodes that share the keys.
    pub fn start_cluster() -> Redis {
        Redis::run(&["--cluster"], None)
    }

    fn run(arguments: &[&str], first_port: Option<u16>) -> Redis {
        let mut script =
            Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/private-redis.sh"))
                .args(arguments)
                .envs(first_port.map(|port| ("FIRST_PORT", port.to_string())))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                // A Ctrl-C for the tests must not reach the script, which has to clean up after the
                // tests.
                .process_group(0)
                .spawn()
                .expect("tests/private-redis.sh can be run");
        let commands = script.stdin.take();
        let mut answers = BufReader::new(script.stdout.take().expect("its output is piped"));
        let mut url = String::new();
        answers.read_line(&mut url).expect("the script prints text");
        assert!(url.starts_with("redis://"), "the private Redis did not start; its error is above");
        Redis {
            url: url.trim_end().to_owned(),
            control: Mutex::new(Control { commands, answers, script }),
        }
    }

    /// The value for `REDIS_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server and disconnects its clients. What was not saved is lost.
    pub fn stop(&self) {
        self.command("stop");
    }

    /// Saves what the server holds to its disk.
    pub fn save(&self) {
        self.command("save");
    }

    /// Starts the server after [`Redis::stop`], on the same port, with what was last saved.
    pub fn start_again(&self) {
        self.command("start");
    }

    /// Starts the server after [`Redis::stop`], on the same port, without data.
    pub fn start_empty(&self) {
        self.command("empty");
    }

    /// Freezes the server: connections stay open without answers, as when the network fails.
    pub fn freeze(&self) {
        self.command("freeze");
    }

    /// [`Redis::freeze`] of one node of the cluster; nodes are counted from 1.
    pub fn freeze_node(&self, node: usize) {
        self.command(&format!("freeze {node}"));
    }

    /// Ends [`Redis::freeze`].
    pub fn thaw(&self) {
        self.command("thaw");
    }

    /// Runs a command as another program would, on the node that holds its key.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        if self.url.contains(',') {
            let client = ClusterClient::new(self.url.split(',')).expect("the script prints URLs");
            let mut connection = client
                .get_async_connection()
                .await
                .expect("the private cluster accepts connections");
            command.query_async(&mut connection).await.expect("the private cluster answers")
        } else {
            command.query_async(&mut self.connect().await).await.expect("the private Redis answers")
        }
    }

    /// Runs a command that is written as text, such as `FLUSHALL`, and ignores its answer.
    pub async fn tell(&self, words: &str) {
        let mut words = words.split(' ');
        let mut command = cmd(words.next().expect("there is a first word"));
        words.for_each(|word| _ = command.arg(word));
        self.ask::<deadpool_redis::redis::Value>(&command).await;
    }

    /// A new connection to the single server.
    pub async fn connect(&self) -> MultiplexedConnection {
        let client = Client::open(self.url()).expect("the script prints a URL");
        client
            .get_multiplexed_async_connection()
            .await
            .expect("the private Redis accepts connections")
    }

    fn command(&self, word: &str) {
        // A test may panic while it holds the mutex. The state is still consistent: each command is
        // one line and one answer.
        let mut control = self.control.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let commands = control.commands.as_mut().expect("only drop takes it");
        writeln!(commands, "{word}").expect("the script listens");
        let mut answer = String::new();
        control.answers.read_line(&mut answer).expect("the script answers");
        assert_eq!(answer.trim_end(), "done", "the private Redis could not {word}");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let control = self.control.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        // This closes the pipe: the script stops the servers and deletes the folder.
        control.commands = None;
        let _ = control.script.wait(); // a drop cannot report an error
    }
}
