//! A replica's own clock decides nothing.

use jiff::{Span, Timestamp};

use crate::{
    load::Load,
    parts::Fleet,
    support::{faketime::FakeClock, postgres::Postgres},
    verdict::{Damage, nothing_is_wrong},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_whose_clocks_are_ten_minutes_off_answer_right() {
    let postgres = Postgres::start(&[]);
    let clocks =
        [10, -10].map(|minutes| FakeClock::at(Timestamp::now() + Span::new().minutes(minutes)));
    let fleet = Fleet::start(3, &postgres, Some(postgres.standby(&[])), |replica, launch| {
        match clocks.get(replica) {
            Some(clock) => launch.envs(clock.environment()),
            None => launch,
        }
    })
    .await;
    let load = Load::start(&fleet);
    load.flows(3_000).await;
    nothing_is_wrong(&fleet, load, Damage::NONE).await;
}
