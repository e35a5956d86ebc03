//! `adopt init`: of each schema it guesses the facilities and some figures right, with a role that
//! may only read, and says which rights its mapping needs.

use crate::{
    beside::{Beside, Notice},
    figures::{Figures, NO_CACHE, compare},
    fixture::Fixture,
    support::{
        Service,
        service::{Exited, Launch},
    },
};

/// A launch with a role that may read every table, and change none.
async fn looking(beside: &mut Beside) -> Launch {
    let role = beside.role.replace("reader", "looker");
    beside
        .owner
        .run(format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'postgres'; DO $$ DECLARE s name; BEGIN FOR s IN \
             SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema' LOOP \
             EXECUTE format('GRANT USAGE ON SCHEMA %I TO {role}; GRANT SELECT ON ALL TABLES IN \
             SCHEMA %I TO {role}', s, s); END LOOP; END $$"
        ))
        .await;
    let url = beside.owner_url.replacen("postgres:postgres@", &format!("{role}:postgres@"), 1);
    Service::on(url)
}

/// The rights that the mapping says it needs.
fn rights(mapping: &str, role: &str) -> String {
    let lines = mapping.lines().filter_map(|line| line.strip_prefix("# GRANT "));
    lines.map(|right| format!("GRANT {}\n", right.replace("facility_summary", role))).collect()
}

/// The facilities, without their today: that depends on a zone that may not be known.
fn names(figures: &Figures) -> Vec<(&str, &str)> {
    let facilities = figures.keys().filter(|(_, _, figure, _)| figure == "facility");
    facilities.map(|(key, _, _, name)| (key.as_str(), name.as_str())).collect()
}

/// The values of one figure on the days that both have.
fn of_figure(figures: &Figures, other: &Figures, figure: &str) -> Figures {
    let days = |of: &Figures| -> Vec<String> { of.keys().map(|key| key.1.clone()).collect() };
    let others = days(other);
    let is_there =
        |key: &(String, String, String, String)| key.2 == figure && others.contains(&key.1);
    figures.iter().filter(|(key, _)| is_there(key)).map(|(key, n)| (key.clone(), *n)).collect()
}

async fn init_guesses(name: &'static str, right: &[&str]) {
    let fixture = Fixture::read(name);
    let mut beside = Beside::make(&fixture).await;
    let looking = looking(&mut beside).await;
    let before = beside.all_definitions();
    let Exited { code, output } = looking.run(&["adopt", "init"]).await;
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(beside.all_definitions(), before, "looking has made something");
    for head in ["[sources.facilities]", "[[sources.stock]]", "[[sources.deliveries]]"] {
        assert!(output.lines().any(|line| line == head), "{name}: no {head} in\n{output}");
    }
    let role = beside.role.clone();
    beside.owner.run(rights(&output, &role)).await;
    beside.write_mapping(&output);
    Notice::Rebuild.install(&mut beside).await;
    let service = beside.launch.clone().start().await;
    let compared = compare(&service, NO_CACHE, &beside.owner_url, &fixture.owner).await;
    assert_eq!(names(&compared.answers), names(&compared.owner), "{output}");
    for figure in right {
        let owner = of_figure(&compared.owner, &compared.answers, figure);
        let answers = of_figure(&compared.answers, &compared.owner, figure);
        assert!(owner.len() > 10, "{name}: too few of {figure}: {owner:?}");
        assert_eq!(answers, owner, "{name}: {figure} by\n{output}");
    }
}

/// Where no time zone is anywhere, nobody can guess on which day an instant was; and only the owner
/// knows whether requests are rows or units.
#[tokio::test]
async fn init_guesses_the_facilities_and_some_figures_of_each_schema() {
    init_guesses("bags", &["transferred", "requests"]).await;
    init_guesses("ledger", &["stock"]).await;
    init_guesses("national", &["transferred", "requests"]).await;
    init_guesses("wards", &["transferred"]).await;
    init_guesses("schemas", &["transferred"]).await;
    init_guesses("branches", &["stock", "transferred"]).await;
    init_guesses("district", &["stock", "transferred", "requests"]).await;
}

/// A role that may read nothing sees what there is, and its names still say much.
#[tokio::test]
async fn init_needs_no_right_to_read_a_table() {
    let fixture = Fixture::read("bags");
    let beside = Beside::make(&fixture).await;
    let url = beside.launch.database_url();
    let Exited { code, output } = Service::on(url).run(&["adopt", "init"]).await;
    assert_eq!(code, Some(0), "{output}");
    for line in [
        "from = \"public.hospital h\"",
        "blood_type = \"b.abo || b.rh\"",
        "expires = \"b.expiry_date\"",
        "# ? which values of status count as in stock? no values could be read",
        "-- this role has it not",
    ] {
        assert!(output.contains(line), "{line:?} is not in:\n{output}");
    }
}

#[tokio::test]
async fn init_replaces_a_file_only_when_it_is_told_to() {
    let fixture = Fixture::read("ledger");
    let mut beside = Beside::make(&fixture).await;
    let looking = looking(&mut beside).await;
    let file = looking.folder().join("first.toml");
    std::fs::write(&file, "mine").expect("the folder can be written");
    let path = file.to_str().expect("a path");
    let text = || std::fs::read_to_string(&file).expect("it is there");
    let Exited { code, output } = looking.run(&["adopt", "init", "--output", path]).await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("is there already") && output.contains("--force"), "{output}");
    assert_eq!(text(), "mine");
    let arguments = ["adopt", "init", "--output", path, "--force", "--timezone", "Africa/Lagos"];
    let Exited { code, output } = looking.run(&arguments).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("adopt check --sources"), "{output}");
    assert!(text().contains("timezone = \"'Africa/Lagos'\""), "{}", text());
    let Exited { code, output } = looking.run(&["adopt", "check", "--sources", path]).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("sources.facilities: 4 facilities"), "{output}");
}

#[tokio::test]
async fn init_says_where_it_cannot_begin() {
    let launch = Service::on_postgres().await;
    let Exited { code, output } = launch.run(&["adopt", "init"]).await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("no table looks like facilities"), "{output}");
    let Exited { code, output } = Service::on_sqlite().run(&["adopt", "init"]).await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("DATABASE_URL"), "{output}");
    let Exited { code, output } = launch.run(&["adopt", "init", "--timezone", "Accra"]).await;
    assert_eq!(code, Some(2), "{output}");
    assert!(output.contains("Africa/Accra"), "{output}");
}
