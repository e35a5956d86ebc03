//! How much is taken of one client: of a principal, or of an address where nobody is signed in. A
//! request that is refused is answered 429, before anything of it is read.

mod clients;

use std::{net::IpAddr, sync::Arc, time::Duration};

use actix_web::{
    HttpMessage, HttpRequest,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};
use tokio::sync::Semaphore;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::problem::Problem;
use crate::{
    access::{SignedIn, network::Network},
    config::LimitSettings,
    metrics::Metrics,
};
pub use clients::UnderWay;
use clients::{Client, Clients};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How long a refusal waits. A client that sends the next request after the answer takes next to
/// nothing of the processor then.
const PAUSE: Duration = Duration::from_millis(100);
/// The most refusals that wait at a time: as many as one address has connections. Others are sent
/// at once, so that refused requests hold no more connections than that.
const MOST_PAUSES: usize = 1_000;

/// The budgets of all clients.
pub struct Limits {
    settings: LimitSettings,
    /// By the principal's id, hashed with a seed that nobody knows.
    principals: Clients<u128>,
    addresses: Clients<Network>,
    seed: u64,
    pauses: Semaphore,
    metrics: Arc<Metrics>,
}

/// Who a request counts for.
#[derive(Clone, Copy)]
pub enum Payer<'a> {
    /// Somebody who is signed in.
    Principal(&'a SignedIn),
    /// An address. All requests whose address is not known share one.
    Address(Option<IpAddr>),
}

impl Payer<'_> {
    fn kind(self) -> &'static str {
        match self {
            Payer::Principal(_) => "principal",
            Payer::Address(_) => "address",
        }
    }
}

/// What is told of a budget of requests, because little or nothing is left of it.
#[derive(Clone, Copy)]
struct Left {
    requests: u32,
    seconds: u64,
}

impl Limits {
    /// Limits of these settings; `None` where there are none.
    pub fn new(settings: &LimitSettings, metrics: &Arc<Metrics>) -> Option<Self> {
        let LimitSettings { requests_per_minute, concurrent_requests, event_bytes_per_minute } =
            *settings;
        (requests_per_minute > 0 || concurrent_requests > 0 || event_bytes_per_minute > 0).then(
            || Limits {
                principals: Clients::new(settings),
                addresses: Clients::new(settings),
                seed: rand::random(),
                pauses: Semaphore::new(MOST_PAUSES),
                settings: settings.clone(),
                metrics: metrics.clone(),
            },
        )
    }

    fn client(&self, payer: Payer<'_>) -> Arc<Client> {
        match payer {
            Payer::Principal(who) => {
                let id = who.principal.id.as_bytes();
                self.principals.of(xxh3_128_with_seed(id, self.seed))
            }
            Payer::Address(address) => {
                self.addresses.of(address.map_or(Network::UNKNOWN, Network::of))
            }
        }
    }

    /// Takes a request from the budget of who pays for it. The result is held while the request is
    /// under way.
    ///
    /// # Errors
    /// 429: the budget is used up, or too many requests are under way.
    pub fn admit(&self, request: &HttpRequest, payer: Payer<'_>) -> Result<UnderWay, Problem> {
        let client = self.client(payer);
        match client.take_request() {
            Ok(None) => {}
            Ok(Some(left)) => self.tell(request, left),
            Err(wait) => {
                self.tell(request, 0);
                return Err(self.too_many(payer, wait));
            }
        }
        self.begin(client, payer)
    }

    /// The same, for a message that costs what a request does.
    ///
    /// # Errors
    /// 429: the budget is used up, or too many requests are under way.
    pub fn admit_message(&self, payer: Payer<'_>) -> Result<UnderWay, Problem> {
        let client = self.client(payer);
        client.take_request().map_err(|wait| self.too_many(payer, wait))?;
        self.begin(client, payer)
    }

    /// Waits before a refusal is sent.
    pub async fn pause(&self) {
        if let Ok(_place) = self.pauses.try_acquire() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn too_many(&self, payer: Payer<'_>, wait: Duration) -> Problem {
        let most = self.settings.requests_per_minute;
        self.refusal("requests", payer, wait, || {
            format!("More than {most} requests a minute (setting limits.requests_per_minute)")
        })
    }

    fn begin(&self, client: Arc<Client>, payer: Payer<'_>) -> Result<UnderWay, Problem> {
        client.begin().ok_or_else(|| {
            let most = self.settings.concurrent_requests;
            self.refusal("concurrent", payer, Duration::from_secs(1), || {
                format!(
                    "More than {most} requests are under way (setting limits.concurrent_requests)"
                )
            })
        })
    }

    /// Takes the bytes of events from the budget of who posts them.
    ///
    /// # Errors
    /// 429: the budget is used up.
    pub fn take_event_bytes(&self, payer: Payer<'_>, bytes: u64) -> Result<(), Problem> {
        self.client(payer).take_event_bytes(bytes).map_err(|wait| {
            let most = self.settings.event_bytes_per_minute;
            self.refusal("event_bytes", payer, wait, || {
                format!(
                    "More than {most} bytes of events a minute (setting \
                     limits.event_bytes_per_minute)"
                )
            })
        })
    }

    fn refusal(
        &self,
        limit: &'static str,
        payer: Payer<'_>,
        wait: Duration,
        what: impl Fn() -> String,
    ) -> Problem {
        self.metrics.limited.with_label_values(&[limit, payer.kind()]).inc();
        let seconds = whole_seconds(wait);
        let of = match payer {
            Payer::Principal(_) => "by this credential's owner",
            Payer::Address(_) => "from this address",
        };
        Problem::too_many_requests(
            format!("{}, {of}. Nothing of this one was applied; wait {seconds} s.", what()),
            seconds,
        )
    }

    /// Notes what is left for the headers of the answer, where it is less than a fifth.
    fn tell(&self, request: &HttpRequest, left: u32) {
        let most = self.settings.requests_per_minute;
        if left < most.div_ceil(5) {
            let used = u64::from(most - left.min(most));
            let seconds = (used * 60).div_ceil(u64::from(most.max(1))).max(1);
            request.extensions_mut().insert(Left { requests: left, seconds });
        }
    }

    /// Adds `RateLimit` and `RateLimit-Policy` where little or nothing is left.
    pub fn add_headers(&self, request: &HttpRequest, headers: &mut HeaderMap) {
        let Some(left) = request.extensions().get::<Left>().copied() else { return };
        let most = self.settings.requests_per_minute;
        let (requests, seconds) = (left.requests, left.seconds);
        for (name, text) in [
            (RATE_LIMIT_POLICY, format!("\"default\";q={most};w=60")),
            (RATE_LIMIT, format!("\"default\";r={requests};t={seconds}")),
        ] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }

    /// How many clients have budgets of their own.
    pub fn clients(&self) -> usize {
        self.principals.count() + self.addresses.count()
    }
}

/// Whole seconds, rounded up; at least one.
fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_micros().div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1)
}
