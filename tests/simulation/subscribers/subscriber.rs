//! A subscriber: how it is connected, what it asks for, and how it reads.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
};

use facility_summary::{
    access::{Visible, VisibleIds},
    http::live::subscription::{Asked, subscribe},
    live::{connection::Connection, slots::number_of, wire::Transport},
};
use rand::RngExt;
use rand_pcg::Pcg64;
use uuid::Uuid;

use super::{
    Live,
    messages::Received,
    pipe::Pipe,
    screen::Screen,
    tampering::{encoding, tamper},
};
use crate::{
    mutants::Mutant,
    places::{facility_id, told},
    world::{Sim, called},
};

/// Ticks of a loss after which a subscriber that reads must have been told.
const TOLD_WITHIN: u64 = 8;

/// What a subscriber wants to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// These facilities.
    Facilities(Vec<usize>),
    /// `all` or `totals`.
    Subject(&'static str),
}

/// A live client.
pub struct Subscriber {
    transport: Transport,
    wish: Wish,
    /// What it may see.
    visible: Visible,
    /// How much its socket takes.
    room: usize,
    at: Option<Connected>,
    /// What it shows.
    pub screen: Screen,
}

/// A connection of a subscriber.
struct Connected {
    r: usize,
    live: Rc<Live>,
    connection: Rc<Connection>,
    pipe: Pipe,
    received: Received,
}

fn only(facilities: &[usize]) -> Visible {
    let ids: HashSet<Uuid> = facilities.iter().map(|f| facility_id(*f)).collect();
    Visible::Only(Arc::new(VisibleIds { ids, name: format!("{facilities:?}") }))
}

fn random_view(rng: &mut Pcg64) -> Visible {
    match rng.random_range(0..6) {
        0 => only(&[0]),
        1 => only(&[1]),
        2 => only(&[0, 1]),
        _ => Visible::All,
    }
}

fn random_wish(rng: &mut Pcg64) -> Wish {
    match rng.random_range(0..8) {
        0 | 1 => Wish::Subject("all"),
        2 => Wish::Subject("totals"),
        3 => Wish::Facilities(vec![0]),
        4 => Wish::Facilities(vec![1]),
        _ => Wish::Facilities(vec![0, 1]),
    }
}

impl Subscriber {
    /// One that is not connected yet.
    pub fn random(rng: &mut Pcg64) -> Self {
        let transport = [Transport::Websocket, Transport::Sse][rng.random_range(0..2)];
        Subscriber {
            transport,
            wish: random_wish(rng),
            visible: random_view(rng),
            room: [300, 4_000, usize::MAX][rng.random_range(0..3)],
            at: None,
            screen: Screen::default(),
        }
    }

    /// One that wants this, and may see everything.
    pub fn of(transport: Transport, wish: Wish) -> Self {
        Subscriber {
            transport,
            wish,
            visible: Visible::All,
            room: usize::MAX,
            at: None,
            screen: Screen::default(),
        }
    }

    /// Whether it has a connection.
    pub fn is_connected(&self) -> bool {
        self.at.is_some()
    }

    /// Whether it is connected to this replica.
    pub fn is_at(&self, r: usize) -> bool {
        self.at.as_ref().is_some_and(|at| at.r == r)
    }

    /// The service's end of its connection.
    pub fn connection(&self) -> Option<Rc<Connection>> {
        Some(self.at.as_ref()?.connection.clone())
    }

    /// How it is called in the output.
    fn called(&self) -> String {
        format!("a client of {:?}", self.wish)
    }

    /// Connects to a replica, with what it has.
    pub fn connect(&mut self, sim: &Sim, r: usize, rng: &mut Pcg64) {
        if rng.random_range(0..8) == 0 {
            self.wish = random_wish(rng);
        }
        let comes_back = rng.random_range(0..5) > 0;
        self.connect_to(sim, r, comes_back);
    }

    /// Connects to a replica; `comes_back`: it says what it has.
    pub fn connect_to(&mut self, sim: &Sim, r: usize, comes_back: bool) {
        let Some(live) = sim.live(r).filter(|_| self.at.is_none()) else { return };
        let Ok(seat) = live.hub.admit(None) else { return };
        let pipe = Pipe::new(self.room);
        let (connection, mut asked) = live.on_its_thread(|| {
            let wire: Option<Box<dyn facility_summary::live::connection::Wire>> =
                match self.transport {
                    Transport::Websocket => Some(Box::new(pipe.clone())),
                    Transport::Sse => None,
                };
            let connection = Connection::new(self.transport, wire, seat, self.visible.clone());
            live.shard().add(&connection);
            connection.flush(live.shard());
            (connection, self.asks(sim, &live, comes_back))
        });
        sim.tell(called(r), || {
            format!(
                "{} connects: known {:?}, resume {:?}",
                self.called(),
                asked.known,
                asked.resume
            )
        });
        if !comes_back {
            self.screen.forget();
        }
        // Whoever says nothing of what it has gets what is there, however old.
        let says_something = !asked.known.is_empty() || asked.resume.is_some();
        if sim.breaks(Mutant::ShowsOlderThanKnown) {
            asked.known.clear();
        }
        self.screen.connects(says_something && asked.subject.is_none());
        live.on_its_thread(|| {
            tokio::task::spawn_local(subscribe(live.shard().clone(), connection.clone(), asked));
        });
        self.at = Some(Connected { r, live, connection, pipe, received: Received::default() });
    }

    /// What it asks for, as the socket's requests and the stream's query have it.
    fn asks(&self, sim: &Sim, live: &Live, comes_back: bool) -> Asked {
        let (ids, subject): (Vec<Uuid>, _) = match &self.wish {
            Wish::Facilities(some) => (some.iter().map(|f| facility_id(*f)).collect(), None),
            Wish::Subject(subject) => (Vec::new(), Some((*subject).to_owned())),
        };
        let facilities = ids.iter().map(Uuid::to_string).collect();
        let mut asked = Asked { facilities, subject, ..Asked::default() };
        if !comes_back {
            return asked;
        }
        match self.transport {
            Transport::Websocket => {
                let epoch = self.screen.epoch.as_deref();
                let counts = epoch.is_some_and(|epoch| live.shard().is_in_epoch(epoch));
                if counts || sim.breaks(Mutant::KnowsFromAnyEpoch) {
                    asked.known = self.known();
                }
            }
            Transport::Sse if asked.subject.is_none() => {
                asked.resume = self.resume_id(sim, &ids);
            }
            Transport::Sse => {}
        }
        asked
    }

    fn known(&self) -> HashMap<String, String> {
        let figures = self.screen.figures.iter().enumerate();
        let known = figures.filter_map(|(f, figure)| {
            let (_, etag) = figure.as_ref()?;
            Some((facility_id(f).to_string(), etag.clone()))
        });
        known.collect()
    }

    /// The id of the last event, which mutants change.
    fn resume_id(&self, sim: &Sim, ids: &[Uuid]) -> Option<String> {
        let id = self.screen.last_id.clone()?;
        let mut parts: Vec<String> = id.split('.').map(str::to_owned).collect();
        if sim.breaks(Mutant::ResumesOtherFacilities) {
            parts[3] = format!("{:016x}", number_of(ids.iter().copied()));
        }
        Some(parts.join("."))
    }

    /// Its connection is lost, with all that it has not read.
    pub fn lose(&mut self, sim: &Sim) {
        let Some(Connected { r, live, connection, .. }) = self.at.take() else { return };
        live.on_its_thread(|| live.shard().remove(&connection));
        sim.tell(called(r), || format!("loses {}", self.called()));
    }

    /// It may see other facilities from now on.
    pub fn change_view(&mut self, sim: &Sim, rng: &mut Pcg64) {
        let visible = random_view(rng);
        self.see(sim, visible);
    }

    /// It may see these facilities from now on.
    pub fn see(&mut self, sim: &Sim, visible: Visible) {
        if let Some(Connected { r, live, connection, pipe, received }) = &self.at {
            if !pipe.is_empty() || connection.state().is_blocked || !received.is_empty() {
                return; // what is under way was sent for what it could see
            }
            if sim.breaks(Mutant::ViewsChangeUntold) {
                connection.state().visible = visible.clone();
            } else {
                live.on_its_thread(|| {
                    let before = connection.state().totals.as_ref().and_then(|t| t.as_of_ms);
                    live.shard().show(connection, visible.clone());
                    if sim.breaks(Mutant::TotalsOfTheViewBefore)
                        && let Some(totals) = &mut connection.state().totals
                    {
                        totals.as_of_ms = before;
                    }
                    connection.flush(live.shard());
                });
            }
            sim.tell(called(*r), || format!("shows {} {visible:?}", self.called()));
        }
        self.visible = visible;
    }

    /// Reads so many bytes, at most, and takes the messages in them.
    pub fn read(&mut self, sim: &Sim, most: usize, claims: &mut u64) -> Result<(), String> {
        let Some(mut at) = self.at.take() else { return Ok(()) };
        let mutant = sim.world().mutant;
        if let Some(mutant) = mutant {
            tamper(&at.connection, mutant);
        }
        let mut messages = Vec::new();
        let is_all = at.receive(self.transport, most, mutant);
        while let Some(message) = at.received.next(self.transport) {
            messages.push(message);
        }
        let (r, live, connection) = (at.r, at.live.clone(), at.connection.clone());
        self.at = Some(at);
        if sim.breaks(Mutant::ProvesBeforeItSends) {
            messages.sort_by_key(|message| message.name != "heartbeat");
        }
        for mut message in messages {
            sim.tell(called(r), || format!("{} takes {message:?}", self.called()));
            if message.name == "ping" {
                let mut state = connection.state();
                (state.heard_at, state.is_pinged) = (live.shard().ticks_now(), false);
                state.dead_at = u64::MAX;
                continue;
            }
            if sim.breaks(Mutant::NumbersEachEvent) && self.transport == Transport::Sse {
                message.id = self.forged_id(sim, r, &connection).or(message.id);
            }
            let world = &*sim.world();
            self.screen.take(message, &self.visible, world).map_err(|wrong| {
                format!("{} of {} at {} ms: {wrong}", self.called(), called(r), told(world.now))
            })?;
        }
        *claims += std::mem::take(&mut self.screen.claims);
        if connection.is_over() {
            self.lose(sim);
            return Ok(());
        }
        let lost_for = live.lost_for.get();
        if is_all && lost_for >= TOLD_WITHIN && !self.screen.is_stalled {
            return Err(format!(
                "{} of {} is not told that changes of other servers do not arrive for {lost_for} \
                 ticks",
                self.called(),
                called(r)
            ));
        }
        Ok(())
    }

    /// The id of an event as it would be if each had one.
    fn forged_id(&self, sim: &Sim, r: usize, connection: &Connection) -> Option<String> {
        let at = sim.token(r).position;
        let (epoch, state) = (self.screen.epoch.as_ref()?, connection.state());
        let cells = state.slots.iter().filter_map(|slot| slot.cell.as_ref());
        let followed = number_of(cells.map(|cell| cell.id));
        Some(format!("{epoch}.{}.{}.{followed:016x}", at.generation, at.number))
    }

    /// What it lacks, once nothing happens any more since an instant; `None`: nothing.
    pub fn lacks(&self, since_ms: i64) -> Option<String> {
        self.at.as_ref()?;
        let screen = &self.screen;
        let wants: Vec<usize> = match &self.wish {
            Wish::Facilities(some) => some.clone(),
            Wish::Subject(_) => Vec::new(),
        };
        let is_told = screen.follows_all || screen.follows_totals || !wants.is_empty();
        let what = match (screen.exact_ms, screen.is_stalled) {
            _ if !is_told => return None,
            (_, true) => "is still stalled".to_owned(),
            (Some(exact_ms), _) if exact_ms >= since_ms => return None,
            (exact_ms, _) => {
                format!("has everything as of {:?} ms only", exact_ms.map(told))
            }
        };
        Some(format!("{} {what}", self.called()))
    }
}

impl Connected {
    /// Takes bytes from the socket. Returns whether nothing is left there.
    fn receive(&mut self, transport: Transport, most: usize, mutant: Option<Mutant>) -> bool {
        let Connected { live, connection, pipe, received, .. } = self;
        match transport {
            Transport::Sse => {
                let pull = || encoding(connection, mutant, || connection.pull(live.shard()));
                let bytes = live.on_its_thread(pull);
                received.extend(&bytes.unwrap_or_default());
                true
            }
            Transport::Websocket => loop {
                let bytes = pipe.read(most);
                received.extend(&bytes);
                let is_blocked = std::mem::take(&mut connection.state().is_blocked);
                if is_blocked {
                    live.on_its_thread(|| connection.flush(live.shard()));
                }
                if most < usize::MAX {
                    return false;
                }
                if pipe.is_empty() {
                    return true;
                }
            },
        }
    }
}
