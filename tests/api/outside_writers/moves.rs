//! A blood bank moves to another facility while a transaction on its units is open. The units count
//! at the bank's new facility, in either order of the commits. (On SQLite one of the two waits for
//! the other.)

use uuid::Uuid;

use super::held::several_drains;
use crate::support::{
    Service,
    outside::Outside,
    site::{Site, a_zone_at_noon, acknowledged, audited, metric},
    wait_until,
};

/// Two facilities, and a service that waits in its commits of units until the lock `7` is free.
struct World {
    service: Service,
    from: Site,
    to: Site,
    sql: Outside,
}

impl World {
    async fn new() -> World {
        let launch = Service::on_postgres()
            .await
            .env("FACILITY_SUMMARY__INGEST__GROUP_LOCK_TIMEOUT_MS", 20_000)
            .env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 300)
            .env("FACILITY_SUMMARY__REFRESH__CHUNK", 1);
        let service = launch.start().await;
        let (zone, _) = a_zone_at_noon();
        let (from, to) =
            (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
        let mut sql = Outside::connect(service.database_url()).await;
        sql.run(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM \
             pg_advisory_xact_lock(7); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON blood_inventory DEFERRABLE INITIALLY \
             DEFERRED FOR EACH ROW EXECUTE FUNCTION hold()",
        )
        .await;
        from.shows(&service, (0, 0, 0)).await;
        to.shows(&service, (0, 0, 0)).await;
        World { service, from, to, sql }
    }

    fn moves(&self) -> String {
        format!(
            "UPDATE blood_banks SET facility_id = {} WHERE id = {}",
            self.sql.id(self.to.facility),
            self.sql.id(self.from.bank)
        )
    }

    async fn another(&self) -> Outside {
        Outside::connect(self.service.database_url()).await
    }

    /// Asserts that the 7 units count where the bank is.
    async fn ends_well(mut self) {
        self.to.shows(&self.service, (7, 0, 0)).await;
        self.from.shows(&self.service, (0, 0, 0)).await;
        wait_until("no mark is left", async || {
            self.sql.number("SELECT count(*) FROM summary_marks").await == 0
        })
        .await;
        several_drains(&self.service).await;
        self.to.shows(&self.service, (7, 0, 0)).await;
        assert_eq!(metric(&self.service, "summary_drift_rows_total").await, 0.0);
        audited(self.service.launch()).await;
    }
}

/// Counts the sessions that wait for a lock in a statement with this beginning.
fn waiting_in(statement: &str) -> String {
    format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND \
         wait_event_type = 'Lock' AND query ILIKE '{statement}%'"
    )
}

#[tokio::test]
async fn a_unit_that_is_committed_after_its_bank_moved_counts_where_the_bank_is() {
    let mut world = World::new().await;
    let mut writer = world.another().await;
    let unit = format!(
        "INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES (gen_random_uuid(), {}, \
         7)",
        writer.id(world.from.bank)
    );
    writer.run(format!("BEGIN; {unit}")).await;
    world.sql.run(world.moves()).await;
    wait_until("the marks of the move are processed", async || {
        world.sql.number("SELECT count(*) FROM summary_marks").await == 0
    })
    .await;
    several_drains(&world.service).await;
    writer.run("COMMIT").await;
    world.ends_well().await;
}

#[tokio::test]
async fn the_move_of_a_bank_waits_for_the_commit_of_an_event_on_its_units() {
    let world = World::new().await;
    let (mut holder, mut mover) = (world.another().await, world.another().await);
    holder.run("SELECT pg_advisory_lock(7)").await;
    let (event, moves) = (world.from.stock(Uuid::new_v4(), 7), world.moves());
    let service = &world.service;
    let free = async {
        let mut sql = Outside::connect(service.database_url()).await;
        wait_until("the event's commit waits", async || {
            sql.number(waiting_in("COMMIT")).await == 1
        })
        .await;
        let moved = async { mover.run(moves).await };
        let freed = async {
            wait_until("the move waits for it", async || {
                sql.number(waiting_in("UPDATE blood_banks")).await == 1
            })
            .await;
            holder.run("SELECT pg_advisory_unlock(7)").await;
        };
        tokio::join!(moved, freed);
    };
    tokio::join!(acknowledged(service, &event), free);
    world.ends_well().await;
}

#[tokio::test]
async fn an_event_does_not_wait_for_a_bank_that_is_being_moved_and_counts_where_it_goes() {
    let world = World::new().await;
    let (mut holder, mut mover) = (world.another().await, world.another().await);
    mover.run(format!("BEGIN; {}", world.moves())).await;
    holder.run("SELECT pg_advisory_lock(7)").await;
    let event = world.from.stock(Uuid::new_v4(), 7);
    let service = &world.service;
    let (acknowledgement, ()) = tokio::join!(acknowledged(service, &event), async {
        let mut sql = Outside::connect(service.database_url()).await;
        wait_until("the event has come to its commit, past the move", async || {
            sql.number(waiting_in("COMMIT")).await == 1
        })
        .await;
        mover.run("COMMIT").await;
        // Until its commit, the event holds the former facility. The figures of the new facility
        // are written without the units.
        let of_to = format!(
            "SELECT count(*) FROM summary_marks WHERE facility_id = {}",
            sql.id(world.to.facility)
        );
        wait_until("the marks of the move at the new facility are processed", async || {
            sql.number(&of_to).await == 0
        })
        .await;
        holder.run("SELECT pg_advisory_unlock(7)").await;
    });
    assert_eq!(acknowledgement["applied"], 1, "{acknowledgement}");
    world.ends_well().await;
}

#[tokio::test]
async fn a_unit_written_before_its_bank_counts_once_the_bank_is_there() {
    let mut world = World::new().await;
    let bank = Uuid::new_v4();
    // Foreign keys are not checked in this role, which copies rows that were checked elsewhere. The
    // rows may come in any order.
    let mut writer = world.another().await;
    let unit = format!(
        "INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES (gen_random_uuid(), {}, \
         7)",
        writer.id(bank)
    );
    writer.run(format!("SET session_replication_role = replica; BEGIN; {unit}")).await;
    let facility = world.sql.id(world.to.facility);
    world
        .sql
        .run(format!("INSERT INTO blood_banks (id, facility_id) VALUES ('{bank}', {facility})"))
        .await;
    wait_until("the marks of the bank are processed", async || {
        world.sql.number("SELECT count(*) FROM summary_marks").await == 0
    })
    .await;
    several_drains(&world.service).await;
    writer.run("COMMIT").await;
    world.ends_well().await;
}
