//! One binary for all tests that go through a real database or the real application.

mod store_contract;
