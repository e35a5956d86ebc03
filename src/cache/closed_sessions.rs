//! The stream sessions that have ended, and what was proven in each.

/// The number of ended stream sessions that are remembered.
const REMEMBERED: usize = 64;

/// The last watermark of each stream session that ended recently. An entry that was attached to an
/// older session keeps only its own instant.
#[derive(Clone)]
pub(super) struct ClosedSessions {
    /// The number of the session whose watermark is the first in the list.
    first: u32,
    watermarks: Vec<i64>,
}

impl Default for ClosedSessions {
    /// None yet; the first session has the number 1.
    fn default() -> Self {
        ClosedSessions { first: 1, watermarks: Vec::new() }
    }
}

impl ClosedSessions {
    /// Remembers the last watermark of the session that ends now.
    pub fn push(&mut self, watermark_ms: i64) {
        self.watermarks.push(watermark_ms);
        if self.watermarks.len() > REMEMBERED {
            self.watermarks.remove(0);
            self.first += 1;
        }
    }

    /// The last watermark of a session; `i64::MIN` where it is not remembered.
    pub fn watermark_ms(&self, session: u32) -> i64 {
        let place =
            session.checked_sub(self.first).and_then(|place| self.watermarks.get(place as usize));
        place.copied().unwrap_or(i64::MIN)
    }
}
