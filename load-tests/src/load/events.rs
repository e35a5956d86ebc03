//! Sends events: a stream of them for a time, or all lots of one facility.

use std::{
    fmt::Write,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{Arguments, Failure, connection::Connection, quantile_ms};

const BLOOD_TYPES: [&str; 8] = ["O+", "A+", "B+", "O-", "AB+", "A-", "B-", "AB-"];
/// Events in one request of `fill`.
const FILL_BATCH: usize = 1_000;

/// The ids that sql/fill.sql gives: facility n has the blood banks 2n-1 and 2n, and lot l is in
/// bank 1 + l modulo the number of banks.
pub fn id(kind: u32, number: usize) -> String {
    format!("{kind:08x}-0000-4000-8000-{number:012x}")
}

/// `inventory.set` of random lots by `connections` clients for `seconds`.
pub async fn stream(arguments: &Arguments) -> Result<String, Failure> {
    let address = arguments.text("address")?.to_owned();
    let (facilities, lots) = (arguments.number("facilities")?, arguments.number("lots")?);
    let (batch, connections) = (arguments.number("batch")?, arguments.number("connections")?);
    let until = Instant::now() + Duration::from_secs(arguments.number("seconds")? as u64);
    let started = Instant::now();
    let clients: Vec<_> = (0..connections)
        .map(|number| {
            tokio::spawn(client(address.clone(), number as u64, facilities, lots, batch, until))
        })
        .collect();
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.await??);
    }
    let seconds = started.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Ok(format!(
        "rate={:.0} p50_ms={:.2} p99_ms={:.2} max_ms={:.2} requests={}",
        (latencies.len() * batch) as f64 / seconds,
        quantile_ms(&latencies, 0.5),
        quantile_ms(&latencies, 0.99),
        quantile_ms(&latencies, 1.0),
        latencies.len()
    ))
}

async fn client(
    address: String,
    number: u64,
    facilities: usize,
    lots: usize,
    batch: usize,
    until: Instant,
) -> Result<Vec<Duration>, Failure> {
    let mut connection = Connection::open(&address).await?;
    let mut random = Random::of(number);
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let mut events = random
            .lots(facilities, lots, batch)
            .into_iter()
            .map(|(lot, quantity)| set_lot(lot, 2 * facilities, quantity));
        let body = match batch {
            1 => events.next().unwrap_or_default(),
            _ => format!("[{}]", events.collect::<Vec<_>>().join(",")),
        };
        let form = if batch == 1 {
            "application/cloudevents+json"
        } else {
            "application/cloudevents-batch+json"
        };
        let asked = Instant::now();
        let answer = connection.post("/v1/events", form, body.as_bytes()).await?;
        latencies.push(asked.elapsed());
        if answer.status != 200 {
            return Err(format!(
                "an event was answered {}: {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            )
            .into());
        }
    }
    Ok(latencies)
}

/// `inventory.set` of a lot. The lot is in bank 1 + `lot` modulo `banks`.
pub fn set_lot(lot: usize, banks: usize, quantity: usize) -> String {
    event(
        "inventory.set",
        &format!(
            "{{\"inventory_id\":\"{}\",\"blood_bank_id\":\"{}\",\"blood_type\":\"{}\",\
             \"quantity\":{quantity}}}",
            id(3, lot),
            id(2, 1 + lot % banks),
            BLOOD_TYPES[lot % 8]
        ),
    )
}

fn event(kind: &str, data: &str) -> String {
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/bench\",\"type\":\"{kind}\",\
         \"time\":\"{}\",\"data\":{data}}}",
        now()
    )
}

/// Registers facility `facility` with one blood bank, and sets all its lots. With `churn=10` it
/// sets each tenth lot to another quantity instead.
pub async fn fill(arguments: &Arguments) -> Result<String, Failure> {
    let (facility, lots) = (arguments.number("facility")?, arguments.number("lots")?);
    let (every, more) = arguments.number("churn").map_or((1, 0), |churn| (churn, 1));
    let mut connection = Connection::open(arguments.text("address")?).await?;
    let bank = id(2, facility);
    let registration = [
        event(
            "facility.registered",
            &format!(
                r#"{{"facility_id":"{}","name":"Facility {facility}","timezone":"UTC"}}"#,
                id(1, facility)
            ),
        ),
        event(
            "blood_bank.registered",
            &format!(
                r#"{{"blood_bank_id":"{bank}","facility_id":"{}","name":"Blood bank {facility}"}}"#,
                id(1, facility)
            ),
        ),
    ];
    let mut batches = vec![registration.to_vec()];
    for first in (0..lots).step_by(FILL_BATCH * every) {
        batches.push(
            (first..lots.min(first + FILL_BATCH * every))
                .step_by(every)
                .map(|lot| {
                    let mut data = String::new();
                    let inventory = id(3, facility * 1_000_000 + lot);
                    let blood_type = BLOOD_TYPES[lot * 7919 / 13 % 8];
                    // Cannot fail: writing to a String always succeeds.
                    let _ = write!(
                        data,
                        "{{\"inventory_id\":\"{inventory}\",\"blood_bank_id\":\"{bank}\",\
                         \"blood_type\":\"{blood_type}\",\"quantity\":{},\
                         \"expires_at\":\"2199-{:02}-01T00:00:00Z\"}}",
                        (lot + more) % 40,
                        1 + lot % 12
                    );
                    event("inventory.set", &data)
                })
                .collect(),
        );
    }
    for batch in batches {
        post_batch(&mut connection, &batch).await?;
    }
    Ok(format!("lots={lots}"))
}

/// Registers `facilities` facilities with two blood banks each, and sets `lots` lots in each, with
/// the ids that sql/fill.sql gives.
pub async fn stock(arguments: &Arguments) -> Result<String, Failure> {
    let (facilities, lots) = (arguments.number("facilities")?, arguments.number("lots")?);
    let mut connection = Connection::open(arguments.text("address")?).await?;
    let mut events: Vec<String> = Vec::with_capacity(facilities * (lots + 3));
    for facility in 1..=facilities {
        events.push(event(
            "facility.registered",
            &format!(
                r#"{{"facility_id":"{}","name":"Facility {facility}","timezone":"UTC"}}"#,
                id(1, facility)
            ),
        ));
    }
    for bank in 1..=2 * facilities {
        events.push(event(
            "blood_bank.registered",
            &format!(
                r#"{{"blood_bank_id":"{}","facility_id":"{}","name":"Blood bank {bank}"}}"#,
                id(2, bank),
                id(1, bank.div_ceil(2))
            ),
        ));
    }
    events.extend((0..facilities * lots).map(|lot| set_lot(lot, 2 * facilities, lot % 40)));
    for batch in events.chunks(FILL_BATCH) {
        post_batch(&mut connection, batch).await?;
    }
    Ok(format!("lots={}", facilities * lots))
}

/// `inventory.set` of lots of the facility that `fill` filled, one after the other. Each `round`
/// sets the same lots to other quantities.
pub async fn one(arguments: &Arguments) -> Result<String, Failure> {
    let (facility, lots) = (arguments.number("facility")?, arguments.number("lots")?);
    let round = arguments.number("round")?;
    let mut connection = Connection::open(arguments.text("address")?).await?;
    let mut latencies = Vec::new();
    for time in 0..arguments.number("times")? {
        let inventory = id(3, facility * 1_000_000 + time * 7919 % lots);
        let data = format!(
            "{{\"inventory_id\":\"{inventory}\",\"blood_bank_id\":\"{}\",\"blood_type\":\"O+\",\
             \"quantity\":{}}}",
            id(2, facility),
            (time + 7 * round) % 41
        );
        let body = event("inventory.set", &data);
        let asked = Instant::now();
        let answer =
            connection.post("/v1/events", "application/cloudevents+json", body.as_bytes()).await?;
        latencies.push(asked.elapsed());
        if answer.status != 200 {
            return Err(format!("an event was answered {}", answer.status).into());
        }
    }
    latencies.sort_unstable();
    Ok(format!(
        "p50_ms={:.3} p99_ms={:.3}",
        quantile_ms(&latencies, 0.5),
        quantile_ms(&latencies, 0.99)
    ))
}

async fn post_batch(connection: &mut Connection, events: &[String]) -> Result<(), Failure> {
    let body = format!("[{}]", events.join(","));
    let form = "application/cloudevents-batch+json";
    let answer = connection.post("/v1/events", form, body.as_bytes()).await?;
    if answer.status != 200 {
        return Err(format!(
            "a batch was answered {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        )
        .into());
    }
    Ok(())
}

/// RFC 3339 of this machine's clock, in milliseconds.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = ((since.as_secs() / 86_400) as i64, since.as_secs() % 86_400);
    // From days since 1970 to the proleptic Gregorian calendar, by eras of 400 years that begin in
    // March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    )
}

/// xorshift64*. The order of the lots need not be unpredictable.
pub struct Random(u64);

impl Random {
    /// The numbers of a client.
    pub fn of(client: u64) -> Self {
        Random(0x9e37_79b9_7f4a_7c15 ^ (client + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9))
    }

    /// Lots to set, each with its quantity: any one, or one of each of `batch` facilities.
    pub fn lots(&mut self, facilities: usize, lots: usize, batch: usize) -> Vec<(usize, usize)> {
        if batch == 1 {
            return vec![(self.below(facilities * lots), self.below(40))];
        }
        let lot = |part: usize| {
            let facility =
                (part * facilities / batch + self.below(facilities.div_ceil(batch))) % facilities;
            let lot = 2 * facility + self.below(2) + 2 * facilities * self.below(lots / 2);
            (lot, self.below(40))
        };
        (0..batch).map(lot).collect()
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}
