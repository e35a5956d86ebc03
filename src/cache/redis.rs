//! stub
use crate::{
    cache::memory::Key,
    changes::StoredEntry,
    redis::{Error, Link},
    store::Epoch,
};
use std::{sync::Arc, time::Duration};
pub struct RedisTier;
pub struct Lease;
impl RedisTier {
    pub fn new(_link: Arc<Link>, _keep: Duration) -> Self {
        RedisTier
    }
    pub async fn get(&self, _e: &Epoch, _k: &Key) -> Option<StoredEntry> {
        None
    }
    pub async fn put(&self, _e: &Epoch, _n: &[StoredEntry]) -> Result<(), Error> {
        Ok(())
    }
    pub async fn lease(&self, _e: &Epoch, _k: &Key, _ttl: Duration) -> Result<Option<Lease>, Error> {
        Ok(None)
    }
    pub async fn release(&self, _l: Lease) -> Result<(), Error> {
        Ok(())
    }
}
