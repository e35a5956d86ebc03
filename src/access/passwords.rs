//! Passwords: hashed with argon2id, in bounded blocking tasks.

use std::{
    sync::{Arc, LazyLock},
    thread::available_parallelism,
};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version,
    password_hash::phc::PasswordHash,
};
use prometheus::IntCounter;
use rand::Rng;
use tokio::sync::Semaphore;

use super::api_keys;

/// The least that OWASP's cheat sheet on password storage asks for (2026): 19 MiB, two passes, one
/// lane. It takes some 20 ms of a core; more would be a gift to whoever floods the sign-in.
const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The least characters of a password: of several words, or of a password manager.
pub const LEAST_CHARS: usize = 12;
/// The most bytes that are read of one.
pub const MOST_BYTES: usize = 1_000;
/// The most passwords that wait to be hashed; each has 19 MiB while it is.
const WAITING: usize = 64;

/// The passwords that wait are as many as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// Hashes passwords, no more at a time than there are cores.
pub struct Passwords {
    places: Arc<Semaphore>,
    cores: Arc<Semaphore>,
    hashes: IntCounter,
}

impl Passwords {
    /// Each hash is counted in `hashes`.
    pub fn new(hashes: IntCounter) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Passwords {
            places: Arc::new(Semaphore::new(WAITING)),
            cores: Arc::new(Semaphore::new(cores)),
            hashes,
        }
    }

    /// Whether this is the password of that hash. Without a hash the work is the same, and the
    /// answer no.
    ///
    /// # Errors
    /// Too many wait.
    pub async fn fits(&self, password: String, hash: Option<String>) -> Result<bool, Busy> {
        self.in_turn(move || {
            let of_nobody = hash.is_none();
            fits(&password, hash.as_deref().unwrap_or(&OF_NOBODY)) && !of_nobody
        })
        .await
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// Too many wait.
    pub async fn hash(&self, password: String) -> Result<String, Busy> {
        self.in_turn(move || hash(&password)).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Busy)?;
        let core = self.cores.clone().acquire_owned().await.map_err(|_| Busy)?;
        let hashes = self.hashes.clone();
        // The permits go into the task: it goes on when its client goes away.
        let task = tokio::task::spawn_blocking(move || {
            hashes.inc();
            let done = work();
            drop((core, place));
            done
        });
        task.await.map_err(|_| Busy)
    }
}

/// What is compared with where there is no account.
static OF_NOBODY: LazyLock<String> = LazyLock::new(|| hash(&generated()));

/// The hash of a password, in the PHC form. Takes a while.
///
/// # Panics
/// Never: the parameters are constants.
pub fn hash(password: &str) -> String {
    let mut salt = [0u8; 16];
    rand::rng().fill_bytes(&mut salt);
    let hash: PasswordHash = argon2id()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .expect("the parameters are within bounds");
    hash.to_string()
}

fn fits(password: &str, hash: &str) -> bool {
    argon2id().verify_password(password.as_bytes(), hash).is_ok()
}

fn argon2id() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("they are within bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// A password of 24 random characters, which are 120 bits.
pub fn generated() -> String {
    api_keys::readable(24)
}

/// What is wrong with a new password: what would be right.
pub fn fault(password: &str, name: &str) -> Option<String> {
    if password.chars().count() < LEAST_CHARS || password.len() > MOST_BYTES {
        return Some(format!(
            "must have at least {LEAST_CHARS} characters, and at most {MOST_BYTES} bytes: several \
             words are easy to remember"
        ));
    }
    let mut characters: Vec<char> = password.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    let is_name = password.to_lowercase().contains(name) && password.len() < 2 * name.len();
    if characters.len() < 5 || is_name {
        return Some("must not be the name, or a few characters again and again".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_fits_its_password_only_and_names_its_parameters() {
        let one = hash("correct horse battery");
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert!(fits("correct horse battery", &one));
        assert!(!fits("correct horse batterY", &one) && !fits("", &one));
        assert!(!fits("correct horse battery", "") && !fits("x", "$argon2id$"));
        assert_ne!(one, hash("correct horse battery"), "each has its own salt");
    }

    #[test]
    fn a_password_that_is_short_or_the_name_is_refused() {
        for password in ["", "short", "aaaaaaaaaaaaaaaa", "Anna.Baker-99", &"x".repeat(1_001)] {
            assert!(fault(password, "anna.baker").is_some(), "{password}");
        }
        let of_bytes = |length: usize| "correct horse battery ".chars().cycle().take(length);
        assert!(fault(&of_bytes(1_001).collect::<String>(), "anna").is_some());
        assert_eq!(fault(&of_bytes(1_000).collect::<String>(), "anna"), None);
        assert_eq!(fault("correct horse battery", "anna"), None);
        assert_eq!(fault(&generated(), "anna"), None);
    }

    #[tokio::test]
    async fn the_work_for_nobody_is_the_same_and_passwords_beyond_the_places_are_refused() {
        let count = IntCounter::new("hashes", "x").unwrap();
        let passwords = Arc::new(Passwords::new(count.clone()));
        let (right, wrong) = (hash("correct horse battery"), "wrong".to_owned());
        let fits = passwords.fits("correct horse battery".into(), Some(right.clone()));
        assert_eq!(fits.await, Ok(true));
        assert_eq!(passwords.fits(wrong.clone(), Some(right)).await, Ok(false));
        assert_eq!(passwords.fits(wrong.clone(), None).await, Ok(false));
        assert_eq!(count.get(), 3);
        let cores = available_parallelism().map_or(1, usize::from);
        assert_eq!(passwords.cores.available_permits(), cores, "no more at a time");
        let _all = passwords.cores.acquire_many(passwords.cores.available_permits() as u32).await;
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let (passwords, wrong) = (passwords.clone(), wrong.clone());
                tokio::spawn(async move { passwords.fits(wrong, None).await })
            })
            .collect();
        while passwords.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.fits(wrong, None).await, Err(Busy));
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
