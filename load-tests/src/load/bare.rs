//! Bare upserts of lots into a copy of a service's SQLite file: one prepared statement, and the
//! same sync to disk for each transaction. With them the events of the service are compared.

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use crate::{
    Arguments, Failure,
    events::{Random, id},
};

const TYPES: [&str; 8] = ["O+", "A+", "B+", "O-", "AB+", "A-", "B-", "AB-"];

/// `batch` upserts a transaction for `seconds`. No trigger fires and no service is there.
pub fn upserts(arguments: &Arguments) -> Result<String, Failure> {
    let (facilities, lots) = (arguments.number("facilities")?, arguments.number("lots")?);
    let batch = arguments.number("batch")?;
    let until = Duration::from_secs(arguments.number("seconds")? as u64);
    let mut connection = Connection::open(arguments.text("file")?)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
    let triggers: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for trigger in triggers {
        connection.execute_batch(&format!("DROP TRIGGER \"{trigger}\""))?;
    }
    let (mut random, mut written, started) = (Random::of(0), 0, Instant::now());
    while started.elapsed() < until {
        let transaction = connection.transaction()?;
        {
            let mut upsert = transaction.prepare_cached(
                "INSERT INTO blood_inventory (id, blood_bank_id, blood_type, quantity, event_time)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET blood_bank_id = excluded.blood_bank_id,
                     blood_type = excluded.blood_type, quantity = excluded.quantity,
                     event_time = excluded.event_time",
            )?;
            for (lot, quantity) in random.lots(facilities, lots, batch) {
                let bank = 1 + lot % (2 * facilities);
                let blood_type = TYPES[lot % 8];
                upsert.execute(params![
                    bytes(3, lot)?,
                    bytes(2, bank)?,
                    blood_type,
                    quantity as i64,
                    written as i64
                ])?;
                written += 1;
            }
        }
        transaction.commit()?;
    }
    Ok(format!("rate={:.0}", written as f64 / started.elapsed().as_secs_f64()))
}

/// An id as the file keeps it.
fn bytes(kind: u32, number: usize) -> Result<[u8; 16], Failure> {
    let text = id(kind, number).replace('-', "");
    Ok(u128::from_str_radix(&text, 16)?.to_be_bytes())
}
