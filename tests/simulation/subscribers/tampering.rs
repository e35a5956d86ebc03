//! Mutants of rules that are within the service's own shard: what it has noted of a client or of a
//! facility is changed, as it would be without the rule.

use facility_summary::live::connection::Connection;

use crate::mutants::Mutant;

/// What was sent before a turn: the tag of each slot.
pub type Sent = Vec<Option<u64>>;

/// What is noted before a turn.
pub fn sent(connection: &Connection) -> Sent {
    connection.state().slots.iter().map(|slot| slot.sent).collect()
}

/// Changes what is noted before a turn, a tick or a read.
pub fn tamper(connection: &Connection, mutant: Mutant) {
    if mutant == Mutant::GoesOnAtOnce {
        connection.release(|_, _| None);
    }
    let mut state = connection.state();
    match mutant {
        Mutant::ProvesWhatIsHeld => {
            state.held = 0;
            let held = state.slots.iter_mut().filter(|slot| slot.least == i64::MAX);
            held.for_each(|slot| slot.least = 0);
        }
        Mutant::SkipsTheFeed => {
            if let Some((seen, _)) = &mut state.all
                && *seen > 0
            {
                *seen = u64::MAX - 1;
            }
        }
        Mutant::TrustsDoubtfulDays | Mutant::LateReadsReplaceNewer => {
            for cell in state.slots.iter().filter_map(|slot| slot.cell.as_ref()) {
                let mut cell = cell.state.borrow_mut();
                match mutant {
                    Mutant::TrustsDoubtfulDays => cell.is_doubtful = false,
                    Mutant::LateReadsReplaceNewer if cell.loading => {
                        let is_shown = cell.is_shown;
                        cell.clear(false);
                        (cell.loading, cell.is_shown) = (true, is_shown);
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// Changes what is noted after a turn.
pub fn tamper_after(connection: &Connection, before: &Sent, mutant: Mutant) {
    if mutant != Mutant::CountsWhatWasSentBefore {
        return;
    }
    let mut state = connection.state();
    for (slot, before) in state.slots.iter_mut().zip(before) {
        slot.sent = slot.sent.or(*before);
    }
}

/// Lets the service encode what it sends, with days that do not end where that rule is broken.
pub fn encoding<T>(
    connection: &Connection,
    mutant: Option<Mutant>,
    encode: impl FnOnce() -> T,
) -> T {
    if mutant != Some(Mutant::DaysDoNotEnd) {
        return encode();
    }
    let cells: Vec<_> =
        connection.state().slots.iter().filter_map(|slot| slot.cell.clone()).collect();
    let days: Vec<_> = cells.iter().map(|cell| cell.state.borrow().day).collect();
    for cell in &cells {
        if let Some(day) = &mut cell.state.borrow_mut().day {
            day.end_ms = i64::MAX;
        }
    }
    let encoded = encode();
    cells.iter().zip(days).for_each(|(cell, day)| cell.state.borrow_mut().day = day);
    encoded
}
