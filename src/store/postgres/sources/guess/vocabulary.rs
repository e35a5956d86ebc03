//! What tables and columns of hospitals and blood services are called. A weight of 10 says it for
//! certain, one below 0 says that it is something else.

/// Words with their weights.
pub type Words = &'static [(i32, &'static str)];

pub const FACILITY: Words = &[
    (10, "facility hospital"),
    (9, "clinic"),
    (8, "institution centre center site branch polyclinic"),
    (7, "bank establishment"),
    (6, "outlet organisation organization depot campus"),
    (5, "org warehouse location"),
    (4, "station laboratory lab"),
    (2, "blood health"),
    (-5, "unit"),
    (-6, "ward department"),
    (-8, "storage"),
    (-9, "shelf room fridge"),
];

/// Tables that are no source of figures, whatever else their names say.
pub const NO_SOURCE: Words = &[(
    -9,
    "history hist log audit archive summary report dashboard daily monthly statistic \
         stat type category user account permission role migration session setting config \
         backup bak tmp temp old staging import export contact address note comment \
         attachment group threshold alert forecast plan test price invoice payment \
         notification",
)];

pub const STOCK: Words = &[
    (10, "inventory"),
    (9, "bag stock"),
    (8, "unit pouch"),
    (7, "pack"),
    (6, "holding batch lot component"),
    (5, "cell balance platelet plasma"),
    (4, "product blood supply"),
    (3, "donation item"),
    (2, "store"),
    (-6, "bank"),
    (
        -9,
        "delivery transfer issue dispatch movement request order requisition transaction \
         ledger receipt shipment consignment distribution adjustment discard disposal \
         return transfusion donor patient location crossmatch",
    ),
];

/// Tables whose rows add to a stock, or take from it.
pub const LEDGER: Words = &[
    (10, "ledger"),
    (8, "movement transaction txn journal"),
    (5, "card mutation"),
    (4, "register stock inventory"),
    (2, "blood"),
];

pub const DELIVERY: Words = &[
    (10, "delivery"),
    (9, "shipment distribution dispatch consignment"),
    (8, "transfer receipt received"),
    (7, "receiving arrived issue issuance"),
    (6, "supply incoming arrival movement"),
    (5, "ledger"),
    (4, "transaction txn"),
    (3, "good journal"),
    (1, "stock blood"),
    (-6, "bag unit"),
    (-7, "order"),
    (-8, "return"),
    (-9, "request requisition discard donor patient location demand"),
];

pub const REQUEST: Words = &[
    (10, "request requisition"),
    (8, "order demand indent"),
    (5, "requirement"),
    (4, "ask need"),
    (1, "movement transaction blood"),
    (-3, "purchase"),
    (-4, "patient"),
    (-6, "transfer ledger"),
    (-8, "bag unit"),
    (-9, "delivery donor shipment dispatch location"),
];

pub const NAME: Words = &[
    (10, "name"),
    (8, "title"),
    (7, "label"),
    (6, "designation"),
    (4, "description"),
    (-1, "legal"),
    (-2, "short"),
    (-5, "town city district region"),
    (-8, "slug"),
    (-9, "first last contact user file manager"),
];

pub const EXPIRY: Words = &[
    (10, "expiry expire expiration"),
    (8, "exp"),
    (7, "outdate"),
    (5, "usable"),
    (4, "until"),
    (3, "expired"),
];

pub const QUANTITY: Words = &[
    (10, "quantity qty"),
    (8, "unit bag"),
    (6, "count pack amount balance"),
    (5, "stock"),
    (4, "available hand"),
    (3, "number"),
    (2, "delivered received"),
    (-1, "total"),
    (-6, "no"),
    (
        -9,
        "price cost volume ml weight age min minimum max maximum threshold reorder id \
         code line version priority discarded year position sign",
    ),
];

pub const DELIVERED_AT: Words = &[
    (10, "delivered received arrived"),
    (9, "delivery receipt arrival"),
    (6, "completed posted moved booked transferred transfer occurred happened movement issued"),
    (5, "transaction txn dispatched dispatch shipped sent issue"),
    (4, "entry"),
    (3, "date"),
    (2, "created"),
    (-3, "requested"),
    (-4, "approved"),
    (
        -9,
        "updated modified deleted expiry expire expiration expected scheduled due birth \
         cancelled returned collected",
    ),
];

pub const REQUESTED_AT: Words = &[
    (10, "requested ordered"),
    (9, "request order raised asked"),
    (8, "placed submitted requisition indent"),
    (6, "created moved"),
    (5, "posted occurred transaction"),
    (4, "entry"),
    (3, "received date"),
    (-5, "approved"),
    (-8, "completed"),
    (
        -9,
        "updated modified deleted expiry expected required needed due delivered fulfilled \
         cancelled birth scheduled closed",
    ),
];

/// Columns that say what state a row is in.
pub const STATUS: Words =
    &[(10, "status state"), (8, "disposition"), (6, "condition stage"), (5, "phase")];

/// Columns that say what kind of thing a row is about.
pub const KIND: Words = &[
    (10, "kind"),
    (9, "type direction"),
    (7, "action operation"),
    (6, "reason"),
    (5, "category event"),
    (4, "mode out"),
    (-9, "blood group component product"),
];

/// Columns that name the facility of a row only by a detour.
pub const NOT_THE_PLACE: &[&str] = &[
    "user", "staff", "employee", "doctor", "nurse", "by", "created", "updated", "modified",
    "approved", "donor", "patient", "person", "home", "previous", "parent", "manager", "verified",
];
pub const WHERE_FROM: &[&str] = &[
    "from",
    "source",
    "origin",
    "sender",
    "supplier",
    "supplying",
    "issuing",
    "dispatching",
    "sending",
    "collected",
    "donation",
];
pub const WHERE_TO: &[&str] = &[
    "to",
    "destination",
    "dest",
    "receiver",
    "receiving",
    "recipient",
    "target",
    "requesting",
    "requester",
    "consignee",
];
