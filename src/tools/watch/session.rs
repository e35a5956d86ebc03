//! One connection after another: what is asked for, and what becomes of what comes.

use std::{collections::HashMap, io, time::Duration};

use serde::Deserialize;
use serde_json::json;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use uuid::Uuid;

use super::{
    connection::{Came, Connection, Target},
    figures::{Figures, Message},
    screen::Show,
};
use crate::clock::elapsed_ms;

/// How a connection has ended.
pub enum End {
    /// Nobody has said why it did.
    Lost(String),
    /// The service said so.
    Told {
        /// Why.
        reason: String,
        /// When to come back.
        after: Duration,
    },
    /// It does not help to come back.
    Refused(String),
}

/// How long the greeting may take.
const GREETING: Duration = Duration::from_secs(10);
/// How often what is shown is looked at.
const DRAW: Duration = Duration::from_millis(200);
/// Up to so many facilities are asked for their names one by one.
const ONE_BY_ONE: usize = 20;
/// The most pages of names that are read.
const PAGES: usize = 20;

/// What helps where the service asks for a credential.
pub const SIGN_IN: &str =
    "the service asks for sign-in: set FACILITY_SUMMARY_KEY to a key or a token that counts there";

/// What is followed, and what is known of it.
pub struct Session {
    /// Where it is shown.
    pub show: Show,
    target: Target,
    facilities: Vec<Uuid>,
    all: bool,
    figures: Figures,
    /// Requests that wait for their answer.
    pending: usize,
    /// The id of the last event, where it came by server-sent events.
    last_id: Option<String>,
    /// What the service said before the end.
    said: Option<String>,
    retry_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Named {
    facility_id: Uuid,
    name: String,
}

#[derive(Deserialize)]
struct NamedPage {
    items: Vec<Named>,
    next_cursor: Option<String>,
}

impl Session {
    /// Nothing is known yet.
    pub fn new(target: Target, facilities: Vec<Uuid>, all: bool, json: bool) -> Self {
        Session {
            show: Show::new(json, target.url.as_str()),
            target,
            facilities,
            all,
            figures: Figures::default(),
            pending: 0,
            last_id: None,
            said: None,
            retry_ms: None,
        }
    }

    /// Connects, and follows until the connection ends.
    ///
    /// # Errors
    /// The output cannot be written.
    pub async fn run(&mut self) -> io::Result<End> {
        self.show.connects();
        (self.said, self.retry_ms, self.pending) = (None, None, 0);
        let asked_ms = elapsed_ms();
        let events = self.events();
        let opening = self.target.open(&events, self.last_id.as_deref());
        let mut connection = match drawn(&mut self.show, &self.figures, opening).await? {
            Ok(connection) => connection,
            Err(end) => return Ok(end),
        };
        if connection.is_events() {
            self.show.has_no_websocket(self.all);
        }
        let mut silence = GREETING;
        loop {
            let next = tokio::time::timeout(silence, connection.next());
            let (text, id) = match drawn(&mut self.show, &self.figures, next).await? {
                Err(_) => return Ok(End::Lost("nothing came for too long".into())),
                Ok(Came::Failed(why)) => {
                    self.said.get_or_insert(why);
                    return Ok(self.ended(None));
                }
                Ok(Came::Ended(frame)) => return Ok(self.ended(frame.as_ref())),
                Ok(Came::Message { text, id }) => (text, id),
                Ok(Came::Other) => continue,
            };
            let message: Message = match serde_json::from_str(&text) {
                Ok(message) => message,
                Err(error) => {
                    let why = format!("the service sends what cannot be read: {error}: {text}");
                    return Ok(End::Refused(why));
                }
            };
            self.figures.take(&message, asked_ms);
            if let Message::Hello { heartbeat_ms, .. } = message {
                silence = Duration::from_millis(2 * heartbeat_ms) + Duration::from_secs(5);
                self.name_facilities().await?;
            }
            if let Some(id) = id {
                self.last_id = Some(id).filter(|id| !id.is_empty());
            }
            self.show.message(&text, &message, &self.figures)?;
            match self.answer(&message, &mut connection).await {
                Ok(None) => {}
                Ok(Some(end)) => return Ok(end),
                Err(why) => return Ok(End::Lost(why)),
            }
        }
    }

    /// The path of the server-sent events of what is followed.
    fn events(&self) -> String {
        if self.all {
            return "/v1/stream?subject=all".into();
        }
        let each: Vec<String> =
            self.facilities.iter().map(|id| format!("facility_id={id}")).collect();
        format!("/v1/stream?{}", each.join("&"))
    }

    /// Waits until the next attempt, and says so.
    ///
    /// # Errors
    /// The output cannot be written.
    pub async fn wait(&mut self, reason: &str, pause: Duration) -> io::Result<()> {
        self.show.waits(reason, pause);
        drawn(&mut self.show, &self.figures, tokio::time::sleep(pause)).await
    }

    async fn answer(
        &mut self,
        message: &Message,
        connection: &mut Connection,
    ) -> Result<Option<End>, String> {
        match message {
            Message::Hello { .. } => {
                let mut asked = self.figures.subscriptions(&self.facilities);
                if self.all {
                    let subjects = ["all", "totals"];
                    asked.extend(subjects.map(|of| json!({"type": "subscribe", "subject": of})));
                }
                // The request of server-sent events is one subscription.
                self.pending = if connection.is_events() { 1 } else { asked.len() };
                for request in asked {
                    connection.send(&request).await?;
                }
            }
            Message::Subscribed { .. } => self.pending = self.pending.saturating_sub(1),
            Message::Draining { retry_ms } => {
                self.said = Some("the service asks to come back later".into());
                self.retry_ms = Some(*retry_ms);
            }
            Message::Error { code, .. } if code == "unauthorized" => {
                return Ok(Some(End::Refused(SIGN_IN.into())));
            }
            Message::Expired { detail } => {
                return Ok(Some(End::Refused(format!("{detail} ({SIGN_IN})"))));
            }
            Message::Forbidden { detail } => return Ok(Some(End::Refused(detail.clone()))),
            Message::Error { detail, retry_ms, .. } => {
                self.said = Some(detail.clone());
                self.retry_ms = retry_ms.or(self.retry_ms);
            }
            _ => {}
        }
        let is_asked = matches!(message, Message::Subscribed { .. } | Message::Error { .. });
        let is_left = self.pending == 0 && self.retry_ms.is_none();
        Ok((is_asked && is_left && self.figures.follows_nothing()).then(|| self.nothing_left()))
    }

    fn nothing_left(&self) -> End {
        let refused = &self.figures.refused;
        let each: Vec<String> = refused.iter().map(|(id, why)| format!("{id}: {why}")).collect();
        let reason = match &self.said {
            Some(said) if each.is_empty() => said.clone(),
            _ => format!("nothing is left to follow: {}", each.join(", ")),
        };
        match refused.values().any(|why| why == "unavailable") {
            true => End::Lost(reason),
            false => End::Refused(reason),
        }
    }

    fn ended(&mut self, frame: Option<&CloseFrame>) -> End {
        let reason = self.said.take().unwrap_or_else(|| "the connection was lost".into());
        let after = self.retry_ms.map(Duration::from_millis);
        match (frame.map(|frame| frame.code), after) {
            (Some(CloseCode::Policy), _) => End::Refused(reason),
            (_, Some(after)) => End::Told { reason, after },
            _ => End::Lost(reason),
        }
    }

    /// Finds out what the facilities are called, for people. Without it their ids are shown.
    async fn name_facilities(&mut self) -> io::Result<()> {
        let lacks_names = self.facilities.iter().any(|id| !self.show.names.contains_key(id));
        if !self.show.shows_names() || !(self.all || lacks_names) {
            return Ok(());
        }
        let reading = read_names(&self.target, &self.facilities);
        let names = drawn(&mut self.show, &self.figures, reading).await?;
        self.show.names.extend(names);
        Ok(())
    }
}

async fn read_names(target: &Target, facilities: &[Uuid]) -> HashMap<Uuid, String> {
    let mut names = HashMap::new();
    let mut note = |named: Named| names.insert(named.facility_id, named.name);
    if (1..=ONE_BY_ONE).contains(&facilities.len()) {
        for id in facilities {
            target.read(&format!("/v1/facilities/{id}")).await.map(&mut note);
        }
        return names;
    }
    let mut path = "/v1/facilities?limit=500".to_owned();
    for _ in 0..PAGES {
        let Some(page) = target.read::<NamedPage>(&path).await else { break };
        page.items.into_iter().for_each(|named| drop(note(named)));
        let Some(cursor) = page.next_cursor else { break };
        path = format!("/v1/facilities?limit=500&cursor={cursor}");
    }
    names
}

/// Waits for something, while the ages that are shown grow.
async fn drawn<T>(
    show: &mut Show,
    figures: &Figures,
    what: impl Future<Output = T>,
) -> io::Result<T> {
    let mut what = std::pin::pin!(what);
    let mut ticks = tokio::time::interval(DRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            done = &mut what => return Ok(done),
            _ = ticks.tick() => show.draw(figures)?,
        }
    }
}
