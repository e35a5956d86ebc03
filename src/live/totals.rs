//! The totals of all facilities, for clients that follow them. They are those of the list, so that
//! both are the same.

use std::{collections::HashMap, rc::Rc};

use serde_json::{Value, json};

use super::{connection::Connection, hub::Hub, shard::Shard, wire};
use crate::{
    access::Visible,
    cache::views::{DayQuery, Form, Sort},
    directory::Directory,
    service::{freshness_request::FreshnessRequest, lists::day_of_all::DayRequest},
};

/// A count of states that is never reached, so that totals are looked at again.
const LOOK_AGAIN: u64 = u64::MAX;

fn name_of(visible: &Visible) -> &str {
    match visible {
        Visible::All => "",
        Visible::Only(only) => &only.name,
    }
}

impl Shard {
    /// Has a client follow the totals.
    pub fn follow_totals(self: &Rc<Self>, connection: &Rc<Connection>) {
        let visible = {
            let mut state = connection.state();
            state.totals.get_or_insert_default().are_asked = true;
            state.visible.clone()
        };
        self.send_totals(visible, vec![connection.clone()]);
    }

    /// Sends the totals to all that follow them, where something has changed, and to those that
    /// have none yet of what they may see.
    pub(super) fn look_at_totals(self: &Rc<Self>) {
        let taken = self.hub.taken();
        let has_changed = self.totals_of.replace(taken) != taken;
        if !has_changed && !self.wants_totals.take() {
            return;
        }
        let mut groups: HashMap<String, (Visible, Vec<Rc<Connection>>)> = HashMap::new();
        for connection in self.everybody() {
            let visible = {
                let mut state = connection.state();
                let Some(totals) = &mut state.totals else { continue };
                if !has_changed && (totals.are_current || totals.are_asked) {
                    continue;
                }
                totals.are_asked = true;
                state.visible.clone()
            };
            let group = groups.entry(name_of(&visible).to_owned());
            group.or_insert_with(|| (visible, Vec::new())).1.push(connection);
        }
        for (visible, connections) in groups.into_values() {
            self.send_totals(visible, connections);
        }
    }

    fn send_totals(self: &Rc<Self>, visible: Visible, to: Vec<Rc<Connection>>) {
        let shard = self.clone();
        let epoch = shard.count.get();
        tokio::task::spawn_local(async move {
            let answer = shard.hub.totals(visible.clone()).await;
            if answer.as_ref().is_some_and(|(_, may_lag)| *may_lag) {
                shard.totals_of.set(LOOK_AGAIN);
            }
            let counts = epoch == shard.count.get() && shard.unsettled.get().is_none();
            let members = answer.map(|(members, _)| members).filter(|_| counts);
            for connection in to {
                shard.take_totals(&connection, &visible, members.as_ref());
                connection.flush(&shard);
            }
        });
    }

    /// Gives a client the totals of what it could see when they were asked for; `None` where they
    /// could not be had.
    fn take_totals(&self, connection: &Connection, of: &Visible, members: Option<&Value>) {
        let mut state = connection.state();
        if name_of(&state.visible) != name_of(of) {
            return; // it may see something else by now, and that was asked for
        }
        let Some(totals) = &mut state.totals else { return };
        totals.are_asked = false;
        match members {
            Some(members) => {
                let message = connection.transport.of("totals", members.clone());
                (totals.waiting, totals.are_current) = (Some(message), true);
            }
            None if !totals.are_current => self.wants_totals.set(true),
            None => {}
        }
    }
}

impl Hub {
    /// The totals of all facilities that somebody may see, and whether they may lack the newest
    /// change, as a list may that was rendered a moment ago. `None` where they cannot be had now.
    async fn totals(&self, visible: Visible) -> Option<(Value, bool)> {
        let facilities = visible.ids().cloned();
        let text = format!("{} totals of live clients", name_of(&visible));
        let query = DayQuery {
            limit: 1,
            cursor: None,
            sort: Sort::default(),
            name: None,
            has_own_version: facilities.is_some(),
            facilities,
            blood_type: None,
            below: None,
            above: None,
            without_types: true,
        };
        let sees_all = matches!(visible, Visible::All);
        let day = DayRequest { date: None, text, query, form: Form::Plain, sees_all };
        let max_age = self.parts.reads.freshness.max_age();
        let requested = FreshnessRequest {
            max_age_ms: i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX).max(1_000),
            explicit: false,
            max_stale_ms: None,
            only_if_cached: false,
            min_version: 0,
        };
        let lists = self.parts.lists.clone();
        let (asked_ms, interval_ms) = (self.parts.clock.now_ms(), lists.render_interval_ms);
        let reading = self.parts.runtime.spawn(async move {
            let begins = |_: &Directory, _: i64| Ok::<(), ()>(());
            lists.day_of_all(&day, requested, begins, || ()).await.ok()
        });
        let answer = reading.await.ok().flatten()?;
        let mut page: Value = serde_json::from_slice(&answer.page.body).ok()?;
        let as_of_ms = self.parts.clock.now_ms().saturating_sub(answer.age_ms);
        let totals = page.get_mut("totals").map(Value::take)?;
        let may_lag = (0..interval_ms).contains(&asked_ms.saturating_sub(answer.page.rendered_ms));
        Some((json!({ "totals": totals, "as_of": wire::instant(Some(as_of_ms)) }), may_lag))
    }
}
