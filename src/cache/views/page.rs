//! A page of a view: which facilities are on it, and its bytes, put together from the bodies that
//! are held.

use std::{
    io::Write,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    orders::merged,
    query::{DayCursor, DayQuery, Named, Place},
    state::{Member, Part, State},
};
use crate::{
    cache::encoding,
    domain::{
        blood_type::BloodType,
        summary::ShownFigures,
        totals::{RunningTotals, Totals},
    },
};

/// What is on a page, before it is put together.
pub(super) struct Picked {
    items: Vec<(Arc<super::Entry>, Option<ShownFigures>)>,
    totals: Totals,
    next: Option<DayCursor>,
    /// The version of the day in whose order the page is.
    version: u64,
}

/// The cursor names a facility that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCursor;

impl State {
    /// Picks the page of a query. Its figures are those of now. Its order is that of the version
    /// that its cursor names, as long as the changes since then are remembered; otherwise the order
    /// of now, from the same place on.
    pub fn pick(&self, query: &DayQuery) -> Result<Picked, UnknownCursor> {
        let of_own = query.facilities.as_ref().filter(|_| query.has_own_version);
        let share = |id: &Uuid| self.share_of(id);
        let now_version = match of_own {
            None => self.version,
            Some(ids) => ids.iter().map(share).fold(0, u64::wrapping_add),
        };
        let (start, asked_version) = self.start(query, now_version)?;
        let since = match of_own {
            None => self.log.since(asked_version, now_version),
            Some(ids) => {
                self.log.since_of_some(asked_version, now_version, |id| ids.contains(id), share)
            }
        };
        let (version, before) = match since {
            Some(before) => (asked_version, before),
            None => (now_version, Default::default()),
        };
        // The place that a facility had then. By name a change of figures moves nobody.
        let place_then = |id: &Uuid| {
            let before = before.get(id)?;
            let ranks = before.ranks?;
            let has_moved =
                query.sort.by.is_some() || self.members.get(id)?.named.name != before.named.name;
            let figure = query.sort.by.map_or(0, |figure| ranks[figure as usize]);
            has_moved.then(|| Place { figure, named: before.named.clone() })
        };
        let mut moved: Vec<Place> = before
            .keys()
            .filter_map(place_then)
            .filter(|place| {
                start.as_ref().is_none_or(|start| query.sort.compare(place, start).is_ge())
            })
            .collect();
        moved.sort_unstable_by(|a, b| query.sort.compare(a, b));
        let stayed = self
            .orders
            .from(query.sort, start.as_ref())
            .filter(|place| place_then(&place.named.id).is_none());
        let mut found = merged(query.sort, stayed, moved.into_iter()).filter_map(|place| {
            let member = self.members.get(&place.named.id)?;
            let part = member.part.as_ref()?;
            query.takes(&member.named.id, &member.sought, &part.figures).then_some((place, part))
        });
        let item = |(_, part): (Place, &Part)| {
            let shown = query.blood_type.and_then(|blood_type| part.figures.shown(blood_type));
            (part.entry.clone(), shown)
        };
        let items: Vec<_> = found.by_ref().take(query.limit).map(item).collect();
        let next = found.next().map(|(place, _)| DayCursor::At {
            version,
            sort: query.sort,
            figure: place.figure,
            id: place.named.id,
            name: place.named.name.clone(),
        });
        Ok(Picked { items, totals: self.totals_of(query), next, version })
    }

    /// Where the page begins, and in the order of which version.
    fn start(
        &self,
        query: &DayQuery,
        now_version: u64,
    ) -> Result<(Option<Place>, u64), UnknownCursor> {
        Ok(match &query.cursor {
            None => (None, now_version),
            Some(DayCursor::At { version, figure, id, name, .. }) => {
                let named = Arc::new(Named { name: name.clone(), id: *id });
                (Some(Place { figure: *figure, named }), *version)
            }
            Some(DayCursor::From(id)) => {
                // One that the reader may not see is answered as one that does not exist: where it
                // stands would tell its figures.
                let is_asked_for = query.facilities.as_ref().is_none_or(|ids| ids.contains(id));
                let member = self.members.get(id).filter(|_| is_asked_for).ok_or(UnknownCursor)?;
                (Some(self.place_of(query, member).ok_or(UnknownCursor)?), now_version)
            }
        })
    }

    fn place_of(&self, query: &DayQuery, member: &Member) -> Option<Place> {
        let figure = match query.sort.by {
            None => 0,
            Some(figure) => member.part.as_ref()?.figures.rank(figure),
        };
        Some(Place { figure, named: member.named.clone() })
    }

    /// The sums of what the query's filters leave.
    fn totals_of(&self, query: &DayQuery) -> Totals {
        let mut totals = if query.selects() {
            let mut selected = RunningTotals::default();
            let mut add = |member: &Member| {
                let Some(part) = &member.part else { return };
                if query.takes(&member.named.id, &member.sought, &part.figures) {
                    selected.add(&part.figures);
                } else if part.figures.is_uncounted && query.names(&member.named.id, &member.sought)
                {
                    selected.leave_out_uncounted();
                }
            };
            match &query.facilities {
                Some(ids) => ids.iter().filter_map(|id| self.members.get(id)).for_each(&mut add),
                None => self.members.values().for_each(&mut add),
            }
            selected.totals(self.known)
        } else {
            self.totals.totals(self.known)
        };
        if query.without_types {
            totals.by_blood_type = None;
        }
        if let (Some(blood_type), Some(types)) = (query.blood_type, &mut totals.by_blood_type) {
            types.retain(|of, _| *of == blood_type);
        }
        totals
    }
}

/// The members of a summary's body between which its blood types stand. Nothing before the first
/// contains its text: ids, a date and numbers.
const TYPES: &[u8] = b"\"by_blood_type\":";
const AFTER_TYPES: &[u8] = b"\"updated_at\":";

fn find(body: &[u8], part: &[u8]) -> Option<usize> {
    body.windows(part.len()).position(|window| window == part)
}

/// Writes a summary without its blood types, or with one of them.
fn write_item(page: &mut Vec<u8>, body: &[u8], shown: Option<(BloodType, Option<ShownFigures>)>) {
    let (Some(types), Some(after)) = (find(body, TYPES), find(body, AFTER_TYPES)) else {
        page.extend_from_slice(body);
        return;
    };
    page.extend_from_slice(&body[..types]);
    if let Some((blood_type, figures)) = shown {
        page.extend_from_slice(TYPES);
        page.push(b'{');
        if let Some(figures) = figures {
            write_json(page, &blood_type);
            page.push(b':');
            write_json(page, &figures);
        }
        page.extend_from_slice(b"},");
    }
    page.extend_from_slice(&body[after..]);
}

fn write_json(page: &mut Vec<u8>, value: &impl serde::Serialize) {
    serde_json::to_writer(page, value).expect("names and finite numbers, into memory");
}

impl Picked {
    /// Puts the page together.
    pub fn render(self, query: &DayQuery) -> Vec<u8> {
        let size: usize = self.items.iter().map(|(entry, _)| entry.body_len()).sum();
        let mut page = Vec::with_capacity(size + self.items.len() + 2_048);
        page.extend_from_slice(b"{\"items\":[");
        for (at, (entry, shown)) in self.items.iter().enumerate() {
            if at > 0 {
                page.push(b',');
            }
            let body = entry.body();
            match (query.without_types, query.blood_type) {
                (true, _) => write_item(&mut page, &body, None),
                (false, Some(blood_type)) => {
                    write_item(&mut page, &body, Some((blood_type, *shown)));
                }
                (false, None) => page.extend_from_slice(&body),
            }
        }
        page.extend_from_slice(b"],\"totals\":");
        write_json(&mut page, &self.totals);
        page.extend_from_slice(b",\"next_cursor\":");
        write_json(&mut page, &self.next.map(|next| next.to_string()));
        let _ = write!(page, ",\"day_version\":\"{:016x}\"}}", self.version);
        page
    }
}

/// A page as it is sent.
#[derive(Debug)]
pub struct Page {
    /// The JSON body.
    pub body: Bytes,
    /// The strong entity tag of the plain form, quotes included.
    etag: Bytes,
    /// The view's content when the page was rendered.
    pub(super) content: u64,
    /// The instant as of which the page is exact by itself, in milliseconds: that of the view when
    /// the page was rendered.
    pub exact_ms: i64,
    /// When the page was rendered, in milliseconds.
    pub rendered_ms: i64,
    gzip: OnceLock<Option<Bytes>>,
    brotli: OnceLock<Option<Bytes>>,
}

/// A form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Plain,
    Gzip,
    Brotli,
}

impl Page {
    pub(super) fn new(body: Vec<u8>, content: u64, exact_ms: i64, rendered_ms: i64) -> Self {
        let hash = xxhash_rust::xxh3::xxh3_64(&body);
        Page {
            etag: format!("\"{hash:016x}\"").into(),
            body: Bytes::from(body),
            content,
            exact_ms,
            rendered_ms,
            gzip: OnceLock::new(),
            brotli: OnceLock::new(),
        }
    }

    /// The strong entity tag of the plain form, quotes included.
    pub fn etag(&self) -> &Bytes {
        &self.etag
    }

    /// Whether this form was made, or need not be: to make one takes milliseconds, and no worker of
    /// HTTP may be held up by that.
    pub fn has(&self, form: Form) -> bool {
        match form {
            Form::Plain => true,
            Form::Gzip => self.gzip.get().is_some(),
            Form::Brotli => self.brotli.get().is_some(),
        }
    }

    /// The body in this form, made now if it was not yet; `None` for the plain form, and where
    /// another does not save a quarter.
    pub fn form(&self, form: Form) -> Option<Bytes> {
        let pays =
            |form: Vec<u8>| (form.len() * 4 <= self.body.len() * 3).then(|| Bytes::from(form));
        match form {
            Form::Plain => None,
            Form::Gzip => {
                self.gzip.get_or_init(|| encoding::gzip(&self.body).and_then(pays)).clone()
            }
            Form::Brotli => {
                self.brotli.get_or_init(|| encoding::brotli(&self.body).and_then(pays)).clone()
            }
        }
    }

    /// The weight in bytes. Half a body more, for compressed forms that may be made later.
    pub(super) fn weight(&self) -> u32 {
        u32::try_from(self.body.len() * 3 / 2 + 512).unwrap_or(u32::MAX)
    }
}
