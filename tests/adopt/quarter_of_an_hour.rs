//! The quarter of an hour of `docs/adopt.md`, as it is typed, on the database of `make demo-adopt`.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::support::wait_until;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/adopt/demo.sh");
const BINARY: &str = env!("CARGO_BIN_EXE_facility-summary");

/// The demonstration, in a process group of its own, as in a terminal.
struct Demo {
    child: Child,
    owner: String,
    folder: TempDir,
}

impl Demo {
    fn start() -> Demo {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder under target");
        // The server runs as another user, where this is root.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(folder.path(), open).expect("the folder is ours");
        let mut child = Command::new(DEMO)
            .env("TMPDIR", folder.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demonstration can be run");
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut lines = output.lines().map(|line| line.expect("it prints text"));
        let owner =
            lines.find_map(|line| line.trim().strip_prefix("export OWNER=").map(str::to_owned));
        let _the_rest = lines.take(2).count();
        Demo { child, owner: owner.expect("it prints the owner's URL"), folder }
    }

    /// What it has in its folder.
    fn files(&self) -> usize {
        std::fs::read_dir(self.folder.path()).expect("the folder is there").count()
    }

    /// Ends it, with all that it has started. Not as Ctrl-C does: where this test runs in the
    /// background, the shell ignores that.
    fn interrupt(&mut self) {
        // SAFETY: the group is that of a child which nobody else waits for.
        unsafe { libc::kill(-(self.child.id() as libc::pid_t), libc::SIGTERM) };
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.interrupt();
        let _ = self.child.wait();
    }
}

/// The blocks of shell commands in a section of the document, in order.
fn typed(section: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/adopt.md");
    let document = std::fs::read_to_string(path).expect("the document is there");
    let text = document.split(&format!("## {section}\n")).nth(1).expect("the section is there");
    let text = text.split("\n## ").next().unwrap_or_default();
    let blocks = text.split("```sh\n").skip(1);
    blocks.filter_map(|block| Some(block.split_once("```")?.0.to_owned())).collect()
}

/// The blocks as one script: what serves goes on in the background until the end, and the service
/// has a port of its own.
fn script(blocks: &[String], port: u16) -> String {
    let mut script = String::from("set -euo pipefail\n");
    for block in blocks {
        if block.trim_start().starts_with("facility-summary serve") {
            script += &format!("{} >serve.log 2>&1 & service=$!\n", block.trim());
            script += "trap 'kill $service 2>/dev/null || true' EXIT\n";
            script += "until curl -sf 127.0.0.1:8080/health/ready >ready; do\n";
            script += "kill -0 $service; sleep 0.1; done\n";
        } else if block.contains("adopt remove") {
            script += &format!("kill $service; wait $service\n{block}");
        } else {
            script += block;
        }
    }
    script.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"))
}

#[tokio::test]
async fn the_quarter_of_an_hour_is_right_as_it_is_typed() {
    let mut demo = Demo::start();
    let blocks = typed("In a quarter of an hour");
    assert!(blocks.len() >= 8, "{blocks:?}");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr());
    let port = port.expect("a port is free").port();
    let work = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder under target");
    let programs = Path::new(BINARY).parent().expect("it is in a folder").display().to_string();
    let path = std::env::var("PATH").expect("there is a path");
    let done = Command::new("bash")
        .args(["-c", &script(&blocks, port)])
        .current_dir(work.path())
        .env("OWNER", &demo.owner)
        .env("BIND_ADDR", format!("127.0.0.1:{port}"))
        .env("PATH", format!("{programs}:{path}"))
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&done.stdout);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}\n{errors}");
    for part in [
        "sources.facilities: 11 facilities",
        "CREATE INDEX CONCURRENTLY ON \"public\".\"ward_request\" (ward_id, requested_at);",
        "\"name\":\"Ridge Hospital\"",
        "\"key\":\"1\"",
        "DROP ROLE",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}\n{errors}");
    }
    assert!(demo.files() > 0, "the server has its folder");
    demo.interrupt();
    wait_until("the demonstration has ended", async || {
        demo.child.try_wait().expect("it is ours").is_some()
    })
    .await;
    assert_eq!(demo.files(), 0, "the demonstration has left something");
}

/// The worked mappings in the document are those of the schemas that the tests use.
#[test]
fn the_worked_mappings_are_those_that_are_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |path: &str| std::fs::read_to_string(root.join(path)).expect("it is there");
    let document = text("docs/adopt.md");
    for folder in ["ledger", "national", "wards"] {
        let mapping = text(&format!("tests/adopt/{folder}/mapping.toml"));
        assert!(document.contains(mapping.trim()), "{folder} is not in docs/adopt.md as it is");
    }
}
