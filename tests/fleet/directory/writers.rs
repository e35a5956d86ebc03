//! Writers. Each has facilities of its own, so that the statements about a row are in a known
//! order.

use std::{sync::Arc, time::Duration};

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    figures::start_of,
    moves,
    post::{Posted, event, post},
    readers,
    seen::{Answer, Stated, Stating, TYPES},
    settings::{Kind, ZONES},
    sql::Plain,
    statements::{activity_event, activity_sql, registration, sql_instant, sql_kind},
    world::{World, client, instant},
};
use crate::history::Fate;

/// The longest pause between two writes of a writer, in milliseconds.
const PACE_MS: u64 = 350;
/// How many rows of a kind a facility has at most. Further writes change these rows.
const ROWS: usize = 8;
const UNITS: usize = 4;

/// A facility as its writer knows it. The outcome of a write may be unknown; then only the tables
/// have the truth.
#[derive(Debug, Clone)]
pub struct Site {
    pub id: Uuid,
    pub exists: bool,
    pub zone: &'static str,
    pub name: String,
    pub banks: Vec<Bank>,
    pub requests: Vec<Uuid>,
    pub deliveries: Vec<Uuid>,
}

#[derive(Debug, Clone)]
pub struct Bank {
    pub id: Uuid,
    pub units: Vec<Uuid>,
}

impl Bank {
    pub fn new() -> Bank {
        Bank { id: Uuid::new_v4(), units: Vec::new() }
    }
}

pub struct Writer {
    pub world: Arc<World>,
    pub client: Client,
    pub rng: StdRng,
    pub plain: Plain,
    pub sites: Vec<Site>,
    pub stated: Vec<Stated>,
    pub answers: Vec<Answer>,
    /// Transactions that are held open.
    pub held: JoinSet<()>,
}

/// The next write of a writer.
#[derive(Debug, Clone, Copy)]
enum Act {
    Stock,
    Request,
    Delivery,
    Remove,
    Rename,
    Zone,
    ThereAndBack,
    ZoneBesideAnEvent,
    Leave,
    Return,
    ComeBackAtOnce,
    MoveBank,
    MoveBankWhileHeld,
    Hold,
    Truncate,
}

impl Writer {
    pub fn new(world: Arc<World>, number: u64, sites: Vec<Site>) -> Writer {
        let rng = world.plan.rng(100 + number);
        let (stated, answers, held) = (Vec::new(), Vec::new(), JoinSet::new());
        Writer {
            client: client(),
            rng,
            plain: Plain::default(),
            sites,
            stated,
            answers,
            held,
            world,
        }
    }

    /// Writes until the round is over.
    pub async fn write(mut self) -> (Vec<Stated>, Vec<Answer>) {
        while self.world.goes_on() {
            let act = self.choose();
            self.act(act).await;
            let pause = self.rng.random_range(0..PACE_MS);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            while self.held.try_join_next().is_some() {}
        }
        self.held.join_all().await;
        (self.stated, self.answers)
    }

    fn choose(&mut self) -> Act {
        use Act::{
            ComeBackAtOnce, Delivery, Hold, Leave, MoveBank, MoveBankWhileHeld, Remove, Rename,
            Request, Return, Stock, ThereAndBack, Truncate, Zone, ZoneBesideAnEvent,
        };
        let figures = [(Stock, 30), (Request, 20), (Delivery, 20), (Remove, 6), (Hold, 4)];
        let zones = [(Zone, 8), (ThereAndBack, 3), (ZoneBesideAnEvent, 5)];
        let removals = [(Leave, 8), (Return, 12), (ComeBackAtOnce, 4)];
        let banks = [(MoveBank, 8), (MoveBankWhileHeld, 6)];
        let all = [
            (Rename, 4),
            (Truncate, 1),
            (Leave, 2),
            (Return, 6),
            (ComeBackAtOnce, 1),
            (Zone, 4),
            (ThereAndBack, 2),
            (ZoneBesideAnEvent, 2),
            (MoveBank, 4),
            (MoveBankWhileHeld, 2),
        ];
        let more: &[(Act, u32)] = match self.world.plan.kind {
            Kind::Figures => &[(Truncate, 1)],
            Kind::Zones => &zones,
            Kind::Removals => &removals,
            Kind::Banks => &banks,
            Kind::All | Kind::Lists => &all,
        };
        let acts: Vec<(Act, u32)> = figures.iter().chain(more).copied().collect();
        acts.choose_weighted(&mut self.rng, |(_, weight)| *weight).expect("there are some").0
    }

    async fn act(&mut self, act: Act) {
        let wants_absent = matches!(act, Act::Return);
        let Some(at) = (0..self.sites.len())
            .filter(|at| self.sites[*at].exists != wants_absent)
            .collect::<Vec<_>>()
            .choose(&mut self.rng)
            .copied()
        else {
            return;
        };
        match act {
            Act::Stock => self.stock(at).await,
            Act::Request | Act::Delivery => self.activity(at, matches!(act, Act::Request)).await,
            Act::Remove => self.remove(at).await,
            Act::Rename => self.rename(at).await,
            Act::Zone => self.zone(at).await,
            Act::ThereAndBack => moves::there_and_back(self, at).await,
            Act::ZoneBesideAnEvent => moves::zone_beside_an_event(self, at).await,
            Act::Leave => moves::leave(self, at).await,
            Act::Return => moves::come_back(self, at).await,
            Act::ComeBackAtOnce => {
                moves::leave(self, at).await;
                let pause = self.rng.random_range(0..600);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                moves::come_back(self, at).await;
            }
            Act::MoveBank => moves::move_bank(self, at, false).await,
            Act::MoveBankWhileHeld => moves::move_bank(self, at, true).await,
            Act::Hold => moves::hold(self, at),
            Act::Truncate => moves::truncate(self).await,
        }
    }

    pub fn replica(&mut self) -> usize {
        self.rng.random_range(0..self.world.places.replicas())
    }

    pub fn by_event(&mut self) -> bool {
        self.rng.random_bool(0.5)
    }

    /// Posts events at some replica. Now and then reads its own write at another replica.
    pub async fn post(&mut self, events: &[Value], rows: &[(Stating, Uuid, i64)]) -> Posted {
        let replica = self.replica();
        let posted = post(&self.world, &self.client, replica, events).await;
        self.stated.extend(posted.stated(rows));
        if posted.fate == Fate::Acknowledged && self.rng.random_bool(0.3) {
            let other = self.replica();
            if let Some((facility, date, version)) = posted.days.choose(&mut self.rng) {
                let (world, client) = (self.world.clone(), self.client.clone());
                self.answers.push(
                    readers::since(
                        &world,
                        &client,
                        other,
                        *facility,
                        date,
                        *version,
                        posted.sent_ms,
                    )
                    .await,
                );
            }
        }
        posted
    }

    pub fn kind(&mut self) -> usize {
        self.rng.random_range(0..TYPES.len())
    }

    async fn stock(&mut self, at: usize) {
        let Some(place) = (!self.sites[at].banks.is_empty())
            .then(|| self.rng.random_range(0..self.sites[at].banks.len()))
        else {
            return;
        };
        let unit = self.unit(at, place);
        let (kind, quantity, now_ms) =
            (self.kind(), self.rng.random_range(1..1_000i64), self.world.now_ms());
        let expires_ms =
            self.rng.random_bool(0.2).then(|| now_ms + self.rng.random_range(500..9_000));
        let bank = self.sites[at].banks[place].id;
        if self.by_event() {
            let mut data =
                json!({"inventory_id": unit, "blood_bank_id": bank, "quantity": quantity});
            if kind < 8 {
                data["blood_type"] = json!(TYPES[kind]);
            }
            if let Some(expires_ms) = expires_ms {
                data["expires_at"] = json!(instant(expires_ms));
            }
            self.post(&[event("inventory.set", now_ms, data)], &[(Stating::Unit, unit, now_ms)])
                .await;
        } else {
            let (world, kind) = (self.world.clone(), sql_kind(kind));
            let statement = format!(
                "INSERT INTO blood_inventory (id, blood_bank_id, blood_type, quantity, \
                 expires_at) VALUES ('{unit}', '{bank}', {kind}, {quantity}, {})
                 ON CONFLICT (id) DO UPDATE SET blood_bank_id = excluded.blood_bank_id, blood_type \
                 = excluded.blood_type, quantity = excluded.quantity,
                 expires_at = excluded.expires_at",
                expires_ms.map_or("NULL".to_owned(), sql_instant)
            );
            self.plain.run(&world, &statement).await;
        }
    }

    /// A unit of the bank, sometimes a new one.
    pub fn unit(&mut self, at: usize, place: usize) -> Uuid {
        let units = &mut self.sites[at].banks[place].units;
        if units.len() < UNITS {
            units.push(Uuid::new_v4());
        }
        *units.choose(&mut self.rng).expect("there is one")
    }

    /// An instant shortly before or after a local midnight of the last days, in the facility's zone
    /// or in another one.
    pub fn near_a_midnight(&mut self, at: usize) -> i64 {
        let now_ms = self.world.now_ms();
        let zone = if self.rng.random_bool(0.6) {
            self.sites[at].zone
        } else {
            ZONES[self.rng.random_range(0..ZONES.len())]
        };
        let day = super::figures::date_in(zone, now_ms)
            .checked_sub(jiff::Span::new().days(self.rng.random_range(0..3)))
            .expect("it is a day");
        let midnight_ms = start_of(zone, day);
        (midnight_ms + self.rng.random_range(-7_200_000..7_200_000)).min(now_ms)
    }

    async fn activity(&mut self, at: usize, is_request: bool) {
        let rows =
            if is_request { &mut self.sites[at].requests } else { &mut self.sites[at].deliveries };
        if rows.len() < ROWS {
            rows.push(Uuid::new_v4());
        }
        let id = *rows.choose(&mut self.rng).expect("there is one");
        let then_ms =
            if self.rng.random_bool(0.3) { self.world.now_ms() } else { self.near_a_midnight(at) };
        let (kind, quantity) = (self.kind(), self.rng.random_range(1..100));
        if self.by_event() {
            let now_ms = self.world.now_ms();
            let (posted, row) =
                activity_event(is_request, id, self.sites[at].id, kind, quantity, then_ms, now_ms);
            self.post(&[posted], &[(row, id, now_ms)]).await;
        } else {
            let (world, statement) = (
                self.world.clone(),
                activity_sql(is_request, id, self.sites[at].id, kind, quantity, then_ms),
            );
            self.plain.run(&world, &statement).await;
        }
    }

    /// Removes a unit, a request or a delivery.
    async fn remove(&mut self, at: usize) {
        let site = &mut self.sites[at];
        let units: Vec<Uuid> = site.banks.iter().flat_map(|bank| bank.units.clone()).collect();
        let of = [
            ("inventory.removed", "inventory_id", "blood_inventory", units),
            ("request.removed", "request_id", "blood_requests", site.requests.clone()),
            (
                "distribution.removed",
                "distribution_id",
                "blood_distributions",
                site.deliveries.clone(),
            ),
        ];
        let (kind, key, table, ids) = of[self.rng.random_range(0..of.len())].clone();
        let Some(id) = ids.choose(&mut self.rng).copied() else { return };
        if self.by_event() {
            let now_ms = self.world.now_ms();
            self.post(&[event(kind, now_ms, json!({key: id}))], &[]).await;
        } else {
            let world = self.world.clone();
            self.plain.run(&world, &format!("DELETE FROM {table} WHERE id = '{id}'")).await;
        }
    }

    async fn rename(&mut self, at: usize) {
        self.sites[at].name = format!("Facility {}", self.rng.random_range(0..10_000));
        self.register(at).await;
    }

    async fn zone(&mut self, at: usize) {
        self.sites[at].zone = ZONES[self.rng.random_range(0..ZONES.len())];
        self.register(at).await;
    }

    /// Registers the facility as it should be, by an event or by SQL.
    pub async fn register(&mut self, at: usize) -> bool {
        let Site { id, zone, name, .. } = self.sites[at].clone();
        if self.by_event() {
            let now_ms = self.world.now_ms();
            self.post(&[registration(&self.sites[at], now_ms)], &[(Stating::Facility, id, now_ms)])
                .await
                .fate
                != Fate::Refused
        } else {
            let world = self.world.clone();
            let statement = format!(
                "INSERT INTO facilities (id, name, timezone) VALUES ('{id}', '{name}', '{zone}')
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, timezone = excluded.timezone"
            );
            self.plain.run(&world, &statement).await
        }
    }
}
