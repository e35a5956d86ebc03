//! Who may do what: credentials become principals, and principals may do what their role says, for
//! the facilities that they may see. `guard` is the way in; `src/http/entrance.rs` asks it before
//! each request. This folder knows no routes.

pub mod accounts;
pub mod api_keys;
pub mod audit;
pub mod denials;
pub mod guard;
pub mod key_ring;
mod known_keys;
pub mod network;
pub mod open_id;
pub mod passwords;
mod people;
mod remembered;
pub mod sessions;
pub mod sign_in;
mod slow_down;
pub mod tokens;
mod uses;
pub mod visible;

pub use guard::{Browsers, Denial, Guard, SignedIn};
pub use people::People;
pub use visible::{Visible, VisibleIds};
