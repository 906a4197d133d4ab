//! Maintenance as its users do it: silences, pauses, drills, signs of life, with the real binary, a
//! sandbox and a stand-in for whoever is told.

mod drills;
#[cfg(target_os = "linux")]
mod life;
mod paging;
mod pauses;
mod silences;
