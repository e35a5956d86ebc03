//! A network that drops every packet: no end of the connection is ever seen. The service and its
//! clients are in network namespaces of their own, with a cable between them that is pulled.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::client::Live;
use crate::{
    access::added,
    proxy::Proxy,
    steps::get,
    support::{
        Service,
        service::{RunningCommand, binary},
        wait_until, wait_until_within,
    },
};

const SERVICE: &str = "10.97.31.1";
const CLIENTS: &str = "10.97.31.2";
const PORT: u16 = 8080;

/// Two machines with a cable. Everything ends with this process, which holds the input of `cat`.
const CABLE: &str = r#"
set -e
unshare --net sleep infinity & far=$!
trap 'kill $far' EXIT
while [ "$(readlink /proc/$far/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link add near type veth peer name far netns $far
ip link set lo up
ip addr add $0/24 dev near
ip link set near up
nsenter --target $far --net sh -ec "ip addr add $1/24 dev far; ip link set far up"
echo $far
cat
"#;

struct Cable {
    near: Child,
    far: String,
    _output: BufReader<ChildStdout>,
}

impl Cable {
    fn new() -> Cable {
        let mut near = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "sh", "-c", CABLE, SERVICE, CLIENTS])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        let mut output = BufReader::new(near.stdout.take().expect("it is piped"));
        let mut far = String::new();
        output.read_line(&mut far).expect("it is text");
        let far = far.trim().to_owned();
        assert!(!far.is_empty(), "no network could be made; what went wrong is above");
        Cable { near, far, _output: output }
    }

    /// The words by which `nsenter` starts a program at one end.
    fn at<'a>(&'a self, process: &'a str, words: &[&'a str]) -> Vec<&'a str> {
        let enter = ["--target", process, "--user", "--net", "--preserve-credentials", "--"];
        [&enter[..], words].concat()
    }

    /// Nothing passes any more, in either direction.
    fn pull(&self) {
        let words = self.at(&self.far, &["ip", "link", "set", "far", "down"]);
        let done = Command::new("nsenter").args(words).status().expect("it can be run");
        assert!(done.success());
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        drop(self.near.stdin.take());
        let _ = self.near.wait();
    }
}

/// How many clients the service has.
fn clients(cable: &Cable) -> Option<u64> {
    let url = format!("http://{SERVICE}:{PORT}/health/ready");
    let near = cable.near.id().to_string();
    let words = cable.at(&near, &["curl", "-s", "--noproxy", "*", &url]);
    let answer = Command::new("nsenter").args(words).output().expect("curl is installed");
    serde_json::from_slice::<Value>(&answer.stdout).ok()?["clients"].as_u64()
}

#[tokio::test]
async fn a_network_that_drops_everything_frees_the_places_of_its_clients() {
    let launch = Service::on_sqlite();
    let key = added(&launch, &["--role", "admin", "--name", "a screen"]).await;
    let cable = Cable::new();
    let near = cable.near.id().to_string();
    let binary = &binary();
    let database = format!("DATABASE_URL={}", launch.database_url());
    let bind = format!("BIND_ADDR={SERVICE}:{PORT}");
    // The other settings are those of everybody.
    let words = ["env", &database, &bind, "FACILITY_SUMMARY__AUTH__SIGN_IN=on", binary, "serve"];
    let service = launch.start_other("nsenter", &cable.at(&near, &words));
    let count = async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        clients(&cable)
    };
    wait_until("it is ready", async || count().await == Some(0)).await;
    let url = format!("http://{SERVICE}:{PORT}");
    let watch =
        ["env", "NO_PROXY=*", binary, "watch", "--all", "--json", "--url", &url, "--key", &key];
    let websocket = launch.start_other("nsenter", &cable.at(&cable.far, &watch));
    let header = format!("Authorization: Bearer {key}");
    let stream = format!("{url}/v1/stream?subject=all");
    let curl = ["curl", "-sN", "--noproxy", "*", "-H", &header, &stream];
    let events = launch.start_other("nsenter", &cable.at(&cable.far, &curl));
    let has = |client: &RunningCommand| client.lines().iter().any(|line| line.contains("hello"));
    wait_until("both follow", async || has(&websocket) && has(&events) && count().await == Some(2))
        .await;

    let since = Instant::now();
    cable.pull();
    for left in [1, 0] {
        let patience = Duration::from_secs(60);
        wait_until_within(patience, "a place is free", async || {
            count().await.is_some_and(|count| count <= left)
        })
        .await;
        eprintln!("{left} places are taken {:?} after the network was lost", since.elapsed());
    }
    service.signal(libc::SIGTERM);
    assert_eq!(service.wait().await.code, Some(0));
}

/// The proxy's machine acknowledges what comes, and hands nothing on.
#[tokio::test]
async fn a_websocket_behind_a_proxy_that_swallows_everything_is_given_up() {
    let service = Service::on_sqlite().start().await;
    let proxy = Proxy::to(service.address);
    let mut live = Live::try_connect_at(proxy.address, &[]).await.expect("it is handed on");
    live.subscribe(&[]).await;
    let clients = async || get(&service, "/health/ready").await["clients"].clone();
    assert_eq!(clients().await, 1);
    let since = Instant::now();
    proxy.swallow();
    let patience = Duration::from_secs(60);
    wait_until_within(patience, "its place is free", async || clients().await == 0).await;
    eprintln!("its place is free {:?} after it was heard last", since.elapsed());
}
