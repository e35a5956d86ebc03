//! Behind nginx, which cuts what is silent for too long (`proxy_read_timeout`, 60 s by default).

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::net::TcpStream;
use uuid::Uuid;

use super::{
    client::{Events, Live},
    watch::{printed, prints_stock},
};
use crate::{
    steps::{bank, facility, inventory, post},
    support::{Service, service::Launch, wait_until},
};

/// An nginx in front of a service; ends when it is dropped.
struct Nginx {
    address: SocketAddr,
    process: Child,
    _folder: TempDir,
}

/// As docs/live.md says it.
const WEBSOCKET: &str = "
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;";

impl Nginx {
    /// Starts it as docs/live.md says, with more directives for what it hands on.
    async fn before(service: &Service, more: &str) -> Nginx {
        Nginx::with(service, &format!("{WEBSOCKET} {more}")).await
    }

    /// Starts it with these directives for what it hands on.
    async fn with(service: &Service, directives: &str) -> Nginx {
        for _ in 0..5 {
            // Another process may take the port meanwhile; then the next one is tried.
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let file = folder.path().join("nginx.conf");
            std::fs::write(&file, configuration(&folder, address, service.address, directives))
                .unwrap();
            let process = Command::new("setpriv")
                .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
                .args(["--pdeathsig", "KILL", "--", "nginx", "-p"])
                .arg(folder.path())
                .arg("-c")
                .arg(&file)
                .args(["-e", "stderr", "-g", "daemon off; master_process off;"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("tests/install-deps.sh installs nginx");
            let mut nginx = Nginx { address, process, _folder: folder };
            if nginx.answers().await {
                return nginx;
            }
        }
        panic!("nginx does not start; what it says is above");
    }

    async fn answers(&mut self) -> bool {
        let begun = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            match TcpStream::connect(self.address).await {
                Ok(_) => return true,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => panic!("{error}"),
            }
            assert!(begun.elapsed() < crate::support::PATIENCE, "nginx does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    async fn follow(&self, facility: Uuid) -> (Live, Events) {
        let mut live = Live::try_connect_at(self.address, &[]).await.expect("it is handed on");
        live.subscribe(&[facility]).await;
        let url = format!("http://{}/v1/stream?facility_id={facility}", self.address);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut events = Events::of(client.get(url).send().await.unwrap());
        live.until("summary").await;
        events.until("summary").await;
        (live, events)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A drop cannot report an error.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configuration(folder: &TempDir, at: SocketAddr, to: SocketAddr, directives: &str) -> String {
    let folder = folder.path().display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {folder}/{kind};\n"))
        .collect();
    format!(
        "pid {folder}/pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
{temporary}
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    server {{
        listen {at};
        location / {{
            proxy_pass http://{to};
            {directives}
        }}
    }}
}}
"
    )
}

/// Clients of a quiet facility stay for so many heartbeats, and then get the next change.
async fn stay(launch: Launch, more: &str, beats: usize) {
    let service = launch.start().await;
    let a = facility(&service, "A", "UTC").await;
    let bank = bank(&service, a).await;
    let nginx = Nginx::before(&service, more).await;
    let (mut live, mut events) = nginx.follow(a).await;
    for _ in 0..beats {
        live.until("heartbeat").await;
        events.until("heartbeat").await;
    }
    post(&service, &[inventory(Uuid::new_v4(), bank, "O+", 5)]).await;
    assert_eq!(live.until("summary").await["summary"]["total_stock"], 5);
    assert_eq!(events.until("summary").await.data["summary"]["total_stock"], 5);
}

#[tokio::test]
async fn heartbeats_keep_quiet_clients_behind_nginx_for_longer_than_it_waits_for_a_byte() {
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__LIVE__HEARTBEAT_SECONDS", 1);
    stay(launch, "proxy_read_timeout 3s;", 5).await;
}

#[tokio::test]
async fn without_a_heartbeat_in_time_nginx_cuts_them() {
    let service = Service::on_sqlite().start().await;
    let a = facility(&service, "A", "UTC").await;
    let nginx = Nginx::before(&service, "proxy_read_timeout 1s;").await;
    let (mut live, events) = nginx.follow(a).await;
    assert_eq!(live.end().await.1, None, "cut, and not closed");
    events.breaks_off().await;
}

#[tokio::test]
async fn behind_an_nginx_that_stops_websocket_watch_reads_events_and_goes_on_from_the_last() {
    let service = Service::on_sqlite().start().await;
    let (a, b) = (facility(&service, "A", "UTC").await, facility(&service, "B", "UTC").await);
    let (bank, unit) = (bank(&service, a).await, Uuid::new_v4());
    post(&service, &[inventory(unit, bank, "O+", 5)]).await;
    let nginx = Nginx::with(&service, "").await;
    let url = format!("--url=http://{}", nginx.address);
    let [first, second] = [a, b].map(|id| id.to_string());
    let watch = service.launch().start_command(&["watch", &first, &second, &url, "--json"]);
    wait_until("both are printed", async || printed(&watch, "summary").len() == 2).await;
    post(&service, &[inventory(unit, bank, "O+", 6)]).await;
    prints_stock(&watch, 6).await;
    let lines = watch.lines();
    assert!(lines.iter().any(|line| line.contains("by server-sent events")), "{lines:?}");

    let address = service.address.to_string();
    let service = service.kill_9().await.env("BIND_ADDR", address).start().await;
    wait_until("it is back", async || printed(&watch, "subscribed").len() == 2).await;
    post(&service, &[inventory(unit, bank, "O+", 7)]).await;
    prints_stock(&watch, 7).await;
    watch.signal(libc::SIGINT);
    assert_eq!(watch.wait().await.code, Some(0));

    let all = service.launch().start_command(&["watch", "--all", &url, "--json"]);
    wait_until("all are printed", async || printed(&all, "summaries").len() == 1).await;
    all.signal(libc::SIGINT);
    let unknown = Uuid::new_v4().to_string();
    let none = service.launch().start_command(&["watch", &unknown, &url, "--json"]);
    assert_eq!(none.wait().await.code, Some(1), "nothing is left to follow");
}

/// The time-outs that both have by default.
#[tokio::test]
#[ignore = "takes more than a minute: cargo test --test api -- --ignored nginx"]
async fn quiet_clients_behind_an_nginx_without_settings_stay_for_longer_than_a_minute() {
    stay(Service::on_sqlite(), "", 5).await;
}
