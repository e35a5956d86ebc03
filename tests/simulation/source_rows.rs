//! The source tables of the simulated database: what happened, and when.

/// A change of the sources, or units that expire.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// When it is committed, or when the units expire; in milliseconds since 1970.
    pub at: i64,
    /// How often the clock had been set back by then.
    pub era: usize,
    /// The change is the expiry of units, which no program writes.
    pub is_expiry: bool,
    /// The bit of the figures that contain the change. Units that are replaced by the same number
    /// of others change no bit.
    pub bit: i64,
}

/// A delivery to a facility, or a request of it.
#[derive(Debug, Clone, Copy)]
pub struct Activity {
    /// The change that wrote it.
    pub change: Change,
    /// The instant that it is about, by its index in `PLACES`.
    pub place: usize,
    /// The facility's life, which ends what the facility had.
    pub life: u32,
}

/// From when on a facility is in a zone, or a blood bank in a facility; or is removed.
#[derive(Debug, Clone, Copy)]
pub struct Stay {
    /// When it began, in milliseconds since 1970.
    pub at: i64,
    /// How often the clock had been set back by then.
    pub era: usize,
    /// The zone or the facility; `None` when it is removed.
    pub place: Option<usize>,
    /// The life that it belongs to.
    pub life: u32,
}

/// A facility with its sources.
#[derive(Debug, Clone)]
pub struct Facility {
    /// The zones that it was in; the last one counts.
    pub stays: Vec<Stay>,
    /// Its deliveries and requests.
    pub activity: Vec<Activity>,
    /// The service's own data of it: the counter of versions.
    pub version: i64,
    /// The counter at the last removal.
    pub removed_at_version: i64,
    /// The date that was opened last.
    pub opened: Option<usize>,
}

/// A blood bank with its units.
#[derive(Debug, Clone)]
pub struct Bank {
    /// The facilities that it was in; the last one counts.
    pub stays: Vec<Stay>,
    /// Its units.
    pub units: Vec<Change>,
}

impl Facility {
    /// The zone that it is in; `None` when it is removed.
    pub fn zone(&self) -> Option<usize> {
        self.stays.last().and_then(|stay| stay.place)
    }

    /// The life that it is in.
    pub fn life(&self) -> u32 {
        self.stays.last().map_or(0, |stay| stay.life)
    }
}

impl Bank {
    /// The facility that it is in.
    pub fn facility(&self) -> Option<usize> {
        self.stays.last().and_then(|stay| stay.place)
    }
}
