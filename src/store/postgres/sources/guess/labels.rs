//! What the values of a column mean: which states are in stock, which kinds are deliveries.

use super::words::words;

/// States of a unit that is in stock.
const IN_STOCK: &[&str] = &[
    "available",
    "in stock",
    "instock",
    "stock",
    "stored",
    "reserved",
    "allocated",
    "assigned",
    "crossmatched",
    "cross matched",
    "on hold",
    "held",
    "usable",
    "ready",
    "released",
    "active",
    "free",
    "on hand",
    "on shelf",
    "avail",
    "in inventory",
    "fresh",
    "matched",
    "in storage",
];

/// Kinds of rows that are deliveries to the facility.
const DELIVERY: &[&str] = &[
    "delivery",
    "deliver",
    "delivered",
    "receipt",
    "receive",
    "received",
    "in",
    "incoming",
    "inbound",
    "transfer in",
    "stock in",
    "supply",
    "issue in",
    "grn",
    "goods receipt",
    "arrival",
];

/// Kinds of rows that are requests of the facility.
const REQUEST: &[&str] =
    &["request", "requested", "order", "requisition", "demand", "indent", "req", "ask"];

/// States of a delivery that has arrived.
const ARRIVED: &[&str] = &[
    "delivered",
    "received",
    "complete",
    "completed",
    "done",
    "arrived",
    "accepted",
    "closed",
    "confirmed",
    "fulfilled",
    "success",
];

/// States of something that does not count.
const VOID: &[&str] = &[
    "cancelled",
    "canceled",
    "void",
    "voided",
    "rejected",
    "deleted",
    "draft",
    "withdrawn",
    "declined",
    "refused",
    "error",
    "cancel",
    "reject",
];

/// States of a facility that works.
const OPEN: &[&str] =
    &["open", "active", "operational", "live", "enabled", "running", "functional"];

/// What adds to a stock.
const ADDS: &[&str] = &[
    "in",
    "receipt",
    "receive",
    "received",
    "credit",
    "cr",
    "incoming",
    "inbound",
    "opening",
    "delivery",
    "donation",
    "purchase",
    "transfer in",
    "stock in",
    "plus",
    "add",
    "collected",
    "production",
    "supply",
    "opening balance",
    "deposit",
];

/// What takes from a stock.
const TAKES: &[&str] = &[
    "out",
    "issue",
    "issued",
    "debit",
    "dr",
    "outgoing",
    "outbound",
    "discard",
    "discarded",
    "expired",
    "expiry",
    "wastage",
    "waste",
    "transfusion",
    "transfused",
    "transfer out",
    "stock out",
    "minus",
    "dispatch",
    "dispatched",
    "consumption",
    "used",
    "disposal",
    "loss",
    "withdrawal",
    "remove",
];

/// What values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    InStock,
    Delivery,
    Request,
    Arrived,
    Void,
    Open,
    Adds,
    Takes,
}

impl Meaning {
    fn list(self) -> &'static [&'static str] {
        match self {
            Meaning::InStock => IN_STOCK,
            Meaning::Delivery => DELIVERY,
            Meaning::Request => REQUEST,
            Meaning::Arrived => ARRIVED,
            Meaning::Void => VOID,
            Meaning::Open => OPEN,
            Meaning::Adds => ADDS,
            Meaning::Takes => TAKES,
        }
    }
}

/// The values that mean this.
pub fn meaning(values: &[String], what: Meaning) -> Vec<String> {
    let means = |value: &&String| what.list().contains(&words(value).join(" ").as_str());
    values.iter().filter(means).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_understood_in_every_habit() {
        let values =
            ["IN STOCK", "InStock", "in_stock", "RESERVED", "ISSUED", "Expired"].map(str::to_owned);
        assert_eq!(meaning(&values, Meaning::InStock), values[..4]);
        assert_eq!(meaning(&values, Meaning::Takes), values[4..]);
        let values = ["DELIVERY", "Deliveries", "REQUEST", "RETURN"].map(str::to_owned);
        assert_eq!(meaning(&values, Meaning::Delivery), values[..2]);
        assert_eq!(meaning(&values, Meaning::Request), values[2..3]);
    }
}
