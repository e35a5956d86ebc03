//! What the owner's own queries say of the figures (`[[sources.check]]`).

/// The outcome of all queries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// The figures that were compared.
    pub compared: usize,
    /// Those that differ.
    pub differences: Vec<OtherFigure>,
    /// The queries that failed, each with the reason.
    pub failed: Vec<String>,
}

/// A figure that an owner's query has otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherFigure {
    /// The query, as in `sources.check[0]`.
    pub check: String,
    /// The facility's key.
    pub facility: String,
    /// The date, as the query gives it.
    pub date: String,
    /// `stock`, `deliveries` or `requests`.
    pub figure: String,
    /// The query's figure, as it gives it: it may have a fraction.
    pub theirs: String,
    /// Ours, in the same snapshot; or the words why there is none.
    pub ours: Result<Option<i64>, &'static str>,
}

impl std::fmt::Display for OtherFigure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let OtherFigure { check, facility, date, figure, theirs, ours } = self;
        write!(f, "{check}: facility {facility}, {date}, {figure}: the query says {theirs}; ")?;
        match ours {
            Ok(Some(ours)) if theirs.contains('.') => write!(
                f,
                "the mapping says {ours}, as figures are whole units: it adds all rows up, and \
                 rounds the sum once, half a unit away from 0; let the query round its sum, too"
            ),
            Ok(Some(ours)) => write!(f, "the mapping says {ours}"),
            Ok(None) => write!(f, "the mapping does not know it"),
            Err(why) => write!(f, "{why}"),
        }
    }
}
