//! What is shown: a table that updates in place, a line for each change, or the messages.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use console::{Alignment, Term, measure_text_width, pad_str, truncate_str};
use jiff::Timestamp;
use uuid::Uuid;

use super::figures::{Figures, Message, Sums};

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A table that updates in place.
    Table,
    /// A line for each change.
    Lines,
    /// Each message, as it came.
    Json,
}

/// Shows it.
pub struct Show {
    /// What the facilities are called.
    pub names: HashMap<Uuid, String>,
    kind: Kind,
    url: String,
    /// How the connection stands, in words.
    state: String,
    /// How the messages come, where that is worth a word.
    way: String,
    /// Until then nothing is tried.
    until: Option<Instant>,
    /// The lines of the table that are on the screen.
    drawn: usize,
    terminal: Term,
}

/// Hides the cursor, or shows it again.
const HIDE: &str = "\x1b[?25l";
const UNHIDE: &str = "\x1b[?25h";
const HEADINGS: [&str; 7] =
    ["FACILITY", "DATE", "STOCK", "TRANSFERRED", "REQUESTS", "VERSION", "AGE"];

impl Show {
    /// A table on a terminal, and lines elsewhere; messages where `json` says so.
    pub fn new(json: bool, url: &str) -> Self {
        let kind = match (json, io::stdout().is_terminal()) {
            (true, _) => Kind::Json,
            (false, true) => Kind::Table,
            (false, false) => Kind::Lines,
        };
        Show {
            names: HashMap::new(),
            kind,
            url: url.trim_end_matches('/').to_owned(),
            state: "connecting".into(),
            way: String::new(),
            until: None,
            drawn: 0,
            terminal: Term::stdout(),
        }
    }

    /// Whether people read it.
    pub fn shows_names(&self) -> bool {
        self.kind != Kind::Json
    }

    /// The connection is begun.
    pub fn connects(&mut self) {
        (self.state, self.until) = ("connecting".into(), None);
        self.way.clear();
    }

    /// The connection has ended; the next attempt comes after this time.
    pub fn waits(&mut self, reason: &str, pause: Duration) {
        if self.kind != Kind::Table {
            let seconds = pause.as_secs_f64();
            eprintln!("facility-summary: {reason}; the next attempt comes in {seconds:.1} s");
        }
        (self.state, self.until) = (reason.to_owned(), Some(Instant::now() + pause));
    }

    /// The way to the service lets no WebSocket through; `lacks_sums`: the sums do not come then.
    pub fn has_no_websocket(&mut self, lacks_sums: bool) {
        let sums = if lacks_sums { ", without the sums over all" } else { "" };
        self.way = format!(" by server-sent events{sums}: something there stops WebSocket");
        if self.kind != Kind::Table {
            eprintln!("facility-summary: connected{}", self.way);
        }
    }

    /// A message has come.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn message(&mut self, text: &str, message: &Message, figures: &Figures) -> io::Result<()> {
        if matches!(message, Message::Hello { .. }) {
            self.state = format!("connected{}", self.way);
        }
        match self.kind {
            Kind::Table => Ok(()),
            Kind::Json => line(text),
            Kind::Lines => self.changes(message, figures),
        }
    }

    fn changes(&self, message: &Message, figures: &Figures) -> io::Result<()> {
        match message {
            Message::Summary(item) => self.change(item.facility(), figures),
            Message::Summaries { summaries } => {
                summaries.iter().try_for_each(|item| self.change(item.facility(), figures))
            }
            Message::Totals { totals, as_of } => {
                line(&format!("{}  {}  {}", at(*as_of), all_of(totals), in_words(totals)))
            }
            Message::Stalled { .. } | Message::Resumed {} => line(&proof(figures)),
            Message::Epoch { .. } => line(FORGOTTEN),
            Message::Subscribed { refused, .. } => refused.iter().try_for_each(|one| {
                let id = one.facility_id.as_deref().unwrap_or_default();
                line(&not_followed(id, &one.reason))
            }),
            Message::Error { code, detail, .. } => line(&format!("{code}: {detail}")),
            _ => Ok(()),
        }
    }

    fn change(&self, id: Uuid, figures: &Figures) -> io::Result<()> {
        let Some(row) = figures.rows.get(&id) else { return Ok(()) };
        let (name, figures) = (self.name(id), in_words(&row.figures));
        line(&format!(
            "{}  {name}  {}  {figures}  version {}",
            at(row.as_of),
            row.date,
            row.version
        ))
    }

    fn name(&self, id: Uuid) -> String {
        self.names.get(&id).map_or_else(|| id.to_string(), |name| shown(name))
    }

    /// Draws the table anew.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn draw(&mut self, figures: &Figures) -> io::Result<()> {
        if self.kind != Kind::Table {
            return Ok(());
        }
        let (height, width) = self.terminal.size();
        let lines = self.table(figures, usize::from(height).max(8));
        let mut frame = String::from(HIDE);
        if self.drawn > 0 {
            frame.push_str(&format!("\x1b[{}F", self.drawn));
        }
        for line in &lines {
            frame.push_str("\x1b[2K");
            frame.push_str(&truncate_str(line, usize::from(width), "…"));
            frame.push('\n');
        }
        frame.push_str("\x1b[J");
        self.drawn = lines.len();
        write(&frame)
    }

    /// Leaves the terminal as it was, with the last table on it.
    pub fn leave(&mut self) {
        if self.drawn > 0 {
            // Where that fails, there is no terminal any more.
            let _ = write(UNHIDE);
        }
    }

    /// The lines of the table; at most so many fit.
    fn table(&self, figures: &Figures, height: usize) -> Vec<String> {
        let mut lines = vec![self.heading(), proof(figures)];
        let mut rows: Vec<_> = figures.rows.iter().map(|(id, row)| (self.name(*id), row)).collect();
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        let age = |as_of| figures.age_ms(as_of).map_or_else(|| "unknown".into(), duration);
        let mut cells = vec![HEADINGS.map(str::to_owned)];
        if let Some((totals, as_of)) = &figures.totals {
            let [stock, transferred, requests] = numbers(totals);
            let none = String::new();
            let name = all_of(totals);
            let cell = [name, none.clone(), stock, transferred, requests, none, age(*as_of)];
            cells.push(cell);
        }
        let room = height.saturating_sub(lines.len() + cells.len() + figures.refused.len() + 2);
        let left = rows.len().saturating_sub(room);
        for (name, row) in rows.into_iter().take(room) {
            let [stock, transferred, requests] = numbers(&row.figures);
            let (date, version) = (row.date.clone(), row.version.to_string());
            let mark = if row.is_still { " (cannot be counted)" } else { "" };
            let age = format!("{}{mark}", age(row.as_of));
            cells.push([name, date, stock, transferred, requests, version, age]);
        }
        lines.extend(aligned(&cells));
        if left > 0 {
            lines.push(format!("and {left} more: make the window higher"));
        }
        lines.extend(figures.refused.iter().map(|(id, why)| not_followed(id, why)));
        lines.truncate(height - 1);
        lines
    }

    fn heading(&self) -> String {
        let next = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let next = next.map_or_else(String::new, |next| {
            format!("; the next attempt comes in {} s", next.as_secs() + 1)
        });
        format!("{}: {}{next}", self.url, self.state)
    }
}

const FORGOTTEN: &str =
    "The database has failed over or was restored: what was shown before does not count.";

/// Whether the service can prove what it shows.
fn proof(figures: &Figures) -> String {
    match &figures.stalled {
        Some((since, reason)) => format!(
            "STALLED: nothing can be proven since {} ({reason}); figures may be older than shown",
            at(*since)
        ),
        None => "Ages say as of when the figures are exact.".into(),
    }
}

fn not_followed(id: &str, why: &str) -> String {
    format!("{} is not followed: {why}", shown(id))
}

fn all_of(totals: &Sums) -> String {
    format!("all {}", totals.facilities.unwrap_or(0))
}

fn numbers(of: &Sums) -> [String; 3] {
    [of.total_stock, of.total_transferred, of.total_requests]
        .map(|figure| figure.map_or_else(|| "-".into(), |figure| figure.to_string()))
}

fn in_words(of: &Sums) -> String {
    let [stock, transferred, requests] = numbers(of);
    format!("stock {stock}  transferred {transferred}  requests {requests}")
}

fn at(instant: Option<Timestamp>) -> String {
    instant.map_or_else(|| "an unknown time".into(), |instant| format!("{instant:.3}"))
}

/// A time, rounded up: an age is never shown younger than it is.
fn duration(ms: i64) -> String {
    let seconds = ms.max(0).unsigned_abs().div_ceil(1_000);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3_600)),
    }
}

/// A text of somebody else, without what a terminal would take as a command.
fn shown(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

/// Cells in columns; texts to the left, and figures to the right.
fn aligned(cells: &[[String; 7]]) -> Vec<String> {
    let width =
        |column: usize| cells.iter().map(|row| measure_text_width(&row[column])).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let line = |row: &[String; 7]| {
        let padded = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            let side = if column < 2 { Alignment::Left } else { Alignment::Right };
            pad_str(cell, width, side, None).into_owned()
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells.iter().map(line).collect()
}

fn line(text: &str) -> io::Result<()> {
    write(&format!("{text}\n"))
}

fn write(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::elapsed_ms;

    fn take(figures: &mut Figures, message: Value) {
        let message = serde_json::from_value(message).expect("it is a message");
        figures.take(&message, elapsed_ms());
    }

    fn table(figures: &Figures, names: &[(Uuid, &str)], height: usize) -> String {
        let mut show = Show::new(false, "http://127.0.0.1:8080/");
        show.names = names.iter().map(|(id, name)| (*id, (*name).to_owned())).collect();
        show.state = "connected".into();
        show.table(figures, height).join("\n")
    }

    fn summary(id: Uuid, stock: Option<i64>, as_of: &str) -> Value {
        let summary = json!({
            "facility_id": id, "date": "2026-11-21", "version": 3, "total_stock": stock,
            "total_transferred": 7, "total_requests": 0, "by_blood_type": {},
        });
        json!({"type": "summary", "summary": summary, "etag": "\"x\"", "as_of": as_of})
    }

    fn hello(epoch: &str) -> Value {
        json!({
            "type": "hello", "epoch": epoch, "heartbeat_ms": 1000, "exact_as_of": null,
            "now": "2026-11-21T10:00:00.000Z",
        })
    }

    #[test]
    fn a_table_says_what_is_followed_how_old_it_is_and_what_is_not() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut figures = Figures::default();
        take(&mut figures, hello("one"));
        let refused = json!([{"facility_id": "7", "reason": "not_an_id"}]);
        take(
            &mut figures,
            json!({
                "type": "subscribed", "id": 1, "facilities": [a, b], "subject": null,
                "refused": refused,
            }),
        );
        take(&mut figures, summary(a, Some(412), "2026-11-21T09:59:20.500Z"));
        take(&mut figures, summary(b, None, "2026-11-21T09:00:00.000Z"));
        let names = [(a, "Z\u{1b}[2Jurich"), (b, "Łódź")];
        let text = table(&figures, &names, 20);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "http://127.0.0.1:8080: connected");
        assert!(lines[2].starts_with("FACILITY"), "{text}");
        assert!(lines[3].starts_with("Z[2Jurich  2026-11-21    412"), "{text}");
        assert!(lines[3].ends_with("40 s") || lines[3].ends_with("41 s"), "{text}");
        assert!(lines[4].starts_with("Łódź       2026-11-21      -"), "{text}");
        assert!(lines[4].ends_with("60 min") || lines[4].ends_with("61 min"), "{text}");
        assert_eq!(lines[5], "7 is not followed: not_an_id");
        let exact = "2026-11-21T10:00:00.000Z";
        take(&mut figures, json!({"type": "heartbeat", "exact_as_of": exact, "now": exact}));
        assert!(!table(&figures, &names, 20).contains("min"), "all is exact now");
        let stalled = json!({"type": "stalled", "since": exact, "reason": "source"});
        take(&mut figures, stalled);
        assert!(table(&figures, &names, 20).contains("STALLED: nothing can be proven since 2026"));
        take(&mut figures, hello("two"));
        assert!(figures.rows.is_empty(), "another epoch");
    }

    #[test]
    fn a_table_is_never_higher_than_the_terminal() {
        let mut figures = Figures::default();
        take(&mut figures, hello("one"));
        for number in 0..50 {
            let id = Uuid::from_u128(number);
            take(&mut figures, summary(id, Some(1), "2026-11-21T10:00:00.000Z"));
        }
        for height in [8, 12, 24] {
            let text = table(&figures, &[], height);
            assert!(text.lines().count() < height, "{text}");
            assert!(text.contains("more: make the window higher"), "{text}");
        }
        assert!(!table(&figures, &[], 80).contains("more:"));
    }

    #[test]
    fn an_age_is_rounded_up() {
        let words = [0, 1, 1_000, 1_001, 119_000, 119_001, 7_200_000].map(duration);
        assert_eq!(words, ["0 s", "1 s", "1 s", "2 s", "119 s", "2 min", "2 h"]);
    }
}
