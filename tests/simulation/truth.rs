//! The states that a facility's day has had. An answer that claims an instant is right if it equals
//! the state at that instant or at a later one.

use crate::{
    database::{Activity, Change, Database, Stay},
    judge::bank_bits,
    places::{BANKS, DATES, PLACES, ZONES, day, has_begun, told},
};

/// What a reader gets for a facility's date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The facility does not exist.
    Gone,
    /// It exists, and the date has not begun in its zone.
    NotBegun { zone: usize },
    /// The figures of the day in that zone: which changes they contain.
    Figures { zone: usize, activity: i64, stock: Option<i64>, has_row: bool },
}

/// The claim of an answer to contain every change up to an instant.
pub struct Claim<'a> {
    /// The instant, in milliseconds.
    pub as_of: i64,
    /// The last instant of the clock in each era before the current one, in milliseconds.
    pub era_ends: &'a [i64],
    /// The time when it is judged.
    pub now: i64,
}

impl Claim<'_> {
    /// Whether a change is one that the claim covers.
    fn has_happened(&self, at: i64, era: usize) -> bool {
        // Rows still have instants from before the clock was set back, and these were proven at
        // that time.
        at <= self.as_of && self.era_ends.iter().take(era).all(|end| self.as_of > *end)
    }

    /// The places where it was at the claimed instant and later.
    fn since<'s>(&self, stays: &'s [Stay]) -> &'s [Stay] {
        let first =
            stays.iter().rposition(|stay| self.has_happened(stay.at, stay.era)).unwrap_or(0);
        &stays[first..]
    }

    fn lacks<'c>(
        &self,
        seen: i64,
        mut changes: impl Iterator<Item = &'c Change>,
    ) -> Result<(), String> {
        match changes.find(|change| {
            self.has_happened(change.at, change.era) && seen & change.bit != change.bit
        }) {
            Some(change) => Err(format!("it lacks the change of {} ms", told(change.at))),
            None => Ok(()),
        }
    }

    /// Checks an answer; the error says why it may not be given.
    pub fn judge(&self, db: &Database, k: usize, answer: Answer) -> Result<(), String> {
        let facility = &db.facilities[k / DATES];
        let stays = self.since(&facility.stays);
        let zone = match answer {
            Answer::Gone => {
                let was_gone = stays.iter().any(|stay| stay.place.is_none());
                return if was_gone {
                    Ok(())
                } else {
                    Err(format!("it is there since {} ms", told(stays[0].at)))
                };
            }
            Answer::NotBegun { zone } | Answer::Figures { zone, .. } => zone,
        };
        let mut there = stays.iter().filter(|stay| stay.place == Some(zone)).peekable();
        if there.peek().is_none() {
            let last = stays[0].place.map_or("gone", |zone| ZONES[zone]);
            return Err(format!(
                "since then the facility was not in {}: it was {last}",
                ZONES[zone]
            ));
        }
        let Answer::Figures { activity, stock, .. } = answer else { return Ok(()) };
        let verdicts =
            there.map(|stay| self.judge_activity(&facility.activity, k, stay, zone, activity));
        verdicts.reduce(Result::or).unwrap_or(Ok(()))?;
        match stock {
            // The stock of a day that is over is a record, whatever was committed in its last
            // moment. It has none where a refresh began before midnight and counted after it.
            _ if day(k, zone).end_ms <= self.now => Ok(()),
            Some(stock) => {
                (0..BANKS).try_for_each(|bank| self.judge_bank(db, k / DATES, bank, stock))
            }
            None if day(k, zone).contains(self.as_of) => Err("today has no stock".into()),
            None => Ok(()),
        }
    }

    fn judge_activity(
        &self,
        activity: &[Activity],
        k: usize,
        stay: &Stay,
        zone: usize,
        seen: i64,
    ) -> Result<(), String> {
        let day = day(k, zone);
        let of_day = || {
            activity
                .iter()
                .filter(|a| a.life == stay.life && day.contains(PLACES[a.place]))
                .map(|a| &a.change)
        };
        let all = of_day().fold(0, |all, change| all | change.bit);
        if seen & !all != 0 {
            return Err("it shows what is not of that day, or was lost".into());
        }
        self.lacks(seen, of_day())
    }

    fn judge_bank(&self, db: &Database, f: usize, bank: usize, stock: i64) -> Result<(), String> {
        let (seen, bank) = (stock & bank_bits(bank), &db.banks[bank]);
        let all = bank.units.iter().fold(0, |all, change| all | change.bit);
        let at = |stay: &Stay| match stay.place == Some(f) {
            true if seen & !all != 0 => Err("it shows units that were lost".into()),
            true => self.lacks(seen, bank.units.iter()),
            false if seen != 0 => Err("it shows units of a bank that is not there".into()),
            false => Ok(()),
        };
        self.since(&bank.stays).iter().map(at).reduce(Result::or).unwrap_or(Ok(()))
    }

    /// Checks that a list of a date may be without this facility.
    pub fn judge_absence(&self, db: &Database, k: usize) -> Result<(), String> {
        let has_day =
            |stay: &Stay| stay.place.is_some_and(|zone| has_begun(&day(k, zone), self.as_of));
        let stays = self.since(&db.facilities[k / DATES].stays);
        if stays.iter().all(has_day) {
            Err(format!(
                "it lacks facility {}, which is there since {} ms",
                k / DATES,
                told(stays[0].at)
            ))
        } else {
            Ok(())
        }
    }
}
