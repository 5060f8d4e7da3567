//! What every topic uses: a throw-away PKI, endpoints that misbehave on command, the real binary, and clients that
//! speak exactly what a test says.

#![allow(dead_code, unused_imports, reason = "each topic uses a part")]

pub mod client;
pub mod endpoint;
pub mod gateway;
pub mod h2scripted;
pub mod h2wire;
pub mod house;
pub mod key_server;
pub mod lists;
pub mod pki;
pub mod process;
pub mod raw;
pub mod recorder;
pub mod scripted;
pub mod seen;
pub mod spire;
pub mod tools;

pub use client::{Answer, Client, Dial};
pub use endpoint::{Behaviour, Endpoint};
pub use gateway::{PATIENCE, TestGateway, configure, folder, wait_for, wait_until};
pub use h2scripted::H2Scripted;
pub use house::House;
pub use key_server::KeyServer;
pub use pki::{Authority, Leaf, TokenIssuer};
pub use raw::RawConnection;
pub use recorder::Recorder;
pub use scripted::{Act, Scripted};
pub use seen::Seen;
