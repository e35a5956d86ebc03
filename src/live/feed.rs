//! The changes of all facilities, for clients that follow all. Only the newest state of each is in
//! it, in the order of the last changes. A client is at one place of it, and gets what stands
//! behind that place; those at the same place share the bytes.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use uuid::Uuid;

use super::{connection::Connection, shard::Shard, wire::Transport};
use crate::access::Visible;

/// The most summaries of one message.
const CHUNK: usize = 250;

/// A message of the feed.
#[derive(Clone)]
struct Gathered {
    message: Option<Bytes>,
    /// Up to where it goes.
    to: u64,
    /// The place of the last change when it was put together.
    last: u64,
}

/// The feed.
#[derive(Default)]
pub struct Feed {
    last: u64,
    by_place: BTreeMap<u64, Uuid>,
    places: HashMap<Uuid, u64>,
    /// The messages that were put together since the last gathering, by from where.
    messages: HashMap<(Transport, u64, String), Gathered>,
}

impl Feed {
    /// A facility has changed.
    pub fn note(&mut self, facility: Uuid) {
        self.last += 1;
        if let Some(before) = self.places.insert(facility, self.last) {
            self.by_place.remove(&before);
        }
        self.by_place.insert(self.last, facility);
    }

    /// The place of the last change.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Forgets the messages that were put together.
    pub fn gather(&mut self) {
        self.messages.clear();
    }

    /// Forgets everything but how far it came.
    pub fn clear(&mut self) {
        *self = Feed { last: self.last, ..Feed::default() };
    }

    fn behind(&self, place: u64) -> impl Iterator<Item = (u64, Uuid)> + '_ {
        self.by_place.range(place + 1..).map(|(place, facility)| (*place, *facility))
    }
}

impl Shard {
    /// The place of the last change of all facilities.
    pub(super) fn last_of_all(&self) -> u64 {
        self.feed.borrow().last()
    }

    /// The next message for a client that follows all; `None` where it has everything, or the next
    /// gathering is to be waited for.
    pub fn next_of_all(&self, connection: &Connection) -> Option<Bytes> {
        let mut state = connection.state();
        let (seen, is_due) = state.all?;
        if !is_due || state.close.is_some() {
            return None;
        }
        let visible = state.visible.clone();
        let (message, to) = self.after(connection.transport, seen, &visible);
        let has_more = to < self.feed.borrow().last();
        state.all = Some((to, has_more));
        message.map(|message| match connection.transport {
            Transport::Websocket => message,
            Transport::Sse => self.with_id(message, &state),
        })
    }

    fn after(&self, transport: Transport, seen: u64, visible: &Visible) -> (Option<Bytes>, u64) {
        let name = match visible {
            Visible::All => String::new(),
            Visible::Only(only) => only.name.clone(),
        };
        let mut feed = self.feed.borrow_mut();
        // One from before the last change may have a version that its client has passed by now.
        if let Some(known) = feed.messages.get(&(transport, seen, name.clone()))
            && known.last == feed.last
        {
            return (known.message.clone(), known.to);
        }
        let (mut items, mut count, mut to) = (Vec::new(), 0, feed.last);
        for (place, facility) in feed.behind(seen) {
            if count == CHUNK {
                to = place - 1;
                break;
            }
            let newest = self.newest(facility).filter(|_| visible.has(facility));
            if let Some(newest) = newest {
                items.extend_from_slice(if count == 0 { b"" } else { b"," });
                items.extend_from_slice(newest.item());
                if seen > 0 {
                    let delay = newest.taken.elapsed().as_secs_f64();
                    self.cells_of(transport).delay.observe(delay);
                }
                count += 1;
            }
        }
        let json = [&b"{\"type\":\"summaries\",\"summaries\":["[..], &items, b"]}"].concat();
        let message = (count > 0).then(|| match transport {
            Transport::Websocket => super::wire::frame(&json),
            Transport::Sse => super::wire::event("summaries", &json),
        });
        let known = Gathered { message: message.clone(), to, last: feed.last };
        feed.messages.insert((transport, seen, name), known);
        (message, to)
    }
}
