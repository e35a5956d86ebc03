//! The end of a scenario: the load ends, the last figures and the tables are read, and the judge
//! checks everything.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    history::{Fate, History, Loss},
    judge::{Fault, judge},
    load::{LANES, Load, Shared, client, now_ms, request},
    parts::{FACILITIES, Fleet},
    readers::{self, FreshnessRequest},
    screens::Screens,
    support::{plain_sql, site::audited, wait_until},
};

/// How many complaints are printed.
const TOLD: usize = 12;

/// What a scenario has damaged. The metrics of the replicas must show exactly this.
pub struct Damage {
    /// The stream lost messages.
    pub gap: bool,
    /// The epoch of the database ended.
    pub new_epoch: bool,
    /// Acknowledged commits that were lost with it.
    pub loss: Option<Loss>,
}

impl Damage {
    pub const NONE: Damage = Damage { gap: false, new_epoch: false, loss: None };
    pub const GAP: Damage = Damage { gap: true, ..Damage::NONE };
    pub const NEW_EPOCH: Damage = Damage { new_epoch: true, ..Damage::NONE };

    /// All of these.
    pub fn all(loss: Loss) -> Damage {
        Damage { gap: true, ..Damage::lost(loss) }
    }

    pub fn lost(loss: Loss) -> Damage {
        Damage { loss: Some(loss), ..Damage::NEW_EPOCH }
    }
}

/// Ends the load, and asserts that nothing is wrong with any answer, the final figures, the tables
/// and the metrics. At least one replica must run.
#[track_caller]
pub fn nothing_is_wrong(fleet: &Fleet, load: Load, damage: Damage) -> impl Future<Output = ()> {
    judged(fleet, load, None, damage, std::panic::Location::caller())
}

/// The same with live clients, each of which has to converge to what the table holds in the end.
#[track_caller]
pub fn nothing_is_wrong_on_screens(
    fleet: &Fleet,
    load: Load,
    screens: Screens,
    damage: Damage,
) -> impl Future<Output = ()> {
    judged(fleet, load, Some(screens), damage, std::panic::Location::caller())
}

async fn judged(
    fleet: &Fleet,
    load: Load,
    screens: Option<Screens>,
    damage: Damage,
    caller: &'static std::panic::Location<'static>,
) {
    let (shared, turned_away) = (load.shared.clone(), load.turned_away());
    let mut history = load.end().await;
    history.loss = damage.loss;
    read_the_end(fleet, &shared, &mut history).await;
    if let Some(screens) = screens {
        screens.converge().await;
        let claims = screens.end().await;
        eprintln!("{} claims of live clients", claims.len());
        history.answers.extend(claims);
    }
    for lane in 0..FACILITIES * LANES.len() {
        history.stored[lane] = stored(&shared.places.primary, lane).await;
    }
    eprintln!("{}; {turned_away} were turned away", told(&history));
    pass(&history, caller);
    let expected = [
        ("panics_total", false),
        ("summary_drift_rows_total", false),
        ("stream_gaps_total", damage.gap),
        ("epochs_total", damage.new_epoch),
    ];
    for (at, replica) in fleet.replicas.iter().enumerate().filter(|(_, replica)| replica.is_up()) {
        for (counter, rises) in expected {
            let count = replica.counted(counter).await;
            assert_eq!(count > 0.0, rises, "{caller}: {counter} of replica {at} is {count}");
        }
    }
    let healthy =
        fleet.replicas.iter().find(|replica| replica.is_up()).expect("some replica is up");
    audited(healthy.service().launch()).await;
}

/// Reads every facility at every replica until the figures are exact as of the end.
async fn read_the_end(fleet: &Fleet, shared: &Shared, history: &mut History) {
    let client = client();
    for (replica, _) in fleet.replicas.iter().enumerate().filter(|(_, replica)| replica.is_up()) {
        for facility in 0..FACILITIES {
            wait_until("a replica answers in the end, exact as of then", async || {
                let requested = FreshnessRequest { bound: Some(0), ..FreshnessRequest::default() };
                let answer = readers::one(shared, &client, replica, facility, requested).await;
                let is_last =
                    answer.as_ref().is_some_and(|answer| answer.claims_ms() >= history.ended_ms);
                history.answers.extend(answer);
                is_last
            })
            .await;
        }
    }
}

/// The numbers of a lane whose request is in the table.
pub async fn stored(database_url: &str, lane: usize) -> std::collections::BTreeSet<i64> {
    let (first, last) = (request(lane, 0), request(lane, i64::MAX));
    let ids = format!("SELECT id(id) FROM blood_requests WHERE id BETWEEN '{first}' AND '{last}'");
    let ids = plain_sql::texts(database_url, &ids).await;
    ids.iter().map(|id| id.parse::<Uuid>().expect("it is an id").as_u128() as u64 as i64).collect()
}

/// What a database holds of all lanes at this moment, in the form of what is left after a loss.
pub async fn survived(database_url: &str) -> Loss {
    let mut survived = Vec::new();
    for lane in 0..FACILITIES * LANES.len() {
        survived.push(stored(database_url, lane).await);
    }
    Loss { at_ms: now_ms(), survived }
}

/// How many acknowledged writes a loss took.
pub fn lost(history: &History, loss: &Loss) -> usize {
    let gone = |(lane, writes): (usize, &Vec<crate::history::Write>)| {
        let over = writes
            .iter()
            .filter(|write| write.fate == Fate::Acknowledged && write.over_ms <= loss.at_ms);
        over.filter(|write| !loss.survived[lane].contains(&write.number)).count()
    };
    history.writes.iter().enumerate().map(gone).sum()
}

fn told(history: &History) -> String {
    let count = |fate| history.writes.iter().flatten().filter(|write| write.fate == fate).count();
    let (acknowledged, refused, unknown) =
        (count(Fate::Acknowledged), count(Fate::Refused), count(Fate::Unknown));
    let slowest_write_ms = history
        .writes
        .iter()
        .flatten()
        .map(|write| write.over_ms - write.sent_ms)
        .max()
        .unwrap_or_default();
    let slowest_ms = history
        .answers
        .iter()
        .filter(|answer| answer.age_seconds >= 0) // a claim of a live client was not asked for
        .map(|answer| answer.answered_ms - answer.asked_ms)
        .max()
        .unwrap_or_default();
    let lost = history
        .loss
        .as_ref()
        .map(|loss| format!(", {} of them lost", lost(history, loss)))
        .unwrap_or_default();
    let answers = history.answers.len();
    assert!(
        acknowledged > 100 && answers > 500,
        "the load was too small: {acknowledged} writes, {answers} answers"
    );
    format!(
        "{acknowledged} writes acknowledged{lost}, {refused} refused, {unknown} unknown, within \
         {slowest_write_ms} ms; {answers} answers within {slowest_ms} ms"
    )
}

#[track_caller]
fn pass(history: &History, caller: &std::panic::Location<'_>) {
    let complaints = judge(history);
    let mut counts: BTreeMap<Fault, usize> = BTreeMap::new();
    complaints.iter().for_each(|complaint| *counts.entry(complaint.fault).or_default() += 1);
    let told: Vec<String> = complaints.iter().take(TOLD).map(ToString::to_string).collect();
    assert!(complaints.is_empty(), "{caller}: {counts:?}, such as\n{}", told.join("\n"));
}
