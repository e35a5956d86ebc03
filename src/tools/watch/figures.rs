//! What the service has sent, and as of when it is exact.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::clock::elapsed_ms;

/// A message of the service, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// The greeting.
    Hello { epoch: Option<String>, heartbeat_ms: u64, now: Timestamp },
    /// What is followed from now on.
    Subscribed { facilities: Vec<Uuid>, subject: Option<String>, refused: Vec<Refused> },
    /// The newest state of a facility.
    Summary(Item),
    /// Those of several.
    Summaries { summaries: Vec<Item> },
    /// The sums over all.
    Totals { totals: Sums, as_of: Option<Timestamp> },
    /// As of when everything has come.
    Heartbeat { exact_as_of: Option<Timestamp>, now: Timestamp },
    /// Nothing can be proven.
    Stalled { since: Option<Timestamp>, reason: String },
    /// It can be again.
    Resumed {},
    /// What is shown does not count.
    Epoch { epoch: Option<String> },
    /// Come back later.
    Draining { retry_ms: u64 },
    /// The credential has ended, or there is none; only in server-sent events.
    Expired { detail: String },
    /// It is not allowed; only in server-sent events.
    Forbidden { detail: String },
    /// Something is wrong; in server-sent events also by the name of what it is.
    #[serde(alias = "full", alias = "unavailable")]
    Error {
        code: String,
        detail: String,
        facility_id: Option<Uuid>,
        #[serde(default)]
        facilities: Vec<Uuid>,
        retry_ms: Option<u64>,
    },
    /// One that does not matter here, or that a later service knows.
    #[serde(other)]
    Other,
}

/// What is not followed.
#[derive(Debug, Deserialize)]
pub struct Refused {
    /// As it was asked for.
    pub facility_id: Option<String>,
    /// Why, in a word.
    pub reason: String,
}

/// A summary with its tag.
#[derive(Debug, Deserialize)]
pub struct Item {
    summary: Summary,
    etag: String,
    as_of: Option<Timestamp>,
    /// The figures stay as they were at `as_of`.
    #[serde(default)]
    cannot_be_counted: bool,
}

impl Item {
    /// Whose it is.
    pub fn facility(&self) -> Uuid {
        self.summary.facility_id
    }
}

#[derive(Debug, Deserialize)]
struct Summary {
    facility_id: Uuid,
    date: String,
    #[serde(flatten)]
    figures: Sums,
    version: i64,
}

/// The figures of a day.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sums {
    /// Units in stock.
    pub total_stock: Option<i64>,
    /// Units delivered.
    pub total_transferred: Option<i64>,
    /// Requests made.
    pub total_requests: Option<i64>,
    /// Of how many facilities they are the sums.
    pub facilities: Option<u64>,
}

/// A facility, as it is shown.
#[derive(Debug)]
pub struct Row {
    /// The facility's date.
    pub date: String,
    /// The figures.
    pub figures: Sums,
    /// Their version.
    pub version: i64,
    /// They are exact as of this, or later.
    pub as_of: Option<Timestamp>,
    /// The figures stay as they were then, as they cannot be counted.
    pub is_still: bool,
    etag: String,
    is_confirmed: bool,
}

/// Everything that was sent.
#[derive(Default)]
pub struct Figures {
    /// By facility.
    pub rows: HashMap<Uuid, Row>,
    /// The sums, and as of when they are exact.
    pub totals: Option<(Sums, Option<Timestamp>)>,
    /// Since when nothing can be proven, and why.
    pub stalled: Option<(Option<Timestamp>, String)>,
    /// What is not followed, and why.
    pub refused: BTreeMap<String, String>,
    epoch: Option<String>,
    /// What this connection follows by now.
    followed: HashSet<Uuid>,
    follows_all: bool,
    follows_totals: bool,
    /// The service's time less `elapsed_ms`, at most.
    ahead_ms: Option<i64>,
}

impl Figures {
    /// Takes a message in. `asked_ms` is `elapsed_ms` when the connection was begun.
    pub fn take(&mut self, message: &Message, asked_ms: i64) {
        match message {
            Message::Hello { epoch, now, .. } => {
                // It was made after that, so the service's clock cannot have shown more then.
                self.ahead_ms = Some(now.as_millisecond() - asked_ms);
                if *epoch != self.epoch {
                    self.forget(epoch.clone());
                }
                self.followed.clear();
                (self.follows_all, self.follows_totals, self.stalled) = (false, false, None);
            }
            Message::Epoch { epoch } => self.forget(epoch.clone()),
            Message::Subscribed { facilities, subject, refused } => {
                self.followed.extend(facilities);
                for id in facilities {
                    self.refused.remove(&id.to_string());
                }
                self.follows_totals |= subject.as_deref() == Some("totals");
                if subject.as_deref() == Some("all") {
                    self.follows_all = true;
                    self.rows.values_mut().for_each(|row| row.is_confirmed = false);
                }
                for Refused { facility_id, reason } in refused {
                    if let Some(id) = facility_id {
                        self.refused.insert(id.clone(), reason.clone());
                    }
                }
            }
            Message::Summary(item) => self.show(item),
            Message::Summaries { summaries } => summaries.iter().for_each(|item| self.show(item)),
            Message::Totals { totals, as_of } => self.totals = Some((totals.clone(), *as_of)),
            Message::Heartbeat { exact_as_of, now } => {
                let least_ms = now.as_millisecond() - elapsed_ms();
                self.ahead_ms = self.ahead_ms.map(|ahead_ms| ahead_ms.max(least_ms));
                if let Some(exact) = *exact_as_of {
                    self.prove(exact);
                }
            }
            Message::Stalled { since, reason } => self.stalled = Some((*since, reason.clone())),
            Message::Resumed {} => self.stalled = None,
            Message::Error { code, facility_id, facilities, .. } => {
                for id in facilities.iter().chain(facility_id) {
                    self.rows.remove(id);
                    self.followed.remove(id);
                    self.refused.insert(id.to_string(), code.clone());
                }
            }
            Message::Expired { .. }
            | Message::Forbidden { .. }
            | Message::Draining { .. }
            | Message::Other => {}
        }
    }

    fn forget(&mut self, epoch: Option<String>) {
        self.rows.clear();
        self.totals = None;
        self.epoch = epoch;
    }

    fn show(&mut self, item: &Item) {
        let Item { summary, etag, as_of, cannot_be_counted } = item;
        self.refused.remove(&summary.facility_id.to_string());
        self.followed.insert(summary.facility_id);
        // Versions rise in an epoch; a day without figures has version 0. After a new connection,
        // who follows all may be sent an older one: by another server, which is behind and was not
        // told what is shown here.
        if let Some(held) = self.rows.get_mut(&summary.facility_id)
            && (1..held.version).contains(&summary.version)
            && summary.date <= held.date
        {
            held.is_confirmed = true;
            return;
        }
        let row = Row {
            date: summary.date.clone(),
            figures: summary.figures.clone(),
            version: summary.version,
            as_of: *as_of,
            etag: etag.clone(),
            is_still: *cannot_be_counted,
            is_confirmed: true,
        };
        self.rows.insert(summary.facility_id, row);
    }

    /// The connection has everything of what it follows up to then.
    fn prove(&mut self, exact: Timestamp) {
        if self.follows_all {
            // Whoever follows all is sent all; what did not come is there no more.
            self.rows.retain(|_, row| row.is_confirmed);
        }
        for (id, row) in &mut self.rows {
            if !row.is_still && (self.follows_all || self.followed.contains(id)) {
                row.as_of = row.as_of.max(Some(exact));
            }
        }
        if let (true, Some((_, as_of))) = (self.follows_totals, &mut self.totals) {
            *as_of = (*as_of).max(Some(exact));
        }
    }

    /// How long ago that is at most, in milliseconds; `None` where it is not known.
    pub fn age_ms(&self, as_of: Option<Timestamp>) -> Option<i64> {
        let latest_ms = self.ahead_ms? + elapsed_ms();
        Some((latest_ms - as_of?.as_millisecond()).max(0))
    }

    /// The messages that ask for these facilities: the service sends what differs from what is
    /// known here.
    pub fn subscriptions(&self, facilities: &[Uuid]) -> Vec<Value> {
        let of = |few: &[Uuid]| {
            let known: HashMap<Uuid, &str> =
                few.iter().filter_map(|id| Some((*id, self.rows.get(id)?.etag.as_str()))).collect();
            let mut message = serde_json::json!({
                "type": "subscribe", "facilities": few, "known": known,
            });
            if let Some(epoch) = &self.epoch {
                message["epoch"] = epoch.as_str().into();
            }
            message
        };
        facilities.chunks(CHUNK).map(of).collect()
    }

    /// Whether there is nothing that could come.
    pub fn follows_nothing(&self) -> bool {
        self.followed.is_empty() && !self.follows_all
    }
}

/// The facilities of one message: it stays below 16 KiB with the tag of each.
const CHUNK: usize = 100;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sent(figures: &mut Figures, message: serde_json::Value) {
        figures.take(&serde_json::from_value(message).expect("it is one"), 0);
    }

    fn hello(figures: &mut Figures, epoch: &str) {
        let now = "2026-11-21T10:00:00Z";
        let hello = json!({"type": "hello", "epoch": epoch, "heartbeat_ms": 1_000, "now": now});
        sent(figures, hello);
        sent(
            figures,
            json!({"type": "subscribed", "facilities": [], "subject": "all",
            "refused": []}),
        );
    }

    fn summary(figures: &mut Figures, date: &str, version: i64) {
        let summary = json!({"facility_id": Uuid::nil(), "date": date, "version": version,
            "total_stock": version, "total_transferred": 0, "total_requests": 0});
        sent(figures, json!({"type": "summary", "summary": summary, "etag": "", "as_of": null}));
    }

    #[test]
    fn nothing_older_is_shown_in_an_epoch_and_the_next_day_and_the_next_epoch_are() {
        let mut figures = Figures::default();
        let version = |figures: &Figures| figures.rows[&Uuid::nil()].version;
        hello(&mut figures, "one");
        summary(&mut figures, "2026-11-21", 9);
        hello(&mut figures, "one");
        summary(&mut figures, "2026-11-21", 8);
        let now = "2026-11-21T10:00:01Z";
        sent(&mut figures, json!({"type": "heartbeat", "exact_as_of": now, "now": now}));
        assert_eq!(version(&figures), 9, "another server is behind");
        summary(&mut figures, "2026-11-22", 0);
        assert_eq!(version(&figures), 0, "another day, without figures yet");
        summary(&mut figures, "2026-11-22", 10);
        hello(&mut figures, "two");
        summary(&mut figures, "2026-11-22", 3);
        assert_eq!(version(&figures), 3);
    }
}
