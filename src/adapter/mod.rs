//! Web servers: one small file each, and the only room that names one.
//!
//! Whatever takes a [`tower_service::Service`] needs none of them.

mod hyper;
