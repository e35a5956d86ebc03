//! Live clients, each as a screen: it shows the newest figures that it was sent, and says as of
//! when it has everything. It comes back by itself, with what it has. Each claim of it becomes an
//! answer for the judge.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_tungstenite::{client_async, tungstenite::Message};

use crate::{
    history::{Answer, CLOCK_MS},
    load::now_ms,
    parts::{FACILITIES, Places},
    readers::answer_of,
    support::wait_until,
};

/// How a screen is connected, and what it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Websocket(usize),
    Events(usize),
    All,
}

impl Kind {
    const fn follows(self, facility: usize) -> bool {
        match self {
            Kind::Websocket(one) | Kind::Events(one) => one == facility,
            Kind::All => true,
        }
    }
}

/// What is seen of a screen from outside.
#[derive(Default)]
struct Seen {
    /// The greatest instant as of which it said that it has everything, in milliseconds.
    exact_ms: i64,
    /// How often it was told that nothing can be proven.
    stalls: usize,
    answers: Vec<Answer>,
}

/// Screens that run.
pub struct Screens {
    stop: Arc<AtomicBool>,
    seen: Vec<Arc<Mutex<Seen>>>,
    tasks: JoinSet<()>,
}

impl Screens {
    /// So many, on all replicas.
    pub fn start(places: &Arc<Places>, count: usize) -> Screens {
        let (stop, mut seen, mut tasks) = (Arc::<AtomicBool>::default(), vec![], JoinSet::new());
        for at in 0..count {
            let facility = at / 9 % FACILITIES;
            let kinds = [Kind::Websocket(facility), Kind::Events(facility), Kind::All];
            let outside = Arc::<Mutex<Seen>>::default();
            let screen = Screen {
                places: places.clone(),
                home: at % places.replicas(),
                at: 0,
                kind: kinds[at / 3 % 3],
                epoch: Value::Null,
                last_event: None,
                shown: BTreeMap::new(),
                floors: HashMap::new(),
                outside: outside.clone(),
            };
            seen.push(outside);
            tasks.spawn(screen.live(stop.clone()));
        }
        Screens { stop, seen, tasks }
    }

    fn look(&self) -> impl Iterator<Item = std::sync::MutexGuard<'_, Seen>> {
        self.seen.iter().map(|one| one.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until each screen says that it has everything up to now.
    #[track_caller]
    pub fn converge(&self) -> impl Future<Output = ()> {
        let since_ms = now_ms();
        wait_until("each screen has everything that happened before", async move || {
            self.look().all(|seen| seen.exact_ms >= since_ms)
        })
    }

    /// Waits until each screen was told once more that nothing can be proven.
    #[track_caller]
    pub fn are_told_of(&self, what: &str) -> impl Future<Output = ()> {
        let before: Vec<usize> = self.look().map(|seen| seen.stalls).collect();
        let what = format!("each screen is told of {what}");
        async move {
            wait_until(&what, async || {
                self.look().zip(&before).all(|(seen, before)| seen.stalls > *before)
            })
            .await;
        }
    }

    /// Ends them, and returns what they claimed.
    pub async fn end(self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Release);
        self.tasks.join_all().await;
        let taken = |seen: Arc<Mutex<Seen>>| {
            std::mem::take(&mut seen.lock().unwrap_or_else(PoisonError::into_inner).answers)
        };
        self.seen.into_iter().flat_map(taken).collect()
    }
}

struct Screen {
    places: Arc<Places>,
    /// It connects here, and elsewhere while this one is down.
    home: usize,
    /// Where it is connected.
    at: usize,
    kind: Kind,
    epoch: Value,
    /// The id of the last event.
    last_event: Option<String>,
    /// By facility: the summary, and its tag.
    shown: BTreeMap<usize, (Value, Value)>,
    /// The greatest version of each facility-day in this epoch.
    floors: HashMap<(usize, String), i64>,
    outside: Arc<Mutex<Seen>>,
}

impl Screen {
    async fn live(mut self, stop: Arc<AtomicBool>) {
        let client = reqwest::Client::builder().no_proxy().build().expect("it needs nothing");
        let stopped = async || {
            while !stop.load(Ordering::Acquire) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        while !stop.load(Ordering::Acquire) {
            let following = async {
                match self.kind {
                    Kind::Events(_) => drop(self.follow_events(&client).await),
                    _ => drop(self.follow_websocket().await),
                }
            };
            tokio::select! {
                () = following => {}
                () = stopped() => return,
            }
            // It comes back at once, as one that does not know better.
            let pause = rand::rng().random_range(50..300);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// The home, or the next replica that is there.
    fn address(&mut self) -> Option<std::net::SocketAddr> {
        let count = self.places.replicas();
        let (at, address) = (0..count)
            .map(|step| (self.home + step) % count)
            .find_map(|at| Some((at, self.places.address(at)?)))?;
        self.at = at;
        Some(address)
    }

    fn id(&self, facility: usize) -> String {
        self.places.sites[facility].facility.to_string()
    }

    async fn follow_websocket(&mut self) -> Option<()> {
        let address = self.address()?;
        let tcp = TcpStream::connect(address).await.ok()?;
        let (mut socket, _) = client_async(format!("ws://{address}/v1/live"), tcp).await.ok()?;
        let subscribe = match self.kind {
            Kind::All => json!({"type": "subscribe", "id": 1, "subject": "all"}),
            Kind::Websocket(facility) | Kind::Events(facility) => {
                let tag = self.shown.get(&facility).map(|(_, etag)| etag);
                let known = tag.map_or(json!({}), |tag| json!({ self.id(facility): tag }));
                json!({
                    "type": "subscribe", "id": 1, "facilities": [self.id(facility)],
                    "known": known, "epoch": self.epoch,
                })
            }
        };
        socket.send(Message::text(subscribe.to_string())).await.ok()?;
        if self.kind == Kind::All {
            // This replica may be behind the last one, and is not told what is shown.
            self.floors.clear();
        }
        let mut has_subscribed = false;
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).expect("it is JSON");
            has_subscribed |= message["type"] == "subscribed";
            self.take(&message, has_subscribed);
        }
        Some(())
    }

    async fn follow_events(&mut self, client: &reqwest::Client) -> Option<()> {
        let Kind::Events(facility) = self.kind else { return None };
        let address = self.address()?;
        let url = format!("http://{address}/v1/stream?facility_id={}", self.id(facility));
        let request = client.get(url);
        let request = match &self.last_event {
            Some(id) => request.header("Last-Event-ID", id),
            None => request,
        };
        let mut response = request.send().await.ok()?;
        assert_eq!(response.status(), 200, "an EventSource gives up for ever at any other one");
        let (mut text, mut has_subscribed) = (String::new(), false);
        while let Ok(Some(chunk)) = response.chunk().await {
            text.push_str(std::str::from_utf8(&chunk).expect("a part ends with a character"));
            while let Some((event, rest)) = text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let data = field("data: ").map(|data| serde_json::from_str(data).expect("JSON"));
                let id = field("id: ").map(str::to_owned);
                text = rest.to_owned();
                let Some(message): Option<Value> = data else { continue };
                has_subscribed |= message["type"] == "subscribed";
                self.take(&message, has_subscribed);
                self.last_event = id.or(self.last_event.take());
            }
        }
        Some(())
    }

    fn take(&mut self, message: &Value, has_subscribed: bool) {
        match message["type"].as_str().expect("it has a type") {
            "hello" | "epoch" if message["epoch"] != self.epoch => {
                self.epoch = message["epoch"].clone();
                self.shown.clear();
                self.floors.clear();
            }
            "summary" => self.show(message),
            "summaries" => {
                let items = message["summaries"].as_array().expect("a list");
                items.iter().for_each(|item| self.show(item));
            }
            "heartbeat" if has_subscribed => self.prove(&message["exact_as_of"]),
            "stalled" => self.seen(|seen| seen.stalls += 1),
            _ => {}
        }
    }

    fn seen(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.outside.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn show(&mut self, item: &Value) {
        let (summary, etag) = (&item["summary"], &item["etag"]);
        let sites = &self.places.sites;
        let of_it =
            |site: &crate::support::site::Site| summary["facility_id"] == site.facility.to_string();
        let Some(facility) = sites.iter().position(of_it) else { return };
        let date = summary["date"].as_str().expect("it has a date").to_owned();
        let version = summary["version"].as_i64().expect("it has a version");
        let floor = self.floors.entry((facility, date)).or_insert(version);
        assert!(
            version >= *floor,
            "{:?} at replica {} was sent version {version} after {floor} in epoch {}",
            self.kind,
            self.at,
            self.epoch
        );
        *floor = version;
        self.shown.insert(facility, (summary.clone(), etag.clone()));
        if let Some(as_of_ms) = ms(&item["as_of"]) {
            let claim = self.claim(facility, summary, as_of_ms);
            self.seen(|seen| seen.answers.push(claim));
        }
    }

    /// It has everything up to this instant, as the service says.
    fn prove(&mut self, exact: &Value) {
        let Some(exact_ms) = ms(exact) else { return };
        let followed: Vec<usize> = (0..FACILITIES).filter(|at| self.kind.follows(*at)).collect();
        let claims: Vec<Answer> = followed
            .iter()
            .map(|facility| {
                let shown = self.shown.get(facility);
                let (summary, _) = shown.unwrap_or_else(|| {
                    panic!("{:?} has everything as of {exact}, and shows nothing", self.kind)
                });
                self.claim(*facility, summary, exact_ms)
            })
            .collect();
        self.seen(|seen| {
            seen.exact_ms = seen.exact_ms.max(exact_ms);
            seen.answers.extend(claims);
        });
    }

    /// What is shown, as an answer that claims to be exact as of an instant.
    fn claim(&self, facility: usize, summary: &Value, exact_ms: i64) -> Answer {
        let source = format!("live, {:?}", self.kind);
        Answer {
            // So that it claims just this, by `Answer::claims_ms`.
            asked_ms: exact_ms + CLOCK_MS,
            age_seconds: -1,
            answered_ms: now_ms(),
            ..answer_of(summary, self.at, facility, source)
        }
    }
}

fn ms(instant: &Value) -> Option<i64> {
    let text = instant.as_str()?;
    Some(text.parse::<jiff::Timestamp>().expect("it is an instant").as_millisecond())
}
