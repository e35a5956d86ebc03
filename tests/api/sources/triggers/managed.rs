//! Beside an owner's tables on a managed server: nobody is a superuser, and functions are refused.

use super::{adopt, agrees, is_noticed, only_marks};
use crate::{
    managed_servers::REFUSED,
    server_settings::owned,
    sources::{HOSPITAL, MAPPING, run, sources_of},
    support::Service,
};

#[tokio::test]
async fn every_step_goes_without_a_superuser_and_without_functions_that_are_refused() {
    let (owner, mut sql, name) = owned().await;
    let role = format!("{name}_serves");
    sql.run(format!("REVOKE EXECUTE ON FUNCTION {REFUSED} FROM PUBLIC; SET ROLE {name}")).await;
    sql.run(HOSPITAL).await;
    sql.run(format!(
        "RESET ROLE; CREATE ROLE {role} LOGIN PASSWORD 'postgres'; GRANT {role} TO {name}"
    ))
    .await;
    let url = owner.database_url().replacen(&format!("{name}:"), &format!("{role}:"), 1);
    let serves = Service::on(url);
    for launch in [&owner, &serves] {
        std::fs::write(sources_of(launch), MAPPING).expect("the folder can be written");
    }
    let draft = owner.run(&["adopt", "init"]).await;
    assert_eq!(draft.code, Some(0), "{}", draft.output);
    assert!(draft.output.contains("public.hospital"), "{}", draft.output);
    let checked = adopt(&owner, &["check"]).await;
    assert!(checked.contains(&format!("rights: {name}, the role of this command, owns")));
    adopt(&owner, &["install", "--role", &role]).await;
    let checked = adopt(&serves, &["check"]).await;
    assert!(!checked.contains("rights: "), "{checked}");
    let file = sources_of(&serves);
    let service = only_marks(serves.argument("--sources").argument(&file)).start().await;
    is_noticed(&service).await;
    sql.run(format!("SET ROLE {name}")).await;
    sql.run("UPDATE public.store SET hospital_id = 2 WHERE id = 1").await;
    agrees(&service, &mut sql, "a move").await;
    for command in [&["audit"][..], &["rebuild", "--all"]] {
        let exited = run(service.launch(), command).await;
        assert_eq!(exited.code, Some(0), "{command:?}: {}", exited.output);
    }
    drop(service.terminate().await);
    let said = adopt(&owner, &["remove"]).await;
    assert!(said.contains(&format!("left: the role {role}")), "{said}");
}
