//! Tests of `open.rs`.

use super::*;

fn settings(path: &Path) -> DatabaseSettings {
    DatabaseSettings { url: format!("sqlite://{}", path.display()), ..DatabaseSettings::default() }
}

async fn refusal(path: &Path) -> StoreError {
    SqliteStore::open(&settings(path)).await.err().expect("the file should have been refused")
}

#[tokio::test]
async fn a_missing_folder_is_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/summary.db");
    SqliteStore::open(&settings(&path)).await.unwrap().writer.close().await;
    assert!(path.is_file());
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let message = refusal(&folder.path().join("file/summary.db")).await.to_string();
    assert!(
        message.contains("/file cannot be created") && message.contains("DATABASE_URL"),
        "{message}"
    );
}

#[tokio::test]
async fn a_path_that_is_a_folder_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let message = refusal(folder.path()).await.to_string();
    assert!(message.contains("cannot be opened") && message.contains("DATABASE_URL"), "{message}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter.txt");
    let letter = "Dear reader, ".repeat(1000);
    std::fs::write(&path, &letter).unwrap();
    let message = refusal(&path).await.to_string();
    assert!(message.contains("is not an SQLite database"), "{message}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), letter);
}

#[tokio::test]
async fn a_database_from_a_newer_release_is_refused_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.db");
    let store = SqliteStore::open(&settings(&path)).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
                     execution_time) VALUES (9999, 'later', true, x'00', 0)";
    sqlx::query(newer).execute(&store.writer).await.unwrap();
    store.writer.close().await;
    let error = refusal(&path).await;
    assert_eq!(error.class(), "migration");
    assert!(error.to_string().contains("newer release"), "{error}");
}

#[tokio::test]
async fn several_that_start_on_the_same_new_file_at_once_all_get_it() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.db");
        let start = |path: std::path::PathBuf| async move {
            SqliteStore::open(&settings(&path)).await.map(drop)
        };
        let starts: Vec<_> = (0..4).map(|_| tokio::spawn(start(path.clone()))).collect();
        for started in starts {
            started.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_second_start_finds_what_the_first_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.db");
    let store = SqliteStore::open(&settings(&path)).await.unwrap();
    sqlx::query("INSERT INTO facilities (id, name) VALUES (randomblob(16), 'North')")
        .execute(&store.writer)
        .await
        .unwrap();
    crate::store::Store::close(&store).await;
    let store = SqliteStore::open(&settings(&path)).await.unwrap();
    assert_eq!(crate::store::Store::facilities(&store, None).await.unwrap().rows[0].name, "North");
}
